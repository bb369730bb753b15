//! Tails of distributions of counts: how probable it is to see more than so many.
//!
//! The tail of a Poisson distribution is an incomplete gamma function, that of a negative binomial one an incomplete beta
//! function (NIST Digital Library of Mathematical Functions, 8.4.10 and 8.17.5). Both are computed as a density times a series
//! or a continued fraction, so that small tails are as exact as large ones. The densities are Loader's (Fast and Accurate
//! Computation of Binomial Probabilities, 2000), which do not cancel for large counts. The functions of `statrs` are not used:
//! theirs do, stop after 140 terms, or do not end where an argument is extreme.

use statrs::function::gamma::ln_gamma;

/// Greater counts, means and shapes have no answer.
const COUNT_MAX: f64 = 1e9;
/// A dispersion below this makes no difference to a Poisson distribution that could be seen.
const DISPERSION_MIN: f64 = 1e-12;
/// Terms after which an answer is given up; for counts in range some ten times the root of the count are enough.
const TERMS_MAX: u32 = 2_000_000;
const PRECISION: f64 = 1e-16;
/// Stands for zero in continued fractions.
const TINY: f64 = 1e-300;

/// P(X > k) of a Poisson distribution; none where an argument is out of range.
pub(super) fn poisson_sf(k: f64, mean: f64) -> Option<f64> {
    let k = k.floor();
    if !(0.0..=COUNT_MAX).contains(&mean) || k > COUNT_MAX || k.is_nan() {
        return None;
    }
    if k < 0.0 {
        return Some(1.0);
    }
    if mean == 0.0 {
        return Some(0.0);
    }
    let a = k + 1.0;
    // x^a e^-x / gamma(a + 1)
    let density = poisson_density(a, mean);
    match mean < a + 1.0 {
        true => Some((density * rising_series(a, mean)?).min(1.0)),
        false => Some(1.0 - density * a * gamma_fraction(a, mean)?),
    }
}

/// P(X > k) of a negative binomial distribution with variance mean + dispersion mean^2; none where an argument is out of range.
pub(super) fn negative_binomial_sf(k: f64, mean: f64, dispersion: f64) -> Option<f64> {
    if dispersion == 0.0 {
        return poisson_sf(k, mean);
    }
    let k = k.floor();
    let is_known = (0.0..=COUNT_MAX).contains(&mean) && (DISPERSION_MIN..=COUNT_MAX).contains(&dispersion);
    if !is_known || k > COUNT_MAX || k.is_nan() {
        return None;
    }
    if k < 0.0 {
        return Some(1.0);
    }
    if mean == 0.0 {
        return Some(0.0);
    }
    let odds = mean * dispersion;
    incomplete_beta(k + 1.0, 1.0 / dispersion, odds / (1.0 + odds), 1.0 / (1.0 + odds))
}

/// 1 + x/(a+1) + x^2/((a+1)(a+2)) + ..
fn rising_series(a: f64, x: f64) -> Option<f64> {
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..TERMS_MAX {
        term *= x / (a + f64::from(n));
        sum += term;
        if term <= sum * PRECISION {
            return Some(sum);
        }
    }
    None
}

/// The continued fraction 1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ..))) by the method of Lentz (DLMF 8.9.2; Numerical
/// Recipes, 6.2).
fn gamma_fraction(a: f64, x: f64) -> Option<f64> {
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / not_zero(b);
    let mut fraction = d;
    for n in 1..TERMS_MAX {
        let n = f64::from(n);
        let numerator = -n * (n - a);
        b += 2.0;
        d = 1.0 / not_zero(numerator * d + b);
        c = not_zero(b + numerator / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() <= PRECISION * 4.0 {
            return Some(fraction);
        }
    }
    None
}

/// The regularised incomplete beta function I_x(a, b), where y = 1 - x.
fn incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> Option<f64> {
    // The fraction converges fast below the mean only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return Some((1.0 - lower_beta(b, a, y, x)?).max(0.0));
    }
    lower_beta(a, b, x, y).map(|p| p.min(1.0))
}

fn lower_beta(a: f64, b: f64, x: f64, y: f64) -> Option<f64> {
    // x^a y^b / B(a, b), as the density of a binomial distribution.
    let density = binomial_density(a, b, x, y) * (a * b / (a + b));
    Some(density / beta_fraction(a, b, x, y)?)
}

/// The continued fraction of DiDonato and Morris (Algorithm 708, ACM Transactions on Mathematical Software 18, 1992), whose
/// terms take y as it is: 1 - x would have lost it where x is close to 1. By the method of Lentz.
fn beta_fraction(a: f64, b: f64, x: f64, y: f64) -> Option<f64> {
    let slope = a * y - b * x + 1.0;
    let mut fraction = not_zero(a * slope / (a + 1.0));
    let mut c = fraction;
    let mut d = 0.0;
    for m in 1..TERMS_MAX {
        let m = f64::from(m);
        let width = a + 2.0 * m - 1.0;
        let numerator = (m * (a + m - 1.0) / width) * ((a + b + m - 1.0) / width) * (b - m) * x * x;
        let term = m + m * (b - m) * x / width + (a + m) * (slope + m * (2.0 - x)) / (width + 2.0);
        d = 1.0 / not_zero(term + numerator * d);
        c = not_zero(term + numerator / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() <= PRECISION * 4.0 {
            return Some(fraction);
        }
    }
    None
}

fn not_zero(value: f64) -> f64 {
    if value.abs() < TINY { TINY } else { value }
}

/// mean^x e^-mean / gamma(x + 1) for any x > 0.
fn poisson_density(x: f64, mean: f64) -> f64 {
    (-stirling_error(x) - deviance(x, mean)).exp() / (std::f64::consts::TAU * x).sqrt()
}

/// gamma(a+b+1) / (gamma(a+1) gamma(b+1)) x^a y^b for any a, b > 0, where x + y = 1.
fn binomial_density(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let n = a + b;
    let exponent = stirling_error(n) - stirling_error(a) - stirling_error(b) - deviance(a, n * x) - deviance(b, n * y);
    exponent.exp() * (n / (std::f64::consts::TAU * a * b)).sqrt()
}

/// ln gamma(x + 1) less Stirling's formula for it.
fn stirling_error(x: f64) -> f64 {
    if x < 16.0 {
        return ln_gamma(x + 1.0) - (x + 0.5) * x.ln() + x - 0.5 * std::f64::consts::TAU.ln();
    }
    let square = x * x;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / square) / square) / square) / square)
        / x
}

/// x ln(x/mean) + mean - x, without cancellation where they lie close: Loader's `bd0`.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    if difference.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() + mean - x;
    }
    let v = difference / (x + mean);
    let mut sum = difference * v;
    let mut term = 2.0 * x * v;
    for n in 1..1_000 {
        term *= v * v;
        let next = sum + term / f64::from(2 * n + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    #[track_caller]
    fn check(found: Option<f64>, expected: f64, what: &[String]) {
        let found = found.unwrap_or(f64::NAN);
        assert!((found - expected).abs() <= 1e-10 * expected, "{what:?}: {found}");
    }

    #[test]
    fn poisson_tails_are_those_of_mpmath_and_scipy() {
        for row in reference::rows(include_str!("../../tests/data/functions/poisson_sf.csv")) {
            let [k, mean, expected] = reference::numbers(&row);
            check(poisson_sf(k, mean), expected, &row);
        }
    }

    #[test]
    fn negative_binomial_tails_are_those_of_mpmath_and_scipy() {
        for row in reference::rows(include_str!("../../tests/data/functions/negative_binomial_sf.csv")) {
            let [k, mean, dispersion, expected] = reference::numbers(&row);
            check(negative_binomial_sf(k, mean, dispersion), expected, &row);
        }
    }

    #[test]
    fn a_vanishing_dispersion_is_a_poisson_distribution() {
        for mean in [0.01, 1.0, 30.0, 1e4, 1e6] {
            for k in [0.0, 1.0, mean, mean * 1.05 + 3.0] {
                let (poisson, close) = (poisson_sf(k, mean).unwrap(), negative_binomial_sf(k, mean, 1e-12).unwrap());
                assert!((poisson - close).abs() <= 1e-4 * poisson, "{mean} {k}: {poisson} {close}");
            }
        }
    }

    #[test]
    fn every_pair_of_extremes_ends_and_is_a_probability_or_nothing() {
        let extremes = [
            f64::NEG_INFINITY,
            -1e300,
            -1.0,
            -0.0,
            f64::MIN_POSITIVE,
            1e-30,
            1e-12,
            0.5,
            1.0,
            1e5,
            1e9,
            1e9 + 1.0,
            1e300,
            f64::INFINITY,
            f64::NAN,
        ];
        for k in extremes {
            for mean in extremes {
                let probabilities = extremes.map(|dispersion| negative_binomial_sf(k, mean, dispersion));
                for p in probabilities.into_iter().chain([poisson_sf(k, mean)]).flatten() {
                    assert!((0.0..=1.0).contains(&p), "{k} {mean}: {p}");
                }
            }
        }
    }

    #[test]
    fn tails_fall_with_the_count() {
        for (mean, dispersion) in [(0.3, 0.0), (7.5, 0.0), (7.5, 0.2), (1234.0, 0.0), (1234.0, 0.05)] {
            let tails: Vec<f64> =
                (0..2_000).map(|k| negative_binomial_sf(f64::from(k), mean, dispersion).unwrap()).collect();
            let rises = tails.windows(2).filter(|w| w[1] > w[0] * (1.0 + 1e-13)).count();
            assert_eq!(rises, 0, "{mean} {dispersion}");
        }
    }
}
