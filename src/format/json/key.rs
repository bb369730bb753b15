//! Kafka keys of tables: one column is its text as in JSON without quotes, several are a JSON array.

use super::cell::{Cell, Kind};
use super::parse::parse_value;
use super::value::Value;

/// Reads a record's key into the cells of the key columns, in key order. The reason names no value, as keys may be private.
pub(in crate::format) fn key_cells<'a>(key: &'a [u8], columns: &[(&str, &Kind)]) -> Result<Vec<Cell<'a>>, String> {
    let text = std::str::from_utf8(key).map_err(|_| "the Kafka key is not valid UTF-8".to_owned())?;
    let mut values = match columns {
        [(_, Kind::Text | Kind::Date | Kind::Instant { .. })] => vec![Value::Text(text.into())],
        [_] => vec![parse_value(text).map_err(|e| format!("the Kafka key cannot be read: {e}"))?],
        _ => match parse_value(text) {
            Ok(Value::Array(values)) if values.len() == columns.len() => values,
            _ => return Err(format!("the Kafka key is not a JSON array of {} values", columns.len())),
        },
    };
    let cells = columns.iter().zip(&mut values).map(|((name, kind), value)| match kind.cell(value) {
        Ok(Cell::Null) => Err(format!("the Kafka key is null in column `{name}`")),
        Ok(cell) => Ok(cell),
        Err(_) => Err(format!("the Kafka key is not a {kind} in column `{name}`")),
    });
    cells.collect()
}
