//! Why a query was not planned, before it becomes a finding with a position.

use datafusion::error::DataFusionError;

use crate::catalog::QueryDefinition;
use crate::dialect::{Diagnostic, Span};
use crate::operators::OperatorError;

/// A refusal of ours, or an error of DataFusion.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// What cannot be streamed, with code, reason and the rewrite that would work.
    #[error("{message}")]
    Refused { code: &'static str, message: String, hint: String },
    /// DataFusion's word, with a span where it knows one.
    #[error("{0}")]
    DataFusion(#[from] DataFusionError),
    /// An operator cannot be built as planned.
    #[error("{0}")]
    Operator(#[from] OperatorError),
}

impl From<arrow::error::ArrowError> for PlanError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::DataFusion(error.into())
    }
}

pub(super) type Result<T> = std::result::Result<T, PlanError>;

/// Refuses a query: the code, the reason, and the rewrite that would work.
pub(super) fn refuse<T>(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Result<T> {
    Err(PlanError::Refused { code, message: message.into(), hint: hint.into() })
}

impl PlanError {
    /// Turns the error into a finding about a definition.
    pub(super) fn into_diagnostic(self, definition: &QueryDefinition) -> Diagnostic {
        match self {
            Self::Refused { code, message, hint } => Diagnostic::new(code, definition.span, message).hint(hint),
            Self::Operator(error) => Diagnostic::new("C0290", definition.span, error.to_string()),
            Self::DataFusion(error) => from_datafusion(&error, definition),
        }
    }
}

/// The stable code of each kind of message that DataFusion's planner gives.
const CODES: [(&str, &str); 8] = [
    ("column", "C0201"),
    ("No field named", "C0201"),
    ("table", "C0202"),
    ("Invalid function", "C0203"),
    ("function", "C0203"),
    ("GROUP BY", "C0204"),
    ("coerc", "C0205"),
    ("type", "C0205"),
];

fn from_datafusion(error: &DataFusionError, definition: &QueryDefinition) -> Diagnostic {
    let found = error.diagnostic();
    let span = found.and_then(|d| d.span).map_or(definition.span, |s| Span {
        file: definition.file,
        line: s.start.line,
        column: s.start.column,
        end_line: s.end.line,
        end_column: s.end.column,
    });
    let text = error.strip_backtrace();
    let first = text.lines().next().unwrap_or_default();
    let plain = ["Error during planning: ", "Schema error: ", "This feature is not implemented: ", "SQL error: "]
        .iter()
        .fold(first, |t, prefix| t.strip_prefix(prefix).unwrap_or(t));
    let message = found.map_or_else(|| plain.to_owned(), |d| d.message.clone());
    let code = CODES.iter().find(|(part, _)| text.contains(part)).map_or("C0200", |(_, code)| code);
    // DataFusion's list of valid fields and its "did you mean" are the remedy.
    let (message, hint) = match message.split_once(". Did you mean ").or_else(|| message.split_once(" Did you mean ")) {
        Some((message, guess)) => (message.to_owned(), Some(format!("Did you mean {guess}"))),
        None => (message, None),
    };
    let hint = hint
        .or_else(|| found.and_then(|d| d.helps.first().map(|h| h.message.clone())))
        .or_else(|| plain.split_once(". Valid fields are ").map(|(_, fields)| format!("Valid columns are {fields}")));
    let finding = Diagnostic::new(code, span, lower_first(&message));
    match hint {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

fn lower_first(message: &str) -> String {
    let trimmed = message.trim_end_matches('.');
    let mut chars = trimmed.chars();
    match (chars.next(), trimmed.chars().nth(1)) {
        // An abbreviation such as GROUP BY keeps its capitals.
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().collect::<String>() + chars.as_str()
        }
        _ => trimmed.to_owned(),
    }
}
