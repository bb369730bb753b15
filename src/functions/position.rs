//! Positions on the earth in degrees, and the distance between two of them.

use arrow::array::Float64Array;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;

use super::scalar::{Argument, Definition, any, define};

/// The mean radius of the earth in metres: R1 of the International Union of Geodesy and Geophysics (Moritz, Geodetic
/// Reference System 1980, Journal of Geodesy 74, 2000).
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// `haversine_m`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    define([Definition {
        name: "haversine_m",
        family: "Places",
        syntax: "haversine_m(lon1, lat1, lon2, lat2)",
        description: "The distance in metres between two WGS84 positions in degrees along a great circle of a sphere of radius \
                      6,371,008.8 m, as DOUBLE; right to 0.6 % (Sinnott, Virtues of the Haversine, Sky and Telescope 68, \
                      1984). Null for null and outside the ranges.",
        arguments: &[Argument::Number; 4],
        yields: || DataType::Float64,
        refuses: any,
        evaluate: |rows| {
            let (lon1, lat1) = (rows.numbers(0)?, rows.numbers(1)?);
            let (lon2, lat2) = (rows.numbers(2)?, rows.numbers(3)?);
            rows.map::<Float64Array, _>(|row| {
                distance_m(lon1.get(row)?, lat1.get(row)?, lon2.get(row)?, lat2.get(row)?)
            })
        },
    }])
}

/// Whether a number is a longitude in degrees.
pub(super) fn is_longitude(degrees: f64) -> bool {
    (-180.0..=180.0).contains(&degrees)
}

/// Whether a number is a latitude in degrees.
pub(super) fn is_latitude(degrees: f64) -> bool {
    (-90.0..=90.0).contains(&degrees)
}

fn distance_m(lon1: f64, lat1: f64, lon2: f64, lat2: f64) -> Option<f64> {
    if ![lon1, lon2].into_iter().all(is_longitude) || ![lat1, lat2].into_iter().all(is_latitude) {
        return None;
    }
    let half_chord = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
    let along = lat1.to_radians().cos() * lat2.to_radians().cos();
    // Rounding may lead beyond 1 at antipodes.
    let square = (half_chord(lat1, lat2) + along * half_chord(lon1, lon2)).clamp(0.0, 1.0);
    Some(2.0 * EARTH_RADIUS_M * square.sqrt().asin())
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    #[test]
    fn distances_are_those_of_the_python_package_haversine() {
        for row in reference::rows(include_str!("../../tests/data/functions/haversine.csv")) {
            let [lon1, lat1, lon2, lat2, expected] = reference::numbers(&row);
            let found = distance_m(lon1, lat1, lon2, lat2).unwrap();
            assert!((found - expected).abs() <= 1e-8 * expected.max(1e-3), "{row:?}: {found}");
        }
    }

    #[test]
    fn there_is_no_distance_to_what_is_no_position() {
        assert_eq!(distance_m(0.0, 90.1, 0.0, 0.0), None);
        assert_eq!(distance_m(0.0, 0.0, -180.5, 0.0), None);
        let antipodes = distance_m(0.0, 0.0, 180.0, 0.0).unwrap();
        assert!((antipodes - std::f64::consts::PI * EARTH_RADIUS_M).abs() < 1e-6, "{antipodes}");
    }

    #[test]
    fn in_sql_nulls_and_numbers_of_any_kind_are_taken() {
        reference::check_sql(&[
            ("round(haversine_m(0, 0, 0, 1), 1)", "111195.1"),
            ("haversine_m(0, NULL, 0, 1)", ""),
            ("haversine_m(0, 91, 0, 1)", ""),
            ("haversine_m(CAST('NaN' AS DOUBLE), 0, 0, 1)", ""),
        ]);
    }
}
