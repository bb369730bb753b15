//! A calendar of working days as one compact value: which days it covers, and which of these are worked.
//!
//! The bytes hold runs of days that follow one another without a gap, and in each run the days that are not as weeks usually
//! are, Monday to Friday worked. Three years of a country take about a hundred bytes, so the value may be joined to every row.
//! Equal calendars have equal bytes.

/// The first byte: the version of the form.
const VERSION: u8 = 1;
/// No calendar has more days: those of the years 1 to 9999.
const DAYS_MAX: u64 = 3_652_059;

/// Days (since 1970-01-01) of which is known whether they are worked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WorkingCalendar {
    /// The days covered, as runs from a day to before another, ascending and apart.
    runs: Vec<(i32, i32)>,
    /// The working days, ascending.
    working: Vec<i32>,
}

impl WorkingCalendar {
    /// A calendar of days in ascending order, each once.
    pub fn new(days: impl IntoIterator<Item = (i32, bool)>) -> Self {
        let mut calendar = Self::default();
        for (day, is_worked) in days {
            match calendar.runs.last_mut() {
                Some((_, end)) if *end == day => *end = day.saturating_add(1),
                _ => calendar.runs.push((day, day.saturating_add(1))),
            }
            if is_worked {
                calendar.working.push(day);
            }
        }
        calendar
    }

    /// Whether it covers no day.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The run that covers a day.
    fn run_of(&self, day: i32) -> Option<(i32, i32)> {
        let idx = self.runs.partition_point(|(_, end)| *end <= day);
        self.runs.get(idx).copied().filter(|(start, _)| *start <= day)
    }

    /// The n-th working day after a day, before it if n is negative; none if it does not cover all days on the way.
    pub fn add(&self, day: i32, n: i64) -> Option<i32> {
        if n == 0 {
            return Some(day);
        }
        let steps = usize::try_from(n.unsigned_abs()).ok()?;
        if n > 0 {
            let (_, end) = self.run_of(day.checked_add(1)?)?;
            let after = self.working.partition_point(|d| *d <= day);
            let found = *self.working.get(after.checked_add(steps - 1)?)?;
            return (found < end).then_some(found);
        }
        let (start, _) = self.run_of(day.checked_sub(1)?)?;
        let before = self.working.partition_point(|d| *d < day);
        let found = *self.working.get(before.checked_sub(steps)?)?;
        (found >= start).then_some(found)
    }

    /// The number of working days after one day up to another, negative backwards; none if it does not cover all of them.
    pub fn between(&self, from: i32, to: i32) -> Option<i64> {
        if from == to {
            return Some(0);
        }
        let (low, high) = (from.min(to), from.max(to));
        let (_, end) = self.run_of(low.checked_add(1)?)?;
        let until = |day: i32| self.working.partition_point(|d| *d <= day);
        let count = i64::try_from(until(high) - until(low)).ok()?;
        (high < end).then_some(if from < to { count } else { -count })
    }

    /// The calendar as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let mut working = self.working.iter().copied().peekable();
        let mut last = 0i64;
        for (start, end) in &self.runs {
            write_signed(&mut bytes, i64::from(*start) - last);
            write(&mut bytes, i64::from(*end).abs_diff(i64::from(*start)));
            last = (*end).into();
            let mut exceptions = Vec::new();
            for day in *start..*end {
                let is_worked = working.next_if_eq(&day).is_some();
                if is_worked != is_weekday(day) {
                    exceptions.push(day);
                }
            }
            write(&mut bytes, exceptions.len() as u64);
            let mut previous = *start;
            for day in exceptions {
                write(&mut bytes, u64::from(day.abs_diff(previous)));
                previous = day;
            }
        }
        bytes
    }

    /// Reads what [`WorkingCalendar::encode`] wrote; none if the bytes are not such.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let mut calendar = Self::default();
        let mut last = 0i64;
        let mut n_days = 0u64;
        while !rest.is_empty() {
            let start = last.checked_add(read_signed(&mut rest)?)?;
            let length = read(&mut rest)?;
            n_days = n_days.checked_add(length).filter(|n| *n <= DAYS_MAX)?;
            let end = start.checked_add(i64::try_from(length).ok()?)?;
            let run = (i32::try_from(start).ok()?, i32::try_from(end).ok()?);
            let is_behind = calendar.runs.last().is_none_or(|(_, end)| *end < run.0);
            if length == 0 || !is_behind {
                return None;
            }
            let mut exceptions = Vec::new();
            let mut day = start;
            for _ in 0..read(&mut rest)?.min(length) {
                day = day.checked_add(i64::try_from(read(&mut rest)?).ok()?).filter(|d| *d < end)?;
                exceptions.push(i32::try_from(day).ok()?);
            }
            let mut exceptions = exceptions.into_iter().peekable();
            let is_worked = |day: &i32| is_weekday(*day) != exceptions.next_if_eq(day).is_some();
            calendar.working.extend((run.0..run.1).filter(is_worked));
            calendar.runs.push(run);
            last = end;
        }
        Some(calendar)
    }
}

/// Monday to Friday; 1970-01-01 was a Thursday.
fn is_weekday(day: i32) -> bool {
    (i64::from(day) + 3).rem_euclid(7) < 5
}

/// Appends a number in groups of seven bits, the lowest first (LEB128).
fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write_signed(out: &mut Vec<u8>, value: i64) {
    write(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn read_signed(bytes: &mut &[u8]) -> Option<i64> {
    let value = read(bytes)?;
    Some((value >> 1) as i64 ^ -((value & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days with gaps, as likely worked as not.
    fn random(rng: &mut fastrand::Rng) -> (WorkingCalendar, Vec<(i32, bool)>) {
        let mut day = rng.i32(-30_000..30_000);
        let mut days = Vec::new();
        for _ in 0..rng.usize(0..60) {
            day += if rng.u32(0..12) == 0 { rng.i32(2..400) } else { 1 };
            let usual = rng.u32(0..3) > 0;
            days.push((day, if usual { is_weekday(day) } else { rng.bool() }));
        }
        (WorkingCalendar::new(days.iter().copied()), days)
    }

    /// Day by day.
    fn walk(days: &[(i32, bool)], from: i32, n: i64) -> Option<i32> {
        let (mut day, mut left) = (from, n);
        while left != 0 {
            day += n.signum() as i32;
            let (_, is_worked) = days.iter().find(|(d, _)| *d == day)?;
            left -= if *is_worked { n.signum() } else { 0 };
        }
        Some(day)
    }

    #[test]
    fn random_calendars_are_those_that_were_written_and_answer_as_a_walk_does() {
        let mut rng = fastrand::Rng::with_seed(11);
        for case in 0..500 {
            let (calendar, days) = random(&mut rng);
            let bytes = calendar.encode();
            assert_eq!(WorkingCalendar::decode(&bytes).as_ref(), Some(&calendar), "case {case}");
            let Some((first, _)) = days.first() else { continue };
            for _ in 0..40 {
                let (from, n) = (first + rng.i32(-3..80), rng.i64(-9..10));
                assert_eq!(calendar.add(from, n), walk(&days, from, n), "case {case}: {from} {n} {days:?}");
                let to = from + rng.i32(-20..20);
                let (low, high) = (from.min(to), from.max(to));
                let on_the_way: Vec<_> = days.iter().filter(|(d, _)| low < *d && *d <= high).collect();
                let count = on_the_way.iter().filter(|(_, is_worked)| *is_worked).count() as i64;
                let expected =
                    (on_the_way.len() as i32 == high - low).then_some(if from <= to { count } else { -count });
                assert_eq!(calendar.between(from, to), expected, "case {case}: {from} {to} {days:?}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_calendar_are_none_and_never_a_panic() {
        let calendar = WorkingCalendar::new((20_000..21_000).filter(|d| d % 100 != 0).map(|d| (d, d % 3 == 0)));
        let bytes = calendar.encode();
        let mut rng = fastrand::Rng::with_seed(5);
        for end in 0..bytes.len() {
            let _ = WorkingCalendar::decode(&bytes[..end]);
        }
        for _ in 0..20_000 {
            let mut bytes = bytes.clone();
            for _ in 0..rng.usize(1..4) {
                let at = rng.usize(0..bytes.len().min(40));
                bytes[at] = rng.u8(..);
            }
            if let Some(read) = WorkingCalendar::decode(&bytes) {
                read.add(20_500, 3);
                read.between(i32::MIN, i32::MAX);
                read.add(i32::MAX, i64::MAX);
                read.add(i32::MIN, i64::MIN);
            }
        }
        assert_eq!(WorkingCalendar::decode(&[]), None);
        assert_eq!(WorkingCalendar::decode(&[2]), None);
        assert_eq!(WorkingCalendar::decode(&[VERSION]), Some(WorkingCalendar::default()));
    }

    #[test]
    fn a_usual_year_is_small() {
        assert!(WorkingCalendar::new((20_000..20_365).map(|d| (d, is_weekday(d)))).encode().len() < 10);
    }
}
