//! Hands a table's changes on at most so often: `EMIT CHANGES EVERY`.

use arrow::datatypes::SchemaRef;

use super::{EpochContext, Operator, OperatorError, Output, StateSize};
use crate::stream::ChangeBatch;

/// How often a table's changes leave.
///
/// Time is divided into spans of the wall clock. The first changes of a span leave at once, later ones with the first epoch of
/// the next, as net differences. While tables are being loaded, and without a clock as in a replay, all leave at once.
/// Nothing is logged: what waited at a crash leaves with the table that is derived anew.
#[derive(Clone, Debug)]
pub struct PaceSpec {
    /// The length of a span in milliseconds.
    pub every_ms: i64,
    /// The table.
    pub schema: SchemaRef,
}

/// The least number of waiting rows that are made net before they leave.
const NET_ROWS_MIN: usize = 1 << 12;

/// Hands a table's changes on at most so often.
pub struct Pace {
    spec: PaceSpec,
    waiting: Vec<ChangeBatch>,
    n_waiting: usize,
    /// How many rows waited when they were last made net.
    n_net: usize,
    /// The span in which changes left last.
    last_span: i64,
}

impl Pace {
    /// Nothing waits yet.
    pub fn new(spec: PaceSpec) -> Self {
        Self { spec, waiting: Vec::new(), n_waiting: 0, n_net: 0, last_span: i64::MIN }
    }

    fn net(&mut self) -> Result<ChangeBatch, OperatorError> {
        let waiting = std::mem::take(&mut self.waiting);
        let all = ChangeBatch::concat(&self.spec.schema, &waiting)?;
        Ok(if waiting.len() > 1 { all.consolidate()? } else { all })
    }

    /// Keeps what waits in bounds: a row that changes again and again waits once.
    fn keep(&mut self, input: &ChangeBatch) -> Result<(), OperatorError> {
        if input.is_empty() {
            return Ok(());
        }
        self.waiting.push(input.clone());
        self.n_waiting += input.len();
        if self.n_waiting > NET_ROWS_MIN.max(self.n_net.saturating_mul(2)) {
            let net = self.net()?;
            (self.n_waiting, self.n_net) = (net.len(), net.len());
            self.waiting.extend((!net.is_empty()).then_some(net));
        }
        Ok(())
    }
}

impl Operator for Pace {
    fn process(&mut self, inputs: &[ChangeBatch], ctx: &EpochContext) -> Result<Output, OperatorError> {
        inputs.iter().try_for_each(|input| self.keep(input))?;
        let span = ctx.clock_ms.div_euclid(self.spec.every_ms.max(1));
        let is_free = !ctx.loaded || ctx.clock_ms == i64::MAX;
        if self.waiting.is_empty() || !(is_free || span > self.last_span) {
            return Ok(ChangeBatch::empty(self.spec.schema.clone()).into());
        }
        if !is_free {
            self.last_span = span;
        }
        (self.n_waiting, self.n_net) = (0, 0);
        Ok(self.net()?.into())
    }

    fn forget(&mut self, inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<ChangeBatch, OperatorError> {
        // Called while nothing waits.
        Ok(ChangeBatch::concat(&self.spec.schema, inputs)?)
    }

    fn next_hand_over(&self) -> Option<i64> {
        let next = self.last_span.saturating_add(1).saturating_mul(self.spec.every_ms.max(1));
        (!self.waiting.is_empty()).then_some(next)
    }

    fn n_waiting(&self) -> usize {
        self.n_waiting
    }

    fn state_size(&self) -> StateSize {
        let bytes = self.waiting.iter().map(|b| b.rows.get_array_memory_size() + b.len() * size_of::<i64>()).sum();
        StateSize { rows: self.n_waiting, bytes }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};
    use proptest::prelude::*;

    use super::*;
    use crate::operators::zset_model::{ZSet, add, epoch, lines};

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
    }

    fn changes(rows: &[(i64, i64)]) -> ChangeBatch {
        let mut net = std::collections::BTreeMap::new();
        rows.iter().for_each(|(n, weight)| *net.entry(*n).or_insert(0) += weight);
        net.retain(|_, weight| *weight != 0);
        let numbers = Arc::new(Int64Array::from_iter_values(net.keys().copied()));
        ChangeBatch::table(RecordBatch::try_new(schema(), vec![numbers]).unwrap(), net.into_values().collect())
    }

    fn pace() -> Pace {
        Pace::new(PaceSpec { every_ms: 100, schema: schema() })
    }

    fn at(clock_ms: i64, loaded: bool) -> EpochContext {
        EpochContext { clock_ms, ..epoch(0, 0, loaded) }
    }

    proptest! {
        #[test]
        fn changes_leave_net_and_once_a_span(
            epochs in prop::collection::vec((prop::collection::vec((0i64..4, prop_oneof![Just(1i64), Just(-1)]), 0..6), 0i64..80), 1..30),
        ) {
            let (mut pace, mut clock, mut table, mut seen) = (pace(), 1_000, ZSet::new(), ZSet::new());
            let mut spans = Vec::new();
            for (rows, passed) in &epochs {
                clock += passed;
                let input = changes(rows);
                add(&mut table, &input);
                let output = pace.process(&[input], &at(clock, true)).unwrap().changes;
                if !output.is_empty() {
                    spans.push(clock / 100);
                    prop_assert_eq!(pace.n_waiting(), 0);
                }
                let signs: ZSet = lines(&output.rows).into_iter().zip(output.weights.iter().map(|w| w.signum())).collect();
                let same = lines(&output.rows).into_iter().zip(output.weights.iter()).all(|(l, w)| signs[&l] == w.signum());
                prop_assert!(same, "not net");
                add(&mut seen, &output);
                if pace.n_waiting() == 0 {
                    prop_assert_eq!(&seen, &table);
                    prop_assert_eq!(pace.next_hand_over(), None);
                } else {
                    prop_assert_eq!(pace.next_hand_over(), Some((clock / 100 + 1) * 100));
                }
            }
            prop_assert!(spans.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", spans);
            add(&mut seen, &pace.process(&[], &at(clock + 100, true)).unwrap().changes);
            prop_assert_eq!(seen, table);
        }
    }

    #[test]
    fn while_loading_and_in_a_replay_nothing_waits() {
        for ctx in [at(5, false), at(i64::MAX, true)] {
            let mut pace = pace();
            assert_eq!(pace.process(&[changes(&[(1, 1)])], &ctx).unwrap().changes.len(), 1);
            assert_eq!(pace.process(&[changes(&[(2, 1)])], &ctx).unwrap().changes.len(), 1);
        }
    }

    #[test]
    fn what_waits_stays_in_bounds() {
        let mut pace = pace();
        pace.process(&[changes(&[(0, 1)])], &at(5, true)).unwrap();
        for n in 0..40_000 {
            pace.process(&[changes(&[(n % 2, 1), ((n + 1) % 2, -1)])], &at(6, true)).unwrap();
            assert!(pace.n_waiting() <= NET_ROWS_MIN + 2);
        }
    }
}
