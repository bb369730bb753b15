//! Rows to Avro data of a schema that is given: columns are found by name, fields without a column take their default.
//!
//! No row may turn out not to fit once it is there. So the schema must hold all that the columns may: null where a column may
//! be null, as many digits, as wide a number. What does not is refused before anything is written.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Decimal128Type, FieldRef, Float64Type, Int32Type, TimestampMillisecondType};
use serde_json::Value;

use super::encode::{Write, branches, bytes, elements, long, shortest, writer};
use super::schema::{Logical, Schema, Shape};

/// Defaults are not nested deeper: a type that holds itself may ask for one without end.
const DEPTH_MAX: usize = 64;

/// What writes the fields of the record at a node, in their order. `fields` are the columns as they come, `columns` hold
/// them in the types that they are written as.
pub(super) fn record_writers(
    schema: &Arc<Schema>,
    node: usize,
    fields: &[FieldRef],
    columns: &[ArrayRef],
) -> Result<Vec<Write>, String> {
    let of_record =
        schema.fields(node).ok_or_else(|| format!("the schema is {}, not a record", schema.describe(node)))?;
    // A name that a field has comes before one that another had once.
    let place = |name: &str| {
        let by_name = of_record.iter().position(|f| f.name == name);
        by_name.or_else(|| of_record.iter().position(|f| f.aliases.iter().any(|a| a == name)))
    };
    let places: Vec<Option<usize>> = fields.iter().map(|field| place(field.name())).collect();
    if let Some((field, _)) = fields.iter().zip(&places).find(|(_, place)| place.is_none()) {
        return Err(format!("the schema has no field for column `{}`", field.name()));
    }
    let mut writers = Vec::with_capacity(of_record.len());
    for (idx, field) in of_record.iter().enumerate() {
        let mut named = places.iter().zip(fields.iter().zip(columns)).filter(|(place, _)| **place == Some(idx));
        writers.push(match (named.next(), &field.default) {
            (Some((_, (column, values))), _) => {
                if let Some((_, (other, _))) = named.next() {
                    let (first, other) = (column.name(), other.name());
                    return Err(format!("columns `{first}` and `{other}` both are field `{}`", field.name));
                }
                let write = field_writer(schema, field.node, column, values);
                write.map_err(|reason| format!("column `{}`: {reason}", column.name()))?
            }
            (None, Some(default)) => {
                let mut datum = Vec::new();
                default_datum(schema, field.node, default, DEPTH_MAX, &mut datum)
                    .map_err(|()| format!("the default of field `{}` is not of its type", field.name))?;
                Box::new(move |_, out: &mut Vec<u8>| out.extend_from_slice(&datum))
            }
            (None, None) => return Err(format!("field `{}` of the schema has no column and no default", field.name)),
        });
    }
    Ok(writers)
}

/// Writes a column, with the branch of its union where the schema has one.
fn field_writer(schema: &Arc<Schema>, node: usize, of: &FieldRef, column: &ArrayRef) -> Result<Write, String> {
    let never_null = || {
        format!(
            "it may be null, but the schema has {}, which never is: give it another value with coalesce()",
            schema.describe(node)
        )
    };
    let Shape::Union(of_union) = &schema.node(node).shape else {
        if of.is_nullable() {
            return Err(never_null());
        }
        return value_writer(schema, node, of.data_type(), column);
    };
    let null = of_union.iter().position(|b| matches!(schema.node(*b).shape, Shape::Null));
    if of.is_nullable() && null.is_none() {
        return Err(never_null());
    }
    let number = |idx: usize| i64::try_from(idx).unwrap_or(i64::MAX);
    for (idx, branch) in of_union.iter().enumerate().filter(|(idx, _)| Some(*idx) != null) {
        if let Ok(write) = value_writer(schema, *branch, of.data_type(), column) {
            return Ok(branches(column, null.map(number), number(idx), write));
        }
    }
    Err(cannot(schema, node, of.data_type()))
}

fn cannot(schema: &Schema, node: usize, of: &DataType) -> String {
    format!("the schema has {}, which does not hold every value of type {of}", schema.describe(node))
}

/// Writes the values of a column that are not null.
fn value_writer(schema: &Arc<Schema>, node: usize, of: &DataType, column: &ArrayRef) -> Result<Write, String> {
    let own = schema.node(node);
    Ok(match (&own.shape, own.logical, column.data_type()) {
        (Shape::Boolean, None, DataType::Boolean)
        | (Shape::Int, None, DataType::Int32)
        | (Shape::Long, None, DataType::Int32 | DataType::Int64)
        | (Shape::Double, None, DataType::Float64)
        | (Shape::Int, Some(Logical::Date), DataType::Date32)
        | (Shape::String, None | Some(Logical::Uuid), DataType::Utf8)
        | (Shape::Bytes, None, DataType::Utf8) => writer(column)?,
        (
            Shape::Long,
            Some(Logical::Timestamp { per_ms: per_ms @ (1 | 1_000), zoned }),
            DataType::Timestamp(_, zone),
        ) if zoned == zone.is_some() => {
            let values = column.as_primitive::<TimestampMillisecondType>().clone();
            // Only beyond the year 290,000 is there no such number.
            Box::new(move |row, out| long(values.value(row).saturating_mul(per_ms), out))
        }
        (Shape::Float, None, DataType::Float64) if matches!(of, DataType::Float32) => {
            let values = column.as_primitive::<Float64Type>().clone();
            Box::new(move |row, out| out.extend_from_slice(&(values.value(row) as f32).to_le_bytes()))
        }
        (Shape::Double, None, DataType::Int32) => {
            let values = column.as_primitive::<Int32Type>().clone();
            Box::new(move |row, out| out.extend_from_slice(&f64::from(values.value(row)).to_le_bytes()))
        }
        (Shape::Bytes | Shape::Fixed(_), Some(Logical::Decimal { precision, scale }), DataType::Decimal128(p, s)) => {
            let size = if let Shape::Fixed(n) = own.shape { Some(n) } else { None };
            let more = u32::try_from(scale.saturating_sub((*s).into())).ok();
            // The digits of two's complement.
            let digits = |n: usize| ((n * 8).saturating_sub(1) as f64 * std::f64::consts::LOG10_2) as u32;
            let holds = |digits: u32| more.is_some_and(|more| u32::from(*p) + more <= digits);
            if !holds(precision) || !holds(38) || size.is_some_and(|n| !holds(digits(n))) {
                return Err(cannot(schema, node, of));
            }
            let factor = 10_i128.pow(more.unwrap_or(0));
            let values = column.as_primitive::<Decimal128Type>().clone();
            Box::new(move |row, out| {
                let value = values.value(row).saturating_mul(factor).to_be_bytes();
                match size {
                    None => bytes(shortest(&value), out),
                    Some(size) => {
                        let sign = if value.first().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
                        out.resize(out.len() + size.saturating_sub(value.len()), sign);
                        out.extend_from_slice(value.get(value.len().saturating_sub(size)..).unwrap_or_default());
                    }
                }
            })
        }
        (Shape::Array(items), _, DataType::List(_)) => {
            let (DataType::List(element) | DataType::LargeList(element)) = of else {
                return Err(cannot(schema, node, of));
            };
            let lists = column.as_list::<i32>();
            elements(lists, field_writer(schema, *items, element, lists.values())?)
        }
        (Shape::Record(_), _, DataType::Struct(_)) => {
            let DataType::Struct(fields) = of else { return Err(cannot(schema, node, of)) };
            let writers = record_writers(schema, node, fields, column.as_struct().columns())?;
            Box::new(move |row, out| writers.iter().for_each(|write| write(row, out)))
        }
        _ => return Err(cannot(schema, node, of)),
    })
}

/// Writes the default of a field as the specification has it in JSON.
fn default_datum(schema: &Schema, node: usize, default: &Value, depth: usize, out: &mut Vec<u8>) -> Result<(), ()> {
    let depth = depth.checked_sub(1).ok_or(())?;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    // Bytes are a text of so many characters below 256.
    let octets = || {
        let text = default.as_str().ok_or(())?;
        text.chars().map(|c| u8::try_from(u32::from(c)).map_err(|_| ())).collect::<Result<Vec<u8>, ()>>()
    };
    match &schema.node(node).shape {
        Shape::Null => default.is_null().then_some(()).ok_or(())?,
        Shape::Boolean => out.push(default.as_bool().ok_or(())?.into()),
        Shape::Int => long(i32::try_from(default.as_i64().ok_or(())?).map_err(|_| ())?.into(), out),
        Shape::Long => long(default.as_i64().ok_or(())?, out),
        Shape::Float => out.extend_from_slice(&(default.as_f64().ok_or(())? as f32).to_le_bytes()),
        Shape::Double => out.extend_from_slice(&default.as_f64().ok_or(())?.to_le_bytes()),
        Shape::String => bytes(default.as_str().ok_or(())?.as_bytes(), out),
        Shape::Bytes => bytes(&octets()?, out),
        Shape::Fixed(n) => out.extend(octets().ok().filter(|octets| octets.len() == *n).ok_or(())?),
        Shape::Enum(symbols) => {
            let symbol = default.as_str().ok_or(())?;
            long(count(symbols.iter().position(|s| s == symbol).ok_or(())?), out);
        }
        Shape::Array(items) => {
            let values = default.as_array().ok_or(())?;
            if !values.is_empty() {
                long(count(values.len()), out);
            }
            values.iter().try_for_each(|value| default_datum(schema, *items, value, depth, out))?;
            long(0, out);
        }
        Shape::Map(of) => {
            let values = default.as_object().ok_or(())?;
            if !values.is_empty() {
                long(count(values.len()), out);
            }
            for (key, value) in values {
                bytes(key.as_bytes(), out);
                default_datum(schema, *of, value, depth, out)?;
            }
            long(0, out);
        }
        Shape::Record(fields) => {
            for field in fields {
                let value = default.get(&field.name).or(field.default.as_ref()).ok_or(())?;
                default_datum(schema, field.node, value, depth, out)?;
            }
        }
        // By the specification of the first branch; since its version 1.12 of any.
        Shape::Union(of_union) => {
            for (idx, branch) in of_union.iter().enumerate() {
                let mut datum = Vec::new();
                if default_datum(schema, *branch, default, depth, &mut datum).is_ok() {
                    long(count(idx), out);
                    out.append(&mut datum);
                    return Ok(());
                }
            }
            return Err(());
        }
    }
    Ok(())
}
