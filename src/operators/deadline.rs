//! Until when something waits for the watermark: an event time, or the end of a bucket.

use std::collections::HashMap;

use arrow::array::{BooleanArray, RecordBatch};

use super::event_time::milliseconds;
use super::{BucketEdge, OperatorError};
use crate::stream::{ChangeBatch, Order, Watermark};

/// The watermark that a row waits for.
#[derive(Clone)]
pub struct Deadline {
    /// The timestamp column that says so; a null waits for the end of the input.
    pub column: usize,
    /// The bucket of which the value is the start; none = the value is the event time itself.
    pub bucket: Option<BucketEdges>,
    /// What must be added to the value to have the event time, in milliseconds: where it is the end of a bucket, which is no
    /// time of the bucket, -1.
    pub offset_ms: i64,
    /// How long after the end, or after the value, the watermark must be, in milliseconds. A row may still come with an event
    /// time at the watermark, so that it takes at least a millisecond where there is no end.
    pub after_ms: i64,
}

/// Where a bucket begins and ends that holds an instant, in milliseconds.
#[derive(Clone)]
pub struct BucketEdges {
    /// Its first instant.
    pub start: BucketEdge,
    /// The instant behind its last.
    pub end: BucketEdge,
}

impl Deadline {
    /// The least event time that a row may have which still waits, or comes, at a watermark.
    pub(super) fn oldest_at(&self, watermark: Watermark) -> Watermark {
        let Watermark(now) = watermark;
        if watermark == Watermark::MAX || watermark == Watermark::MIN {
            return watermark;
        }
        Watermark(match &self.bucket {
            None => now.saturating_sub(self.after_ms).saturating_add(1),
            Some(bucket) => (bucket.start)(now.saturating_sub(self.after_ms)),
        })
    }

    /// The watermark (milliseconds) for which each row of a batch waits.
    pub(super) fn of_rows(&self, rows: &RecordBatch) -> Result<Vec<i64>, OperatorError> {
        let Some(column) = rows.columns().get(self.column) else {
            return Err(OperatorError::Function(format!("no column {} to wait for", self.column)));
        };
        let mut known: HashMap<i64, i64> = HashMap::new();
        let mut last = None;
        let instants = milliseconds(column)?;
        let deadlines = instants.iter().map(|instant| {
            let Some(instant) = instant else { return i64::MAX };
            match (&self.bucket, last) {
                (None, _) => instant.saturating_add(self.offset_ms).saturating_add(self.after_ms),
                (_, Some((of, deadline))) if of == instant => deadline,
                (Some(bucket), _) => {
                    let deadline =
                        *known.entry(instant).or_insert_with(|| (bucket.end)(instant).saturating_add(self.after_ms));
                    last = Some((instant, deadline));
                    deadline
                }
            }
        });
        Ok(deadlines.collect())
    }
}

impl std::fmt::Debug for Deadline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_bucket = self.bucket.is_some();
        write!(f, "column {} bucket={is_bucket} offset={} after={}", self.column, self.offset_ms, self.after_ms)
    }
}

/// Rows that came in time, with their deadlines, and the numbers of the source records of the others.
pub(super) struct InTime {
    pub rows: ChangeBatch,
    pub deadlines: Vec<i64>,
    pub late: Vec<u64>,
}

/// Parts rows that came after their deadline from the others.
pub(super) fn refuse_late(
    input: &ChangeBatch,
    deadlines: Vec<i64>,
    watermark: Watermark,
) -> Result<InTime, OperatorError> {
    let is_late = |deadline: &i64| watermark.has_passed(*deadline);
    if !deadlines.iter().any(is_late) {
        return Ok(InTime { rows: input.clone(), deadlines, late: Vec::new() });
    }
    let late = match &input.order {
        Order::Sequence(numbers) => {
            numbers.iter().zip(&deadlines).filter(|(_, d)| is_late(d)).map(|(number, _)| *number).collect()
        }
        Order::Key(_) | Order::Unordered => Vec::new(),
    };
    let keep: BooleanArray = deadlines.iter().map(|d| Some(!is_late(d))).collect();
    Ok(InTime { rows: input.filter(&keep)?, deadlines: deadlines.into_iter().filter(|d| !is_late(d)).collect(), late })
}
