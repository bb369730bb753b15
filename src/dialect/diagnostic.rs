//! What is wrong with a pack, where, and what to do about it.

use datafusion::sql::sqlparser;

/// A range of characters in a file of the pack. Lines and columns count from 1; line 0 = no place is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The index of the file in the pack.
    pub file: u32,
    /// The first line.
    pub line: u64,
    /// The first column.
    pub column: u64,
    /// The line of the end.
    pub end_line: u64,
    /// The column behind the end.
    pub end_column: u64,
}

impl Span {
    /// A span of the SQL parser in a file of the pack.
    pub fn of(file: u32, span: sqlparser::tokenizer::Span) -> Self {
        Self {
            file,
            line: span.start.line,
            column: span.start.column,
            end_line: span.end.line,
            end_column: span.end.column,
        }
    }
}

/// One finding about a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable code, as `C0123`.
    pub code: &'static str,
    /// What is wrong: lower case, no full stop, names the object.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to do about it: a sentence.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A finding without a hint.
    pub fn new(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), span, hint: None }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
