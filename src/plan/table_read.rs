//! What a query reads of a table besides its rows: `CHANGES(t)` and `PASSED(t, column)`, each a relation of its own.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::builder::Builder;
use super::error::{Result, refuse};
use super::nodes::temporal_filter::add_temporal_filter;
use super::{RelationId, sinks};
use crate::catalog::RelationKind;

/// A reference to `CHANGES(t)` or `PASSED(t, column)`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TableRead {
    /// The table.
    pub(super) table: String,
    /// What is read of it.
    pub(super) by: ReadBy,
}

/// What a reference reads of a table besides its rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ReadBy {
    /// `CHANGES(t)`.
    Changes {
        /// The sink that holds rows back by itself (`settle`, `max_rate`), so that it needs the last rows for itself.
        sink: Option<Arc<str>>,
        /// For how long a key's change must be stable, in milliseconds.
        settle_ms: i64,
    },
    /// `PASSED(t, column)`.
    Passed {
        /// The column with the instant.
        column: String,
    },
}

impl TableRead {
    /// The name under which it is known.
    pub(super) fn name(&self) -> String {
        match &self.by {
            ReadBy::Changes { sink: None, .. } => format!("changes({})", self.table),
            ReadBy::Changes { sink: Some(sink), .. } => format!("changes({}) of {sink}", self.table),
            ReadBy::Passed { column } => format!("passed({}, {column})", self.table),
        }
    }

    /// Its columns, by those of the table.
    pub(super) fn schema(&self, table: &SchemaRef) -> SchemaRef {
        match self.by {
            ReadBy::Changes { .. } => super::sinks::changes_schema(table),
            ReadBy::Passed { .. } => table.clone(),
        }
    }
}

/// Adds the relation that `CHANGES(t)` or `PASSED(t, column)` reads.
pub(super) fn add_read(builder: &mut Builder<'_>, read: &TableRead, id: RelationId) -> Result<()> {
    match (&read.by, builder.relations[id].kind) {
        (ReadBy::Changes { .. }, RelationKind::Stream) => refuse(
            "C0441",
            format!("CHANGES(`{}`) follows a stream, whose rows never change", read.table),
            format!("Read `{}` itself.", read.table),
        ),
        (ReadBy::Changes { settle_ms, .. }, RelationKind::Table) => sinks::add_changes(builder, read, *settle_ms, id),
        (ReadBy::Passed { .. }, RelationKind::Stream) => refuse(
            "C0470",
            format!("PASSED(`{}`, ..) holds rows of a table back, but `{}` is a stream", read.table, read.table),
            "Group it by a key, which makes a table, or join it with the stream of answers within bounds.",
        ),
        (ReadBy::Passed { column }, RelationKind::Table) => add_temporal_filter(builder, read, column, id),
    }
}
