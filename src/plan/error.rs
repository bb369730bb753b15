//! Why a query was not planned, before it becomes a finding with a position.

use std::ops::ControlFlow;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser;
use datafusion::sql::sqlparser::ast::{Expr, Spanned, Visit, Visitor};

use crate::catalog::QueryDefinition;
use crate::dialect::{Diagnostic, Span};
use crate::operators::OperatorError;

/// A refusal of ours, or an error of DataFusion.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    /// What cannot be streamed, with code, reason and the rewrite that would work.
    #[error("{message}")]
    Refused { code: &'static str, message: String, hint: String, at: Option<datafusion::common::Span> },
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
    Err(PlanError::Refused { code, message: message.into(), hint: hint.into(), at: None })
}

/// Refuses a query as [`refuse`] does, at the place of the columns that expressions read, if that is known.
pub(super) fn refuse_at<'e, T>(
    exprs: impl Iterator<Item = &'e datafusion::logical_expr::Expr>,
    code: &'static str,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Result<T> {
    let columns = exprs.flat_map(|e| e.column_refs());
    let at = columns.filter_map(|c| c.spans.first()).reduce(|a, b| a.union(&b));
    Err(PlanError::Refused { code, message: message.into(), hint: hint.into(), at })
}

impl PlanError {
    /// Turns the error into a finding about a definition.
    ///
    /// `relations` are the names that the pack declares, for suggestions.
    pub(super) fn into_diagnostic(self, definition: &QueryDefinition, relations: &[String]) -> Diagnostic {
        match self {
            Self::Refused { code, message, hint, at } => {
                Diagnostic::new(code, place(definition, at), message).hint(hint)
            }
            Self::Operator(error) => Diagnostic::new("C0290", definition.span, error.to_string()),
            Self::DataFusion(error) => from_datafusion(&error, definition, relations),
        }
    }
}

/// Where something of a definition stands; the definition itself where that is not known, or lies in another one that was put
/// in its place.
fn place(definition: &QueryDefinition, at: Option<datafusion::common::Span>) -> Span {
    let whole = definition.query.span();
    let is_within = |at: &datafusion::common::Span| {
        let position = |of: datafusion::common::Location| (of.line, of.column);
        (whole.start.line, whole.start.column) <= position(at.start)
            && position(at.end) <= (whole.end.line, whole.end.column)
    };
    at.filter(is_within).map_or(definition.span, |at| Span {
        file: definition.file,
        line: at.start.line,
        column: at.start.column,
        end_line: at.end.line,
        end_column: at.end.column,
    })
}

/// A column that none of the relations read has.
pub const UNKNOWN_COLUMN: &str = "C0201";
/// A relation that the pack does not declare.
pub const UNKNOWN_RELATION: &str = "C0202";
const UNKNOWN_FUNCTION: &str = "C0203";
const WRONG_ARGUMENTS: &str = "C0206";

/// The stable code of each other kind of message that DataFusion's planner gives, by a part of its text.
const CODES: [(&str, &str); 5] = [
    ("GROUP BY", "C0204"),
    ("coerc", "C0205"),
    ("Cannot infer common argument type", "C0205"),
    ("ambiguous", "C0207"),
    ("UNION", "C0208"),
];

fn from_datafusion(error: &DataFusionError, definition: &QueryDefinition, relations: &[String]) -> Diagnostic {
    let found = error.diagnostic();
    let text = error.strip_backtrace();
    let span = found.and_then(|d| d.span).map(|s| Span {
        file: definition.file,
        line: s.start.line,
        column: s.start.column,
        end_line: s.end.line,
        end_column: s.end.column,
    });
    if let Some(finding) = unknown_name(error, span.unwrap_or(definition.span), relations) {
        return finding;
    }
    if let Some(finding) = wrong_function(&text, span, definition) {
        return finding;
    }
    let message = found.map_or_else(|| plain(&text).to_owned(), |d| d.message.clone());
    let code = CODES.iter().find(|(part, _)| text.contains(part)).map_or("C0200", |(_, code)| code);
    let finding = Diagnostic::new(code, span.unwrap_or(definition.span), lower_first(&message));
    match found.and_then(|d| d.helps.first()) {
        Some(help) => finding.hint(help.message.clone()),
        None => finding,
    }
}

/// The first line of a message without DataFusion's own headings.
fn plain(text: &str) -> &str {
    let headings = [
        "type_coercion",
        "caused by",
        "Error during planning: ",
        "Schema error: ",
        "This feature is not implemented: ",
        "SQL error: ",
        "Internal error: ",
    ];
    let lines = text.lines().map(str::trim);
    let line = lines.into_iter().find(|line| !headings[..2].contains(line)).unwrap_or_default();
    headings.iter().fold(line, |line, heading| line.strip_prefix(heading).unwrap_or(line))
}

/// A column or relation that does not exist, with the one that was probably meant.
fn unknown_name(error: &DataFusionError, span: Span, relations: &[String]) -> Option<Diagnostic> {
    if let DataFusionError::SchemaError(schema, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref()
    {
        let known: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).collect();
        let finding = Diagnostic::new(UNKNOWN_COLUMN, span, format!("column `{}` does not exist", field.name));
        return Some(finding.hint(suggest(&field.name, &known, "Columns here are")));
    }
    let message = error.diagnostic()?.message.clone();
    let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    let known: Vec<&str> = relations.iter().map(String::as_str).filter(|r| !r.contains(['.', '('])).collect();
    let finding = Diagnostic::new(UNKNOWN_RELATION, span, format!("relation `{name}` does not exist"));
    Some(finding.hint(suggest(name, &known, "The pack declares")))
}

/// The name that is most like a word, else all of them.
fn suggest(word: &str, known: &[&str], all: &str) -> String {
    let near = known.iter().map(|k| (strsim::damerau_levenshtein(word, k), k)).min();
    match near {
        Some((distance, name)) if distance <= 1 + word.len() / 4 => format!("Did you mean `{name}`?"),
        _ => format!("{all} {}.", known.join(", ")),
    }
}

/// A function that does not exist, or that does not take what it was given; the place is that of the call.
fn wrong_function(text: &str, span: Option<Span>, definition: &QueryDefinition) -> Option<Diagnostic> {
    let quoted = |after: &str| text.split_once(after)?.1.split_once('\'').map(|(name, _)| name.to_owned());
    if let Some(name) = quoted("Invalid function '") {
        let span = span.unwrap_or_else(|| call_of(definition, &name));
        let finding = Diagnostic::new(UNKNOWN_FUNCTION, span, format!("function `{name}` does not exist"));
        let guess = quoted("Did you mean '").map(|guess| format!("Did you mean `{guess}`?"));
        return Some(
            finding.hint(guess.unwrap_or_else(|| "Functions are those of DataFusion and the calendar.".into())),
        );
    }
    let name = quoted("unction '")?;
    let about_arguments = ["signature", "requires", "expects", "expected", "coerce", "arguments"];
    if !about_arguments.iter().any(|word| text.contains(word)) {
        return None;
    }
    let given = text.split_once("but received ").map(|(_, rest)| rest.split(" (DataType").next().unwrap_or(rest));
    let takes: Vec<&str> = text.split(" requires ").skip(1).filter_map(|part| part.split([',', '.']).next()).collect();
    let hint = match (given, takes.is_empty()) {
        (Some(given), false) => format!("It was given {given}; it takes {}: cast the argument.", takes.join(", ")),
        _ => plain(text).to_owned(),
    };
    let message = format!("function `{name}` does not take these arguments");
    Some(Diagnostic::new(WRONG_ARGUMENTS, span.unwrap_or_else(|| call_of(definition, &name)), message).hint(hint))
}

/// Where a query calls a function.
fn call_of(definition: &QueryDefinition, name: &str) -> Span {
    struct Find<'a>(&'a str, Option<sqlparser::tokenizer::Span>);
    impl Visitor for Find<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(f) if f.name.to_string().eq_ignore_ascii_case(self.0) => {
                    self.1 = Some(f.name.span());
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let mut find = Find(name, None);
    let _ = Visit::visit(&definition.query, &mut find);
    find.1.map_or(definition.span, |span| Span::of(definition.file, span))
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
