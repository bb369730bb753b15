//! Keeps the rows that an input last had from frozen groups, for a relation whose key does not hold the bucket.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::groups::batch_of;
use super::row_codec::RowCodec;
use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::state::KeyIndex;
use crate::stream::ChangeBatch;

/// How many rows one part of [`Operator::contents`] holds at most.
const PART_ROWS: usize = 1 << 16;

/// What stands before an input that keeps the rows of frozen groups.
///
/// The single input is handed on as it is. Rows that are forgotten upstream are not: they stay with whoever reads this
/// relation, and are kept here, for nothing upstream can bring them back. Logged: these rows with their weights.
#[derive(Clone, Debug)]
pub struct FrozenRowsSpec {
    /// The columns.
    pub schema: SchemaRef,
}

/// Keeps the rows that an input last had from frozen groups.
///
/// A delta has the input's columns and the weight that a row has from then on, 0 for none.
pub struct FrozenRows {
    schema: SchemaRef,
    delta_schema: SchemaRef,
    codec: RowCodec,
    rows: KeyIndex,
    /// By row id; 0 for an id that is not in use.
    weights: Vec<i64>,
    pending: Vec<RecordBatch>,
}

impl FrozenRows {
    /// One shard, empty.
    pub fn new(spec: FrozenRowsSpec) -> Result<Self, OperatorError> {
        let mut fields: Vec<Field> = spec.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new("_weight", DataType::Int64, false));
        Ok(Self {
            delta_schema: Arc::new(Schema::new(fields)),
            codec: RowCodec::new(&spec.schema, (0..spec.schema.fields().len()).collect())?,
            schema: spec.schema,
            rows: KeyIndex::default(),
            weights: Vec::new(),
            pending: Vec::new(),
        })
    }

    /// Adds weights to rows, and returns what the rows have then.
    fn add(&mut self, rows: &RecordBatch, weights: impl Iterator<Item = i64>) -> Result<Vec<i64>, OperatorError> {
        let encoded = self.codec.encode(rows)?;
        let ids: Vec<u32> = (0..rows.num_rows()).map(|row| self.rows.get_or_insert(encoded.get(row)).0).collect();
        if let Some(greatest) = ids.iter().max() {
            self.weights.resize(self.weights.len().max(*greatest as usize + 1), 0);
        }
        for (id, weight) in ids.iter().zip(weights) {
            let sum = &mut self.weights[*id as usize];
            *sum = sum.wrapping_add(weight);
        }
        let sums = ids.iter().map(|id| self.weights[*id as usize]).collect();
        self.drop_unused(ids);
        Ok(sums)
    }

    fn drop_unused(&mut self, mut ids: Vec<u32>) {
        ids.retain(|id| self.weights[*id as usize] == 0);
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().for_each(|id| self.rows.remove(id));
    }

    /// The rows with an id in `ids` and their weights.
    fn rows_of(&self, ids: Range<usize>) -> Result<(RecordBatch, Vec<i64>), OperatorError> {
        let end = ids.end.min(self.weights.len());
        let live = (ids.start.min(end)..end).filter(|id| self.weights[*id] != 0);
        let (ids, weights): (Vec<u32>, Vec<i64>) = live.map(|id| (id as u32, self.weights[id])).unzip();
        if ids.is_empty() {
            return Ok((RecordBatch::new_empty(self.schema.clone()), weights));
        }
        let columns = self.codec.decode(ids.iter().map(|id| self.rows.key(*id)))?;
        Ok((batch_of(&self.schema, columns, ids.len())?, weights))
    }

    fn delta(&self, rows: &RecordBatch, weights: Vec<i64>) -> Result<RecordBatch, OperatorError> {
        let mut columns = rows.columns().to_vec();
        columns.push(Arc::new(Int64Array::from(weights)));
        Ok(RecordBatch::try_new(self.delta_schema.clone(), columns)?)
    }
}

impl Operator for FrozenRows {
    fn process(&mut self, inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        Ok(ChangeBatch::concat(&self.schema, inputs)?.into())
    }

    fn forget(&mut self, inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<ChangeBatch, OperatorError> {
        for input in inputs.iter().filter(|i| !i.is_empty()) {
            let weights = self.add(&input.rows, input.weights.iter().map(|w| w.wrapping_neg()))?;
            self.pending.push(self.delta(&input.rows, weights)?);
        }
        Ok(ChangeBatch::empty(self.schema.clone()))
    }

    fn take_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return Ok(None);
        }
        Ok(Some(concat_batches(&self.delta_schema, &pending)?))
    }

    fn restore(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let n_columns = self.schema.fields().len();
        let fits = delta.num_columns() == n_columns + 1
            && delta.columns().iter().zip(self.delta_schema.fields()).all(|(c, f)| c.data_type() == f.data_type());
        if !fits {
            return Err(OperatorError::State(format!("rows of frozen groups have {}", self.delta_schema)));
        }
        let weights = delta.column(n_columns).as_primitive::<Int64Type>();
        let rows = batch_of(&self.schema, delta.columns()[..n_columns].to_vec(), delta.num_rows())?;
        let encoded = self.codec.encode(&rows)?;
        for row in 0..delta.num_rows() {
            let (id, _) = self.rows.get_or_insert(encoded.get(row));
            self.weights.resize(self.weights.len().max(id as usize + 1), 0);
            self.weights[id as usize] = weights.value(row);
            if weights.value(row) == 0 {
                self.rows.remove(id);
            }
        }
        Ok(())
    }

    fn slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.weights.len() {
            return Ok(None);
        }
        let (rows, weights) = self.rows_of(slots)?;
        self.delta(&rows, weights).map(Some)
    }

    fn contents(&self, part: usize) -> Result<Option<ChangeBatch>, OperatorError> {
        let start = part.saturating_mul(PART_ROWS);
        if start >= self.weights.len() {
            return Ok(None);
        }
        let (rows, weights) = self.rows_of(start..start.saturating_add(PART_ROWS))?;
        Ok(Some(ChangeBatch::table(rows, weights)))
    }

    fn state_size(&self) -> StateSize {
        let bytes = self.rows.size_bytes() + self.weights.capacity() * size_of::<i64>();
        StateSize { rows: self.rows.len(), bytes }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};

    use super::*;
    use crate::operators::zset_model::{comparable, epoch};

    fn operator() -> FrozenRows {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, true)]));
        FrozenRows::new(FrozenRowsSpec { schema }).unwrap()
    }

    fn changes(rows: &[(&str, i64)]) -> ChangeBatch {
        let column: ArrayRef = Arc::new(rows.iter().map(|(k, _)| Some(*k)).collect::<StringArray>());
        let rows_of = RecordBatch::try_new(operator().schema, vec![column]).unwrap();
        ChangeBatch::table(rows_of, rows.iter().map(|(_, w)| *w).collect())
    }

    fn contents(operator: &FrozenRows) -> Vec<(String, i64)> {
        let part = operator.contents(0).unwrap();
        let mut rows = part.map_or(Vec::new(), |c| comparable(&c.into()).0);
        rows.sort();
        rows
    }

    #[test]
    fn changes_pass_and_what_is_forgotten_stays_also_over_a_restore() {
        let mut operator = operator();
        let ctx = epoch(0, 0, true);
        let passed = operator.process(&[changes(&[("a", 1), ("b", -1)])], &ctx).unwrap();
        assert_eq!(comparable(&passed).0, [("a".to_string(), 1), ("b".to_string(), -1)]);
        assert_eq!(contents(&operator), []);
        assert!(operator.take_delta().unwrap().is_none());

        let forgotten = operator.forget(&[changes(&[("a", -1), ("b", -2)])], &ctx).unwrap();
        assert!(forgotten.is_empty());
        let first = operator.take_delta().unwrap().unwrap();
        operator.forget(&[changes(&[("a", -3), ("b", 2)])], &ctx).unwrap();
        let second = operator.take_delta().unwrap().unwrap();
        assert_eq!(contents(&operator), [("a".to_string(), 4)]);

        let mut restored = self::operator();
        restored.restore(&first).unwrap();
        assert_eq!(contents(&restored), [("a".to_string(), 1), ("b".to_string(), 2)]);
        restored.restore(&second).unwrap();
        assert_eq!(contents(&restored), contents(&operator));
        assert_eq!(restored.state_size().rows, 1);
        // A slice says what is there, whoever has seen the deltas.
        let slices: Vec<RecordBatch> = (0..4).filter_map(|slot| operator.slice(slot..slot + 1).unwrap()).collect();
        slices.iter().for_each(|slice| restored.restore(slice).unwrap());
        assert_eq!(contents(&restored), contents(&operator));
        let mut other = self::operator();
        slices.iter().for_each(|slice| other.restore(slice).unwrap());
        assert_eq!(contents(&other), contents(&operator));
    }
}
