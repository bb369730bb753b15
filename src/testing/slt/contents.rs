//! What relations hold, as tables that batch SQL can read.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{Field, Int64Type, Schema};
use arrow::json::ReaderBuilder;

use super::Wrong;
use super::running::{Running, header};
use super::taps::{COUNT, Tap};
use crate::local::Collected;
use crate::plan::SinkPlan;
use crate::stream::OutputTopic;

/// Which side of a source a query asks for, as `"captures.late"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Records that came too late.
    Late,
    /// Records that could not be used.
    Rejected,
    /// How many records were used, duplicate, late and rejected.
    Counts,
}

impl Side {
    /// Reads the word behind the source.
    pub(super) fn of(word: &str) -> Option<Self> {
        match word {
            "late" => Some(Self::Late),
            "rejected" => Some(Self::Rejected),
            "counts" => Some(Self::Counts),
            _ => None,
        }
    }
}

/// What a sink holds: the current rows by key if its rows can be replaced or deleted, else all it has written, in order.
pub(super) fn of_sink(running: &Running, sink: &str) -> Result<RecordBatch, Wrong> {
    let plan = sink_plan(running, sink)?;
    let mut collected = running.collected();
    let written = collected.remove(&OutputTopic::Sink(plan.name.clone())).unwrap_or_default();
    let lines: Vec<Vec<u8>> = if plan.upsert {
        let mut held: BTreeMap<Option<Vec<u8>>, Vec<u8>> = BTreeMap::new();
        for Collected { key, value, .. } in written {
            match value {
                Some(value) => drop(held.insert(key, value)),
                None => drop(held.remove(&key)),
            }
        }
        held.into_values().collect()
    } else {
        written.into_iter().filter_map(|record| record.value).collect()
    };
    let relation = running.pipeline().relations.get(plan.relation);
    let fields = relation.map(|r| r.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect());
    decode(Schema::new(fields.unwrap_or_else(Vec::<Field>::new)), &lines)
}

/// What a relation holds that is looked into by a sink of its own.
pub(super) fn of_tap(running: &Running, tap: &Tap) -> Result<RecordBatch, Wrong> {
    let rows = of_sink(running, &tap.sink)?;
    if !tap.is_counted {
        return Ok(rows);
    }
    let place = rows.schema().index_of(COUNT).map_err(Wrong::new)?;
    let counts = rows
        .column(place)
        .as_primitive_opt::<Int64Type>()
        .cloned()
        .unwrap_or_else(|| Int64Array::from(vec![1; rows.num_rows()]));
    let repeated = (0..rows.num_rows()).flat_map(|row| {
        let n = usize::try_from(counts.value(row)).unwrap_or_default();
        std::iter::repeat_n(row as u32, n)
    });
    let mut repeated = take_record_batch(&rows, &UInt32Array::from_iter_values(repeated)).map_err(Wrong::new)?;
    repeated.remove_column(place);
    Ok(repeated)
}

/// One side of a source.
pub(super) fn of_side(running: &Running, source: &str, side: Side) -> Result<RecordBatch, Wrong> {
    let source: Arc<str> = source.into();
    let topic = match side {
        Side::Late => OutputTopic::Late(source),
        Side::Rejected => OutputTopic::Rejected(source),
        Side::Counts => {
            let counts = running.counts(&source);
            let column = |name: &str, n: u64| (name.to_string(), Arc::new(UInt64Array::from(vec![n])) as ArrayRef);
            return RecordBatch::try_from_iter([
                column("read", counts.read),
                column("used", counts.used),
                column("duplicate", counts.duplicate),
                column("late", counts.late),
                column("rejected", counts.rejected),
            ])
            .map_err(Wrong::new);
        }
    };
    let records = running.collected().remove(&topic).unwrap_or_default();
    let text = |name: &str| -> ArrayRef { Arc::new(records.iter().map(|r| header(r, name)).collect::<StringArray>()) };
    let number = |name: &str| -> Vec<Option<i64>> {
        records.iter().map(|r| header(r, name).and_then(|t| t.parse().ok())).collect()
    };
    let bytes = |of: fn(&Collected) -> Option<&Vec<u8>>| -> ArrayRef {
        let shown = records.iter().map(|r| of(r).map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
        Arc::new(shown.collect::<StringArray>())
    };
    let partitions =
        number("curb_partition").into_iter().map(|n| n.and_then(|n| i32::try_from(n).ok())).collect::<Int32Array>();
    RecordBatch::try_from_iter_with_nullable([
        ("reason", text("curb_reason"), true),
        ("partition", Arc::new(partitions) as ArrayRef, true),
        ("position", Arc::new(Int64Array::from(number("curb_offset"))) as ArrayRef, true),
        ("length", Arc::new(Int64Array::from(number("curb_length"))) as ArrayRef, true),
        ("sha256", text("curb_sha256"), true),
        ("key", bytes(|r| r.key.as_ref()), true),
        ("raw", bytes(|r| r.value.as_ref()), true),
    ])
    .map_err(Wrong::new)
}

fn sink_plan<'a>(running: &'a Running, sink: &str) -> Result<&'a SinkPlan, Wrong> {
    let found = running.pipeline().sinks.iter().find(|s| &*s.name == sink);
    found.ok_or_else(|| Wrong(format!("there is no sink `{sink}`")))
}

/// Rows from the JSON that a sink wrote.
fn decode(schema: Schema, lines: &[Vec<u8>]) -> Result<RecordBatch, Wrong> {
    let schema = Arc::new(schema);
    let text: Vec<u8> = lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
    let reader = ReaderBuilder::new(schema.clone()).with_batch_size(lines.len().max(1)).build(Cursor::new(text));
    match reader.map_err(Wrong::new)?.next() {
        Some(batch) => batch.map_err(Wrong::new),
        None => Ok(RecordBatch::new_empty(schema)),
    }
}
