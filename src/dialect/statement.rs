//! The statements of a pack as parsed: words and places, nothing checked against anything else.

use std::fmt;

use datafusion::sql::sqlparser::ast;

use super::Span;

/// A statement of a pack.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it says.
    pub kind: StatementKind,
    /// From its first word to its last.
    pub span: Span,
}

/// What a statement says.
#[derive(Clone, Debug, PartialEq)]
pub enum StatementKind {
    /// `SET TIME ZONE = 'Asia/Shanghai'`.
    SetTimeZone {
        /// The name of the zone as written.
        zone: String,
        /// The place of the name.
        span: Span,
    },
    /// `CREATE STREAM | TABLE name (columns) WITH (options)`.
    CreateSource(CreateSource),
    /// `CREATE STREAM | TABLE | VIEW | SINK name .. AS query`.
    CreateQuery(Box<CreateQuery>),
}

/// The word behind `CREATE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `STREAM`
    Stream,
    /// `TABLE`
    Table,
    /// `VIEW`
    View,
    /// `SINK`
    Sink,
}

impl Kind {
    /// The keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Stream => "STREAM",
            Self::Table => "TABLE",
            Self::View => "VIEW",
            Self::Sink => "SINK",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream => "stream",
            Self::Table => "table",
            Self::View => "view",
            Self::Sink => "sink",
        })
    }
}

/// A name as SQL means it: lower case unless it was quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub value: String,
    /// The quote it was written with.
    pub quote: Option<char>,
    /// Where.
    pub span: Span,
}

impl Name {
    /// The name as the SQL planner expects it, with its place.
    pub fn ident(&self) -> ast::Ident {
        ast::Ident { value: self.value.clone(), quote_style: self.quote, span: self.span.location() }
    }
}

/// A stream or table that is read from a topic or file.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateSource {
    /// [`Kind::Stream`] or [`Kind::Table`].
    pub kind: Kind,
    /// The name.
    pub name: Name,
    /// The columns in order.
    pub columns: Vec<ColumnDefinition>,
    /// The `PRIMARY KEY (..)` clauses; more than one is an error of the catalog.
    pub keys: Vec<PrimaryKey>,
    /// The options in order.
    pub options: Vec<PackOption>,
}

/// A named query.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateQuery {
    /// What is created.
    pub kind: Kind,
    /// The name.
    pub name: Name,
    /// The declared key; only tables have one.
    pub key: Option<PrimaryKey>,
    /// The options in order.
    pub options: Vec<PackOption>,
    /// The query, with the spans of its file.
    pub query: ast::Query,
    /// `EMIT ..` behind the query.
    pub emit: Option<EmitClause>,
}

/// `PRIMARY KEY (a, b)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrimaryKey {
    /// The columns in key order, at least one.
    pub columns: Vec<Name>,
    /// The whole clause.
    pub span: Span,
}

/// `name type constraints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDefinition {
    /// The name.
    pub name: Name,
    /// The type as written.
    pub data_type: TypeName,
    /// `NOT NULL`, `PRIMARY KEY`, `PRIVATE`.
    pub constraints: Vec<Constraint>,
}

/// A constraint behind a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Constraint {
    /// Which.
    pub kind: ConstraintKind,
    /// Where.
    pub span: Span,
}

/// What a column may be declared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstraintKind {
    /// `NULL`: the default, written out.
    Null,
    /// `NOT NULL`
    NotNull,
    /// `PRIMARY KEY`
    PrimaryKey,
    /// `PRIVATE`
    Private,
}

/// A type as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeName {
    /// Its form.
    pub kind: TypeKind,
    /// Where.
    pub span: Span,
}

/// The form of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeKind {
    /// A word, as `DECIMAL(10, 2)` or `TIMESTAMP WITH TIME ZONE`.
    Named {
        /// The word in upper case, with `PRECISION` and `WITH TIME ZONE` where written.
        name: String,
        /// The numbers in parentheses.
        arguments: Vec<u64>,
    },
    /// `VARCHAR ARRAY` or `VARCHAR[]`.
    List(Box<TypeName>),
    /// `STRUCT(a VARCHAR, b INT)`.
    Struct(Vec<(Name, TypeName)>),
}

/// `name = value` in `WITH (..)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackOption {
    /// The name.
    pub name: Name,
    /// The value.
    pub value: OptionValue,
    /// The place of the value.
    pub value_span: Span,
}

/// The value of an option as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// `'text'`; `INTERVAL '30' SECOND` is the text `30 second`.
    Text(String),
    /// `10`, `-0.5`
    Number(String),
    /// `true`, `false`
    Boolean(bool),
}

/// `EMIT FINAL`, `EMIT CHANGES` or `EMIT CHANGES EVERY '5 seconds'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmitClause {
    /// When rows leave.
    pub mode: EmitMode,
    /// The duration behind `EVERY` as written, with its place.
    pub every: Option<(OptionValue, Span)>,
    /// The whole clause.
    pub span: Span,
}

/// The word behind `EMIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitMode {
    /// `FINAL`
    Final,
    /// `CHANGES`
    Changes,
}
