//! `date_trunc` and `date_bin` on the zone's calendar.
//!
//! DataFusion's own fail on rows where a line falls into a daylight-saving change, and bin in UTC. On zoned timestamps these
//! are the buckets of `tumble`; everything else is left to them.

use std::sync::Arc;

use arrow::array::{ArrayRef, TimestampMillisecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::Result;
use datafusion::functions::datetime;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::arguments::{column, documentation, evaluate, instants};
use super::bucket::{Buckets, Width};

/// `date_trunc` and `date_bin`.
pub(super) fn functions(zone: Tz) -> Vec<ScalarUDF> {
    let trunc = documentation(
        "Time buckets",
        "date_trunc('month', ts)",
        "The start of the millisecond, second, minute, hour, day, week (from Monday), month, quarter or year that holds a \
         timestamp, in its type; of a zoned timestamp on the zone's calendar, as tumble. Null for null.",
    );
    let bin = documentation(
        "Time buckets",
        "date_bin(INTERVAL '15 minutes', ts)",
        "The start of the bucket that holds a timestamp, in its type; of a zoned timestamp the bucket of tumble. With an \
         origin, or without a zone, DataFusion's own: spans of UTC from the origin. Null for null.",
    );
    [(datetime::date_trunc(), trunc), (datetime::date_bin(), bin)]
        .map(|(stock, documentation)| {
            let signature = match stock.name() {
                // The stock signature would turn a timestamp into nanoseconds.
                "date_bin" => Signature::user_defined(Volatility::Immutable),
                _ => stock.signature().clone(),
            };
            ScalarUDF::new_from_impl(Rounding { stock, zone, signature, documentation })
        })
        .into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Rounding {
    stock: Arc<ScalarUDF>,
    zone: Tz,
    signature: Signature,
    documentation: Documentation,
}

/// The width of a call whose first argument is this constant.
fn width(name: &str, first: Option<&ScalarValue>) -> Option<Width> {
    match (name, first?) {
        ("date_trunc", ScalarValue::Utf8(Some(unit)) | ScalarValue::Utf8View(Some(unit))) => Width::of_date_trunc(unit),
        ("date_bin", interval) => Width::parse(interval).ok(),
        _ => None,
    }
}

impl ScalarUDFImpl for Rounding {
    fn name(&self) -> &str {
        self.stock.name()
    }

    fn aliases(&self) -> &[String] {
        self.stock.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let [DataType::Interval(_), DataType::Timestamp(_, Some(_))] = types {
            return Ok(types.to_vec());
        }
        let given: Vec<FieldRef> = types.iter().map(|t| Arc::new(Field::new("", t.clone(), true))).collect();
        let taken = fields_with_udf(&given, self.stock.as_ref())?;
        Ok(taken.iter().map(|field| field.data_type().clone()).collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.stock.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = self.stock.inner().return_field_from_args(args)?;
        // Outside the years 1 to 9999 there is no answer.
        Ok(Arc::new(Field::new(self.name(), field.data_type().clone(), true)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let first = match args.args.first() {
            Some(ColumnarValue::Scalar(value)) => Some(value),
            _ => None,
        };
        let is_zoned = match args.args.get(1).map(ColumnarValue::data_type) {
            Some(DataType::Timestamp(_, zone)) => zone.is_some(),
            _ => false,
        };
        let Some(width) = width(self.name(), first).filter(|_| is_zoned && args.args.len() == 2) else {
            return self.stock.inner().invoke_with_args(args);
        };
        args.args.remove(0);
        evaluate(&args, |columns| {
            let instants = instants(column(columns, 0)?, self.zone)?;
            let starts = Buckets::new(width, instants.zone).starts(&instants.values);
            let starts = TimestampMillisecondArray::try_new(starts.into(), instants.nulls)?;
            let zone = match args.return_type() {
                DataType::Timestamp(_, zone) => zone.clone(),
                _ => None,
            };
            let starts: ArrayRef = Arc::new(starts.with_timezone_opt(zone));
            Ok(match args.return_type() {
                DataType::Timestamp(TimeUnit::Millisecond, _) => starts,
                other => cast(&starts, other)?,
            })
        })
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.stock.inner().output_ordering(input)
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::display::array_value_to_string;
    use datafusion::prelude::{SessionConfig, SessionContext};

    async fn value(zone: &str, ours: bool, expression: &str) -> String {
        let mut config = SessionConfig::new().with_target_partitions(1);
        config.options_mut().execution.time_zone = Some(zone.into());
        let ctx = SessionContext::new_with_config(config);
        if ours {
            super::super::all(zone.parse().unwrap()).into_iter().for_each(|f| ctx.register_udf(f));
        }
        let batches = ctx.sql(&format!("SELECT {expression}")).await.unwrap().collect().await.unwrap();
        array_value_to_string(batches[0].column(0), 0).unwrap()
    }

    #[tokio::test]
    async fn away_from_clock_changes_it_is_the_stock_function() {
        for unit in ["second", "minute", "hour", "day", "week", "month", "quarter", "year"] {
            for zone in ["UTC", "Asia/Shanghai", "America/New_York"] {
                let call = format!("date_trunc('{unit}', timestamptz '2026-05-13T14:35:21')");
                assert_eq!(value(zone, true, &call).await, value(zone, false, &call).await, "{zone} {call}");
            }
        }
        for call in [
            "date_trunc('day', timestamp '2026-05-13T14:35:21')",
            "date_bin(INTERVAL '15 minutes', timestamp '2026-05-13T14:35:21')",
            "date_bin(INTERVAL '15 minutes', timestamptz '2026-05-13T14:35:21', timestamptz '2026-01-01T00:07:00')",
            "date_trunc('microsecond', timestamptz '2026-05-13T14:35:21')",
            "datetrunc('day', timestamptz '2026-05-13T14:35:21')",
        ] {
            assert_eq!(value("Europe/Berlin", true, call).await, value("Europe/Berlin", false, call).await, "{call}");
        }
    }

    #[tokio::test]
    async fn lines_are_those_of_the_clock() {
        let of = |zone, call| value(zone, true, call);
        assert_eq!(
            of("Asia/Kolkata", "date_bin(INTERVAL '1 hour', timestamptz '2026-05-13T14:35:21')").await,
            "2026-05-13T14:00:00+05:30"
        );
        assert_eq!(
            of("Asia/Kolkata", "date_trunc('hour', timestamptz '2026-05-13T14:35:21')").await,
            "2026-05-13T14:00:00+05:30"
        );
        assert_eq!(
            of("Europe/Berlin", "date_bin(INTERVAL '1 day', timestamptz '2026-03-29T14:35:21')").await,
            "2026-03-29T00:00:00+01:00"
        );
        // On that day the clock went from midnight to one.
        assert_eq!(
            of("America/Sao_Paulo", "date_trunc('day', timestamptz '2018-11-04T14:35:21')").await,
            "2018-11-04T01:00:00-02:00"
        );
        assert_eq!(
            of("UTC", "date_bin(INTERVAL '3 months', timestamptz '2026-05-13T14:35:21')").await,
            "2026-04-01T00:00:00Z"
        );
    }
}
