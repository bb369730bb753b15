//! Text to statements, with spans: the dialect that packs are written in.
//!
//! A [`Pack`] is a folder of `.sql` files. [`parse`] turns it into [`Statement`]s and finds all syntax errors of all files, not only the
//! first. What the statements mean is decided above, in the catalog and the planner; both report with [`Diagnostic`]s,
//! which [`render`] draws.

pub mod codes;
mod columns;
mod create;
mod depth;
mod diagnostic;
mod pack;
mod parse;
mod render;
mod sql_dialect;
mod statement;

pub use diagnostic::{Diagnostic, Note, Span};
pub use pack::{Pack, PackError, SourceFile};
pub use parse::parse;
pub use render::{Finding, findings, render, render_lines, render_styled};
pub use sql_dialect::SqlDialect;
pub use statement::{
    ColumnDefinition, Constraint, ConstraintKind, CreateQuery, CreateSource, EmitClause, EmitMode, Kind, Name,
    OptionValue, PackOption, PrimaryKey, Statement, StatementKind, TypeKind, TypeName,
};
