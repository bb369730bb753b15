//! The statements of a test, from text to steps. What they mean for a pipeline is in `world.rs`.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, Query};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::Wrong;
use crate::catalog::parse_duration_ms;
use crate::dialect::SqlDialect;

/// One step of a test.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// `INSERT INTO source [PARTITION n] [(columns)] VALUES ..` or any other query without relations.
    Insert { into: Topic, columns: Option<Vec<String>>, query: Box<Query> },
    /// `INSERT INTO source [PARTITION n] [KEY 'text'] JSON 'text', ..`: records as they are.
    InsertJson { into: Topic, key: Option<String>, records: Vec<String> },
    /// `DELETE FROM table [PARTITION n] WHERE key = value AND ..`: a tombstone.
    Delete { from: Topic, key: Vec<(String, Expr)> },
    /// `WATERMARK [source [PARTITION n]] 'instant'`.
    Watermark { of: Option<String>, partition: Option<i32>, at: String },
    /// `CLOCK 'instant'`.
    ClockAt(String),
    /// `CLOCK + 'duration'`, in milliseconds.
    ClockBy(i64),
    /// `COMMIT`.
    Commit,
    /// `CRASH`.
    Crash,
    /// `END OF INPUT`.
    EndOfInput,
    /// `PAUSE sink`.
    Pause(String),
    /// `RESUME sink`.
    Resume(String),
}

/// A source, and where a record goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) relation: String,
    pub(super) partition: i32,
}

const KNOWN: &str = "a test knows INSERT, DELETE, WATERMARK, CLOCK, COMMIT, CRASH, END OF INPUT, PAUSE and RESUME";

/// Reads the statements of one record, divided by `;`.
pub(super) fn parse_steps(text: &str) -> Result<Vec<Step>, Wrong> {
    let mut words = Vec::new();
    let tokenized = Tokenizer::new(&SqlDialect, text).tokenize_with_location_into_buf(&mut words);
    tokenized.map_err(|e| Wrong(format!("the statement cannot be split into words: {e}")))?;
    words.retain(|w| !matches!(w.token, Token::Whitespace(_) | Token::EOF));
    let statements = words.split(|w| w.token == Token::SemiColon).filter(|words| !words.is_empty());
    let steps: Vec<Step> = statements.map(|words| Words::new(words).step()).collect::<Result<_, _>>()?;
    if steps.is_empty() { Err(Wrong(format!("there is no statement; {KNOWN}"))) } else { Ok(steps) }
}

/// The words of one statement while they are read.
struct Words<'a>(Parser<'a>);

impl Words<'_> {
    fn new(words: &[TokenWithSpan]) -> Self {
        Self(Parser::new(&SqlDialect).with_tokens_with_locations(words.to_vec()))
    }

    fn step(mut self) -> Result<Step, Wrong> {
        let step = match self.word()?.as_str() {
            "INSERT" => self.insert()?,
            "DELETE" => self.delete()?,
            "WATERMARK" => self.watermark()?,
            "CLOCK" if self.0.consume_token(&Token::Plus) => {
                let text = self.text("a duration, as '10 seconds'")?;
                Step::ClockBy(
                    parse_duration_ms(&text)
                        .map_err(|e| Wrong(format!("`{text}` is no duration: {e}. {}", e.hint())))?,
                )
            }
            "CLOCK" => Step::ClockAt(self.text("an instant, or `+` and a duration")?),
            "COMMIT" => Step::Commit,
            "CRASH" => Step::Crash,
            "END" => {
                self.expect("OF")?;
                self.expect("INPUT")?;
                Step::EndOfInput
            }
            "PAUSE" => Step::Pause(self.name("a sink")?),
            "RESUME" => Step::Resume(self.name("a sink")?),
            "SELECT" | "WITH" | "VALUES" => {
                return wrong("a query needs `query <types>` above it instead of `statement ok`");
            }
            "UPDATE" => {
                return wrong(
                    "a test has no UPDATE: INSERT the whole row again, and a table keeps the latest row of a key",
                );
            }
            "CREATE" | "SET" => return wrong("a test declares nothing: relations are those of the pack"),
            other => return wrong(format!("`{other} ..` is unknown; {KNOWN}")),
        };
        match &self.0.peek_token_ref().token {
            Token::EOF => Ok(step),
            rest => wrong(format!("expected the end of the statement, found `{rest}`")),
        }
    }

    /// `INTO source [PARTITION n] [(columns)] query`, or with `[KEY 'text'] JSON 'text', ..` behind.
    fn insert(&mut self) -> Result<Step, Wrong> {
        self.expect("INTO")?;
        let into = self.topic()?;
        let key = if self.take("KEY") { Some(self.text("the key of the record")?) } else { None };
        if self.take("JSON") {
            let mut records = vec![self.text("a record, as '{\"id\": 1}'")?];
            while self.0.consume_token(&Token::Comma) {
                records.push(self.text("a record, as '{\"id\": 1}'")?);
            }
            return Ok(Step::InsertJson { into, key, records });
        }
        if key.is_some() {
            return wrong(
                "KEY is for records that are given as JSON '..': other rows have the key of their key columns",
            );
        }
        let columns = if self.0.peek_token_ref().token == Token::LParen && !self.is_query_in_parentheses() {
            let columns = self
                .0
                .parse_parenthesized_column_list(datafusion::sql::sqlparser::parser::IsOptional::Mandatory, false);
            Some(columns.map_err(Wrong::new)?.iter().map(name_of).collect())
        } else {
            None
        };
        let query = self.0.parse_query().map_err(|e| Wrong(format!("expected VALUES (..), .. or JSON '..': {e}")))?;
        Ok(Step::Insert { into, columns, query })
    }

    fn is_query_in_parentheses(&self) -> bool {
        let next = self.0.peek_nth_token_ref(1);
        matches!(&next.token, Token::Word(w) if matches!(w.keyword, Keyword::SELECT | Keyword::VALUES | Keyword::WITH))
    }

    /// `FROM table [PARTITION n] WHERE key = value AND ..`.
    fn delete(&mut self) -> Result<Step, Wrong> {
        self.expect("FROM")?;
        let from = self.topic()?;
        self.expect("WHERE")?;
        let condition = self.0.parse_expr().map_err(Wrong::new)?;
        let mut key = Vec::new();
        equalities(condition, &mut key)?;
        Ok(Step::Delete { from, key })
    }

    /// `[source [PARTITION n]] [TO] 'instant'`.
    fn watermark(&mut self) -> Result<Step, Wrong> {
        let (mut of, mut partition) = (None, None);
        if !matches!(self.0.peek_token_ref().token, Token::SingleQuotedString(_)) && !self.take("TO") {
            of = Some(self.name("a source")?);
            partition = self.partition()?;
            self.take("TO");
        }
        Ok(Step::Watermark { of, partition, at: self.text("an instant, as '2024-03-01 08:00'")? })
    }

    fn topic(&mut self) -> Result<Topic, Wrong> {
        let relation = self.name("a source")?;
        Ok(Topic { relation, partition: self.partition()?.unwrap_or(0) })
    }

    fn partition(&mut self) -> Result<Option<i32>, Wrong> {
        if !self.take("PARTITION") {
            return Ok(None);
        }
        /// More partitions than any test needs, and few enough to be told in every poll.
        const PARTITIONS_MAX: u64 = 64;
        let number = self.0.parse_literal_uint().map_err(Wrong::new)?;
        match i32::try_from(number) {
            Ok(partition) if number < PARTITIONS_MAX => Ok(Some(partition)),
            _ => wrong(format!("a test has at most {PARTITIONS_MAX} partitions, from 0 on")),
        }
    }

    fn word(&mut self) -> Result<String, Wrong> {
        match self.0.next_token().token {
            Token::Word(word) => Ok(word.value.to_uppercase()),
            other => wrong(format!("a statement cannot begin with `{other}`; {KNOWN}")),
        }
    }

    fn take(&mut self, word: &str) -> bool {
        let found = matches!(&self.0.peek_token_ref().token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
        if found {
            self.0.advance_token();
        }
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), Wrong> {
        if self.take(word) {
            Ok(())
        } else {
            wrong(format!("expected {word}, found `{}`", self.0.peek_token_ref().token))
        }
    }

    fn name(&mut self, what: &str) -> Result<String, Wrong> {
        let ident = self.0.parse_identifier().map_err(|e| Wrong(format!("expected the name of {what}: {e}")))?;
        Ok(name_of(&ident))
    }

    fn text(&mut self, what: &str) -> Result<String, Wrong> {
        match self.0.next_token().token {
            Token::SingleQuotedString(text) => Ok(text),
            other => wrong(format!("expected {what} in single quotes, found `{other}`")),
        }
    }
}

fn wrong<T>(message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong(message.into()))
}

fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Takes `a = 1 AND b = 2` apart.
fn equalities(condition: Expr, found: &mut Vec<(String, Expr)>) -> Result<(), Wrong> {
    match condition {
        Expr::Nested(inner) => equalities(*inner, found),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            equalities(*left, found)?;
            equalities(*right, found)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match *left {
            Expr::Identifier(column) => {
                found.push((name_of(&column), *right));
                Ok(())
            }
            other => wrong(format!("expected a key column left of `=`, found `{other}`")),
        },
        other => wrong(format!("DELETE takes the whole key, as WHERE a = .. AND b = .., not `{other}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Step {
        let mut steps = parse_steps(text).expect("it can be read");
        assert_eq!(steps.len(), 1);
        steps.remove(0)
    }

    #[test]
    fn statements_of_a_test_are_read() {
        let topic = |partition| Topic { relation: "t".into(), partition };
        let Step::Insert { into, columns, query } = one("insert into T partition 2 (a, \"B\") values ('it''s', 1)")
        else {
            panic!("not an insert")
        };
        assert_eq!((into, columns), (topic(2), Some(vec!["a".to_string(), "B".to_string()])));
        assert_eq!(query.to_string(), "VALUES ('it''s', 1)");
        assert!(matches!(one("INSERT INTO t SELECT 1"), Step::Insert { columns: None, .. }));
        assert!(matches!(one("INSERT INTO t (SELECT 1)"), Step::Insert { columns: None, .. }));
        assert_eq!(
            one("INSERT INTO t KEY 'k' JSON '{', '{}';"),
            Step::InsertJson { into: topic(0), key: Some("k".into()), records: vec!["{".into(), "{}".into()] }
        );
        let Step::Delete { from, key } = one("DELETE FROM t WHERE a = 'x' AND (b = 2)") else { panic!("not a delete") };
        let key: Vec<String> = key.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!((from, key), (topic(0), vec!["a='x'".to_string(), "b=2".to_string()]));
        let watermark = |of: Option<&str>, partition| Step::Watermark {
            of: of.map(str::to_string),
            partition,
            at: "2024-03-01".into(),
        };
        assert_eq!(one("WATERMARK '2024-03-01'"), watermark(None, None));
        assert_eq!(one("WATERMARK TO '2024-03-01'"), watermark(None, None));
        assert_eq!(one("WATERMARK t PARTITION 1 TO '2024-03-01'"), watermark(Some("t"), Some(1)));
        assert_eq!(one("CLOCK + '10 seconds'"), Step::ClockBy(10_000));
        assert_eq!(one("CLOCK '2024-03-01'"), Step::ClockAt("2024-03-01".into()));
        let steps = parse_steps("COMMIT; CRASH; END OF INPUT; PAUSE a; RESUME a;").expect("they can be read");
        let (pause, resume) = (Step::Pause("a".into()), Step::Resume("a".into()));
        assert_eq!(steps, [Step::Commit, Step::Crash, Step::EndOfInput, pause, resume]);
    }

    #[test]
    fn what_is_no_statement_of_a_test_says_what_to_write() {
        for (text, part) in [
            ("", "there is no statement"),
            ("SELECT 1", "`query <types>`"),
            ("UPDATE t SET a = 1", "INSERT the whole row again"),
            ("CREATE TABLE t (a INT)", "those of the pack"),
            ("FLUSH", "a test knows"),
            ("CLOCK + '1 month'", "Write days"),
            ("CLOCK 5", "in single quotes"),
            ("DELETE FROM t WHERE a > 1", "the whole key"),
            ("INSERT INTO t PARTITION 1000 VALUES (1)", "at most 64"),
            ("INSERT INTO t KEY 'k' VALUES (1)", "JSON"),
            ("INSERT INTO t VALUES (1) x y", "expected the end"),
            ("COMMIT 'open", "split into words"),
        ] {
            let message = parse_steps(text).expect_err(text).to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
