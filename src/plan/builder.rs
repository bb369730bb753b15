//! The pipeline while it is being planned: relations made so far, and what is known of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use chrono_tz::Tz;
use datafusion::common::{DFSchema, DFSchemaRef, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, TableScan};

use super::error::{Result, refuse};
use super::event_times::TimeOf;
use super::leaf::EpochTable;
use super::pipeline::{Distribution, Input, OperatorPlan, Relation};
use super::segment::Segment;
use super::time_columns::TimeColumn;
use super::{RelationId, canonical, event_times};
use crate::catalog::{Emit, RelationKind};
use crate::functions::Width;

/// What is known of a relation besides what the pipeline needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Sets of columns that identify a row, the declared or shortest one first.
    pub(super) keys: Vec<Vec<usize>>,
    /// Pairs of columns of which one or both are set: the values that are, taken together, identify a row.
    pub(super) coalesced: Option<Vec<(usize, usize)>>,
    /// Columns that hold what an expression over other columns of the relation says.
    pub(super) computed: Vec<(usize, Expr)>,
    /// Whether the first key was declared, not found.
    pub(super) declared: bool,
    /// (column, key): the key identifies a row among those where the column is 1.
    pub(super) unique_when: Vec<(usize, Vec<usize>)>,
    /// The column that holds a stream's event time; the first where there are several.
    pub(super) event_time: Option<usize>,
    /// Further columns that hold event times, or the same one again.
    pub(super) event_times: Vec<(usize, TimeColumn)>,
    /// The column that holds the start of the bucket of a stream's event time, and the bucket's width.
    pub(super) bucket: Option<(usize, Width)>,
    /// Whether all shards hold all rows.
    pub(super) broadcast: bool,
    /// Whether there is at most one row.
    pub(super) single_row: bool,
    /// The partition keys of a function of whole partitions that may still take in what follows it.
    pub(super) partition: Option<Vec<usize>>,
    /// What each column says of event times; empty = what [`event_times::of_relation`] finds.
    pub(super) times: Vec<Option<TimeOf>>,
}

impl Facts {
    /// Which event time a column holds.
    pub(super) fn time_column(&self, column: usize) -> Option<TimeColumn> {
        let further = self.event_times.iter().find(|(c, _)| *c == column).map(|(_, time)| *time);
        further.or_else(|| (self.event_time == Some(column)).then_some(TimeColumn::Instant))
    }
}

/// A relation to be added.
pub(super) struct NewRelation {
    /// The word for the operator, used in the name.
    pub(super) node: &'static str,
    pub(super) kind: RelationKind,
    pub(super) schema: DFSchemaRef,
    pub(super) operator: OperatorPlan,
    pub(super) inputs: Vec<(LogicalPlan, Distribution)>,
    pub(super) facts: Facts,
    pub(super) arrival: bool,
    /// What the operator computes, in canonical form.
    pub(super) meaning: String,
}

/// The pipeline under construction.
pub(super) struct Builder<'a> {
    pub(super) state: &'a SessionState,
    pub(super) zone: Tz,
    pub(super) relations: Vec<Relation>,
    pub(super) facts: Vec<Facts>,
    /// The names under which plans know relations.
    pub(super) scans: BTreeMap<String, RelationId>,
    /// The definition that is being planned, for names.
    pub(super) definition: Arc<str>,
    /// When grouped queries of the definition emit.
    pub(super) emit: Option<Emit>,
    /// For how long the definition's buckets wait for late rows, in milliseconds.
    pub(super) allowed_lateness_ms: i64,
    /// For how long the definition's rows wait for the row of a table that they look up, in milliseconds.
    pub(super) wait_ms: i64,
}

impl Builder<'_> {
    /// Adds a relation and returns the leaf that stands for it.
    pub(super) fn add(&mut self, new: NewRelation) -> Result<LogicalPlan> {
        let id = self.relations.len();
        let count =
            self.relations.iter().filter(|r| r.name.starts_with(&format!("{}.{}", self.definition, new.node))).count();
        let name: Arc<str> = format!("{}.{}{}", self.definition, new.node, count + 1).into();
        let mut facts = new.facts;
        if facts.times.is_empty() {
            let plans: Vec<&LogicalPlan> = new.inputs.iter().map(|(plan, _)| plan).collect();
            facts.times = event_times::of_relation(self, &new.operator, &plans, new.schema.fields().len());
        }
        let mut inputs = Vec::new();
        let mut meaning = new.meaning;
        for (plan, distribution) in new.inputs {
            meaning.push_str(&canonical::plan(self, &plan));
            inputs.push(Input { segment: self.compile(plan)?, distribution });
        }
        let relation = Relation {
            kind: new.kind,
            schema: arrow_schema(&new.schema),
            key: facts.keys.first().cloned(),
            operator_id: canonical::id(&meaning),
            watermark_sources: self.watermark_sources(&inputs, &new.operator),
            arrival: new.arrival || inputs.iter().flat_map(|i| &i.segment.leaves).any(|l| self.relations[*l].arrival),
            operator: new.operator,
            inputs,
            name,
        };
        self.relations.push(relation);
        self.facts.push(facts);
        let leaf_name = format!("r{id}");
        self.scans.insert(leaf_name.clone(), id);
        Ok(leaf(&leaf_name, new.schema))
    }

    /// Compiles a stateless plan.
    pub(super) fn compile(&self, plan: LogicalPlan) -> Result<Segment> {
        Ok(Segment::compile(plan, self.scans.clone(), self.state)?)
    }

    fn watermark_sources(&self, inputs: &[Input], operator: &OperatorPlan) -> Vec<RelationId> {
        // What a stream looks up in a table does not hold the stream's time back.
        let n_inputs = if matches!(operator, OperatorPlan::LookupJoin(_)) { 1 } else { inputs.len() };
        let mut sources: BTreeSet<RelationId> = BTreeSet::new();
        for leaf in inputs.iter().take(n_inputs).flat_map(|i| &i.segment.leaves) {
            match self.relations[*leaf].operator {
                OperatorPlan::SourceStream(..) => {
                    sources.insert(*leaf);
                }
                _ => sources.extend(&self.relations[*leaf].watermark_sources),
            }
        }
        sources.into_iter().collect()
    }

    /// Whether a stateless plan yields a stream or a table.
    pub(super) fn kind(&self, plan: &LogicalPlan) -> Result<RelationKind> {
        let kinds: Vec<RelationKind> = self.leaves(plan).iter().map(|id| self.relations[*id].kind).collect();
        match kinds.as_slice() {
            // Constant rows have been refused; what is left without a relation was emptied by the optimiser.
            [] => refuse(
                "C0405",
                "no row can ever meet the conditions",
                "Look for conditions in WHERE, ON or HAVING that contradict one another.",
            ),
            [first, rest @ ..] if rest.iter().all(|k| k == first) => Ok(*first),
            _ => refuse(
                "C0402",
                "UNION ALL of a stream and a table is neither",
                "Union streams with streams and tables with tables; CHANGES(t) makes a stream of a table.",
            ),
        }
    }

    /// The relations that a stateless plan reads.
    pub(super) fn leaves(&self, plan: &LogicalPlan) -> BTreeSet<RelationId> {
        let mut found = BTreeSet::new();
        let mut stack = vec![plan];
        while let Some(node) = stack.pop() {
            if let LogicalPlan::TableScan(scan) = node {
                found.extend(self.scans.get(scan.table_name.table()));
            }
            stack.extend(node.inputs());
        }
        found
    }

    /// Whether all shards hold all rows of a stateless plan.
    pub(super) fn is_broadcast(&self, plan: &LogicalPlan) -> bool {
        let leaves = self.leaves(plan);
        !leaves.is_empty() && leaves.iter().all(|id| self.facts[*id].broadcast || self.facts[*id].single_row)
    }
}

/// A leaf over a relation's schema, qualifiers kept.
pub(super) fn leaf(name: &str, schema: DFSchemaRef) -> LogicalPlan {
    let table = EpochTable { relation: name.to_owned(), schema: arrow_schema(&schema), view: None };
    LogicalPlan::TableScan(TableScan {
        table_name: TableReference::bare(name.to_owned()),
        source: provider_as_source(Arc::new(table)),
        projection: None,
        projected_schema: schema,
        filters: Vec::new(),
        fetch: None,
        statistics_requests: BTreeSet::new(),
    })
}

/// The Arrow schema of a planner's schema.
pub(super) fn arrow_schema(schema: &DFSchema) -> SchemaRef {
    let fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    Arc::new(Schema::new(fields))
}

/// A planner's schema from qualified fields.
pub(super) fn schema_of(fields: Vec<(Option<TableReference>, FieldRef)>) -> Result<DFSchemaRef> {
    Ok(Arc::new(DFSchema::new_with_metadata(fields, HashMap::new())?))
}

/// Projects a plan to expressions under the plain names `c0`, `c1`, .. that an operator's spec counts by.
pub(super) fn normalise(input: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    let named = exprs.into_iter().enumerate().map(|(i, e)| e.unalias().alias(format!("c{i}"))).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(named, Arc::new(input))?))
}

/// Projects a plan to some of its columns, in the order given.
pub(super) fn project_columns(input: LogicalPlan, exprs: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?))
}
