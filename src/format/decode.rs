//! The decoder of a source by the format that it declares.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::avro::{AvroKey, AvroValue, Resolver};
use super::confluent;
use super::csv::CsvRecord;
use super::debezium::{DebeziumAvro, DebeziumJson};
use super::json::{DecodeSpec, Decoded, Decoder, Wire};
use super::key::{JsonKey, KeyReader};
use super::protobuf::{ProtobufKey, ProtobufValue, Wanted};
use super::registry::SchemaRegistry;
use super::rows::{Columns, RowDecoder};
use super::spec::{Format, FormatSpec, KeyFormat};
use super::value::{JsonValue, ValueReader};
use crate::stream::RecordBatchBytes;

/// Decodes the records of one source relation, whatever their format.
pub struct RecordDecoder {
    of: Kind,
    /// Whether values and keys tell the numbers of their schemas.
    has_ids: (bool, bool),
}

enum Kind {
    Json(Box<Decoder>),
    Rows(Box<RowDecoder>),
}

/// What a decoder must know of its source beside the columns in use.
#[derive(Clone, Debug)]
pub struct DecoderSource<'a> {
    /// The relation.
    pub relation: Arc<str>,
    /// How its records look.
    pub format: &'a FormatSpec,
    /// The names of all declared columns, in order.
    pub declared: Vec<String>,
    /// Where schemas are.
    pub registry: Option<Arc<SchemaRegistry>>,
}

impl RecordDecoder {
    /// A decoder; fails where the format cannot be read into the columns, with the reason. Lines of files are JSON whatever
    /// the format of the topic.
    pub fn new(spec: DecodeSpec, source: &DecoderSource<'_>) -> Result<Self, String> {
        let format = source.format;
        if spec.wire == Wire::Lines || (format.format, format.key) == (Format::Json, KeyFormat::Text) {
            let decoder = Decoder::new(spec).map_err(|e| e.to_string())?;
            return Ok(Self { of: Kind::Json(Box::new(decoder)), has_ids: (false, false) });
        }
        let kinds = spec.kinds().map_err(|e| e.to_string())?;
        let columns = Columns { columns: &spec.columns, kinds: &kinds, key: &spec.key };
        let registry = || source.registry.clone().ok_or_else(|| NO_REGISTRY.to_owned());
        let resolver =
            || Resolver { relation: source.relation.clone(), rejects_missing: format.rejects_missing, schema_id: None };
        let wanted = || Wanted {
            relation: source.relation.clone(),
            message: format.message.clone(),
            rejects_missing: format.rejects_missing,
        };
        let file = || format.schema.as_deref().ok_or_else(|| "its `schema_file` was not read".to_owned());
        let value = match format.format {
            Format::Json => ValueReader::Json(JsonValue::new(&columns)),
            Format::Csv => {
                let null = format.null_literal.clone();
                ValueReader::Csv(CsvRecord::new(format.delimiter, null, &source.declared, &columns)?)
            }
            Format::Avro => ValueReader::Avro(AvroValue::of_file(file()?, &columns, resolver())?),
            Format::AvroConfluent => ValueReader::Avro(AvroValue::of_registry(registry()?, resolver())),
            Format::Protobuf => ValueReader::Protobuf(ProtobufValue::of_file(file()?, &columns, wanted())?),
            Format::ProtobufConfluent => ValueReader::Protobuf(ProtobufValue::of_registry(registry()?, wanted())),
            Format::DebeziumJson => ValueReader::DebeziumJson(DebeziumJson::new(&columns, format.epoch_unit)),
            Format::DebeziumAvroConfluent => ValueReader::DebeziumAvro(DebeziumAvro::new(registry()?, resolver())),
        };
        let key = match format.key {
            // Nobody looks at the keys of a stream.
            _ if !spec.is_table => KeyReader::Text,
            KeyFormat::Text => KeyReader::Text,
            KeyFormat::Json => KeyReader::Json(JsonKey::new(&columns)),
            KeyFormat::AvroConfluent => KeyReader::Avro(AvroKey::new(registry()?)),
            KeyFormat::ProtobufConfluent => KeyReader::Protobuf(ProtobufKey::new(registry()?)),
        };
        let has_ids = (format.format.needs_registry(), spec.is_table && format.key.needs_registry());
        let decoder = RowDecoder::new(spec, value, key).map_err(|e| e.to_string())?;
        Ok(Self { of: Kind::Rows(Box::new(decoder)), has_ids })
    }

    /// The schema of the rows: a stream's NOT NULL columns and key columns are not nullable; of a table only the key columns
    /// are, because tombstones have nothing else.
    pub fn schema(&self) -> &SchemaRef {
        match &self.of {
            Kind::Json(decoder) => decoder.schema(),
            Kind::Rows(decoder) => decoder.schema(),
        }
    }

    /// Adds the numbers of the schemas that records tell. They must be asked for before the records are decoded.
    pub fn schema_ids(&self, batch: &RecordBatchBytes, ids: &mut BTreeSet<u32>) {
        let (of_values, of_keys) = self.has_ids;
        if !of_values && !of_keys {
            return;
        }
        let mut last = None;
        for view in batch.iter() {
            let of_value = view.value.filter(|_| of_values);
            let of_key = view.key.filter(|_| of_keys);
            for (id, _) in of_value.into_iter().chain(of_key).filter_map(|bytes| confluent::split(bytes).ok()) {
                if last != Some(id) {
                    ids.insert(id);
                    last = Some(id);
                }
            }
        }
    }

    /// Decodes a batch. Fails only where Arrow refuses columns that agree with the schema, which would be a defect here.
    pub fn decode(&mut self, batch: &RecordBatchBytes) -> Result<Decoded, ArrowError> {
        match &mut self.of {
            Kind::Json(decoder) => decoder.decode(batch),
            Kind::Rows(decoder) => decoder.decode(batch),
        }
    }
}

/// What is missing where records tell numbers of schemas.
pub const NO_REGISTRY: &str = "no schema registry is configured: set CURB_SCHEMA_REGISTRY_URL, or `url` under [schema_registry] in \
                           the --config file";
