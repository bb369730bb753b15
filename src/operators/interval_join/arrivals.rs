//! The rows of one side that an epoch brings, taken apart.

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};

use super::IntervalSide;
use crate::operators::OperatorError;
use crate::operators::event_time::milliseconds;
use crate::operators::row_codec::{EncodedRows, RowCodec};
use crate::operators::waiting_rows::{NONE, Waiting};
use crate::state::KeyIndex;
use crate::stream::{ChangeBatch, Order, Watermark};

/// How one side's columns are encoded.
pub(super) struct SideCodec {
    keys: RowCodec,
    own: RowCodec,
    /// The columns before the own ones.
    n_before: usize,
}

impl SideCodec {
    pub(super) fn new(side: &IntervalSide, n_keys: usize) -> Result<Self, OperatorError> {
        let n_before = n_keys + 1 + side.until_offsets_ms.len() + side.from_offsets_ms.len();
        let n_columns = side.input.fields().len();
        if n_before > n_columns {
            return Err(OperatorError::Function("an input of an interval join lacks columns".into()));
        }
        Ok(Self {
            keys: RowCodec::new(&side.input, (0..n_keys).collect())?,
            own: RowCodec::new(&side.input, (n_before..n_columns).collect())?,
            n_before,
        })
    }

    /// The own columns of encoded rows.
    pub(super) fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, OperatorError> {
        self.own.decode(rows)
    }
}

/// One row that arrives. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// What it is when it waits. The key is [`NONE`] for a row that can match nothing.
    pub(super) waiting: Waiting,
    /// The first event time of the other side that may match.
    pub(super) from: i64,
}

/// The rows of one side that an epoch brings, without those that are late.
pub(super) struct Arrivals {
    pub(super) rows: Vec<Arrival>,
    /// The own columns.
    pub(super) own: Vec<ArrayRef>,
    pub(super) own_bytes: EncodedRows,
    pub(super) key_bytes: EncodedRows,
    pub(super) order: Order,
    /// The numbers of the source records that are late.
    pub(super) late: Vec<u64>,
}

impl Arrivals {
    /// Takes a batch apart and gives each row that may have a match the id of its key.
    pub(super) fn new(
        batch: &ChangeBatch,
        side: &IntervalSide,
        codec: &SideCodec,
        null_equals_null: bool,
        keys: &mut KeyIndex,
        watermark: Watermark,
    ) -> Result<Self, OperatorError> {
        let times = milliseconds(batch.rows.column(codec.keys.columns().len()))?;
        let is_late =
            |row: usize| times.is_valid(row) && times.value(row).saturating_add(side.time_offset_ms) < watermark.0;
        let mut late = Vec::new();
        let kept = if watermark != Watermark::MIN && (0..batch.len()).any(is_late) {
            if let Order::Sequence(numbers) = &batch.order {
                late.extend((0..batch.len()).filter(|row| is_late(*row)).map(|row| numbers[row]));
            }
            batch.filter(&(0..batch.len()).map(|row| Some(!is_late(row))).collect::<BooleanArray>())?
        } else {
            batch.clone()
        };
        let key_bytes = codec.keys.encode(&kept.rows)?;
        let has_null_key =
            |row: usize| !null_equals_null && codec.keys.columns().iter().any(|c| kept.rows.column(*c).is_null(row));
        let mut rows = times_of(&kept.rows, side, codec)?;
        for (row, arrival) in rows.iter_mut().enumerate() {
            if arrival.waiting.key != NONE && !has_null_key(row) {
                arrival.waiting.key = keys.get_or_insert(key_bytes.get(row)).0;
            } else {
                arrival.waiting.key = NONE;
            }
        }
        Ok(Self {
            rows,
            own: kept.rows.columns()[codec.n_before..].to_vec(),
            own_bytes: codec.own.encode(&kept.rows)?,
            key_bytes,
            order: kept.order,
            late,
        })
    }
}

/// The times of each row. A key of 0 stands for any, [`NONE`] for a row without a time or a bound.
fn times_of(rows: &RecordBatch, side: &IntervalSide, codec: &SideCodec) -> Result<Vec<Arrival>, OperatorError> {
    let first = codec.keys.columns().len();
    let column = |idx: usize| milliseconds(rows.column(idx));
    let times = column(first)?;
    let with = |start: usize, offsets: &[i64]| -> Result<Vec<(Int64Array, i64)>, OperatorError> {
        offsets.iter().enumerate().map(|(i, offset)| Ok((column(start + i)?, *offset))).collect()
    };
    let untils = with(first + 1, &side.until_offsets_ms)?;
    let froms = with(first + 1 + untils.len(), &side.from_offsets_ms)?;
    let own = |(idx, offset): &(usize, i64)| Ok((column(codec.n_before + idx)?, *offset));
    let event_times = side.event_times.iter().map(own).collect::<Result<Vec<_>, OperatorError>>()?;
    let value = |(array, offset): &(Int64Array, i64), row: usize| {
        array.is_valid(row).then(|| array.value(row).saturating_add(*offset))
    };
    let arrival = |row: usize| {
        let time = times.is_valid(row).then(|| times.value(row).saturating_add(side.time_offset_ms));
        let has_bounds = untils.iter().chain(&froms).all(|(array, _)| array.is_valid(row));
        let until = untils.iter().filter_map(|bound| value(bound, row)).min().unwrap_or(i64::MIN);
        let from = froms.iter().filter_map(|bound| value(bound, row)).max().unwrap_or(i64::MIN);
        let oldest = event_times.iter().filter_map(|time| value(time, row)).chain(time).min().unwrap_or(i64::MAX);
        let key = if time.is_some() && has_bounds { 0 } else { NONE };
        Arrival { waiting: Waiting { key, time: time.unwrap_or_default(), until, oldest, matched: false }, from }
    };
    Ok((0..rows.num_rows()).map(arrival).collect())
}
