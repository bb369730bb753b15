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

    /// The span from the start of this one to the end of another in the same file.
    pub fn to(self, end: Self) -> Self {
        Self { end_line: end.end_line, end_column: end.end_column, ..self }
    }

    /// The same place in the parser's form, for identifiers that are made from options.
    pub fn location(&self) -> sqlparser::tokenizer::Span {
        use sqlparser::tokenizer::Location;
        sqlparser::tokenizer::Span {
            start: Location { line: self.line, column: self.column },
            end: Location { line: self.end_line, column: self.end_column },
        }
    }

    /// Whether a place is known.
    pub fn is_known(&self) -> bool {
        self.line > 0
    }
}

/// Another place that belongs to a finding, as the first declaration of a name that is declared twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is there: a few words.
    pub message: String,
    /// Where.
    pub span: Span,
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
    /// Other places that belong to it.
    pub notes: Vec<Note>,
    /// What to do about it: a sentence.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A finding without a hint.
    pub fn new(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), span, notes: Vec::new(), hint: None }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds another place that belongs to it.
    pub fn note(mut self, span: Span, message: impl Into<String>) -> Self {
        self.notes.push(Note { message: message.into(), span });
        self
    }
}
