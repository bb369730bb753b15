//! Rows to messages: of a description that follows from their columns, or of one in a file.
//!
//! The language knows no null list and no null in a list: the former is empty, the latter the default of its type, as in Flink.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, FieldRef, Float64Type, Int32Type, Int64Type, SchemaRef,
    TimestampMillisecondType,
};
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as Type, MessageDescriptor, Value};

use super::schema::Description;
use crate::format::avro::{is_name, plain_type, record_name};
use crate::format::confluent;
use crate::format::json::Encoded;
use crate::format::json::instant::{write_date, write_local};

/// Writes rows of one schema.
pub(in crate::format) struct ProtobufEncoder {
    columns: Vec<Field>,
    fields: Vec<FieldDescriptor>,
    message: MessageDescriptor,
    /// Where the message stands in its file.
    place: Vec<u8>,
    /// The description as it is registered; none if the file is a compiled one.
    pub(in crate::format) text: Option<String>,
}

impl ProtobufEncoder {
    /// An encoder of messages of this name, or of one in a file. Fails if a column has no form or no name there.
    pub(in crate::format) fn new(
        schema: &SchemaRef,
        name: &str,
        file: Option<&[u8]>,
        message: Option<&str>,
    ) -> Result<Self, String> {
        let plain = |field: &FieldRef| {
            let data_type = plain_type(field.data_type()).map_err(|e| e.to_string())?;
            Ok(Field::new(field.name(), data_type, field.is_nullable()))
        };
        let columns = schema.fields().iter().map(plain).collect::<Result<Vec<_>, String>>()?;
        let (description, text) = match file {
            Some(file) => Description::of_file(file)?,
            None => {
                let text = describe(&record_name(name), &columns)?;
                (Description::of_text(&text, &[])?, Some(text))
            }
        };
        let message = description.message(message)?;
        let mut fields = Vec::with_capacity(columns.len());
        for column in &columns {
            let field =
                message.get_field_by_name(column.name()).or_else(|| message.get_field_by_json_name(column.name()));
            let field = field.ok_or_else(|| {
                format!("message `{}` has no field for column `{}`", message.full_name(), column.name())
            })?;
            let empty = arrow::array::new_empty_array(column.data_type());
            drop(writer(&field, &empty).map_err(|reason| format!("column `{}`: {reason}", column.name()))?);
            fields.push(field);
        }
        Ok(Self { columns, fields, place: place(&message), message, text })
    }

    /// One message a row, behind the number of its schema and its place therein if it has one.
    pub(in crate::format) fn encode(
        &self,
        columns: &[ArrayRef],
        n_rows: usize,
        id: Option<u32>,
    ) -> Result<Encoded, String> {
        let mut writers = Vec::with_capacity(self.fields.len());
        for ((column, field), array) in self.columns.iter().zip(&self.fields).zip(columns) {
            let array = match array.data_type() == column.data_type() {
                true => array.clone(),
                false => cast(array, column.data_type()).map_err(|e| e.to_string())?,
            };
            writers.push((field, writer(field, &array)?));
        }
        let mut encoded = Encoded::default();
        for row in 0..n_rows {
            let mut message = DynamicMessage::new(self.message.clone());
            for (field, write) in &writers {
                if let Some(value) = write(row) {
                    message.try_set_field(field, value).map_err(|e| e.to_string())?;
                }
            }
            let start = encoded.data.len();
            if let Some(id) = id {
                confluent::begin(id, &mut encoded.data);
                encoded.data.extend_from_slice(&self.place);
            }
            // Memory takes all that is written.
            message.encode(&mut encoded.data).map_err(|e| e.to_string())?;
            encoded.ranges.push(start..encoded.data.len());
        }
        Ok(encoded)
    }
}

/// The place of a message in its file as the wire format has it.
fn place(message: &MessageDescriptor) -> Vec<u8> {
    // Every other element of the path says that a message follows.
    let indices: Vec<i32> = message.path().iter().skip(1).step_by(2).copied().collect();
    if indices == [0] {
        return vec![0];
    }
    let mut bytes = Vec::new();
    let count = i32::try_from(indices.len()).unwrap_or(i32::MAX);
    for number in std::iter::once(count).chain(indices) {
        let mut rest = i64::from(number) << 1;
        while rest >= 0x80 {
            bytes.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
    }
    bytes
}

// === The description that follows from columns

fn describe(name: &str, columns: &[Field]) -> Result<String, String> {
    let mut text = String::from("syntax = \"proto3\";\npackage curb;\n\n");
    if columns.iter().any(|c| holds_instant(c.data_type())) {
        text.push_str("import \"google/protobuf/timestamp.proto\";\n\n");
    }
    let fields: Vec<FieldRef> = columns.iter().cloned().map(Arc::new).collect();
    describe_message(name, &fields, 0, &mut text)?;
    Ok(text)
}

fn holds_instant(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(_, zone) => zone.is_some(),
        DataType::List(element) => holds_instant(element.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| holds_instant(f.data_type())),
        _ => false,
    }
}

fn describe_message(name: &str, fields: &[FieldRef], depth: usize, text: &mut String) -> Result<(), String> {
    let indent = "  ".repeat(depth);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{indent}message {name} {{");
    for (idx, field) in fields.iter().enumerate() {
        let column = field.name();
        if !is_name(column) {
            return Err(format!(
                "column `{column}` cannot have this name in Protobuf; give it one of letters, digits and _"
            ));
        }
        let (repeated, of) = match field.data_type() {
            DataType::List(element) => (true, element.data_type()),
            other => (false, other),
        };
        let of = match of {
            DataType::Boolean => "bool".to_owned(),
            DataType::Int32 => "int32".to_owned(),
            DataType::Int64 => "int64".to_owned(),
            DataType::Float64 => "double".to_owned(),
            DataType::Timestamp(_, Some(_)) => "google.protobuf.Timestamp".to_owned(),
            DataType::Utf8 | DataType::Date32 | DataType::Decimal128(..) | DataType::Timestamp(_, None) => {
                "string".to_owned()
            }
            DataType::Struct(inner) => {
                let message = format!("{}_row", record_name(column));
                describe_message(&message, inner, depth + 1, text)?;
                message
            }
            DataType::List(_) => {
                return Err(format!("column `{column}` is a list of lists, which Protobuf does not have"));
            }
            other => return Err(format!("type {other} cannot be written in Protobuf")),
        };
        let label = if repeated {
            "repeated "
        } else if field.is_nullable() {
            "optional "
        } else {
            ""
        };
        let _ = writeln!(text, "{indent}  {label}{of} {column} = {};", idx + 1);
    }
    let _ = writeln!(text, "{indent}}}");
    Ok(())
}

// === Values

/// The value of a row; none where it is null.
type Write = Box<dyn Fn(usize) -> Option<Value>>;

fn writer(field: &FieldDescriptor, column: &ArrayRef) -> Result<Write, String> {
    if !field.is_list() {
        return value_writer(&field.kind(), column);
    }
    let DataType::List(_) = column.data_type() else {
        return Err(format!("{} cannot be written as repeated `{}`", column.data_type(), field.name()));
    };
    let lists = column.as_list::<i32>().clone();
    let write = value_writer(&field.kind(), lists.values())?;
    let default = Value::default_value(&field.kind());
    Ok(Box::new(move |row| {
        if lists.is_null(row) {
            return None;
        }
        let at = |idx: usize| usize::try_from(lists.value_offsets().get(idx).copied().unwrap_or(0)).unwrap_or(0);
        Some(Value::List((at(row)..at(row + 1)).map(|e| write(e).unwrap_or_else(|| default.clone())).collect()))
    }))
}

fn value_writer(of: &Type, column: &ArrayRef) -> Result<Write, String> {
    let nulls = column.logical_nulls();
    let is_null = move |row: usize| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    macro_rules! primitive {
        ($arrow:ty, $value:expr) => {{
            let values = column.as_primitive::<$arrow>().clone();
            Box::new(move |row| if is_null(row) { None } else { Some($value(values.value(row))) })
        }};
    }
    macro_rules! text {
        ($arrow:ty, $write:expr) => {{
            let values = column.as_primitive::<$arrow>().clone();
            Box::new(move |row| {
                let mut text = Vec::new();
                let is_written = !is_null(row) && $write(values.value(row), &mut text);
                is_written.then(|| Value::String(String::from_utf8_lossy(&text).into_owned()))
            })
        }};
    }
    Ok(match (of, column.data_type()) {
        (Type::Bool, DataType::Boolean) => {
            let values = column.as_boolean().clone();
            Box::new(move |row| if is_null(row) { None } else { Some(Value::Bool(values.value(row))) })
        }
        (Type::Int32 | Type::Sint32 | Type::Sfixed32, DataType::Int32) => primitive!(Int32Type, Value::I32),
        (Type::Int64 | Type::Sint64 | Type::Sfixed64, DataType::Int32) => {
            primitive!(Int32Type, |v: i32| Value::I64(v.into()))
        }
        (Type::Int64 | Type::Sint64 | Type::Sfixed64, DataType::Int64) => primitive!(Int64Type, Value::I64),
        (Type::Double, DataType::Float64) => primitive!(Float64Type, Value::F64),
        (Type::Double, DataType::Int32) => primitive!(Int32Type, |v: i32| Value::F64(v.into())),
        (Type::String, DataType::Utf8) => {
            let values = column.as_string::<i32>().clone();
            Box::new(move |row| if is_null(row) { None } else { Some(Value::String(values.value(row).to_owned())) })
        }
        (Type::String, DataType::Date32) => text!(Date32Type, |v: i32, out: &mut Vec<u8>| write_date(v.into(), out)),
        (Type::String, DataType::Timestamp(_, None)) => text!(TimestampMillisecondType, write_local),
        (Type::String, DataType::Timestamp(_, Some(_))) => {
            text!(TimestampMillisecondType, |v: i64, out: &mut Vec<u8>| {
                let is_written = write_local(v, out);
                out.push(b'Z');
                is_written
            })
        }
        (Type::String, DataType::Decimal128(..)) => {
            let values = column.as_primitive::<Decimal128Type>().clone();
            Box::new(move |row| if is_null(row) { None } else { Some(Value::String(values.value_as_string(row))) })
        }
        (Type::Message(message), DataType::Timestamp(_, Some(_)))
            if message.full_name() == "google.protobuf.Timestamp" =>
        {
            let message = message.clone();
            primitive!(TimestampMillisecondType, |ms: i64| {
                let mut at = DynamicMessage::new(message.clone());
                at.set_field_by_name("seconds", Value::I64(ms.div_euclid(1_000)));
                let nanos = i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0);
                at.set_field_by_name("nanos", Value::I32(nanos));
                Value::Message(at)
            })
        }
        (Type::Message(message), DataType::Struct(fields)) => {
            let mut members = Vec::with_capacity(fields.len());
            for (field, member) in fields.iter().zip(column.as_struct().columns()) {
                let found = message.get_field_by_name(field.name());
                let found = found
                    .ok_or_else(|| format!("message `{}` has no field `{}`", message.full_name(), field.name()))?;
                let write = writer(&found, member)?;
                members.push((found, write));
            }
            let message = message.clone();
            Box::new(move |row| {
                if is_null(row) {
                    return None;
                }
                let mut made = DynamicMessage::new(message.clone());
                for (field, write) in &members {
                    if let Some(value) = write(row) {
                        // Types were compared when this was made.
                        let _ = made.try_set_field(field, value);
                    }
                }
                Some(Value::Message(made))
            })
        }
        (of, other) => return Err(format!("{other} cannot be written as {}", format!("{of:?}").to_lowercase())),
    })
}
