//! The product of planning: relations in dependency order, each an operator with its input segments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

use super::retention::Retention;
use super::segment::Segment;
use crate::catalog::{FormatSpec, Headers, Rate, RelationKind, SourceDefinition};
use crate::operators::{
    BucketWindowSpec, ChangesSpec, ConstantSpec, DeduplicateSpec, FinalRowsSpec, FirstRowSpec, FrozenRowsSpec,
    IntervalJoinSpec, LookupJoinSpec, Operator, OperatorError, PaceSpec, RunningWindowSpec, SourceTableSpec,
    TableAggregateSpec, TableJoinSpec, TableWindowSpec, TemporalFilterSpec, TopRowsSpec, UpsertSpec,
    WindowAggregateSpec,
};

/// The index of a relation in its pipeline.
pub type RelationId = usize;

/// A planned pack.
#[derive(Debug)]
pub struct Pipeline {
    /// The zone of calendar functions and of timestamps written.
    pub time_zone: Tz,
    /// All relations; inputs come before what reads them.
    pub relations: Vec<Relation>,
    /// The sinks, in order of declaration.
    pub sinks: Vec<SinkPlan>,
    /// When rows of tables leave memory.
    pub retention: Retention,
    /// By name of a source, a definition or what reads its changes, the columns of its rows that hold values of PRIVATE columns.
    pub private: BTreeMap<String, BTreeSet<String>>,
    /// For each such column the PRIVATE columns of sources, `relation.column`, whose values it holds.
    pub private_origins: BTreeMap<String, BTreeMap<String, BTreeSet<Arc<str>>>>,
}

/// One relation: an operator, what it reads, and what is known of its rows.
#[derive(Debug)]
pub struct Relation {
    /// The name: the source's or view's own, else `view.join2` and the like.
    pub name: Arc<str>,
    /// Stream or table.
    pub kind: RelationKind,
    /// The columns.
    pub schema: SchemaRef,
    /// The key columns, if the relation has a key.
    pub key: Option<Vec<usize>>,
    /// What computes it.
    pub operator: OperatorPlan,
    /// One segment an input; empty for sources.
    pub inputs: Vec<Input>,
    /// The source streams (and tables with event time) whose watermarks bound this relation's: relation ids.
    pub watermark_sources: Vec<RelationId>,
    /// Whether the content depends on arrival (below a join with a table's current row).
    pub arrival: bool,
    /// The hash of the operator's meaning and of everything upstream: 16 hexadecimal digits.
    pub operator_id: String,
}

/// One input of a relation.
#[derive(Debug)]
pub struct Input {
    /// The stateless plan that brings rows into the columns that the operator reads.
    pub segment: Segment,
    /// How rows are divided among the shards.
    pub distribution: Distribution,
}

/// How the rows of an input are divided among the shards of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// By the hash of these columns of the segment's output.
    Hash(Vec<usize>),
    /// All rows to all shards.
    Broadcast,
    /// All rows to shard 0.
    Single,
}

/// What computes a relation.
#[derive(Debug)]
pub enum OperatorPlan {
    /// A source table: the latest row per key.
    SourceTable(Arc<SourceDefinition>, SourceTableSpec),
    /// A source stream; repeated keys are dropped where `unique_for` is declared.
    SourceStream(Arc<SourceDefinition>, Option<DeduplicateSpec>),
    /// Rows that are part of a query.
    Constant(ConstantSpec),
    /// Rows of the single input as they are: a stateless relation (a sink over a stream, or one that several read).
    Select,
    /// A join of tables.
    TableJoin(TableJoinSpec),
    /// A grouped table.
    TableAggregate(TableAggregateSpec),
    /// A function of whole partitions of a table.
    TableWindow(TableWindowSpec),
    /// A stream with a table.
    LookupJoin(LookupJoinSpec),
    /// Two streams.
    IntervalJoin(IntervalJoinSpec),
    /// A grouped stream.
    WindowAggregate(WindowAggregateSpec),
    /// OVER on a stream, row by row.
    RunningWindow(RunningWindowSpec),
    /// OVER on a stream, bucket by bucket.
    BucketWindow(BucketWindowSpec),
    /// The first row of each key of a stream.
    FirstRow(FirstRowSpec),
    /// The first rows of each key of a stream, as a table.
    TopRows(TopRowsSpec),
    /// The rows of a grouped table when their bucket closes.
    FinalRows(FinalRowsSpec),
    /// A table whose changes leave at most so often.
    Pace(PaceSpec),
    /// What an input had last from frozen groups.
    FrozenRows(FrozenRowsSpec),
    /// `PASSED(t, column)`.
    TemporalFilter(TemporalFilterSpec),
    /// `CHANGES(t)`.
    Changes(ChangesSpec),
    /// The last row written per key: the end of a sink over a table.
    Upsert(UpsertSpec),
}

impl OperatorPlan {
    /// Whether it takes records in.
    pub fn is_source(&self) -> bool {
        matches!(self, Self::SourceTable(..) | Self::SourceStream(..))
    }

    /// Makes one shard of the operator; none where the relation keeps no state.
    pub fn build(&self) -> Result<Option<Box<dyn Operator>>, OperatorError> {
        use crate::operators as op;
        Ok(match self {
            Self::SourceTable(_, spec) => Some(Box::new(op::SourceTable::new(spec.clone())?)),
            Self::SourceStream(_, Some(spec)) => Some(Box::new(op::Deduplicate::new(spec.clone())?)),
            Self::Constant(spec) => Some(Box::new(op::Constant::new(spec.clone()))),
            Self::SourceStream(_, None) | Self::Select => None,
            Self::TableJoin(spec) if spec.kind == op::JoinKind::Full => {
                Some(Box::new(op::FullJoin::new(spec.clone())?))
            }
            Self::TableJoin(spec) => Some(Box::new(op::TableJoin::new(spec.clone())?)),
            Self::TableAggregate(spec) => Some(Box::new(op::TableAggregate::new(spec.clone())?)),
            Self::TableWindow(spec) => Some(Box::new(op::TableWindow::new(spec.clone())?)),
            Self::LookupJoin(spec) => Some(Box::new(op::LookupJoin::new(spec.clone())?)),
            Self::IntervalJoin(spec) => Some(Box::new(op::IntervalJoin::new(spec.clone())?)),
            Self::WindowAggregate(spec) => Some(op::window_aggregate(spec.clone())?),
            Self::TopRows(spec) => Some(Box::new(op::TopRows::new(spec.clone())?)),
            Self::FinalRows(spec) => Some(Box::new(op::FinalRows::new(spec.clone())?)),
            Self::Pace(spec) => Some(Box::new(op::Pace::new(spec.clone())?)),
            Self::RunningWindow(spec) => Some(Box::new(op::RunningWindow::new(spec.clone())?)),
            Self::BucketWindow(spec) => Some(Box::new(op::BucketWindow::new(spec.clone())?)),
            Self::FirstRow(spec) => Some(Box::new(op::FirstRow::new(spec.clone())?)),
            Self::FrozenRows(spec) => Some(Box::new(op::FrozenRows::new(spec.clone())?)),
            Self::TemporalFilter(spec) => Some(Box::new(op::TemporalFilter::new(spec.clone())?)),
            Self::Changes(spec) => Some(Box::new(op::Changes::new(spec.clone())?)),
            Self::Upsert(spec) => Some(Box::new(op::Upsert::new(spec.clone())?)),
        })
    }

    /// The operator's name, as `explain` and the console say it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::SourceTable(..) => "source_table",
            Self::SourceStream(_, Some(_)) => "deduplicate",
            Self::SourceStream(_, None) => "source_stream",
            Self::Constant(_) => "constant",
            Self::Select => "select",
            Self::TableJoin(_) => "table_join",
            Self::TableAggregate(_) => "table_aggregate",
            Self::TableWindow(_) => "table_window",
            Self::LookupJoin(_) => "lookup_join",
            Self::IntervalJoin(_) => "interval_join",
            Self::WindowAggregate(_) => "window_aggregate",
            Self::RunningWindow(_) => "running_window",
            Self::BucketWindow(_) => "bucket_window",
            Self::FirstRow(_) => "deduplicate",
            Self::TopRows(_) => "top_rows",
            Self::FinalRows(_) => "final_rows",
            Self::Pace(_) => "pace",
            Self::FrozenRows(_) => "frozen_rows",
            Self::TemporalFilter(_) => "temporal_filter",
            Self::Changes(_) => "changes",
            Self::Upsert(_) => "upsert",
        }
    }

    /// Whether the operator's state must be logged, because it cannot be recomputed from tables.
    pub fn is_logged(&self) -> bool {
        !matches!(
            self,
            Self::Constant(_)
                | Self::Select
                | Self::TableJoin(_)
                | Self::TableAggregate(_)
                | Self::TableWindow(_)
                | Self::TemporalFilter(_)
                | Self::LookupJoin(LookupJoinSpec { wait: None, .. })
                | Self::SourceStream(_, None)
        )
    }
}

/// A sink: which relation it writes, and how.
#[derive(Debug)]
pub struct SinkPlan {
    /// The name in SQL.
    pub name: Arc<str>,
    /// The relation whose changes are written: an `Upsert` or a `Select`.
    pub relation: RelationId,
    /// The topic.
    pub topic: String,
    /// How records look.
    pub format: FormatSpec,
    /// Which headers are written.
    pub headers: Headers,
    /// Whether the sink deletes (a sink over a table) or only appends.
    pub upsert: bool,
    /// The columns of the Kafka key, in key order; empty = no key (round robin).
    pub key: Vec<usize>,
    /// The relations that hand over its rows and can hold them back: an `Upsert` or `Changes`; none = rows cannot wait.
    pub hands_over: Vec<RelationId>,
    /// Above which rate it pauses.
    pub max_rate: Option<Rate>,
    /// The timestamp column that tells of which time a row is, for a first load that emits only later ones.
    pub emit_time: Option<usize>,
    /// The text column by whose values written rows are counted.
    pub count_by: Option<usize>,
}
