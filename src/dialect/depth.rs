//! How deeply a statement is nested, told from its words before it is parsed.
//!
//! The parser limits nested parentheses itself, but builds `a + a + a ..` as one tree that is as deep as the chain is long, and to
//! plan, print or drop such a tree takes the stack. So chains are limited here, where an error still has a place.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use super::sql_dialect::is_word;

/// How many operators may lie on the way from the statement to its innermost expression.
const OPERATORS_MAX: usize = 500;
/// How many parentheses, brackets and `CASE` may be open at once.
const OPEN_MAX: usize = 60;
/// How many queries and relations a statement may combine by UNION, JOIN and the like.
const COMBINED_MAX: usize = 300;

/// The first word that is too deep.
pub(super) fn first_too_deep(words: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let mut open: Vec<Level> = vec![Level::default()];
    let mut n_operators = 0;
    let mut n_combined = 0;
    for word in words {
        match step(word) {
            Step::Open { case } => open.push(Level { case, operators: 0 }),
            Step::Close { case } => {
                // An unmatched one is a syntax error, or a name; either way nothing is closed.
                if open.len() > 1 && open.last().is_some_and(|level| level.case == case) {
                    n_operators -= open.pop().map_or(0, |level| level.operators);
                }
            }
            Step::NextItem => {
                if let Some(level) = open.last_mut() {
                    n_operators -= std::mem::take(&mut level.operators);
                }
            }
            Step::Operator => {
                if let Some(level) = open.last_mut() {
                    level.operators += 1;
                    n_operators += 1;
                }
            }
            Step::Combine => n_combined += 1,
            Step::None => {}
        }
        if n_operators > OPERATORS_MAX || n_combined > COMBINED_MAX || open.len() > OPEN_MAX {
            return Some(word);
        }
    }
    None
}

/// An open parenthesis or `CASE`, with the operators read in it since its last comma.
#[derive(Default)]
struct Level {
    case: bool,
    operators: usize,
}

enum Step {
    Open { case: bool },
    Close { case: bool },
    NextItem,
    Operator,
    Combine,
    None,
}

fn step(word: &TokenWithSpan) -> Step {
    let is_one_of = |words: &[&str]| words.iter().any(|w| is_word(word, w));
    match &word.token {
        Token::LParen | Token::LBracket | Token::LBrace => Step::Open { case: false },
        Token::RParen | Token::RBracket | Token::RBrace => Step::Close { case: false },
        Token::Comma => Step::NextItem,
        Token::Word(_) if is_one_of(&["CASE"]) => Step::Open { case: true },
        Token::Word(_) if is_one_of(&["END"]) => Step::Close { case: true },
        // After these words an expression begins that is no operand of the one before. (FROM is not among them: IS DISTINCT FROM.)
        Token::Word(_) if is_one_of(&["SELECT", "WHERE", "HAVING", "QUALIFY", "WHEN", "THEN", "ELSE"]) => {
            Step::NextItem
        }
        Token::Word(_)
            if is_one_of(&["UNION", "EXCEPT", "INTERSECT", "MINUS", "JOIN", "PIVOT", "UNPIVOT", "APPLY"]) =>
        {
            Step::Combine
        }
        Token::Word(_)
            if is_one_of(&[
                "AND", "OR", "NOT", "XOR", "IS", "IN", "LIKE", "ILIKE", "SIMILAR", "RLIKE", "REGEXP", "BETWEEN", "DIV",
                "COLLATE", "AT", "OVERLAPS", "MEMBER", "ANY", "ALL", "NOTNULL", "ISNULL", "ARRAY", "OPERATOR", "MATCH",
            ]) =>
        {
            Step::Operator
        }
        Token::Word(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Period
        | Token::SemiColon
        | Token::Whitespace(_)
        | Token::EOF => Step::None,
        _ => Step::Operator,
    }
}
