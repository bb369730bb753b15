//! DataFusion's part: a query planned over the columns of relations, and run over their rows in bounded memory and time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use chrono_tz::Tz;
use datafusion::common::TableReference;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::Statement;
use futures::StreamExt;
use futures::executor::block_on;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{Answer, AsOf};
use super::bounded::{BATCH_BYTES_MAX, TooLarge, begin_turn, bind_expressions, bind_functions};
use super::copied::{all_rows, watched};
use super::extent::{bytes_of_constants, check_extent};
use super::memory::MemoryWatch;
use super::tables::{Place, Table, shown};
use super::trouble::QueryError;
use super::{Deadline, QueryLimits};
use crate::catalog::{Catalog, Definition};
use crate::dialect::Diagnostic;
use crate::plan::{BatchQuery, UNKNOWN_COLUMN, batch_finding, batch_session_in, check_batch_query};

/// How often is looked whether anybody still waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Rows of a batch: few, so that a long constant beside each is not much.
const BATCH_ROWS: usize = 1024;

/// A query that was planned over relations without rows.
pub(super) struct Planned {
    ctx: SessionContext,
    /// The names that a finding may suggest.
    relations: Vec<String>,
    /// By relation the columns that are read.
    columns: BTreeMap<String, BTreeSet<usize>>,
    /// For each column of the answer whether it holds private values.
    masked: Vec<bool>,
}

/// Plans a query, and refuses what it may not ask.
pub(super) fn plan(
    catalog: &Catalog,
    private: &BTreeMap<String, BTreeSet<String>>,
    query: &BatchQuery,
    tables: &[Table],
    limits: &QueryLimits,
) -> Result<Planned, QueryError> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(limits.memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()
        .map_err(QueryError::defect)?;
    let ctx = batch_session_in(catalog.time_zone, runtime);
    {
        let state = ctx.state_ref();
        let mut state = state.write();
        *state.config_mut() = state.config().clone().with_batch_size(BATCH_ROWS);
    }
    begin_turn();
    bind_functions(&ctx);
    // Whoever may ask must not try values until their pseudonyms agree with those that left.
    ctx.deregister_udf(crate::functions::PSEUDONYM);
    for table in tables {
        register(&ctx, table, Vec::new())?;
    }
    let relations: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
    let refused = |error: DataFusionError| refused(error, query, &relations, catalog, tables);
    let plan = block_on(ctx.state().statement_to_plan(statement(query))).map_err(refused)?;
    check_extent(&plan).map_err(too_large)?;
    let plan = bind_expressions(plan).map_err(refused)?;
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    read_only.verify_plan(&plan).map_err(refused)?;
    let masked = check_batch_query(&plan, private)?;
    let optimised = ctx.state().optimize(&plan).map_err(refused)?;
    let constants = bytes_of_constants(&optimised);
    if constants.saturating_mul(BATCH_ROWS as u64) > BATCH_BYTES_MAX {
        return Err(too_large(format!("the constants of the query have {constants} bytes")));
    }
    Ok(Planned { columns: columns_read(&optimised), masked, relations, ctx })
}

fn too_large(reason: String) -> QueryError {
    QueryError::limit(reason, "Ask for it in steps, or make the steps views of the pack.")
}

/// A refusal for what a function would make.
fn made_too_large(error: &DataFusionError) -> Option<QueryError> {
    let hint = "Ask for shorter texts and lists, or for a LIMIT or a WHERE before it.";
    TooLarge::of(error).map(|cause| QueryError::limit(cause.to_string(), hint))
}

fn statement(query: &BatchQuery) -> Parsed {
    Parsed::Statement(Box::new(Statement::Query(Box::new(query.query.clone()))))
}

fn register(ctx: &SessionContext, table: &Table, batches: Vec<RecordBatch>) -> Result<(), QueryError> {
    let rows = MemTable::try_new(table.schema.clone(), vec![batches]).map_err(QueryError::defect)?;
    let name = TableReference::bare(table.name.clone());
    ctx.deregister_table(name.clone()).map_err(QueryError::defect)?;
    ctx.register_table(name, Arc::new(rows)).map(drop).map_err(QueryError::defect)
}

/// The same rows in batches that share no memory: operators count a slice of a large batch as if it were the whole.
fn in_batches(large: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, QueryError> {
    let mut batches = Vec::new();
    for large in large {
        for start in (0..large.num_rows()).step_by(BATCH_ROWS) {
            let rows = large.slice(start, BATCH_ROWS.min(large.num_rows() - start));
            let indices = UInt32Array::from_iter_values(0..rows.num_rows() as u32);
            let own = |column: &ArrayRef| match column.data_type() {
                DataType::Utf8View => Ok(Arc::new(column.as_string_view().gc()) as ArrayRef),
                DataType::BinaryView => Ok(Arc::new(column.as_binary_view().gc()) as ArrayRef),
                _ => take(column, &indices, None),
            };
            let columns = rows.columns().iter().map(own).collect::<Result<_, _>>().map_err(QueryError::defect)?;
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let batch = RecordBatch::try_new_with_options(large.schema(), columns, &options);
            batches.push(batch.map_err(QueryError::defect)?);
        }
    }
    Ok(batches)
}

/// By relation the columns that an optimised plan reads.
fn columns_read(plan: &LogicalPlan) -> BTreeMap<String, BTreeSet<usize>> {
    let mut columns: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let all = 0..scan.source.schema().fields().len();
            let read = columns.entry(scan.table_name.table().to_owned()).or_default();
            read.extend(scan.projection.clone().unwrap_or_else(|| all.collect()));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    columns
}

/// What is wrong with a query, by DataFusion's word.
fn refused(
    error: DataFusionError,
    query: &BatchQuery,
    relations: &[String],
    catalog: &Catalog,
    tables: &[Table],
) -> QueryError {
    if let Some(refused) = made_too_large(&error) {
        return refused;
    }
    let finding = batch_finding(error, &query.query, relations);
    if finding.code == UNKNOWN_COLUMN
        && let Some(not_kept) = not_kept(&finding, catalog, tables)
    {
        return not_kept.at(finding.span);
    }
    Box::new(finding).into()
}

/// A column that the pack declares, but that the worker does not keep.
fn not_kept(finding: &Diagnostic, catalog: &Catalog, tables: &[Table]) -> Option<QueryError> {
    let written = finding.message.split('`').nth(1)?;
    let column = written.rsplit('.').next()?;
    let kept = tables.iter().filter(|table| matches!(table.place, Place::Kept(_)));
    let declares = |table: &&Table| match catalog.find(&table.name) {
        Some(Definition::Source(source)) => source.columns.iter().any(|c| c.name == column),
        _ => false,
    };
    kept.into_iter().find(declares).map(|table| super::not_kept(&table.name, column))
}

impl Planned {
    /// The columns of a relation that are read, at least one: its rows are counted by it.
    pub(super) fn columns(&self, table: &Table) -> Vec<usize> {
        let read = self.columns.get(&table.name).into_iter().flatten().copied().collect::<Vec<_>>();
        if read.is_empty() { (0..table.schema.fields().len().min(1)).collect() } else { read }
    }

    /// Runs the query over the rows of the relations.
    pub(super) fn run(
        self,
        query: &BatchQuery,
        tables: &[Table],
        contents: Vec<Vec<RecordBatch>>,
        limits: &QueryLimits,
        deadline: &Deadline<'_>,
    ) -> Result<Answer, QueryError> {
        for (table, batches) in tables.iter().zip(contents) {
            register(&self.ctx, table, in_batches(batches)?)?;
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(QueryError::defect)?;
        let memory = MemoryWatch::begin(limits.memory);
        memory.check()?;
        let (schema, batches, is_truncated) = runtime.block_on(async {
            tokio::select! {
                collected = self.collect(query, limits) => collected,
                ended = ended(deadline, &memory) => Err(ended),
            }
        })?;
        let schema = named_apart(&schema);
        let masked = |batch: RecordBatch| {
            let column =
                |(column, is_masked): (&ArrayRef, &bool)| if *is_masked { shown(column) } else { column.clone() };
            let columns = batch.columns().iter().zip(&self.masked).map(column).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(QueryError::defect)
        };
        let batches = batches.into_iter().map(masked).collect::<Result<_, _>>()?;
        let (as_of, elapsed, time_zone) = (AsOf::default(), Duration::ZERO, Tz::UTC);
        Ok(Answer { schema: schema.clone(), batches, is_truncated, as_of, elapsed, time_zone })
    }

    async fn collect(
        &self,
        query: &BatchQuery,
        limits: &QueryLimits,
    ) -> Result<(SchemaRef, Vec<RecordBatch>, bool), QueryError> {
        let failed = |error: DataFusionError| match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => super::too_much_memory(limits.memory),
            DataFusionError::External(_) if TooLarge::of(&error).is_some() => {
                made_too_large(&error).unwrap_or_else(|| super::too_much_memory(limits.memory))
            }
            _ => Box::new(batch_finding(error, &query.query, &self.relations)).into(),
        };
        let plan = self.ctx.state().statement_to_plan(statement(query)).await.map_err(failed)?;
        let plan = bind_expressions(plan).map_err(failed)?;
        let rows = self.ctx.execute_logical_plan(plan).await.map_err(failed)?;
        let task = Arc::new(rows.task_ctx());
        let plan = rows.create_physical_plan().await.map_err(failed)?;
        let plan = watched(plan, BATCH_ROWS).map_err(failed)?;
        let mut stream = execute_stream(plan, task).map_err(failed)?;
        let schema = stream.schema();
        let (mut batches, mut n_rows, mut n_bytes) = (Vec::new(), 0, 0_u64);
        while let Some(batch) = stream.next().await {
            let mut batch = batch.map_err(failed)?;
            let is_last = n_rows + batch.num_rows() > limits.rows;
            if is_last {
                batch = batch.slice(0, limits.rows - n_rows);
            }
            n_rows += batch.num_rows();
            n_bytes += all_rows(&batch).map_err(failed)?;
            batches.push(batch);
            if is_last {
                return Ok((schema, batches, true));
            }
            if n_bytes > limits.answer_bytes as u64 {
                return Err(QueryError::limit(
                    format!("the answer has more than {} MiB", limits.answer_bytes >> 20),
                    "Ask for fewer columns, or add LIMIT.",
                ));
            }
        }
        Ok((schema, batches, false))
    }
}

/// Ends when the query must.
async fn ended(deadline: &Deadline<'_>, memory: &MemoryWatch) -> QueryError {
    let at = Instant::from_std(deadline.at);
    loop {
        tokio::select! {
            () = sleep_until(at) => return QueryError::time(deadline.limit),
            () = sleep(LOOK_INTERVAL) => {
                begin_turn();
                if deadline.is_cancelled.load(Ordering::Relaxed) {
                    return QueryError::cancelled();
                }
                if let Err(refused) = memory.check() {
                    return refused;
                }
            }
        }
    }
}

/// Columns of one name, as `a.id` and `b.id`, become `id` and `id_2`: an object has each name once.
fn named_apart(schema: &Schema) -> SchemaRef {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let fields = schema.fields().iter().map(|field| {
        let first = field.name().clone();
        let numbered = (2..).map(|n| format!("{first}_{n}"));
        let name =
            std::iter::once(first.clone()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(name.clone());
        Field::new(name, field.data_type().clone(), true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
