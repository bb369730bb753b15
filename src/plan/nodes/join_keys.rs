//! Which columns identify a row of a join.
//!
//! A left row meets the right rows that agree with it in the equated columns: so what identifies a right row among those,
//! beside the left row's key, identifies the pair. Where the equated columns hold the right side's whole key (n:1) nothing
//! is left to add.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion::common::Column;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan};

use super::super::builder::{Builder, Facts};
use super::super::lineage;
use crate::operators::JoinKind;

/// So many keys of a join are remembered at most.
const KEYS_MAX: usize = 16;

/// One side of a join, as far as keys are concerned.
pub(super) struct KeySide<'a> {
    /// The stateless plan that yields its rows.
    pub(super) plan: &'a LogicalPlan,
    /// The equated expressions, in the order of the other side's.
    pub(super) on: &'a [Expr],
    /// The columns handed on.
    pub(super) own: &'a [Column],
}

impl KeySide<'_> {
    /// The equated columns by position in the plan; none where an expression may make different values equal.
    fn equated(&self) -> Vec<Option<usize>> {
        let schema = self.plan.schema();
        let column = |e: &Expr| match e {
            Expr::Column(c) => schema.index_of_column(c).ok(),
            Expr::Cast(Cast { expr, field }) => {
                let from = expr.get_type(schema.as_ref()).ok()?;
                match expr.as_ref() {
                    Expr::Column(c) if keeps_apart(&from, field.data_type()) => schema.index_of_column(c).ok(),
                    _ => None,
                }
            }
            _ => None,
        };
        self.on.iter().map(column).collect()
    }

    /// Where columns of the plan are handed on; none if one of them is not.
    fn handed_on(&self, columns: impl IntoIterator<Item = usize>) -> Option<Vec<usize>> {
        let all = self.plan.schema().columns();
        columns.into_iter().map(|c| self.own.iter().position(|o| Some(o) == all.get(c))).collect()
    }

    fn has_single_row(&self, builder: &Builder<'_>) -> bool {
        let leaves = builder.leaves(self.plan);
        !leaves.is_empty() && leaves.iter().all(|l| builder.facts[*l].single_row)
    }
}

/// Whether a conversion keeps different values different.
fn keeps_apart(from: &DataType, to: &DataType) -> bool {
    let bits = |t: &DataType| t.primitive_width().unwrap_or(0);
    let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    (from.is_signed_integer() && to.is_signed_integer() && bits(to) >= bits(from)) || (is_text(from) && is_text(to))
}

/// What is known of a join: the keys of its rows in the order left columns, right columns; and its smallness.
pub(super) fn facts(builder: &Builder<'_>, left: &KeySide, right: &KeySide, kind: JoinKind, as_of: bool) -> Facts {
    let (left_keys, right_keys) = (lineage::keys(builder, left.plan), lineage::keys(builder, right.plan));
    let (left_on, right_on) = (left.equated(), right.equated());
    let shift = |k: Vec<usize>| -> Vec<usize> { k.into_iter().map(|c| c + left.own.len()).collect() };
    let rest = |key: &[usize], on: &[Option<usize>]| -> Vec<usize> {
        key.iter().copied().filter(|c| !on.contains(&Some(*c))).collect()
    };
    let mut keys: Vec<Vec<usize>> = Vec::new();
    let left_alone = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark) || as_of;
    if left_alone || (right.has_single_row(builder) && kind != JoinKind::Full) {
        keys.extend(left_keys.iter().filter_map(|k| left.handed_on(k.iter().copied())));
    }
    let with_rest = |l: &[usize], r: &[usize]| {
        let (l, r) = (left.handed_on(l.iter().copied())?, right.handed_on(r.iter().copied())?);
        Some(l.into_iter().chain(shift(r)).collect::<Vec<usize>>())
    };
    if !left_alone {
        for (l, r) in left_keys.iter().flat_map(|l| right_keys.iter().map(move |r| (l, r))) {
            match kind {
                // A right row without a match has nothing but its own key.
                JoinKind::Full => keys.extend(with_rest(l, r)),
                _ => keys.extend(with_rest(l, &rest(r, &right_on))),
            }
        }
    }
    if kind == JoinKind::Inner && !as_of {
        for (l, r) in left_keys.iter().flat_map(|l| right_keys.iter().map(move |r| (l, r))) {
            keys.extend(with_rest(&rest(l, &left_on), r));
        }
        let equal = left_on.iter().zip(&right_on).filter_map(|(l, r)| {
            let (l, r) = (left.handed_on([(*l)?])?, right.handed_on([(*r)?])?);
            Some((*l.first()?, *shift(r).first()?))
        });
        with_equal_columns(&mut keys, &equal.collect::<Vec<_>>());
    }
    let mut seen = BTreeSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    // The shortest first; among equals the order above holds.
    keys.sort_by_key(Vec::len);
    keys.truncate(KEYS_MAX);
    let event_time = lineage::event_time(builder, left.plan).and_then(|idx| left.handed_on([idx])).map(|c| c[0]);
    Facts {
        keys,
        coalesced: coalesced(&left_keys, &right_keys, (&left_on, &right_on), kind)
            .then(|| pairs(left, right, (&left_on, &right_on)))
            .flatten(),
        event_time,
        broadcast: builder.is_broadcast(left.plan) && builder.is_broadcast(right.plan),
        ..Facts::default()
    }
}

/// Adds the keys in which an equated column stands for the one that it equals.
fn with_equal_columns(keys: &mut Vec<Vec<usize>>, equal: &[(usize, usize)]) {
    let mut at = 0;
    while let Some(key) = keys.get(at).cloned() {
        at += 1;
        for (a, b) in equal.iter().flat_map(|(l, r)| [(*l, *r), (*r, *l)]) {
            if keys.len() >= KEYS_MAX {
                return;
            }
            if key.contains(&a) && !key.contains(&b) {
                let replaced: Vec<usize> = key.iter().map(|c| if *c == a { b } else { *c }).collect();
                if !keys.contains(&replaced) {
                    keys.push(replaced);
                }
            }
        }
    }
}

/// Whether each value of the equated columns has at most one row in a full join, on whichever side it is.
fn coalesced(
    left_keys: &[Vec<usize>],
    right_keys: &[Vec<usize>],
    on: (&[Option<usize>], &[Option<usize>]),
    kind: JoinKind,
) -> bool {
    // Only key columns are never null, and null equals nothing: further columns would let a key come twice.
    let is_key = |keys: &[Vec<usize>], on: &[Option<usize>]| {
        keys.iter().any(|key| key.len() == on.len() && key.iter().all(|c| on.contains(&Some(*c))))
    };
    kind == JoinKind::Full && is_key(left_keys, on.0) && is_key(right_keys, on.1)
}

fn pairs(left: &KeySide, right: &KeySide, on: (&[Option<usize>], &[Option<usize>])) -> Option<Vec<(usize, usize)>> {
    let l = left.handed_on(on.0.iter().copied().collect::<Option<Vec<_>>>()?)?;
    let r = right.handed_on(on.1.iter().copied().collect::<Option<Vec<_>>>()?)?;
    Some(l.into_iter().zip(r.into_iter().map(|c| c + left.own.len())).collect())
}
