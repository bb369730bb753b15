//! Why a query was not planned, before it becomes a finding with a position.

use std::ops::ControlFlow;

use datafusion::common::{Diagnostic as Diagnosed, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser;
use datafusion::sql::sqlparser::ast::{Expr, Select, SelectItem, Spanned, Visit, Visitor};

use super::rewrite::normalise;
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
    ///
    /// `relations` are the names that the pack declares, for suggestions.
    pub(super) fn into_diagnostic(self, definition: &QueryDefinition, relations: &[String]) -> Diagnostic {
        match self {
            Self::Refused { code, message, hint } => Diagnostic::new(code, definition.span, message).hint(hint),
            Self::Operator(error) => Diagnostic::new("C0290", definition.span, error.to_string()).hint(DEFECT),
            Self::DataFusion(error) => from_datafusion(&error, definition, relations),
        }
    }
}

/// What to do about a finding that no pack should be able to cause.
pub(super) const DEFECT: &str =
    "The rules are not to blame: this is a defect of Curb. Please report it, with the pack.";

/// A column that none of the relations read has.
pub const UNKNOWN_COLUMN: &str = "C0201";
/// A relation that the pack does not declare.
pub const UNKNOWN_RELATION: &str = "C0202";
const UNKNOWN_FUNCTION: &str = "C0203";
const WRONG_ARGUMENTS: &str = "C0206";

/// The stable code of each other kind of message that DataFusion's planner gives, by a part of its text.
const KINDS: [Kind; 11] = [
    Kind("not allowed in the WHERE clause", "C0209", "Ask it of the groups instead: HAVING stands behind GROUP BY."),
    Kind("GROUP BY", "C0204", "Add the column to GROUP BY, or aggregate it, as in max(column)."),
    Kind("Cannot infer common argument type", "C0205", "Cast one of the two sides, as in CAST(column AS BIGINT)."),
    Kind("coerc", "C0205", "Cast one of the two sides, as in CAST(column AS BIGINT)."),
    Kind("mbiguous", "C0207", "Say whose column it is: put the relation's name or alias and a dot before it."),
    Kind(
        "UNION",
        "C0208",
        "Give all sides the same number of columns, in one order; NULL AS name stands for one that is missing.",
    ),
    Kind("Error parsing", "C0210", CONSTANT),
    Kind("Cannot cast string", "C0210", CONSTANT),
    Kind("Cannot cast value", "C0210", CONSTANT),
    Kind(
        "Cannot access field",
        "C0211",
        "Only a STRUCT has fields. A dot behind a relation's name or alias asks for a column.",
    ),
    Kind(
        "nsupported CAST",
        "C0212",
        "Cast an element or a field instead, as in CAST(list[1] AS INT), or go by way of VARCHAR.",
    ),
];

const CONSTANT: &str = "Write the constant as the type takes it, as '2024-03-01T08:00:00+08:00', '2024-03-01' or 12.5.";

/// Arrow's names of types, as DataFusion's messages have them, and those of SQL.
const TYPES: [(&str, &str); 10] = [
    ("Utf8", "VARCHAR"),
    ("Int64", "BIGINT"),
    ("Int32", "INT"),
    ("Float64", "DOUBLE"),
    ("Float32", "REAL"),
    ("Date32", "DATE"),
    ("Boolean", "BOOLEAN"),
    ("List(VARCHAR)", "VARCHAR[]"),
    ("List(BIGINT)", "BIGINT[]"),
    ("List(INT)", "INT[]"),
];

/// What else DataFusion's planner refuses.
const OTHER: Kind = Kind(
    "",
    "C0200",
    "The reason is DataFusion's. Name the steps of the query with CREATE VIEW, and the message is about one of them.",
);

/// A part of a message of DataFusion, the code that it gets, and what to do about it.
struct Kind(&'static str, &'static str, &'static str);

fn from_datafusion(error: &DataFusionError, definition: &QueryDefinition, relations: &[String]) -> Diagnostic {
    let found = error.diagnostic();
    // What may fail for a row is tried, see `forgiving.rs`; the rule says CAST.
    let text = error.strip_backtrace().replace("TRY_CAST", "CAST");
    let span = found.and_then(|d| d.span).map(|s| Span {
        file: definition.file,
        line: s.start.line,
        column: s.start.column,
        end_line: s.end.line,
        end_column: s.end.column,
    });
    if let Some(finding) = unknown_name(error, span.unwrap_or(definition.span), relations) {
        return match error.find_root() {
            DataFusionError::SchemaError(schema, _) if names_alias(schema, definition) => finding.hint(
                "It is a name of the select list, which WHERE and ON do not know: repeat its expression there, or name the step with CREATE VIEW.",
            ),
            _ => finding,
        };
    }
    if let Some(finding) = wrong_bucket(&text, definition) {
        return finding;
    }
    if let Some(finding) = wrong_constant(&text, definition) {
        return finding;
    }
    if let Some(finding) = wrong_function(&text, span, definition) {
        return finding;
    }
    let is_told_better = |d: &&Diagnosed| d.message != "expressions have incompatible types";
    let message = found.filter(is_told_better).map_or_else(|| plain(&text).to_owned(), |d| d.message.clone());
    // What follows a full stop is DataFusion's own advice.
    let message = message.split(". ").next().unwrap_or_default();
    let kind = KINDS.iter().find(|kind| text.contains(kind.0) || message.contains(kind.0)).unwrap_or(&OTHER);
    Diagnostic::new(kind.1, span.unwrap_or(definition.span), lower_first(&in_sql(message))).hint(kind.2)
}

/// A message with the names that types have in SQL.
fn in_sql(message: &str) -> String {
    TYPES.iter().fold(message.to_owned(), |message, (arrow, sql)| message.replace(arrow, sql))
}

/// The same where kinds of types are named too.
fn kinds_in_sql(types: &str) -> String {
    let kinds = [("String", "VARCHAR"), ("Decimal", "DECIMAL"), ("Duration, Interval", "INTERVAL")];
    kinds.iter().fold(in_sql(types), |types, (kind, sql)| types.replace(kind, sql))
}

/// A width or time of a bucket that its function refuses.
fn wrong_bucket(text: &str, definition: &QueryDefinition) -> Option<Diagnostic> {
    let message = plain(text);
    let (name, reason) = message.split_once(": ")?;
    if !["tumble", "hop", "session"].contains(&name) {
        return None;
    }
    let code = if reason.contains("constant") { "C0424" } else { "C0427" };
    let hint = match name {
        "hop" => "Write hop(<event time>, INTERVAL '15 minutes', INTERVAL '1 hour').",
        _ => &format!("Write {name}(<event time>, INTERVAL '1 hour')."),
    };
    Some(Diagnostic::new(code, call_of(definition, name), message).hint(hint))
}

/// A constant for which one of our functions can never have an answer: `name(arguments): reason`.
fn wrong_constant(text: &str, definition: &QueryDefinition) -> Option<Diagnostic> {
    let (call, reason) = plain(text).split_once("): ")?;
    let (name, arguments) = call.split_once('(')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let message = format!("function `{name}` has no answer to these arguments: {reason}");
    is_name.then(|| {
        let hint = format!("The function is {name}({arguments}).");
        Diagnostic::new(WRONG_ARGUMENTS, call_of(definition, name), message).hint(hint)
    })
}

/// The first line of a message without DataFusion's own headings.
fn plain(text: &str) -> &str {
    let headings = [
        "Arrow error: ",
        "Parser error: ",
        "Cast error: ",
        "Execution error: ",
        "Error during planning: ",
        "Schema error: ",
        "This feature is not implemented: ",
        "SQL error: ",
        "Internal error: ",
        "Arrow error: ",
        "Cast error: ",
    ];
    // Before it stands which rule failed.
    let cause = text.rsplit("caused by\n").next().unwrap_or(text);
    let line = cause.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    headings.iter().fold(line, |line, heading| line.strip_prefix(heading).unwrap_or(line))
}

/// A column or relation that does not exist, with the one that was probably meant.
fn unknown_name(error: &DataFusionError, span: Span, relations: &[String]) -> Option<Diagnostic> {
    if let DataFusionError::SchemaError(schema, _) = error.find_root()
        && let SchemaError::FieldNotFound { field, valid_fields } = schema.as_ref()
    {
        let known: Vec<&str> = valid_fields.iter().map(|c| c.name.as_str()).collect();
        let finding = Diagnostic::new(UNKNOWN_COLUMN, span, format!("column `{field}` does not exist"));
        // Another relation may have it.
        if let Some(other) = valid_fields.iter().find(|c| c.name == field.name) {
            return Some(finding.hint(format!("Did you mean `{}`?", other.flat_name())));
        }
        return Some(finding.hint(suggest(&field.name, &known, "Columns here are")));
    }
    let message = error.diagnostic()?.message.clone();
    let name = message.strip_prefix("table '")?.strip_suffix("' not found")?;
    let known: Vec<&str> = relations.iter().map(String::as_str).filter(|r| !r.contains(['.', '('])).collect();
    let finding = Diagnostic::new(UNKNOWN_RELATION, span, format!("relation `{name}` does not exist"));
    Some(finding.hint(suggest(name, &known, "The pack declares")))
}

/// Whether a column that is not there is a name that the query gives to an expression.
fn names_alias(error: &SchemaError, definition: &QueryDefinition) -> bool {
    struct Aliases(Vec<String>);
    impl Visitor for Aliases {
        type Break = ();
        fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
            self.0.extend(select.projection.iter().filter_map(|item| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(normalise(alias)),
                _ => None,
            }));
            ControlFlow::Continue(())
        }
    }
    let mut aliases = Aliases(Vec::new());
    let _ = Visit::visit(&definition.query, &mut aliases);
    matches!(error, SchemaError::FieldNotFound { field, .. } if field.relation.is_none() && aliases.0.contains(&field.name))
}

/// So many names are listed as they are; of more, so many that are most like the word.
const NAMES_MAX: usize = 12;

/// The name that a word most likely means, else those that there are.
pub fn suggest(word: &str, known: &[&str], all: &str) -> String {
    let distance = |name: &str| strsim::damerau_levenshtein(word, name);
    match known.iter().map(|name| (distance(name), name)).min() {
        Some((distance, name)) if distance <= 1 + word.len() / 4 => return format!("Did you mean `{name}`?"),
        _ if known.len() <= NAMES_MAX => return format!("{all} {}.", known.join(", ")),
        _ => {}
    }
    let mut near = known.to_vec();
    let contains = |name: &str| name.contains(word) || word.contains(name);
    near.sort_by_key(|name| (!contains(name), distance(name)));
    near.truncate(NAMES_MAX);
    format!("{all} {} and {} more.", near.join(", "), known.len() - near.len())
}

/// A function that does not exist, or that does not take what it was given; the place is that of the call.
fn wrong_function(text: &str, span: Option<Span>, definition: &QueryDefinition) -> Option<Diagnostic> {
    let quoted = |after: &str| text.split_once(after)?.1.split_once('\'').map(|(name, _)| name.to_owned());
    if let Some(name) = quoted("Invalid function '") {
        let span = span.unwrap_or_else(|| call_of(definition, &name));
        let finding = Diagnostic::new(UNKNOWN_FUNCTION, span, format!("function `{name}` does not exist"));
        let guess = quoted("Did you mean '").map(|guess| format!("Did you mean `{guess}`?"));
        return Some(finding.hint(
            guess.unwrap_or_else(|| "Functions are those of DataFusion, and those that the README lists.".into()),
        ));
    }
    let name = quoted("unction '")?;
    let about_arguments = ["signature", "requires", "expects", "expected", "coerce", "coercion", "arguments"];
    if !about_arguments.iter().any(|word| text.contains(word)) {
        return None;
    }
    let given = text.split_once("but received ").map(|(_, rest)| rest.split(" (DataType").next().unwrap_or(rest));
    let takes: Vec<&str> = text.split(" requires ").skip(1).filter_map(|part| part.split([',', '.']).next()).collect();
    let hint = match (given, takes.is_empty()) {
        (Some(given), false) => {
            let takes = kinds_in_sql(&takes.join(", "));
            format!("It was given {}; it takes {takes}: cast the argument.", kinds_in_sql(given))
        }
        _ => of_signature(text, &name),
    };
    let message = format!("function `{name}` does not take these arguments");
    Some(Diagnostic::new(WRONG_ARGUMENTS, span.unwrap_or_else(|| call_of(definition, &name)), message).hint(hint))
}

/// What a function says of the arguments that it was given, without DataFusion's headings.
fn of_signature(text: &str, name: &str) -> String {
    let said = text.rsplit_once("Error during planning: ").map_or_else(|| plain(text), |(_, said)| said);
    let said = said.lines().next().unwrap_or_default();
    let said = said.split(". ").next().unwrap_or(said).trim_end_matches('.');
    match said.split_once(" cannot take ") {
        Some((takes, given)) => format!("It was given {}; it takes {takes}: cast the argument.", in_sql(given)),
        None if said.contains(name) => format!("{said}."),
        None => format!("{name}: {said}."),
    }
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
