//! The answer to a query: rows, and of when they are.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use chrono_tz::Tz;

/// Of when and of what an answer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AsOf {
    /// The last committed epoch when the rows were copied. All of them are of it.
    pub epoch: u64,
    /// The shards whose rows the worker holds.
    pub shards: Vec<u32>,
    /// The number of shards that the pipeline has.
    pub n_shards: u32,
    /// Rows of state that were copied for it.
    pub rows_read: usize,
    /// For how long the next epoch was held up by that.
    pub held_up: Duration,
}

/// The answer to a query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its columns; each has a name of its own.
    pub schema: SchemaRef,
    /// Its rows, in the order that the query asks for.
    pub batches: Vec<RecordBatch>,
    /// Whether there are more rows than are given.
    pub is_truncated: bool,
    /// Of when they are.
    pub as_of: AsOf,
    /// How long it took.
    pub elapsed: Duration,
    /// The zone in which instants are written.
    pub time_zone: Tz,
}

impl Answer {
    /// The number of rows.
    pub fn n_rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}
