//! Rows as a table for people, and as CSV.

use serde_json::Value;

/// The answer as a table: numbers stand at the right, a null is NULL.
pub(in crate::cli) fn table(answer: &Value) -> String {
    let names = names(answer);
    let is_number = |name: &String| {
        let mut values = rows(answer).map(|row| &row[name]);
        values.clone().any(Value::is_number) && values.all(|v| v.is_number() || v.is_null())
    };
    let at_right: Vec<bool> = names.iter().map(is_number).collect();
    let cells = rows(answer).map(|row| names.iter().map(|name| cell(&row[name])).collect());
    aligned(&names, &at_right, cells.collect())
}

/// Rows of texts below their names.
pub(in crate::cli) fn aligned(names: &[String], at_right: &[bool], rows: Vec<Vec<String>>) -> String {
    let names: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(names.get(column));
        cells.map(|cell| width_of(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let blanks = " ".repeat(width.saturating_sub(width_of(cell)));
            if at_right.get(column).copied().unwrap_or(false) {
                format!("{blanks}{cell}")
            } else {
                format!("{cell}{blanks}")
            }
        });
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut text = line(&names);
    text.push_str(&line(&rule));
    rows.iter().for_each(|row| text.push_str(&line(row)));
    text
}

/// The answer as CSV (RFC 4180 with bare line feeds); a null is nothing, an empty text is quoted.
pub(in crate::cli) fn csv(answer: &Value) -> String {
    let names = names(answer);
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let field = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => quoted(text),
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => quoted(&value.to_string()),
        other => other.to_string(),
    };
    let line = |cells: Vec<String>| format!("{}\n", cells.join(","));
    let head = line(names.iter().map(|name| field(&Value::String(name.clone()))).collect());
    let body = rows(answer).map(|row| line(names.iter().map(|name| field(&row[name])).collect()));
    std::iter::once(head).chain(body).collect()
}

fn names(answer: &Value) -> Vec<String> {
    let columns = answer["columns"].as_array().into_iter().flatten();
    columns.filter_map(|column| column["name"].as_str().map(str::to_owned)).collect()
}

fn rows(answer: &Value) -> impl Iterator<Item = &Value> + Clone {
    answer["rows"].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

/// The columns of a terminal that a text takes: Chinese characters and the like take two.
fn width_of(text: &str) -> usize {
    let width = |c: char| match c as u32 {
        0x0300..=0x036f | 0x200b..=0x200f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    };
    text.chars().map(width).sum()
}

/// What comes from records must not move the cursor.
fn plain(text: &str) -> String {
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Value {
        json!({
            "columns": [{ "name": "name" }, { "name": "n" }, { "name": "tags" }],
            "rows": [
                { "name": "德清", "n": 12, "tags": ["a", "b"] },
                { "name": "\u{1b}[31mred\n", "n": null, "tags": null },
                { "name": "", "n": -3.5, "tags": [] },
            ],
        })
    }

    #[test]
    fn a_table_has_its_columns_below_one_another_and_no_control_characters() {
        let text = table(&answer());
        assert_eq!(text.lines().count(), 5);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "德清               12  [\"a\",\"b\"]", "{text}");
        assert_eq!(lines[3], "\\u{1b}[31mred\\n  NULL  NULL", "{text}");
        assert_eq!(lines[4].trim_start(), "-3.5  []", "{text}");
    }

    #[test]
    fn csv_quotes_what_needs_it_and_tells_null_from_empty() {
        let expected = "name,n,tags\n德清,12,\"[\"\"a\"\",\"\"b\"\"]\"\n\"\u{1b}[31mred\n\",,\n\"\",-3.5,\"[]\"\n";
        assert_eq!(csv(&answer()), expected);
    }
}
