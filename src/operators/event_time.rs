//! Event time as operators reckon with it: milliseconds since the Unix epoch.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};

use super::OperatorError;

/// The instants of a timestamp column in milliseconds, finer digits cut.
pub(super) fn milliseconds(column: &ArrayRef) -> Result<Int64Array, OperatorError> {
    let DataType::Timestamp(unit, _) = column.data_type() else {
        return Err(OperatorError::Function(format!("event time is a timestamp, not {}", column.data_type())));
    };
    let numbers = cast(column, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(match unit {
        TimeUnit::Second => numbers.unary(|t| t.saturating_mul(1_000)),
        TimeUnit::Millisecond => numbers.clone(),
        TimeUnit::Microsecond => numbers.unary(|t| t.div_euclid(1_000)),
        TimeUnit::Nanosecond => numbers.unary(|t| t.div_euclid(1_000_000)),
    })
}

/// A timestamp column of instants in milliseconds.
pub(super) fn timestamps(instants_ms: Vec<i64>, data_type: &DataType) -> Result<ArrayRef, OperatorError> {
    let DataType::Timestamp(unit, zone) = data_type else {
        return Err(OperatorError::Function(format!("event time is a timestamp, not {data_type}")));
    };
    let instants = TimestampMillisecondArray::from(instants_ms).with_timezone_opt(zone.clone());
    Ok(match unit {
        TimeUnit::Millisecond => Arc::new(instants),
        _ => cast(&instants, data_type)?,
    })
}
