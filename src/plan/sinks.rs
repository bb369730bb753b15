//! The ends of a pipeline: `CHANGES(t)`, sinks over tables, sinks over streams.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Ident;

use super::builder::{Builder, Facts, NewRelation, leaf, schema_of};
use super::error::{Result, refuse};
use super::pipeline::{Distribution, OperatorPlan, Relation, SinkPlan};
use super::rewrite::normalise;
use super::table_read::TableRead;
use super::{RelationId, lineage};
use crate::catalog::{QueryDefinition, RelationKind, SinkOptions};
use crate::format::{FormatSpec, RecordEncoder, json};
use crate::operators::{ChangesSpec, KeyText, OperatorError, UpsertSpec};

/// The columns of `CHANGES(t)`: `before` and `after` as structs of the table's columns, and `revision`.
pub(super) fn changes_schema(table: &SchemaRef) -> SchemaRef {
    // Inside the structs everything may be null: the struct itself is null where the row did not exist.
    let fields: Vec<Field> = table.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let row = DataType::Struct(fields.into());
    Arc::new(Schema::new(vec![
        Field::new("before", row.clone(), true),
        Field::new("after", row, true),
        Field::new("revision", DataType::Int64, false),
    ]))
}

/// Adds the relation that `CHANGES(t)` reads.
pub(super) fn add_changes(builder: &mut Builder<'_>, read: &TableRead, settle_ms: i64, id: RelationId) -> Result<()> {
    let table = read.table.as_str();
    let relation = &builder.relations[id];
    let Some(key) = builder.facts[id].keys.first().cloned() else {
        return no_key(table);
    };
    let input = relation.schema.clone();
    let schema = changes_schema(&input);
    let spec = ChangesSpec {
        key: key.clone(),
        key_text: key_text(builder, &input, &key)?,
        input: input.clone(),
        schema: schema.clone(),
        settle_ms,
        gone_until: None,
    };
    let fields = |s: &SchemaRef| schema_of(s.fields().iter().map(|f| (None, f.clone())).collect());
    let plan = leaf(table, fields(&input)?);
    builder.add(NewRelation {
        node: "changes",
        kind: RelationKind::Stream,
        schema: fields(&schema)?,
        operator: OperatorPlan::Changes(spec),
        inputs: vec![(plan, Distribution::Hash(key.clone()))],
        facts: Facts::default(),
        arrival: false,
        meaning: String::new(),
    })?;
    let new = builder.relations.len() - 1;
    let name = read.name();
    if let Some(relation) = builder.relations.last_mut() {
        // The rows last handed on are compared with whatever the table has become: a changed rule keeps them.
        relation.operator_id = super::canonical::id(&format!("{name} key={key:?} {input}"));
        relation.name = name.as_str().into();
    }
    builder.scans.insert(name, new);
    Ok(())
}

fn no_key<T>(table: &str) -> Result<T> {
    refuse(
        "C0445",
        format!("`{table}` has no key, so its rows cannot be followed"),
        "Declare one: CREATE TABLE name (PRIMARY KEY (..)) AS SELECT ..",
    )
}

/// Adds the last relation of a sink.
pub(super) fn add_sink(
    builder: &mut Builder<'_>,
    definition: &QueryDefinition,
    options: &SinkOptions,
    rest: LogicalPlan,
    kind: RelationKind,
) -> Result<SinkPlan> {
    let names: Vec<String> = rest.schema().columns().into_iter().map(|c| c.name).collect();
    let declared = options.key.as_ref().map(|key| columns(definition, key, &names)).transpose()?;
    let count_by = options.count_by.as_ref().map(|c| counted_column(definition, c, &rest)).transpose()?;
    let (operator, distribution, key, node) = match kind {
        RelationKind::Stream => (OperatorPlan::Select, Distribution::Single, declared.unwrap_or_default(), "select"),
        RelationKind::Table => {
            let key = table_key(builder, definition, declared, &rest, &names)?;
            let schema: SchemaRef = super::builder::arrow_schema(rest.schema());
            let (key_text, settle_ms) = (key_text(builder, &schema, &key)?, options.settle_ms);
            let spec = UpsertSpec { key: key.clone(), key_text, schema, settle_ms, gone_until: None };
            (OperatorPlan::Upsert(spec), Distribution::Hash(key.clone()), key, "upsert")
        }
    };
    let emit_time = options.emit_time.as_ref().map(|c| emit_time(definition, c, &rest, &names)).transpose()?;
    let schema = rest.schema().clone();
    builder.add(NewRelation {
        node,
        kind,
        schema,
        operator,
        inputs: vec![(rest, distribution)],
        facts: Facts { keys: vec![key.clone()], ..Facts::default() },
        arrival: false,
        meaning: String::new(),
    })?;
    let id = builder.relations.len() - 1;
    if let Some(relation) = builder.relations.last_mut() {
        relation.operator_id = super::canonical::id(&format!(
            "sink {} {} key={key:?} {}",
            definition.name, options.topic, relation.schema
        ));
        relation.name = definition.name.clone();
        if kind == RelationKind::Stream {
            relation.key = None;
        }
    }
    check_format(builder, definition, options, kind, &key)?;
    let hands_over = hands_over(&builder.relations, id);
    check_holding_back(builder, definition, options, &hands_over)?;
    Ok(SinkPlan {
        hands_over,
        max_rate: options.max_rate,
        emit_time,
        name: definition.name.clone(),
        relation: id,
        topic: options.topic.clone(),
        format: options.format.clone(),
        headers: options.headers,
        upsert: kind == RelationKind::Table,
        key,
        count_by,
    })
}

/// Refuses columns that have no form in the sink's format, and changes of rows where there are only events.
fn check_format(
    builder: &Builder<'_>,
    definition: &QueryDefinition,
    options: &SinkOptions,
    kind: RelationKind,
    key: &[usize],
) -> Result<()> {
    let (sink, format) = (&definition.name, options.format.format);
    if format.is_changelog() && kind == RelationKind::Stream {
        return refuse(
            "C0455",
            format!("sink `{sink}` writes events, but format '{}' tells changes of rows", format.name()),
            "Write a table, or choose another format.",
        );
    }
    let Some(relation) = builder.relations.last() else { return Ok(()) };
    match RecordEncoder::new(&relation.schema, key, builder.zone, &options.topic, &options.format) {
        Ok(_) => Ok(()),
        // What JSON cannot write has a code of its own, where it is found otherwise.
        Err(_) if options.format == FormatSpec::default() => Ok(()),
        // So has a schema that is not there.
        Err(_) if format.needs_schema_file() && options.format.schema.is_none() => Ok(()),
        Err(reason) => refuse(
            "C0456",
            format!("sink `{sink}` cannot be written in format '{}': {reason}", format.name()),
            "Cast or rename the column, leave it out, or choose another format or schema.",
        ),
    }
}

/// The relations that hand over a sink's rows and can hold them back as differences: the sink's own over a table, those of
/// CHANGES over a stream of changes; none where a row comes from anything else.
fn hands_over(relations: &[Relation], sink: RelationId) -> Vec<RelationId> {
    let mut found = BTreeSet::new();
    let mut open = vec![sink];
    while let Some(id) = open.pop() {
        match relations.get(id).map(|r| (&r.operator, &r.inputs)) {
            Some((OperatorPlan::Upsert(_) | OperatorPlan::Changes(_), _)) => {
                found.insert(id);
            }
            Some((OperatorPlan::Select, inputs)) => open.extend(inputs.iter().flat_map(|i| &i.segment.leaves)),
            _ => return Vec::new(),
        }
    }
    found.into_iter().collect()
}

/// Refuses `settle` and `max_rate` where rows cannot wait, or where other sinks would wait with them.
fn check_holding_back(
    builder: &Builder<'_>,
    definition: &QueryDefinition,
    options: &SinkOptions,
    hands_over: &[RelationId],
) -> Result<()> {
    let option = match (options.settle_ms != 0, options.max_rate.is_some()) {
        (true, _) => "settle",
        (_, true) => "max_rate",
        _ => return Ok(()),
    };
    let own = format!(" of {}", definition.name);
    let is_own = |id: &RelationId| {
        builder.relations.get(*id).is_some_and(|r| r.name == definition.name || r.name.ends_with(&own))
    };
    if hands_over.is_empty() || !hands_over.iter().all(is_own) {
        return refuse(
            "C0452",
            format!("sink `{}` cannot hold rows back, as `{option}` asks for", definition.name),
            "Rows wait as differences of a table: write the table itself, or read FROM CHANGES(t) in the sink, not by way of a view.",
        );
    }
    Ok(())
}

/// The column that `--emit-from TIMESTAMP` compares.
fn emit_time(definition: &QueryDefinition, column: &Ident, rest: &LogicalPlan, names: &[String]) -> Result<usize> {
    let name = normalise(column);
    let idx = columns(definition, std::slice::from_ref(column), names)?.first().copied().unwrap_or_default();
    match rest.schema().field(idx).data_type() {
        DataType::Timestamp(..) => Ok(idx),
        other => refuse(
            "C0453",
            format!("`emit_time` of sink `{}` names `{name}`, which is {}", definition.name, json::sql_type(other)),
            "Name a column of type TIMESTAMP WITH TIME ZONE.",
        ),
    }
}

/// The key of a sink over a table is the table's key; another is refused.
fn table_key(
    builder: &Builder<'_>,
    definition: &QueryDefinition,
    declared: Option<Vec<usize>>,
    rest: &LogicalPlan,
    names: &[String],
) -> Result<Vec<usize>> {
    let known = lineage::keys(builder, rest);
    let same = |a: &[usize], b: &[usize]| a.len() == b.len() && a.iter().all(|c| b.contains(c));
    match (declared, known.first()) {
        (_, None) => refuse(
            "C0446",
            format!("sink `{}` writes a table without a key", definition.name),
            "Declare one: CREATE TABLE t (PRIMARY KEY (..)) AS SELECT .., and write that; its key columns must be among those written.",
        ),
        (None, Some(key)) => Ok(key.clone()),
        (Some(key), Some(first)) => match known.iter().any(|k| same(k, &key)) {
            true => Ok(key),
            false => {
                let text: Vec<&str> = first.iter().filter_map(|c| names.get(*c)).map(String::as_str).collect();
                refuse(
                    "C0447",
                    format!("the key of sink `{}` is not the key of the table that it writes", definition.name),
                    format!(
                        "Write key = '{}', or write FROM CHANGES(t), where `key` only chooses the partition.",
                        text.join(", ")
                    ),
                )
            }
        },
    }
}

fn columns(definition: &QueryDefinition, key: &[Ident], names: &[String]) -> Result<Vec<usize>> {
    key.iter()
        .map(|ident| match names.iter().position(|n| *n == normalise(ident)) {
            Some(idx) => Ok(idx),
            None => refuse(
                "C0448",
                format!("sink `{}` has no column `{}`", definition.name, ident.value),
                format!("Its columns are {}.", names.join(", ")),
            ),
        })
        .collect()
}

/// The column that `count_by` names: a text.
fn counted_column(definition: &QueryDefinition, ident: &Ident, rest: &LogicalPlan) -> Result<usize> {
    let (sink, name) = (&definition.name, &ident.value);
    let fields = rest.schema().fields();
    let Some(idx) = fields.iter().position(|f| *f.name() == normalise(ident)) else {
        let names: Vec<&str> = fields.iter().map(|f| f.name().as_str()).collect();
        return refuse(
            "C0449",
            format!("sink `{sink}` has no column `{name}` to count by"),
            format!("Its columns are {}.", names.join(", ")),
        );
    };
    let data_type = fields.get(idx).map_or(&DataType::Null, |f| f.data_type());
    if !matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return refuse(
            "C0450",
            format!(
                "sink `{sink}` is counted by column `{name}`, which is {} instead of text",
                json::sql_type(data_type)
            ),
            "Count by a text column that takes a few values, such as the kind of action.",
        );
    }
    Ok(idx)
}

/// Writes key columns as on the wire.
fn key_text(builder: &Builder<'_>, schema: &SchemaRef, key: &[usize]) -> Result<KeyText> {
    let columns = Arc::new(schema.project(key)?);
    let encoder = json::Encoder::new(columns, builder.zone)
        .map_err(|e| datafusion::common::DataFusionError::External(Box::new(e)))?;
    Ok(Arc::new(move |values: &[ArrayRef]| {
        encoder.key_text(values).map_err(|e| OperatorError::Function(e.to_string()))
    }))
}
