//! What sinks have written lately, on the board: the newest rows, and the newest row of each place.

use super::super::cells::{MapCells, MapLayer};
use super::super::dataflow::EpochRun;
use super::super::newest::NewestRow;
use super::{StatusBoard, StatusKeeper};

impl StatusBoard {
    /// The newest rows of each sink behind a number, newest first, and the number of the newest.
    pub fn rows_after(&self, seq: u64) -> (Vec<NewestRow>, u64) {
        self.rows.after(seq)
    }

    /// The sinks whose rows have a place on the map.
    pub fn map_layers(&self) -> Vec<MapLayer> {
        self.placed.list()
    }

    /// The newest row of each place of a sink; none if its rows have no place.
    pub fn map_cells(&self, sink: &str) -> Option<MapCells> {
        self.placed.cells(sink)
    }
}

impl StatusKeeper {
    /// Shows the rows that a committed epoch wrote.
    pub(in super::super) fn written(&self, run: &EpochRun, now_ms: i64) {
        self.board.rows.add(run, now_ms);
        self.board.placed.add(run, now_ms);
    }
}
