//! Rows to Avro data, of a schema that follows from their columns or of one in a file.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Float64Type, Int32Type, Int64Type, SchemaRef, TimeUnit,
    TimestampMillisecondType,
};
use serde_json::{Value, json};

use super::given;
use super::schema::Schema;
use crate::format::confluent;
use crate::format::json::{Encoded, UnsupportedType};

/// Writes rows of one schema.
pub(in crate::format) struct AvroEncoder {
    /// The columns as they are written.
    columns: Vec<Field>,
    /// The schema of a file, and the columns as they come; none where the schema is that of the columns.
    given: Option<(Arc<Schema>, Vec<FieldRef>)>,
    /// The schema of Avro, in JSON.
    pub(in crate::format) text: String,
}

impl AvroEncoder {
    /// An encoder of records of this name. Fails if a column has no form or no name in Avro.
    pub(in crate::format) fn new(schema: &SchemaRef, name: &str) -> Result<Self, String> {
        let columns = plain_columns(schema)?;
        let record = record_schema(&record_name(name), Some("curb"), columns.iter())?;
        Ok(Self { columns, given: None, text: record.to_string() })
    }

    /// An encoder of the records that a file describes. Fails if the schema does not hold every row that the columns may.
    pub(in crate::format) fn of_file(schema: &SchemaRef, file: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(file).map_err(|_| "the schema is not valid UTF-8".to_owned())?;
        let columns = plain_columns(schema)?;
        let given = (Arc::new(Schema::parse(text, &[])?), schema.fields().to_vec());
        let encoder = Self { columns, given: Some(given), text: text.to_owned() };
        let empty: Vec<ArrayRef> = schema.fields().iter().map(|f| new_empty_array(f.data_type())).collect();
        drop(encoder.writers(&empty)?);
        Ok(encoder)
    }

    /// What writes the fields of a row, in their order in the datum.
    pub(in crate::format) fn writers(&self, columns: &[ArrayRef]) -> Result<Vec<Write>, String> {
        let columns = self.columns.iter().zip(columns);
        let Some((schema, fields)) = &self.given else {
            return columns.map(|(field, column)| field_writer(field, column)).collect();
        };
        let columns: Vec<ArrayRef> = columns.map(|(f, column)| plain(f, column)).collect::<Result<_, _>>()?;
        given::record_writers(schema, schema.root, fields, &columns)
    }

    /// One datum a row, behind the number of its schema if it has one.
    pub(in crate::format) fn encode(
        &self,
        columns: &[ArrayRef],
        n_rows: usize,
        id: Option<u32>,
    ) -> Result<Encoded, String> {
        let writers = self.writers(columns)?;
        let mut encoded = Encoded::default();
        for row in 0..n_rows {
            let start = encoded.data.len();
            if let Some(id) = id {
                confluent::begin(id, &mut encoded.data);
            }
            writers.iter().for_each(|write| write(row, &mut encoded.data));
            encoded.ranges.push(start..encoded.data.len());
        }
        Ok(encoded)
    }
}

fn plain_columns(schema: &SchemaRef) -> Result<Vec<Field>, String> {
    let plain = |field: &FieldRef| {
        let data_type = plain_type(field.data_type()).map_err(|e| e.to_string())?;
        Ok(Field::new(field.name(), data_type, field.is_nullable()))
    };
    schema.fields().iter().map(plain).collect()
}

/// A column in the type that it is written as.
fn plain(field: &Field, column: &ArrayRef) -> Result<ArrayRef, String> {
    match column.data_type() == field.data_type() {
        true => Ok(column.clone()),
        false => cast(column, field.data_type()).map_err(|e| e.to_string()),
    }
}

/// The type among few that a type is written as.
pub(in crate::format) fn plain_type(data_type: &DataType) -> Result<DataType, UnsupportedType> {
    let element =
        |field: &Arc<Field>| Ok(Arc::new(field.as_ref().clone().with_data_type(plain_type(field.data_type())?)));
    Ok(match data_type {
        DataType::Boolean | DataType::Date32 | DataType::Decimal128(..) => data_type.clone(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::Int64 | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Millisecond, zone.clone()),
        DataType::List(field) | DataType::LargeList(field) => DataType::List(element(field)?),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(element).collect::<Result<Vec<_>, UnsupportedType>>()?.into())
        }
        DataType::Dictionary(_, value) => plain_type(value)?,
        other => return Err(UnsupportedType(other.clone())),
    })
}

/// A name as Avro and Protocol Buffers allow it.
pub(in crate::format) fn record_name(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(letter).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() { format!("_{name}") } else { name }
}

/// Whether Avro and Protocol Buffers allow a name.
pub(in crate::format) fn is_name(name: &str) -> bool {
    !name.is_empty() && record_name(name) == name
}

fn record_schema<'f>(
    name: &str,
    namespace: Option<&str>,
    fields: impl Iterator<Item = &'f Field>,
) -> Result<Value, String> {
    let of_fields = fields.map(|field| {
        if !is_name(field.name()) {
            return Err(format!(
                "column `{}` cannot have this name in Avro; give it one of letters, digits and _",
                field.name()
            ));
        }
        let data_type = type_schema(&format!("{name}_{}", field.name()), field.data_type())?;
        Ok(match field.is_nullable() {
            true => json!({ "name": field.name(), "type": ["null", data_type], "default": null }),
            false => json!({ "name": field.name(), "type": data_type }),
        })
    });
    let of_fields = of_fields.collect::<Result<Vec<Value>, String>>()?;
    let mut record = serde_json::Map::new();
    record.insert("type".into(), "record".into());
    record.insert("name".into(), name.into());
    record.extend(namespace.map(|namespace| ("namespace".into(), namespace.into())));
    record.insert("fields".into(), of_fields.into());
    Ok(Value::Object(record))
}

fn type_schema(name: &str, data_type: &DataType) -> Result<Value, String> {
    Ok(match data_type {
        DataType::Boolean => json!("boolean"),
        DataType::Int32 => json!("int"),
        DataType::Int64 => json!("long"),
        DataType::Float64 => json!("double"),
        DataType::Utf8 => json!("string"),
        DataType::Date32 => json!({ "type": "int", "logicalType": "date" }),
        DataType::Decimal128(precision, scale) => {
            json!({ "type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale })
        }
        DataType::Timestamp(_, zone) => {
            let meaning = if zone.is_some() { "timestamp-millis" } else { "local-timestamp-millis" };
            json!({ "type": "long", "logicalType": meaning })
        }
        DataType::List(element) => {
            let items = type_schema(name, element.data_type())?;
            json!({ "type": "array", "items": if element.is_nullable() { json!(["null", items]) } else { items } })
        }
        DataType::Struct(fields) => record_schema(name, None, fields.iter().map(AsRef::as_ref))?,
        other => return Err(format!("type {other} cannot be written in Avro")),
    })
}

/// Appends the datum of a row.
pub(in crate::format) type Write = Box<dyn Fn(usize, &mut Vec<u8>)>;

/// Writes a column, with the branch of its union where it may be null.
fn field_writer(field: &Field, column: &ArrayRef) -> Result<Write, String> {
    let column = plain(field, column)?;
    let write = writer(&column)?;
    Ok(if field.is_nullable() { branches(&column, Some(0), 1, write) } else { write })
}

/// Writes a value of a union behind the number of its branch, or that of null.
pub(super) fn branches(column: &ArrayRef, null: Option<i64>, value: i64, write: Write) -> Write {
    let nulls = column.logical_nulls();
    Box::new(move |row, out| match null {
        Some(null) if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => long(null, out),
        _ => {
            long(value, out);
            write(row, out);
        }
    })
}

/// Writes the values of a column of one of the plain types.
pub(super) fn writer(column: &ArrayRef) -> Result<Write, String> {
    Ok(match column.data_type() {
        DataType::Boolean => {
            let values = column.as_boolean().clone();
            Box::new(move |row, out| out.push(values.value(row).into()))
        }
        DataType::Int32 => {
            let values = column.as_primitive::<Int32Type>().clone();
            Box::new(move |row, out| long(values.value(row).into(), out))
        }
        DataType::Int64 => {
            let values = column.as_primitive::<Int64Type>().clone();
            Box::new(move |row, out| long(values.value(row), out))
        }
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>().clone();
            Box::new(move |row, out| out.extend_from_slice(&values.value(row).to_le_bytes()))
        }
        DataType::Utf8 => {
            let values = column.as_string::<i32>().clone();
            Box::new(move |row, out| bytes(values.value(row).as_bytes(), out))
        }
        DataType::Date32 => {
            let values = column.as_primitive::<Date32Type>().clone();
            Box::new(move |row, out| long(values.value(row).into(), out))
        }
        DataType::Timestamp(..) => {
            let values = column.as_primitive::<TimestampMillisecondType>().clone();
            Box::new(move |row, out| long(values.value(row), out))
        }
        DataType::Decimal128(..) => {
            let values = column.as_primitive::<Decimal128Type>().clone();
            Box::new(move |row, out| bytes(shortest(&values.value(row).to_be_bytes()), out))
        }
        DataType::List(element) => {
            let lists = column.as_list::<i32>();
            elements(lists, field_writer(element, lists.values())?)
        }
        DataType::Struct(fields) => {
            let members = fields.iter().zip(column.as_struct().columns());
            let writers: Vec<Write> = members.map(|(f, c)| field_writer(f, c)).collect::<Result<_, _>>()?;
            Box::new(move |row, out| writers.iter().for_each(|write| write(row, out)))
        }
        other => return Err(format!("type {other} cannot be written in Avro")),
    })
}

/// Writes lists as one block each.
pub(super) fn elements(lists: &ListArray, write: Write) -> Write {
    let lists = lists.clone();
    Box::new(move |row, out| {
        let offsets = lists.value_offsets();
        let at = |idx: usize| usize::try_from(offsets.get(idx).copied().unwrap_or(0)).unwrap_or(0);
        let (start, end) = (at(row), at(row + 1));
        if end > start {
            long(i64::try_from(end - start).unwrap_or(i64::MAX), out);
            (start..end).for_each(|element| write(element, out));
        }
        long(0, out);
    })
}

/// Appends a number as `int` and `long` are written.
pub(in crate::format) fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends bytes behind their number.
pub(super) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    long(i64::try_from(value.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(value);
}

/// A number in two's complement without the bytes that only repeat its sign.
pub(super) fn shortest(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first, second, ..] = rest {
        let is_sign = (*first == 0 && second & 0x80 == 0) || (*first == 0xff && second & 0x80 != 0);
        if !is_sign {
            break;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    rest
}
