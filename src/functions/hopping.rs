//! Buckets that overlap or follow the data, in SQL: `hop_starts`, `hop_end`, `session_end` and what the planner puts in the
//! place of `hop(..)` and `session(..)`.
//!
//! `GROUP BY hop(ts, slide, width)` stands for the groups of `unnest(hop_starts(ts, slide, width))`, and
//! `GROUP BY session(ts, gap)` for those of rows that are no more than the gap apart. What such a bucket is depends on
//! more than one row, so both names alone are markers that only a planned GROUP BY knows.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, TimestampMillisecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};
use chrono_tz::Tz;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::arguments::{Instants, column, documentation, evaluate, instant_type, instants};
use super::bucket::{Buckets, Hop, Width};
use super::zone::{INSTANT_MS_MAX, INSTANT_MS_MIN};

/// `hop_starts`, `hop_end`, `session_end` and `instant_before`.
pub(super) fn functions(zone: Tz) -> Vec<ScalarUDF> {
    use Function::{HopEnd, HopStarts, InstantBefore, SessionEnd};
    [HopStarts, HopEnd, SessionEnd, InstantBefore].map(|function| udf(function, zone)).into()
}

/// The marks of GROUP BY: `hop` and `session`.
pub fn bucket_marks(zone: Tz) -> Vec<ScalarUDF> {
    [Function::Hop, Function::Session].map(|function| udf(function, zone)).into()
}

/// `hop_starts(ts, slide, width)`: the list of the starts of all buckets that hold an instant.
pub fn hop_starts(zone: Tz) -> ScalarUDF {
    udf(Function::HopStarts, zone)
}

/// `hop_end(start, slide, width)`: the end of the bucket that begins at an instant.
pub fn hop_end(zone: Tz) -> ScalarUDF {
    udf(Function::HopEnd, zone)
}

/// `hop_pane(ts, slide, width)`: the start of the pane that holds an instant.
pub fn hop_pane(zone: Tz) -> ScalarUDF {
    udf(Function::HopPane, zone)
}

/// `session_instant(ts, gap)`: a list of just the instant. No rule moves a condition on its member to before the list.
pub fn session_instant(zone: Tz) -> ScalarUDF {
    udf(Function::SessionInstant, zone)
}

/// `session_end(ts, gap)`: when the session of a single row ends.
pub fn session_end(zone: Tz) -> ScalarUDF {
    udf(Function::SessionEnd, zone)
}

fn udf(function: Function, zone: Tz) -> ScalarUDF {
    let (syntax, description) = function.description();
    let documentation = documentation("Time buckets", syntax, description);
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::new_from_impl(Hopping { function, zone, signature, documentation })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    Hop,
    HopStarts,
    HopEnd,
    HopPane,
    Session,
    SessionInstant,
    SessionEnd,
    InstantBefore,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::Hop => "hop",
            Self::HopStarts => "hop_starts",
            Self::HopEnd => "hop_end",
            Self::HopPane => "hop_pane",
            Self::Session => "session",
            Self::SessionInstant => "session_instant",
            Self::SessionEnd => "session_end",
            Self::InstantBefore => "instant_before",
        }
    }

    /// How many intervals follow the timestamp.
    fn n_intervals(self) -> usize {
        match self {
            Self::Hop | Self::HopStarts | Self::HopEnd | Self::HopPane => 2,
            Self::Session | Self::SessionInstant | Self::SessionEnd => 1,
            Self::InstantBefore => 0,
        }
    }

    fn description(self) -> (&'static str, &'static str) {
        match self {
            Self::Hop => (
                "hop(ts, INTERVAL '1 hour', INTERVAL '1 day')",
                "In GROUP BY: one group for each bucket that holds the timestamp. A bucket of the width (the third argument) \
                 begins at every line of the slide (the second); both may be clock times, days, weeks, months, quarters or \
                 years, on the zone's calendar. Rows without a timestamp lie in no bucket. As HOP in Flink SQL.",
            ),
            Self::HopStarts => (
                "hop_starts(ts, INTERVAL '1 hour', INTERVAL '1 day')",
                "The starts of all buckets of hop that hold a timestamp, ascending, as a list of TIMESTAMP WITH TIME ZONE. \
                 Null for null.",
            ),
            Self::HopEnd => (
                "hop_end(bucket_start, INTERVAL '1 hour', INTERVAL '1 day')",
                "The end of the bucket of hop that begins at a timestamp, as TIMESTAMP WITH TIME ZONE. Null for null.",
            ),
            Self::HopPane => (
                "hop_pane(ts, INTERVAL '1 hour', INTERVAL '1 day')",
                "The start of the pane that holds a timestamp: the longest span of which each bucket of hop holds all or \
                 nothing. Null for null, and between buckets that are shorter than the slide.",
            ),
            Self::Session => (
                "session(ts, INTERVAL '30 minutes')",
                "In GROUP BY: one group for each session, that is, rows that each are no more than the gap later than another \
                 one of the session. It starts with its first row and ends a gap after its last. Rows without a timestamp lie \
                 in no session. As SESSION in Flink SQL.",
            ),
            Self::SessionInstant => {
                ("session_instant(ts, INTERVAL '30 minutes')", "A list of just the timestamp. Null for null.")
            }
            Self::SessionEnd => (
                "session_end(ts, INTERVAL '30 minutes')",
                "When a session ends whose last row has this timestamp: a gap later, days and months at the same clock time. \
                 Null for null.",
            ),
            Self::InstantBefore => (
                "instant_before(ts)",
                "The last instant before a timestamp: one millisecond earlier. Of a bucket's end it is the last instant that \
                 belongs to the bucket. Null for null.",
            ),
        }
    }
}

/// What the constants behind the timestamp say.
enum Shape {
    Hop(Hop),
    Gap(Width),
    None,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Hopping {
    function: Function,
    zone: Tz,
    signature: Signature,
    documentation: Documentation,
}

impl Hopping {
    fn shape(&self, intervals: &[Option<&ScalarValue>]) -> Result<Shape> {
        let name = self.function.name();
        let width = |interval: &Option<&ScalarValue>| match interval.map(Width::parse) {
            None => plan_err!("{name}: widths must be constant intervals"),
            Some(Err(e)) => plan_err!("{name}: {e}"),
            Some(Ok(width)) => Ok(width),
        };
        match intervals {
            [] => Ok(Shape::None),
            [gap] => Ok(Shape::Gap(width(gap)?)),
            [slide, wide] => match Hop::new(width(slide)?, width(wide)?) {
                Ok(hop) => Ok(Shape::Hop(hop)),
                Err(e) => plan_err!("{name}: {e}; make the slide longer or the width shorter"),
            },
            _ => plan_err!("{name} cannot take so many arguments"),
        }
    }

    fn is_list(&self) -> bool {
        matches!(self.function, Function::HopStarts | Function::SessionInstant)
    }
}

impl ScalarUDFImpl for Hopping {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let fits = types.len() == self.function.n_intervals() + 1
            && types.iter().skip(1).all(|t| matches!(t, DataType::Interval(_)));
        match types.first() {
            Some(DataType::Timestamp(..)) if fits => Ok(types.to_vec()),
            Some(DataType::Null) if fits => {
                let instant = instant_type(None, self.zone)?;
                Ok(std::iter::once(instant).chain(types.iter().skip(1).cloned()).collect())
            }
            _ => {
                let given = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                plan_err!("{} cannot take ({given})", self.documentation.syntax_example)
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let instant = instant_type(types.first(), self.zone)?;
        Ok(if self.is_list() { DataType::List(member(&instant)) } else { instant })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.shape(args.scalar_arguments.get(1..).unwrap_or_default())?;
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if matches!(self.function, Function::Hop | Function::Session) {
            return exec_err!("{} stands in GROUP BY only", self.documentation.syntax_example);
        }
        let intervals = args.args.split_off(1.min(args.args.len()));
        let constants = intervals.iter().map(|value| match value {
            ColumnarValue::Scalar(interval) => Some(interval),
            ColumnarValue::Array(_) => None,
        });
        let shape = self.shape(&constants.collect::<Vec<_>>())?;
        evaluate(&args, |columns| self.compute(&shape, instants(column(columns, 0)?, self.zone)?, args.return_type()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

impl Hopping {
    fn compute(&self, shape: &Shape, at: Instants, output: &DataType) -> Result<ArrayRef> {
        let zone = at.zone;
        match (self.function, shape) {
            (Function::HopStarts, Shape::Hop(hop)) => starts(*hop, &at, output),
            (Function::HopPane, Shape::Hop(hop)) => {
                let panes = Buckets::new(hop.pane(), zone).starts(&at.values);
                let in_bucket = remembered(&panes, |pane| i64::from(hop.last_end(pane, zone).is_some()));
                let nulls = match in_bucket.iter().all(|is_in| *is_in == 1) {
                    true => at.nulls,
                    false => {
                        NullBuffer::union(at.nulls.as_ref(), Some(&in_bucket.iter().map(|is_in| *is_in == 1).collect()))
                    }
                };
                instants_of(panes, nulls, output)
            }
            (Function::HopEnd, Shape::Hop(hop)) => {
                let ends = remembered(&at.values, |start| hop.end_of(start, zone));
                instants_of(ends, at.nulls, output)
            }
            (Function::SessionEnd, Shape::Gap(gap)) => {
                let ends = remembered(&at.values, |instant| gap.after(instant, zone));
                instants_of(ends, at.nulls, output)
            }
            (Function::SessionInstant, Shape::Gap(_)) => {
                let lengths = (0..at.values.len()).map(|row| usize::from(is_valid(&at.nulls, row)));
                let offsets = OffsetBuffer::from_lengths(lengths);
                let members = at.values.iter().enumerate().filter(|(row, _)| is_valid(&at.nulls, *row));
                list(members.map(|(_, instant)| *instant).collect(), offsets, at.nulls.clone(), output)
            }
            (Function::InstantBefore, Shape::None) => {
                instants_of(at.values.iter().map(|t| t.saturating_sub(1)).collect(), at.nulls, output)
            }
            _ => exec_err!("{} cannot take these arguments", self.function.name()),
        }
    }
}

fn is_valid(nulls: &Option<NullBuffer>, row: usize) -> bool {
    nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row))
}

/// A function of each instant; neighbours mostly are equal.
fn remembered(instants: &[i64], function: impl Fn(i64) -> i64) -> Vec<i64> {
    let mut last: Option<(i64, i64)> = None;
    let of = |instant: &i64| match last {
        Some((known, value)) if known == *instant => value,
        _ => {
            let value = function(*instant);
            last = Some((*instant, value));
            value
        }
    };
    instants.iter().map(of).collect()
}

/// The starts of the buckets of each instant; those of the last pane are remembered, which neighbours mostly share.
fn starts(hop: Hop, at: &Instants, output: &DataType) -> Result<ArrayRef> {
    let mut panes = Buckets::new(hop.pane(), at.zone);
    let (mut known, mut of_pane): (Option<i64>, Vec<i64>) = (None, Vec::new());
    let (mut members, mut lengths) = (Vec::new(), Vec::with_capacity(at.values.len()));
    for (row, instant) in at.values.iter().enumerate() {
        if !is_valid(&at.nulls, row) {
            lengths.push(0);
            continue;
        }
        let pane = panes.of(*instant).0;
        if known != Some(pane) {
            known = Some(pane);
            of_pane = hop.starts_of(pane, at.zone);
        }
        members.extend_from_slice(&of_pane);
        lengths.push(of_pane.len());
    }
    list(members, OffsetBuffer::from_lengths(lengths), at.nulls.clone(), output)
}

fn member(instant: &DataType) -> FieldRef {
    Arc::new(Field::new_list_field(instant.clone(), true))
}

fn list(
    members: Vec<i64>,
    offsets: OffsetBuffer<i32>,
    nulls: Option<NullBuffer>,
    output: &DataType,
) -> Result<ArrayRef> {
    let DataType::List(field) = output else { return exec_err!("a list was expected, not {output}") };
    let members = instants_of(members, None, field.data_type())?;
    Ok(Arc::new(ListArray::try_new(field.clone(), offsets, members, nulls)?))
}

fn instants_of(values: Vec<i64>, nulls: Option<NullBuffer>, output: &DataType) -> Result<ArrayRef> {
    let in_range = |v: &i64| (INSTANT_MS_MIN..=INSTANT_MS_MAX).contains(v);
    let nulls = match values.iter().all(in_range) {
        true => nulls,
        false => NullBuffer::union(nulls.as_ref(), Some(&values.iter().map(in_range).collect())),
    };
    let array = TimestampMillisecondArray::try_new(values.into(), nulls)?;
    Ok(Arc::new(array.with_data_type(output.clone())))
}

#[cfg(test)]
mod tests;
