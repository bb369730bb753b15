//! The settings of SQL that is asked of a running worker: what a query may take.
//!
//! Every one has an upper bound as well: what a query takes is taken from the pipeline beside it.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::{Args, value_parser};

use super::duration;
use crate::engine::QueryLimits;

/// How long a query may take: at least something, and less than the server waits for its answer (`server/door.rs`).
const TIME: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(50);
/// How long an epoch may be held up: well below the transaction's and the group session's timeouts.
const PAUSE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(10);

/// What a query may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of SQL that is asked of the worker")]
pub(super) struct SqlLimitArgs {
    /// How many queries are answered at a time; 0 turns SQL off
    #[arg(long, value_name = "N", env = "CURB_SQL_MAX_RUNNING", default_value = "2", value_parser = value_parser!(u32).range(0..=64))]
    sql_max_running: u32,
    /// From question to answer, as 20s; 50s at most
    #[arg(long, value_name = "DURATION", env = "CURB_SQL_MAX_TIME", default_value = "20s", value_parser = time)]
    sql_max_time: Duration,
    /// Bytes of a query's text
    #[arg(long, value_name = "BYTES", env = "CURB_SQL_MAX_LENGTH", default_value = "32768", value_parser = value_parser!(u32).range(1..=60_000))]
    sql_max_length: u32,
    /// Rows of an answer
    #[arg(long, value_name = "N", env = "CURB_SQL_MAX_ROWS", default_value = "10000", value_parser = value_parser!(u32).range(1..=1_000_000))]
    sql_max_rows: u32,
    /// MiB of an answer
    #[arg(long, value_name = "MIB", env = "CURB_SQL_MAX_ANSWER_MIB", default_value = "32", value_parser = value_parser!(u32).range(1..=128))]
    sql_max_answer_mib: u32,
    /// MiB of memory for the query, and as many again for the views that it reads
    #[arg(long, value_name = "MIB", env = "CURB_SQL_MAX_MEMORY_MIB", default_value = "512", value_parser = value_parser!(u32).range(1..=65_536))]
    sql_max_memory_mib: u32,
    /// Rows that are copied from the worker's state for a query
    #[arg(long, value_name = "N", env = "CURB_SQL_MAX_ROWS_READ", default_value = "5000000", value_parser = value_parser!(u32).range(1..=1_000_000_000))]
    sql_max_rows_read: u32,
    /// MiB of them
    #[arg(long, value_name = "MIB", env = "CURB_SQL_MAX_READ_MIB", default_value = "512", value_parser = value_parser!(u32).range(1..=65_536))]
    sql_max_read_mib: u32,
    /// How long the next epoch may be held up while they are copied, as 1s; 10s at most
    #[arg(long, value_name = "DURATION", env = "CURB_SQL_MAX_PAUSE", default_value = "1s", value_parser = pause)]
    sql_max_pause: Duration,
}

impl SqlLimitArgs {
    /// The limits.
    pub(super) fn limits(&self) -> QueryLimits {
        let mib = |n: u32| (n as usize) << 20;
        QueryLimits {
            sql_bytes: self.sql_max_length as usize,
            rows: self.sql_max_rows as usize,
            answer_bytes: mib(self.sql_max_answer_mib),
            rows_read: self.sql_max_rows_read as usize,
            bytes_read: mib(self.sql_max_read_mib),
            hold_up: self.sql_max_pause,
            memory: mib(self.sql_max_memory_mib),
            time: self.sql_max_time,
            running: self.sql_max_running as usize,
        }
    }
}

fn time(text: &str) -> Result<Duration, String> {
    within(text, &TIME)
}

fn pause(text: &str) -> Result<Duration, String> {
    within(text, &PAUSE)
}

fn within(text: &str, bounds: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let found = duration::parse(text)?;
    let (least, most) = (bounds.start(), bounds.end());
    if bounds.contains(&found) { Ok(found) } else { Err(format!("it must be from {least:?} to {most:?}")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Given {
        #[command(flatten)]
        sql: SqlLimitArgs,
    }

    fn given(flags: &[&str]) -> Result<QueryLimits, String> {
        let args = ["run"].iter().chain(flags);
        Given::try_parse_from(args).map(|given| given.sql.limits()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_is_the_default_of_the_engine() {
        assert_eq!(given(&[]).unwrap(), QueryLimits::default());
    }

    #[test]
    fn each_flag_sets_its_limit_within_bounds() {
        let all = QueryLimits::default();
        for (flag, value, expected) in [
            ("--sql-max-running", "0", QueryLimits { running: 0, ..all }),
            ("--sql-max-time", "1500ms", QueryLimits { time: Duration::from_millis(1500), ..all }),
            ("--sql-max-length", "100", QueryLimits { sql_bytes: 100, ..all }),
            ("--sql-max-rows", "7", QueryLimits { rows: 7, ..all }),
            ("--sql-max-answer-mib", "1", QueryLimits { answer_bytes: 1 << 20, ..all }),
            ("--sql-max-memory-mib", "4096", QueryLimits { memory: 4 << 30, ..all }),
            ("--sql-max-rows-read", "9", QueryLimits { rows_read: 9, ..all }),
            ("--sql-max-read-mib", "3", QueryLimits { bytes_read: 3 << 20, ..all }),
            ("--sql-max-pause", "20ms", QueryLimits { hold_up: Duration::from_millis(20), ..all }),
        ] {
            assert_eq!(given(&[flag, value]).unwrap(), expected, "{flag}");
        }
        for (flag, value, reason) in [
            ("--sql-max-running", "65", "0..=64"),
            ("--sql-max-time", "51s", "from 10ms to 50s"),
            ("--sql-max-time", "0s", "from 10ms to 50s"),
            ("--sql-max-time", "soon", "as 10s"),
            ("--sql-max-length", "60001", "1..=60000"),
            ("--sql-max-rows", "0", "1..=1000000"),
            ("--sql-max-answer-mib", "129", "1..=128"),
            ("--sql-max-memory-mib", "0", "1..=65536"),
            ("--sql-max-rows-read", "0", "1..=1000000000"),
            ("--sql-max-read-mib", "0", "1..=65536"),
            ("--sql-max-pause", "1m", "from 1ms to 10s"),
        ] {
            let refused = given(&[flag, value]).unwrap_err();
            assert!(refused.contains(flag) && refused.contains(reason), "{flag}={value}: {refused}");
        }
    }
}
