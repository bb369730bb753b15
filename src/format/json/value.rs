//! A parsed JSON value that borrows from its record.

use std::borrow::Cow;
use std::fmt;

/// A JSON value; numbers stay text until their column's type is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::format) enum Value<'a> {
    /// The field does not occur.
    #[default]
    Absent,
    Null,
    Bool(bool),
    Number(&'a str),
    Text(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}

/// The longest text that a message repeats, in characters.
const SHOWN_CHARS_MAX: usize = 60;

impl Value<'_> {
    /// What kind of value it is, without the value itself.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "nothing",
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = |text: &str| match text.char_indices().nth(SHOWN_CHARS_MAX) {
            Some((end, _)) => format!("{}..", text.get(..end).unwrap_or_default()),
            None => text.to_owned(),
        };
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Number(number) => f.write_str(&cut(number)),
            Self::Text(text) => write!(f, "{:?}", cut(text)),
            other => f.write_str(other.kind()),
        }
    }
}

/// The fields of interest of a record, by slot.
#[derive(Clone, Debug)]
pub(in crate::format) struct Fields {
    names: Vec<Box<str>>,
}

impl Fields {
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().map(String::into_boxed_str).collect() }
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The slot of a field, if it is of interest.
    pub fn slot(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n.as_ref() == name)
    }
}
