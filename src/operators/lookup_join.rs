//! Joins rows of a stream with the rows that a table has at that moment.

use super::table_join::Lookup;
use super::{EpochContext, Operator, OperatorError, Output, StateSize, TableJoinSpec};
use crate::stream::ChangeBatch;

/// What a stream's row looks up. Input 0 is the stream, input 1 the table; columns as in [`TableJoinSpec`].
///
/// Changes of the table are taken in before the stream's rows of the same epoch. Semi and anti joins keep the left columns.
#[derive(Clone)]
pub struct LookupJoinSpec {
    /// The join, as between tables.
    pub join: TableJoinSpec,
}

/// Joins rows of a stream with the rows that a table has at that moment.
///
/// Its state, the table's rows by key, is derived and not logged. A table's row of weight n is met n times.
pub struct LookupJoin {
    lookup: Lookup,
}

impl LookupJoin {
    /// One shard, empty. Refuses what cannot be joined.
    pub fn new(spec: LookupJoinSpec) -> Result<Self, OperatorError> {
        Ok(Self { lookup: Lookup::new(spec.join)? })
    }
}

impl Operator for LookupJoin {
    fn process(&mut self, inputs: &[ChangeBatch], _ctx: &EpochContext) -> Result<Output, OperatorError> {
        Ok(self.lookup.process(inputs)?.into())
    }

    fn state_size(&self) -> StateSize {
        self.lookup.state_size()
    }
}

impl std::fmt::Debug for LookupJoinSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LookupJoinSpec").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::table_join::model::{
        Case, Contents, any_case, any_changes, any_row, context, fold, shown, table,
    };
    use super::*;
    use crate::operators::JoinKind;
    use crate::stream::Order;

    fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
        rows.sort();
        rows
    }

    fn sequence(batch: &ChangeBatch) -> Vec<u64> {
        match &batch.order {
            Order::Sequence(s) => s.to_vec(),
            _ => Vec::new(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn each_row_meets_the_table_as_it_is_at_that_moment((case, epochs) in any_case().prop_flat_map(|case| {
            let epoch = (prop::collection::vec(any_row(case), 0..8), any_changes(case));
            (Just(case), prop::collection::vec(epoch, 1..8))
        })) {
            let mut join = LookupJoin::new(LookupJoinSpec { join: case.spec() }).unwrap();
            let mut contents = Contents::new();
            for (rows, changes) in epochs {
                fold(&mut contents, &changes);
                let stream = ChangeBatch::stream(case.left_batch(&rows), (100..100 + rows.len() as u64).collect());
                let inputs = [stream, table(&changes, |r| case.right_batch(r))];
                let output = join.process(&inputs, &context()).unwrap().changes;
                let from = sequence(&output);
                prop_assert!(from.is_sorted());
                prop_assert_eq!(from.len(), output.len());
                prop_assert!(output.weights.iter().all(|w| *w == 1));
                let mut got: BTreeMap<u64, Vec<Vec<String>>> = BTreeMap::new();
                for (row, number) in shown(&output.rows).into_iter().zip(from) {
                    got.entry(number).or_default().push(row);
                }
                for (number, row) in (100..).zip(&rows) {
                    let repeat = |(row, n): (Vec<String>, i64)| vec![row; n as usize];
                    let expected = case.rows_of(row, &contents).into_iter().flat_map(repeat).collect();
                    prop_assert_eq!(sorted(got.remove(&number).unwrap_or_default()), sorted(expected));
                }
                prop_assert!(got.is_empty());
            }
        }
    }

    #[test]
    fn rows_that_follow_from_state_keep_their_order() {
        let case = Case {
            kind: JoinKind::Left,
            n_keys: 0,
            as_of: false,
            filtered: false,
            null_equals_null: false,
            null_aware: false,
        };
        let mut join = LookupJoin::new(LookupJoinSpec { join: case.spec() }).unwrap();
        let row = |value| super::super::table_join::model::ModelRow {
            keys: vec![],
            time: None,
            value: Some(value),
            text: None,
        };
        let mut stream = ChangeBatch::stream(case.left_batch(&[row(1), row(2)]), vec![0, 0]);
        stream.order = Order::Key(vec![Some(b"b".as_ref()), Some(b"a".as_ref())].into());
        let changes = [(row(8), 1), (row(9), 1)];
        let output = join.process(&[stream, table(&changes, |r| case.right_batch(r))], &context()).unwrap().changes;
        let Order::Key(keys) = output.order else { panic!("the order was lost") };
        assert_eq!(keys.iter().flatten().collect::<Vec<_>>(), [b"b", b"b", b"a", b"a"]);
    }
}
