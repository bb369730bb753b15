//! What rows see of their partition in one frame, and which rows of a list lie in it.

use std::collections::HashMap;

use super::FrameBound;
use super::aggregates::FrameEvents;
use super::layout::Place;

pub(super) const NONE: u32 = u32::MAX;

/// Which row of its frame a function takes the value of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    First,
    Last,
    /// From 1.
    Nth(u64),
    /// The first, if the frame has so many rows.
    FirstOf(u64),
    All,
}

/// What is asked of a frame.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub picks: &'a [Pick],
    pub aggregates: bool,
}

/// What rows see in one frame.
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

/// By input column: the times by which frames are bounded, row by row.
#[derive(Default)]
pub(super) struct Bounds(pub HashMap<usize, Vec<i64>>);

impl Bounds {
    fn column(&self, column: usize, row: usize) -> i64 {
        self.0.get(&column).and_then(|bounds| bounds.get(row)).copied().unwrap_or(i64::MAX)
    }
}

/// Whether a row of the list lies before the start of the frame of a row, which stands `here`.
pub(super) fn is_before(start: FrameBound, place: Place, time: i64, here: &Place, row: usize, bounds: &Bounds) -> bool {
    match start {
        FrameBound::Unbounded | FrameBound::Latest(_) => false,
        FrameBound::Rows(n) => place.position.saturating_add(n) < here.position,
        FrameBound::RowsAhead(n) => place.position < here.position.saturating_add(n),
        FrameBound::Peers => place.position < here.first,
        FrameBound::Groups(n) => place.number.saturating_add(n) < here.number,
        FrameBound::GroupsAhead(n) => place.number < here.number.saturating_add(n),
        FrameBound::Range(column) | FrameBound::RangeAhead(column) => time < bounds.column(column, row),
    }
}

/// Whether a row of the list lies at or before the end of the frame of a row, which stands `here`.
pub(super) fn is_within(end: FrameBound, place: Place, time: i64, here: &Place, row: usize, bounds: &Bounds) -> bool {
    match end {
        FrameBound::Unbounded | FrameBound::Latest(_) => false,
        FrameBound::Rows(n) => place.position.saturating_add(n) <= here.position,
        FrameBound::RowsAhead(n) => place.position <= here.position.saturating_add(n),
        FrameBound::Peers => place.position <= here.last,
        FrameBound::Groups(n) => place.number.saturating_add(n) <= here.number,
        FrameBound::GroupsAhead(n) => place.number <= here.number.saturating_add(n),
        FrameBound::Range(column) | FrameBound::RangeAhead(column) => time <= bounds.column(column, row),
    }
}
