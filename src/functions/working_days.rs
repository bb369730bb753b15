//! Working days: a calendar as one value, and dates counted by it.
//!
//! Which days are worked is content of a table, so the calendar is an argument like any other: the aggregate
//! `working_calendar(day, working)` makes one value of the table, which is joined to the rows that need it. So a corrected
//! calendar moves what was counted by it, as any corrected table does. What the calendar does not cover has no answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Int64Array, StructArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit};
use chrono_tz::Tz;
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{column, dates, documentation, evaluate, instant_type, instants};
use super::civil::DAY_MS;
use super::memo::Memo;
use super::working_calendar::WorkingCalendar;
use super::zone::{INSTANT_MS_MAX, INSTANT_MS_MIN, Zone};

/// `add_working_days` and `working_days_between`.
pub(super) fn functions(zone: Tz) -> Vec<ScalarUDF> {
    let add = documentation(
        "Calendar",
        "add_working_days(calendar, ts, n)",
        "The end (24:00 local) of the n-th working day after the local day of a TIMESTAMP, as TIMESTAMP WITH TIME ZONE; the n-th \
         working day after a DATE, as DATE. Before it if n is negative, the day itself if n is 0. The calendar is what \
         working_calendar(day, working) yields; where it may be left out, it is made of the table `calendar`. Null for null, and \
         where the calendar does not hold every day on the way: a missing year is never guessed.",
    );
    let between = documentation(
        "Calendar",
        "working_days_between(calendar, a, b)",
        "The number of working days after the local day of a, up to and including that of b, both DATE or TIMESTAMP, as BIGINT; \
         negative if b is earlier. The calendar as in add_working_days. Null for null, and where the calendar does not hold every \
         day between them.",
    );
    [("add_working_days", Function::Add, add), ("working_days_between", Function::Between, between)]
        .map(|(name, function, documentation)| {
            let signature = Signature::user_defined(Volatility::Immutable);
            ScalarUDF::new_from_impl(WorkingDays { name, function, zone, signature, documentation })
        })
        .into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    Add,
    Between,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WorkingDays {
    name: &'static str,
    function: Function,
    zone: Tz,
    signature: Signature,
    documentation: Documentation,
}

impl WorkingDays {
    /// The type in which a date or an instant is taken.
    fn day_argument(&self, given: &DataType) -> Option<DataType> {
        match given {
            DataType::Timestamp(..) => Some(given.clone()),
            DataType::Date32 | DataType::Date64 => Some(DataType::Date32),
            DataType::Null => Some(DataType::Timestamp(TimeUnit::Millisecond, Some(self.zone.name().into()))),
            _ => None,
        }
    }
}

impl ScalarUDFImpl for WorkingDays {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let calendar = |given: &DataType| match given {
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::Null => Some(DataType::Binary),
            _ => None,
        };
        let integer = |given: &DataType| (given.is_integer() || *given == DataType::Null).then_some(DataType::Int64);
        let taken: Option<Vec<DataType>> = match (self.function, types) {
            (Function::Add, [by, at, n]) => [calendar(by), self.day_argument(at), integer(n)].into_iter().collect(),
            (Function::Between, [by, from, to]) => {
                [calendar(by), self.day_argument(from), self.day_argument(to)].into_iter().collect()
            }
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
        match (self.function, types.get(1)) {
            (Function::Between, _) => Ok(DataType::Int64),
            (Function::Add, Some(DataType::Date32)) => Ok(DataType::Date32),
            (Function::Add, at) => instant_type(at, self.zone),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        evaluate(&args, |columns| {
            let Some(by) = column(columns, 0)?.as_binary_opt::<i32>() else {
                return exec_err!("{}: the calendar is not a value of working_calendar", self.name);
            };
            match self.function {
                Function::Add => self.add(by, column(columns, 1)?, column(columns, 2)?, args.return_type()),
                Function::Between => self.between(by, column(columns, 1)?, column(columns, 2)?),
            }
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

impl WorkingDays {
    fn add(&self, by: &BinaryArray, at: &ArrayRef, n: &ArrayRef, return_type: &DataType) -> Result<ArrayRef> {
        let (days, n) = (dates(at, self.zone)?, n.as_primitive::<Int64Type>());
        let mut calendars = Calendars::default();
        let added = (0..days.len()).map(|row| {
            let is_known = by.is_valid(row) && days.is_valid(row) && n.is_valid(row);
            let calendar = if is_known { calendars.get(by.value(row)) } else { None };
            calendar?.add(days.value(row), n.value(row))
        });
        if *return_type == DataType::Date32 {
            return Ok(Arc::new(added.collect::<Date32Array>()));
        }
        let zone = instants(at, self.zone)?.zone;
        let mut ends = DayEnds { zone, last: None };
        let ends = added.map(|day| day.and_then(|day| ends.of(day)));
        Ok(Arc::new(ends.collect::<TimestampMillisecondArray>().with_data_type(return_type.clone())))
    }

    fn between(&self, by: &BinaryArray, from: &ArrayRef, to: &ArrayRef) -> Result<ArrayRef> {
        let (from, to) = (dates(from, self.zone)?, dates(to, self.zone)?);
        let mut calendars = Calendars::default();
        let counts = (0..from.len()).map(|row| {
            let is_known = by.is_valid(row) && from.is_valid(row) && to.is_valid(row);
            let calendar = if is_known { calendars.get(by.value(row)) } else { None };
            calendar?.between(from.value(row), to.value(row))
        });
        Ok(Arc::new(counts.collect::<Int64Array>()))
    }
}

/// The calendar of one group of (day, working), as a binary array of one row: the aggregate `working_calendar`.
pub(super) fn calendar_of_group(rows: &StructArray, counts: &[i64]) -> Result<ArrayRef> {
    let days = rows.columns().first().and_then(|c| c.as_primitive_opt::<Date32Type>());
    let worked = rows.columns().get(1).and_then(|c| c.as_boolean_opt());
    let Some((days, worked)) = days.zip(worked) else {
        return exec_err!("working_calendar: the columns are not DATE and BOOLEAN");
    };
    // What is said of each day; none where that is not known or not one thing.
    let mut known: BTreeMap<i32, Option<bool>> = BTreeMap::new();
    for (row, count) in counts.iter().enumerate().take(days.len()) {
        if *count > 0 && days.is_valid(row) {
            let is_worked = worked.is_valid(row).then(|| worked.value(row));
            let said = known.entry(days.value(row)).or_insert(is_worked);
            if *said != is_worked {
                *said = None;
            }
        }
    }
    let calendar = WorkingCalendar::new(known.into_iter().filter_map(|(day, worked)| Some((day, worked?))));
    let bytes = (!calendar.is_empty()).then(|| calendar.encode());
    Ok(Arc::new(BinaryArray::from_iter([bytes])))
}

/// The calendars of a batch.
struct Calendars<'a>(Memo<'a, [u8], Option<WorkingCalendar>>);

impl Default for Calendars<'_> {
    fn default() -> Self {
        Self(Memo::new())
    }
}

impl<'a> Calendars<'a> {
    fn get(&mut self, bytes: &'a [u8]) -> Option<&WorkingCalendar> {
        self.0.get(bytes, WorkingCalendar::decode)?.as_ref()
    }
}

/// The ends of local days: neighbours mostly share one.
struct DayEnds {
    zone: Zone,
    last: Option<(i32, Option<i64>)>,
}

impl DayEnds {
    /// The instant at which a day ends; none outside the years 1 to 9999.
    fn of(&mut self, day: i32) -> Option<i64> {
        match self.last {
            Some((last, end)) if last == day => end,
            _ => {
                let end = self.zone.first_instant_at((i64::from(day) + 1) * DAY_MS);
                let end = (INSTANT_MS_MIN..=INSTANT_MS_MAX).contains(&end).then_some(end);
                self.last = Some((day, end));
                end
            }
        }
    }
}

#[cfg(test)]
mod tests;
