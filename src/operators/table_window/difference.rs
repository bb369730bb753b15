//! What one batch of rows has more often than another.
//!
//! Both batches come from the same partitions in the same order, so most rows that are equal lie almost side by side. They
//! are struck out in one pass over two cursors; what is left goes through the general consolidation.

use ahash::RandomState;
use arrow::array::{DynComparator, RecordBatch, RecordBatchOptions, UInt32Array, make_comparator};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::common::hash_utils::create_hashes_with_hasher;

use crate::operators::OperatorError;
use crate::stream::ChangeBatch;

/// How far a cursor looks for the other's row at first; each miss in a row lets it look one further.
const LOOK_AHEAD: usize = 8;
/// How many rows may be looked at in all, for each row: keeps batches without any common row linear.
const LOOKS_PER_ROW: usize = 16;

/// The rows of `after` with weight 1 and those of `before` with weight -1, net.
pub(super) fn difference(
    schema: &SchemaRef,
    before: &RecordBatch,
    after: &RecordBatch,
) -> Result<ChangeBatch, OperatorError> {
    let (gone, come) = if before.num_rows() == 0 || after.num_rows() == 0 {
        (all(before), all(after))
    } else {
        Rows::new(before, after)?.unmatched()
    };
    let weights = std::iter::repeat_n(-1, gone.len()).chain(std::iter::repeat_n(1, come.len())).collect();
    let gone = take_record_batch(&named(before, schema)?, &UInt32Array::from(gone))?;
    let come = take_record_batch(&named(after, schema)?, &UInt32Array::from(come))?;
    let rows = if gone.num_rows() == 0 { come } else { concat_batches(schema, [&gone, &come])? };
    Ok(ChangeBatch::table(rows, weights).consolidate()?)
}

/// The columns under the names of the relation: a function may have given them others.
fn named(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), batch.columns().to_vec(), &options)
}

fn all(batch: &RecordBatch) -> Vec<u32> {
    (0..batch.num_rows() as u32).collect()
}

/// The rows of both batches, comparable.
struct Rows {
    before: Vec<u64>,
    after: Vec<u64>,
    columns: Vec<DynComparator>,
}

impl Rows {
    fn new(before: &RecordBatch, after: &RecordBatch) -> Result<Self, OperatorError> {
        let columns = before
            .columns()
            .iter()
            .zip(after.columns())
            .map(|(b, a)| make_comparator(b, a, SortOptions::default()))
            .collect::<Result<_, _>>()?;
        Ok(Self { before: hashes(before)?, after: hashes(after)?, columns })
    }

    fn equal(&self, before: usize, after: usize) -> bool {
        self.before[before] == self.after[after] && self.columns.iter().all(|c| c(before, after).is_eq())
    }

    /// The rows of either side that were not struck out.
    fn unmatched(&self) -> (Vec<u32>, Vec<u32>) {
        let (n_before, n_after) = (self.before.len(), self.after.len());
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        let (mut b, mut a, mut misses) = (0, 0, 0);
        let mut looks_left = LOOKS_PER_ROW * (n_before + n_after);
        while b < n_before && a < n_after {
            if self.equal(b, a) {
                (b, a, misses) = (b + 1, a + 1, 0);
                continue;
            }
            let reach = (LOOK_AHEAD + misses).min(looks_left / 2);
            let ahead = (1..=reach).find_map(|d| {
                if a + d < n_after && self.equal(b, a + d) {
                    return Some((0, d));
                }
                (b + d < n_before && self.equal(b + d, a)).then_some((d, 0))
            });
            looks_left -= 2 * ahead.map_or(reach, |(d, e)| d + e);
            let (skip_before, skip_after) = ahead.unwrap_or((1, 1));
            misses = if ahead.is_some() { 0 } else { misses + 1 };
            gone.extend(b as u32..(b + skip_before) as u32);
            come.extend(a as u32..(a + skip_after) as u32);
            (b, a) = (b + skip_before, a + skip_after);
        }
        gone.extend(b as u32..n_before as u32);
        come.extend(a as u32..n_after as u32);
        (gone, come)
    }
}

fn hashes(batch: &RecordBatch) -> Result<Vec<u64>, OperatorError> {
    let mut hashes = vec![0; batch.num_rows()];
    create_hashes_with_hasher(batch.columns(), &RandomState::with_seeds(1, 2, 3, 4), &mut hashes)
        .map_err(|e| OperatorError::Function(e.to_string()))?;
    Ok(hashes)
}
