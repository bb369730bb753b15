//! Queries that people ask of a running worker: batch SQL over what its relations hold, all of it of one epoch.
//!
//! 1. The query is read and planned over the columns of the relations that it names; what it may not ask is refused.
//! 2. Rows are copied from the worker between two epochs (`lookup.rs`): those of source tables and those that sinks wrote last,
//!    and only the columns that are needed.
//! 3. Views and tables are computed from them, by their own rules (`computed.rs`).
//! 4. DataFusion runs the query over all of these (`batch.rs`), in bounded memory and time.
//!
//! Only the second step is on the worker's thread. A PRIVATE value is masked before step 4, so that no query sees it.

mod answer;
mod batch;
mod bounded;
mod computed;
mod copied;
mod extent;
mod memory;
mod tables;
mod trouble;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use crossbeam_channel::{RecvTimeoutError, bounded};

use self::computed::Looking;
use self::tables::{Place, Table};
use super::lookup::{Copied, Copy, CopyLimits, Lookup};
use super::status::{Phase, StatusBoard};
use super::worker::Worker;
use crate::catalog::Catalog;
use crate::dialect::Span;
use crate::plan::{Pipeline, Wanted, definition_schemas, read_batch_query};

pub use self::answer::{Answer, AsOf};
pub use self::tables::ReadableRelation;
use self::trouble::QueryTrouble::Refused;
pub use self::trouble::{QueryError, QueryTrouble};

/// Plans that are kept for the next query of their kind.
const PLANS_MAX: usize = 32;
/// How often is looked whether anybody still waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What a query may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Bytes of its text.
    pub sql_bytes: usize,
    /// Rows of its answer.
    pub rows: usize,
    /// Bytes of its answer, in memory.
    pub answer_bytes: usize,
    /// Rows that are copied from the worker's state.
    pub rows_read: usize,
    /// Bytes of them.
    pub bytes_read: usize,
    /// For how long the next epoch may be held up by that.
    pub hold_up: Duration,
    /// Bytes of memory for the state of views, and again as many for the query.
    pub memory: usize,
    /// From question to answer.
    pub time: Duration,
    /// Queries at a time; with 0 none is answered.
    pub running: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            sql_bytes: 32 << 10,
            rows: 10_000,
            answer_bytes: 32 << 20,
            rows_read: 5_000_000,
            bytes_read: 512 << 20,
            hold_up: Duration::from_secs(1),
            memory: 512 << 20,
            time: Duration::from_secs(20),
            running: 2,
        }
    }
}

impl QueryLimits {
    fn of_copies(&self) -> CopyLimits {
        CopyLimits { rows: self.rows_read, bytes: self.bytes_read, time: self.hold_up }
    }
}

/// Has rows copied.
type Copier<'a> = &'a dyn Fn(Vec<Copy>, &Deadline<'_>) -> Result<Copied, QueryError>;

/// Answers queries about a running pipeline. Clones are the same one.
#[derive(Clone)]
pub struct Queries {
    shared: Arc<Shared>,
}

struct Shared {
    catalog: Catalog,
    pipeline: Arc<Pipeline>,
    n_shards: u32,
    board: StatusBoard,
    limits: QueryLimits,
    n_running: AtomicUsize,
    /// The declared columns of all relations.
    schemas: OnceLock<BTreeMap<String, SchemaRef>>,
    plans: Mutex<Vec<(Vec<Wanted>, Arc<Looking>)>>,
}

/// When a query must have its answer, and whether anybody waits for it.
pub(super) struct Deadline<'a> {
    at: Instant,
    limit: Duration,
    is_cancelled: &'a Arc<AtomicBool>,
}

impl Deadline<'_> {
    fn check(&self) -> Result<(), QueryError> {
        if self.is_cancelled.load(Ordering::Relaxed) {
            return Err(QueryError::cancelled());
        }
        if Instant::now() >= self.at { Err(QueryError::time(self.limit)) } else { Ok(()) }
    }
}

/// The place of a query among those that run.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Queries {
    /// Queries about the worker that shows its status on `board` and runs `pipeline`, planned from `catalog`.
    pub fn new(
        catalog: Catalog,
        pipeline: Arc<Pipeline>,
        n_shards: u32,
        board: StatusBoard,
        limits: QueryLimits,
    ) -> Self {
        let shared = Shared {
            catalog,
            pipeline,
            n_shards,
            board,
            limits,
            n_running: AtomicUsize::new(0),
            schemas: OnceLock::new(),
            plans: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What a query may take.
    pub fn limits(&self) -> QueryLimits {
        self.shared.limits
    }

    /// Answers a query. Blocks until then, needs a stack for deep plans, and ends early when `is_cancelled` turns true.
    pub fn answer(&self, sql: &str, is_cancelled: &Arc<AtomicBool>) -> Result<Answer, QueryError> {
        self.shared.answer(sql, is_cancelled, &|copies, deadline| self.shared.copy(copies, deadline))
    }

    /// Answers a query about a worker that stands still, as those of tests do.
    pub fn answer_about(&self, worker: &Worker, sql: &str) -> Result<Answer, QueryError> {
        let limits = self.shared.limits;
        self.shared.answer(sql, &Arc::default(), &|copies, _| {
            worker.between().copied(&copies, limits.of_copies()).map_err(|e| QueryError::of_lookup(e, &limits))
        })
    }

    /// The relations of the pack, and what a query may read of them.
    pub fn relations(&self) -> Vec<ReadableRelation> {
        tables::all(&self.shared.catalog, &self.shared.pipeline, self.shared.schemas())
    }
}

impl Shared {
    fn answer(&self, sql: &str, is_cancelled: &Arc<AtomicBool>, copy: Copier<'_>) -> Result<Answer, QueryError> {
        let (began, limits) = (Instant::now(), self.limits);
        let deadline = Deadline { at: began + limits.time, limit: limits.time, is_cancelled };
        if sql.len() > limits.sql_bytes {
            let message = format!("the query has {} bytes, but {} at most are read", sql.len(), limits.sql_bytes);
            return Err(QueryError::limit(message, "Write it shorter, or name its steps as views of the pack."));
        }
        if limits.running == 0 {
            return Err(QueryError::off());
        }
        let query = read_batch_query(sql)?;
        let _running = self.enter()?;
        let names = query.relations.iter();
        let tables = names.map(|(name, at)| self.table(name).map_err(|e| e.at(*at))).collect::<Result<Vec<_>, _>>()?;
        let planned = batch::plan(&self.catalog, &self.pipeline.private, &query, &tables, &limits)?;
        let needed: Vec<(&Table, Vec<usize>)> = tables.iter().map(|t| (t, planned.columns(t))).collect();
        let looking = self.looking(&needed).map_err(|error| placed(error, &query.relations))?;
        let copies: Vec<Copy> = needed
            .iter()
            .filter_map(|(table, columns)| match table.place {
                Place::Kept(relation) => Some(Copy::Rows { relation, columns: columns.clone() }),
                Place::Computed => None,
            })
            .chain(looking.iter().flat_map(|looking| looking.copies()))
            .collect();
        let mut copied = copy(copies, &deadline)?;
        let mut batches = std::mem::take(&mut copied.batches);
        let n_kept = needed.iter().filter(|(table, _)| matches!(table.place, Place::Kept(_))).count();
        let of_look = batches.split_off(n_kept.min(batches.len()));
        let computed = match &looking {
            Some(looking) => looking.compute(&self.pipeline, &copied, of_look, limits.memory, &deadline)?,
            None => Vec::new(),
        };
        let (mut kept, mut computed) = (batches.into_iter(), computed.into_iter());
        let contents = needed.iter().map(|(table, columns)| {
            let rows: Vec<RecordBatch> = match table.place {
                Place::Kept(_) => kept.next(),
                Place::Computed => computed.next(),
            }
            .unwrap_or_default();
            tables::filled(table, columns, rows, self.pipeline.private.get(table.name.as_str()))
        });
        let contents = contents.collect::<Result<Vec<_>, _>>()?;
        let rows = planned.run(&query, &tables, contents, &limits, &deadline)?;
        let as_of = AsOf {
            epoch: copied.epoch,
            shards: (0..self.n_shards).collect(),
            n_shards: self.n_shards,
            held_up: copied.held_up,
            rows_read: copied.n_rows,
        };
        Ok(Answer { as_of, elapsed: began.elapsed(), time_zone: self.pipeline.time_zone, ..rows })
    }

    fn enter(&self) -> Result<Running<'_>, QueryError> {
        let running = Running(&self.n_running);
        let before = self.n_running.fetch_add(1, Ordering::Relaxed);
        if before >= self.limits.running {
            drop(running);
            return Err(QueryError::busy(before));
        }
        Ok(running)
    }

    fn schemas(&self) -> &BTreeMap<String, SchemaRef> {
        self.schemas.get_or_init(|| definition_schemas(&self.catalog))
    }

    fn table(&self, name: &str) -> Result<Table, QueryError> {
        tables::table(&self.catalog, &self.pipeline, self.schemas(), name)
    }

    /// The plan for the relations that are computed; none if all are kept as they are.
    fn looking(&self, needed: &[(&Table, Vec<usize>)]) -> Result<Option<Arc<Looking>>, QueryError> {
        let computed = needed.iter().filter(|(table, _)| matches!(table.place, Place::Computed));
        let wanted: Vec<Wanted> = computed
            .map(|(table, columns)| {
                let names = columns.iter().filter_map(|c| table.schema.fields().get(*c)).map(|f| f.name().clone());
                (table.name.clone(), names.collect())
            })
            .collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let plans = || self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        let known = plans().iter().find(|(of, _)| *of == wanted).map(|(_, plan)| plan.clone());
        if let Some(known) = known {
            return Ok(Some(known));
        }
        let made = Arc::new(computed::plan_looking(&self.catalog, &self.pipeline, &wanted)?);
        let mut plans = plans();
        if plans.len() >= PLANS_MAX {
            plans.remove(0);
        }
        plans.push((wanted, made.clone()));
        Ok(Some(made))
    }

    /// Has the worker copy rows.
    fn copy(&self, copies: Vec<Copy>, deadline: &Deadline<'_>) -> Result<Copied, QueryError> {
        let (answer, answered) = bounded(1);
        self.board.look_up(Lookup {
            copies,
            limits: self.limits.of_copies(),
            answer,
            is_cancelled: deadline.is_cancelled.clone(),
        });
        loop {
            let phase = self.board.phase();
            if let Some(why) = match phase {
                Phase::Starting => Some("the worker has not begun"),
                Phase::Restoring => Some("the worker waits for its partitions or restores its state"),
                Phase::Stopped => Some("the worker has stopped"),
                Phase::Loading | Phase::Running => None,
            } {
                deadline.is_cancelled.store(true, Ordering::Relaxed);
                return Err(QueryError::not_ready(why));
            }
            match answered.recv_timeout(LOOK_INTERVAL) {
                Ok(answer) => return answer.map_err(|e| QueryError::of_lookup(e, &self.limits)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(QueryError::not_ready("the worker has restarted while it was asked"));
                }
                Err(RecvTimeoutError::Timeout) => deadline.check().inspect_err(|_| {
                    deadline.is_cancelled.store(true, Ordering::Relaxed);
                })?,
            }
        }
    }
}

/// Points a finding about what a relation follows from at the relation.
fn placed(error: QueryError, relations: &[(String, Span)]) -> QueryError {
    let is_named = |(name, _): &&(String, Span)| error.finding.message.contains(&format!("`{name}`"));
    match relations.iter().find(is_named).or(relations.first()) {
        Some((_, at)) if !error.finding.span.is_known() => error.at(*at),
        _ => error,
    }
}

fn not_kept(source: &str, column: &str) -> QueryError {
    QueryError::new(
        Refused,
        "C0606",
        format!("column `{column}` of `{source}` is not kept: no rule of the pack reads it"),
        "Let a sink or a table of the pack read it; the worker then keeps it.",
    )
}

fn is_stream(relation: &str) -> QueryError {
    QueryError::new(
        Refused,
        "C0604",
        format!("`{relation}` is a stream: its rows pass through and are not kept"),
        "Ask a table that follows from it, or read the topic of a sink.",
    )
}

fn too_much_memory(limit: usize) -> QueryError {
    QueryError::limit(
        format!("the query needs more than {} MiB of memory", limit >> 20),
        "Ask for fewer relations and columns, and filter before joins and ORDER BY.",
    )
}
