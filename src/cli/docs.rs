//! `curb docs`: the contract of a pack with its neighbours, from its SQL: AsyncAPI, or a JSON Schema a topic.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Context;
use arrow::datatypes::{DataType, Field};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::load::{Loaded, load};
use super::{Failure, OutputForm, print};
use crate::catalog::{Headers, QueryDefinition, QueryRole, RelationKind, SinkMode, SourceDefinition};
use crate::plan::SinkPlan;

/// Write the contract of a pack: its topics with schema, key, headers, and what is private
///
/// An AsyncAPI 3 document of all topics that the pack reads and writes, or a JSON Schema for each of them. Both follow from
/// the SQL alone, so that they cannot be out of date; no broker is needed.
#[derive(Debug, Args)]
pub(super) struct DocsArgs {
    /// The pack: a folder of .sql files, or one file
    pack: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t)]
    format: DocsFormat,
    /// Write to this folder: asyncapi.json, or <topic>.schema.json for each topic; without it, to stdout
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// What is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum DocsFormat {
    /// One AsyncAPI 3 document, as JSON.
    #[default]
    Asyncapi,
    /// A JSON Schema (draft 2020-12) a topic.
    JsonSchema,
}

/// A topic as its neighbours see it.
struct Topic {
    /// The relation that reads or writes it.
    relation: String,
    address: String,
    is_read: bool,
    description: String,
    payload: Value,
    key: Option<Value>,
    headers: Option<Value>,
}

pub(super) fn run(args: &DocsArgs) -> Result<(), Failure> {
    let loaded = load(&args.pack, None, OutputForm::Text)?;
    let topics = topics(&loaded);
    let title = args.pack.file_stem().map_or_else(|| "pack".into(), |name| name.to_string_lossy().into_owned());
    let files: Vec<(String, Value)> = match args.format {
        DocsFormat::Asyncapi => vec![("asyncapi.json".into(), asyncapi(&title, &loaded.pack_sha256, &topics))],
        DocsFormat::JsonSchema => {
            topics.iter().map(|t| (format!("{}.schema.json", t.address), json_schema(t))).collect()
        }
    };
    let Some(dir) = &args.to else {
        return files.iter().try_for_each(|(_, document)| print(&format!("{document:#}\n")));
    };
    let write = || -> anyhow::Result<()> {
        std::fs::create_dir_all(dir).with_context(|| format!("`{}`", dir.display()))?;
        for (name, document) in &files {
            let path = dir.join(name);
            std::fs::write(&path, format!("{document:#}\n")).with_context(|| format!("`{}`", path.display()))?;
        }
        Ok(())
    };
    write().map_err(Failure::Configuration)
}

fn topics(loaded: &Loaded) -> Vec<Topic> {
    let read = loaded.catalog.sources.iter().filter_map(source);
    let plan_of = |name: &str| loaded.pipeline.sinks.iter().find(|s| &*s.name == name);
    let written = loaded.catalog.queries.iter().filter_map(|query| {
        let plan = plan_of(&query.name)?;
        let relation = loaded.pipeline.relations.get(plan.relation)?;
        let private = loaded.pipeline.private_origins.get(&*query.name);
        sink(query, plan, relation.schema.fields(), private)
    });
    read.chain(written).collect()
}

fn source(definition: &SourceDefinition) -> Option<Topic> {
    let mut members = Map::new();
    let mut required = Vec::new();
    for column in &definition.columns {
        let mut schema = value_schema(&column.data_type, !column.not_null);
        if column.private {
            mark_private(&mut schema, [format!("{}.{}", definition.name, column.name)]);
        }
        if column.not_null {
            required.push(column.name.clone());
        }
        members.insert(column.name.clone(), schema);
    }
    let is_table = definition.kind == RelationKind::Table;
    let key_columns = || definition.key.iter().filter_map(|c| definition.columns.get(*c));
    let key: Vec<(&str, &DataType)> = key_columns().map(|c| (c.name.as_str(), &c.data_type)).collect();
    let description = match is_table {
        true => "Latest row of each key; a record without value deletes.",
        false => "Events; none is changed later.",
    };
    Some(Topic {
        relation: definition.name.to_string(),
        address: definition.topic.clone()?,
        is_read: true,
        description: description.into(),
        // What else a producer sends is not looked at.
        payload: json!({"type": "object", "properties": members, "required": required}),
        key: is_table.then(|| key_schema(&key)),
        headers: None,
    })
}

fn sink<'a>(
    query: &QueryDefinition,
    plan: &SinkPlan,
    fields: impl IntoIterator<Item = &'a std::sync::Arc<Field>>,
    private: Option<&BTreeMap<String, BTreeSet<std::sync::Arc<str>>>>,
) -> Option<Topic> {
    let QueryRole::Sink(options) = &query.role else { return None };
    let fields: Vec<&std::sync::Arc<Field>> = fields.into_iter().collect();
    let member = |field: &std::sync::Arc<Field>| {
        let mut schema = value_schema(field.data_type(), field.is_nullable());
        if let Some(origins) = private.and_then(|private| private.get(field.name())) {
            mark_private(&mut schema, origins);
        }
        (field.name().clone(), schema)
    };
    let members: Map<String, Value> = fields.iter().map(|f| member(f)).collect();
    let required: Vec<&String> = fields.iter().map(|f| f.name()).collect();
    let key: Vec<(&str, &DataType)> =
        plan.key.iter().filter_map(|c| fields.get(*c)).map(|f| (f.name().as_str(), f.data_type())).collect();
    let mut description = String::from(match plan.upsert {
        true => "Latest row of each key; a record without value withdraws it.",
        false => "Rows are appended; none is changed later.",
    });
    if options.allow_private {
        description.push_str(" Holds private columns: for readers with that right only.");
    }
    Some(Topic {
        relation: query.name.to_string(),
        address: match options.mode {
            SinkMode::Live => options.topic.clone(),
            SinkMode::Shadow => format!("{}.shadow", options.topic),
        },
        is_read: false,
        description,
        payload: json!({
            "type": "object", "properties": members, "required": required, "additionalProperties": false,
            "x-privacy": if options.allow_private { "private" } else { "internal" },
        }),
        key: (!plan.key.is_empty()).then(|| key_schema(&key)),
        headers: (options.headers != Headers::None).then(|| {
            json!({"type": "object", "properties": {
                "curb_id": {"type": "string", "description": "Never repeats: a consumer that has seen it has seen the record."}
            }})
        }),
    })
}

/// Marks a column that holds values of PRIVATE columns, and says of which.
fn mark_private(schema: &mut Value, origins: impl IntoIterator<Item = impl AsRef<str>>) {
    schema["x-curb-private"] = true.into();
    schema["x-curb-private-from"] = origins.into_iter().map(|o| Value::from(o.as_ref())).collect();
}

/// The schema of a Kafka key: the text of one column, or a JSON array of several.
fn key_schema(columns: &[(&str, &DataType)]) -> Value {
    match columns {
        [(name, data_type)] => {
            let mut schema = value_schema(data_type, false);
            schema["description"] = format!("{name}, as text without quotes").into();
            schema
        }
        several => {
            let names: Vec<&str> = several.iter().map(|(name, _)| *name).collect();
            let items: Vec<Value> = several.iter().map(|(_, data_type)| value_schema(data_type, true)).collect();
            json!({"type": "array", "prefixItems": items, "description": format!("[{}] as a JSON array", names.join(", "))})
        }
    }
}

fn value_schema(data_type: &DataType, is_nullable: bool) -> Value {
    let mut schema = match data_type {
        DataType::Boolean => json!({"type": "boolean"}),
        t if t.is_integer() => json!({"type": "integer"}),
        t if t.is_numeric() => json!({"type": "number"}),
        DataType::Date32 | DataType::Date64 => json!({"type": "string", "format": "date"}),
        DataType::Timestamp(_, Some(_)) => json!({"type": "string", "format": "date-time"}),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            json!({"type": "array", "items": value_schema(item.data_type(), item.is_nullable())})
        }
        DataType::Struct(fields) => {
            let members: Map<String, Value> =
                fields.iter().map(|f| (f.name().clone(), value_schema(f.data_type(), f.is_nullable()))).collect();
            json!({"type": "object", "properties": members})
        }
        _ => json!({"type": "string"}),
    };
    if is_nullable && let Some(one) = schema.get("type").cloned() {
        schema["type"] = json!([one, "null"]);
    }
    schema
}

fn json_schema(topic: &Topic) -> Value {
    let mut schema = topic.payload.clone();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = topic.address.clone().into();
    schema["description"] = topic.description.clone().into();
    schema
}

fn asyncapi(title: &str, version: &str, topics: &[Topic]) -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for topic in topics {
        let name = &topic.relation;
        let mut message = json!({"name": name, "contentType": "application/json", "payload": topic.payload});
        if let Some(key) = &topic.key {
            message["bindings"] = json!({"kafka": {"key": key}});
        }
        if let Some(headers) = &topic.headers {
            message["headers"] = headers.clone();
        }
        messages.insert(name.clone(), message);
        let reference = json!({"$ref": format!("#/components/messages/{name}")});
        // Several relations may read one topic.
        let channel = channels
            .entry(name.clone())
            .or_insert_with(|| json!({"address": topic.address, "description": topic.description, "messages": {}}));
        channel["messages"][name] = reference;
        let (action, verb) = if topic.is_read { ("receive", "read") } else { ("send", "write") };
        let operation = json!({"action": action, "channel": {"$ref": format!("#/channels/{name}")}});
        operations.insert(format!("{verb}_{name}"), operation);
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version.get(..12).unwrap_or(version)},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::load::examine;

    fn documents(sql: &str) -> Value {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pack.sql"), sql).unwrap();
        let loaded = examine(dir.path(), None).unwrap().compiled.unwrap();
        asyncapi("pack", &loaded.pack_sha256, &topics(&loaded))
    }

    #[test]
    fn a_private_column_is_marked_at_its_source_and_wherever_its_values_go() {
        let document = documents(
            "CREATE TABLE people (person_id VARCHAR PRIMARY KEY, name VARCHAR PRIVATE, phone VARCHAR PRIVATE, town VARCHAR)
             WITH (topic = 'people', format = 'json');
             CREATE VIEW contacts AS SELECT person_id, name || ' ' || phone AS contact, upper(name) AS called, town FROM people;
             CREATE SINK letters WITH (topic = 'letters', format = 'json', key = 'person_id', allow_private = true) AS
             SELECT person_id, contact, called, town, contact IS NULL AS unknown FROM contacts;
             CREATE SINK towns WITH (topic = 'towns', format = 'json') AS SELECT town, count(name) AS n FROM people GROUP BY town;",
        );
        let columns = |message: &str| document["components"]["messages"][message]["payload"]["properties"].clone();
        let origins = |message: &str, column: &str| columns(message)[column]["x-curb-private-from"].clone();
        assert_eq!(columns("people")["name"]["x-curb-private"], true);
        assert_eq!(columns("letters")["contact"]["x-curb-private"], true);
        assert_eq!(origins("letters", "contact"), json!(["people.name", "people.phone"]));
        assert_eq!(origins("letters", "called"), json!(["people.name"]));
        for (message, column) in
            [("people", "town"), ("letters", "person_id"), ("letters", "town"), ("letters", "unknown"), ("towns", "n")]
        {
            assert_eq!(columns(message)[column].get("x-curb-private"), None, "{message}.{column}");
        }
    }
}
