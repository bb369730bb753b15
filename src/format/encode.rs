//! The encoder of a sink by the format that it declares.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

use super::avro::AvroEncoder;
use super::csv::CsvEncoder;
use super::debezium::DebeziumEncoder;
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
    Avro(Box<Registered<AvroEncoder>>),
    Protobuf(Box<Registered<ProtobufEncoder>>),
    Debezium(DebeziumEncoder),
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

const NOT_REGISTERED: &str = "its schema has not been registered";

impl RecordEncoder {
    /// An encoder of rows of `schema` for a topic; `key` are the columns of its key. Fails where a column has no form in the
    /// format, with the reason.
    pub fn new(schema: &SchemaRef, key: &[usize], zone: Tz, topic: &str, format: &FormatSpec) -> Result<Self, String> {
        let text = |e: super::json::UnsupportedType| e.to_string();
        let of_key = Arc::new(schema.project(key).map_err(|e| e.to_string())?);
        let value = match format.format {
            Format::Json => Value::Json,
            Format::Csv => {
                let null = format.null_literal.clone();
                Value::Csv(CsvEncoder::new(schema.clone(), zone, format.delimiter, null).map_err(text)?)
            }
            Format::AvroConfluent => {
                Value::Avro(Box::new(Registered { encoder: AvroEncoder::new(schema, topic)?, id: None }))
            }
            Format::ProtobufConfluent => {
                let (file, message) = (format.schema.as_deref(), format.message.as_deref());
                Value::Protobuf(Box::new(Registered {
                    encoder: ProtobufEncoder::new(schema, topic, file, message)?,
                    id: None,
                }))
            }
            Format::DebeziumJson => Value::Debezium(DebeziumEncoder::new(schema.clone(), zone).map_err(text)?),
            other @ (Format::Avro | Format::Protobuf | Format::DebeziumAvroConfluent) => {
                return Err(format!("rows are not written in format '{}'", other.name()));
            }
        };
        let key = match format.key {
            _ if key.is_empty() => Key::Text,
            KeyFormat::Text => Key::Text,
            KeyFormat::Json => Key::Json(Encoder::new(of_key, zone).map_err(text)?),
            KeyFormat::AvroConfluent => {
                let encoder = AvroEncoder::new(&of_key, &format!("{topic}-key"))?;
                Key::Avro(Box::new(Registered { encoder, id: None }))
            }
            KeyFormat::ProtobufConfluent => {
                let encoder = ProtobufEncoder::new(&of_key, &format!("{topic}-key"), None, None)?;
                Key::Protobuf(Box::new(Registered { encoder, id: None }))
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
        let may_register = self.auto_register;
        let subject = self.subject.clone().unwrap_or_else(|| format!("{}-value", self.topic));
        match &mut self.value {
            Value::Avro(avro) => {
                let text = avro.encoder.text.clone();
                avro.register(registry, &subject, SchemaLanguage::Avro, &text, may_register)?;
            }
            Value::Protobuf(protobuf) => {
                let text = protobuf.encoder.text.clone();
                protobuf.register(registry, &subject, SchemaLanguage::Protobuf, &text, may_register)?;
            }
            Value::Json | Value::Csv(_) | Value::Debezium(_) => {}
        }
        let subject = format!("{}-key", self.topic);
        match &mut self.key {
            Key::Avro(avro) => {
                let text = avro.encoder.text.clone();
                avro.register(registry, &subject, SchemaLanguage::Avro, &text, may_register)
            }
            Key::Protobuf(protobuf) => {
                let text = protobuf.encoder.text.clone();
                protobuf.register(registry, &subject, SchemaLanguage::Protobuf, &text, may_register)
            }
            Key::Text | Key::Json(_) => Ok(()),
        }
    }

    /// Whether schemas must be registered before anything is encoded.
    pub fn needs_registration(&self) -> bool {
        let value = match &self.value {
            Value::Avro(avro) => avro.id.is_none(),
            Value::Protobuf(protobuf) => protobuf.id.is_none(),
            Value::Json | Value::Csv(_) | Value::Debezium(_) => false,
        };
        let key = match &self.key {
            Key::Avro(avro) => avro.id.is_none(),
            Key::Protobuf(protobuf) => protobuf.id.is_none(),
            Key::Text | Key::Json(_) => false,
        };
        value || key
    }

    /// One record a row; `is_deleted` says of each whether it is gone.
    pub fn encode(&self, rows: &RecordBatch, is_deleted: impl Fn(usize) -> bool) -> Result<Encoded, String> {
        match &self.value {
            Value::Json => self.lines(rows),
            Value::Csv(csv) => csv.encode(rows).map_err(|e| e.to_string()),
            Value::Avro(avro) => avro.encoder.encode_rows(rows, avro.id.ok_or(NOT_REGISTERED)?),
            Value::Protobuf(protobuf) => protobuf.encoder.encode_rows(rows, protobuf.id.ok_or(NOT_REGISTERED)?),
            Value::Debezium(debezium) => debezium.encode(rows, is_deleted).map_err(|e| e.to_string()),
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
        matches!(self.value, Value::Debezium(_))
    }

    /// The Kafka key of each row.
    pub fn keys(&self, columns: &[ArrayRef], n_rows: usize) -> Result<BinaryArray, String> {
        let of_batch = |encoded: Encoded| BinaryArray::from_iter_values(encoded.iter());
        match &self.key {
            Key::Text => self.json.key_text(columns).map_err(|e| e.to_string()),
            Key::Json(encoder) => {
                // The encoder's own schema names the members.
                let rows =
                    RecordBatch::try_from_iter(columns.iter().map(|c| ("", c.clone()))).map_err(|e| e.to_string())?;
                encoder.encode(&rows).map(of_batch).map_err(|e| e.to_string())
            }
            Key::Avro(avro) => avro.encoder.encode(columns, avro.id.ok_or(NOT_REGISTERED)?).map(of_batch),
            Key::Protobuf(protobuf) => {
                protobuf.encoder.encode(columns, n_rows, protobuf.id.ok_or(NOT_REGISTERED)?).map(of_batch)
            }
        }
    }
}

impl<E> Registered<E> {
    fn register(
        &mut self,
        registry: &SchemaRegistry,
        subject: &str,
        language: SchemaLanguage,
        text: &str,
        may_register: bool,
    ) -> Result<(), RegisterError> {
        if self.id.is_none() {
            let id = registry.register(subject, language, text, may_register)?;
            tracing::info!(subject, schema_id = id, "schema registered");
            self.id = Some(id);
        }
        Ok(())
    }
}
