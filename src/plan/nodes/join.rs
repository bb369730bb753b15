//! Joins: of tables, and of a stream with a table.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchemaRef, NullEquality};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator};

use super::super::builder::{Builder, Facts, NewRelation, arrow_schema, normalise, project_columns, schema_of};
use super::super::cut::{Needed, columns_of, cut, unwrap};
use super::super::error::{Result, refuse};
use super::super::pipeline::{Distribution, OperatorPlan};
use super::super::session::AS_OF;
use super::super::time_columns::TimeColumn;
use super::super::{canonical, lineage};
use super::interval_join;
use super::join_keys::{self, KeySide};
use crate::catalog::RelationKind;
use crate::operators::{JoinKind, LookupJoinSpec, LookupWait, OperatorError, Predicate, TableJoinSpec};

/// One side of a join.
pub(super) struct Side {
    /// The stateless plan that yields the side's rows.
    pub(super) plan: LogicalPlan,
    /// The key expressions.
    pub(super) on: Vec<Expr>,
    /// The columns that the join hands on or its filter reads.
    pub(super) own: Vec<Column>,
    kind: RelationKind,
}

impl Side {
    fn keys(&self) -> KeySide<'_> {
        KeySide { plan: &self.plan, on: &self.on, own: &self.own }
    }
}

/// Turns a join into a relation.
pub(in super::super) fn cut_join(builder: &mut Builder<'_>, join: Join, needed: &Needed) -> Result<LogicalPlan> {
    let original: Vec<Column> = join.schema.columns();
    let wanted: Vec<Expr> = original.iter().filter(|c| needed.contains(c)).cloned().map(Expr::Column).collect();
    let (mut join, kind) = orient(join)?;
    let (as_of, mut filter) = split_as_of(join.filter.clone());
    let as_of = as_of.map(|(time, version)| same_type(&join, time, version)).transpose()?;
    if join.null_aware {
        filter = not_in_alone(&mut join, filter)?;
    }
    let mut read: Needed = needed.clone();
    read.extend(filter.iter().flat_map(|f| columns_of(std::slice::from_ref(f))));
    let (left_on, right_on): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
    let (time, version) = as_of.clone().unzip();
    let left = cut_side(builder, &join.left, left_on, time.as_ref(), &read)?;
    let right = cut_side(builder, &join.right, right_on, version.as_ref(), &read)?;
    if left.kind == RelationKind::Stream && right.kind == RelationKind::Stream {
        let leaf = interval_join::join_streams(builder, &join, kind, [left, right], filter.as_ref())?;
        return project_columns(leaf, wanted);
    }
    let (left, right, kind, swapped) = put_table_right(left, right, kind)?;
    let (left, right) = put_broadcast_right(builder, left, right, kind, as_of.is_some());
    if swapped && as_of.is_some() {
        return refuse(
            "C0411",
            "a table is joined with the version that a stream had",
            "Put the stream on the left and the versioned table on the right.",
        );
    }
    if let Some((_, version)) = &as_of {
        check_versions(builder, &right, version)?;
    }
    let schema = output_schema(&join, &left, &right, kind)?;
    let spec = spec(builder, &join, kind, &left, &right, filter.as_ref(), as_of.is_some(), &schema)?;
    let facts = Facts {
        event_times: own_times(builder, &left),
        ..join_keys::facts(builder, &left.keys(), &right.keys(), kind, as_of.is_some())
    };
    let meaning = meaning(&spec, &join, filter.as_ref());
    let (left_distribution, right_distribution) = match spec.null_aware {
        // One null on the right decides about all rows on the left.
        true => (Distribution::Single, Distribution::Single),
        false => distributions(builder, &left, &right, &spec)?,
    };
    let is_stream = left.kind == RelationKind::Stream;
    let (left_plan, right_plan) = (input_plan(&left, time)?, input_plan(&right, version)?);
    let (node, operator, meaning) = if is_stream {
        let wait = lookup_wait(builder, &left, &left_plan);
        let meaning = format!("{meaning}{}", if wait.is_some() { " wait" } else { "" });
        ("lookup_join", OperatorPlan::LookupJoin(LookupJoinSpec { join: spec, wait }), meaning)
    } else {
        ("table_join", OperatorPlan::TableJoin(spec), meaning)
    };
    let inputs = vec![(left_plan, left_distribution), (right_plan, right_distribution)];
    let relation = NewRelation {
        node,
        kind: left.kind,
        schema,
        operator,
        inputs,
        facts,
        // A versioned table answers by event time; what it holds at the moment is only a question of waiting.
        arrival: is_stream,
        meaning,
    };
    let leaf = builder.add(relation)?;
    project_columns(leaf, wanted)
}

/// Brings every kind of join into one that keeps its left side, or both.
fn orient(mut join: Join) -> Result<(Join, JoinKind)> {
    let mirrored =
        matches!(join.join_type, JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark);
    if mirrored {
        std::mem::swap(&mut join.left, &mut join.right);
        join.on = join.on.into_iter().map(|(l, r)| (r, l)).collect();
    }
    let kind = match join.join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left | JoinType::Right => JoinKind::Left,
        JoinType::LeftSemi | JoinType::RightSemi => JoinKind::LeftSemi,
        JoinType::LeftAnti | JoinType::RightAnti => JoinKind::LeftAnti,
        JoinType::LeftMark | JoinType::RightMark => JoinKind::LeftMark,
        JoinType::Full => JoinKind::Full,
    };
    Ok((join, kind))
}

/// Leaves of a NOT IN only the comparison as its key; what else relates the two queries becomes a condition on pairs.
fn not_in_alone(join: &mut Join, filter: Option<Expr>) -> Result<Option<Expr>> {
    let parts: Vec<Expr> = filter.into_iter().flat_map(split_conjunction_owned).collect();
    // The comparison is the first equality. Where it could not be made a key it is still among the conditions, and the
    // first key is another.
    let is_equality = |e: &Expr| matches!(e, Expr::BinaryExpr(b) if b.op == Operator::Eq);
    if join.on.is_empty() || parts.iter().any(is_equality) {
        return refuse(
            "C0417",
            "NOT IN compares something else than a column of the outer query",
            "Write NOT EXISTS (SELECT 1 FROM .. WHERE ..), and say there what a null is to mean.",
        );
    }
    let further = join.on.split_off(1).into_iter().map(|(l, r)| l.eq(r));
    Ok(conjunction(parts.into_iter().chain(further)))
}

/// Takes the marker of `FOR SYSTEM_TIME AS OF` out of a join's condition: (time, valid-from), the rest.
fn split_as_of(filter: Option<Expr>) -> (Option<(Expr, Expr)>, Option<Expr>) {
    let Some(filter) = filter else { return (None, None) };
    let mut marker = None;
    let mut rest = Vec::new();
    for part in split_conjunction_owned(filter) {
        match part {
            Expr::ScalarFunction(f) if f.func.name() == AS_OF => {
                if let [time, version] = f.args.as_slice() {
                    marker = Some((time.clone(), version.clone()));
                }
            }
            other => rest.push(other),
        }
    }
    (marker, conjunction(rest))
}

/// Brings the instant asked for to the type of the versions; what is no instant is refused.
fn same_type(join: &Join, time: Expr, version: Expr) -> Result<(Expr, Expr)> {
    let given = time.get_type(join.left.schema().as_ref())?;
    let wanted = version.get_type(join.right.schema().as_ref())?;
    if given == wanted {
        return Ok((time, version));
    }
    match given {
        DataType::Timestamp(..) | DataType::Date32 => {
            Ok((time.cast_to(&wanted, join.left.schema().as_ref())?, version))
        }
        other => refuse(
            "C0416",
            format!("FOR SYSTEM_TIME AS OF needs an instant, not {}", crate::format::json::sql_type(&other)),
            "Write FOR SYSTEM_TIME AS OF <timestamp>; CAST(text AS TIMESTAMP) makes one of a text.",
        ),
    }
}

fn cut_side(
    builder: &mut Builder<'_>,
    input: &Arc<LogicalPlan>,
    on: Vec<Expr>,
    time: Option<&Expr>,
    read: &Needed,
) -> Result<Side> {
    let own: Vec<Column> = input.schema().columns().into_iter().filter(|c| read.contains(c)).collect();
    let mut below: Needed = own.iter().cloned().collect();
    below.extend(columns_of(&on));
    below.extend(time.iter().flat_map(|t| t.column_refs().into_iter().cloned()));
    let plan = cut(builder, unwrap(input.clone()), &below)?;
    let kind = builder.kind(&plan)?;
    Ok(Side { plan, on, own, kind })
}

/// A stream looks up a table, never the other way round.
fn put_table_right(left: Side, right: Side, kind: JoinKind) -> Result<(Side, Side, JoinKind, bool)> {
    match (left.kind, right.kind, kind) {
        (RelationKind::Stream, RelationKind::Table, JoinKind::Full) => refuse(
            "C0412",
            "FULL JOIN keeps the rows of a table, but its other side is a stream",
            "Use LEFT JOIN with the stream on the left, or aggregate the stream into a table first.",
        ),
        (RelationKind::Table, RelationKind::Stream, JoinKind::Inner) => Ok((right, left, kind, true)),
        (RelationKind::Table, RelationKind::Stream, _) => refuse(
            "C0413",
            "an outer, semi or anti join keeps the rows of a table, but its other side is a stream",
            "Put the stream on the left, or aggregate it into a table first.",
        ),
        _ => Ok((left, right, kind, false)),
    }
}

/// Without an equality each row meets all rows of the right side: the small one.
fn put_broadcast_right(builder: &Builder<'_>, left: Side, right: Side, kind: JoinKind, as_of: bool) -> (Side, Side) {
    let is_better = left.on.is_empty()
        && kind == JoinKind::Inner
        && !as_of
        && left.kind == RelationKind::Table
        && builder.is_broadcast(&left.plan)
        && !builder.is_broadcast(&right.plan);
    if is_better { (right, left) } else { (left, right) }
}

/// The key of a versioned table must be equated but for the version.
fn check_versions(builder: &Builder<'_>, right: &Side, version: &Expr) -> Result<()> {
    let equated: Vec<usize> = right
        .on
        .iter()
        .chain([version])
        .filter_map(|e| match e {
            Expr::Column(c) => right.plan.schema().index_of_column(c).ok(),
            _ => None,
        })
        .collect();
    let keys = lineage::keys(builder, &right.plan);
    if keys.iter().any(|key| key.iter().all(|column| equated.contains(column))) {
        return Ok(());
    }
    refuse(
        "C0414",
        "FOR SYSTEM_TIME AS OF does not choose one version",
        "Equate every other key column of the versioned table in ON.",
    )
}

fn output_schema(join: &Join, left: &Side, right: &Side, kind: JoinKind) -> Result<DFSchemaRef> {
    let own = left.own.iter();
    let mut fields = Vec::new();
    let columns: Vec<&Column> = match kind {
        JoinKind::Inner | JoinKind::Left | JoinKind::Full => own.chain(&right.own).collect(),
        JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => own.collect(),
    };
    for column in columns {
        let (qualifier, field) = join.schema.qualified_field_from_column(column)?;
        fields.push((qualifier.cloned(), field.clone()));
    }
    if kind == JoinKind::LeftMark
        && let Some((qualifier, field)) = join.schema.iter().last()
    {
        fields.push((qualifier.cloned(), field.clone()));
    }
    schema_of(fields)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one join, each of its own type")]
fn spec(
    builder: &Builder<'_>,
    join: &Join,
    kind: JoinKind,
    left: &Side,
    right: &Side,
    filter: Option<&Expr>,
    as_of: bool,
    schema: &DFSchemaRef,
) -> Result<TableJoinSpec> {
    let (left_own, right_own) = (own_schema(left)?, own_schema(right)?);
    let mut both: Vec<_> = left_own.iter().map(|(q, f)| (q.cloned(), f.clone())).collect();
    both.extend(right_own.iter().map(|(q, f)| (q.cloned(), f.clone())));
    let filter = match filter {
        Some(filter) => Some(predicate(builder, filter.clone(), &schema_of(both)?)?),
        None => None,
    };
    let keys: Vec<DataType> =
        left.on.iter().map(|e| e.get_type(left.plan.schema().as_ref())).collect::<std::result::Result<_, _>>()?;
    Ok(TableJoinSpec {
        kind,
        n_keys: keys.len(),
        as_of,
        null_equals_null: join.null_equality == NullEquality::NullEqualsNull,
        null_aware: join.null_aware,
        filter,
        left: arrow_schema(&left_own),
        right: arrow_schema(&right_own),
        keys,
        schema: arrow_schema(schema),
    })
}

pub(super) fn own_schema(side: &Side) -> Result<DFSchemaRef> {
    let schema = side.plan.schema();
    let mut fields = Vec::new();
    for column in &side.own {
        let (qualifier, field) = schema.qualified_field_from_column(column)?;
        fields.push((qualifier.cloned(), field.clone()));
    }
    schema_of(fields)
}

pub(super) fn predicate(builder: &Builder<'_>, filter: Expr, schema: &DFSchemaRef) -> Result<Predicate> {
    let physical = builder.state.create_physical_expr(filter, schema)?;
    Ok(Arc::new(move |rows: &RecordBatch| {
        let failed = |e: datafusion::error::DataFusionError| OperatorError::Function(e.strip_backtrace());
        let value = physical.evaluate(rows).and_then(|v| v.into_array(rows.num_rows())).map_err(failed)?;
        match value.as_any().downcast_ref::<BooleanArray>() {
            Some(mask) => Ok(mask.clone()),
            None if value.data_type() == &DataType::Null => Ok(BooleanArray::new_null(rows.num_rows())),
            None => Err(OperatorError::Function("the condition of a join is not Boolean".into())),
        }
    }))
}

/// How long the stream's rows wait, if the definition says so.
fn lookup_wait(builder: &Builder<'_>, left: &Side, input: &LogicalPlan) -> Option<LookupWait> {
    let n_before = input.schema().fields().len() - left.own.len();
    let times = own_times(builder, left).into_iter();
    (builder.wait_ms > 0).then(|| LookupWait {
        wait_ms: builder.wait_ms,
        input: arrow_schema(input.schema()),
        event_times: times
            .filter(|(_, time)| time.is_event_time())
            .map(|(idx, time)| (idx + n_before, time.offset_ms()))
            .collect(),
    })
}

/// Which of a side's own columns are event times.
pub(super) fn own_times(builder: &Builder<'_>, side: &Side) -> Vec<(usize, TimeColumn)> {
    let columns = side.plan.schema().columns();
    let times = lineage::event_times(builder, &side.plan).into_iter();
    let own = |idx: usize| side.own.iter().position(|own| Some(own) == columns.get(idx));
    times.filter_map(|(idx, time)| Some((own(idx)?, time))).collect()
}

/// Key columns, then the time column if there is one, then the side's own columns.
fn input_plan(side: &Side, time: Option<Expr>) -> Result<LogicalPlan> {
    let own = side.own.iter().cloned().map(Expr::Column);
    normalise(side.plan.clone(), side.on.iter().cloned().chain(time).chain(own).collect())
}

fn distributions(
    builder: &Builder<'_>,
    left: &Side,
    right: &Side,
    spec: &TableJoinSpec,
) -> Result<(Distribution, Distribution)> {
    if spec.n_keys > 0 {
        let keys: Vec<usize> = (0..spec.n_keys).collect();
        return Ok((Distribution::Hash(keys.clone()), Distribution::Hash(keys)));
    }
    let (left_small, right_small) = (builder.is_broadcast(&left.plan), builder.is_broadcast(&right.plan));
    let is_stream = left.kind == RelationKind::Stream;
    if !is_stream && (left_small || right_small) && (!right_small || spec.kind == JoinKind::Full) {
        // Whether a row of the small side has a match is known only where all rows of the other side are.
        return Ok((Distribution::Single, Distribution::Single));
    }
    if !right_small {
        return refuse(
            "C0415",
            "a join without an equality needs all rows of one side everywhere",
            "Equate a column of each side, or declare the smaller table WITH (broadcast = true).",
        );
    }
    // Any division of the left side will do, so long as a row and its withdrawal meet.
    let n_columns = left.own.len();
    Ok((Distribution::Hash((0..n_columns).collect()), Distribution::Broadcast))
}

fn meaning(spec: &TableJoinSpec, join: &Join, filter: Option<&Expr>) -> String {
    let filter = filter.map_or(String::new(), |f| canonical::expr(f, &join.schema));
    format!(
        "join {:?} keys={} as_of={} nulls={} filter={filter}",
        spec.kind, spec.n_keys, spec.as_of, spec.null_equals_null
    )
}
