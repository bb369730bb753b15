//! The rows that sliding frames reach back to, and how far each frame has come in each partition.
//!
//! Rows of a partition form a list from the oldest to the youngest, in flat vectors. Both ends of a frame only ever move
//! forward, so that each row enters and leaves once, and a row that all frames have passed is dropped.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;

use super::aggregates::FrameEvents;
use super::layout::{Layout, Run};
use super::{FrameBound, RunningFrame};
use crate::operators::OperatorError;
use crate::operators::groups::batch_of;
use crate::operators::row_codec::RowCodec;
use crate::state::RowArena;

pub(super) const NONE: u32 = u32::MAX;

/// A row that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub group: u32,
    next: u32,
    pub position: u64,
    time: i64,
    /// Its index among the rows of this epoch.
    row: u32,
    is_dirty: bool,
}

/// How far a frame has come in a partition: it holds the rows from `start` until before `end`, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub start: u64,
    pub end: u64,
    start_node: u32,
    end_node: u32,
    last_node: u32,
}

const AT_START: Cursor = Cursor { start: 0, end: 0, start_node: NONE, end_node: NONE, last_node: NONE };

/// Which row of its frame a function takes the value of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    First,
    Last,
    /// From 1.
    Nth(u64),
    All,
}

/// What is asked of a frame.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub picks: &'a [Pick],
    pub aggregates: bool,
}

/// What an epoch's rows see in one frame.
#[derive(Default)]
pub(super) struct FrameView {
    pub events: FrameEvents,
    /// By pick: for each row the index of the row picked, or [`NONE`]; of [`Pick::All`] those of all rows one after the
    /// other, and how many each row has in `lengths`.
    pub picks: Vec<Vec<u32>>,
    pub lengths: Vec<u32>,
    /// For each row how many rows of its partition the frame has come to.
    pub ends: Vec<u64>,
}

/// The columns of an epoch's rows by which frames are bounded.
pub(super) struct Bounds<'a> {
    /// The event time of each row; none where rows come in order of arrival.
    pub times: Option<&'a [i64]>,
    /// By column index: bounds that were computed for each row.
    pub columns: &'a HashMap<usize, Vec<i64>>,
}

impl Bounds<'_> {
    fn time(&self, row: usize) -> i64 {
        self.times.map_or(0, |times| times[row])
    }

    fn column(&self, column: usize, row: usize) -> i64 {
        self.columns.get(&column).map_or(i64::MAX, |bounds| bounds[row])
    }
}

/// The rows that frames of one operator reach.
pub(super) struct FrameRows {
    codec: RowCodec,
    frames: Vec<RunningFrame>,
    /// Whether a frame's first rows stay although it has no start: a function lists them.
    pins: Vec<bool>,
    rows: RowArena,
    nodes: Vec<Node>,
    /// By group.
    heads: Vec<u32>,
    tails: Vec<u32>,
    /// By frame, then by group.
    cursors: Vec<Vec<Cursor>>,
    dirty: Vec<u32>,
    /// The nodes of rows of this epoch and of those that were looked up in it.
    numbered: Vec<u32>,
    /// How many rows this epoch has.
    n_new: usize,
    /// While logged rows are read: the node of each by group and position.
    restored: Option<HashMap<(u32, u64), u32>>,
}

impl FrameRows {
    /// No rows. `codec` encodes the columns that functions read.
    pub fn new(codec: RowCodec, frames: Vec<RunningFrame>, pins: Vec<bool>) -> Self {
        Self {
            codec,
            cursors: vec![Vec::new(); frames.len()],
            frames,
            pins,
            rows: RowArena::default(),
            nodes: Vec::new(),
            heads: Vec::new(),
            tails: Vec::new(),
            dirty: Vec::new(),
            numbered: Vec::new(),
            n_new: 0,
            restored: None,
        }
    }

    /// Makes room for group ids below `n_groups`.
    pub fn resize(&mut self, n_groups: usize) {
        let n_groups = n_groups.max(self.heads.len());
        self.heads.resize(n_groups, NONE);
        self.tails.resize(n_groups, NONE);
        self.cursors.iter_mut().for_each(|c| c.resize(n_groups, AT_START));
    }

    /// Appends the rows of an epoch, of which `arguments` are the columns that functions read.
    pub fn append(
        &mut self,
        layout: &Layout,
        arguments: &[ArrayRef],
        bounds: &Bounds<'_>,
    ) -> Result<(), OperatorError> {
        self.n_new = layout.len();
        if self.frames.is_empty() {
            return Ok(());
        }
        let encoded = self.codec.encode_arrays(arguments)?;
        for run in &layout.runs {
            for row in run.rows.clone() {
                let (position, time) = (layout.positions[row], bounds.time(row));
                let id = self.insert(run.group, position, time, encoded.get(row));
                self.nodes[id as usize].row = row as u32;
                self.numbered.push(id);
                if !std::mem::replace(&mut self.nodes[id as usize].is_dirty, true) {
                    self.dirty.push(id);
                }
            }
        }
        Ok(())
    }

    fn insert(&mut self, group: u32, position: u64, time: i64, bytes: &[u8]) -> u32 {
        let id = self.rows.insert(bytes);
        let node = Node { group, next: NONE, position, time, row: NONE, is_dirty: false };
        if self.nodes.len() <= id as usize {
            self.nodes.resize(id as usize + 1, node);
        }
        self.nodes[id as usize] = node;
        let tail = std::mem::replace(&mut self.tails[group as usize], id);
        match self.nodes.get_mut(tail as usize) {
            Some(tail) => tail.next = id,
            None => self.heads[group as usize] = id,
        }
        for cursor in self.cursors.iter_mut().map(|c| &mut c[group as usize]) {
            if cursor.start == position {
                cursor.start_node = id;
            }
            if cursor.end == position {
                cursor.end_node = id;
            }
        }
        id
    }

    /// Moves a frame over the rows that were appended. Events are told only where something is aggregated.
    pub fn advance(&mut self, frame: usize, layout: &Layout, bounds: &Bounds<'_>, asked: &Asked<'_>) -> FrameView {
        let Asked { picks, aggregates } = *asked;
        let mut view = FrameView { picks: vec![Vec::new(); picks.len()], ..FrameView::default() };
        let Some(RunningFrame { start, end }) = self.frames.get(frame).copied() else { return view };
        for run in &layout.runs {
            for row in run.rows.clone() {
                let mut cursor = self.cursors[frame][run.group as usize];
                let (position, peers) = (layout.positions[row], &layout.peers[row]);
                let position_of = |row: u32| run.first_position + (u64::from(row) - run.rows.start as u64);
                while let Some(node) = self.nodes.get(cursor.start_node as usize).copied()
                    && match start {
                        FrameBound::Unbounded => false,
                        FrameBound::Rows(n) => cursor.start < position.saturating_sub(n),
                        FrameBound::Peers => cursor.start < position_of(peers.start),
                        FrameBound::Range(column) => node.time < bounds.column(column, row),
                    }
                {
                    if cursor.start >= cursor.end {
                        (cursor.end, cursor.end_node) = (cursor.start + 1, node.next);
                    } else if aggregates {
                        let number = self.number(cursor.start_node);
                        view.events.push(run.group, number, -1);
                    }
                    (cursor.start, cursor.start_node) = (cursor.start + 1, node.next);
                }
                while let Some(node) = self.nodes.get(cursor.end_node as usize).copied()
                    && match end {
                        FrameBound::Unbounded => false,
                        FrameBound::Rows(n) => cursor.end.saturating_add(n) <= position,
                        FrameBound::Peers => cursor.end < position_of(peers.end),
                        FrameBound::Range(column) => node.time <= bounds.column(column, row),
                    }
                {
                    if aggregates {
                        let number = self.number(cursor.end_node);
                        view.events.push(run.group, number, 1);
                    }
                    cursor.last_node = cursor.end_node;
                    (cursor.end, cursor.end_node) = (cursor.end + 1, node.next);
                }
                self.cursors[frame][run.group as usize] = cursor;
                view.events.read(run.group);
                view.ends.push(cursor.end);
                for (idx, pick) in picks.iter().enumerate() {
                    self.pick(*pick, cursor, &mut view, idx);
                }
            }
        }
        view
    }

    fn pick(&mut self, pick: Pick, cursor: Cursor, view: &mut FrameView, idx: usize) {
        let n_rows = cursor.end.saturating_sub(cursor.start);
        let node = match pick {
            Pick::First => cursor.start_node,
            Pick::Last => cursor.last_node,
            Pick::Nth(n) if n <= n_rows => (1..n).fold(cursor.start_node, |node, _| self.next(node)),
            Pick::Nth(_) => NONE,
            Pick::All => {
                let mut node = cursor.start_node;
                for _ in 0..n_rows {
                    let number = self.number(node);
                    view.picks[idx].push(number);
                    node = self.next(node);
                }
                return view.lengths.push(n_rows as u32);
            }
        };
        let number = if n_rows == 0 { NONE } else { self.number(node) };
        view.picks[idx].push(number);
    }

    fn next(&self, node: u32) -> u32 {
        self.nodes.get(node as usize).map_or(NONE, |node| node.next)
    }

    /// The index of a row among those of [`FrameRows::rows`].
    fn number(&mut self, id: u32) -> u32 {
        let Some(node) = self.nodes.get_mut(id as usize) else { return NONE };
        if node.row == NONE {
            node.row = self.numbered.len() as u32;
            self.numbered.push(id);
        }
        node.row
    }

    /// The rows of the epoch, then those that were looked up, in the columns that functions read.
    pub fn rows(&self, new: &RecordBatch) -> Result<RecordBatch, OperatorError> {
        let looked_up = self.numbered.get(self.n_new..).unwrap_or_default();
        if looked_up.is_empty() {
            return Ok(new.clone());
        }
        let known = self.codec.decode(looked_up.iter().map(|id| self.rows.get(*id)))?;
        let both = |(new, known): (&ArrayRef, &ArrayRef)| concat(&[new.as_ref(), known.as_ref()]);
        let columns = new.columns().iter().zip(&known).map(both).collect::<Result<Vec<_>, _>>()?;
        batch_of(&new.schema(), columns, self.n_new + looked_up.len())
    }

    /// Ends an epoch: drops the rows of the partitions of `runs` that no frame reaches any more.
    pub fn trim(&mut self, runs: &[Run]) {
        for id in std::mem::take(&mut self.numbered) {
            self.nodes[id as usize].row = NONE;
        }
        if !self.frames.is_empty() {
            runs.iter().for_each(|run| self.trim_group(run.group));
        }
    }

    fn trim_group(&mut self, group: u32) {
        let frames = self.frames.iter().zip(&self.pins).zip(&self.cursors);
        let reached = frames.map(|((frame, pinned), cursors)| {
            let cursor = cursors[group as usize];
            let is_open = frame.start == FrameBound::Unbounded && !pinned;
            // The last row that has entered may be asked for again.
            if is_open { cursor.end.saturating_sub(1) } else { cursor.start }
        });
        let keep = reached.min().unwrap_or(0);
        while let Some(head) = self.nodes.get(self.heads[group as usize] as usize).copied()
            && head.position < keep
        {
            self.remove_head(group, head);
        }
    }

    fn remove_head(&mut self, group: u32, head: Node) {
        let id = std::mem::replace(&mut self.heads[group as usize], head.next);
        if head.next == NONE {
            self.tails[group as usize] = NONE;
        }
        if let Some(restored) = &mut self.restored {
            restored.remove(&(group, head.position));
        }
        self.nodes[id as usize].is_dirty = false;
        self.rows.remove(id);
    }

    /// Forgets a partition.
    pub fn clear(&mut self, group: u32) {
        let Some(head) = self.heads.get(group as usize) else { return };
        let mut head = *head;
        while let Some(node) = self.nodes.get(head as usize).copied() {
            self.remove_head(group, node);
            head = node.next;
        }
        self.cursors.iter_mut().for_each(|c| c[group as usize] = AT_START);
    }

    /// How far each frame has come in a partition.
    pub fn cursors(&self, group: u32) -> impl Iterator<Item = Cursor> {
        self.cursors.iter().map(move |cursors| cursors[group as usize])
    }

    /// The rows that came since the last call, of those that are still there.
    pub fn take_dirty(&mut self) -> Vec<u32> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|id| std::mem::replace(&mut self.nodes[*id as usize].is_dirty, false));
        dirty
    }

    /// A row that is kept, if the id is in use: its node, its event time and its bytes.
    pub fn get(&self, id: u32) -> Option<(Node, i64, &[u8])> {
        self.rows.contains(id).then(|| (self.nodes[id as usize], self.nodes[id as usize].time, self.rows.get(id)))
    }

    /// Sets how far a frame has come in a partition.
    pub fn restore_cursor(&mut self, frame: usize, group: u32, start: u64, end: u64) {
        if let Some(cursor) = self.cursors.get_mut(frame).and_then(|c| c.get_mut(group as usize)) {
            *cursor = Cursor { start, end, ..AT_START };
        }
    }

    /// Takes a logged row in, which may be known already.
    pub fn restore_row(&mut self, group: u32, position: u64, time: i64, bytes: &[u8]) {
        if !self.restored.get_or_insert_default().contains_key(&(group, position)) {
            let id = self.insert(group, position, time, bytes);
            self.restored.get_or_insert_default().insert((group, position), id);
        }
    }

    /// Brings the rows that were restored in order, after the last was.
    pub fn settle(&mut self) {
        if self.restored.take().is_none() {
            return;
        }
        for group in 0..self.heads.len() as u32 {
            let mut ids: Vec<u32> = self.ids(group).collect();
            ids.sort_unstable_by_key(|id| self.nodes[*id as usize].position);
            let nexts = ids.iter().skip(1).copied().chain(std::iter::once(NONE));
            for (id, next) in ids.iter().zip(nexts) {
                self.nodes[*id as usize].next = next;
            }
            self.heads[group as usize] = ids.first().copied().unwrap_or(NONE);
            self.tails[group as usize] = ids.last().copied().unwrap_or(NONE);
            self.trim_group(group);
            let nodes: Vec<(u64, u32)> = self.ids(group).map(|id| (self.nodes[id as usize].position, id)).collect();
            let at = |position: Option<u64>| {
                let found = position.and_then(|p| nodes.binary_search_by_key(&p, |(position, _)| *position).ok());
                found.and_then(|idx| nodes.get(idx)).map_or(NONE, |(_, id)| *id)
            };
            for cursor in self.cursors.iter_mut().map(|c| &mut c[group as usize]) {
                cursor.start_node = at(Some(cursor.start));
                cursor.end_node = at(Some(cursor.end));
                cursor.last_node = at(cursor.end.checked_sub(1));
            }
        }
    }

    fn ids(&self, group: u32) -> impl Iterator<Item = u32> {
        let mut at = self.heads.get(group as usize).copied().unwrap_or(NONE);
        std::iter::from_fn(move || {
            let node = self.nodes.get(at as usize)?;
            Some(std::mem::replace(&mut at, node.next))
        })
    }

    /// The rows that a frame holds now, over all partitions: the group of each, and the columns that functions read.
    pub fn content(&self, frame: usize) -> Result<(Vec<u32>, Vec<ArrayRef>), OperatorError> {
        let mut ids = Vec::new();
        for (group, cursor) in self.cursors.get(frame).into_iter().flatten().enumerate() {
            let holds = |id: &u32| (cursor.start..cursor.end).contains(&self.nodes[*id as usize].position);
            ids.extend(self.ids(group as u32).filter(holds));
        }
        let groups = ids.iter().map(|id| self.nodes[*id as usize].group).collect();
        Ok((groups, self.codec.decode(ids.iter().map(|id| self.rows.get(*id)))?))
    }

    /// One more than the greatest row id ever given.
    pub fn id_limit(&self) -> usize {
        self.nodes.len()
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.rows.size_bytes()
            + self.nodes.capacity() * size_of::<Node>()
            + (self.heads.capacity() + self.tails.capacity() + self.dirty.capacity()) * size_of::<u32>()
            + self.cursors.iter().map(|c| c.capacity() * size_of::<Cursor>()).sum::<usize>()
    }
}
