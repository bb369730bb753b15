//! How arguments reach the functions: columns of instants with a zone, dates, and constants made into columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use chrono_tz::Tz;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, DocSection, Documentation, ScalarFunctionArgs};
use datafusion::scalar::ScalarValue;

use super::zone::{INSTANT_MS_MAX, INSTANT_MS_MIN, Zone};

/// A column of instants in milliseconds; all of them lie in the years 1 to 9999, also below nulls.
pub(super) struct Instants {
    pub values: ScalarBuffer<i64>,
    pub nulls: Option<NullBuffer>,
    pub zone: Zone,
}

/// Reads a timestamp column of any unit. Without zone it is local time of the pack's zone.
///
/// What lies outside the years 1 to 9999 becomes null.
pub(super) fn instants(array: &ArrayRef, pack_zone: Tz) -> Result<Instants> {
    let DataType::Timestamp(unit, tz) = array.data_type() else {
        return exec_err!("expected a timestamp, found {}", array.data_type());
    };
    let values: ScalarBuffer<i64> = match unit {
        TimeUnit::Second => {
            array.as_primitive::<TimestampSecondType>().values().iter().map(|v| v.saturating_mul(1000)).collect()
        }
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().values().clone(),
        TimeUnit::Microsecond => {
            array.as_primitive::<TimestampMicrosecondType>().values().iter().map(|v| v.div_euclid(1_000)).collect()
        }
        TimeUnit::Nanosecond => {
            array.as_primitive::<TimestampNanosecondType>().values().iter().map(|v| v.div_euclid(1_000_000)).collect()
        }
    };
    let zone = zone_of(tz.as_deref(), pack_zone)?;
    let nulls = array.nulls().cloned();
    let in_range = |v: &i64| (INSTANT_MS_MIN..=INSTANT_MS_MAX).contains(v);
    let (values, nulls) = if values.iter().all(in_range) {
        (values, nulls)
    } else {
        let known = NullBuffer::from_iter(values.iter().map(in_range));
        let values = values.iter().map(|v| if in_range(v) { *v } else { 0 }).collect();
        (values, NullBuffer::union(nulls.as_ref(), Some(&known)))
    };
    let values = match tz {
        Some(_) => values,
        None => values.iter().map(|v| zone.first_instant_at(*v).clamp(INSTANT_MS_MIN, INSTANT_MS_MAX)).collect(),
    };
    Ok(Instants { values, nulls, zone })
}

/// Reads a DATE column, or the local dates of a timestamp column, as days since 1970-01-01.
pub(super) fn dates(array: &ArrayRef, pack_zone: Tz) -> Result<Date32Array> {
    match array.data_type() {
        DataType::Date32 => Ok(array.as_primitive().clone()),
        _ => Ok(super::calendar::local_dates(&instants(array, pack_zone)?)),
    }
}

fn zone_of(tz: Option<&str>, pack_zone: Tz) -> Result<Zone> {
    match tz {
        None => Ok(pack_zone.into()),
        Some(name) => match Zone::parse(name) {
            Some(zone) => Ok(zone),
            None => plan_err!("unknown time zone `{name}`"),
        },
    }
}

/// The type of instants that a function returns for an argument: milliseconds, in the argument's zone or the pack's.
pub(super) fn instant_type(argument: Option<&DataType>, pack_zone: Tz) -> Result<DataType> {
    let name: Arc<str> = match argument {
        Some(DataType::Timestamp(_, Some(tz))) => {
            zone_of(Some(tz), pack_zone)?;
            tz.clone()
        }
        _ => pack_zone.name().into(),
    };
    Ok(DataType::Timestamp(TimeUnit::Millisecond, Some(name)))
}

/// Evaluates a function on columns of equal length; if all arguments are constants, so is the result.
pub(super) fn evaluate(
    args: &ScalarFunctionArgs,
    function: impl FnOnce(&[ArrayRef]) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
    let n_rows = if constant { 1 } else { args.number_rows };
    let columns = args.args.iter().map(|a| a.to_array(n_rows)).collect::<Result<Vec<_>>>()?;
    let result = function(&columns)?;
    if constant {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
    }
    Ok(ColumnarValue::Array(result))
}

/// The argument at `idx`; DataFusion has checked their number.
pub(super) fn column(columns: &[ArrayRef], idx: usize) -> Result<&ArrayRef> {
    match columns.get(idx) {
        Some(column) => Ok(column),
        None => exec_err!("argument {} is missing", idx + 1),
    }
}

/// The documentation of a function, for `SHOW FUNCTIONS`.
pub(super) fn documentation(family: &'static str, syntax: &str, description: &str) -> Documentation {
    Documentation::builder(DocSection { include: true, label: family, description: None }, description, syntax).build()
}
