//! Records of comma-separated values: one row each, columns in the order of declaration.
//!
//! As in PostgreSQL's `COPY`, a cell that is empty and not quoted is null, `""` is the empty text; with a null literal that
//! cell, not quoted, is null and no other. What a cell means is told by its column's type, as in files.

use std::borrow::Cow;

use arrow::datatypes::DataType;

use super::file::{CellKind, kind_of, literal};
use crate::format::json::cell::Cell;
use crate::format::json::decode::typed;
use crate::format::json::parse::parse_value;
use crate::format::json::value::Value;
use crate::format::rows::{Change, Columns};
use crate::format::value::utf8;

/// Reads rows of comma-separated values.
pub(in crate::format) struct CsvRecord {
    delimiter: u8,
    null_literal: Option<String>,
    /// How many columns are declared.
    n_declared: usize,
    /// For each column that is read, its place in the row and how its cells are written.
    places: Vec<(usize, CellKind)>,
}

impl CsvRecord {
    /// A reader of rows with the `declared` columns, of which some are read. Each of these must be declared.
    pub(in crate::format) fn new(
        delimiter: u8,
        null_literal: Option<String>,
        declared: &[String],
        columns: &Columns<'_>,
    ) -> Result<Self, String> {
        let place = |name: &str, data_type: &DataType| {
            let place = declared.iter().position(|d| d == name);
            place.map(|place| (place, kind_of(data_type))).ok_or_else(|| format!("column `{name}` is not declared"))
        };
        let places = columns.columns.iter().map(|c| place(&c.name, &c.data_type)).collect::<Result<_, _>>()?;
        Ok(Self { delimiter, null_literal, n_declared: declared.len(), places })
    }

    pub(in crate::format) fn read<'a>(
        &mut self,
        value: &'a [u8],
        columns: &Columns<'_>,
        cells: &mut Vec<Cell<'a>>,
    ) -> Result<Change, String> {
        let mut row = split(utf8(value)?, self.delimiter)?;
        if row.len() != self.n_declared {
            return Err(format!("the row has {} cells, but {} columns are declared", row.len(), self.n_declared));
        }
        for ((column, kind), (place, written)) in columns.iter().zip(&self.places) {
            let Some((text, is_quoted)) = row.get_mut(*place).map(|(text, q)| (std::mem::take(text), *q)) else {
                continue;
            };
            let is_null = !is_quoted && self.null_literal.as_deref().unwrap_or_default() == text;
            if is_null {
                cells.push(Cell::Null);
                continue;
            }
            let cell = match text {
                Cow::Borrowed(text) => typed(column, kind, &mut parsed(text, *written)),
                Cow::Owned(text) if *written == CellKind::Text => typed(column, kind, &mut Value::Text(text.into())),
                Cow::Owned(text) => typed(column, kind, &mut parsed(&text, *written)).map(Cell::into_owned),
            };
            cells.push(cell?);
        }
        Ok(Change::Upsert)
    }
}

/// What a cell says; what does not look like its type stays a text, which is then refused.
fn parsed(text: &str, written: CellKind) -> Value<'_> {
    let value = literal(text, written).and_then(|literal| parse_value(literal).ok());
    value.unwrap_or(Value::Text(text.into()))
}

/// The cells of a row, and whether they were quoted. One line end may follow the row.
fn split(row: &str, delimiter: u8) -> Result<Vec<(Cow<'_, str>, bool)>, String> {
    let row = row.strip_suffix('\n').map_or(row, |row| row.strip_suffix('\r').unwrap_or(row));
    let mut cells = Vec::new();
    let mut rest = row;
    loop {
        let (cell, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (text, after) = unquote(quoted)?;
                ((text, true), after)
            }
            None => {
                let end = rest.bytes().position(|b| b == delimiter || b == b'\n').unwrap_or(rest.len());
                let (text, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
                ((Cow::Borrowed(text), false), after)
            }
        };
        cells.push(cell);
        match after.as_bytes().first() {
            None => return Ok(cells),
            Some(byte) if *byte == delimiter => rest = after.get(1..).unwrap_or_default(),
            Some(b'\n') => return Err("more than one row".to_owned()),
            Some(_) => return Err(format!("cell {} goes on behind its closing quote", cells.len())),
        }
    }
}

/// The text up to the closing quote, and what is behind that.
fn unquote(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    let mut unescaped: Option<String> = None;
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else { return Err("a quote is not closed".to_owned()) };
        match after.strip_prefix('"') {
            Some(more) => {
                let text = unescaped.get_or_insert_default();
                text.push_str(part);
                text.push('"');
                rest = more;
            }
            None => {
                let text = match unescaped {
                    None => Cow::Borrowed(part),
                    Some(mut text) => {
                        text.push_str(part);
                        Cow::Owned(text)
                    }
                };
                return Ok((text, after));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_split_as_rfc_4180_says() {
        let cells = |row: &str| {
            split(row, b';')
                .map(|cells| cells.into_iter().map(|(c, q)| format!("{q}:{c}")).collect::<Vec<_>>().join("|"))
        };
        assert_eq!(cells("a;;\"\";\"b \"\"c\"\";\n\"\r\n").unwrap(), "false:a|false:|true:|true:b \"c\";\n");
        assert_eq!(cells("").unwrap(), "false:");
        assert_eq!(cells("a;"), Ok("false:a|false:".to_owned()));
        assert_eq!(cells("\"a"), Err("a quote is not closed".into()));
        assert_eq!(cells("\"a\"b;c"), Err("cell 1 goes on behind its closing quote".into()));
        assert_eq!(cells("a;b\nc;d"), Err("more than one row".into()));
        assert_eq!(cells("界;ü"), Ok("false:界|false:ü".to_owned()));
    }
}
