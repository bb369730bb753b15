//! Options of `WITH (..)`, parsed into final types: which exist, where they apply, and how each value is read.

use datafusion::sql::sqlparser::ast;

use super::duration::{DurationError, parse_duration_ms, parse_rate};
use crate::dialect::{Diagnostic, OptionValue, PackOption, Span, codes};

/// Whose options they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    SourceStream,
    SourceTable,
    /// A view, derived stream or derived table.
    Query,
    Sink,
}

/// Every option, where it applies, and where it belongs if it is written elsewhere.
const OPTIONS: &[(&str, &[Owner], &str)] = {
    use Owner::{Query, Sink, SourceStream, SourceTable};
    &[
        (
            "topic",
            &[SourceStream, SourceTable, Sink],
            "sources and sinks; a derived relation is written by `CREATE SINK`",
        ),
        ("path", &[SourceStream, SourceTable], "sources"),
        ("watch", &[SourceTable], "source tables that are files"),
        ("format", &[SourceStream, SourceTable, Sink], "sources and sinks"),
        ("key_format", &[SourceTable, Sink], "source tables and sinks; the key of a stream is not looked at"),
        ("delimiter", &[SourceStream, SourceTable, Sink], "sources and sinks in format 'csv'"),
        ("null_literal", &[SourceStream, SourceTable, Sink], "sources and sinks in format 'csv'"),
        ("schema_file", &[SourceStream, SourceTable, Sink], "sources and sinks in Avro or Protobuf"),
        ("message", &[SourceStream, SourceTable, Sink], "sources and sinks in Protobuf"),
        ("missing_columns", &[SourceStream, SourceTable], "sources whose records have a schema"),
        ("epoch_unit", &[SourceTable], "source tables in format 'debezium-json'"),
        ("subject", &[Sink], "sinks whose schema is registered"),
        ("auto_register", &[Sink], "sinks whose schema is registered"),
        ("event_time", &[SourceStream, SourceTable], "sources; a query keeps the event time of what it reads"),
        ("watermark_delay", &[SourceStream, SourceTable], "sources; a query takes `allowed_lateness`"),
        ("idle_timeout", &[SourceStream, SourceTable], "sources"),
        ("retention", &[SourceTable], "source tables; state over a stream is dropped with its time bucket"),
        ("unique_for", &[SourceStream], "source streams; the key of a table is unique anyway"),
        ("max_future", &[SourceStream, SourceTable], "sources"),
        ("broadcast", &[SourceTable], "source tables"),
        ("valid_from", &[SourceTable], "source tables"),
        ("partitioned_by", &[SourceStream, SourceTable], "sources; the partition of a sink is chosen by `key`"),
        ("key", &[Sink], "sinks; the key of a table is declared as `PRIMARY KEY (..)`"),
        ("compression", &[Sink], "sinks; topics are read in any compression"),
        ("headers", &[Sink], "sinks"),
        ("allow_private", &[Sink], "sinks; a column of a source is marked `PRIVATE`"),
        ("mode", &[Sink], "sinks"),
        ("max_rate", &[Sink], "sinks"),
        ("settle", &[Sink], "sinks"),
        ("emit_time", &[Sink], "sinks"),
        ("count_by", &[Sink], "sinks"),
        ("allowed_lateness", &[Query, Sink], "queries; a source takes `watermark_delay`"),
        ("wait", &[Query, Sink], "queries that look rows of a stream up in a table"),
    ]
};

/// Reads the options of one statement, and collects what is wrong with them.
pub(super) struct OptionReader<'a> {
    /// Kind and name, as in ``table `captures` ``.
    pub(super) subject: &'a str,
    /// Whose they are.
    pub(super) owner: Owner,
    /// As written.
    pub(super) options: &'a [PackOption],
    /// Where findings go.
    pub(super) findings: &'a mut Vec<Diagnostic>,
}

impl<'a> OptionReader<'a> {
    /// Reports options that do not exist, do not apply, or are given twice.
    pub(super) fn check_names(&mut self) {
        for (i, option) in self.options.iter().enumerate() {
            let name = &option.name;
            let described = format!("option `{}`", short(&name.value));
            if let Some(first) = self.options.iter().take(i).find(|first| first.name.value == name.value) {
                self.findings.push(
                    Diagnostic::new(
                        codes::DUPLICATE_OPTION,
                        name.span,
                        format!("{described} of {} is given twice", self.subject),
                    )
                    .note(first.name.span, "first given here")
                    .hint("Keep one of the two."),
                );
                continue;
            }
            match OPTIONS.iter().find(|(known, ..)| *known == name.value) {
                Some((_, owners, _)) if owners.contains(&self.owner) => {}
                Some((_, _, place)) => self.findings.push(
                    Diagnostic::new(
                        codes::MISPLACED_OPTION,
                        name.span,
                        format!("{described} does not apply to {}", self.subject),
                    )
                    .hint(format!("It belongs to {place}.")),
                ),
                None => self.findings.push(self.unknown(option)),
            }
        }
    }

    fn unknown(&self, option: &PackOption) -> Diagnostic {
        let message = format!("option `{}` of {} does not exist", short(&option.name.value), self.subject);
        let here = || OPTIONS.iter().filter(|(_, owners, _)| owners.contains(&self.owner)).map(|(name, ..)| *name);
        let hint = match did_you_mean(&option.name.value, here()) {
            Some(name) => format!("Did you mean `{name}`?"),
            None => format!("It takes {}.", here().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
        };
        Diagnostic::new(codes::UNKNOWN_OPTION, option.name.span, message).hint(hint)
    }

    /// The option as written, if it is given and applies here.
    pub(super) fn given(&self, name: &str) -> Option<&'a PackOption> {
        let applies = OPTIONS.iter().any(|(known, owners, _)| *known == name && owners.contains(&self.owner));
        self.options.iter().find(|option| applies && option.name.value == name)
    }

    /// Reports that the value of an option cannot be read.
    pub(super) fn refuse(&mut self, option: &PackOption, reason: &str, hint: impl Into<String>) {
        let message = format!("option `{}` of {} {reason}", option.name.value, self.subject);
        self.findings.push(Diagnostic::new(codes::OPTION_VALUE, option.value_span, message).hint(hint));
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, name: &str) -> Option<(&'a str, Span)> {
        let option = self.given(name)?;
        match &option.value {
            OptionValue::Text(text) if text.trim().is_empty() => {
                self.refuse(option, "is empty", "Leave it out, or give it a value.");
                None
            }
            OptionValue::Text(text) => Some((text, option.value_span)),
            OptionValue::Number(_) | OptionValue::Boolean(_) => {
                self.refuse(option, "is not a text", "Put the value in single quotes.");
                None
            }
        }
    }

    /// `true` or `false`, also in quotes.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        let option = self.given(name)?;
        match &option.value {
            OptionValue::Boolean(value) => Some(*value),
            OptionValue::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            OptionValue::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            OptionValue::Text(_) | OptionValue::Number(_) => {
                self.refuse(option, "is neither true nor false", format!("Write `{name} = true` or `{name} = false`."));
                None
            }
        }
    }

    /// A duration in milliseconds.
    pub(super) fn duration_ms(&mut self, name: &str) -> Option<i64> {
        let option = self.given(name)?;
        match duration_ms(&option.value) {
            Ok(ms) => Some(ms),
            Err(error) => {
                self.refuse(option, &format!("is not a duration: {error}"), error.hint());
                None
            }
        }
    }

    /// A duration in milliseconds that is not zero.
    pub(super) fn positive_duration_ms(&mut self, name: &str) -> Option<i64> {
        let ms = self.duration_ms(name)?;
        let option = self.given(name)?;
        if ms == 0 {
            self.refuse(option, "is zero", "Give it a duration above zero, or leave it out.");
            return None;
        }
        Some(ms)
    }

    /// Rows and the milliseconds in which they may pass.
    pub(super) fn rate(&mut self, name: &str) -> Option<super::Rate> {
        let (text, _) = self.text(name)?;
        let option = self.given(name)?;
        match parse_rate(text) {
            Ok((0, _)) => {
                self.refuse(option, "is zero", "A sink that shall write nothing has `mode = 'shadow'`.");
                None
            }
            Ok((rows, per_ms)) => Some(super::Rate { rows, per_ms }),
            Err(error) => {
                self.refuse(option, &format!("is not a rate: {error}"), DurationError::NoPer.hint());
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&str, T)]) -> Option<T> {
        let (text, _) = self.text(name)?;
        if let Some((_, value)) = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
            return Some(*value);
        }
        let hint = match did_you_mean(text, choices.iter().map(|(word, _)| *word)) {
            Some(word) => format!("Did you mean '{word}'?"),
            None => {
                format!(
                    "Possible is {}.",
                    choices.iter().map(|(w, _)| format!("'{w}'")).collect::<Vec<_>>().join(" or ")
                )
            }
        };
        let option = self.given(name)?;
        self.refuse(option, &format!("cannot be '{}'", short(text)), hint);
        None
    }

    /// The topic; by default the relation's name with hyphens.
    pub(super) fn topic(&mut self, relation: &str, declared: Span) -> String {
        const RULE: &str = "Kafka allows 1 to 249 letters, digits, `.`, `_` and `-`, and neither '.' nor '..'.";
        if self.given("topic").is_none() {
            let topic = relation.replace('_', "-");
            if !is_topic(&topic) {
                let message = format!("{} has no option `topic`, and its name cannot be that of a topic", self.subject);
                self.findings.push(
                    Diagnostic::new(codes::OPTION_VALUE, declared, message)
                        .hint(format!("Name the topic: `WITH (topic = '..')`. {RULE}")),
                );
            }
            return topic;
        }
        let Some((topic, _)) = self.text("topic") else { return String::new() };
        if let (false, Some(option)) = (is_topic(topic), self.given("topic")) {
            self.refuse(option, "is not the name of a topic", RULE);
        }
        topic.to_owned()
    }

    /// Names of columns between commas, spelled as the columns are.
    pub(super) fn columns(&mut self, name: &str) -> Option<Vec<ast::Ident>> {
        let (text, span) = self.text(name)?;
        let option = self.given(name)?;
        let mut columns: Vec<ast::Ident> = Vec::new();
        for column in text.split(',').map(str::trim) {
            if column.is_empty() {
                self.refuse(option, "has an empty name between commas", format!("Write `{name} = 'a, b'`."));
                return None;
            }
            if columns.iter().any(|other| other.value == column) {
                self.refuse(option, &format!("names column `{}` twice", short(column)), "Name each column once.");
                return None;
            }
            columns.push(ast::Ident { value: column.to_owned(), quote_style: Some('"'), span: span.location() });
        }
        Some(columns)
    }
}

/// A duration in milliseconds, of an option or behind `EVERY`.
pub(super) fn duration_ms(value: &OptionValue) -> Result<i64, DurationError> {
    match value {
        OptionValue::Text(text) => parse_duration_ms(text),
        OptionValue::Number(number) => Err(DurationError::NoUnit(short(number))),
        OptionValue::Boolean(value) => Err(DurationError::NotANumber(value.to_string())),
    }
}

fn is_topic(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=249).contains(&name.len()) && name.chars().all(is_allowed) && name != "." && name != ".."
}

/// The known word that is most like an unknown one, if one is like it at all.
pub(super) fn did_you_mean<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LENGTH_MAX: usize = 100;
    if word.len() > LENGTH_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    known
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.84)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// A text as it can stand in a message: one line, not too long.
pub(super) fn short(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
