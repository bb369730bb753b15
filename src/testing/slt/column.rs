//! The letters that say of which type a column of a query is.

use sqllogictest::ColumnType;

/// The type of a result's column, as its letter in `query TIB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Boolean,
    Date,
    Integer,
    Timestamp,
    /// A number with a fraction.
    Number,
    Text,
    /// A list or struct; in a test, any type.
    Any,
}

const LETTERS: [(char, Column); 7] = [
    ('B', Column::Boolean),
    ('D', Column::Date),
    ('I', Column::Integer),
    ('P', Column::Timestamp),
    ('R', Column::Number),
    ('T', Column::Text),
    ('?', Column::Any),
];

impl ColumnType for Column {
    fn from_char(letter: char) -> Option<Self> {
        LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, column)| *column)
    }

    fn to_char(&self) -> char {
        LETTERS.iter().find(|(_, column)| column == self).map_or('?', |(letter, _)| *letter)
    }
}

impl Column {
    /// Whether a column of this type may be where a test expects another: everything is shown as text.
    pub(super) fn may_stand_for(self, expected: Self) -> bool {
        self == expected || matches!(expected, Self::Any | Self::Text)
    }
}

/// The letters of several columns.
pub(super) fn letters(columns: &[Column]) -> String {
    columns.iter().map(ColumnType::to_char).collect()
}
