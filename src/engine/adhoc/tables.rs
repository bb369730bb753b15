//! What a query may read of each relation of a pack.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray, new_null_array};
use arrow::compute::{cast, nullif};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::scalar::ScalarValue;

use super::trouble::{QueryError, QueryTrouble};
use crate::catalog::{Catalog, Definition, QueryRole, RelationKind};
use crate::plan::{OperatorPlan, Pipeline, RelationId, UNKNOWN_RELATION, suggest};

/// What stands for a text that is not to be shown.
pub(super) const MASK: &str = "***";

/// A relation that a query reads.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    /// Its columns, any of which may be null.
    pub(super) schema: SchemaRef,
    pub(super) place: Place,
}

/// Where the rows of a relation are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the state of this relation of the running pipeline.
    Kept(RelationId),
    /// In no place: its rule is run.
    Computed,
}

/// A relation of the pack, as who asks sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadableRelation {
    /// The name.
    pub name: String,
    /// `stream`, `table`, `view` or `sink`.
    pub kind: &'static str,
    /// The columns, with their types, and whether their values are masked.
    pub columns: Vec<(String, DataType, bool)>,
    /// Why it cannot be read; none if it can be, as far as is known before it is tried.
    pub refusal: Option<String>,
}

/// A relation by its name, or why it cannot be read.
pub(super) fn table(
    catalog: &Catalog,
    pipeline: &Pipeline,
    schemas: &BTreeMap<String, SchemaRef>,
    name: &str,
) -> Result<Table, QueryError> {
    let kept = |relation: RelationId| match pipeline.relations.get(relation) {
        Some(found) => Ok((Place::Kept(relation), found.schema.clone())),
        None => Err(QueryError::defect(format!("`{name}` has no relation"))),
    };
    let declared = || {
        let schema = schemas.get(name).cloned().ok_or_else(|| QueryError::defect(format!("`{name}` has no columns")));
        schema.map(|schema| (Place::Computed, schema))
    };
    let (place, schema) = match catalog.find(name) {
        Some(Definition::Source(source)) if source.kind == RelationKind::Stream => {
            return Err(super::is_stream(name));
        }
        Some(Definition::Source(_)) => {
            let is_it =
                |r: &crate::plan::Relation| *r.name == *name && matches!(r.operator, OperatorPlan::SourceTable(..));
            kept(pipeline.relations.iter().position(is_it).unwrap_or(usize::MAX))?
        }
        Some(Definition::Query(query)) => match &query.role {
            QueryRole::Stream => return Err(super::is_stream(name)),
            QueryRole::Sink(options) => match pipeline.sinks.iter().find(|sink| *sink.name == *name) {
                Some(sink) if sink.upsert => kept(sink.relation)?,
                _ => return Err(appends(name, &options.topic)),
            },
            QueryRole::View | QueryRole::Table { .. } => declared()?,
        },
        None => return Err(unknown(catalog, name)),
    };
    let fields =
        schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true).with_metadata(Default::default()));
    Ok(Table { name: name.to_owned(), schema: Arc::new(Schema::new(fields.collect::<Vec<Field>>())), place })
}

fn appends(name: &str, topic: &str) -> QueryError {
    QueryError::new(
        QueryTrouble::Refused,
        "C0607",
        format!("sink `{name}` appends: what it has written is in topic `{topic}` and is not kept"),
        "Ask the relation that it reads; of CHANGES(t) that is `t`.",
    )
}

fn unknown(catalog: &Catalog, name: &str) -> QueryError {
    let names = catalog.sources.iter().map(|s| &*s.name).chain(catalog.queries.iter().map(|q| &*q.name));
    let hint = suggest(name, &names.collect::<Vec<_>>(), "The pack declares");
    QueryError::new(QueryTrouble::Refused, UNKNOWN_RELATION, format!("relation `{name}` does not exist"), hint)
}

/// All relations of a pack.
pub(super) fn all(
    catalog: &Catalog,
    pipeline: &Pipeline,
    schemas: &BTreeMap<String, SchemaRef>,
) -> Vec<ReadableRelation> {
    let sources = catalog.sources.iter().map(|s| {
        let kind = if s.kind == RelationKind::Stream { "stream" } else { "table" };
        (s.name.to_string(), kind)
    });
    let queries = catalog.queries.iter().map(|q| {
        let kind = match q.role {
            QueryRole::View => "view",
            QueryRole::Stream => "stream",
            QueryRole::Table { .. } => "table",
            QueryRole::Sink(_) => "sink",
        };
        (q.name.to_string(), kind)
    });
    let relation = |(name, kind): (String, &'static str)| {
        let found = table(catalog, pipeline, schemas, &name);
        // What a view gives is known before it is tried where it has a relation of its own.
        let running = pipeline.relations.iter().find(|r| *r.name == *name);
        let is_stream = kind == "view" && running.is_some_and(|r| r.kind == RelationKind::Stream);
        let refusal = match &found {
            Err(error) => Some(error.to_string()),
            Ok(_) if is_stream => Some(super::is_stream(&name).to_string()),
            Ok(_) => None,
        };
        let schema = found.ok().map(|table| table.schema).or_else(|| schemas.get(&name).cloned());
        let private = pipeline.private.get(&name);
        let is_private = |column: &String| private.is_some_and(|private| private.contains(column));
        let column = |f: &Arc<Field>| (f.name().clone(), f.data_type().clone(), is_private(f.name()));
        let columns = schema.iter().flat_map(|schema| schema.fields()).map(column).collect();
        ReadableRelation { name, kind, columns, refusal }
    };
    sources.chain(queries).map(relation).collect()
}

/// Rows of some columns of a relation with all of its columns: private ones masked, those that are not needed null.
pub(super) fn filled(
    table: &Table,
    columns: &[usize],
    batches: Vec<RecordBatch>,
    private: Option<&BTreeSet<String>>,
) -> Result<Vec<RecordBatch>, QueryError> {
    let fill = |batch: RecordBatch| {
        let n_rows = batch.num_rows();
        let column = |(idx, field): (usize, &Arc<Field>)| -> Result<ArrayRef, QueryError> {
            let given = columns.iter().position(|c| *c == idx).and_then(|at| batch.columns().get(at));
            let Some(given) = given else { return Ok(new_null_array(field.data_type(), n_rows)) };
            let given = match given.data_type() == field.data_type() {
                true => given.clone(),
                false => cast(given, field.data_type()).map_err(QueryError::defect)?,
            };
            let is_private = private.is_some_and(|private| private.contains(field.name()));
            if is_private { masked(&given) } else { Ok(given) }
        };
        let columns = table.schema.fields().iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        RecordBatch::try_new_with_options(table.schema.clone(), columns, &options).map_err(QueryError::defect)
    };
    batches.into_iter().map(fill).collect()
}

/// Values of which nothing is left but whether they are null.
fn masked(values: &ArrayRef) -> Result<ArrayRef, QueryError> {
    let mask = match values.data_type() {
        DataType::Utf8 => ScalarValue::Utf8(Some(MASK.to_owned())),
        DataType::LargeUtf8 => ScalarValue::LargeUtf8(Some(MASK.to_owned())),
        DataType::Utf8View => ScalarValue::Utf8View(Some(MASK.to_owned())),
        other => match ScalarValue::new_default(other) {
            Ok(value) => value,
            Err(_) => return Ok(new_null_array(other, values.len())),
        },
    };
    let masks = mask.to_array_of_size(values.len()).map_err(QueryError::defect)?;
    let is_null = arrow::compute::is_null(values).map_err(QueryError::defect)?;
    nullif(&masks, &is_null).map_err(QueryError::defect)
}

/// What is shown of a column that holds private values: the mask of a text, null of anything else.
pub(super) fn shown(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        t if t.is_string() => {
            let texts = (0..values.len()).map(|row| values.is_valid(row).then_some(MASK));
            let texts: ArrayRef = Arc::new(texts.collect::<StringArray>());
            cast(&texts, t).unwrap_or(texts)
        }
        other => new_null_array(other, values.len()),
    }
}
