//! Dates, months and years on the zone's calendar.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{Instants, column, dates, documentation, evaluate, instant_type, instants};
use super::civil::{DAY_MS, Date};
use super::zone::{Clock, INSTANT_MS_MAX, INSTANT_MS_MIN};

/// `add_months`, `add_days`, `age_in_years`, `local_date`, `year_month` and `elapsed_ms`.
pub(super) fn functions(zone: Tz) -> Vec<ScalarUDF> {
    Function::ALL
        .map(|function| {
            let (syntax, description) = function.description();
            ScalarUDF::new_from_impl(Calendar {
                function,
                zone,
                signature: Signature::user_defined(Volatility::Immutable),
                documentation: documentation("Calendar", syntax, description),
            })
        })
        .into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    AddMonths,
    AddDays,
    AgeInYears,
    LocalDate,
    YearMonth,
    ElapsedMs,
}

impl Function {
    const ALL: [Self; 6] =
        [Self::AddMonths, Self::AddDays, Self::AgeInYears, Self::LocalDate, Self::YearMonth, Self::ElapsedMs];

    fn name(self) -> &'static str {
        match self {
            Self::AddMonths => "add_months",
            Self::AddDays => "add_days",
            Self::AgeInYears => "age_in_years",
            Self::LocalDate => "local_date",
            Self::YearMonth => "year_month",
            Self::ElapsedMs => "elapsed_ms",
        }
    }

    fn description(self) -> (&'static str, &'static str) {
        match self {
            Self::AddMonths => (
                "add_months(ts, n)",
                "The same local time of day n months later (earlier if n is negative), on the last day of the month if the \
                 day does not exist there. A time that the clock skips becomes the instant after the gap, one that it shows \
                 twice the earlier instant. Takes TIMESTAMP or DATE and an integer, yields TIMESTAMP WITH TIME ZONE or DATE. \
                 Null for null and outside the years 1 to 9999. As Oracle's ADD_MONTHS without its end-of-month rule.",
            ),
            Self::AddDays => (
                "add_days(ts, n)",
                "The same local time of day n days later (earlier if n is negative), with the rules of add_months for times \
                 that the clock skips or shows twice. Takes TIMESTAMP or DATE and an integer. Null for null and outside the \
                 years 1 to 9999.",
            ),
            Self::AgeInYears => (
                "age_in_years(birth, at)",
                "Full years from a DATE of birth to a DATE, or to the local date of a TIMESTAMP, as BIGINT; negative before \
                 birth. Who was born on 29 February is a year older on 1 March in common years. Null for null.",
            ),
            Self::LocalDate => (
                "local_date(ts)",
                "The DATE that the zone's calendar shows at a TIMESTAMP. Null for null and outside the years 1 to 9999.",
            ),
            Self::YearMonth => (
                "year_month(ts)",
                "The month that the zone's calendar shows at a TIMESTAMP or DATE, as VARCHAR 'YYYY-MM'. Null for null and \
                 outside the years 1 to 9999.",
            ),
            Self::ElapsedMs => (
                "elapsed_ms(from, to)",
                "Milliseconds from one TIMESTAMP to another as BIGINT, negative if the second is earlier; daylight-saving \
                 changes do not count. Null if either is null.",
            ),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Calendar {
    function: Function,
    zone: Tz,
    signature: Signature,
    documentation: Documentation,
}

impl Calendar {
    /// The type in which an argument is taken: timestamps as they are, the null literal as a timestamp.
    fn instant_argument(&self, given: &DataType) -> Option<DataType> {
        match given {
            DataType::Timestamp(..) => Some(given.clone()),
            DataType::Null => Some(DataType::Timestamp(TimeUnit::Millisecond, Some(self.zone.name().into()))),
            _ => None,
        }
    }
}

fn date_argument(given: &DataType) -> Option<DataType> {
    matches!(given, DataType::Date32 | DataType::Date64).then_some(DataType::Date32)
}

fn integer_argument(given: &DataType) -> Option<DataType> {
    (given.is_integer() || *given == DataType::Null).then_some(DataType::Int64)
}

impl ScalarUDFImpl for Calendar {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let instant = |t: &DataType| self.instant_argument(t);
        let either = |t: &DataType| date_argument(t).or_else(|| instant(t));
        let birth = |t: &DataType| date_argument(if *t == DataType::Null { &DataType::Date32 } else { t });
        let taken: Option<Vec<DataType>> = match (self.function, types) {
            (Function::AddMonths | Function::AddDays, [at, n]) => {
                [either(at), integer_argument(n)].into_iter().collect()
            }
            (Function::AgeInYears, [from, at]) => [birth(from), either(at)].into_iter().collect(),
            (Function::LocalDate, [at]) => [instant(at)].into_iter().collect(),
            (Function::YearMonth, [at]) => [either(at)].into_iter().collect(),
            (Function::ElapsedMs, [from, to]) => [instant(from), instant(to)].into_iter().collect(),
            _ => None,
        };
        match taken {
            Some(types) => Ok(types),
            None => {
                let types = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                plan_err!("{} cannot take ({types})", self.documentation.syntax_example)
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.function, types.first()) {
            (Function::AddMonths | Function::AddDays, Some(DataType::Date32)) => Ok(DataType::Date32),
            (Function::AddMonths | Function::AddDays, first) => instant_type(first, self.zone),
            (Function::AgeInYears | Function::ElapsedMs, _) => Ok(DataType::Int64),
            (Function::LocalDate, _) => Ok(DataType::Date32),
            (Function::YearMonth, _) => Ok(DataType::Utf8),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        evaluate(&args, |columns| {
            let first = column(columns, 0)?;
            match self.function {
                Function::AddMonths => self.add(first, column(columns, 1)?, args.return_type(), |days, n| {
                    Date::from_days(days).add_months(n).to_days()
                }),
                Function::AddDays => self.add(first, column(columns, 1)?, args.return_type(), i64::saturating_add),
                Function::AgeInYears => {
                    let at = dates(column(columns, 1)?, self.zone)?;
                    Ok(Arc::new(ages(first.as_primitive(), &at)?))
                }
                Function::LocalDate => Ok(Arc::new(dates(first, self.zone)?)),
                Function::YearMonth => match first.data_type() {
                    DataType::Date32 => {
                        let days = first.as_primitive::<Date32Type>();
                        Ok(Arc::new(months(
                            days.values().iter().map(|d| i64::from(*d) * DAY_MS),
                            days.nulls().cloned(),
                        )?))
                    }
                    _ => {
                        let instants = instants(first, self.zone)?;
                        let mut clock = Clock::new(instants.zone);
                        Ok(Arc::new(months(instants.values.iter().map(|t| clock.local_ms(*t)), instants.nulls)?))
                    }
                },
                Function::ElapsedMs => {
                    let (from, to) = (instants(first, self.zone)?, instants(column(columns, 1)?, self.zone)?);
                    // Instants lie within 10,000 years, so the difference cannot overflow.
                    let elapsed = from.values.iter().zip(to.values.iter()).map(|(from, to)| to - from).collect();
                    let nulls = NullBuffer::union(from.nulls.as_ref(), to.nulls.as_ref());
                    Ok(Arc::new(Int64Array::try_new(elapsed, nulls)?))
                }
            }
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

impl Calendar {
    /// Moves dates, or the local dates of instants, by `shift(days, n)` and keeps the local time of day.
    fn add(
        &self,
        at: &ArrayRef,
        n: &ArrayRef,
        return_type: &DataType,
        shift: impl Fn(i64, i64) -> i64,
    ) -> Result<ArrayRef> {
        let n = n.as_primitive::<Int64Type>();
        if let DataType::Date32 = at.data_type() {
            let moved = at.as_primitive::<Date32Type>().iter().zip(n).map(|(days, n)| {
                let days = shift(days?.into(), n?);
                let in_range = (INSTANT_MS_MIN / DAY_MS..=INSTANT_MS_MAX / DAY_MS).contains(&days);
                i32::try_from(days).ok().filter(|_| in_range)
            });
            return Ok(Arc::new(moved.collect::<Date32Array>()));
        }
        let Instants { values, nulls, zone } = instants(at, self.zone)?;
        let nulls = NullBuffer::union(nulls.as_ref(), n.nulls());
        let (mut clock, mut target) = (Clock::new(zone), Clock::new(zone));
        let moved = values.iter().zip(n.values()).enumerate().map(|(row, (instant, n))| {
            if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                return None;
            }
            if *n == 0 {
                // The later of two equal clock times stays what it is.
                return Some(*instant);
            }
            let local = clock.local_ms(*instant);
            let days = shift(local.div_euclid(DAY_MS), *n);
            let local = days.saturating_mul(DAY_MS).saturating_add(local.rem_euclid(DAY_MS));
            let in_range = (INSTANT_MS_MIN..=INSTANT_MS_MAX).contains(&local);
            in_range.then(|| match target.steady_around(local) {
                Some((from, until, offset)) if from <= local - offset && local - offset < until => local - offset,
                _ => zone.first_instant_at(local),
            })
        });
        Ok(Arc::new(moved.collect::<TimestampMillisecondArray>().with_data_type(return_type.clone())))
    }
}

/// The local dates of instants.
pub(super) fn local_dates(instants: &Instants) -> Date32Array {
    let mut clock = Clock::new(instants.zone);
    // Instants lie in the years 1 to 9999, whose days fit into 32 bits.
    let days: Vec<i32> = instants.values.iter().map(|t| clock.local_ms(*t).div_euclid(DAY_MS) as i32).collect();
    Date32Array::new(days.into(), instants.nulls.clone())
}

fn ages(birth: &Date32Array, at: &Date32Array) -> Result<Int64Array> {
    let nulls = NullBuffer::union(birth.nulls(), at.nulls());
    let age = |(birth, at): (&i32, &i32)| {
        let (birth, at) = (Date::from_days((*birth).into()), Date::from_days((*at).into()));
        at.year() - birth.year() - i64::from((at.month(), at.day) < (birth.month(), birth.day))
    };
    Ok(Int64Array::try_new(birth.values().iter().zip(at.values()).map(age).collect(), nulls)?)
}

/// Writes local times as `YYYY-MM`; remembers the last month, which neighbours mostly share.
fn months(local_ms: impl ExactSizeIterator<Item = i64>, nulls: Option<NullBuffer>) -> Result<StringArray> {
    const LENGTH: usize = 7;
    let n_rows = local_ms.len();
    let mut text: Vec<u8> = Vec::with_capacity(n_rows * LENGTH);
    // Tells which local times lie in range; empty while all do.
    let mut known: Vec<bool> = Vec::new();
    let (mut from, mut until, mut month) = (0, 0, [b'0'; LENGTH]);
    for (row, local) in local_ms.enumerate() {
        if local < from || local >= until {
            let Date { month_idx, .. } = Date::from_days(local.div_euclid(DAY_MS));
            let first_ms = |month_idx| Date { month_idx, day: 1 }.to_days().saturating_mul(DAY_MS);
            (from, until) = (first_ms(month_idx), first_ms(month_idx + 1));
            month = month_text(month_idx);
        }
        if !(INSTANT_MS_MIN..=INSTANT_MS_MAX).contains(&local) {
            known.resize(row, true);
            known.push(false);
        }
        text.extend_from_slice(&month);
    }
    let nulls = if known.is_empty() {
        nulls
    } else {
        known.resize(n_rows, true);
        NullBuffer::union(nulls.as_ref(), Some(&NullBuffer::from(known)))
    };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(LENGTH, n_rows));
    Ok(StringArray::try_new(offsets, text.into(), nulls)?)
}

/// `YYYY-MM` of a month counted from January of year 0; any digits outside the years 0 to 9999.
fn month_text(month_idx: i64) -> [u8; 7] {
    let digit = |value: i64, power: i64| b'0' + (value / power).rem_euclid(10) as u8;
    let (year, month) = (month_idx.div_euclid(12), month_idx.rem_euclid(12) + 1);
    [digit(year, 1000), digit(year, 100), digit(year, 10), digit(year, 1), b'-', digit(month, 10), digit(month, 1)]
}

#[cfg(test)]
mod tests;
