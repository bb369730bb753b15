//! What a join means: nested loops over the final contents of both sides. Tests compare with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::compute::kernels::cmp::lt_eq;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::{JoinKind, TableJoinSpec};
use crate::operators::{EpochContext, Predicate};
use crate::stream::{ChangeBatch, Watermark};

/// A row of either side: keys, time, and two own columns (the left side has no text).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::operators) struct ModelRow {
    pub(in crate::operators) keys: Vec<Option<i64>>,
    pub(in crate::operators) time: Option<i64>,
    pub(in crate::operators) value: Option<i64>,
    pub(in crate::operators) text: Option<String>,
}

pub(in crate::operators) type Contents = BTreeMap<ModelRow, i64>;
/// An output row, as text.
pub(in crate::operators) type Shown = Vec<String>;

/// What varies between joins.
#[derive(Clone, Copy, Debug)]
pub(in crate::operators) struct Case {
    pub(in crate::operators) kind: JoinKind,
    pub(in crate::operators) n_keys: usize,
    pub(in crate::operators) as_of: bool,
    pub(in crate::operators) filtered: bool,
    pub(in crate::operators) null_equals_null: bool,
    pub(in crate::operators) null_aware: bool,
}

pub(in crate::operators) fn any_case() -> impl Strategy<Value = Case> {
    use JoinKind::{Inner, Left, LeftAnti, LeftMark, LeftSemi};
    let kind = prop::sample::select(vec![Inner, Left, LeftSemi, LeftAnti, LeftMark]);
    (kind, 0usize..3, any::<[bool; 3]>(), 0u8..4).prop_map(|(kind, n_keys, [as_of, filtered, nulls], not_in)| {
        if not_in == 0 {
            return Case {
                kind: LeftAnti,
                n_keys: 1,
                as_of: false,
                filtered,
                null_equals_null: false,
                null_aware: true,
            };
        }
        Case { kind, n_keys, as_of, filtered, null_equals_null: nulls, null_aware: false }
    })
}

pub(in crate::operators) fn any_row(case: Case) -> impl Strategy<Value = ModelRow> {
    let key = prop::option::weighted(0.85, 0i64..4);
    (
        prop::collection::vec(key, case.n_keys),
        prop::option::weighted(0.9, 0i64..8),
        prop::option::weighted(0.9, 0i64..3),
        prop::option::of("[ab]"),
    )
        .prop_map(move |(keys, time, value, text)| ModelRow {
            keys,
            time: time.filter(|_| case.as_of),
            value,
            text,
        })
}

pub(in crate::operators) fn any_changes(case: Case) -> impl Strategy<Value = Vec<(ModelRow, i64)>> {
    let weight = prop::sample::select(vec![1i64, 1, 1, 1, 2, -1, -1, -2]);
    prop::collection::vec((any_row(case), weight), 0..8)
}

impl Case {
    pub(in crate::operators) fn spec(&self) -> TableJoinSpec {
        let number = |name: &str| Field::new(name, DataType::Int64, true);
        let left = vec![number("k"), number("lv")];
        let right = vec![number("rv"), Field::new("rs", DataType::Utf8, true)];
        let mut output = left.clone();
        match self.kind {
            JoinKind::Inner | JoinKind::Left | JoinKind::Full => output.extend(right.clone()),
            JoinKind::LeftMark => output.push(Field::new("mark", DataType::Boolean, false)),
            _ => {}
        }
        let filter: Predicate = Arc::new(|pairs| Ok(lt_eq(pairs.column(1), pairs.column(2))?));
        TableJoinSpec {
            kind: self.kind,
            n_keys: self.n_keys,
            as_of: self.as_of,
            null_equals_null: self.null_equals_null,
            null_aware: self.null_aware,
            filter: self.filtered.then_some(filter),
            left: Arc::new(Schema::new(left)),
            right: Arc::new(Schema::new(right)),
            keys: vec![DataType::Int64; self.n_keys],
            schema: Arc::new(Schema::new(output)),
        }
    }

    fn batch(&self, rows: &[ModelRow], own: Vec<(Field, ArrayRef)>) -> RecordBatch {
        let mut columns: Vec<(Field, ArrayRef)> = (0..self.n_keys)
            .map(|k| {
                let key: ArrayRef = Arc::new(rows.iter().map(|r| r.keys[k]).collect::<Int64Array>());
                (Field::new(format!("key{k}"), DataType::Int64, true), key)
            })
            .collect();
        if self.as_of {
            let times: ArrayRef = Arc::new(rows.iter().map(|r| r.time).collect::<TimestampMillisecondArray>());
            columns.push((Field::new("time", DataType::Timestamp(TimeUnit::Millisecond, None), true), times));
        }
        columns.extend(own);
        let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        RecordBatch::try_new(schema, columns).unwrap()
    }

    /// Rows of the left side; its first own column repeats the first key column, if there is one.
    pub(in crate::operators) fn left_batch(&self, rows: &[ModelRow]) -> RecordBatch {
        let keys: ArrayRef = Arc::new(rows.iter().map(|r| r.keys.first().copied().flatten()).collect::<Int64Array>());
        let values: ArrayRef = Arc::new(rows.iter().map(|r| r.value).collect::<Int64Array>());
        let number = |name: &str| Field::new(name, DataType::Int64, true);
        self.batch(rows, vec![(number("k"), keys), (number("lv"), values)])
    }

    pub(in crate::operators) fn right_batch(&self, rows: &[ModelRow]) -> RecordBatch {
        let values: ArrayRef = Arc::new(rows.iter().map(|r| r.value).collect::<Int64Array>());
        let texts: ArrayRef = Arc::new(rows.iter().map(|r| r.text.clone()).collect::<StringArray>());
        let own =
            vec![(Field::new("rv", DataType::Int64, true), values), (Field::new("rs", DataType::Utf8, true), texts)];
        self.batch(rows, own)
    }

    fn key_matches(&self, left: &ModelRow, right: &ModelRow) -> bool {
        left.keys.iter().zip(&right.keys).all(|(l, r)| match (l, r) {
            (Some(l), Some(r)) => l == r,
            (None, None) => self.null_equals_null || self.null_aware,
            _ => self.null_aware,
        })
    }

    fn accepts(&self, left: &ModelRow, right: &ModelRow) -> bool {
        !self.filtered || matches!((left.value, right.value), (Some(l), Some(r)) if l <= r)
    }

    /// The right rows that a left row meets, with their weights.
    pub(in crate::operators) fn matches<'a>(&self, left: &ModelRow, right: &'a Contents) -> Vec<(&'a ModelRow, i64)> {
        let meets = right
            .iter()
            .filter(|(r, w)| **w > 0 && self.key_matches(left, r) && self.accepts(left, r))
            .map(|(r, w)| (r, *w));
        if !self.as_of {
            return meets.collect();
        }
        let Some(at) = left.time else { return Vec::new() };
        let in_force = meets.filter(|(r, _)| r.time.is_some_and(|t| t <= at));
        in_force.max_by_key(|(r, _)| (r.time, r.value, r.text.clone())).map(|(r, _)| (r, 1)).into_iter().collect()
    }

    /// The output rows of one left row.
    pub(in crate::operators) fn rows_of(&self, left: &ModelRow, right: &Contents) -> Vec<(Shown, i64)> {
        let show = |v: Option<i64>| v.map_or_else(|| "null".to_owned(), |v| v.to_string());
        let own = vec![show(left.keys.first().copied().flatten()), show(left.value)];
        let with = |more: Vec<String>| own.iter().cloned().chain(more).collect::<Shown>();
        let found = self.matches(left, right);
        let pairs = found
            .iter()
            .map(|(r, w)| (with(vec![show(r.value), r.text.clone().unwrap_or_else(|| "null".to_owned())]), *w));
        match self.kind {
            JoinKind::Left | JoinKind::Full if found.is_empty() => vec![(with(vec!["null".into(), "null".into()]), 1)],
            JoinKind::Inner | JoinKind::Left | JoinKind::Full => pairs.collect(),
            JoinKind::LeftSemi if !found.is_empty() => vec![(own, 1)],
            JoinKind::LeftAnti if found.is_empty() => vec![(own, 1)],
            JoinKind::LeftMark => vec![(with(vec![(!found.is_empty()).to_string()]), 1)],
            JoinKind::LeftSemi | JoinKind::LeftAnti => Vec::new(),
        }
    }

    /// The whole join.
    pub(in crate::operators) fn join(&self, left: &Contents, right: &Contents) -> BTreeMap<Shown, i64> {
        let mut output = BTreeMap::new();
        for (row, weight) in left.iter().filter(|(_, w)| **w > 0) {
            for (shown, n) in self.rows_of(row, right) {
                *output.entry(shown).or_insert(0) += n * weight;
            }
        }
        let show = |v: Option<i64>| v.map_or_else(|| "null".to_owned(), |v| v.to_string());
        for (row, weight) in right.iter().filter(|(_, w)| self.kind == JoinKind::Full && **w > 0) {
            let meets = |l: &ModelRow| self.key_matches(l, row) && self.accepts(l, row);
            if !left.iter().any(|(l, w)| *w > 0 && meets(l)) {
                let text = row.text.clone().unwrap_or_else(|| "null".to_owned());
                let shown = vec!["null".into(), "null".into(), show(row.value), text];
                *output.entry(shown).or_insert(0) += weight;
            }
        }
        output
    }
}

pub(in crate::operators) fn fold(contents: &mut Contents, changes: &[(ModelRow, i64)]) {
    for (row, weight) in changes {
        *contents.entry(row.clone()).or_insert(0) += weight;
    }
    contents.retain(|_, w| *w != 0);
}

/// Splits changes into rows and weights.
pub(in crate::operators) fn table(
    changes: &[(ModelRow, i64)],
    batch: impl Fn(&[ModelRow]) -> RecordBatch,
) -> ChangeBatch {
    let (rows, weights): (Vec<ModelRow>, Vec<i64>) = changes.iter().cloned().unzip();
    ChangeBatch::table(batch(&rows), weights)
}

/// The rows of a batch as text.
pub(in crate::operators) fn shown(rows: &RecordBatch) -> Vec<Shown> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> = rows.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    (0..rows.num_rows()).map(|i| columns.iter().map(|c| c.value(i).to_string()).collect()).collect()
}

pub(in crate::operators) fn context() -> EpochContext {
    EpochContext::new(vec![Watermark::MIN; 2], vec![Watermark::MIN; 2], true)
}
