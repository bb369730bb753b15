//! What is logged of first rows: those that came and are kept. Which gave way to them follows from that.

use std::ops::Range;

use arrow::array::RecordBatch;

use super::{ARRIVAL_BYTES, Candidate, TopOrder, TopRows};
use crate::operators::OperatorError;
use crate::operators::groups::batch_of;
use crate::operators::log_rows::{LogKind, LogReader, LogRow, LogWriter, misfit};

const NAME: &str = "top_rows";

impl TopRows {
    /// What changed since the last call. A row is told with the number of rows that are equal to it in all.
    pub(super) fn write_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let mut log = LogWriter::default();
        if let Some(before_ms) = self.forgotten.take() {
            log.push(LogKind::Closed, before_ms, &[], &[]);
        }
        for row in std::mem::take(&mut self.dirty) {
            if std::mem::replace(&mut self.known[row as usize].is_dirty, false) {
                self.write_row(row, &mut log);
            }
        }
        log.delta()
    }

    /// A slot holds the key of that id with all its rows.
    pub(super) fn write_slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        if slots.start >= self.kept.len() {
            return Ok(None);
        }
        let mut log = LogWriter::default();
        for key in slots.start as u32..slots.end.min(self.kept.len()) as u32 {
            if self.keys.contains_id(key) {
                // Rows that were told before may have given way to some that are not told again.
                log.push(LogKind::Key, 0, self.keys.key(key), &[]);
                self.kept[key as usize].iter().for_each(|row| self.write_row(*row, &mut log));
            }
        }
        log.finish().map(Some)
    }

    fn write_row(&self, row: u32, log: &mut LogWriter) {
        let (key, bytes) = (self.known[row as usize].key, self.rows.get(row));
        let equal = self.equal_rows(key, bytes);
        log.push(LogKind::Row, equal.len() as i64, self.keys.key(key), bytes);
    }

    /// The places of the rows of a key that are equal to one.
    fn equal_rows(&self, key: u32, bytes: &[u8]) -> Range<usize> {
        let ids = &self.kept[key as usize];
        let start = ids.partition_point(|row| self.rows.get(*row) < bytes);
        start..ids.partition_point(|row| self.rows.get(*row) <= bytes)
    }

    /// Applies a delta or a slice.
    pub(super) fn read(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let rows = LogReader::new(delta, NAME)?;
        let rows = rows.rows().collect::<Option<Vec<LogRow<'_>>>>().ok_or_else(|| misfit(NAME))?;
        let mut keyed: Vec<&LogRow<'_>> = Vec::with_capacity(rows.len());
        for row in &rows {
            match row.kind {
                LogKind::Closed => {
                    let ended = self.take_ended(row.number);
                    self.remove(&ended);
                }
                LogKind::Key | LogKind::Row => keyed.push(row),
                LogKind::Gone | LogKind::Waiting => return Err(misfit(NAME)),
            }
        }
        let deadlines = match &self.spec.bucket {
            Some(bucket) => {
                let columns = self.key_codec.decode(keyed.iter().map(|row| row.key))?;
                bucket.of_rows(&batch_of(&self.key_schema, columns, keyed.len())?)?
            }
            None => Vec::new(),
        };
        let lengths = self.logged_lengths(&keyed)?;
        for (idx, row) in keyed.iter().enumerate() {
            let key = self.key(row.key, deadlines.get(idx).copied());
            match row.kind {
                LogKind::Row => {
                    let n_order = lengths.get(idx).copied().unwrap_or(ARRIVAL_BYTES as u32);
                    self.read_row(key, row, n_order);
                }
                _ => {
                    let dropped = std::mem::take(&mut self.kept[key as usize]);
                    self.free(&dropped);
                }
            }
        }
        Ok(())
    }

    /// By logged row: how many of its bytes say where it stands in order; empty where nobody asks, or all have as many.
    fn logged_lengths(&self, keyed: &[&LogRow<'_>]) -> Result<Vec<u32>, OperatorError> {
        if self.order_codec.is_none() {
            let is_latest = matches!(self.spec.order, TopOrder::LatestArrival);
            return Ok(if is_latest { Vec::new() } else { vec![0; keyed.len()] });
        }
        let bytes: Vec<&[u8]> = keyed.iter().filter(|row| row.kind == LogKind::Row).map(|row| row.value).collect();
        let mut lengths = self.order_lengths(&self.row_codec.decode(&bytes)?)?.into_iter();
        let of_row = |row: &&LogRow<'_>| if row.kind == LogKind::Row { lengths.next().unwrap_or_default() } else { 0 };
        Ok(keyed.iter().map(of_row).collect())
    }

    /// Brings the rows of a key that are equal to a logged one to their number.
    fn read_row(&mut self, key: u32, row: &LogRow<'_>, n_order: u32) {
        if let (TopOrder::LatestArrival, Some(number)) = (&self.spec.order, row.value.first_chunk::<ARRIVAL_BYTES>()) {
            self.next_arrival = self.next_arrival.max((!u64::from_be_bytes(*number)).saturating_add(1));
        }
        let wanted = usize::try_from(row.number).unwrap_or_default();
        let (known, mut dropped) = (self.equal_rows(key, row.value), Vec::new());
        let surplus = known.start + wanted.min(known.len())..known.end;
        dropped.extend(self.kept[key as usize].drain(surplus));
        for _ in known.len()..wanted {
            let candidate = Candidate { bytes: row.value, n_order };
            let Some(place) = self.place(key, &candidate) else { break };
            self.insert(key, place, &candidate, &mut dropped);
        }
        self.free(&dropped);
    }
}
