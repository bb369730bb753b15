//! The rows that groups have, and the order in which final ones leave.

use arrow::array::{Array, BinaryArray, Int64Array, UInt32Array};
use arrow::compute::take;

use super::super::OperatorError;
use super::super::event_time::milliseconds;
use super::super::groups::{Groups, batch_of};
use super::WindowAggregateSpec;
use crate::stream::{ChangeBatch, Order};

/// How many rows one part of [`super::super::Operator::contents`] holds at most.
const PART_ROWS: usize = 1 << 16;

/// The rows of groups that are final, by (end, start, key).
pub(super) fn final_rows(
    spec: &WindowAggregateSpec,
    groups: &Groups,
    due: &[(i64, u32)],
) -> Result<ChangeBatch, OperatorError> {
    if due.is_empty() {
        return Ok(ChangeBatch::empty(spec.schema.clone()));
    }
    let ids: Vec<u32> = due.iter().map(|(_, group)| *group).collect();
    let keys = groups.key_columns(&ids)?;
    let starts = match spec.bucket.as_ref().and_then(|bucket| keys.get(bucket.column)) {
        Some(column) => milliseconds(column)?,
        None => Int64Array::new_null(ids.len()),
    };
    let mut sorted: Vec<(Vec<u8>, u32)> = due
        .iter()
        .enumerate()
        .map(|(idx, (end, group))| {
            let start = starts.is_valid(idx).then(|| starts.value(idx));
            (order_key(*end, start, groups.key_bytes(*group)), idx as u32)
        })
        .collect();
    sorted.sort_unstable();
    let places = UInt32Array::from_iter_values(sorted.iter().map(|(_, idx)| *idx));
    let sorted_ids: Vec<u32> = sorted.iter().map(|(_, idx)| ids[*idx as usize]).collect();
    let mut columns = keys.iter().map(|k| take(k, &places, None)).collect::<Result<Vec<_>, _>>()?;
    columns.extend(groups.aggregates(&sorted_ids)?);
    let order = Order::Key(BinaryArray::from_iter_values(sorted.iter().map(|(key, _)| key)));
    Ok(ChangeBatch { rows: batch_of(&spec.schema, columns, due.len())?, weights: vec![1; due.len()].into(), order })
}

/// A part of the rows that a relation over groups has; none behind the last.
pub(super) fn contents(
    spec: &WindowAggregateSpec,
    groups: &Groups,
    part: usize,
    is_single: bool,
) -> Result<Option<ChangeBatch>, OperatorError> {
    let first = part.saturating_mul(PART_ROWS);
    if spec.emit_final || first >= groups.id_limit() {
        return Ok(None);
    }
    let last = groups.id_limit().min(first.saturating_add(PART_ROWS));
    let ids: Vec<u32> = (first as u32..last as u32).filter(|g| is_single || groups.weight(*g) > 0).collect();
    if ids.is_empty() {
        return Ok(Some(ChangeBatch::empty(spec.schema.clone())));
    }
    rows_of(spec, groups, &ids, 1).map(Some)
}

/// The rows that groups have, with one weight.
pub(super) fn rows_of(
    spec: &WindowAggregateSpec,
    groups: &Groups,
    ids: &[u32],
    weight: i64,
) -> Result<ChangeBatch, OperatorError> {
    let mut columns = groups.key_columns(ids)?;
    columns.extend(groups.aggregates(ids)?);
    Ok(ChangeBatch::table(batch_of(&spec.schema, columns, ids.len())?, vec![weight; ids.len()]))
}

/// Bytes that sort as (end, start, key), starts that are null first.
pub(in super::super) fn order_key(end: i64, start: Option<i64>, key: &[u8]) -> Vec<u8> {
    let sortable = |v: i64| (v ^ i64::MIN).to_be_bytes();
    let mut bytes = Vec::with_capacity(17 + key.len());
    bytes.extend_from_slice(&sortable(end));
    match start {
        None => bytes.push(0),
        Some(start) => {
            bytes.push(1);
            bytes.extend_from_slice(&sortable(start));
        }
    }
    bytes.extend_from_slice(key);
    bytes
}
