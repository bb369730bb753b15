//! Groups of rows with their aggregates: dense ids for group keys, and columns of state by id.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::accumulators::{Accumulator, Rows};
use super::row_codec::RowCodec;
use super::{AggregateCall, OperatorError};
use crate::state::KeyIndex;
use crate::stream::ChangeBatch;

const NONE: u32 = u32::MAX;

/// What groups are made of.
pub(super) struct GroupsSpec<'a> {
    /// The leading input columns that are the group key.
    pub n_keys: usize,
    /// The aggregates.
    pub aggregates: &'a [AggregateCall],
    /// The input.
    pub input: &'a SchemaRef,
    /// Group keys, then one column an aggregate.
    pub output: &'a SchemaRef,
    /// Whether rows may disappear again.
    pub rows: Rows,
}

/// All groups of one shard.
pub(super) struct Groups {
    codec: RowCodec,
    keys: KeyIndex,
    /// By group id: the sum of the weights of its rows.
    weights: Vec<i64>,
    /// By group id: its index among the touched groups of this epoch.
    touches: Vec<u32>,
    accumulators: Vec<Accumulator>,
    outputs: Vec<FieldRef>,
}

/// The groups that a batch touches.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// The group of each row.
    pub of_row: Vec<u32>,
    /// The groups, each once, in the order of their first rows.
    pub groups: Vec<u32>,
    /// The first row of each of these groups.
    pub first_rows: Vec<u32>,
}

/// What groups show at one point in time.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub visible: Vec<bool>,
    pub aggregates: Vec<ArrayRef>,
}

impl Groups {
    /// No groups yet.
    pub fn new(spec: &GroupsSpec<'_>) -> Result<Self, OperatorError> {
        let outputs: Vec<FieldRef> = spec.output.fields().iter().skip(spec.n_keys).cloned().collect();
        if outputs.len() != spec.aggregates.len() {
            let text = format!("{} aggregates, but {} columns for them", spec.aggregates.len(), outputs.len());
            return Err(OperatorError::Function(text));
        }
        let accumulator = |(call, field): (&AggregateCall, &FieldRef)| {
            Accumulator::new(call, spec.input, field.data_type(), spec.rows)
        };
        Ok(Self {
            codec: RowCodec::new(spec.input, (0..spec.n_keys).collect())?,
            keys: KeyIndex::default(),
            weights: Vec::new(),
            touches: Vec::new(),
            accumulators: spec.aggregates.iter().zip(&outputs).map(accumulator).collect::<Result<_, _>>()?,
            outputs,
        })
    }

    /// Gives each row its group, which is made if need be.
    pub fn assign(&mut self, rows: &RecordBatch) -> Result<Touched, OperatorError> {
        let keys = self.codec.encode(rows)?;
        let mut touched = Touched { of_row: Vec::with_capacity(rows.num_rows()), ..Touched::default() };
        for row in 0..rows.num_rows() {
            let (group, is_new) = self.keys.get_or_insert(keys.get(row));
            if is_new && self.weights.len() <= group as usize {
                self.weights.resize(group as usize + 1, 0);
                self.touches.resize(group as usize + 1, NONE);
            }
            let touch = &mut self.touches[group as usize];
            if *touch == NONE {
                *touch = touched.groups.len() as u32;
                touched.groups.push(group);
                touched.first_rows.push(row as u32);
            }
            touched.of_row.push(group);
        }
        for group in &touched.groups {
            self.touches[*group as usize] = NONE;
        }
        self.resize_accumulators();
        Ok(touched)
    }

    /// The group with the empty key, made if need be.
    pub fn single(&mut self) -> u32 {
        let (group, is_new) = self.keys.get_or_insert(&[]);
        if is_new && self.weights.len() <= group as usize {
            self.weights.resize(group as usize + 1, 0);
            self.touches.resize(group as usize + 1, NONE);
        }
        self.resize_accumulators();
        group
    }

    fn resize_accumulators(&mut self) {
        let n_groups = self.weights.len();
        self.accumulators.iter_mut().for_each(|a| a.resize(n_groups));
    }

    /// Takes rows into their groups.
    pub fn update(&mut self, of_row: &[u32], batch: &ChangeBatch) -> Result<(), OperatorError> {
        for (group, weight) in of_row.iter().zip(batch.weights.iter()) {
            let sum = &mut self.weights[*group as usize];
            *sum = sum.wrapping_add(*weight);
        }
        self.accumulators.iter_mut().try_for_each(|a| a.update(of_row, &batch.rows, &batch.weights))
    }

    /// What groups show now.
    pub fn snapshot(&self, groups: &[u32]) -> Result<Snapshot, OperatorError> {
        Ok(Snapshot {
            visible: groups.iter().map(|g| self.weights[*g as usize] > 0).collect(),
            aggregates: self.aggregates(groups)?,
        })
    }

    /// The aggregates of groups, in the types of the output.
    pub fn aggregates(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        let evaluate = |(accumulator, field): (&Accumulator, &FieldRef)| {
            let array = accumulator.evaluate(groups)?;
            Ok(if array.data_type() == field.data_type() { array } else { cast(&array, field.data_type())? })
        };
        self.accumulators.iter().zip(&self.outputs).map(evaluate).collect()
    }

    /// The key columns of groups.
    pub fn key_columns(&self, groups: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        self.codec.decode(groups.iter().map(|g| self.keys.key(*g)))
    }

    /// Key columns of keys as [`Groups::key_bytes`] gave them.
    pub fn decode_keys<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, OperatorError> {
        self.codec.decode(keys)
    }

    /// The key of a group as it is ordered: ascending, nulls first.
    pub fn key_bytes(&self, group: u32) -> &[u8] {
        self.keys.key(group)
    }

    /// The sum of the weights of a group's rows.
    pub fn weight(&self, group: u32) -> i64 {
        self.weights[group as usize]
    }

    /// Sets what [`Groups::weight`] gave before a restart.
    pub fn set_weight(&mut self, group: u32, weight: i64) {
        self.weights[group as usize] = weight;
    }

    /// Whether a group's state is as if it had never had a row.
    ///
    /// Weights alone do not say so: a disappearance may arrive before its appearance.
    pub fn is_zero(&self, group: u32) -> bool {
        self.weights[group as usize] == 0 && self.accumulators.iter().all(|a| a.is_zero(group))
    }

    /// Forgets groups.
    pub fn remove(&mut self, groups: &[u32]) {
        for accumulator in &mut self.accumulators {
            accumulator.clear(groups);
        }
        for group in groups {
            self.weights[*group as usize] = 0;
            self.keys.remove(*group);
        }
    }

    /// The state of one aggregate for each of these groups, as it is logged. Call [`Groups::written`] after all.
    pub fn write(&mut self, aggregate_idx: usize, group: u32, out: &mut Vec<u8>) {
        if let Some(accumulator) = self.accumulators.get_mut(aggregate_idx) {
            accumulator.write(group, out);
        }
    }

    /// The whole state of one aggregate for a group, in the form of [`Groups::write`].
    pub fn write_whole(&self, aggregate_idx: usize, group: u32, out: &mut Vec<u8>) {
        if let Some(accumulator) = self.accumulators.get(aggregate_idx) {
            accumulator.write_whole(group, out);
        }
    }

    /// Adds groups of `other`, which has the same aggregates, to groups of these, pair by pair, as if their rows had been
    /// added. Rows must only be appended.
    pub fn absorb(&mut self, other: &Self, from: &[u32], to: &[u32]) -> Result<(), OperatorError> {
        for (from, to) in from.iter().zip(to) {
            let weight = &mut self.weights[*to as usize];
            *weight = weight.wrapping_add(other.weights[*from as usize]);
        }
        let mut bytes = Vec::new();
        for (mine, theirs) in self.accumulators.iter_mut().zip(&other.accumulators) {
            for (from, to) in from.iter().zip(to) {
                bytes.clear();
                theirs.write_whole(*from, &mut bytes);
                mine.absorb(*to, &bytes)?;
            }
        }
        Ok(())
    }

    /// Adds groups to other ones, pair by pair, as if their rows had been added. Rows must only be appended.
    pub fn merge(&mut self, from: &[u32], to: &[u32]) -> Result<(), OperatorError> {
        for (from, to) in from.iter().zip(to) {
            let weight = self.weights[*from as usize];
            self.weights[*to as usize] = self.weights[*to as usize].wrapping_add(weight);
        }
        let mut bytes = Vec::new();
        for accumulator in &mut self.accumulators {
            for (from, to) in from.iter().zip(to) {
                bytes.clear();
                accumulator.write_whole(*from, &mut bytes);
                accumulator.absorb(*to, &bytes)?;
            }
        }
        Ok(())
    }

    /// Says that the state of all touched groups has been written.
    pub fn written(&mut self) {
        self.accumulators.iter_mut().for_each(Accumulator::written);
    }

    /// Applies what [`Groups::write`] wrote; none if the bytes do not fit.
    pub fn read(&mut self, aggregate_idx: usize, group: u32, bytes: &[u8]) -> Option<()> {
        self.accumulators.get_mut(aggregate_idx)?.read(group, bytes)
    }

    /// One more than the greatest group id ever given.
    pub fn id_limit(&self) -> usize {
        self.weights.len()
    }

    /// The number of groups.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.keys.size_bytes()
            + self.weights.capacity() * size_of::<i64>()
            + self.touches.capacity() * size_of::<u32>()
            + self.accumulators.iter().map(Accumulator::size_bytes).sum::<usize>()
    }
}

/// The rows by which two snapshots of the same groups differ: old ones with weight -1, new ones with +1.
///
/// `keys` are the groups' key columns, one row a group.
pub(super) fn difference(
    schema: &SchemaRef,
    keys: &[ArrayRef],
    before: &Snapshot,
    after: &Snapshot,
) -> Result<ChangeBatch, OperatorError> {
    let differs = differing(&before.aggregates, &after.aggregates, before.visible.len())?;
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    for (idx, (was, is)) in before.visible.iter().zip(&after.visible).enumerate() {
        if was != is || differs[idx] {
            if *was {
                gone.push(idx as u32);
            }
            if *is {
                come.push(idx as u32);
            }
        }
    }
    let weights: Vec<i64> = gone.iter().map(|_| -1).chain(come.iter().map(|_| 1)).collect();
    let both: UInt32Array = gone.iter().chain(&come).copied().collect::<Vec<u32>>().into();
    let (gone, come) = (UInt32Array::from(gone), UInt32Array::from(come));
    let keys = keys.iter().map(|k| take(k, &both, None));
    let aggregates = before
        .aggregates
        .iter()
        .zip(&after.aggregates)
        .map(|(old, new)| concat(&[take(old, &gone, None)?.as_ref(), take(new, &come, None)?.as_ref()]));
    let columns = keys.chain(aggregates).collect::<Result<Vec<_>, _>>()?;
    Ok(ChangeBatch::table(batch_of(schema, columns, weights.len())?, weights))
}

/// A batch of columns, of which there may be none.
pub(super) fn batch_of(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    n_rows: usize,
) -> Result<RecordBatch, OperatorError> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

/// For each row whether any column differs; nulls are equal.
fn differing(before: &[ArrayRef], after: &[ArrayRef], n_rows: usize) -> Result<Vec<bool>, OperatorError> {
    let mut differs = vec![false; n_rows];
    for (old, new) in before.iter().zip(after) {
        let column: BooleanArray = match old.data_type().is_nested() {
            false => distinct(old, new)?,
            true => {
                let converter = RowConverter::new(vec![SortField::new(old.data_type().clone())])?;
                let old = converter.convert_columns(std::slice::from_ref(old))?;
                let new = converter.convert_columns(std::slice::from_ref(new))?;
                old.iter().zip(new.iter()).map(|(o, n)| Some(o != n)).collect()
            }
        };
        differs.iter_mut().enumerate().for_each(|(row, d)| *d |= column.value(row));
    }
    Ok(differs)
}
