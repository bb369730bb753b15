//! The grammar of `CREATE`: names, columns or a query, options, `EMIT`.

use datafusion::sql::sqlparser::ast::{Query, SetExpr};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::parse::{Grammar, Parsed, shorten};
use super::sql_dialect::is_word;
use super::{
    ColumnDefinition, CreateQuery, CreateSource, Diagnostic, EmitClause, EmitMode, Kind, Name, OptionValue, PackOption,
    PrimaryKey, Span, StatementKind, codes,
};

/// What stands between the name and `WITH` or `AS`.
#[derive(Default)]
struct Elements {
    columns: Vec<ColumnDefinition>,
    keys: Vec<PrimaryKey>,
    /// The parentheses, if there are any.
    span: Option<Span>,
}

impl Grammar<'_> {
    /// Everything behind `CREATE`.
    pub(super) fn create(&mut self) -> Parsed<StatementKind> {
        let kind = self.kind()?;
        let word = self.peek();
        if is_word(&word, "IF") {
            return Err(self.redeclaration(&word, "IF NOT EXISTS"));
        }
        let name = self.relation_name(kind)?;
        let elements = self.elements(kind, &name)?;
        let options = if self.take_word("WITH") { self.options()? } else { Vec::new() };
        if !self.take_word("AS") {
            return self.source(kind, name, elements, options);
        }
        let key = self.declared_key(kind, &name, elements)?;
        let query = self.query()?;
        let emit = self.emit()?;
        Ok(StatementKind::CreateQuery(Box::new(CreateQuery { kind, name, key, options, query, emit })))
    }

    fn kind(&mut self) -> Parsed<Kind> {
        let word = self.parser.next_token();
        for kind in [Kind::Stream, Kind::Table, Kind::View, Kind::Sink] {
            if is_word(&word, kind.keyword()) {
                return Ok(kind);
            }
        }
        if is_word(&word, "OR") {
            return Err(self.redeclaration(&word, "OR REPLACE"));
        }
        if is_word(&word, "TEMPORARY") || is_word(&word, "TEMP") {
            return Err(self.redeclaration(&word, "TEMPORARY"));
        }
        let hint = if is_word(&word, "MATERIALIZED") {
            "Write `CREATE TABLE name AS ..`: a derived table is kept up to date at all times."
        } else if is_word(&word, "EXTERNAL") || is_word(&word, "SOURCE") {
            "Write `CREATE STREAM` for events or `CREATE TABLE` for the latest row per key."
        } else {
            "A pack creates `STREAM`, `TABLE`, `VIEW` and `SINK`."
        };
        Err(Box::new(self.unexpected(&word, "`STREAM`, `TABLE`, `VIEW` or `SINK`").hint(hint)))
    }

    fn redeclaration(&self, word: &TokenWithSpan, clause: &str) -> Box<Diagnostic> {
        let message =
            format!("`{clause}` has no meaning in a pack: a pack says what there is, and nothing exists before it");
        Box::new(
            Diagnostic::new(codes::REDECLARATION, self.span_of(word), message)
                .hint(format!("Leave out `{clause}`; change a rule by changing its file.")),
        )
    }

    fn relation_name(&mut self, kind: Kind) -> Parsed<Name> {
        let name = self.name(&format!("the name of a {kind}"))?;
        let word = self.peek();
        if word.token == Token::Period {
            let message = format!("the name of {kind} `{}` has more than one part", shorten(&name.value));
            return Err(Box::new(
                Diagnostic::new(codes::BAD_NAME, self.span_of(&word), message)
                    .hint("A pack has no schemas; join the parts with `_`."),
            ));
        }
        // Names become names of topics and of files, as in `replay`.
        let is_usable = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if let Some(bad) = name.value.chars().find(|&c| !is_usable(c)) {
            let message = format!("the name of {kind} `{}` contains `{}`", shorten(&name.value), bad.escape_default());
            return Err(Box::new(
                Diagnostic::new(codes::BAD_NAME, name.span, message)
                    .hint("A relation's name becomes that of topics and files: use letters, digits, `_` and `-` only."),
            ));
        }
        const LENGTH_MAX: usize = 200;
        if name.value.len() > LENGTH_MAX {
            let message = format!("the name of {kind} `{}` has more than {LENGTH_MAX} bytes", shorten(&name.value));
            return Err(Box::new(
                Diagnostic::new(codes::BAD_NAME, name.span, message)
                    .hint("Kafka limits names of topics to 249 characters."),
            ));
        }
        Ok(name)
    }

    /// `(columns, PRIMARY KEY (..))`, if it is there.
    fn elements(&mut self, kind: Kind, name: &Name) -> Parsed<Elements> {
        let open = self.peek();
        let mut elements = Elements::default();
        if !self.take(&Token::LParen) {
            return Ok(elements);
        }
        let start = self.span_of(&open);
        if matches!(kind, Kind::View | Kind::Sink) {
            return Err(Box::new(
                Diagnostic::new(
                    codes::MISPLACED_CLAUSE,
                    start,
                    format!("{kind} `{}` declares columns or a key", shorten(&name.value)),
                )
                .hint(format!("Write `CREATE {} name AS SELECT ..`: the query says the columns.", kind.keyword())),
            ));
        }
        loop {
            if is_word(&self.peek(), "PRIMARY") {
                elements.keys.push(self.primary_key()?);
            } else {
                elements.columns.push(self.column()?);
            }
            if !self.take(&Token::Comma) {
                break;
            }
            let word = self.peek();
            if word.token == Token::RParen {
                return Err(Box::new(self.unexpected(&word, "a column").hint("Leave out the comma before `)`.")));
            }
        }
        let word = self.peek();
        if !self.take(&Token::RParen) {
            return Err(self.unexpected(&word, "`,` or `)`"));
        }
        elements.span = Some(self.since(start));
        Ok(elements)
    }

    fn primary_key(&mut self) -> Parsed<PrimaryKey> {
        let start = self.span_of(&self.peek());
        self.expect_word("PRIMARY")?;
        self.expect_word("KEY")?;
        self.expect(&Token::LParen)?;
        let mut columns = vec![self.name("the name of a key column")?];
        while self.take(&Token::Comma) {
            columns.push(self.name("the name of a key column")?);
        }
        self.expect(&Token::RParen)?;
        Ok(PrimaryKey { columns, span: self.since(start) })
    }

    fn source(
        &mut self,
        kind: Kind,
        name: Name,
        elements: Elements,
        options: Vec<PackOption>,
    ) -> Parsed<StatementKind> {
        let word = self.peek();
        if word.token != Token::EOF {
            let after = if options.is_empty() { "`WITH`, `AS` or `;`" } else { "`AS` or `;`" };
            return Err(self.unexpected(&word, after));
        }
        let described = format!("{kind} `{}`", shorten(&name.value));
        if matches!(kind, Kind::View | Kind::Sink) {
            return Err(Box::new(
                Diagnostic::new(codes::MISPLACED_CLAUSE, name.span, format!("{described} has no query"))
                    .hint(format!("Write `CREATE {} name AS SELECT ..`.", kind.keyword())),
            ));
        }
        if elements.columns.is_empty() {
            return Err(Box::new(
                Diagnostic::new(
                    codes::MISPLACED_CLAUSE,
                    name.span,
                    format!("{described} has neither columns nor a query"),
                )
                .hint("List the columns that are read, or say `AS SELECT ..`."),
            ));
        }
        let Elements { columns, keys, .. } = elements;
        Ok(StatementKind::CreateSource(CreateSource { kind, name, columns, keys, options }))
    }

    /// The key in front of `AS`; the columns come from the query.
    fn declared_key(&self, kind: Kind, name: &Name, elements: Elements) -> Parsed<Option<PrimaryKey>> {
        let described = format!("{kind} `{}`", shorten(&name.value));
        if let (Some(_), Some(span)) = (elements.columns.first(), elements.span) {
            return Err(Box::new(
                Diagnostic::new(codes::MISPLACED_CLAUSE, span, format!("{described} has both columns and a query"))
                    .hint("The query says the columns; only `(PRIMARY KEY (..))` may stand before `AS`."),
            ));
        }
        let mut keys = elements.keys.into_iter();
        let key = keys.next();
        if let (Some(key), Kind::Stream) = (&key, kind) {
            return Err(Box::new(
                Diagnostic::new(
                    codes::MISPLACED_CLAUSE,
                    key.span,
                    format!("{described} declares a key, but a stream has none"),
                )
                .hint("Leave out the key, or write `CREATE TABLE`."),
            ));
        }
        if let (Some(first), Some(second)) = (&key, keys.next()) {
            return Err(Box::new(
                Diagnostic::new(codes::DUPLICATE_KEY, second.span, format!("{described} declares its key twice"))
                    .note(first.span, "first declared here")
                    .hint("A key of several columns is written `PRIMARY KEY (a, b)`."),
            ));
        }
        Ok(key)
    }

    fn query(&mut self) -> Parsed<Query> {
        let word = self.peek();
        let begins =
            word.token == Token::LParen || ["SELECT", "WITH", "VALUES", "FROM"].iter().any(|w| is_word(&word, w));
        if !begins {
            return Err(self.unexpected(&word, "a query"));
        }
        let query = *self.parser.parse_query().map_err(|error| self.sql_error(error))?;
        if matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)) {
            return Err(Box::new(
                Diagnostic::new(
                    codes::NOT_A_DECLARATION,
                    self.span_of(&word),
                    "a named query must be a SELECT, it cannot write",
                )
                .hint("Rows are written by sinks: `CREATE SINK name AS SELECT ..`."),
            ));
        }
        Ok(query)
    }

    fn emit(&mut self) -> Parsed<Option<EmitClause>> {
        let start = self.span_of(&self.peek());
        if !self.take_word("EMIT") {
            return Ok(None);
        }
        let word = self.parser.next_token();
        let mode = if is_word(&word, "FINAL") {
            EmitMode::Final
        } else if is_word(&word, "CHANGES") {
            EmitMode::Changes
        } else {
            return Err(self.unexpected(&word, "`FINAL` or `CHANGES`"));
        };
        let mut every = None;
        if mode == EmitMode::Changes && self.take_word("EVERY") {
            every = Some(self.option_value()?);
        }
        Ok(Some(EmitClause { mode, every, span: self.since(start) }))
    }

    /// `(name = value, ..)` behind `WITH`.
    fn options(&mut self) -> Parsed<Vec<PackOption>> {
        self.expect(&Token::LParen)?;
        let mut options = Vec::new();
        if self.take(&Token::RParen) {
            return Ok(options);
        }
        loop {
            let name = self.option_name()?;
            self.expect(&Token::Eq)?;
            let (value, value_span) = self.option_value()?;
            options.push(PackOption { name, value, value_span });
            if !self.take(&Token::Comma) {
                break;
            }
        }
        let word = self.peek();
        if !self.take(&Token::RParen) {
            return Err(self.unexpected(&word, "`,` or `)`"));
        }
        Ok(options)
    }

    /// A word, or a quoted text as other engines write it.
    fn option_name(&mut self) -> Parsed<Name> {
        let word = self.peek();
        if let Token::SingleQuotedString(value) = &word.token {
            let name = Name { value: value.clone(), quote: Some('\''), span: self.span_of(&word) };
            self.parser.advance_token();
            return Ok(name);
        }
        self.name("the name of an option")
    }

    fn option_value(&mut self) -> Parsed<(OptionValue, Span)> {
        let word = self.parser.next_token();
        let start = self.span_of(&word);
        let value = match &word.token {
            Token::SingleQuotedString(text) => OptionValue::Text(text.clone()),
            Token::Number(number, _) => OptionValue::Number(number.clone()),
            Token::Minus | Token::Plus => {
                let number = self.parser.next_token();
                let sign = if word.token == Token::Minus { "-" } else { "" };
                match &number.token {
                    Token::Number(digits, _) => OptionValue::Number(format!("{sign}{digits}")),
                    _ => return Err(self.unexpected(&number, "a number")),
                }
            }
            Token::Word(_) if is_word(&word, "TRUE") => OptionValue::Boolean(true),
            Token::Word(_) if is_word(&word, "FALSE") => OptionValue::Boolean(false),
            Token::Word(_) if is_word(&word, "INTERVAL") => self.interval()?,
            _ => {
                return Err(Box::new(
                    self.unexpected(&word, "a value")
                        .hint("A value is a text in single quotes, a number, `true`, `false` or an interval."),
                ));
            }
        };
        Ok((value, self.since(start)))
    }

    /// `'30 seconds'` or `'30' SECOND` behind `INTERVAL`.
    fn interval(&mut self) -> Parsed<OptionValue> {
        let word = self.parser.next_token();
        let text = match word.token {
            Token::SingleQuotedString(ref text) => text.clone(),
            Token::Number(ref digits, _) => digits.clone(),
            _ => return Err(self.unexpected(&word, "a duration in quotes, as '30 seconds'")),
        };
        let unit = self.peek();
        Ok(OptionValue::Text(match unit.token {
            Token::Word(unit) => {
                self.parser.advance_token();
                format!("{text} {}", unit.value.to_ascii_lowercase())
            }
            _ => text,
        }))
    }
}
