//! The words of a pack's SQL: the parser's generic dialect, with table versions and without `EMIT` as an alias.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// The dialect in which queries of packs, and ad-hoc queries, are parsed.
#[derive(Debug)]
pub struct SqlDialect;

const GENERIC: GenericDialect = GenericDialect;

macro_rules! as_generic {
    ($($method:ident)*) => { $(fn $method(&self) -> bool { GENERIC.$method() })* };
}

impl Dialect for SqlDialect {
    /// The parser asks for the identity of a dialect in many places, and should do there what it does for the generic one.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        GENERIC.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        GENERIC.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        GENERIC.is_identifier_part(ch)
    }

    // What the generic dialect adds to queries. Left out is what DataFusion would parse and then ignore (`FORMAT`, `SETTINGS`,
    // `PREWHERE` and the like), what belongs to statements that a pack does not have, and hints: a comment is a comment.
    as_generic! {
        supports_unicode_string_literal supports_partition_by_after_order_by supports_array_join_syntax
        supports_group_by_expr supports_group_by_with_modifier supports_left_associative_joins_without_parens
        supports_match_recognize supports_pipe_operator supports_window_function_null_treatment_arg
        supports_dictionary_syntax supports_window_clause_named_window_reference supports_select_wildcard_except
        support_map_literal_syntax allow_extract_custom allow_extract_single_quotes
        supports_extract_comma_syntax supports_parens_around_table_factor supports_values_as_table_factor
        supports_limit_comma supports_from_first_select supports_projection_trailing_commas supports_try_convert
        supports_bitwise_shift_operators supports_named_fn_args_with_assignment_operator supports_struct_literal
        supports_nested_comments supports_string_escape_constant
        supports_array_typedef_with_brackets supports_filter_during_aggregation supports_select_wildcard_exclude
        supports_data_type_signed_suffix supports_interval_options supports_quote_delimited_string
        supports_select_wildcard_replace supports_select_wildcard_ilike supports_select_wildcard_rename
        supports_comma_separated_trim supports_cte_without_as supports_select_item_multi_column_alias
        supports_xml_expressions
    }

    /// `FOR SYSTEM_TIME AS OF`.
    fn supports_table_versioning(&self) -> bool {
        true
    }

    /// `a IS NOT DISTINCT FROM b AND c`: left to itself, the parser takes `b AND c` for what `a` is compared with.
    fn parse_infix(&self, parser: &mut Parser, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        let is = [Keyword::IS, Keyword::DISTINCT, Keyword::FROM];
        let is_not = [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM];
        let compared: fn(Box<Expr>, Box<Expr>) -> Expr = if parser.parse_keywords(&is) {
            Expr::IsDistinctFrom
        } else if parser.parse_keywords(&is_not) {
            Expr::IsNotDistinctFrom
        } else {
            return None;
        };
        let right = parser.parse_subexpr(precedence);
        Some(right.map(|right| compared(Box::new(expr.clone()), Box::new(right))))
    }

    /// `SELECT 1 EMIT FINAL`: here the word is refused as an alias only if it begins the clause.
    fn is_select_item_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        let is_clause = is_word(parser.get_current_token(), "EMIT")
            && ["FINAL", "CHANGES"].iter().any(|mode| is_word(parser.peek_token_ref(), mode));
        (explicit || self.is_column_alias(keyword, parser)) && !is_clause
    }

    /// `FROM t EMIT CHANGES`: without `AS`, the word is never an alias of a table.
    fn is_table_factor_alias(&self, explicit: bool, keyword: &Keyword, parser: &mut Parser) -> bool {
        explicit || (self.is_table_alias(keyword, parser) && !is_word(parser.get_current_token(), "EMIT"))
    }
}

/// Whether a token is this word, unquoted, in any case.
pub(super) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}
