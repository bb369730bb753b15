//! The shape of a join: how the columns of its inputs divide into keys, time and own columns, and how they are encoded.

use std::sync::Arc;

use ahash::RandomState;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use hashbrown::HashTable;

use super::{JoinKind, TableJoinSpec};
use crate::operators::OperatorError;
use crate::stream::ChangeBatch;

/// No row, no key, no group.
pub(super) const NONE: u32 = u32::MAX;
/// The time of a row whose timestamp is null; it matches nothing.
pub(super) const NO_TIME: i64 = i64::MIN;
/// How many pairs are put before a filter at a time.
const FILTER_PAIRS: usize = 1 << 16;

/// A checked join with the codecs of its rows.
pub(super) struct Shape {
    pub(super) spec: TableJoinSpec,
    keys: RowCodec,
    pub(super) left: RowCodec,
    pub(super) right: RowCodec,
    /// A right row of nulls only, as bytes: what stands beside a left row without a match.
    pub(super) no_right: Vec<u8>,
    pair_schema: SchemaRef,
}

/// The columns of one input, taken apart.
pub(super) struct Columns {
    pub(super) n_rows: usize,
    pub(super) own: Vec<ArrayRef>,
    pub(super) keys: EncodedRows,
    /// The rows that have a null among the key columns; none if such rows match as others do.
    pub(super) null_keys: Option<NullBuffer>,
    /// The instants of an `as_of` join; empty otherwise.
    pub(super) times: Vec<i64>,
}

impl Shape {
    pub(super) fn new(spec: TableJoinSpec) -> Result<Self, OperatorError> {
        let refuse = |why: &str| Err(OperatorError::Function(why.to_owned()));
        if spec.kind == JoinKind::Full {
            return refuse("a full join is two joins");
        }
        if spec.keys.len() != spec.n_keys {
            return refuse("a join names as many key types as it has keys");
        }
        if spec.null_aware
            && (spec.kind != JoinKind::LeftAnti || spec.n_keys != 1 || spec.as_of || spec.null_equals_null)
        {
            return refuse("NOT IN compares exactly one column, without AS OF");
        }
        let types = |schema: &Schema| schema.fields().iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
        let pairs: Vec<Arc<Field>> = spec.left.fields().iter().chain(spec.right.fields()).cloned().collect();
        let right = RowCodec::new(types(&spec.right))?;
        Ok(Self {
            no_right: right.nulls()?,
            keys: RowCodec::new(spec.keys.clone())?,
            left: RowCodec::new(types(&spec.left))?,
            right,
            pair_schema: Arc::new(Schema::new(pairs)),
            spec,
        })
    }

    /// Whether a left row without a match is of no use.
    pub(super) fn needs_match(&self) -> bool {
        matches!(self.spec.kind, JoinKind::Inner | JoinKind::LeftSemi)
    }

    /// Whether output rows have the right side's columns.
    pub(super) fn yields_pairs(&self) -> bool {
        matches!(self.spec.kind, JoinKind::Inner | JoinKind::Left)
    }

    /// The bytes of the key that is null.
    pub(super) fn null_key(&self) -> Result<Vec<u8>, ArrowError> {
        self.keys.nulls()
    }

    /// Takes the columns of one input apart and encodes its keys.
    pub(super) fn columns(&self, batch: &RecordBatch) -> Result<Columns, OperatorError> {
        let (n_keys, n_rows) = (self.spec.n_keys, batch.num_rows());
        let n_before = n_keys + usize::from(self.spec.as_of);
        if batch.num_columns() < n_before {
            return Err(OperatorError::Function("an input of a join lacks key columns".into()));
        }
        let keys = &batch.columns()[..n_keys];
        let mut null_keys = None;
        if !self.spec.null_equals_null {
            for key in keys {
                null_keys = NullBuffer::union(null_keys.as_ref(), key.logical_nulls().as_ref());
            }
        }
        let times = match self.spec.as_of {
            true => instants(batch.column(n_keys))?,
            false => Vec::new(),
        };
        Ok(Columns {
            n_rows,
            own: batch.columns()[n_before..].to_vec(),
            keys: self.keys.encode(keys, n_rows)?,
            null_keys: null_keys.filter(|n| n.null_count() > 0),
            times,
        })
    }

    /// Which pairs of rows, given by their places in the columns of each side, the filter accepts.
    pub(super) fn accepts(
        &self,
        left: &[ArrayRef],
        right: &[ArrayRef],
        pairs: (&[u32], &[u32]),
    ) -> Result<Vec<bool>, OperatorError> {
        let Some(filter) = &self.spec.filter else { return Ok(vec![true; pairs.0.len()]) };
        let mut accepted = Vec::with_capacity(pairs.0.len());
        for (l, r) in pairs.0.chunks(FILTER_PAIRS).zip(pairs.1.chunks(FILTER_PAIRS)) {
            let mut columns = pick(left, l)?;
            columns.extend(pick(right, r)?);
            let answer = filter(&batch_of(&self.pair_schema, columns, l.len())?)?;
            if answer.len() != l.len() {
                return Err(OperatorError::Function("a join's filter must answer once for each pair".into()));
            }
            match answer.null_count() {
                0 => accepted.extend(answer.values().iter()),
                _ => accepted.extend(answer.iter().map(|a| a == Some(true))),
            }
        }
        Ok(accepted)
    }

    /// Makes rows of the output from places in the columns of each side; a right place of [`NONE`] gives nulls.
    pub(super) fn output(
        &self,
        left: (&[ArrayRef], &[u32]),
        right: (&[ArrayRef], &[u32]),
        marks: Vec<bool>,
    ) -> Result<RecordBatch, OperatorError> {
        let n_rows = left.1.len();
        let mut columns = pick(left.0, left.1)?;
        match self.spec.kind {
            JoinKind::Inner | JoinKind::Left | JoinKind::Full => {
                columns.extend(pick_or_null(&self.spec.right, right.0, right.1)?)
            }
            JoinKind::LeftMark => columns.push(Arc::new(BooleanArray::from(marks))),
            JoinKind::LeftSemi | JoinKind::LeftAnti => {}
        }
        Ok(batch_of(&self.spec.schema, columns, n_rows)?)
    }
}

fn batch_of(schema: &SchemaRef, columns: Vec<ArrayRef>, n_rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
}

fn pick(columns: &[ArrayRef], places: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
    let all = |c: &ArrayRef| c.len() == places.len() && places.iter().enumerate().all(|(i, p)| i as u32 == *p);
    if columns.first().is_some_and(all) {
        return Ok(columns.to_vec());
    }
    let places = UInt32Array::from(places.to_vec());
    columns.iter().map(|c| take(c, &places, None)).collect()
}

fn pick_or_null(schema: &Schema, columns: &[ArrayRef], places: &[u32]) -> Result<Vec<ArrayRef>, ArrowError> {
    if places.iter().all(|p| *p == NONE) {
        return Ok(schema.fields().iter().map(|f| new_null_array(f.data_type(), places.len())).collect());
    }
    if !places.contains(&NONE) {
        return pick(columns, places);
    }
    let nulls: NullBuffer = places.iter().map(|p| *p != NONE).collect();
    let places: Vec<u32> = places.iter().map(|p| if *p == NONE { 0 } else { *p }).collect();
    let places = UInt32Array::new(places.into(), Some(nulls));
    columns.iter().map(|c| take(c, &places, None)).collect()
}

fn instants(column: &ArrayRef) -> Result<Vec<i64>, OperatorError> {
    if !matches!(column.data_type(), DataType::Timestamp(..)) {
        return Err(OperatorError::Function(format!("AS OF needs a timestamp, not {}", column.data_type())));
    }
    let numbers = cast(column, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(match numbers.null_count() {
        0 => numbers.values().to_vec(),
        _ => numbers.iter().map(|t| t.unwrap_or(NO_TIME)).collect(),
    })
}

// === impl Columns ===

impl Columns {
    /// Whether a row can match nothing, whatever the other side holds.
    pub(super) fn cannot_match(&self, row: usize) -> bool {
        self.null_keys.as_ref().is_some_and(|n| n.is_null(row)) || self.times.get(row) == Some(&NO_TIME)
    }
}

// === RowCodec ===

/// Rows of some columns as bytes and back. Without columns every row is empty.
pub(super) struct RowCodec {
    types: Vec<DataType>,
    converter: RowConverter,
    parser: RowParser,
}

/// The rows of one batch as bytes.
pub(super) enum EncodedRows {
    Rows(Rows),
    WithoutColumns,
}

impl EncodedRows {
    pub(super) fn get(&self, row: usize) -> &[u8] {
        match self {
            Self::Rows(rows) => rows.row(row).data(),
            Self::WithoutColumns => &[],
        }
    }
}

impl RowCodec {
    fn new(types: Vec<DataType>) -> Result<Self, ArrowError> {
        let converter = RowConverter::new(types.iter().cloned().map(SortField::new).collect())?;
        Ok(Self { parser: converter.parser(), converter, types })
    }

    /// The row of nulls only.
    fn nulls(&self) -> Result<Vec<u8>, ArrowError> {
        let nulls: Vec<ArrayRef> = self.types.iter().map(|t| new_null_array(t, 1)).collect();
        Ok(self.encode(&nulls, 1)?.get(0).to_vec())
    }

    pub(super) fn encode(&self, columns: &[ArrayRef], n_rows: usize) -> Result<EncodedRows, ArrowError> {
        if self.types.is_empty() && columns.is_empty() {
            return Ok(EncodedRows::WithoutColumns);
        }
        let rows = self.converter.convert_columns(columns)?;
        debug_assert_eq!(rows.num_rows(), n_rows);
        Ok(EncodedRows::Rows(rows))
    }

    pub(super) fn decode<'a>(&'a self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, ArrowError> {
        if self.types.is_empty() {
            return Ok(Vec::new());
        }
        let columns = self.converter.convert_rows(rows.map(|r| self.parser.parse(r)))?;
        // Dictionaries come back as their values.
        columns
            .into_iter()
            .zip(&self.types)
            .map(|(c, t)| if c.data_type() == t { Ok(c) } else { cast(&c, t) })
            .collect()
    }
}

// === net weights ===

/// The weights of a batch with equal rows added up at the first of them; the others get 0.
pub(super) fn net_weights(batch: &ChangeBatch, columns: &Columns, rows: &EncodedRows) -> Vec<i64> {
    let mut weights = batch.weights.to_vec();
    if weights.iter().all(|w| *w > 0) || weights.iter().all(|w| *w < 0) {
        return weights;
    }
    let hasher = RandomState::with_seeds(1, 2, 3, 4);
    let identity = |i: u32| (columns.keys.get(i as usize), columns.times.get(i as usize), rows.get(i as usize));
    let mut firsts: HashTable<(u64, u32)> = HashTable::with_capacity(weights.len());
    for row in 0..weights.len() as u32 {
        let hash = hasher.hash_one(identity(row));
        let entry = firsts.entry(hash, |(h, i)| *h == hash && identity(*i) == identity(row), |(h, _)| *h);
        let first = entry.or_insert((hash, row)).get().1;
        if first != row {
            weights[first as usize] += std::mem::take(&mut weights[row as usize]);
        }
    }
    weights
}
