//! The JSON schema of the configuration file, for editors: it follows from the list of settings.

use std::collections::{BTreeMap, BTreeSet};

use clap::Command;
use serde_json::{Map, Value, json};

use super::file::{KAFKA, Kind, PROPERTIES, PROPERTY_FILES, SECTIONS, Setting, settings};
use crate::kafka::property_names;

/// The schema, in the draft that editors of TOML know.
pub(in crate::cli) fn schema(run: &Command) -> Value {
    let (mut members, mut sections) = (Map::new(), BTreeMap::<&str, Map<String, Value>>::new());
    for setting in settings(run) {
        let schema = of_setting(run, &setting);
        match setting.key.split_once('.').and_then(|(s, key)| Some((*SECTIONS.iter().find(|known| **known == s)?, key)))
        {
            Some((section, key)) => sections.entry(section).or_default().insert(key.to_owned(), schema),
            None => members.insert(setting.key.clone(), schema),
        };
    }
    for section in SECTIONS {
        members.insert(section.to_owned(), object(sections.remove(section).unwrap_or_default()));
    }
    let names = property_names();
    let value = json!({"type": ["string", "number", "boolean"]});
    let mut properties = dotted(&names, &value);
    properties["description"] = "Properties of the Kafka client librdkafka, by their own names.".into();
    let mut files = dotted(&names, &value);
    files["description"] =
        "For properties that are secrets: the file that holds the value. A relative path starts at the folder of this file.".into();
    let kafka = Map::from_iter([(PROPERTIES.to_owned(), properties), (PROPERTY_FILES.to_owned(), files)]);
    members.insert(KAFKA.to_owned(), object(kafka));
    let mut schema = object(members);
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "Configuration of curb".into();
    let value = json!({"$ref": "#/definitions/value"});
    schema["definitions"] = json!({
        "properties": dotted(&property_names(), &value),
        "value": {"type": ["string", "number", "boolean"]},
    });
    schema
}

fn object(members: Map<String, Value>) -> Value {
    json!({"type": "object", "additionalProperties": false, "properties": members})
}

fn of_setting(run: &Command, setting: &Setting) -> Value {
    let mut schema = match setting.kind() {
        Kind::Switch => json!({"type": "boolean"}),
        Kind::Integer => integer(run, setting),
        Kind::Text => json!({"type": "string"}),
        Kind::Choice(choices) => json!({"enum": choices}),
        Kind::List => json!({"type": "array", "items": {"type": "string"}}),
    };
    let help = setting.arg.get_help().map(ToString::to_string).unwrap_or_default();
    let flag = setting.arg.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    let variable = setting.arg.get_env().map(|v| format!(", {}", v.to_string_lossy())).unwrap_or_default();
    schema["description"] = format!("{help} ({flag}{variable})").into();
    if let [default] = setting.arg.get_default_values()
        && let Some(text) = default.to_str()
        && setting.kind() != Kind::Switch
    {
        let number = text.parse::<i64>().ok().filter(|_| setting.kind() == Kind::Integer);
        schema["default"] = number.map_or_else(|| text.into(), Value::from);
    }
    schema
}

/// What the flag takes is known by asking it.
fn integer(run: &Command, setting: &Setting) -> Value {
    let is_taken = |n: u64| setting.fault(run, &n.to_string()).is_none();
    let least = u64::from(!is_taken(0));
    let mut schema = json!({"type": "integer", "minimum": least});
    // The greatest lies in [taken, refused).
    let (mut taken, mut refused) = (least, u64::from(u32::MAX));
    if is_taken(refused) {
        return schema;
    }
    while refused - taken > 1 {
        let middle = taken + (refused - taken) / 2;
        *(if is_taken(middle) { &mut taken } else { &mut refused }) = middle;
    }
    schema["maximum"] = taken.into();
    schema
}

/// Names with dots, in quotes or as TOML reads them without: tables in tables.
fn dotted(names: &BTreeSet<String>, value: &Value) -> Value {
    let mut members = nested(&names.iter().map(String::as_str).collect::<Vec<_>>(), value);
    for name in names {
        members.entry(name.clone()).or_insert_with(|| value.clone());
    }
    object(members)
}

fn nested(names: &[&str], value: &Value) -> Map<String, Value> {
    let mut inner: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut members = Map::new();
    for name in names {
        match name.split_once('.') {
            Some((first, rest)) => inner.entry(first).or_default().push(rest),
            None => {
                members.insert((*name).to_owned(), value.clone());
            }
        }
    }
    for (first, rest) in inner {
        let table = object(nested(&rest, value));
        let both = members.remove(first).map(|value| json!({"anyOf": [value, table.clone()]}));
        members.insert(first.to_owned(), both.unwrap_or(table));
    }
    members
}
