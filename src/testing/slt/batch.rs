//! Batch SQL: the queries of tests over what relations hold, and the values that tests insert.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use chrono_tz::Tz;
use datafusion::catalog::MemorySchemaProvider;
use datafusion::common::TableReference;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as DataFusionStatement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, Query, Statement, TableFactor, Visit, Visitor,
};
use tokio::runtime::Runtime;

use super::Wrong;
use super::column::Column;
use super::contents::Side;
use crate::dialect::parse_query;
use crate::plan::batch_session;

/// A table that a query reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    /// A relation of the pack.
    Relation(String),
    /// `"source.late"` and the like.
    Side { source: String, side: Side },
}

/// The result of a query: text by row and column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) types: Vec<Column>,
    pub(super) rows: Vec<Vec<String>>,
}

/// A DataFusion session with the functions of a pack.
pub(super) struct Batch {
    ctx: SessionContext,
    runtime: Runtime,
}

impl Batch {
    /// A session whose calendar is that of the zone.
    pub(super) fn new(zone: Tz) -> Result<Self, Wrong> {
        let ctx = batch_session(zone);
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Wrong::new)?;
        Ok(Self { ctx, runtime })
    }

    /// Runs a query over no relations.
    pub(super) fn evaluate(&self, query: &Query) -> Result<RecordBatch, Wrong> {
        let tables = tables(query);
        if let Some(table) = tables.first() {
            let (Table::Relation(name) | Table::Side { source: name, .. }) = table;
            return Err(Wrong(format!("what is inserted cannot be read from `{name}`; write VALUES (..)")));
        }
        self.run(query.clone())
    }

    /// The values of constant expressions, in one row.
    pub(super) fn values(&self, values: &[Expr]) -> Result<RecordBatch, Wrong> {
        let list: Vec<String> = values.iter().enumerate().map(|(n, value)| format!("{value} AS v{n}")).collect();
        let query = parse_query(&format!("SELECT {}", list.join(", "))).map_err(|e| Wrong(e.message))?;
        self.evaluate(&query)
    }

    /// Runs a query over what `read` gives for each table that it names.
    pub(super) fn answer(
        &self,
        query: &Query,
        read: &dyn Fn(&Table) -> Result<RecordBatch, Wrong>,
    ) -> Result<Answer, Wrong> {
        for table in tables(query) {
            self.register(&table, read(&table)?)?;
        }
        shown(&self.run(query.clone())?)
    }

    fn register(&self, table: &Table, rows: RecordBatch) -> Result<(), Wrong> {
        let provider = Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]]).map_err(|e| wrong(&e))?);
        let mut names = Vec::new();
        match table {
            Table::Relation(name) => names.push(TableReference::bare(name.clone())),
            Table::Side { source, side } => {
                let name = side.name(source);
                let word = name.strip_prefix(&format!("{source}.")).unwrap_or_default().to_string();
                let catalog = self.ctx.catalog("datafusion").ok_or_else(|| Wrong("there is no catalog".into()))?;
                if catalog.schema(source).is_none() {
                    let schema = Arc::new(MemorySchemaProvider::new());
                    catalog.register_schema(source, schema).map_err(|e| wrong(&e))?;
                }
                names.push(TableReference::partial(source.clone(), word));
                names.push(TableReference::bare(name));
            }
        }
        for name in names {
            self.ctx.deregister_table(name.clone()).map_err(|e| wrong(&e))?;
            self.ctx.register_table(name, provider.clone()).map_err(|e| wrong(&e))?;
        }
        Ok(())
    }

    fn run(&self, query: Query) -> Result<RecordBatch, Wrong> {
        let statement = DataFusionStatement::Statement(Box::new(Statement::Query(Box::new(query))));
        let collected = self.runtime.block_on(async {
            let plan = self.ctx.state().statement_to_plan(statement).await?;
            let schema = Arc::new(plan.schema().as_arrow().clone());
            let batches = self.ctx.execute_logical_plan(plan).await?.collect().await?;
            let schema = batches.first().map_or(schema, |first: &RecordBatch| first.schema());
            Ok((schema, batches))
        });
        let (schema, batches): (Arc<Schema>, Vec<RecordBatch>) = collected.map_err(|e: DataFusionError| wrong(&e))?;
        concat_batches(&schema, &batches).map_err(Wrong::new)
    }
}

fn wrong(error: &DataFusionError) -> Wrong {
    Wrong(error.strip_backtrace())
}

/// Rows as text: null is NULL, an empty text `(empty)`, instants have the pack's offset.
pub(super) fn shown(batch: &RecordBatch) -> Result<Answer, Wrong> {
    let options = FormatOptions::new()
        .with_display_error(false)
        .with_null("NULL")
        .with_duration_format(DurationFormat::Pretty)
        .with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.f"))
        .with_timestamp_tz_format(Some("%Y-%m-%dT%H:%M:%S%.f%:z"));
    let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(Wrong::new)?;
    let cell = |column: &ArrayFormatter<'_>, row: usize| {
        let text = column.value(row).try_to_string().map_err(Wrong::new)?;
        Ok(if text.is_empty() { "(empty)".to_string() } else { text.replace('\n', "\\n") })
    };
    let rows = (0..batch.num_rows()).map(|row| columns.iter().map(|column| cell(column, row)).collect());
    let types = batch.schema().fields().iter().map(|f| column_of(f.data_type())).collect();
    Ok(Answer { types, rows: rows.collect::<Result<_, Wrong>>()? })
}

fn column_of(data_type: &DataType) -> Column {
    match data_type {
        DataType::Boolean => Column::Boolean,
        DataType::Date32 | DataType::Date64 => Column::Date,
        DataType::Timestamp(..) => Column::Timestamp,
        t if t.is_string() => Column::Text,
        t if t.is_integer() => Column::Integer,
        t if t.is_numeric() => Column::Number,
        _ => Column::Any,
    }
}

/// The tables that a query reads, without those that it names in WITH.
pub(super) fn tables(query: &Query) -> Vec<Table> {
    let mut found = Found::default();
    let _ = Visit::visit(query, &mut found);
    found.read.retain(|table| !matches!(table, Table::Relation(name) if found.named.contains(name)));
    found.read.into_iter().collect()
}

#[derive(Default)]
struct Found {
    read: BTreeSet<Table>,
    /// The names that WITH gives.
    named: BTreeSet<String>,
}

impl Visitor for Found {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.named.extend(ctes.map(|cte| name_of(&cte.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: None, .. } = factor {
            self.read.extend(table(name));
        }
        ControlFlow::Continue(())
    }
}

/// `name`, `source.late` or `"source.late"`.
fn table(name: &ObjectName) -> Option<Table> {
    let side = |source: &str, word: &str| Side::of(word).map(|side| Table::Side { source: source.to_string(), side });
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(name)] => {
            let name = name_of(name);
            let of_side = name.rsplit_once('.').and_then(|(source, word)| side(source, word));
            Some(of_side.unwrap_or(Table::Relation(name)))
        }
        [ObjectNamePart::Identifier(source), ObjectNamePart::Identifier(word)] => {
            side(&name_of(source), &name_of(word))
        }
        _ => None,
    }
}

fn name_of(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}
