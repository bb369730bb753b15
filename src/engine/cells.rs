//! What sinks have written by place, for a map: the newest rows that name an H3 cell (column `cell`) or a position (`lon`
//! and `lat`), without PRIVATE columns. A sink that has neither is not looked at.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::DataType;
use chrono::DateTime;
use serde::Serialize;
use serde_json::Value;

use super::dataflow::EpochRun;
use super::newest::PublicRows;
use crate::functions::{cell_at, cell_ring};
use crate::plan::Pipeline;
use crate::stream::ChangeBatch;

/// How many rows of a sink are kept.
const ROWS_MAX: usize = 5_000;
/// How many sinks are looked at.
const LAYERS_MAX: usize = 16;
/// A longer text is not shown on a map, in bytes.
const TEXT_BYTES_MAX: usize = 64;
/// The resolution at which positions are summed up: cells of 0.74 square kilometres.
const RESOLUTION: u8 = 8;
/// The column that says which window a row is of.
const WINDOW: &str = "window_start";

/// A sink that can be shown on a map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapLayer {
    /// The sink.
    pub sink: Arc<str>,
    /// How many rows with a place are kept.
    pub n_cells: usize,
}

/// The cells of a sink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MapCells {
    /// The sink.
    pub sink: Arc<str>,
    /// The columns that hold numbers.
    pub columns: Vec<Arc<str>>,
    /// The beginning of the newest window; none where rows have no `window_start`. Cells may be of older ones.
    pub window: Option<String>,
    /// How many rows were left out since the start: more than are kept, or without a valid place.
    pub n_left_out: u64,
    /// The cells.
    pub cells: Vec<MapCell>,
}

/// A cell, and the newest row in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MapCell {
    /// The H3 index, in lower-case hexadecimal.
    pub cell: String,
    /// The corners, as longitude and latitude in degrees.
    pub ring: Vec<[f64; 2]>,
    /// When the newest row was committed, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// How many rows of the cell are kept.
    pub rows: u64,
    /// Numbers, short texts and truth values of the newest row.
    pub values: Vec<(String, Value)>,
}

/// The rows of all sinks that have a place. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct PlacedRows(Arc<Mutex<Vec<Layer>>>);

#[derive(Debug)]
struct Layer {
    view: PublicRows,
    place: Place,
    numbers: Vec<Arc<str>>,
    n_seen: u64,
    n_left_out: u64,
    rows: BTreeMap<u64, PlacedRow>,
    /// Of a sink over a table, the row of each key.
    by_key: HashMap<String, u64>,
}

/// Which columns say where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Cell,
    Position,
}

#[derive(Debug)]
struct PlacedRow {
    cell: String,
    at_ms: i64,
    window: Option<(i64, String)>,
    key: Option<String>,
    values: Vec<(String, Value)>,
}

impl PlacedRows {
    pub(super) fn of(pipeline: &Pipeline) -> Self {
        let layers = pipeline.sinks.iter().filter_map(|sink| {
            let view = PublicRows::new(pipeline, sink)?;
            let schema = &pipeline.relations.get(sink.relation)?.schema;
            let is = |name: &str, fits: fn(&DataType) -> bool| {
                view.names().any(|n| n.as_ref() == name)
                    && schema.field_with_name(name).is_ok_and(|field| fits(field.data_type()))
            };
            let place = if is("cell", DataType::is_string) {
                Place::Cell
            } else if is("lon", DataType::is_numeric) && is("lat", DataType::is_numeric) {
                Place::Position
            } else {
                return None;
            };
            let is_figure =
                |name: &&Arc<str>| is(name, DataType::is_numeric) && !matches!(name.as_ref(), "lon" | "lat");
            let numbers = view.names().filter(is_figure).cloned().collect();
            let (rows, by_key) = (BTreeMap::new(), HashMap::new());
            Some(Layer { numbers, view, place, n_seen: 0, n_left_out: 0, rows, by_key })
        });
        Self(Arc::new(Mutex::new(layers.take(LAYERS_MAX).collect())))
    }

    /// Adds what a committed epoch wrote.
    pub(super) fn add(&self, run: &EpochRun, at_ms: i64) {
        for layer in self.layers().iter_mut() {
            if let Some(changes) = run.changes.get(layer.view.relation).filter(|changes| !changes.is_empty()) {
                layer.add(changes, at_ms);
            }
        }
    }

    /// The sinks that have a place.
    pub(super) fn list(&self) -> Vec<MapLayer> {
        let layers = self.layers();
        layers.iter().map(|layer| MapLayer { sink: layer.view.sink.clone(), n_cells: layer.rows.len() }).collect()
    }

    /// The cells of a sink; none if it has no place.
    pub(super) fn cells(&self, sink: &str) -> Option<MapCells> {
        self.layers().iter().find(|layer| &*layer.view.sink == sink).map(Layer::cells)
    }

    fn layers(&self) -> MutexGuard<'_, Vec<Layer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Layer {
    fn add(&mut self, changes: &ChangeBatch, at_ms: i64) {
        let n = changes.len();
        let from = n.saturating_sub(ROWS_MAX);
        self.n_left_out += from as u64;
        let last = UInt32Array::from_iter_values(from as u32..n as u32);
        let Some(rows) = self.view.project(&changes.rows, Some(last)) else { return };
        let keys = if self.view.upsert { self.view.keys(&rows) } else { vec![None; rows.num_rows()] };
        let weights = changes.weights.get(from..).unwrap_or_default();
        for ((object, key), weight) in self.objects(&rows).into_iter().zip(keys).zip(weights) {
            if let Some(seq) = key.as_ref().and_then(|key| self.by_key.remove(key)) {
                self.rows.remove(&seq);
            }
            if self.view.upsert && *weight < 0 {
                continue;
            }
            match self.cell_of(&object) {
                Some(cell) => self.keep(PlacedRow { cell, at_ms, window: window(&object), key, values: small(object) }),
                None => self.n_left_out += 1,
            }
        }
    }

    fn objects(&self, rows: &RecordBatch) -> Vec<serde_json::Map<String, Value>> {
        self.view.objects(rows)
    }

    fn cell_of(&self, object: &serde_json::Map<String, Value>) -> Option<String> {
        match self.place {
            Place::Cell => object.get("cell")?.as_str().filter(|cell| cell_ring(cell).is_some()).map(str::to_lowercase),
            Place::Position => cell_at(object.get("lon")?.as_f64()?, object.get("lat")?.as_f64()?, RESOLUTION),
        }
    }

    fn keep(&mut self, row: PlacedRow) {
        self.n_seen += 1;
        if let Some(key) = &row.key {
            self.by_key.insert(key.clone(), self.n_seen);
        }
        self.rows.insert(self.n_seen, row);
        while self.rows.len() > ROWS_MAX {
            let Some((_, oldest)) = self.rows.pop_first() else { return };
            if let Some(key) = &oldest.key {
                self.by_key.remove(key);
            }
            self.n_left_out += 1;
        }
    }

    fn cells(&self) -> MapCells {
        let newest = self.rows.values().filter_map(|row| row.window.as_ref()).max_by_key(|(ms, _)| *ms);
        let mut cells: BTreeMap<&str, (u64, &PlacedRow)> = BTreeMap::new();
        for row in self.rows.values() {
            let entry = cells.entry(&row.cell).or_insert((0, row));
            *entry = (entry.0 + 1, row);
        }
        let cell = |(cell, (rows, newest)): (&str, (u64, &PlacedRow))| {
            let ring = cell_ring(cell)?;
            Some(MapCell { cell: cell.to_owned(), ring, at_ms: newest.at_ms, rows, values: newest.values.clone() })
        };
        MapCells {
            sink: self.view.sink.clone(),
            columns: self.numbers.clone(),
            window: newest.map(|(_, text)| text.clone()),
            n_left_out: self.n_left_out,
            cells: cells.into_iter().filter_map(cell).collect(),
        }
    }
}

fn window(object: &serde_json::Map<String, Value>) -> Option<(i64, String)> {
    let text = object.get(WINDOW)?.as_str()?;
    Some((DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis(), text.to_owned()))
}

/// What of a row fits beside a map.
fn small(object: serde_json::Map<String, Value>) -> Vec<(String, Value)> {
    let fits = |value: &Value| match value {
        Value::String(text) => text.len() <= TEXT_BYTES_MAX,
        Value::Array(_) | Value::Object(_) => false,
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    };
    object.into_iter().filter(|(name, value)| name != "cell" && fits(value)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};
    use arrow::compute::cast;

    use super::*;
    use crate::catalog::resolve;
    use crate::dialect::{Pack, parse};
    use crate::plan::plan;

    const DEZHOU: &str = "8831a82a07fffff";

    fn pipeline(columns: &str, sink: &str) -> Pipeline {
        let rules = format!(
            "CREATE TABLE spots (spot_id VARCHAR PRIMARY KEY, {columns}) WITH (topic = 'spots', format = 'json');
             CREATE SINK shown WITH (topic = 'shown', format = 'json', allow_private = true) AS {sink};"
        );
        let (statements, errors) = parse(&Pack::from_text("rules.sql", &rules));
        assert!(errors.is_empty(), "{errors:?}");
        plan(&resolve(statements, None).unwrap()).unwrap()
    }

    /// An epoch in which the sink writes these rows, as texts, with a weight each.
    fn add(placed: &PlacedRows, pipeline: &Pipeline, rows: &[(&[&str], i64)]) {
        let relation = pipeline.sinks[0].relation;
        let schema = pipeline.relations[relation].schema.clone();
        let column = |(idx, field): (usize, &Arc<arrow::datatypes::Field>)| {
            let texts: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|(row, _)| row[idx])));
            cast(&texts, field.data_type()).unwrap()
        };
        let batch =
            RecordBatch::try_new(schema.clone(), schema.fields().iter().enumerate().map(column).collect()).unwrap();
        let mut changes: Vec<ChangeBatch> =
            pipeline.relations.iter().map(|r| ChangeBatch::empty(r.schema.clone())).collect();
        changes[relation] = ChangeBatch::table(batch, rows.iter().map(|r| r.1).collect());
        let run = EpochRun {
            changes,
            refused: vec![],
            duplicate: vec![],
            rows_in: vec![],
            rows_out: vec![],
            reached: vec![],
            gone: vec![],
        };
        placed.add(&run, 9);
    }

    #[test]
    fn the_newest_row_of_a_cell_is_shown_with_its_outline_and_a_deleted_one_is_not() {
        let pipeline =
            pipeline("cell VARCHAR, n BIGINT, name VARCHAR PRIVATE", "SELECT spot_id, cell, n, name FROM spots");
        let placed = PlacedRows::of(&pipeline);
        add(&placed, &pipeline, &[(&["a", DEZHOU, "3", "secret"], 1), (&["b", "nowhere", "9", "secret"], 1)]);
        let cells = placed.cells("shown").unwrap();
        assert_eq!((cells.columns.as_slice(), cells.n_left_out, cells.cells.len()), (["n".into()].as_slice(), 1, 1));
        let cell = &cells.cells[0];
        assert_eq!((cell.cell.as_str(), cell.rows, cell.ring.len(), cell.at_ms), (DEZHOU, 1, 6, 9));
        assert!(cell.values.contains(&("n".into(), 3.into())));
        assert!(!serde_json::to_string(&cells).unwrap().contains("secret"));
        add(&placed, &pipeline, &[(&["a", DEZHOU, "4", "secret"], 1)]);
        let cell = placed.cells("shown").unwrap().cells.remove(0);
        assert!(
            cell.rows == 1 && cell.values.contains(&("n".into(), 4.into())),
            "the key's row was replaced: {cell:?}"
        );
        add(&placed, &pipeline, &[(&["a", DEZHOU, "4", "secret"], -1)]);
        assert_eq!(placed.list(), [MapLayer { sink: "shown".into(), n_cells: 0 }]);
    }

    #[test]
    fn positions_are_summed_up_by_cell_and_the_newest_window_is_named() {
        let pipeline = pipeline(
            "lon DOUBLE, lat DOUBLE, window_start TIMESTAMP WITH TIME ZONE",
            "SELECT spot_id, lon, lat, window_start FROM spots",
        );
        let placed = PlacedRows::of(&pipeline);
        let [old, new] = ["2023-01-01T00:00:00Z", "2024-01-01T00:00:00Z"];
        add(
            &placed,
            &pipeline,
            &[(&["a", "116.3", "37.45", new], 1), (&["b", "116.3", "37.45", new], 1), (&["c", "117", "37", old], 1)],
        );
        let cells = placed.cells("shown").unwrap();
        let mut rows: Vec<u64> = cells.cells.iter().map(|cell| cell.rows).collect();
        rows.sort_unstable();
        assert_eq!(rows, [1, 2]);
        assert!(cells.window.unwrap().starts_with("2024-01-01") && cells.columns.is_empty());
    }

    #[test]
    fn no_more_rows_are_kept_than_are_allowed_and_a_sink_without_a_place_is_no_layer() {
        let mut layer =
            PlacedRows::of(&pipeline("cell VARCHAR", "SELECT spot_id, cell FROM spots")).0.lock().unwrap().remove(0);
        for i in 0..ROWS_MAX + 10 {
            let row =
                PlacedRow { cell: DEZHOU.into(), at_ms: 0, window: None, key: Some(i.to_string()), values: vec![] };
            layer.keep(row);
        }
        assert_eq!((layer.rows.len(), layer.by_key.len(), layer.n_left_out), (ROWS_MAX, ROWS_MAX, 10));
        for columns in ["n BIGINT", "lon DOUBLE PRIVATE, lat DOUBLE", "cell BIGINT"] {
            assert!(PlacedRows::of(&pipeline(columns, "SELECT * FROM spots")).list().is_empty(), "{columns}");
        }
    }
}
