//! Changes of a database's table as Debezium tells them: an envelope of the row before, the row after, and what happened (`c`
//! created, `u` updated, `r` read by a snapshot, `d` deleted), in JSON or Avro. A deletion is followed by a record without
//! value, which deletes once more and changes nothing.

mod avro;
mod encode;
mod json;

use super::rows::Change;

pub(super) use avro::DebeziumAvro;
pub(super) use encode::{DebeziumAvroEncoder, DebeziumEncoder};
pub(super) use json::DebeziumJson;

/// What stands for a value that the database did not hand over because an update left it as it was.
const UNAVAILABLE: &str = "__debezium_unavailable_value";
/// The same where bytes are written in Base64.
const UNAVAILABLE_BASE64: &str = "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";

/// Whether a text stands for a value that was not handed over.
fn is_unavailable(text: &str) -> bool {
    text.starts_with(['_', 'X']) && (text == UNAVAILABLE || text == UNAVAILABLE_BASE64)
}

/// Says of which column no value was handed over, and what helps.
fn unavailable(column: &str) -> String {
    format!(
        "column `{column}`: the database did not hand over its value, which an update left as it was, and `before` does not have \
         it; set REPLICA IDENTITY FULL for the table"
    )
}

/// What an operation does to the row.
fn change_of(op: &str) -> Result<Change, String> {
    match op {
        "c" | "u" | "r" => Ok(Change::Upsert),
        "d" => Ok(Change::Delete),
        "t" => Err("a TRUNCATE of the table, which tells no keys: delete the rows, or load the table anew".to_owned()),
        "m" => Err("a message of the database, not a change of a row".to_owned()),
        other => {
            Err(format!("`op` is {:?}, which is not one of c, u, r and d", other.chars().take(20).collect::<String>()))
        }
    }
}

#[cfg(test)]
mod tests;
