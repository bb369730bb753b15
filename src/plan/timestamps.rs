//! `to_timestamp` and its kin, of what rows hold: null where there is no answer, and of the type that they are planned with.
//!
//! In a session with a time zone DataFusion plans these functions with the zone and, over a column of texts, computes
//! arrays without it (as of 55.2), which ends the query. And one text that is no timestamp ends it too, where a pipeline
//! must go on; see `forgiving.rs`. And `to_timestamp(n)` takes n for seconds of the zone's clock, `to_timestamp_seconds(n)`
//! for those since the Unix epoch: here both do, as in PostgreSQL.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, concat};
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature};
use datafusion::prelude::SessionContext;

/// What DataFusion has of the kind.
const NAMES: [&str; 5] =
    ["to_timestamp", "to_timestamp_seconds", "to_timestamp_millis", "to_timestamp_micros", "to_timestamp_nanos"];

/// Puts the forgiving functions in the place of the session's own.
pub(super) fn register(ctx: &SessionContext) {
    for name in NAMES {
        if let Ok(stock) = ctx.udf(name) {
            ctx.register_udf(ScalarUDF::from(ToTimestamp { stock: (*stock).clone() }));
        }
    }
}

/// One of the functions, around DataFusion's.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ToTimestamp {
    stock: ScalarUDF,
}

impl ScalarUDFImpl for ToTimestamp {
    fn name(&self) -> &str {
        self.stock.name()
    }

    fn signature(&self) -> &Signature {
        self.stock.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.stock.return_type(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (return_type, n_rows) = (args.return_type().clone(), args.number_rows);
        if let (Some(seconds), "to_timestamp") = (self.seconds(&args, &return_type)?, self.name()) {
            return Ok(seconds);
        }
        let is_of_rows = args.args.iter().any(|arg| matches!(arg, ColumnarValue::Array(_)));
        match self.stock.invoke_with_args(args.clone()) {
            Ok(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(labelled(&array, &return_type)?)),
            Err(_) if is_of_rows && n_rows > 0 => {
                let rows: Vec<ArrayRef> =
                    (0..n_rows).map(|row| self.of_row(&args, row, &return_type)).collect::<Result<_>>()?;
                let rows: Vec<&dyn Array> = rows.iter().map(|row| &**row).collect();
                Ok(ColumnarValue::Array(concat(&rows)?))
            }
            other => other,
        }
    }
}

impl ToTimestamp {
    /// Whole seconds since the Unix epoch as instants; none if the argument is anything else.
    fn seconds(&self, args: &ScalarFunctionArgs, return_type: &DataType) -> Result<Option<ColumnarValue>> {
        let (Some(seconds), DataType::Timestamp(_, zone)) = (args.args.first(), return_type) else { return Ok(None) };
        if !seconds.data_type().is_integer() {
            return Ok(None);
        }
        let instants = DataType::Timestamp(TimeUnit::Second, zone.clone());
        let or_null = CastOptions { safe: true, ..CastOptions::default() };
        let instants = seconds.cast_to(&DataType::Int64, Some(&or_null))?.cast_to(&instants, Some(&or_null))?;
        instants.cast_to(return_type, Some(&or_null)).map(Some)
    }

    /// The answer for one row: null where there is none.
    fn of_row(&self, args: &ScalarFunctionArgs, row: usize, return_type: &DataType) -> Result<ArrayRef> {
        let of_row = args.args.iter().map(|arg| match arg {
            ColumnarValue::Array(array) => Ok(ColumnarValue::Array(array.slice(row, 1))),
            ColumnarValue::Scalar(value) => Ok(ColumnarValue::Scalar(value.clone())),
        });
        let one = ScalarFunctionArgs { args: of_row.collect::<Result<_>>()?, number_rows: 1, ..args.clone() };
        match self.stock.invoke_with_args(one) {
            Ok(value) => labelled(&value.into_array(1)?, return_type),
            Err(_) => ScalarValue::try_from(return_type)?.to_array(),
        }
    }
}

/// The same instants with the zone of a type.
fn labelled(array: &ArrayRef, return_type: &DataType) -> Result<ArrayRef> {
    if array.data_type() == return_type {
        return Ok(array.clone());
    }
    // The numbers are those of the instants already; a cast from a timestamp without a zone would move them.
    let (DataType::Timestamp(made, _), DataType::Timestamp(planned, _)) = (array.data_type(), return_type) else {
        return Ok(Arc::clone(array));
    };
    if made != planned {
        return Ok(Arc::clone(array));
    }
    let data = array.to_data().into_builder().data_type(return_type.clone()).build()?;
    Ok(arrow::array::make_array(data))
}
