//! Statistics of counts: tails that say whether a count is unusual, and empirical Bayes estimates that chance does not lead.

use arrow::array::Float64Array;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Argument, Definition, any, define};
use super::tail::{negative_binomial_sf, poisson_sf};

/// `poisson_sf`, `negative_binomial_sf`, `moment_dispersion`, `eb_weight`, `eb_mean` and `eb_sd`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    let of_two = |name, syntax, description, evaluate| Definition {
        name,
        family: "Statistics",
        syntax,
        description,
        arguments: &[Argument::Number; 2],
        yields: || DataType::Float64,
        refuses: any,
        evaluate,
    };
    let of_three = |name, syntax, description, evaluate| Definition {
        arguments: &[Argument::Number; 3],
        ..of_two(name, syntax, description, evaluate)
    };
    define([
        of_two(
            "poisson_sf",
            "poisson_sf(k, lambda)",
            "The probability that a Poisson variable of mean lambda exceeds k, as DOUBLE: at least n events have the probability \
             poisson_sf(n - 1, lambda). A fraction of k is cut off. Null for null, and where lambda is negative or either is \
             above 1e9. As poisson.sf in scipy.",
            |rows| {
                let (k, lambda) = (rows.numbers(0)?, rows.numbers(1)?);
                rows.map::<Float64Array, _>(|row| poisson_sf(k.get(row)?, lambda.get(row)?))
            },
        ),
        of_three(
            "negative_binomial_sf",
            "negative_binomial_sf(k, mean, dispersion)",
            "The probability that a negative binomial variable with variance mean + dispersion * mean * mean exceeds k, as \
             DOUBLE; of dispersion 0 that of poisson_sf. A fraction of k is cut off. Null for null, and where mean or dispersion \
             is negative, above 1e9, or the dispersion positive but below 1e-12. As nbinom.sf(k, 1 / dispersion, 1 / (1 + \
             mean * dispersion)) in scipy.",
            |rows| {
                let (k, mean, dispersion) = (rows.numbers(0)?, rows.numbers(1)?, rows.numbers(2)?);
                rows.map::<Float64Array, _>(|row| {
                    negative_binomial_sf(k.get(row)?, mean.get(row)?, dispersion.get(row)?)
                })
            },
        ),
        of_two(
            "moment_dispersion",
            "moment_dispersion(mean, variance)",
            "The dispersion k of counts by the method of moments, (variance - mean) / (mean * mean), as DOUBLE, 0 where the \
             variance is not above the mean (Hauer, Observational Before-After Studies in Road Safety, 1997). Null for null, for \
             a mean that is not positive, and for a negative variance.",
            |rows| {
                let (mean, variance) = (rows.numbers(0)?, rows.numbers(1)?);
                rows.map::<Float64Array, _>(|row| dispersion(mean.get(row)?, variance.get(row)?))
            },
        ),
        of_two(
            "eb_weight",
            "eb_weight(mu, k)",
            "How much of an empirical Bayes estimate comes from the expectation mu, 1 / (1 + k * mu), as DOUBLE; k is the \
             dispersion (Hauer et al., Estimating Safety by the Empirical Bayes Method, 2002; Highway Safety Manual, 2010, \
             equation 3-10). Null for null and for negative arguments.",
            |rows| {
                let (mu, k) = (rows.numbers(0)?, rows.numbers(1)?);
                rows.map::<Float64Array, _>(|row| weight(mu.get(row)?, k.get(row)?))
            },
        ),
        of_three(
            "eb_mean",
            "eb_mean(x, mu, k)",
            "The empirical Bayes estimate w * mu + (1 - w) * x of the count to be expected where x was counted and mu is usual, \
             with w = eb_weight(mu, k), as DOUBLE (Highway Safety Manual, 2010, equation 3-9). Null for null and for negative \
             arguments.",
            |rows| {
                let (x, mu, k) = (rows.numbers(0)?, rows.numbers(1)?, rows.numbers(2)?);
                rows.map::<Float64Array, _>(|row| estimate(x.get(row)?, mu.get(row)?, k.get(row)?))
            },
        ),
        of_three(
            "eb_sd",
            "eb_sd(x, mu, k)",
            "The standard deviation of eb_mean(x, mu, k), sqrt((1 - eb_weight(mu, k)) * eb_mean(x, mu, k)), as DOUBLE (Hauer et \
             al., 2002). Null for null and for negative arguments.",
            |rows| {
                let (x, mu, k) = (rows.numbers(0)?, rows.numbers(1)?, rows.numbers(2)?);
                rows.map::<Float64Array, _>(|row| {
                    let (x, mu, k) = (x.get(row)?, mu.get(row)?, k.get(row)?);
                    Some(((1.0 - weight(mu, k)?) * estimate(x, mu, k)?).sqrt())
                })
            },
        ),
    ])
}

fn dispersion(mean: f64, variance: f64) -> Option<f64> {
    let k = ((variance - mean) / mean / mean).max(0.0);
    (mean > 0.0 && variance >= 0.0 && k.is_finite()).then_some(k)
}

fn weight(mu: f64, k: f64) -> Option<f64> {
    // A product beyond the range of DOUBLE leaves nothing to the expectation.
    (mu >= 0.0 && k >= 0.0).then(|| 1.0 / (1.0 + k * mu))
}

fn estimate(x: f64, mu: f64, k: f64) -> Option<f64> {
    let weight = weight(mu, k)?;
    (x >= 0.0).then_some(weight * mu + (1.0 - weight) * x)
}

#[cfg(test)]
mod tests {
    use super::super::reference;

    /// By hand from the formulas: w = 1 / (1 + 0.5 * 4) = 1/3, w * 4 + 2/3 * 10 = 8, sqrt(2/3 * 8).
    #[test]
    fn in_sql_statistics_take_numbers_of_any_kind() {
        reference::check_sql(&[
            ("round(poisson_sf(2, 1.0), 12)", "0.080301397071"),
            ("poisson_sf(-1, 1)", "1.0"),
            ("poisson_sf(0, 0)", "0.0"),
            ("poisson_sf(1, -1)", ""),
            ("poisson_sf(NULL, 1)", ""),
            ("poisson_sf(CAST('NaN' AS DOUBLE), 1)", ""),
            ("round(poisson_sf(CAST(2.9 AS DECIMAL(5, 1)), 1), 12)", "0.080301397071"),
            ("negative_binomial_sf(2, 1, 0) = poisson_sf(2, 1)", "true"),
            ("round(negative_binomial_sf(0, 3, 1), 12)", "0.75"),
            ("negative_binomial_sf(1, 1, -0.1)", ""),
            ("moment_dispersion(4, 12)", "0.5"),
            ("moment_dispersion(4, 3)", "0.0"),
            ("moment_dispersion(0, 3)", ""),
            ("eb_weight(4, 0.5) = CAST(1 AS DOUBLE) / 3", "true"),
            ("round(eb_mean(10, 4, 0.5), 12)", "8.0"),
            ("eb_mean(10, 4, 0)", "4.0"),
            ("eb_mean(0, 0, 1)", "0.0"),
            ("eb_mean(10, 1e300, 1e300)", "10.0"),
            ("eb_mean(-1, 4, 0.5)", ""),
            ("round(eb_sd(10, 4, 0.5), 12)", "2.309401076759"),
            ("eb_sd(10, NULL, 0.5)", ""),
        ]);
    }
}
