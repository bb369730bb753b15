//! What is logged of OVER on a stream: rows that wait, the state of partitions, rows that frames reach.

use std::ops::Range;

use arrow::array::RecordBatch;

use super::frame_rows::Standing;
use super::layout::Place;
use super::{RunningOrder, RunningWindow};
use crate::operators::OperatorError;
use crate::operators::log_rows::{LogKind, LogReader, LogRow, LogWriter, misfit};
use crate::stream::Watermark;

const NAME: &str = "running_window";

impl RunningWindow {
    /// What changed since the last call. What left comes first, so that it is gone before anything comes again.
    pub(super) fn write_delta(&mut self) -> Result<Option<RecordBatch>, OperatorError> {
        let mut log = LogWriter::default();
        for key in std::mem::take(&mut self.gone) {
            log.push(LogKind::Gone, 0, &key, &[]);
        }
        if let Some(closed) = self.closed.take() {
            log.push(LogKind::Closed, closed, &[], &[]);
        }
        let mut state = Vec::new();
        for group in self.partitions.take_dirty() {
            self.begin_state(group, &mut state);
            self.functions.write(group, &mut state);
            log.push(LogKind::Key, 0, self.partitions.key(group), &state);
        }
        self.functions.written();
        for list in 0..self.functions.lists.len() {
            for id in self.functions.lists[list].rows.take_dirty() {
                self.write_row(list, id, &mut log);
            }
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.write_delta(&mut log);
        }
        log.delta()
    }

    /// A slot holds the partition, the row of a frame and the row that waits of that id.
    pub(super) fn write_slice(&self, slots: Range<usize>) -> Result<Option<RecordBatch>, OperatorError> {
        let n_waiting = self.waiting.as_ref().map_or(0, |w| w.id_limit());
        let n_rows = self.functions.lists.iter().map(|list| list.rows.id_limit()).max().unwrap_or_default();
        let limit = self.partitions.id_limit().max(n_rows).max(n_waiting);
        if slots.start >= limit {
            return Ok(None);
        }
        let slots = slots.start..slots.end.min(limit);
        let mut log = LogWriter::default();
        let mut state = Vec::new();
        for id in slots.start as u32..slots.end as u32 {
            if self.partitions.partition(id).is_some() {
                self.begin_state(id, &mut state);
                self.functions.write_whole(id, &mut state);
                log.push(LogKind::Key, 0, self.partitions.key(id), &state);
            }
            (0..self.functions.lists.len()).for_each(|list| self.write_row(list, id, &mut log));
        }
        if let Some(waiting) = &self.waiting {
            waiting.write_slice(slots, &mut log);
        }
        log.finish().map(Some)
    }

    fn begin_state(&self, group: u32, out: &mut Vec<u8>) {
        let partition = self.partitions.partition(group).copied().unwrap_or_default();
        out.clear();
        out.extend_from_slice(&partition.n_rows.to_le_bytes());
        out.extend_from_slice(&partition.n_peers.to_le_bytes());
        out.extend_from_slice(&partition.last_time.to_le_bytes());
    }

    /// A row says where it stands only where that does not follow from its place in the list of all rows.
    fn write_row(&self, list: usize, id: u32, log: &mut LogWriter) {
        let Some((node, standing, bytes)) = self.functions.lists.get(list).and_then(|list| list.rows.get(id)) else {
            return;
        };
        let mut value = node.time.to_le_bytes().to_vec();
        if let Some(Standing { place, deadline }) = standing {
            value.push(list as u8);
            for number in [place.position, place.first, place.last, place.number, deadline as u64] {
                value.extend_from_slice(&number.to_le_bytes());
            }
        }
        value.extend_from_slice(bytes);
        log.push(LogKind::Row, node.ordinal as i64, self.partitions.key(node.group), &value);
    }

    /// Applies a delta or a slice.
    pub(super) fn read(&mut self, delta: &RecordBatch) -> Result<(), OperatorError> {
        let rows = LogReader::new(delta, NAME)?;
        let rows = rows.rows().collect::<Option<Vec<LogRow<'_>>>>().ok_or_else(|| misfit(NAME))?;
        for row in &rows {
            match row.kind {
                LogKind::Gone => {
                    let group: Vec<u32> = self.partitions.get(row.key).into_iter().collect();
                    self.remove(&group);
                }
                LogKind::Closed => self.read_closed(row.number),
                LogKind::Key | LogKind::Row | LogKind::Waiting => {}
            }
        }
        let keyed: Vec<&LogRow<'_>> =
            rows.iter().filter(|row| matches!(row.kind, LogKind::Key | LogKind::Row)).collect();
        let keys: Vec<&[u8]> = keyed.iter().map(|row| row.key).collect();
        let groups = self.partitions.restore(&keys, self.spec.bucket.as_ref())?;
        self.functions.resize(self.partitions.id_limit());
        for (row, group) in keyed.iter().zip(groups) {
            self.read_keyed(row, group).ok_or_else(|| misfit(NAME))?;
        }
        let waiting: Vec<(&[u8], i64)> =
            rows.iter().filter(|row| row.kind == LogKind::Waiting).map(|row| (row.key, row.number)).collect();
        match (&self.spec.order, &mut self.waiting) {
            (RunningOrder::EventTime { release, .. }, Some(rows)) => {
                rows.restore(&waiting, |rows| release.of_rows(rows))
            }
            _ if waiting.is_empty() => Ok(()),
            _ => Err(misfit(NAME)),
        }
    }

    fn read_closed(&mut self, watermark: i64) {
        if let Some(waiting) = &mut self.waiting {
            waiting.restore_closed(watermark);
        }
        let closed = self.partitions.take_closed(Watermark(watermark));
        self.remove(&closed);
    }

    /// Applies the state, or a row, of a partition; none if the bytes are not such.
    fn read_keyed(&mut self, row: &LogRow<'_>, group: u32) -> Option<()> {
        if row.kind == LogKind::Row {
            let (time, mut bytes) = row.value.split_first_chunk::<8>()?;
            let (mut list, mut standing) = (0, Standing::default());
            if self.spec.is_extended() {
                let (number, rest) = bytes.split_first()?;
                (list, bytes) = (usize::from(*number), rest);
                standing = read_standing(&mut bytes)?;
            }
            let ordinal = u64::try_from(row.number).ok()?;
            return self.functions.restore_row(list, group, ordinal, i64::from_le_bytes(*time), standing, bytes);
        }
        let (n_rows, rest) = row.value.split_first_chunk::<8>()?;
        let (n_peers, rest) = rest.split_first_chunk::<8>()?;
        let (last_time, rest) = rest.split_first_chunk::<8>()?;
        let (n_rows, n_peers) = (u64::from_le_bytes(*n_rows), u64::from_le_bytes(*n_peers));
        self.partitions.set(group, n_rows, n_peers, i64::from_le_bytes(*last_time));
        self.functions.read(group, rest)
    }
}

/// Takes off the front of logged bytes where a row stands.
fn read_standing(bytes: &mut &[u8]) -> Option<Standing> {
    let mut number = || {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        *bytes = rest;
        Some(u64::from_le_bytes(*head))
    };
    let place = Place { position: number()?, first: number()?, last: number()?, number: number()? };
    Some(Standing { place, deadline: number()? as i64 })
}
