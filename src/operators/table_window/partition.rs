//! The rows of every partition, sorted, in runs.
//!
//! A short partition is one run; a long one is a list of them, so that a change rewrites only the runs it falls into.
//! Rows are held as bytes whose order is the order in which the first kernels want them.

use smallvec::SmallVec;

use super::kernels::Checkpoint;
use super::run::{Run, RunWriter};
use super::versions::Versions;
use crate::state::{KeyIndex, RowArena};

/// A run with more rows or more bytes is divided into runs of about half as many.
pub(super) const RUN_ROWS: usize = 512;
const RUN_BYTES: usize = 32 << 10;
/// A run with less than this part of [`RUN_ROWS`] is joined with the next one when it is rewritten.
const SMALL_RUN: usize = 8;
/// From so many runs on a partition is long: an append computes its tail only.
const LONG_RUNS: usize = 4;

/// The net change of one row.
#[derive(Clone, Copy)]
pub(super) struct RowChange<'a> {
    /// The row's bytes.
    pub row: &'a [u8],
    /// What is added to its weight; not zero.
    pub weight: i64,
}

/// A run of a partition, and what the kernels knew before its first row.
#[derive(Default)]
struct RunEntry {
    id: u32,
    checkpoint: Option<Box<Checkpoint>>,
}

/// The rows of every partition.
pub(super) struct Partitions {
    run_rows: usize,
    keys: KeyIndex,
    /// By key id.
    runs: Vec<SmallVec<[RunEntry; 1]>>,
    arena: RowArena,
    writer: RunWriter,
    n_rows: usize,
    n_checkpoint_bytes: usize,
}

impl Partitions {
    /// No partition; runs will have at most `run_rows` rows.
    pub(super) fn new(run_rows: usize) -> Self {
        Self {
            run_rows,
            keys: KeyIndex::default(),
            runs: Vec::new(),
            arena: RowArena::default(),
            writer: RunWriter::default(),
            n_rows: 0,
            n_checkpoint_bytes: 0,
        }
    }

    /// The id of a partition, made if it is not there. [`Partitions::apply`] forgets it when it is left without rows.
    pub(super) fn id(&mut self, key: &[u8]) -> u32 {
        let (id, new) = self.keys.get_or_insert(key);
        if new && self.runs.len() <= id as usize {
            self.runs.resize_with(id as usize + 1, SmallVec::new);
        }
        id
    }

    /// Whether a partition has many rows.
    pub(super) fn is_long(&self, id: u32) -> bool {
        self.runs[id as usize].len() >= LONG_RUNS
    }

    /// The last run from which `first_change` can be computed on: `margin` seen rows or more lie between, and the state of
    /// the kernels before it is known.
    pub(super) fn resume_at(&self, id: u32, first_change: &[u8], margin: usize) -> usize {
        let entries = &self.runs[id as usize];
        let mut at = entries.partition_point(|e| self.run(e).get(0).0 <= first_change).saturating_sub(1);
        let mut seen = entries.get(at).map_or(0, |e| self.run(e).visible_before(Some(first_change)));
        while at > 0 && (seen < margin || entries[at].checkpoint.is_none()) {
            at -= 1;
            seen += self.run(&entries[at]).visible_before(None);
        }
        at
    }

    /// What the kernels knew before a run; none before the first.
    pub(super) fn checkpoint(&self, id: u32, run: usize) -> Option<&Checkpoint> {
        self.runs[id as usize].get(run).and_then(|e| e.checkpoint.as_deref())
    }

    /// For each run after `from`, how many rows are seen from the start of run `from` to its start.
    pub(super) fn run_starts(&self, id: u32, from: usize) -> Vec<usize> {
        let entries = self.runs[id as usize].get(from..).unwrap_or_default();
        let mut seen = 0;
        let mut starts = Vec::with_capacity(entries.len());
        for entry in entries {
            starts.push(seen);
            seen += self.run(entry).visible_before(None);
        }
        starts.drain(..1.min(starts.len()));
        starts
    }

    /// Notes what the kernels know before the runs after `from`.
    pub(super) fn set_checkpoints(&mut self, id: u32, from: usize, checkpoints: Vec<Option<Checkpoint>>) {
        let entries = self.runs[id as usize].iter_mut().skip(from + 1);
        for (entry, checkpoint) in entries.zip(checkpoints) {
            entry.checkpoint = checkpoint.map(Box::new);
            self.n_checkpoint_bytes += entry.checkpoint.as_ref().map_or(0, |c| c.size_bytes());
        }
    }

    /// Hands out the rows of the runs before `to`.
    pub(super) fn read(&self, id: u32, to: usize, versions: &mut Versions) {
        for entry in self.runs[id as usize].iter().take(to) {
            let run = self.run(entry);
            versions.push_run(&run, run.len());
        }
    }

    /// Adds changes, sorted by row, that fall into the runs from `from` on, and hands out all rows of those runs.
    pub(super) fn apply(&mut self, id: u32, from: usize, mut changes: &[RowChange], versions: &mut Versions) {
        let mut entries = std::mem::take(&mut self.runs[id as usize]);
        let touched: SmallVec<[RunEntry; 1]> = entries.drain(from..).collect();
        let mut writer = std::mem::take(&mut self.writer);
        let n_touched = touched.len();
        // What the kernels knew before the first touched run stays true; what they knew before later ones does not.
        let mut checkpoint = None;
        for (at, mut entry) in touched.into_iter().enumerate() {
            if let Some(stale) = entry.checkpoint.take() {
                if at == 0 {
                    checkpoint = Some(stale);
                } else {
                    self.n_checkpoint_bytes -= stale.size_bytes();
                }
            }
            let run = Run::unpack(self.arena.get(entry.id));
            let mine = if at + 1 == n_touched {
                changes.len()
            } else {
                let (last, _) = run.get(run.len() - 1);
                changes.partition_point(|c| c.row <= last)
            };
            let (mine, later) = changes.split_at(mine);
            changes = later;
            if mine.is_empty() && writer.len() == 0 {
                versions.push_run(&run, run.len());
                entries.push(entry);
                continue;
            }
            self.n_rows -= run.len();
            merge(run, mine, versions, &mut writer);
            self.arena.remove(entry.id);
            if writer.len() * SMALL_RUN >= self.run_rows || at + 1 == n_touched {
                self.n_rows += writer.len();
                store(&mut writer, self.run_rows, &mut self.arena, &mut entries);
            }
        }
        if n_touched == 0 {
            merge(Run::EMPTY, changes, versions, &mut writer);
            self.n_rows += writer.len();
            store(&mut writer, self.run_rows, &mut self.arena, &mut entries);
        }
        if let Some(entry) = entries.get_mut(from) {
            entry.checkpoint = checkpoint;
        } else if let Some(stale) = checkpoint {
            self.n_checkpoint_bytes -= stale.size_bytes();
        }
        self.writer = writer;
        if entries.is_empty() {
            self.keys.remove(id);
        }
        self.runs[id as usize] = entries;
    }

    /// Forgets what the kernels knew.
    pub(super) fn drop_checkpoints(&mut self) {
        self.runs.iter_mut().flatten().for_each(|e| e.checkpoint = None);
        self.n_checkpoint_bytes = 0;
    }

    /// The number of distinct rows.
    pub(super) fn len(&self) -> usize {
        self.n_rows
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        let entries: usize =
            self.runs.iter().filter(|r| r.spilled()).map(|r| r.capacity() * size_of::<RunEntry>()).sum();
        self.keys.size_bytes()
            + self.arena.size_bytes()
            + self.runs.capacity() * size_of::<SmallVec<[RunEntry; 1]>>()
            + entries
            + self.n_checkpoint_bytes
    }

    fn run(&self, entry: &RunEntry) -> Run<'_> {
        Run::unpack(self.arena.get(entry.id))
    }
}

/// Merges a run with changes into the writer, and hands out every row with its weight before and after.
fn merge(run: Run, changes: &[RowChange], versions: &mut Versions, writer: &mut RunWriter) {
    // Rows before the first change, often all of them, are copied as a whole.
    let n_before = changes.first().map_or(run.len(), |c| run.rows_before(c.row));
    versions.push_run(&run, n_before);
    writer.push_run(&run, n_before);
    let mut emit = |row: &[u8], before: i64, after: i64| {
        versions.push(row, before, after);
        if after != 0 {
            writer.push(row, after);
        }
    };
    let (mut at, mut changes) = (n_before, changes.iter().peekable());
    while at < run.len() {
        let (row, before) = run.get(at);
        let Some(change) = changes.next_if(|c| c.row <= row) else {
            emit(row, before, before);
            at += 1;
            continue;
        };
        if change.row < row {
            emit(change.row, 0, change.weight);
        } else {
            emit(row, before, before.wrapping_add(change.weight));
            at += 1;
        }
    }
    changes.for_each(|c| emit(c.row, 0, c.weight));
}

/// Packs what was written into one run, or into several where it is too much for one.
fn store(writer: &mut RunWriter, run_rows: usize, arena: &mut RowArena, entries: &mut SmallVec<[RunEntry; 1]>) {
    let n_rows = writer.len();
    let n_runs = if n_rows <= run_rows && writer.row_bytes() <= RUN_BYTES {
        1
    } else {
        (n_rows.div_ceil((run_rows / 2).max(1))).max(writer.row_bytes().div_ceil(RUN_BYTES / 2)).min(n_rows)
    };
    for piece in 0..n_runs {
        let (from, to) = (n_rows * piece / n_runs, n_rows * (piece + 1) / n_runs);
        if from < to {
            let id = arena.insert(writer.pack(from, to));
            entries.push(RunEntry { id, checkpoint: None });
        }
    }
    writer.clear();
}
