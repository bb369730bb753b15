//! Why a query was not answered, as a finding with a code, a place and a remedy.

use std::time::Duration;

use crate::dialect::{Diagnostic, Span};
use crate::engine::lookup::LookupError;
use crate::plan::TOO_MUCH;

/// Of what kind the trouble is: what a caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryTrouble {
    /// The query is wrong, or asks what may not be asked: ask another.
    Refused,
    /// It needs more than a query may have: ask for less.
    Limit,
    /// Others are being answered: ask again.
    Busy,
    /// The worker cannot answer yet: ask again later.
    NotReady,
    /// It took too long: ask for less.
    Time,
    /// Nobody waits for it any more.
    Cancelled,
    /// A defect of ours.
    Defect,
}

/// Why a query was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", finding.message)]
pub struct QueryError {
    /// Of what kind the trouble is.
    pub trouble: QueryTrouble,
    /// What is wrong, where, and what to do about it. The text of the query is file 0.
    pub finding: Box<Diagnostic>,
}

impl QueryError {
    pub(super) fn new(
        trouble: QueryTrouble,
        code: &'static str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { trouble, finding: Box::new(Diagnostic::new(code, Span::default(), message).hint(hint)) }
    }

    pub(super) fn at(mut self, span: Span) -> Self {
        self.finding.span = span;
        self
    }

    pub(super) fn limit(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(QueryTrouble::Limit, TOO_MUCH, message, hint)
    }

    pub(super) fn time(limit: Duration) -> Self {
        let message = format!("the query was ended after {}", seconds(limit));
        Self::new(
            QueryTrouble::Time,
            "C0611",
            message,
            "Ask for less: fewer relations, or columns that follow from less.",
        )
    }

    pub(super) fn cancelled() -> Self {
        Self::new(QueryTrouble::Cancelled, "C0612", "nobody waits for the answer any more", "Ask again.")
    }

    pub(super) fn busy(n_running: usize) -> Self {
        let message = format!("{n_running} queries are being answered already");
        Self::new(QueryTrouble::Busy, "C0613", message, "Ask again in a moment.")
    }

    pub(super) fn not_ready(why: &str) -> Self {
        Self::new(QueryTrouble::NotReady, "C0614", why, "Ask again when /api/status says that it is running.")
    }

    pub(super) fn off() -> Self {
        let message = "this worker answers no SQL: its operator has turned it off";
        Self::new(QueryTrouble::Refused, "C0615", message, "The setting is `max_running` in [sql], --sql-max-running.")
    }

    pub(super) fn defect(message: impl std::fmt::Display) -> Self {
        let hint =
            "The query is not to blame: this is a defect of Curb. Please report it, with the query and the pack.";
        Self::new(QueryTrouble::Defect, "C0690", message.to_string(), hint)
    }

    pub(super) fn of_lookup(error: LookupError, limits: &super::QueryLimits) -> Self {
        let fewer = "A query reads each relation that it follows from as a whole: ask for fewer relations and columns.";
        match error {
            LookupError::Loading => Self::not_ready("the worker is still reading its tables"),
            LookupError::Rows => {
                Self::limit(format!("the query would read more than {} rows of state", limits.rows_read), fewer)
            }
            LookupError::Bytes => {
                Self::limit(format!("the query would copy more than {} MiB of state", limits.bytes_read >> 20), fewer)
            }
            LookupError::Time(n_rows) => Self::limit(
                format!(
                    "the query would hold the pipeline up for more than {}: {n_rows} rows of state were copied by then",
                    seconds(limits.hold_up)
                ),
                fewer,
            ),
            LookupError::Failed(reason) => Self::defect(reason),
        }
    }
}

impl From<Box<Diagnostic>> for QueryError {
    fn from(finding: Box<Diagnostic>) -> Self {
        let trouble = if finding.code == TOO_MUCH { QueryTrouble::Limit } else { QueryTrouble::Refused };
        Self { trouble, finding }
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}
