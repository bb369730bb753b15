//! A list of rows that frames reach, and how far each frame has come in each partition.
//!
//! Rows of a partition form a list from the oldest to the youngest, in flat vectors. Both ends of a frame only ever move
//! forward, so that each row enters and leaves once, and a row that all frames have passed is dropped. A list holds all
//! rows, or those that have a value; where rows wait for later ones, it holds those, too.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat;

use super::entered::Entered;
use super::frame_view::{Asked, Bounds, FrameView, NONE, Pick, is_before, is_within};
use super::layout::{Layout, Place, Run};
use super::{FrameBound, RunningFrame};
use crate::operators::OperatorError;
use crate::operators::groups::batch_of;
use crate::operators::row_codec::RowCodec;
use crate::state::RowArena;

/// A row of the list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub group: u32,
    next: u32,
    /// How many rows of its partition went before it in the list.
    pub ordinal: u64,
    pub time: i64,
    /// Its index among the rows of this epoch.
    row: u32,
    is_dirty: bool,
}

/// What a row has to be known by besides, where its place in the list does not say enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub place: Place,
    /// The watermark for which it waits, where frames end at a later time.
    pub deadline: i64,
}

/// How far a frame has come in a partition: it holds the rows from `start` until before `end`, by their place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub start: u64,
    pub end: u64,
    start_node: u32,
    end_node: u32,
    last_node: u32,
}

const AT_START: Cursor = Cursor { start: 0, end: 0, start_node: NONE, end_node: NONE, last_node: NONE };

/// What a list is for.
pub(super) struct ListUse {
    pub frames: Vec<RunningFrame>,
    /// Whether a frame's first rows stay although it has no start: a function lists them.
    pub pins: Vec<bool>,
    /// Whether the place of a row is more than how many of the list went before it.
    pub is_standing: bool,
    /// Whether rows stay until they were given out.
    pub is_pending: bool,
}

/// The rows that frames of one operator reach.
pub(super) struct FrameRows {
    codec: RowCodec,
    of: ListUse,
    rows: RowArena,
    nodes: Vec<Node>,
    /// By node; empty where places say enough.
    standings: Vec<Standing>,
    /// By group.
    heads: Vec<u32>,
    tails: Vec<u32>,
    /// By group: how many rows it has had.
    lengths: Vec<u64>,
    /// By frame, then by group. Behind those of the frames, where rows wait: what was given out.
    cursors: Vec<Vec<Cursor>>,
    dirty: Vec<u32>,
    /// The nodes of rows of this epoch.
    new: Vec<u32>,
    /// The nodes of rows that were looked up in it.
    looked_up: Vec<u32>,
    /// The rows of this epoch.
    batch: Option<RecordBatch>,
    /// While logged rows are read: the node of each by group and place in the list.
    restored: Option<HashMap<(u32, u64), u32>>,
}

impl FrameRows {
    /// No rows. `codec` encodes the columns that functions read.
    pub fn new(codec: RowCodec, of: ListUse) -> Self {
        Self {
            codec,
            cursors: vec![Vec::new(); of.frames.len() + usize::from(of.is_pending)],
            of,
            rows: RowArena::default(),
            nodes: Vec::new(),
            standings: Vec::new(),
            heads: Vec::new(),
            tails: Vec::new(),
            lengths: Vec::new(),
            dirty: Vec::new(),
            new: Vec::new(),
            looked_up: Vec::new(),
            batch: None,
            restored: None,
        }
    }

    /// Makes room for group ids below `n_groups`.
    pub fn resize(&mut self, n_groups: usize) {
        let n_groups = n_groups.max(self.heads.len());
        self.heads.resize(n_groups, NONE);
        self.tails.resize(n_groups, NONE);
        self.lengths.resize(n_groups, 0);
        self.cursors.iter_mut().for_each(|c| c.resize(n_groups, AT_START));
    }

    /// Appends rows of an epoch, which `batch` has in the columns that functions read. Where rows wait for a later time,
    /// `deadlines` has it for each.
    pub fn append(
        &mut self,
        entered: &Entered,
        layout: &Layout,
        batch: RecordBatch,
        times: Option<&[i64]>,
        deadlines: &[i64],
    ) -> Result<(), OperatorError> {
        if !self.cursors.is_empty() {
            let encoded = self.codec.encode_arrays(batch.columns())?;
            for run in &entered.runs {
                for (ordinal, row) in (run.first..).zip(entered.rows_of(run)) {
                    let time = times.and_then(|times| times.get(*row as usize)).copied().unwrap_or_default();
                    let standing = Standing {
                        place: layout.places[*row as usize],
                        deadline: deadlines.get(*row as usize).copied().unwrap_or(i64::MIN),
                    };
                    let id = self.insert(run.group, ordinal, time, standing, encoded.get(*row as usize));
                    let node = &mut self.nodes[id as usize];
                    node.row = *row;
                    self.new.push(id);
                    if !std::mem::replace(&mut node.is_dirty, true) {
                        self.dirty.push(id);
                    }
                }
            }
        }
        self.batch = Some(batch);
        Ok(())
    }

    fn insert(&mut self, group: u32, ordinal: u64, time: i64, standing: Standing, bytes: &[u8]) -> u32 {
        let id = self.rows.insert(bytes);
        let node = Node { group, next: NONE, ordinal, time, row: NONE, is_dirty: false };
        if self.nodes.len() <= id as usize {
            self.nodes.resize(id as usize + 1, node);
        }
        self.nodes[id as usize] = node;
        if self.of.is_standing {
            self.standings.resize(self.nodes.len(), Standing::default());
            self.standings[id as usize] = standing;
        }
        self.lengths[group as usize] = self.lengths[group as usize].max(ordinal + 1);
        let tail = std::mem::replace(&mut self.tails[group as usize], id);
        match self.nodes.get_mut(tail as usize) {
            Some(tail) => tail.next = id,
            None => self.heads[group as usize] = id,
        }
        for cursor in self.cursors.iter_mut().map(|c| &mut c[group as usize]) {
            if cursor.start == ordinal {
                cursor.start_node = id;
            }
            if cursor.end == ordinal {
                cursor.end_node = id;
            }
        }
        id
    }

    /// Where a row stands in its partition.
    fn place(&self, id: u32) -> Place {
        match self.standings.get(id as usize) {
            Some(standing) => standing.place,
            // Nothing more is asked of it.
            None => Place { position: self.nodes[id as usize].ordinal, ..Place::default() },
        }
    }

    /// Moves a frame over rows, partition by partition. Events are told only where something is aggregated.
    pub fn advance(&mut self, frame: usize, layout: &Layout, bounds: &Bounds, asked: &Asked<'_>) -> FrameView {
        let Asked { picks, aggregates } = *asked;
        let mut view = FrameView { picks: vec![Vec::new(); picks.len()], ..FrameView::default() };
        let Some(RunningFrame { start, end, .. }) = self.of.frames.get(frame).copied() else { return view };
        for run in &layout.runs {
            for row in run.rows.clone() {
                let here = &layout.places[row];
                let mut cursor = self.cursors[frame][run.group as usize];
                while let Some(node) = self.nodes.get(cursor.start_node as usize).copied()
                    && is_before(start, self.place(cursor.start_node), node.time, here, row, bounds)
                {
                    self.step_start(&mut cursor, node, aggregates.then_some((&mut view, run.group)));
                }
                while let Some(node) = self.nodes.get(cursor.end_node as usize).copied()
                    && is_within(end, self.place(cursor.end_node), node.time, here, row, bounds)
                {
                    if aggregates {
                        let number = self.number(cursor.end_node);
                        view.events.push(run.group, number, 1);
                    }
                    cursor.last_node = cursor.end_node;
                    (cursor.end, cursor.end_node) = (cursor.end + 1, node.next);
                }
                while let FrameBound::Latest(n) = start
                    && cursor.end.saturating_sub(cursor.start) > n
                    && let Some(node) = self.nodes.get(cursor.start_node as usize).copied()
                {
                    self.step_start(&mut cursor, node, aggregates.then_some((&mut view, run.group)));
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

    /// Moves the start of a frame over a row, which leaves it if it was in it.
    fn step_start(&mut self, cursor: &mut Cursor, node: Node, told: Option<(&mut FrameView, u32)>) {
        if cursor.start >= cursor.end {
            (cursor.end, cursor.end_node) = (cursor.start + 1, node.next);
        } else if let Some((view, group)) = told {
            let number = self.number(cursor.start_node);
            view.events.push(group, number, -1);
        }
        (cursor.start, cursor.start_node) = (cursor.start + 1, node.next);
    }

    fn pick(&mut self, pick: Pick, cursor: Cursor, view: &mut FrameView, idx: usize) {
        let n_rows = cursor.end.saturating_sub(cursor.start);
        let node = match pick {
            Pick::First => cursor.start_node,
            Pick::Last => cursor.last_node,
            Pick::Nth(n) if n <= n_rows => (1..n).fold(cursor.start_node, |node, _| self.next(node)),
            Pick::FirstOf(n) if n == n_rows => cursor.start_node,
            Pick::Nth(_) | Pick::FirstOf(_) => NONE,
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
        let n_new = self.batch.as_ref().map_or(0, RecordBatch::num_rows);
        let Some(node) = self.nodes.get_mut(id as usize) else { return NONE };
        if node.row == NONE {
            node.row = (n_new + self.looked_up.len()) as u32;
            self.looked_up.push(id);
        }
        node.row
    }

    /// The rows of the epoch, then those that were looked up, in the columns that functions read.
    pub fn rows(&self, schema: &arrow::datatypes::SchemaRef) -> Result<RecordBatch, OperatorError> {
        let new = self.batch.clone().unwrap_or_else(|| RecordBatch::new_empty(schema.clone()));
        if self.looked_up.is_empty() {
            return Ok(new);
        }
        let known = self.decode(&self.looked_up)?;
        let both = |(new, known): (&ArrayRef, &ArrayRef)| concat(&[new.as_ref(), known.as_ref()]);
        let columns = new.columns().iter().zip(&known).map(both).collect::<Result<Vec<_>, _>>()?;
        batch_of(schema, columns, new.num_rows() + self.looked_up.len())
    }

    /// Rows in the columns that functions read.
    pub fn decode(&self, ids: &[u32]) -> Result<Vec<ArrayRef>, OperatorError> {
        self.codec.decode(ids.iter().map(|id| self.rows.get(*id)))
    }

    /// Takes the rows of a partition that wait, from the oldest, as long as they are ready.
    pub fn give(&mut self, group: u32, is_ready: impl Fn(&Standing) -> bool) -> Vec<u32> {
        let mut given = Vec::new();
        while let Some((id, standing)) = self.waiting(group).filter(|(_, standing)| is_ready(standing)) {
            given.push(id);
            let next = self.next(id);
            if let Some(cursor) = self.given_mut(group) {
                let start = standing.place.position + 1;
                *cursor = Cursor { start, end: start, start_node: next, end_node: next, last_node: NONE };
            }
        }
        given
    }

    /// The oldest row of a partition that waits.
    pub fn waiting(&self, group: u32) -> Option<(u32, Standing)> {
        let cursors = self.cursors.last().filter(|_| self.of.is_pending)?;
        let id = cursors.get(group as usize)?.start_node;
        Some((id, *self.standings.get(id as usize)?))
    }

    fn given_mut(&mut self, group: u32) -> Option<&mut Cursor> {
        self.cursors.last_mut().filter(|_| self.of.is_pending)?.get_mut(group as usize)
    }

    /// Ends an epoch: drops the rows of the partitions of `runs` that no frame reaches any more.
    pub fn trim(&mut self, runs: &[Run]) {
        self.batch = None;
        for id in std::mem::take(&mut self.new).into_iter().chain(std::mem::take(&mut self.looked_up)) {
            self.nodes[id as usize].row = NONE;
        }
        if !self.cursors.is_empty() {
            runs.iter().for_each(|run| self.trim_group(run.group));
        }
    }

    fn trim_group(&mut self, group: u32) {
        let frames = self.of.frames.iter().zip(&self.of.pins).map(Some).chain(std::iter::repeat(None));
        let reached = frames.zip(&self.cursors).map(|(frame, cursors)| {
            let cursor = cursors[group as usize];
            let is_open = frame.is_some_and(|(frame, pinned)| frame.start == FrameBound::Unbounded && !pinned);
            // The last row that has entered may be asked for again.
            if is_open { cursor.end.saturating_sub(1) } else { cursor.start }
        });
        let keep = reached.min().unwrap_or(0);
        while let Some(head) = self.nodes.get(self.heads[group as usize] as usize).copied()
            && head.ordinal < keep
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
            restored.remove(&(group, head.ordinal));
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
        self.lengths[group as usize] = 0;
        self.cursors.iter_mut().for_each(|c| c[group as usize] = AT_START);
    }

    /// How far each frame has come in a partition.
    pub fn cursors(&self, group: u32) -> impl Iterator<Item = Cursor> {
        self.cursors.iter().map(move |cursors| cursors[group as usize])
    }

    /// How many rows a partition has had.
    pub fn length(&self, group: u32) -> u64 {
        self.lengths[group as usize]
    }

    /// The rows that came since the last call, of those that are still there.
    pub fn take_dirty(&mut self) -> Vec<u32> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|id| std::mem::replace(&mut self.nodes[*id as usize].is_dirty, false));
        dirty
    }

    /// A row that is kept, if the id is in use: its node, where it stands if that is told apart, and its bytes.
    pub fn get(&self, id: u32) -> Option<(Node, Option<Standing>, &[u8])> {
        let of_id = || (self.nodes[id as usize], self.standings.get(id as usize).copied(), self.rows.get(id));
        self.rows.contains(id).then(of_id)
    }

    /// Sets how far a frame has come in a partition.
    pub fn restore_cursor(&mut self, frame: usize, group: u32, start: u64, end: u64) {
        if let Some(cursor) = self.cursors.get_mut(frame).and_then(|c| c.get_mut(group as usize)) {
            *cursor = Cursor { start, end, ..AT_START };
        }
    }

    /// Sets how many rows a partition has had.
    pub fn restore_length(&mut self, group: u32, length: u64) {
        self.lengths[group as usize] = length;
    }

    /// Takes a logged row in, which may be known already.
    pub fn restore_row(&mut self, group: u32, ordinal: u64, time: i64, standing: Standing, bytes: &[u8]) {
        if !self.restored.get_or_insert_default().contains_key(&(group, ordinal)) {
            let id = self.insert(group, ordinal, time, standing, bytes);
            self.restored.get_or_insert_default().insert((group, ordinal), id);
        }
    }

    /// Brings the rows that were restored in order, after the last was.
    pub fn settle(&mut self) {
        if self.restored.take().is_none() {
            return;
        }
        for group in 0..self.heads.len() as u32 {
            let mut ids: Vec<u32> = self.ids(group).collect();
            ids.sort_unstable_by_key(|id| self.nodes[*id as usize].ordinal);
            let nexts = ids.iter().skip(1).copied().chain(std::iter::once(NONE));
            for (id, next) in ids.iter().zip(nexts) {
                self.nodes[*id as usize].next = next;
            }
            self.heads[group as usize] = ids.first().copied().unwrap_or(NONE);
            self.tails[group as usize] = ids.last().copied().unwrap_or(NONE);
            self.trim_group(group);
            let nodes: Vec<(u64, u32)> = self.ids(group).map(|id| (self.nodes[id as usize].ordinal, id)).collect();
            let at = |ordinal: Option<u64>| {
                let found = ordinal.and_then(|o| nodes.binary_search_by_key(&o, |(ordinal, _)| *ordinal).ok());
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
            let holds = |id: &u32| (cursor.start..cursor.end).contains(&self.nodes[*id as usize].ordinal);
            ids.extend(self.ids(group as u32).filter(holds));
        }
        let groups = ids.iter().map(|id| self.nodes[*id as usize].group).collect();
        Ok((groups, self.decode(&ids)?))
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
            + self.standings.capacity() * size_of::<Standing>()
            + (self.heads.capacity() + self.tails.capacity() + self.dirty.capacity()) * size_of::<u32>()
            + self.lengths.capacity() * size_of::<u64>()
            + self.cursors.iter().map(|c| c.capacity() * size_of::<Cursor>()).sum::<usize>()
    }
}
