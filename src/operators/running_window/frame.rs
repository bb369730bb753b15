//! The frames of OVER on a stream, and the functions over them.

use std::fmt;

use super::RunningWindowSpec;
use crate::operators::AggregateCall;

/// The rows of its partition that a row's functions see.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunningFrame {
    /// The first row.
    pub start: FrameBound,
    /// The last row.
    pub end: FrameBound,
    /// The input column of which only rows count that have a value (IGNORE NULLS); none = all rows count.
    pub with_value_in: Option<usize>,
}

/// An end of a frame. What lies ahead is found by event time only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameBound {
    /// The first row of the partition.
    Unbounded,
    /// So many rows before the row; 0 = the row itself.
    Rows(u64),
    /// So many rows behind the row.
    RowsAhead(u64),
    /// The rows that equal the row in order: the first of them, or the last.
    Peers,
    /// The rows that are equal in order, so many different ones before those that equal the row: the first of them, or the
    /// last.
    Groups(u64),
    /// The same behind the row.
    GroupsAhead(u64),
    /// Rows whose event time lies at or after (a start), at or before (an end) the timestamp in this input column, which
    /// does not lie behind that of the row.
    Range(usize),
    /// The same, where the timestamp lies behind that of the row.
    RangeAhead(usize),
    /// Of a start: the last so many rows before the end. The first value of the frame is that of so many rows, or none.
    Latest(u64),
}

/// A function over a frame, which is given by its index.
#[expect(missing_docs, reason = "the columns are those of the input")]
#[derive(Clone, Debug)]
pub enum RunningFunction {
    /// The number of the row in its partition, from 1.
    RowNumber,
    /// The number of the first row that equals it in order.
    Rank,
    /// The number of different rows in order up to it.
    DenseRank,
    /// An aggregate over the frame.
    Aggregate { call: AggregateCall, frame: usize },
    /// The value at a row of the frame; where there is no such row that of column `default`, else null.
    Value { column: usize, place: ValuePlace, frame: usize, default: Option<usize> },
    /// All values of the frame in order; null over none.
    List { column: usize, frame: usize },
}

/// A place in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuePlace {
    /// The first row.
    First,
    /// The last row.
    Last,
    /// The n-th row, from 1.
    Nth(u64),
}

impl RunningFunction {
    /// The frame, if it has one.
    pub(super) fn frame(&self) -> Option<usize> {
        match self {
            Self::RowNumber | Self::Rank | Self::DenseRank => None,
            Self::Aggregate { frame, .. } | Self::Value { frame, .. } | Self::List { frame, .. } => Some(*frame),
        }
    }
}

impl RunningWindowSpec {
    fn bounds(&self) -> impl Iterator<Item = FrameBound> {
        self.frames.iter().flat_map(|frame| [frame.start, frame.end])
    }

    /// Whether a row waits for later ones.
    pub fn looks_ahead(&self) -> bool {
        use FrameBound::{GroupsAhead, RangeAhead, RowsAhead};
        self.bounds().any(|bound| matches!(bound, RowsAhead(_) | GroupsAhead(_) | RangeAhead(_)))
    }

    /// Whether a row must be known by more than how many went before it.
    pub(super) fn is_extended(&self) -> bool {
        let counts_groups = self.bounds().any(|bound| matches!(bound, FrameBound::Groups(_)));
        counts_groups || self.looks_ahead() || self.frames.iter().any(|frame| frame.with_value_in.is_some())
    }
}

impl fmt::Debug for RunningFrame {
    /// The text is part of what operators are known by: what says nothing is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("RunningFrame");
        text.field("start", &self.start).field("end", &self.end);
        if let Some(column) = &self.with_value_in {
            text.field("with_value_in", column);
        }
        text.finish()
    }
}
