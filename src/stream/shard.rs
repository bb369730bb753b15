//! Shards: which part of a relation's state a row belongs to.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::ChangeBatch;

/// The number of shards of a pipeline, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCount(pub u32);

/// Returns the shard of every row: a stable hash of its key columns modulo the number of shards.
///
/// The hash is part of the state's format: it must not change between versions without a new format version.
pub fn shard_rows(keys: &[ArrayRef], n_rows: usize, shards: ShardCount) -> Result<Vec<u32>, ArrowError> {
    if shards.0 == 1 || keys.is_empty() {
        return Ok(vec![0; n_rows]);
    }
    let fields = keys.iter().map(|k| SortField::new(k.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(keys)?;
    Ok(rows.iter().map(|r| super::murmur2(r.data()) % shards.0).collect())
}

/// Divides a batch by the shard of its key columns; entry `s` holds the rows of shard `s`.
pub fn split_by_shard(
    batch: &ChangeBatch,
    key_columns: &[usize],
    shards: ShardCount,
) -> Result<Vec<ChangeBatch>, ArrowError> {
    if shards.0 == 1 {
        return Ok(vec![batch.clone()]);
    }
    let keys: Vec<ArrayRef> = key_columns.iter().map(|c| batch.rows.column(*c).clone()).collect();
    let of_row = shard_rows(&keys, batch.len(), shards)?;
    (0..shards.0)
        .map(|s| {
            let idx: Vec<u32> = (0..batch.len() as u32).filter(|r| of_row[*r as usize] == s).collect();
            batch.take(&UInt32Array::from(idx))
        })
        .collect()
}
