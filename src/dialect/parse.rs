//! The statement loop: files to words, words to statements, and on from the next statement after an error.
//!
//! Each statement is parsed on its own words, so that an error in one never hides or invents errors in another.

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError};

use super::sql_dialect::is_word;
use super::{Diagnostic, Pack, SqlDialect, Statement, StatementKind, codes, depth};
use super::{Name, Span};

/// After so many errors a file is not read on: it is probably no SQL.
const ERRORS_MAX: usize = 100;

/// The result of a step of the grammar. The error is boxed since it is rare and large.
pub(super) type Parsed<T> = Result<T, Box<Diagnostic>>;

/// Parses all files of a pack. Statements that could be parsed are returned also if others could not.
pub fn parse(pack: &Pack) -> (Vec<Statement>, Vec<Diagnostic>) {
    let mut statements = Vec::new();
    let mut errors = Vec::new();
    for (file, source) in (0..).zip(&pack.files) {
        parse_file(file, &source.text, &mut statements, &mut errors);
    }
    (statements, errors)
}

fn parse_file(file: u32, text: &str, statements: &mut Vec<Statement>, errors: &mut Vec<Diagnostic>) {
    let mut words = Vec::new();
    let unreadable = Tokenizer::new(&SqlDialect, text).tokenize_with_location_into_buf(&mut words).err();
    // The tokenizer gives up at the end of an open comment; the reader wants to see where it begins.
    let unreadable_from = behind(file, words.last());
    let mut chunks = split(words);
    let n_errors = errors.len();
    if unreadable.is_some() {
        // The statement that the unreadable word belongs to is incomplete, and its errors would only confuse.
        if chunks.last().is_some_and(|chunk| !matches!(chunk.end, ChunkEnd::Semicolon)) {
            chunks.pop();
        }
    }
    for chunk in chunks {
        if errors.len() - n_errors >= ERRORS_MAX {
            return;
        }
        match parse_chunk(file, &chunk) {
            Ok(statement) => {
                if let ChunkEnd::NextStatement(next) = &chunk.end {
                    errors.push(missing_semicolon(statement.span, Span::of(file, next.span)));
                }
                statements.push(statement);
            }
            Err(error) => errors.push(*error),
        }
    }
    if let Some(error) = unreadable {
        errors.push(unreadable_text(&error, unreadable_from));
    }
}

/// Parses one query that belongs to no pack, as ad-hoc SQL. Its places are in file 0.
pub fn parse_query(text: &str) -> Result<ast::Query, Box<Diagnostic>> {
    let mut words = Vec::new();
    let unreadable = Tokenizer::new(&SqlDialect, text).tokenize_with_location_into_buf(&mut words).err();
    if let Some(error) = unreadable {
        return Err(Box::new(unreadable_text(&error, behind(0, words.last()))));
    }
    words.retain(|word| !matches!(word.token, Token::Whitespace(_) | Token::EOF));
    if words.last().is_some_and(|word| word.token == Token::SemiColon) {
        words.pop();
    }
    let mut grammar = Grammar::new(0, &words)?;
    let query = grammar.query()?;
    let next = grammar.peek();
    if next.token == Token::SemiColon {
        let finding = Diagnostic::new(codes::SYNTAX, grammar.span_of(&next), "a second statement begins behind `;`");
        return Err(Box::new(finding.hint("Ask one query at a time.")));
    }
    grammar.end_of_statement()?;
    Ok(query)
}

/// The place behind a word; the start of the file if there is none.
fn behind(file: u32, word: Option<&TokenWithSpan>) -> Span {
    match word.map(|word| Span::of(file, word.span)) {
        Some(last) => Span { line: last.end_line, column: last.end_column, end_column: last.end_column + 1, ..last },
        None => Span { file, line: 1, column: 1, end_line: 1, end_column: 2 },
    }
}

fn missing_semicolon(statement: Span, next: Span) -> Diagnostic {
    let end = Span {
        line: statement.end_line,
        column: statement.end_column,
        end_column: statement.end_column + 1,
        ..statement
    };
    Diagnostic::new(codes::MISSING_SEMICOLON, next, "a statement begins before the one above it was ended")
        .note(end, "`;` is missing")
        .hint("End every statement with `;`.")
}

fn unreadable_text(error: &TokenizerError, span: Span) -> Diagnostic {
    let message = error.message.trim_end_matches('.');
    let is_quote = message.contains("nterminated") || message.contains("close delimiter");
    if message.contains("comment") {
        Diagnostic::new(codes::UNREADABLE, span, "a comment is not closed")
            .hint("End the comment with `*/`; every `/*` inside it needs its own.")
    } else if is_quote {
        Diagnostic::new(codes::UNREADABLE, span, "a quote is not closed")
            .hint("Close the quote; a quote inside of a text is written twice, as in 'it''s'.")
    } else {
        Diagnostic::new(codes::UNREADABLE, span, lower_first(message))
            .hint("Remove the character, or put it into a text in single quotes.")
    }
}

// === Chunks: the words of one statement ===

struct Chunk {
    words: Vec<TokenWithSpan>,
    end: ChunkEnd,
}

/// How a chunk ends.
enum ChunkEnd {
    /// With `;`.
    Semicolon,
    /// With the file.
    File,
    /// Where the next statement begins, since a line begins with `CREATE STREAM` or the like; its first word.
    NextStatement(TokenWithSpan),
}

/// Divides words at each `;`, and where a `;` was forgotten. Chunks without words are dropped.
fn split(words: Vec<TokenWithSpan>) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut current: Vec<TokenWithSpan> = Vec::new();
    let mut finish = |words: Vec<TokenWithSpan>, end| {
        if !words.is_empty() {
            chunks.push(Chunk { words, end });
        }
    };
    let mut words = words.into_iter().filter(|w| !matches!(w.token, Token::Whitespace(_) | Token::EOF)).peekable();
    while let Some(word) = words.next() {
        if word.token == Token::SemiColon {
            finish(std::mem::take(&mut current), ChunkEnd::Semicolon);
            continue;
        }
        if !current.is_empty() && words.peek().is_some_and(|next| begins_statement(&word, next)) {
            finish(std::mem::take(&mut current), ChunkEnd::NextStatement(word.clone()));
        }
        current.push(word);
    }
    finish(current, ChunkEnd::File);
    chunks
}

fn begins_statement(word: &TokenWithSpan, next: &TokenWithSpan) -> bool {
    let second: &[&str] = if is_word(word, "CREATE") {
        &["STREAM", "TABLE", "VIEW", "SINK", "OR"]
    } else if is_word(word, "SET") {
        &["TIME"]
    } else {
        return false;
    };
    word.span.start.column == 1 && second.iter().any(|keyword| is_word(next, keyword))
}

fn parse_chunk(file: u32, chunk: &Chunk) -> Parsed<Statement> {
    let first = chunk.words.first().map(|w| Span::of(file, w.span)).unwrap_or_default();
    let last = chunk.words.last().map(|w| Span::of(file, w.span)).unwrap_or_default();
    let mut grammar = Grammar::new(file, &chunk.words)?;
    let kind = grammar.statement()?;
    grammar.end_of_statement()?;
    Ok(Statement { kind, span: first.to(last) })
}

fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::new(codes::TOO_DEEP, span, "the statement is nested too deeply here")
        .hint("Write long lists of `OR` as `IN (..)` or as a joined table, and nested queries as views of their own.")
}

// === Grammar: the words of one statement while they are read ===

/// Reads one statement. The grammar of `CREATE` is in `create.rs`, that of columns in `columns.rs`.
pub(super) struct Grammar<'a> {
    pub(super) parser: Parser<'a>,
    pub(super) file: u32,
    end: Span,
    words: &'a [TokenWithSpan],
}

impl<'a> Grammar<'a> {
    fn new(file: u32, words: &'a [TokenWithSpan]) -> Parsed<Self> {
        if let Some(word) = depth::first_too_deep(words) {
            return Err(Box::new(too_deep(Span::of(file, word.span))));
        }
        let parser = Parser::new(&SqlDialect).with_tokens_with_locations(words.to_vec());
        // "Found the end of the statement" is shown behind the last word.
        Ok(Self { parser, file, end: behind(file, words.last()), words })
    }
}

impl Grammar<'_> {
    fn statement(&mut self) -> Parsed<StatementKind> {
        if self.take_word("SET") {
            return self.set_time_zone();
        }
        if self.take_word("CREATE") {
            return self.create();
        }
        let word = self.parser.peek_token_ref();
        let text = shorten(&word.to_string());
        Err(Box::new(
            Diagnostic::new(codes::NOT_A_DECLARATION, self.span_of(word), format!("a pack cannot hold the statement `{text} ..`"))
                .hint("A pack holds `SET TIME ZONE` and `CREATE STREAM`, `TABLE`, `VIEW` or `SINK`; name a query with `CREATE VIEW name AS ..`."),
        ))
    }

    fn set_time_zone(&mut self) -> Parsed<StatementKind> {
        let word = self.peek();
        let known = (self.take_word("TIME") && self.take_word("ZONE")) || self.take_word("TIMEZONE");
        if !known {
            return Err(Box::new(
                Diagnostic::new(codes::NOT_A_DECLARATION, self.span_of(&word), "a pack can set its time zone only")
                    .hint("Write `SET TIME ZONE = 'Asia/Shanghai';`. Other settings belong to the command line."),
            ));
        }
        if !self.parser.consume_token(&Token::Eq) {
            self.take_word("TO");
        }
        let word = self.parser.next_token();
        let span = self.span_of(&word);
        match word.token {
            Token::SingleQuotedString(zone) => Ok(StatementKind::SetTimeZone { zone, span }),
            // `SET TIME ZONE = UTC` is plain enough to be understood.
            Token::Word(zone) => Ok(StatementKind::SetTimeZone { zone: zone.value, span }),
            _ => Err(self.unexpected(&word, "the name of a time zone in quotes, as 'Asia/Shanghai'")),
        }
    }

    fn end_of_statement(&mut self) -> Parsed<()> {
        let word = self.peek();
        if word.token == Token::EOF {
            return Ok(());
        }
        let error = *self.unexpected(&word, "`;`");
        Err(Box::new(if is_word(&word, "WITH") {
            error.hint("`WITH (..)` stands before `AS`.")
        } else if ["CREATE", "SET", "STREAM", "TABLE", "VIEW", "SINK"].iter().any(|w| is_word(&word, w)) {
            error.hint("End every statement with `;`.")
        } else if self.words.iter().any(|w| is_word(w, "EMIT")) {
            error.hint(EMIT_LAST)
        } else {
            error.hint(CLAUSES)
        }))
    }

    // Words.

    pub(super) fn peek(&self) -> TokenWithSpan {
        self.parser.peek_token()
    }

    /// The next word if it is this keyword.
    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = is_word(self.parser.peek_token_ref(), word);
        if found {
            self.parser.advance_token();
        }
        found
    }

    pub(super) fn take(&mut self, token: &Token) -> bool {
        self.parser.consume_token(token)
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parsed<()> {
        if self.take_word(word) { Ok(()) } else { Err(self.unexpected(&self.peek(), &format!("`{word}`"))) }
    }

    pub(super) fn expect(&mut self, token: &Token) -> Parsed<()> {
        if self.take(token) { Ok(()) } else { Err(self.unexpected(&self.peek(), &format!("`{token}`"))) }
    }

    /// A name of one part. `what` says whose, as "the name of a column".
    pub(super) fn name(&mut self, what: &str) -> Parsed<Name> {
        let word = self.parser.next_token();
        let span = self.span_of(&word);
        let name = match word.token {
            Token::Word(w) if w.quote_style.is_some() => Name { value: w.value, quote: w.quote_style, span },
            Token::Word(w) => Name { value: w.value.to_ascii_lowercase(), quote: None, span },
            Token::SingleQuotedString(_) => {
                return Err(Box::new(
                    self.unexpected(&word, what).hint("Names stand without quotes, or in double quotes."),
                ));
            }
            _ => return Err(self.unexpected(&word, what)),
        };
        if name.value.is_empty() {
            return Err(Box::new(
                Diagnostic::new(codes::BAD_NAME, span, format!("{what} is empty"))
                    .hint("Give it a name of at least one letter."),
            ));
        }
        Ok(name)
    }

    // Places and errors.

    /// The place of a word; that of the end of the statement if there is no word.
    pub(super) fn span_of(&self, word: &TokenWithSpan) -> Span {
        if word.token == Token::EOF { self.end } else { Span::of(self.file, word.span) }
    }

    /// The span from a word to the last one that was read.
    pub(super) fn since(&self, first: Span) -> Span {
        first.to(self.span_of(self.parser.get_current_token()))
    }

    pub(super) fn unexpected(&self, word: &TokenWithSpan, wanted: &str) -> Box<Diagnostic> {
        let message = format!("expected {wanted}, found {}", found(&word.token));
        Box::new(Diagnostic::new(codes::SYNTAX, self.span_of(word), message).hint(syntax_hint(wanted, Some(word))))
    }

    /// An error of the SQL parser, which says its place at the end of its message.
    pub(super) fn sql_error(&self, error: ParserError) -> Box<Diagnostic> {
        let text = match error {
            ParserError::RecursionLimitExceeded => {
                return Box::new(too_deep(self.span_of(self.parser.get_current_token())));
            }
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        };
        let (message, place) = split_location(&text);
        let expected = message.strip_prefix("Expected: ").or_else(|| message.strip_prefix("Expected "));
        let expected = expected.and_then(|message| message.split_once(", found: "));
        let at = place.and_then(|(line, column)| {
            self.words.iter().position(|w| w.span.start.line == line && w.span.start.column == column)
        });
        // In places the parser reports the word before the one whose place it gives.
        let before = at.and_then(|at| self.words.get(at.checked_sub(1)?));
        let is_found = |word: &&TokenWithSpan| expected.is_some_and(|(_, found)| word.token.to_string() == found);
        let word = at.and_then(|at| self.words.get(at));
        let word = match before {
            Some(before) if !word.as_ref().is_some_and(is_found) && is_found(&before) => Some(before),
            _ => word,
        };
        let span = match (word, place) {
            (Some(word), _) => Span::of(self.file, word.span),
            (None, Some((line, column))) => {
                Span { file: self.file, line, column, end_line: line, end_column: column + 1 }
            }
            (None, None) => self.end,
        };
        let message = match (expected, word) {
            (Some((wanted, _)), Some(word)) => format!("expected {}, found {}", quoted(wanted), found(&word.token)),
            (Some((wanted, _)), None) if place.is_none() => {
                format!("expected {}, found {}", quoted(wanted), found(&Token::EOF))
            }
            _ => lower_first(&shorten_to(message, 200)),
        };
        let is_emit = word.is_some_and(|word| is_word(word, "EMIT"));
        let hint = if is_emit { EMIT_LAST } else { syntax_hint(&message, word) };
        Box::new(Diagnostic::new(codes::SYNTAX, span, message).hint(hint))
    }
}

const EMIT_LAST: &str = "`EMIT FINAL` or `EMIT CHANGES` stands once, at the end of the statement.";

const CLAUSES: &str = "The statement is complete before this word. Clauses stand in this order: WITH, SELECT, FROM and JOIN, WHERE, GROUP BY, HAVING, QUALIFY, EMIT.";

/// What to do about a word where another is expected; none where the statement ends.
fn syntax_hint(wanted: &str, word: Option<&TokenWithSpan>) -> &'static str {
    match word {
        None => "The statement ends too early: complete it, or look for a `;` too many.",
        Some(word) if word.token == Token::EOF => {
            "The statement ends too early: complete it, or look for a `;` too many."
        }
        Some(word) if is_word(word, "SYSTEM_TIME") => "Write FOR SYSTEM_TIME AS OF <event time>.",
        Some(_) if wanted.starts_with("`)`") || wanted.starts_with("expected `)`") => {
            "Close the parenthesis that is open here, or look for a comma or an operator too few."
        }
        Some(_) => "Write what is expected in its place, or look before it for a word too many or a comma too few.",
    }
}

/// What the parser expected: a sign or keyword is quoted, a description is not.
fn quoted(wanted: &str) -> String {
    let is_description = wanted.chars().any(|c| c.is_lowercase());
    if is_description { wanted.to_owned() } else { format!("`{wanted}`") }
}

/// Splits `.. at Line: 3, Column: 5` into the message and its place.
fn split_location(text: &str) -> (&str, Option<(u64, u64)>) {
    let place = text.rsplit_once(" at Line: ").and_then(|(message, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((message, (line.parse().ok()?, column.trim().parse().ok()?)))
    });
    match place {
        Some((message, place)) => (message, Some(place)),
        None => (text, None),
    }
}

fn found(token: &Token) -> String {
    match token {
        Token::EOF => "the end of the statement".into(),
        token => format!("`{}`", shorten(&token.to_string())),
    }
}

/// A word as it can stand in a message: one line, not too long.
pub(super) fn shorten(text: &str) -> String {
    shorten_to(text, 40)
}

fn shorten_to(text: &str, length_max: usize) -> String {
    let mut short = String::new();
    for c in text.chars().take(length_max) {
        if c.is_control() { short.extend(c.escape_default()) } else { short.push(c) }
    }
    if text.chars().nth(length_max).is_some() {
        short.push_str("..");
    }
    short
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // A first word in capitals, as SQL, stays.
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
