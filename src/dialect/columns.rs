//! The grammar of a column: its name, its type, its constraints.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::parse::{Grammar, Parsed, shorten};
use super::sql_dialect::is_word;
use super::{ColumnDefinition, Constraint, ConstraintKind, Diagnostic, TypeKind, TypeName, codes};

/// How deeply lists and structs may be nested.
const TYPE_DEPTH_MAX: usize = 16;

impl Grammar<'_> {
    pub(super) fn column(&mut self) -> Parsed<ColumnDefinition> {
        let name = self.name("the name of a column")?;
        let word = self.peek();
        if matches!(word.token, Token::Comma | Token::RParen) {
            let message = format!("column `{}` has no type", shorten(&name.value));
            return Err(Box::new(
                Diagnostic::new(codes::SYNTAX, name.span, message)
                    .hint("Write the type behind the name, as `name VARCHAR`."),
            ));
        }
        let data_type = self.data_type(0)?;
        let mut constraints = Vec::new();
        while let Some(constraint) = self.constraint(&name.value)? {
            constraints.push(constraint);
        }
        Ok(ColumnDefinition { name, data_type, constraints })
    }

    fn constraint(&mut self, column: &str) -> Parsed<Option<Constraint>> {
        let word = self.peek();
        let start = self.span_of(&word);
        let kind = if matches!(word.token, Token::Comma | Token::RParen | Token::EOF) {
            return Ok(None);
        } else if self.take_word("NOT") {
            self.expect_word("NULL")?;
            ConstraintKind::NotNull
        } else if self.take_word("NULL") {
            ConstraintKind::Null
        } else if self.take_word("PRIMARY") {
            self.expect_word("KEY")?;
            ConstraintKind::PrimaryKey
        } else if self.take_word("PRIVATE") {
            ConstraintKind::Private
        } else {
            let wanted = format!("`,`, `)` or a constraint of column `{}`", shorten(column));
            return Err(Box::new(
                self.unexpected(&word, &wanted).hint("A column takes `NOT NULL`, `PRIMARY KEY` and `PRIVATE`."),
            ));
        };
        Ok(Some(Constraint { kind, span: self.since(start) }))
    }

    fn data_type(&mut self, depth: usize) -> Parsed<TypeName> {
        let word = self.peek();
        let start = self.span_of(&word);
        if depth >= TYPE_DEPTH_MAX {
            let message = format!("a type is nested more than {TYPE_DEPTH_MAX} deep");
            return Err(Box::new(
                Diagnostic::new(codes::TOO_DEEP, start, message).hint("Declare only the fields that rules read."),
            ));
        }
        let kind = if is_word(&word, "STRUCT") { self.struct_type(depth)? } else { self.named_type()? };
        let mut data_type = TypeName { kind, span: self.since(start) };
        let mut lists = depth;
        loop {
            if self.take(&Token::LBracket) {
                self.expect(&Token::RBracket)?;
            } else if !self.take_word("ARRAY") {
                return Ok(data_type);
            }
            lists += 1;
            if lists >= TYPE_DEPTH_MAX {
                let message = format!("a type is nested more than {TYPE_DEPTH_MAX} deep");
                return Err(Box::new(Diagnostic::new(codes::TOO_DEEP, self.since(start), message)));
            }
            data_type = TypeName { kind: TypeKind::List(Box::new(data_type)), span: self.since(start) };
        }
    }

    fn struct_type(&mut self, depth: usize) -> Parsed<TypeKind> {
        self.expect_word("STRUCT")?;
        let word = self.peek();
        if !self.take(&Token::LParen) {
            return Err(Box::new(
                self.unexpected(&word, "`(`").hint("A struct is written `STRUCT(a VARCHAR, b INT)`."),
            ));
        }
        let mut fields = Vec::new();
        loop {
            let name = self.name("the name of a field")?;
            // `a: VARCHAR` is how other engines write it.
            self.take(&Token::Colon);
            fields.push((name, self.data_type(depth + 1)?));
            if !self.take(&Token::Comma) {
                break;
            }
        }
        self.expect(&Token::RParen)?;
        Ok(TypeKind::Struct(fields))
    }

    fn named_type(&mut self) -> Parsed<TypeKind> {
        let word = self.parser.next_token();
        let Token::Word(w) = &word.token else {
            return Err(self.unexpected(&word, "a type"));
        };
        let mut name = w.value.to_ascii_uppercase();
        if name == "ARRAY" && matches!(self.peek().token, Token::Lt | Token::LParen) {
            return Err(Box::new(
                self.unexpected(&self.peek(), "a type")
                    .hint("A list is written with its element first: `VARCHAR ARRAY`."),
            ));
        }
        if name == "DOUBLE" && self.take_word("PRECISION") {
            name.push_str(" PRECISION");
        }
        let arguments = if self.take(&Token::LParen) { self.type_arguments()? } else { Vec::new() };
        for zone in ["WITH", "WITHOUT"] {
            if self.take_word(zone) {
                self.expect_word("TIME")?;
                self.expect_word("ZONE")?;
                name.push_str(&format!(" {zone} TIME ZONE"));
            }
        }
        Ok(TypeKind::Named { name, arguments })
    }

    fn type_arguments(&mut self) -> Parsed<Vec<u64>> {
        let mut arguments = Vec::new();
        loop {
            let word = self.parser.next_token();
            match &word.token {
                Token::Number(digits, _) if digits.parse::<u64>().is_ok() => {
                    arguments.extend(digits.parse::<u64>());
                }
                _ => return Err(self.unexpected(&word, "a whole number")),
            }
            if !self.take(&Token::Comma) {
                break;
            }
        }
        self.expect(&Token::RParen)?;
        Ok(arguments)
    }
}
