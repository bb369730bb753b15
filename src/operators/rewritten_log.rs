//! A log of one operator that is rewritten all the time: what a restore must bring back from any of it.

use arrow::array::RecordBatch;

use super::Operator;

/// Deltas and slices in the order in which epochs wrote them; what stands before a complete pass of slices is cut off.
#[derive(Debug)]
pub(super) struct RewrittenLog {
    logged: Vec<RecordBatch>,
    /// How many slots an epoch writes again; none: it writes deltas only.
    slots: usize,
    /// Where the running pass began in the log, and the next slot that it writes.
    pass: Option<(usize, usize)>,
}

impl RewrittenLog {
    /// An empty log of epochs that write so many slots again.
    pub fn new(slots: usize) -> Self {
        Self { logged: Vec::new(), slots, pass: None }
    }

    /// Takes what an epoch logs: the delta, then a slice.
    pub fn append(&mut self, operator: &mut dyn Operator) {
        let (first, slot) = self.pass.unwrap_or((self.logged.len(), 0));
        self.logged.extend(operator.take_delta().unwrap());
        if self.slots == 0 {
            return;
        }
        match operator.slice(slot..slot + self.slots).unwrap() {
            Some(slice) => {
                self.logged.extend((slice.num_rows() > 0).then_some(slice));
                self.pass = Some((first, slot + self.slots));
            }
            None => {
                self.logged.drain(..first);
                self.pass = None;
            }
        }
    }

    /// How many batches it holds.
    pub fn len(&self) -> usize {
        self.logged.len()
    }

    /// Brings a new operator to where the log ends. The running pass is given up, as after a crash.
    pub fn restore(&mut self, operator: &mut dyn Operator) {
        self.logged.iter().for_each(|delta| operator.restore(delta).unwrap());
        self.pass = None;
    }
}
