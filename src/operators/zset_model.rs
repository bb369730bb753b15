//! The naive model that operator tests compare with: a table as rows of text with their weights.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{EpochContext, Output};
use crate::stream::{ChangeBatch, Watermark};

/// Rows as text, with weights that are never zero.
pub(super) type ZSet = BTreeMap<String, i64>;

/// Each row as text: values divided by `|`.
pub(super) fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap()).collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>().join("|"))
        .collect()
}

/// Adds changes to a Z-set; they must be net: no row twice.
pub(super) fn add_net(table: &mut ZSet, changes: &ChangeBatch) {
    let mut seen = ZSet::new();
    for (line, weight) in lines(&changes.rows).into_iter().zip(changes.weights.iter()) {
        assert_eq!(seen.insert(line, *weight), None, "not net");
    }
    add(table, changes);
}

/// Adds changes to a Z-set.
pub(super) fn add(table: &mut ZSet, changes: &ChangeBatch) {
    for (line, weight) in lines(&changes.rows).into_iter().zip(changes.weights.iter()) {
        *table.entry(line).or_default() += weight;
    }
    table.retain(|_, weight| *weight != 0);
}

/// An output as comparable values.
pub(super) fn comparable(output: &Output) -> (Vec<(String, i64)>, String, Vec<u64>, Vec<u64>) {
    let rows = lines(&output.changes.rows).into_iter().zip(output.changes.weights.iter().copied()).collect();
    (rows, format!("{:?}", output.changes.order), output.late.clone(), output.duplicate.clone())
}

/// An epoch between two watermarks of the single input.
pub(super) fn epoch(before: i64, after: i64, loaded: bool) -> EpochContext {
    EpochContext::new(vec![Watermark(before)], vec![Watermark(after)], loaded)
}

/// The processor time of this thread in seconds: unlike the clock's, it does not depend on what else runs.
pub(super) fn cpu_seconds() -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    spent.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}
