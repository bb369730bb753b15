//! `tumble(ts, width)` and `window_end(bucket_start, width)`: buckets in SQL.

use std::sync::Arc;

use arrow::array::TimestampMillisecondArray;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::arguments::{column, documentation, evaluate, instant_type, instants};
use super::bucket::{Buckets, Width};

/// `tumble` and `window_end`.
pub(super) fn functions(zone: Tz) -> Vec<ScalarUDF> {
    let tumble = documentation(
        "Time buckets",
        "tumble(ts, INTERVAL '1 month')",
        "The start of the bucket that holds a timestamp, as TIMESTAMP WITH TIME ZONE. Months, quarters, years, weeks (from \
         Monday) and days are those of the zone's calendar; hours and less follow its clock. The width is a constant in one \
         kind of unit. Null for null. As TUMBLE in Flink SQL, but on the local calendar.",
    );
    let signature = Signature::user_defined(Volatility::Immutable);
    let tumble = Bucket { name: "tumble", edge: Edge::Start, zone, signature, documentation: tumble };
    vec![ScalarUDF::new_from_impl(tumble), window_end(zone)]
}

/// `window_end(bucket_start, width)`: the end of the bucket that holds an instant.
pub fn window_end(zone: Tz) -> ScalarUDF {
    let documentation = documentation(
        "Time buckets",
        "window_end(bucket_start, INTERVAL '1 month')",
        "The end of the bucket that holds a timestamp, which is the start of the next one, as TIMESTAMP WITH TIME ZONE. \
         Null for null.",
    );
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::new_from_impl(Bucket { name: "window_end", edge: Edge::End, zone, signature, documentation })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Edge {
    Start,
    End,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Bucket {
    name: &'static str,
    edge: Edge,
    zone: Tz,
    signature: Signature,
    documentation: Documentation,
}

impl Bucket {
    fn width(&self, interval: Option<&ScalarValue>) -> Result<Width> {
        match interval.map(Width::parse) {
            None => plan_err!("{}: the width must be a constant interval", self.name),
            Some(Err(e)) => plan_err!("{}: {e}", self.name),
            Some(Ok(width)) => Ok(width),
        }
    }
}

impl ScalarUDFImpl for Bucket {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [instant @ DataType::Timestamp(..), interval @ DataType::Interval(_)] => {
                Ok(vec![instant.clone(), interval.clone()])
            }
            [DataType::Null, interval @ DataType::Interval(_)] => {
                Ok(vec![DataType::Timestamp(TimeUnit::Millisecond, Some(self.zone.name().into())), interval.clone()])
            }
            _ => plan_err!("{} takes a timestamp and an interval such as INTERVAL '1 month'", self.name),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        instant_type(types.first(), self.zone)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.width(args.scalar_arguments.get(1).copied().flatten())?;
        let data_type = instant_type(args.arg_fields.first().map(|f| f.data_type()), self.zone)?;
        Ok(Arc::new(Field::new(self.name, data_type, true)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let width = match args.args.pop() {
            Some(ColumnarValue::Scalar(interval)) => self.width(Some(&interval))?,
            _ => return exec_err!("{}: the width must be a constant interval", self.name),
        };
        evaluate(&args, |columns| {
            let instants = instants(column(columns, 0)?, self.zone)?;
            let mut buckets = Buckets::new(width, instants.zone);
            let edges = match self.edge {
                Edge::Start => buckets.starts(&instants.values),
                Edge::End => buckets.ends(&instants.values),
            };
            let result = TimestampMillisecondArray::try_new(edges.into(), instants.nulls)?;
            Ok(Arc::new(result.with_data_type(args.return_type().clone())))
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}
