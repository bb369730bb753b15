//! SQL types to Arrow types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use chrono_tz::Tz;

use super::options::did_you_mean;
use crate::dialect::{Diagnostic, Span, TypeKind, TypeName, codes};

const NAMES: &[&str] = &[
    "VARCHAR",
    "TEXT",
    "STRING",
    "BOOLEAN",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "DOUBLE",
    "FLOAT",
    "REAL",
    "DECIMAL",
    "NUMERIC",
    "DATE",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "STRUCT",
];

/// The Arrow type of a column. All floating-point types are Float64, so that a JSON number loses nothing.
pub(super) fn resolve_type(name: &TypeName, time_zone: Tz) -> Result<DataType, Box<Diagnostic>> {
    match &name.kind {
        TypeKind::Named { name: word, arguments } => named(word, arguments, name.span, time_zone),
        TypeKind::List(element) => {
            Ok(DataType::List(Arc::new(Field::new_list_field(resolve_type(element, time_zone)?, true))))
        }
        TypeKind::Struct(fields) => {
            let mut resolved: Vec<Field> = Vec::with_capacity(fields.len());
            for (i, (field, data_type)) in fields.iter().enumerate() {
                if let Some((first, _)) = fields.iter().take(i).find(|(other, _)| other.value == field.value) {
                    let message = format!("field `{}` of a struct is declared twice", field.value);
                    return Err(Box::new(
                        Diagnostic::new(codes::DUPLICATE_COLUMN, field.span, message)
                            .note(first.span, "first declared here")
                            .hint("Remove or rename one of the two."),
                    ));
                }
                resolved.push(Field::new(&field.value, resolve_type(data_type, time_zone)?, true));
            }
            Ok(DataType::Struct(Fields::from(resolved)))
        }
    }
}

fn named(word: &str, arguments: &[u64], span: Span, time_zone: Tz) -> Result<DataType, Box<Diagnostic>> {
    let data_type = match word {
        "VARCHAR" | "TEXT" | "STRING" => DataType::Utf8,
        "BOOLEAN" | "BOOL" => DataType::Boolean,
        "SMALLINT" | "INT2" => DataType::Int16,
        "INT" | "INTEGER" | "INT4" => DataType::Int32,
        "BIGINT" | "INT8" => DataType::Int64,
        "DOUBLE" | "DOUBLE PRECISION" | "FLOAT" | "REAL" => DataType::Float64,
        "DATE" => DataType::Date32,
        "DECIMAL" | "NUMERIC" => return decimal(word, arguments, span),
        "TIMESTAMP" | "TIMESTAMP WITHOUT TIME ZONE" => {
            return timestamp(word, arguments, span, None);
        }
        "TIMESTAMPTZ" | "TIMESTAMP WITH TIME ZONE" => {
            return timestamp(word, arguments, span, Some(time_zone.name().into()));
        }
        unknown => return Err(Box::new(unknown_type(unknown, span))),
    };
    if arguments.is_empty() {
        return Ok(data_type);
    }
    let hint = if data_type == DataType::Utf8 {
        format!("Write `{word}`; a rule that limits lengths says `WHERE length(column) <= n`.")
    } else {
        format!("Write `{word}`.")
    };
    Err(Box::new(Diagnostic::new(codes::TYPE_ARGUMENTS, span, format!("type `{word}` takes no length")).hint(hint)))
}

fn decimal(word: &str, arguments: &[u64], span: Span) -> Result<DataType, Box<Diagnostic>> {
    let wrong = |message: String| {
        Box::new(
            Diagnostic::new(codes::TYPE_ARGUMENTS, span, message)
                .hint("Write digits and decimals, as `DECIMAL(10, 2)`."),
        )
    };
    let (precision, scale) = match arguments {
        [precision] => (*precision, 0),
        [precision, scale] => (*precision, *scale),
        _ => return Err(wrong(format!("type `{word}` needs its number of digits"))),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p @ 1..=38), Ok(s)) if scale <= precision => Ok(DataType::Decimal128(p, s)),
        _ => Err(wrong(format!(
            "type `{word}({precision}, {scale})` does not have 1 to 38 digits with at most as many decimals"
        ))),
    }
}

fn timestamp(
    word: &str,
    arguments: &[u64],
    span: Span,
    time_zone: Option<Arc<str>>,
) -> Result<DataType, Box<Diagnostic>> {
    match arguments {
        [] | [3] => Ok(DataType::Timestamp(TimeUnit::Millisecond, time_zone)),
        _ => Err(Box::new(
            Diagnostic::new(
                codes::TYPE_ARGUMENTS,
                span,
                format!("type `{word}` has milliseconds and no other precision"),
            )
            .hint(format!("Write `{word}`; further digits of a record are cut.")),
        )),
    }
}

/// How a type that JSON has no form for is written instead.
fn way_out(word: &str) -> Option<&'static str> {
    Some(match word {
        "TIME" | "TIME WITHOUT TIME ZONE" | "TIME WITH TIME ZONE" | "TIMETZ" => {
            "Declare a time of day as VARCHAR, as '08:30:00': texts of this form compare as times do."
        }
        "INTERVAL" => {
            "Declare its number as BIGINT, and the unit in its name: `at + seconds * INTERVAL '1 second'` adds it to an instant."
        }
        "BYTES" | "BYTEA" | "BINARY" | "VARBINARY" | "BLOB" => {
            "Declare it as VARCHAR: JSON holds bytes as text, for instance in Base64."
        }
        "MAP" | "MULTISET" => {
            "Declare `STRUCT(a VARCHAR, ..)` if its keys are known, else a list: `STRUCT(key VARCHAR, value VARCHAR) ARRAY`."
        }
        _ => return None,
    })
}

fn unknown_type(word: &str, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::new(codes::UNKNOWN_TYPE, span, format!("type `{}` does not exist", short(word)));
    if let Some(hint) = way_out(word) {
        return diagnostic.hint(hint);
    }
    let instead = match word {
        "CHAR" | "CHARACTER" | "NVARCHAR" | "UUID" | "JSON" | "CLOB" | "BPCHAR" => Some("VARCHAR"),
        "TINYINT" | "INT1" => Some("SMALLINT"),
        "LONG" | "UINT" | "SERIAL" | "BIGSERIAL" | "INT64" => Some("BIGINT"),
        "FLOAT4" | "FLOAT8" | "FLOAT64" | "FLOAT32" => Some("DOUBLE"),
        "DATETIME" | "TIMESTAMP_LTZ" => Some("TIMESTAMP WITH TIME ZONE"),
        "ROW" | "RECORD" | "OBJECT" => Some("STRUCT(a VARCHAR, ..)"),
        word => did_you_mean(word, NAMES.iter().copied()),
    };
    diagnostic.hint(match instead {
        Some(name) => format!("Did you mean `{name}`?"),
        None => "Types are VARCHAR, BOOLEAN, SMALLINT, INT, BIGINT, DOUBLE, DECIMAL(p, s), DATE, TIMESTAMP, \
                 TIMESTAMP WITH TIME ZONE, `VARCHAR ARRAY` and `STRUCT(a VARCHAR, ..)`."
            .into(),
    })
}

fn short(word: &str) -> String {
    word.chars().take(40).collect()
}
