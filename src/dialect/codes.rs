//! The stable codes of findings, in one table. A code is never given another meaning; C00xx is the text, C01xx the catalog.
//!
//! The planner's codes (C02xx) live beside the planner.

macro_rules! codes {
    ($($name:ident = $code:literal, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $name: &str = $code;)*

        /// Every code of the dialect and the catalog with its meaning.
        pub const ALL: &[(&str, &str)] = &[$(($code, $meaning)),*];
    };
}

codes! {
    UNREADABLE = "C0001", "the text cannot be split into words: an open quote or comment, or a character that SQL does not know";
    SYNTAX = "C0002", "a syntax error";
    MISSING_SEMICOLON = "C0003", "a statement begins before the one above it was ended with `;`";
    TOO_DEEP = "C0004", "an expression or query is nested too deeply";
    NOT_A_DECLARATION = "C0005", "a statement that a pack cannot hold";
    REDECLARATION = "C0006", "`OR REPLACE`, `IF NOT EXISTS` or `TEMPORARY`";
    MISPLACED_CLAUSE = "C0007", "a clause that this kind of relation does not take, or lacks one that it needs";
    BAD_NAME = "C0008", "a name that cannot be used";
    DUPLICATE_RELATION = "C0101", "a relation is declared twice";
    DUPLICATE_COLUMN = "C0102", "a column or field is declared twice";
    RESERVED_COLUMN = "C0103", "a column has the name of a pseudo-column";
    UNKNOWN_TYPE = "C0104", "a type does not exist";
    TYPE_ARGUMENTS = "C0105", "a type has arguments that it does not take";
    UNKNOWN_ZONE = "C0106", "a time zone does not exist";
    DUPLICATE_ZONE = "C0107", "a pack sets its time zone twice";
    UNKNOWN_OPTION = "C0110", "an option does not exist";
    DUPLICATE_OPTION = "C0111", "an option is given twice";
    MISPLACED_OPTION = "C0112", "an option does not apply to this kind of relation";
    OPTION_VALUE = "C0113", "the value of an option cannot be read";
    OPTION_CONFLICT = "C0114", "two options contradict each other, or one needs another";
    UNKNOWN_COLUMN = "C0115", "an option or a key names a column that is not declared";
    COLUMN_ROLE = "C0116", "a column has a type or place that its role does not allow";
    MISSING_KEY = "C0117", "a primary key is needed";
    DUPLICATE_KEY = "C0118", "a primary key is declared twice, or holds a column twice";
    CONSTRAINT_CONFLICT = "C0119", "constraints of a column are repeated or contradict each other";
    MISSING_FILE = "C0120", "the file of a table is not there";
    FORMAT = "C0121", "a format does not suit what it is declared for, or lacks what it needs";
    SCHEMA_FILE = "C0122", "the file of a schema is not there, or does not have the columns declared";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn codes_are_in_order_and_given_once() {
        assert!(ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(ALL.iter().all(|(code, _)| code.len() == 5 && code.starts_with('C')));
    }
}
