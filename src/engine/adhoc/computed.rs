//! What views and tables hold: their rules run once over rows of the state, as a restart would run them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;

use super::Deadline;
use super::trouble::{QueryError, QueryTrouble};
use crate::catalog::{Catalog, RelationKind};
use crate::engine::dataflow::{Dataflow, DataflowError, EpochTimes, Recomputation};
use crate::engine::lookup::{Copied, Copy};
use crate::engine::watermark::Watermarks;
use crate::operators::{OperatorError, StateSize};
use crate::plan::{Look, LookError, OperatorPlan, Pipeline, RelationId, Wanted, plan_look};
use crate::stream::{ChangeBatch, ShardCount};

/// A plan for looking into relations, and what it needs of the running pipeline.
#[derive(Debug)]
pub(super) struct Looking {
    look: Look,
    needs: Vec<Need>,
    /// The relations that lead to those looked into.
    leading: BTreeSet<RelationId>,
}

/// What a relation of the look needs.
#[derive(Debug)]
struct Need {
    relation: RelationId,
    copy: Copy,
}

/// Why a plan cannot be used.
enum Lacking {
    /// A source's column that the worker does not keep.
    Column { source: Arc<str>, column: String },
    /// State over streams that the running pipeline does not have in this form.
    State(Arc<str>),
}

/// Plans to look into relations of a pack that runs.
pub(super) fn plan_looking(catalog: &Catalog, running: &Pipeline, wanted: &[Wanted]) -> Result<Looking, QueryError> {
    // Only state over streams must be planned as it is in the running pipeline, which takes all of the pack.
    let mut lacking = None;
    for attempt in [(false, false), (true, false), (true, true)] {
        let (whole, as_running) = attempt;
        let columns = if as_running { of_running(running, wanted) } else { Some(wanted.to_vec()) };
        let Some(columns) = columns else { break };
        let look = plan_look(catalog, &columns, whole).map_err(unplanned)?;
        let leading = leading(&look);
        match needs(&look, &leading, running) {
            Ok(needs) => return Ok(Looking { look, needs, leading }),
            Err(found @ Lacking::Column { .. }) => return Err(found.into()),
            Err(found) => lacking = Some(found),
        }
    }
    Err(lacking.map_or_else(|| QueryError::defect("there is no plan for the query"), QueryError::from))
}

impl From<Lacking> for QueryError {
    fn from(lacking: Lacking) -> Self {
        match lacking {
            Lacking::Column { source, column } => super::not_kept(&source, &column),
            Lacking::State(relation) => Self::new(
                QueryTrouble::Refused,
                "C0605",
                format!(
                    "the query follows from what `{relation}` keeps over a stream, and the worker keeps it in another form"
                ),
                "Ask a sink or a table of the pack that follows from it.",
            ),
        }
    }
}

fn unplanned(error: LookError) -> QueryError {
    match error {
        LookError::Stream(relation) => super::is_stream(&relation),
        LookError::Plan(findings) => {
            let first = findings.into_iter().next().map(|f| f.message);
            QueryError::defect(first.unwrap_or_else(|| "the relations of the query were not planned".to_owned()))
        }
    }
}

/// The columns that the running pipeline computes of each relation; none if one is not computed on its own, or lacks a column.
fn of_running(running: &Pipeline, wanted: &[Wanted]) -> Option<Vec<Wanted>> {
    let columns = |(name, columns): &Wanted| {
        let relation = running.relations.iter().find(|r| *r.name == **name)?;
        let kept: Vec<String> = relation.schema.fields().iter().map(|f| f.name().clone()).collect();
        columns.iter().all(|c| kept.contains(c)).then(|| (name.clone(), kept))
    };
    wanted.iter().map(columns).collect()
}

fn leading(look: &Look) -> BTreeSet<RelationId> {
    let mut leading: BTreeSet<RelationId> = look.tables.iter().copied().collect();
    let mut open = look.tables.clone();
    while let Some(relation) = open.pop().and_then(|id| look.pipeline.relations.get(id)) {
        let leaves = relation.inputs.iter().flat_map(|input| &input.segment.leaves);
        open.extend(leaves.copied().filter(|leaf| leading.insert(*leaf)));
    }
    leading
}

fn needs(look: &Look, leading: &BTreeSet<RelationId>, running: &Pipeline) -> Result<Vec<Need>, Lacking> {
    let mut needs = Vec::new();
    for (id, relation) in look.pipeline.relations.iter().enumerate().filter(|(id, _)| leading.contains(id)) {
        let copy = match &relation.operator {
            OperatorPlan::SourceTable(..) => {
                let lacks = |column: &String| Lacking::Column { source: relation.name.clone(), column: column.clone() };
                let is_same = |(_, r): &(RelationId, &crate::plan::Relation)| r.name == relation.name;
                let Some((of, kept)) = running.relations.iter().enumerate().find(is_same) else {
                    return Err(Lacking::State(relation.name.clone()));
                };
                let place =
                    |f: &Arc<arrow::datatypes::Field>| kept.schema.index_of(f.name()).map_err(|_| lacks(f.name()));
                Copy::Rows {
                    relation: of,
                    columns: relation.schema.fields().iter().map(place).collect::<Result<_, _>>()?,
                }
            }
            // Rows that wait for their turn are there: what is asked is what the rule says.
            OperatorPlan::Pace(_) => continue,
            operator if operator.is_logged() && relation.kind == RelationKind::Table => {
                let is_same = |r: &crate::plan::Relation| {
                    r.operator.is_logged() && r.operator_id == relation.operator_id && r.schema == relation.schema
                };
                let Some(of) = running.relations.iter().position(is_same) else {
                    return Err(Lacking::State(relation.name.clone()));
                };
                Copy::State { relation: of }
            }
            _ => continue,
        };
        needs.push(Need { relation: id, copy });
    }
    Ok(needs)
}

impl Looking {
    /// What is to be copied of the running pipeline.
    pub(super) fn copies(&self) -> Vec<Copy> {
        self.needs.iter().map(|need| need.copy.clone()).collect()
    }

    /// Computes the relations. `batches` has what was copied, in the order of [`Looking::copies`].
    pub(super) fn compute(
        &self,
        running: &Pipeline,
        copied: &Copied,
        batches: Vec<Vec<RecordBatch>>,
        memory_max: usize,
        deadline: &Deadline<'_>,
    ) -> Result<Vec<Vec<RecordBatch>>, QueryError> {
        let pipeline = &self.look.pipeline;
        let mut dataflow = Dataflow::new(pipeline, ShardCount(1)).map_err(|e| defect(&e))?;
        let mut given: BTreeMap<RelationId, Vec<RecordBatch>> = BTreeMap::new();
        for (need, batches) in self.needs.iter().zip(batches) {
            match need.copy {
                Copy::Rows { .. } => drop(given.insert(need.relation, batches)),
                Copy::State { .. } => {
                    for delta in &batches {
                        deadline.check()?;
                        dataflow.restore(need.relation, delta).map_err(QueryError::defect)?;
                    }
                }
            }
        }
        let mut watermarks = Watermarks::new(pipeline);
        for (id, relation) in pipeline.relations.iter().enumerate() {
            let of = running.relations.iter().position(|r| r.name == relation.name);
            if let Some(reached) = of.and_then(|of| copied.watermarks.get(of).copied().flatten()) {
                watermarks.restore(id, reached);
            }
        }
        let mut run = Run {
            looking: self,
            given,
            sizes: vec![0; pipeline.relations.len()],
            memory_max,
            deadline,
            seen: vec![Vec::new(); self.look.tables.len()],
            ended: None,
        };
        let watermarks = watermarks.of_relations(pipeline);
        let outcome = dataflow.recompute_with(pipeline, &watermarks, &mut run);
        let mut seen = match (run.ended, outcome) {
            (Some(ended), _) => return Err(ended),
            (None, outcome) => outcome.map(|()| run.seen).map_err(|e| defect(&e))?,
        };
        // What there is without any row, as a count of nothing, appears when all has been read.
        let times = EpochTimes {
            before: watermarks.clone(),
            after: watermarks,
            loaded: true,
            clock_ms: i64::MAX,
            hand_over_max: usize::MAX,
            ..EpochTimes::default()
        };
        let last = dataflow.run(pipeline, Vec::new(), &times).map_err(|e| defect(&e))?;
        for (seen, id) in seen.iter_mut().zip(&self.look.tables) {
            seen.extend(last.changes.get(*id).cloned());
        }
        let tables = self.look.tables.iter().zip(seen);
        tables.map(|(id, changes)| rows(&pipeline.relations[*id].schema, &changes)).collect()
    }
}

fn defect(error: &DataflowError) -> QueryError {
    QueryError::defect(format!("{error}: {}", error.source))
}

/// The rows of a Z-set, each as often as its weight says.
fn rows(schema: &arrow::datatypes::SchemaRef, changes: &[ChangeBatch]) -> Result<Vec<RecordBatch>, QueryError> {
    let whole = ChangeBatch::concat(schema, changes).and_then(ChangeBatch::consolidate).map_err(QueryError::defect)?;
    if whole.weights.iter().all(|weight| *weight == 1) {
        return Ok(vec![whole.rows]);
    }
    let repeated = whole
        .weights
        .iter()
        .enumerate()
        .flat_map(|(row, weight)| std::iter::repeat_n(row as u32, usize::try_from(*weight).unwrap_or_default()));
    let repeated = UInt32Array::from_iter_values(repeated);
    Ok(vec![take_record_batch(&whole.rows, &repeated).map_err(QueryError::defect)?])
}

/// One run of the rules.
struct Run<'a> {
    looking: &'a Looking,
    /// By source what was copied of it.
    given: BTreeMap<RelationId, Vec<RecordBatch>>,
    /// Bytes of state by relation.
    sizes: Vec<usize>,
    memory_max: usize,
    deadline: &'a Deadline<'a>,
    /// By relation looked into what was given out.
    seen: Vec<Vec<ChangeBatch>>,
    ended: Option<QueryError>,
}

impl Recomputation for Run<'_> {
    fn is_needed(&self, relation: RelationId) -> bool {
        self.looking.leading.contains(&relation)
    }

    fn contents(&mut self, relation: RelationId, part: usize) -> Option<Option<ChangeBatch>> {
        let batches = self.given.get_mut(&relation)?;
        // A part is read once, and its memory given back.
        let batch = batches.get_mut(part).map(|batch| std::mem::replace(batch, RecordBatch::new_empty(batch.schema())));
        Some(batch.map(|rows| {
            let n_rows = rows.num_rows();
            ChangeBatch::table(rows, vec![1; n_rows])
        }))
    }

    fn computed(
        &mut self,
        relation: RelationId,
        changes: &ChangeBatch,
        size: &dyn Fn() -> StateSize,
    ) -> Result<(), OperatorError> {
        let mut n_bytes: usize = 0;
        for (seen, _) in self.seen.iter_mut().zip(&self.looking.look.tables).filter(|(_, id)| **id == relation) {
            n_bytes = n_bytes.saturating_add(changes.rows.get_array_memory_size());
            seen.push(changes.clone());
        }
        if let Some(known) = self.sizes.get_mut(relation) {
            *known = if n_bytes > 0 { known.saturating_add(n_bytes) } else { (*known).max(size().bytes) };
        }
        let ended = match self.deadline.check() {
            Ok(()) if self.sizes.iter().sum::<usize>() > self.memory_max => {
                Some(super::too_much_memory(self.memory_max))
            }
            Ok(()) => None,
            Err(ended) => Some(ended),
        };
        match ended {
            None => Ok(()),
            Some(ended) => {
                self.ended = Some(ended);
                Err(OperatorError::Function("the query was ended".into()))
            }
        }
    }
}
