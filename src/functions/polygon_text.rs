//! Polygons as text: WKT (OGC Simple Features, 06-103r4) and GeoJSON (RFC 7946).

use geo::{Coord, LineString, MultiPolygon, Polygon};
use serde_json::Value;

/// A ring has at least three corners and ends where it began.
const RING_POINTS_MIN: usize = 4;

/// Reads a polygon or multipolygon with at least one ring; none if the text is neither notation of one.
pub(super) fn parse(text: &str) -> Option<MultiPolygon> {
    let text = text.trim();
    let polygon = match text.starts_with('{') {
        true => of_json(&serde_json::from_str(text).ok()?)?,
        false => of_wkt(text)?,
    };
    (!polygon.0.is_empty()).then_some(polygon)
}

/// Makes a ring of positions; none if they are no ring.
fn ring(points: Vec<Coord>) -> Option<LineString> {
    let is_closed = !points.is_empty() && points.first() == points.last();
    let is_finite = points.iter().all(|p| p.x.is_finite() && p.y.is_finite());
    (points.len() >= RING_POINTS_MIN && is_closed && is_finite).then_some(LineString(points))
}

fn polygon(mut rings: Vec<LineString>) -> Option<Polygon> {
    let holes = rings.split_off(1.min(rings.len()));
    rings.pop().map(|outer| Polygon::new(outer, holes))
}

fn of_json(value: &Value) -> Option<MultiPolygon> {
    let coordinates = value.get("coordinates");
    match value.get("type")?.as_str()? {
        "Feature" => match value.get("geometry")? {
            geometry if geometry.get("type")?.as_str()? != "Feature" => of_json(geometry),
            _ => None,
        },
        "Polygon" => Some(MultiPolygon(vec![polygon_of_json(coordinates?)?])),
        "MultiPolygon" => coordinates?.as_array()?.iter().map(polygon_of_json).collect::<Option<_>>().map(MultiPolygon),
        _ => None,
    }
}

fn polygon_of_json(rings: &Value) -> Option<Polygon> {
    let position = |p: &Value| Some(Coord { x: p.get(0)?.as_f64()?, y: p.get(1)?.as_f64()? });
    let ring_of = |r: &Value| ring(r.as_array()?.iter().map(position).collect::<Option<_>>()?);
    polygon(rings.as_array()?.iter().map(ring_of).collect::<Option<_>>()?)
}

fn of_wkt(text: &str) -> Option<MultiPolygon> {
    // PostGIS puts the reference system before.
    let text = match text.split_once(';') {
        Some((head, rest)) if head.to_ascii_uppercase().starts_with("SRID=") => rest.trim_start(),
        _ => text,
    };
    let open = text.find('(')?;
    let mut words = text.get(..open)?.split_whitespace();
    let word = words.next()?.to_ascii_uppercase();
    if words.any(|w| !matches!(w.to_ascii_uppercase().as_str(), "Z" | "M" | "ZM")) {
        return None;
    }
    let mut reader = Reader { rest: text.get(open..)? };
    let polygons = match word.as_str() {
        "POLYGON" => vec![reader.polygon()?],
        "MULTIPOLYGON" => reader.list(Reader::polygon)?,
        _ => return None,
    };
    reader.rest.trim().is_empty().then_some(MultiPolygon(polygons))
}

/// What has not been read yet of a WKT text.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip(&mut self, character: char) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(character)?;
        Some(())
    }

    /// Items in parentheses, with commas between them.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        self.skip('(')?;
        let mut items = vec![item(self)?];
        while self.skip(',').is_some() {
            items.push(item(self)?);
        }
        self.skip(')')?;
        Some(items)
    }

    fn polygon(&mut self) -> Option<Polygon> {
        polygon(self.list(|reader| ring(reader.list(Self::position)?))?)
    }

    /// Two numbers, of up to four.
    fn position(&mut self) -> Option<Coord> {
        let end = self.rest.find([',', ')'])?;
        let (text, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        let numbers: Vec<f64> = text.split_whitespace().map(|n| n.parse().ok()).collect::<Option<_>>()?;
        match numbers.as_slice() {
            [x, y] | [x, y, _] | [x, y, _, _] => Some(Coord { x: *x, y: *y }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_no_polygons_are_none() {
        for text in [
            "",
            "POINT (1 1)",
            "POLYGON EMPTY",
            "POLYGON",
            "POLYGON (",
            "POLYGON ()",
            "POLYGON (())",
            "POLYGON ((0 0, 1 0, 0 0))",
            "POLYGON ((0 0, 1 0, 1 1, 0 1))",
            "POLYGON ((0 0, 1 0, 1 1, 0 x, 0 0))",
            "POLYGON ((0 0, 1 0, 1 inf, 0 1, 0 0))",
            "POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0)",
            "POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0)) x",
            "POLYGON (0 0, 1 0, 1 1, 0 1, 0 0)",
            "POLYGON Q ((0 0, 1 0, 1 1, 0 1, 0 0))",
            "MULTIPOLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))",
            "{",
            "{}",
            "[]",
            r#"{"type": "Polygon"}"#,
            r#"{"type": "Polygon", "coordinates": []}"#,
            r#"{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, "1"], [0, 0]]]}"#,
            r#"{"type": "Feature", "geometry": {"type": "Feature", "geometry": {}}}"#,
            r#"{"type": "MultiPolygon", "coordinates": []}"#,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_prefix_of_a_polygon_is_read_without_a_panic() {
        let wkt =
            "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 4, 0 0)), ((6 6, 10 6, 10 10, 6 10, 6 6), (7 7, 7 9, 9 9, 9 7, 7 7)))";
        assert_eq!(parse(wkt).map(|m| m.0.len()), Some(2));
        for (end, _) in wkt.char_indices() {
            assert_eq!(parse(&wkt[..end]), None, "{}", &wkt[..end]);
        }
    }
}
