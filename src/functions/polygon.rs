//! Whether a point lies in a polygon.

use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use datafusion::logical_expr::ScalarUDF;
use geo::{BoundingRect, Coord, Intersects, MultiPolygon, Rect};

use super::memo::Memo;
use super::polygon_text::parse;
use super::scalar::{Argument, Definition, define};

/// `point_in_polygon`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    define([Definition {
        name: "point_in_polygon",
        family: "Places",
        syntax: "point_in_polygon(lon, lat, polygon)",
        description: "Whether a position lies in a polygon or on its border, as BOOLEAN, on a plane of degrees. The polygon is \
                      VARCHAR: WKT (POLYGON, MULTIPOLYGON) or GeoJSON (Polygon, MultiPolygon, or a Feature of one), both with \
                      longitude before latitude. Null for null and for what is no polygon. As ST_Covers in PostGIS.",
        arguments: &[Argument::Number, Argument::Number, Argument::Text],
        yields: || DataType::Boolean,
        refuses: |constants| match constants.text(2) {
            Some(text) if parse(&text).is_none() => Some("the polygon is neither WKT nor GeoJSON of a polygon"),
            _ => None,
        },
        evaluate: |rows| {
            let (lons, lats, polygons) = (rows.numbers(0)?, rows.numbers(1)?, rows.texts(2)?);
            let mut read = Memo::<str, Option<Area>>::new();
            rows.map::<BooleanArray, _>(|row| {
                let at = Coord { x: lons.get(row)?, y: lats.get(row)? };
                let area = read.get(polygons.get(row)?, |text| parse(text).and_then(Area::new))?;
                area.as_ref().map(|area| area.covers(at))
            })
        },
    }])
}

/// A polygon ready to be asked.
struct Area {
    polygon: MultiPolygon,
    /// Most points lie outside of it already.
    bounds: Rect,
}

impl Area {
    fn new(polygon: MultiPolygon) -> Option<Self> {
        Some(Self { bounds: polygon.bounding_rect()?, polygon })
    }

    fn covers(&self, at: Coord) -> bool {
        self.bounds.intersects(&at) && self.polygon.intersects(&at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    const POLYGONS: [(&str, &str, &str); 4] = [
        (
            "square",
            "POLYGON ((0 0, 10 0, 10 10, 0 10, 0 0))",
            r#"{"type": "Polygon", "coordinates": [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]]}"#,
        ),
        (
            "with_hole",
            "SRID=4326;polygon((0 0,10 0,10 10,0 10,0 0),(3 3,3 7,7 7,7 3,3 3))",
            r#"{"type": "Feature", "properties": null, "geometry": {"type": "Polygon", "coordinates":
                [[[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]], [[3, 3], [3, 7], [7, 7], [7, 3], [3, 3]]]}}"#,
        ),
        (
            "star",
            "POLYGON Z ((5 0 1, 6 4 1, 10 5 1, 6 6 1, 5 10 1, 4 6 1, 0 5 1, 4 4 1, 5 0 1))",
            r#"{"type": "Polygon", "coordinates":
                [[[5, 0, 1], [6, 4, 1], [10, 5, 1], [6, 6, 1], [5, 10, 1], [4, 6, 1], [0, 5, 1], [4, 4, 1], [5, 0, 1]]]}"#,
        ),
        (
            "two",
            "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 4, 0 0)), ((6 6, 10 6, 10 10, 6 10, 6 6), (7 7, 7 9, 9 9, 9 7, 7 7)))",
            r#"{"type": "MultiPolygon", "coordinates": [[[[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]],
                [[[6, 6], [10, 6], [10, 10], [6, 10], [6, 6]], [[7, 7], [7, 9], [9, 9], [9, 7], [7, 7]]]]}"#,
        ),
    ];

    #[test]
    fn points_lie_where_shapely_says_in_both_notations() {
        for (name, wkt, json) in POLYGONS {
            let areas = [wkt, json].map(|text| Area::new(parse(text).unwrap()).unwrap());
            let mut n_rows = 0;
            for row in reference::rows(include_str!("../../tests/data/functions/point_in_polygon.csv")) {
                if row[0] != name {
                    continue;
                }
                let [x, y, inside] = reference::numbers(&row[1..]);
                for area in &areas {
                    assert_eq!(area.covers(Coord { x, y }), inside == 1.0, "{row:?}");
                }
                n_rows += 1;
            }
            assert!(n_rows > 80, "{name}");
        }
    }

    #[test]
    fn in_sql_what_is_no_polygon_yields_null_and_is_refused_as_a_constant() {
        reference::check_sql(&[
            ("point_in_polygon(1, 1, 'POLYGON((0 0, 2 0, 2 2, 0 0))')", "true"),
            ("point_in_polygon(1, 2, 'POLYGON((0 0, 2 0, 2 2, 0 0))')", "false"),
            ("point_in_polygon(1, NULL, 'POLYGON((0 0, 2 0, 2 2, 0 0))')", ""),
            ("point_in_polygon(1, 1, NULL)", ""),
            ("point_in_polygon(1, 1, CASE WHEN random() < 2 THEN 'POINT(1 1)' END)", ""),
        ]);
        reference::check_refused(&[("point_in_polygon(1, 1, 'CIRCLE(1 1)')", "neither WKT nor GeoJSON")]);
    }
}
