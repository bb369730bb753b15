//! From the values that a test writes to records of a source, typed by the columns that the pack declares.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::array::{StringArray, TimestampMillisecondArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit, TimestampMillisecondType};
use arrow::util::display::FormatOptions;
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use chrono_tz::Tz;

use super::Wrong;
use crate::catalog::{Column, RelationKind, SourceDefinition};
use crate::format::json::Encoder;
use crate::functions::Zone;

/// A record that a test inserts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Option<Vec<u8>>,
    /// None for a tombstone.
    pub(super) value: Option<Vec<u8>>,
    /// Milliseconds.
    pub(super) event_ms: Option<i64>,
}

/// Rows of a source from the result of a query: by position, for the columns named, or for all that are declared.
pub(super) fn rows(
    source: &SourceDefinition,
    zone: Tz,
    columns: Option<&[String]>,
    batch: &RecordBatch,
) -> Result<Vec<Row>, Wrong> {
    let places = places(source, columns, batch.num_columns())?;
    let given = |column: usize| places.iter().position(|p| *p == column).and_then(|at| batch.columns().get(at));
    let typed = |(idx, column): (usize, &Column)| match given(idx) {
        Some(values) => typed(source, column, values, zone),
        None => Ok(new_null_array(&column.data_type, batch.num_rows())),
    };
    let arrays = source.columns.iter().enumerate().map(typed).collect::<Result<Vec<_>, _>>()?;
    let fields: Vec<Field> = source.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let typed = RecordBatch::try_new_with_options(schema.clone(), arrays, &options).map_err(Wrong::new)?;
    let encoder = Encoder::new(schema, zone).map_err(Wrong::new)?;
    let values = encoder.encode(&typed).map_err(Wrong::new)?;
    let keys = keys(source, &encoder, &typed)?;
    let times = source.event_time.and_then(|c| typed.columns().get(c));
    let times = times.and_then(|c| c.as_primitive_opt::<TimestampMillisecondType>());
    let row = |(idx, value): (usize, &[u8])| Row {
        key: keys.as_ref().filter(|k| k.is_valid(idx)).map(|k| k.value(idx).to_vec()),
        value: Some(value.to_vec()),
        event_ms: times.filter(|t| t.is_valid(idx)).map(|t| t.value(idx)),
    };
    Ok(values.iter().enumerate().map(row).collect())
}

/// The tombstone of a key: `batch` has one row with the values of `columns`, which must be the key's.
pub(super) fn tombstone(
    source: &SourceDefinition,
    zone: Tz,
    columns: &[String],
    batch: &RecordBatch,
) -> Result<Row, Wrong> {
    if source.kind == RelationKind::Stream {
        return Err(Wrong(format!(
            "`{}` is a stream, whose rows never disappear: only a table has DELETE",
            source.name
        )));
    }
    let key: Vec<&str> = source.key.iter().filter_map(|k| source.columns.get(*k)).map(|c| c.name.as_str()).collect();
    if key.len() != columns.len() || !columns.iter().all(|c| key.contains(&c.as_str())) {
        return Err(Wrong(format!("DELETE FROM `{}` takes the whole key: {}", source.name, key.join(", "))));
    }
    let row = rows(source, zone, Some(columns), batch)?.into_iter().next();
    row.map(|row| Row { value: None, ..row }).ok_or_else(|| Wrong("DELETE has no key".into()))
}

/// The key that a record has in its fields, as a producer would send it; none where it cannot be told.
pub(super) fn key_of_json(source: &SourceDefinition, zone: Tz, record: &str) -> Option<Vec<u8>> {
    let fields: serde_json::Value = serde_json::from_str(record).ok()?;
    let mut arrays = Vec::new();
    for column in source.key.iter().filter_map(|k| source.columns.get(*k)) {
        let text = match fields.get(&column.name)? {
            serde_json::Value::Null => return None,
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let text: ArrayRef = Arc::new(StringArray::from(vec![text]));
        arrays.push(typed(source, column, &text, zone).ok()?);
    }
    let encoder = Encoder::new(Arc::new(Schema::empty()), zone).ok()?;
    let keys = if arrays.is_empty() { None } else { encoder.key_text(&arrays).ok() }?;
    keys.is_valid(0).then(|| keys.value(0).to_vec())
}

/// Which declared column each value stands for.
fn places(source: &SourceDefinition, columns: Option<&[String]>, n_values: usize) -> Result<Vec<usize>, Wrong> {
    let declared: Vec<&str> = source.columns.iter().map(|c| c.name.as_str()).collect();
    let places = match columns {
        None => (0..declared.len()).collect(),
        Some(names) => {
            let mut places = Vec::new();
            for name in names {
                let place = declared.iter().position(|c| c == name).ok_or_else(|| {
                    Wrong(format!("`{}` has no column `{name}`; its columns are {}", source.name, declared.join(", ")))
                })?;
                if places.contains(&place) {
                    return Err(Wrong(format!("column `{name}` is named twice")));
                }
                places.push(place);
            }
            places
        }
    };
    if places.len() == n_values {
        return Ok(places);
    }
    let names: Vec<&str> = places.iter().filter_map(|p| declared.get(*p).copied()).collect();
    Err(Wrong(format!("{n_values} values for {} columns of `{}`: {}", places.len(), source.name, names.join(", "))))
}

/// Values as the type that the column declares; a text that stands for an instant may be a local time.
fn typed(source: &SourceDefinition, column: &Column, values: &ArrayRef, zone: Tz) -> Result<ArrayRef, Wrong> {
    let named = |e: &dyn std::fmt::Display| Wrong(format!("column `{}` of `{}`: {e}", column.name, source.name));
    if values.data_type().is_string()
        && let DataType::Timestamp(TimeUnit::Millisecond, Some(of_zone)) = &column.data_type
    {
        let texts = cast(values, &DataType::Utf8).map_err(|e| named(&e))?;
        let instants = texts.as_string::<i32>().iter().map(|t| t.map(|t| instant_ms(t, zone)).transpose());
        let instants = instants.collect::<Result<TimestampMillisecondArray, Wrong>>().map_err(|e| named(&e))?;
        return Ok(Arc::new(instants.with_timezone(of_zone.clone())));
    }
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    cast_with_options(values, &column.data_type, &options).map_err(|e| named(&e))
}

fn keys(source: &SourceDefinition, encoder: &Encoder, rows: &RecordBatch) -> Result<Option<BinaryArray>, Wrong> {
    let columns: Vec<ArrayRef> = source.key.iter().filter_map(|c| rows.columns().get(*c).cloned()).collect();
    if columns.is_empty() { Ok(None) } else { encoder.key_text(&columns).map(Some).map_err(Wrong::new) }
}

/// Reads an instant, in milliseconds: RFC 3339, or a date or time of the pack's zone without seconds or with them.
pub(super) fn instant_ms(text: &str, zone: Tz) -> Result<i64, Wrong> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Ok(instant.timestamp_millis());
    }
    let with_space = text.trim().replacen('T', " ", 1);
    for form in ["%Y-%m-%d %H:%M%:z", "%Y-%m-%d %H:%M:%S%.f%:z"] {
        if let Ok(instant) = DateTime::parse_from_str(&with_space, form) {
            return Ok(instant.timestamp_millis());
        }
    }
    let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f"];
    let time = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(&with_space, form).ok());
    let date = || NaiveDate::parse_from_str(&with_space, "%Y-%m-%d").ok().and_then(|d| d.and_hms_opt(0, 0, 0));
    match time.or_else(date) {
        Some(local) => Ok(Zone::from(zone).first_instant_at(local.and_utc().timestamp_millis())),
        None => Err(Wrong(format!(
            "`{text}` is no instant; write '2024-03-01 08:00' for the pack's zone, or '2024-03-01T08:00:00+08:00'"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::Asia::Shanghai;

    use super::instant_ms;

    #[test]
    fn an_instant_is_rfc_3339_or_a_local_time() {
        let eight = 1_709_251_200_000;
        for text in [
            "2024-03-01T08:00:00+08:00",
            "2024-03-01T00:00:00Z",
            "2024-03-01 08:00",
            "2024-03-01T08:00:00.000",
            "2024-03-01 08:00:00",
            "2024-03-01 09:00+09:00",
        ] {
            assert_eq!(instant_ms(text, Shanghai).ok(), Some(eight), "{text}");
        }
        assert_eq!(instant_ms("2024-03-01", Shanghai).ok(), Some(eight - 8 * 3_600_000));
        assert!(instant_ms("1 March", Shanghai).is_err());
    }
}
