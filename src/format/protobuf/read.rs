//! Messages to cells.

use std::borrow::Cow;

use chrono::NaiveDate;
use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind as Type, MapKey, MessageDescriptor, ReflectMessage, Value,
};

use super::Wanted;
use crate::format::json::DecodeColumn;
use crate::format::json::cell::{Cell, Kind};
use crate::format::json::parse::number_end;
use crate::format::json::value::Value as Json;
use crate::format::rows::Columns;

/// How the fields of a message become cells.
#[derive(Debug)]
pub(super) struct MessagePlan {
    message: MessageDescriptor,
    /// For each cell its name, field and kind; without a field it is null.
    cells: Vec<(String, Option<FieldDescriptor>, Kind)>,
}

impl MessagePlan {
    /// How messages become cells, one a column.
    pub(super) fn of_columns(
        message: &MessageDescriptor,
        columns: &Columns<'_>,
        wanted: &Wanted,
    ) -> Result<Self, String> {
        let named: Vec<(&str, &Kind)> = columns.iter().map(|(c, kind)| (c.name.as_str(), kind)).collect();
        let plan = Self::of_fields(message, &named)?;
        let mut missing = Vec::new();
        for (idx, (name, _, _)) in plan.cells.iter().enumerate().filter(|(_, (_, field, _))| field.is_none()) {
            if columns.key.contains(&idx) || columns.columns.get(idx).is_some_and(|c| c.not_null) {
                return Err(format!(
                    "column `{name}` is NOT NULL, but message `{}` has no such field",
                    message.full_name()
                ));
            }
            missing.push(name.as_str());
        }
        if let (true, Some(name)) = (wanted.rejects_missing, missing.first()) {
            return Err(format!(
                "message `{}` has no field for column `{name}`, and `missing_columns` is 'reject'",
                message.full_name()
            ));
        }
        if !missing.is_empty() {
            let (relation, message, columns) = (&wanted.relation, message.full_name(), missing.join(", "));
            tracing::warn!(%relation, message, columns, "columns are not in the schema and are null");
        }
        Ok(plan)
    }

    /// How messages become the cells of the key columns.
    pub(super) fn of_key(message: &MessageDescriptor, of_key: &[(&DecodeColumn, &Kind)]) -> Result<Self, String> {
        let named: Vec<(&str, &Kind)> = of_key.iter().map(|(c, kind)| (c.name.as_str(), *kind)).collect();
        let plan = Self::of_fields(message, &named)?;
        match plan.cells.iter().find(|(_, field, _)| field.is_none()) {
            Some((name, ..)) => Err(format!("message `{}` has no field `{name}`", message.full_name())),
            None => Ok(plan),
        }
    }

    fn of_fields(message: &MessageDescriptor, named: &[(&str, &Kind)]) -> Result<Self, String> {
        let mut cells = Vec::with_capacity(named.len());
        for (name, kind) in named {
            let field = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name));
            if let Some(field) = &field {
                check_field(field, kind).map_err(|found| {
                    format!("column `{name}`: the schema has {found}, which cannot be read as {kind}")
                })?;
            }
            cells.push(((*name).to_owned(), field, (*kind).clone()));
        }
        Ok(Self { message: message.clone(), cells })
    }

    /// Reads a message into cells.
    pub(super) fn read(&self, message: &[u8], cells: &mut Vec<Cell<'_>>) -> Result<(), String> {
        let message = DynamicMessage::decode(self.message.clone(), message)
            .map_err(|e| format!("not a message `{}`: {e}", self.message.full_name()))?;
        for (name, field, kind) in &self.cells {
            let cell = match field {
                None => Cell::Null,
                Some(field) => {
                    of_field(&message, field, kind).map_err(|reason| format!("column `{name}`: {reason}"))?
                }
            };
            cells.push(cell);
        }
        Ok(())
    }
}

// === Whether a type can be read, once a schema

fn check_field(field: &FieldDescriptor, kind: &Kind) -> Result<(), String> {
    if field.is_map() {
        let entry = field.kind();
        let entry = entry.as_message().ok_or("a map")?;
        return match entries(kind) {
            Some(value) if matches!(entry.map_entry_key_field().kind(), Type::String) => {
                check(&entry.map_entry_value_field().kind(), value)
            }
            _ => Err("a map".to_owned()),
        };
    }
    match (field.is_list(), kind) {
        (true, Kind::List { element, .. }) => check(&field.kind(), element).map_err(|of| format!("repeated {of}")),
        (true, _) => Err(format!("repeated {:?}", field.kind())),
        (false, _) => check(&field.kind(), kind),
    }
}

/// The kind of the values where a kind is a list of entries.
fn entries(kind: &Kind) -> Option<&Kind> {
    let Kind::List { element, .. } = kind else { return None };
    let Kind::Struct(fields) = element.as_ref() else { return None };
    match fields.as_slice() {
        [key, value] if key.name == "key" && key.kind == Kind::Text && value.name == "value" => Some(&value.kind),
        _ => None,
    }
}

fn check(of: &Type, kind: &Kind) -> Result<(), String> {
    let fits = match (of, kind) {
        (Type::Bool, Kind::Bool) => true,
        (
            Type::Int32
            | Type::Sint32
            | Type::Sfixed32
            | Type::Uint32
            | Type::Fixed32
            | Type::Int64
            | Type::Sint64
            | Type::Sfixed64
            | Type::Uint64
            | Type::Fixed64,
            Kind::Int { .. } | Kind::Float64 | Kind::Decimal { .. },
        ) => true,
        (Type::Float | Type::Double, Kind::Float64) | (Type::Float, Kind::Float32) => true,
        (Type::String, Kind::Text | Kind::Instant { .. } | Kind::Date | Kind::Decimal { .. }) => true,
        (Type::Bytes, Kind::Text) => true,
        (Type::Enum(_), Kind::Text | Kind::Int { .. }) => true,
        (Type::Message(message), kind) => return check_message(message, kind),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("{of:?}").to_lowercase()) }
}

fn check_message(message: &MessageDescriptor, kind: &Kind) -> Result<(), String> {
    let name = message.full_name();
    let refused = || Err(format!("a message `{name}`"));
    match (name, kind) {
        ("google.protobuf.Timestamp", Kind::Instant { .. })
        | ("google.type.Date", Kind::Date)
        | ("confluent.type.Decimal", Kind::Decimal { .. }) => Ok(()),
        (_, Kind::Struct(fields)) => fields.iter().try_for_each(|wanted| match field_of(message, &wanted.name) {
            Some(field) => check_field(&field, &wanted.kind).map_err(|of| format!("`{}` with {of}", wanted.name)),
            // The fields of a structure may all be null.
            None => Ok(()),
        }),
        _ => match wrapped(message) {
            Some(value) => check(&value.kind(), kind),
            None => refused(),
        },
    }
}

fn field_of(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name))
}

/// The value of one of Google's wrappers, which say that there is a value.
fn wrapped(message: &MessageDescriptor) -> Option<FieldDescriptor> {
    let is_wrapper = message.full_name().starts_with("google.protobuf.") && message.full_name().ends_with("Value");
    let field = message.get_field_by_name("value").filter(|_| is_wrapper)?;
    (message.fields().len() == 1 && !field.is_list()).then_some(field)
}

// === Values

fn of_field(message: &DynamicMessage, field: &FieldDescriptor, kind: &Kind) -> Result<Cell<'static>, String> {
    let is_required = field.cardinality() == Cardinality::Required;
    if (field.supports_presence() || is_required) && !message.has_field(field) {
        return Ok(Cell::Null);
    }
    let value = message.get_field(field);
    match (value.as_ref(), kind) {
        (Value::List(values), Kind::List { element, .. }) => {
            values.iter().map(|value| cell(&field.kind(), value, element)).collect::<Result<_, _>>().map(Cell::List)
        }
        (Value::Map(values), kind) => {
            let of_values = entries(kind).ok_or("a map")?;
            let entry = field.kind();
            let entry = entry.as_message().ok_or("a map")?.map_entry_value_field().kind();
            let mut cells = Vec::with_capacity(values.len());
            for (key, value) in values {
                let MapKey::String(key) = key else { return Err("a map whose keys are no texts".to_owned()) };
                cells.push((key.clone(), cell(&entry, value, of_values)?));
            }
            // The order on the wire means nothing.
            cells.sort_by(|(a, _), (b, _)| a.cmp(b));
            let pair = |(key, value)| Cell::Struct(vec![Cell::Text(Cow::Owned(key)), value]);
            Ok(Cell::List(cells.into_iter().map(pair).collect()))
        }
        (value, kind) => cell(&field.kind(), value, kind),
    }
}

fn cell(of: &Type, value: &Value, kind: &Kind) -> Result<Cell<'static>, String> {
    let integer = |value: i128| -> Result<Cell<'static>, String> {
        match kind {
            Kind::Int { min, max, .. } => match i64::try_from(value) {
                Ok(value) if (*min..=*max).contains(&value) => Ok(Cell::Int(value)),
                _ => Err(format!("a number that is not within {min} and {max}, as the column's type is")),
            },
            Kind::Float64 => Ok(Cell::Float(value as f64)),
            _ => decimal(&value.to_string(), kind),
        }
    };
    match value {
        Value::Bool(value) => Ok(Cell::Bool(*value)),
        Value::I32(value) => integer((*value).into()),
        Value::I64(value) => integer((*value).into()),
        Value::U32(value) => integer((*value).into()),
        Value::U64(value) => integer((*value).into()),
        Value::F32(value) => Ok(Cell::Float((*value).into())),
        Value::F64(value) => Ok(Cell::Float(*value)),
        Value::String(text) => text_as(text, kind),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cell::Text(Cow::Owned(text.to_owned()))),
            Err(_) => Err("bytes that are not valid UTF-8".to_owned()),
        },
        Value::EnumNumber(number) => match (of.as_enum(), kind) {
            (Some(symbols), Kind::Text) => match symbols.get_value(*number) {
                Some(symbol) => Ok(Cell::Text(Cow::Owned(symbol.name().to_owned()))),
                None => Err(format!("a number that enum `{}` does not have", symbols.full_name())),
            },
            _ => integer((*number).into()),
        },
        Value::Message(message) => of_message(message, kind),
        Value::List(_) | Value::Map(_) => Err("a list within a list".to_owned()),
    }
}

fn text_as(text: &str, kind: &Kind) -> Result<Cell<'static>, String> {
    match kind {
        Kind::Text => Ok(Cell::Text(Cow::Owned(text.to_owned()))),
        Kind::Decimal { .. } if number_end(text.as_bytes(), 0) == Some(text.len()) => decimal(text, kind),
        _ => {
            let cell = kind.cell(&mut Json::Text(Cow::Borrowed(text))).map(Cell::into_owned);
            cell.map_err(|_| format!("a text that is no {kind}"))
        }
    }
}

fn decimal(number: &str, kind: &Kind) -> Result<Cell<'static>, String> {
    kind.cell(&mut Json::Number(number)).map(Cell::into_owned).map_err(|_| format!("a number that is no {kind}"))
}

fn of_message(message: &DynamicMessage, kind: &Kind) -> Result<Cell<'static>, String> {
    let descriptor = message.descriptor();
    let number = |name: &str| -> i64 {
        match message.get_field_by_name(name).as_deref() {
            Some(Value::I64(value)) => *value,
            Some(Value::I32(value)) => (*value).into(),
            _ => 0,
        }
    };
    match (descriptor.full_name(), kind) {
        ("google.protobuf.Timestamp", Kind::Instant { per_ms, .. }) => {
            let nanos = number("nanos");
            let ms = number("seconds").checked_mul(1_000).and_then(|ms| ms.checked_add(nanos / 1_000_000));
            let ms = ms.filter(|_| (0..1_000_000_000).contains(&nanos));
            let at = ms.and_then(|ms| if *per_ms == 0 { Some(ms.div_euclid(1_000)) } else { ms.checked_mul(*per_ms) });
            at.map(Cell::Int).ok_or_else(|| "an instant out of range".to_owned())
        }
        ("google.type.Date", Kind::Date) => {
            let part = |name: &str| u32::try_from(number(name)).unwrap_or(0);
            let year = i32::try_from(number("year")).unwrap_or(0);
            let date = NaiveDate::from_ymd_opt(year, part("month"), part("day")).ok_or("a date that does not exist")?;
            Ok(Cell::Int(date.signed_duration_since(NaiveDate::default()).num_days()))
        }
        ("confluent.type.Decimal", Kind::Decimal { .. }) => {
            let value = message.get_field_by_name("value");
            let bytes = value.as_deref().and_then(Value::as_bytes).map(AsRef::as_ref).unwrap_or_default();
            let sign = if bytes.first().is_some_and(|b: &u8| b & 0x80 != 0) { 0xff } else { 0 };
            let mut wide = [sign; 16];
            let place = 16_usize.checked_sub(bytes.len()).and_then(|at| wide.get_mut(at..));
            place.ok_or("a decimal of more than 38 digits")?.copy_from_slice(bytes);
            decimal(&format!("{}e{}", i128::from_be_bytes(wide), -number("scale")), kind)
        }
        (_, Kind::Struct(fields)) => {
            let cells = fields.iter().map(|wanted| match field_of(&descriptor, &wanted.name) {
                Some(field) => of_field(message, &field, &wanted.kind),
                None => Ok(Cell::Null),
            });
            cells.collect::<Result<_, _>>().map(Cell::Struct)
        }
        _ => match wrapped(&descriptor) {
            Some(field) => cell(&field.kind(), &message.get_field(&field), kind),
            None => Err(format!("a message `{}`", descriptor.full_name())),
        },
    }
}
