//! The encoder of a sink by the format that it declares.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

use super::avro::AvroEncoder;
use super::csv::CsvEncoder;
use super::debezium::{DebeziumAvroEncoder, DebeziumEncoder};
use super::json::{Encoded, Encoder};
use super::protobuf::ProtobufEncoder;
use super::registry::{RegisterError, SchemaLanguage, SchemaRegistry};
use super::spec::{Format, FormatSpec, KeyFormat};

/// Encodes the rows of one sink, whatever the format of its topic.
pub struct RecordEncoder {
    /// JSON is also how files are written, and the default of keys.
    json: Encoder,
    value: Value,
    key: Key,
    topic: String,
    subject: Option<String>,
    auto_register: bool,
}

enum Value {
    Json,
    Csv(CsvEncoder),
    /// By a schema in a file, which the record does not tell.
    Avro(Box<AvroEncoder>),
    Protobuf(Box<ProtobufEncoder>),
    AvroConfluent(Box<Registered<AvroEncoder>>),
    ProtobufConfluent(Box<Registered<ProtobufEncoder>>),
    Debezium(DebeziumEncoder),
    DebeziumAvro(Box<Registered<DebeziumAvroEncoder>>),
}

enum Key {
    Text,
    Json(Encoder),
    Avro(Box<Registered<AvroEncoder>>),
    Protobuf(Box<Registered<ProtobufEncoder>>),
}

/// An encoder and the number of its schema, once it is known.
struct Registered<E> {
    encoder: E,
    id: Option<u32>,
}

/// A schema and the place of its number.
type ToRegister<'a> = (SchemaLanguage, &'a str, &'a mut Option<u32>);

const NOT_REGISTERED: &str = "its schema has not been registered";

impl RecordEncoder {
    /// An encoder of rows of `schema` for a topic; `key` are the columns of its key. Fails where a column has no form in the
    /// format, or the schema of a file does not hold all rows, with the reason.
    pub fn new(schema: &SchemaRef, key: &[usize], zone: Tz, topic: &str, format: &FormatSpec) -> Result<Self, String> {
        let text = |e: super::json::UnsupportedType| e.to_string();
        let of_key = Arc::new(schema.project(key).map_err(|e| e.to_string())?);
        let (file, message) = (format.schema.as_deref(), format.message.as_deref());
        let needed = || file.ok_or_else(|| "its `schema_file` was not read".to_owned());
        let value = match format.format {
            Format::Json => Value::Json,
            Format::Csv => {
                let null = format.null_literal.clone();
                Value::Csv(CsvEncoder::new(schema.clone(), zone, format.delimiter, null).map_err(text)?)
            }
            Format::Avro => Value::Avro(Box::new(AvroEncoder::of_file(schema, needed()?)?)),
            Format::AvroConfluent => Value::AvroConfluent(Registered::new(match file {
                Some(file) => AvroEncoder::of_file(schema, file)?,
                None => AvroEncoder::new(schema, topic)?,
            })),
            Format::Protobuf => {
                Value::Protobuf(Box::new(ProtobufEncoder::new(schema, topic, Some(needed()?), message)?))
            }
            Format::ProtobufConfluent => {
                let encoder = ProtobufEncoder::new(schema, topic, file, message)?;
                if encoder.text.is_none() {
                    return Err("a registry needs the text of its schema".to_owned());
                }
                Value::ProtobufConfluent(Registered::new(encoder))
            }
            Format::DebeziumJson => Value::Debezium(DebeziumEncoder::new(schema.clone(), zone).map_err(text)?),
            Format::DebeziumAvroConfluent => {
                Value::DebeziumAvro(Registered::new(DebeziumAvroEncoder::new(schema, topic)?))
            }
        };
        let key = match format.key {
            _ if key.is_empty() => Key::Text,
            KeyFormat::Text => Key::Text,
            KeyFormat::Json => Key::Json(Encoder::new(of_key, zone).map_err(text)?),
            KeyFormat::AvroConfluent => Key::Avro(Registered::new(AvroEncoder::new(&of_key, &format!("{topic}-key"))?)),
            KeyFormat::ProtobufConfluent => {
                Key::Protobuf(Registered::new(ProtobufEncoder::new(&of_key, &format!("{topic}-key"), None, None)?))
            }
        };
        Ok(Self {
            json: Encoder::new(schema.clone(), zone).map_err(text)?,
            value,
            key,
            topic: topic.to_owned(),
            subject: format.subject.clone(),
            auto_register: format.auto_register,
        })
    }

    /// Registers the schemas that are not registered yet, or finds them.
    pub fn register(&mut self, registry: &SchemaRegistry) -> Result<(), RegisterError> {
        let subjects =
            (self.subject.clone().unwrap_or_else(|| format!("{}-value", self.topic)), format!("{}-key", self.topic));
        let may_register = self.auto_register;
        let of_value = self.value.schema().map(|schema| (subjects.0, schema));
        let of_key = self.key.schema().map(|schema| (subjects.1, schema));
        for (subject, (language, text, id)) in of_value.into_iter().chain(of_key) {
            if id.is_none() {
                let number = registry.register(&subject, language, text, may_register)?;
                tracing::info!(subject, schema_id = number, "schema registered");
                *id = Some(number);
            }
        }
        Ok(())
    }

    /// Whether schemas must be registered before anything is encoded.
    pub fn needs_registration(&mut self) -> bool {
        let schemas = self.value.schema().into_iter().chain(self.key.schema());
        schemas.into_iter().any(|(_, _, id)| id.is_none())
    }

    /// One record a row; `is_deleted` says of each whether it is gone.
    pub fn encode(&self, rows: &RecordBatch, is_deleted: impl Fn(usize) -> bool) -> Result<Encoded, String> {
        let (columns, n_rows) = (rows.columns(), rows.num_rows());
        match &self.value {
            Value::Json => self.lines(rows),
            Value::Csv(csv) => csv.encode(rows).map_err(|e| e.to_string()),
            Value::Avro(avro) => avro.encode(columns, n_rows, None),
            Value::Protobuf(protobuf) => protobuf.encode(columns, n_rows, None),
            Value::AvroConfluent(avro) => avro.encoder.encode(columns, n_rows, Some(avro.id()?)),
            Value::ProtobufConfluent(protobuf) => protobuf.encoder.encode(columns, n_rows, Some(protobuf.id()?)),
            Value::Debezium(debezium) => debezium.encode(rows, is_deleted).map_err(|e| e.to_string()),
            Value::DebeziumAvro(debezium) => debezium.encoder.encode(rows, is_deleted, debezium.id()?),
        }
    }

    /// One JSON object a row, whatever the format.
    pub fn lines(&self, rows: &RecordBatch) -> Result<Encoded, String> {
        self.json.encode(rows).map_err(|e| e.to_string())
    }

    /// One line `{"_tombstone":true,<key columns>}` a row, for ends that have no records without value.
    pub fn tombstone_lines(&self, rows: &RecordBatch, key: &[usize]) -> Result<Encoded, String> {
        self.json.tombstone_lines(rows, key).map_err(|e| e.to_string())
    }

    /// Whether a deletion is a record of its own before the one without value.
    pub fn writes_deletions(&self) -> bool {
        matches!(self.value, Value::Debezium(_) | Value::DebeziumAvro(_))
    }

    /// The key of each row as text, whatever the format of keys.
    pub fn key_texts(&self, columns: &[ArrayRef]) -> Result<BinaryArray, String> {
        self.json.key_text(columns).map_err(|e| e.to_string())
    }

    /// The Kafka key of each row.
    pub fn keys(&self, columns: &[ArrayRef], n_rows: usize) -> Result<BinaryArray, String> {
        let of_batch = |encoded: Encoded| BinaryArray::from_iter_values(encoded.iter());
        match &self.key {
            Key::Text => self.key_texts(columns),
            Key::Json(encoder) => {
                // The encoder's own schema names the members.
                let rows =
                    RecordBatch::try_from_iter(columns.iter().map(|c| ("", c.clone()))).map_err(|e| e.to_string())?;
                encoder.encode(&rows).map(of_batch).map_err(|e| e.to_string())
            }
            Key::Avro(avro) => avro.encoder.encode(columns, n_rows, Some(avro.id()?)).map(of_batch),
            Key::Protobuf(protobuf) => protobuf.encoder.encode(columns, n_rows, Some(protobuf.id()?)).map(of_batch),
        }
    }
}

impl Value {
    /// The schema that is registered.
    fn schema(&mut self) -> Option<ToRegister<'_>> {
        match self {
            Self::AvroConfluent(avro) => Some((SchemaLanguage::Avro, &avro.encoder.text, &mut avro.id)),
            Self::DebeziumAvro(avro) => Some((SchemaLanguage::Avro, &avro.encoder.text, &mut avro.id)),
            Self::ProtobufConfluent(protobuf) => protobuf.schema(),
            Self::Json | Self::Csv(_) | Self::Avro(_) | Self::Protobuf(_) | Self::Debezium(_) => None,
        }
    }
}

impl Key {
    /// The schema that is registered.
    fn schema(&mut self) -> Option<ToRegister<'_>> {
        match self {
            Self::Avro(avro) => Some((SchemaLanguage::Avro, &avro.encoder.text, &mut avro.id)),
            Self::Protobuf(protobuf) => protobuf.schema(),
            Self::Text | Self::Json(_) => None,
        }
    }
}

impl Registered<ProtobufEncoder> {
    fn schema(&mut self) -> Option<ToRegister<'_>> {
        Some((SchemaLanguage::Protobuf, self.encoder.text.as_deref()?, &mut self.id))
    }
}

impl<E> Registered<E> {
    fn new(encoder: E) -> Box<Self> {
        Box::new(Self { encoder, id: None })
    }

    /// The number of the schema.
    fn id(&self) -> Result<u32, &'static str> {
        self.id.ok_or(NOT_REGISTERED)
    }
}
