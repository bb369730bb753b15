//! The values of Kafka records, by their format.

use super::avro::AvroValue;
use super::csv::CsvRecord;
use super::debezium::{DebeziumAvro, DebeziumJson};
use super::json::cell::Cell;
use super::json::decode::typed;
use super::json::parse::parse_object;
use super::json::scan::Scanner;
use super::json::value::{Fields, Value};
use super::protobuf::ProtobufValue;
use super::rows::{Change, Columns};

/// Reads the values of one source relation.
pub(super) enum ValueReader {
    /// JSON objects.
    Json(JsonValue),
    /// Comma-separated values.
    Csv(CsvRecord),
    /// Avro, of one schema or behind the number of its schema.
    Avro(AvroValue),
    /// Messages of Protocol Buffers, likewise.
    Protobuf(ProtobufValue),
    /// Debezium's envelopes in JSON.
    DebeziumJson(DebeziumJson),
    /// Debezium's envelopes in Avro.
    DebeziumAvro(DebeziumAvro),
}

impl ValueReader {
    /// Reads a value into cells, one a column.
    pub(super) fn read<'a>(
        &mut self,
        value: &'a [u8],
        columns: &Columns<'_>,
        cells: &mut Vec<Cell<'a>>,
    ) -> Result<Change, String> {
        match self {
            Self::Json(reader) => reader.read(value, columns, cells),
            Self::Csv(reader) => reader.read(value, columns, cells),
            Self::Avro(reader) => reader.read(value, columns, cells),
            Self::Protobuf(reader) => reader.read(value, columns, cells),
            Self::DebeziumJson(reader) => reader.read(value, columns, cells),
            Self::DebeziumAvro(reader) => reader.read(value, columns, cells),
        }
    }
}

/// A record's value as text.
pub(super) fn utf8(value: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(value).map_err(|e| format!("not valid UTF-8 at byte {}", e.valid_up_to()))
}

/// Reads JSON objects whose keys are not text.
pub(super) struct JsonValue {
    scanner: Scanner,
}

impl JsonValue {
    pub(super) fn new(columns: &Columns<'_>) -> Self {
        Self { scanner: Scanner::new(Fields::new(columns.columns.iter().map(|c| c.name.clone()))) }
    }

    fn read<'a>(
        &mut self,
        value: &'a [u8],
        columns: &Columns<'_>,
        cells: &mut Vec<Cell<'a>>,
    ) -> Result<Change, String> {
        let text = utf8(value)?;
        let mut slots = vec![Value::Absent; self.scanner.fields().len()];
        if self.scanner.scan(text, &mut slots).is_none() {
            slots.fill_with(Value::default);
            parse_object(text, self.scanner.fields(), &mut slots).map_err(|e| e.to_string())?;
        }
        for ((column, kind), value) in columns.iter().zip(&mut slots) {
            cells.push(typed(column, kind, value)?);
        }
        Ok(Change::Upsert)
    }
}
