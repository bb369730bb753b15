//! Debezium's envelopes in JSON, with or without Kafka Connect's wrapper of schema and payload.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{change_of, is_unavailable, unavailable};
use crate::format::json::DecodeColumn;
use crate::format::json::cell::{Cell, Kind};
use crate::format::json::decode::typed;
use crate::format::json::number::{integer, scaled};
use crate::format::json::parse::parse_object;
use crate::format::json::value::{Fields, Value};
use crate::format::rows::{Change, Columns};
use crate::format::spec::EpochUnit;
use crate::format::value::utf8;

/// The members of an envelope that are looked at, by slot.
const BEFORE: usize = 0;
const AFTER: usize = 1;
const OP: usize = 2;
const PAYLOAD: usize = 3;
const SCHEMA: usize = 4;

/// Reads envelopes in JSON.
pub(in crate::format) struct DebeziumJson {
    /// Of the envelope and its wrapper.
    members: Fields,
    /// Of the row: the columns.
    columns: Fields,
    /// What numbers in TIMESTAMP columns count where no schema says.
    epoch_unit: Option<EpochUnit>,
}

impl DebeziumJson {
    pub(in crate::format) fn new(columns: &Columns<'_>, epoch_unit: Option<EpochUnit>) -> Self {
        // A schema is long and only says of these types what is not plain.
        let needs_schema = columns.kinds.iter().any(|k| matches!(k, Kind::Instant { .. } | Kind::Decimal { .. }));
        let members = ["before", "after", "op", "payload"].into_iter().chain(needs_schema.then_some("schema"));
        Self {
            members: Fields::new(members.map(str::to_owned)),
            columns: Fields::new(columns.columns.iter().map(|c| c.name.clone())),
            epoch_unit,
        }
    }

    pub(in crate::format) fn read<'a>(
        &self,
        value: &'a [u8],
        columns: &Columns<'_>,
        cells: &mut Vec<Cell<'a>>,
    ) -> Result<Change, String> {
        let mut members = vec![Value::Absent; SCHEMA + 1];
        parse_object(utf8(value)?, &self.members, &mut members).map_err(|e| e.to_string())?;
        if members[OP] == Value::Absent
            && let Value::Object(payload) = std::mem::take(&mut members[PAYLOAD])
        {
            for (name, value) in payload {
                if let Some(slot) = self.members.slot(&name).filter(|slot| *slot <= OP) {
                    members[slot] = value;
                }
            }
        }
        let change = match &members[OP] {
            Value::Text(op) => change_of(op)?,
            Value::Absent | Value::Null => return Err("not an envelope of Debezium: it has no `op`".to_owned()),
            other => return Err(format!("`op` is {}, not a text", other.kind())),
        };
        let schema = std::mem::take(&mut members[SCHEMA]);
        let before = std::mem::take(&mut members[BEFORE]);
        if change == Change::Delete {
            let Some(mut row) = self.row(before, "before")? else { return Ok(Change::DeleteByKey) };
            for (idx, ((column, kind), value)) in columns.iter().zip(&mut row).enumerate() {
                let is_key = columns.key.contains(&idx);
                cells.push(if is_key { self.cell(column, kind, value, &schema)? } else { Cell::Null });
            }
            return Ok(change);
        }
        let Some(mut row) = self.row(std::mem::take(&mut members[AFTER]), "after")? else {
            return Err("the envelope has no row in `after`".to_owned());
        };
        let mut before = Some(before);
        let mut row_before: Option<Vec<Value<'a>>> = None;
        for (idx, ((column, kind), value)) in columns.iter().zip(&mut row).enumerate() {
            if stands_for_another(value) {
                if let Some(before) = before.take() {
                    row_before = self.row(before, "before")?;
                }
                let known = row_before.as_mut().and_then(|row| row.get_mut(idx)).map(std::mem::take);
                *value = known
                    .filter(|known| *known != Value::Absent && !stands_for_another(known))
                    .ok_or_else(|| unavailable(&column.name))?;
            }
            cells.push(self.cell(column, kind, value, &schema)?);
        }
        Ok(change)
    }

    /// The values of a row by column; none where there is no row.
    fn row<'a>(&self, row: Value<'a>, place: &str) -> Result<Option<Vec<Value<'a>>>, String> {
        match row {
            Value::Absent | Value::Null => Ok(None),
            Value::Object(members) => {
                let mut values = vec![Value::Absent; self.columns.len()];
                for (name, value) in members {
                    if let Some(slot) = self.columns.slot(&name).and_then(|slot| values.get_mut(slot)) {
                        *slot = value;
                    }
                }
                Ok(Some(values))
            }
            other => Err(format!("`{place}` is {}, not a row", other.kind())),
        }
    }

    /// Types a value as JSON's, and what databases have beside: days, instants as numbers, decimals as text or bytes.
    fn cell<'a>(
        &self,
        column: &DecodeColumn,
        kind: &Kind,
        value: &mut Value<'a>,
        schema: &Value<'_>,
    ) -> Result<Cell<'a>, String> {
        match (kind, &*value) {
            (Kind::Date, Value::Number(days)) => {
                let days = integer(days).and_then(|days| i32::try_from(days).ok());
                let days =
                    days.ok_or_else(|| format!("column `{}`: expected DATE, found another number", column.name))?;
                Ok(Cell::Int(days.into()))
            }
            (Kind::Instant { per_ms, .. }, Value::Number(number)) => {
                let unit = semantics(schema, &column.name).and_then(|field| unit_of(&field)).or(self.epoch_unit);
                let Some(unit) = unit else {
                    return Err(format!(
                        "column `{}`: expected {kind}, found a number of which the record does not say what it counts; give the \
                         option `epoch_unit`",
                        column.name
                    ));
                };
                let value = integer(number).and_then(|value| i64::try_from(value).ok());
                let at = value.and_then(|value| unit.to_ms(value).checked_mul(*per_ms));
                at.map(Cell::Int).ok_or_else(|| format!("column `{}`: not an instant", column.name))
            }
            (Kind::Decimal { scale, .. }, Value::Text(text)) => {
                let of_bytes = semantics(schema, &column.name)
                    .filter(|field| field.name == Some("org.apache.kafka.connect.data.Decimal"));
                let number = match of_bytes {
                    Some(field) => decimal_of_bytes(text, field.scale.unwrap_or(0)),
                    None => Some(text.clone().into_owned()),
                };
                let number = number.filter(|n| scaled(n, (*scale).into()).is_some() && is_number(n));
                match number.and_then(|n| kind.cell(&mut Value::Number(&n)).ok().map(Cell::into_owned)) {
                    Some(cell) => Ok(cell),
                    None => typed(column, kind, value),
                }
            }
            _ => typed(column, kind, value),
        }
    }
}

/// Whether a value stands for one that was not handed over; of a list one such element does.
fn stands_for_another(value: &Value<'_>) -> bool {
    match value {
        Value::Text(text) => is_unavailable(text),
        Value::Array(elements) => matches!(elements.as_slice(), [Value::Text(text)] if is_unavailable(text)),
        _ => false,
    }
}

/// Whether a text is a number in JSON's grammar.
fn is_number(text: &str) -> bool {
    crate::format::json::parse::number_end(text.as_bytes(), 0) == Some(text.len())
}

/// A decimal that is written as Base64 of its digits as a big-endian number, as text.
fn decimal_of_bytes(text: &str, scale: i64) -> Option<String> {
    let bytes = STANDARD.decode(text).ok().filter(|bytes| (1..=16).contains(&bytes.len()))?;
    let first = if bytes.first().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [first; 16];
    wide.get_mut(16 - bytes.len()..)?.copy_from_slice(&bytes);
    Some(format!("{}e{}", i128::from_be_bytes(wide), -scale))
}

/// What a schema says of a field beside its plain type.
struct Semantics<'s> {
    name: Option<&'s str>,
    scale: Option<i64>,
}

/// Finds a column among the fields of the row in the schema of an envelope.
fn semantics<'s>(schema: &'s Value<'_>, column: &str) -> Option<Semantics<'s>> {
    let row = ["after", "before"].iter().find_map(|side| {
        elements(member(schema, "fields")?).iter().find(|field| text(member(field, "field")) == Some(side))
    })?;
    let field = elements(member(row, "fields")?).iter().find(|field| text(member(field, "field")) == Some(column))?;
    let scale = member(field, "parameters")
        .and_then(|p| text(member(p, "scale")))
        .and_then(|scale| scale.parse::<i32>().ok().map(i64::from));
    Some(Semantics { name: text(member(field, "name")), scale })
}

fn member<'s, 'a>(of: &'s Value<'a>, name: &str) -> Option<&'s Value<'a>> {
    match of {
        Value::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, value)| value),
        _ => None,
    }
}

fn elements<'s, 'a>(of: &'s Value<'a>) -> &'s [Value<'a>] {
    match of {
        Value::Array(elements) => elements,
        _ => &[],
    }
}

fn text<'s>(of: Option<&'s Value<'_>>) -> Option<&'s str> {
    match of {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// What the numbers of a field with this meaning count.
fn unit_of(field: &Semantics<'_>) -> Option<EpochUnit> {
    match field.name? {
        "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp" => Some(EpochUnit::Milliseconds),
        "io.debezium.time.MicroTimestamp" => Some(EpochUnit::Microseconds),
        "io.debezium.time.NanoTimestamp" => Some(EpochUnit::Nanoseconds),
        _ => None,
    }
}
