//! What the shards of a relation gave, joined so that their number cannot be seen.

use std::cmp::Ordering;
use std::collections::HashMap;

use arrow::array::{Array, UInt32Array};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use crate::operators::{OperatorError, Output};
use crate::plan::Relation;
use crate::stream::{ChangeBatch, Order};

/// Joins the outputs of shards: changes of tables behind one another, rows of streams in their order.
pub(super) fn join(relation: &Relation, outputs: Vec<Output>) -> Result<Output, OperatorError> {
    let (mut changes, mut late, mut duplicate) = (Vec::with_capacity(outputs.len()), Vec::new(), Vec::new());
    for output in outputs {
        changes.push(output.changes);
        late.extend(output.late);
        duplicate.extend(output.duplicate);
    }
    duplicate.sort_unstable();
    let changes = in_order(ChangeBatch::concat(&relation.schema, &changes)?)?;
    Ok(Output { changes, late, duplicate })
}

/// Sorts rows of a stream by their order, ties by the whole row, so that the number of shards cannot be seen.
fn in_order(changes: ChangeBatch) -> Result<ChangeBatch, ArrowError> {
    let ascends = match &changes.order {
        Order::Unordered => true,
        Order::Sequence(sequence) => sequence.windows(2).all(|w| w[0] < w[1]),
        Order::Key(keys) => (1..keys.len()).all(|i| keys.value(i - 1) < keys.value(i)),
    };
    if ascends {
        return Ok(changes);
    }
    let fields = changes.rows.schema().fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
    // Rows without columns are all equal, and no converter counts them.
    let has_columns = changes.rows.num_columns() > 0;
    let rows = has_columns.then(|| RowConverter::new(fields)?.convert_columns(changes.rows.columns())).transpose()?;
    let mut idx: Vec<u32> = (0..changes.len() as u32).collect();
    idx.sort_by(|a, b| {
        let (a, b) = (*a as usize, *b as usize);
        let by_order = match &changes.order {
            Order::Unordered => Ordering::Equal,
            Order::Sequence(sequence) => sequence[a].cmp(&sequence[b]),
            Order::Key(keys) => keys.value(a).cmp(keys.value(b)),
        };
        by_order.then_with(|| rows.as_ref().map_or(Ordering::Equal, |rows| rows.row(a).cmp(&rows.row(b))))
    });
    changes.take(&UInt32Array::from(idx))
}

/// The source records of which all rows were refused: as many as came in.
pub(super) fn fully_refused(late: Vec<u64>, inputs: &[ChangeBatch]) -> Vec<u64> {
    if late.is_empty() {
        return late;
    }
    let mut open: HashMap<u64, i64> = HashMap::new();
    for sequence in &late {
        *open.entry(*sequence).or_default() -= 1;
    }
    for input in inputs {
        let Order::Sequence(sequence) = &input.order else { continue };
        for s in sequence.iter() {
            if let Some(n) = open.get_mut(s) {
                *n += 1;
            }
        }
    }
    let mut refused: Vec<u64> = open.into_iter().filter(|(_, n)| *n <= 0).map(|(s, _)| s).collect();
    refused.sort_unstable();
    refused
}
