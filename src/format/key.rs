//! The keys of Kafka records, by their format.

use super::avro::AvroKey;
use super::json::cell::{Cell, Kind};
use super::json::decode::typed;
use super::json::key::key_cells;
use super::json::parse::parse_object;
use super::json::value::{Fields, Value};
use super::protobuf::ProtobufKey;
use super::rows::Columns;

/// Reads the keys of one source relation.
pub(super) enum KeyReader {
    /// One column as its text, several as a JSON array.
    Text,
    /// A JSON object, with or without Kafka Connect's wrapper.
    Json(JsonKey),
    /// Avro behind the number of its schema.
    Avro(AvroKey),
    /// A message behind the number of its schema.
    Protobuf(ProtobufKey),
}

impl KeyReader {
    /// Whether a key is the text of the only key column, which is the usual case and quickly told.
    pub(super) fn is_text_of(&self, key: &[u8], columns: &Columns<'_>, cells: &[Cell<'_>]) -> bool {
        match (self, columns.key) {
            (Self::Text, [idx]) => matches!(cells.get(*idx), Some(Cell::Text(text)) if text.as_bytes() == key),
            _ => false,
        }
    }

    /// The cells of the key columns, in key order, none null. The reason names no value, as keys may be private.
    pub(super) fn read<'a>(&mut self, key: &'a [u8], columns: &Columns<'_>) -> Result<Vec<Cell<'a>>, String> {
        let of_key = columns.of_key();
        let cells = match self {
            Self::Text => {
                let named: Vec<(&str, &Kind)> = of_key.iter().map(|(c, kind)| (c.name.as_str(), *kind)).collect();
                return key_cells(key, &named);
            }
            Self::Json(json) => json.read(key, &of_key)?,
            Self::Avro(avro) => avro.read(key, &of_key)?,
            Self::Protobuf(protobuf) => protobuf.read(key, &of_key)?,
        };
        match of_key.iter().zip(&cells).find(|(_, cell)| **cell == Cell::Null) {
            Some(((column, _), _)) => Err(format!("the Kafka key has no value for column `{}`", column.name)),
            None => Ok(cells),
        }
    }
}

/// Reads JSON objects of key columns.
pub(super) struct JsonKey {
    fields: Fields,
}

impl JsonKey {
    /// A reader of keys that hold the columns of these names.
    pub(super) fn new(columns: &Columns<'_>) -> Self {
        let names = columns.of_key().into_iter().map(|(c, _)| c.name.clone());
        Self { fields: Fields::new(names.chain(["schema".to_owned(), "payload".to_owned()])) }
    }

    fn read<'a>(&self, key: &'a [u8], of_key: &[(&super::json::DecodeColumn, &Kind)]) -> Result<Vec<Cell<'a>>, String> {
        let text = std::str::from_utf8(key).map_err(|_| "the Kafka key is not valid UTF-8".to_owned())?;
        let mut slots = vec![Value::Absent; self.fields.len()];
        parse_object(text, &self.fields, &mut slots).map_err(|e| format!("the Kafka key cannot be read: {e}"))?;
        let mut own = slots.split_off(of_key.len()).into_iter();
        let (schema, payload) = (own.next().unwrap_or_default(), own.next().unwrap_or_default());
        // Connect's wrapper has both and nothing else.
        if schema != Value::Absent && slots.iter().all(|v| *v == Value::Absent) {
            match payload {
                Value::Object(members) => {
                    for (name, value) in members {
                        if let Some(slot) = self.fields.slot(&name).and_then(|slot| slots.get_mut(slot)) {
                            *slot = value;
                        }
                    }
                }
                // A key of one column may stand in the wrapper by itself.
                value if slots.len() == 1 => slots[0] = value,
                _ => return Err("the payload of the Kafka key is not an object".to_owned()),
            }
        }
        let cell = |((column, kind), value): (&(&super::json::DecodeColumn, &Kind), &mut Value<'a>)| {
            typed(column, kind, value).map_err(|_| format!("the Kafka key is not a {kind} in column `{}`", column.name))
        };
        of_key.iter().zip(&mut slots).map(cell).collect()
    }
}
