//! Plain DataFusion over the content of the sources.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::json::ReaderBuilder;
use curb::catalog::{Catalog, SourceDefinition};
use curb::format::json::Encoder;
use datafusion::config::ConfigOptions;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext};
use serde_json::Value;

use crate::shapes::Shape;
use crate::world::Content;

/// The rows that batch SQL yields, as the sinks would write them, sorted.
pub(crate) fn run(catalog: &Catalog, shape: &Shape, content: &Content) -> Result<Vec<String>, String> {
    let (steps, query) = shape.batch_steps();
    let ctx = session(catalog, content)?;
    let batches = runtime()?.block_on(async {
        for (name, sql) in steps {
            ctx.sql(&format!("CREATE VIEW {name} AS {sql}")).await?;
        }
        ctx.sql(&query).await?.collect().await
    });
    lines(catalog, batches.map_err(failed)?)
}

/// The rows of a query that reads others. Each is computed by itself, so that no rule sees two of them together.
pub(crate) fn run_steps(
    catalog: &Catalog,
    steps: &[(String, String)],
    query: &str,
    content: &Content,
) -> Result<Vec<String>, String> {
    let ctx = session(catalog, content)?;
    let batches = runtime()?.block_on(async {
        for (name, sql) in steps {
            let rows = ctx.sql(sql).await?;
            let planned = Arc::new(rows.schema().as_arrow().clone());
            let batches = rows.collect().await?;
            let schema = batches.first().map_or(planned, RecordBatch::schema);
            ctx.register_table(name.as_str(), Arc::new(MemTable::try_new(schema, vec![batches])?))?;
        }
        ctx.sql(query).await?.collect().await
    });
    lines(catalog, batches.map_err(failed)?)
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())
}

fn failed(error: DataFusionError) -> String {
    format!("batch: {}", error.strip_backtrace())
}

/// A session of plain DataFusion that holds the sources.
fn session(catalog: &Catalog, content: &Content) -> Result<SessionContext, String> {
    let mut options = ConfigOptions::new();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some(catalog.time_zone.name().to_owned());
    let ctx = SessionContext::new_with_config(SessionConfig::from(options).with_target_partitions(1));
    for function in curb::functions::all(catalog.time_zone) {
        ctx.register_udf(function);
    }
    for function in curb::functions::aggregates() {
        ctx.register_udaf(function);
    }
    for source in &catalog.sources {
        let rows = content.get(&source.name).map_or(&[][..], Vec::as_slice);
        let batch = rows_of(source, rows)?;
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(|e| e.to_string())?;
        ctx.register_table(source.name.as_ref(), Arc::new(table)).map_err(|e| e.to_string())?;
    }
    Ok(ctx)
}

fn lines(catalog: &Catalog, batches: Vec<RecordBatch>) -> Result<Vec<String>, String> {
    let mut lines = Vec::new();
    for batch in batches {
        let fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        let encoder =
            Encoder::new(Arc::new(Schema::new(fields)), catalog.time_zone).map_err(|e| format!("batch: {e}"))?;
        for line in encoder.encode(&batch).map_err(|e| e.to_string())?.iter() {
            let value: Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
            lines.push(value.to_string());
        }
    }
    lines.sort();
    Ok(lines)
}

fn rows_of(source: &SourceDefinition, rows: &[Value]) -> Result<RecordBatch, String> {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let reader = ReaderBuilder::new(source.schema()).with_batch_size(100_000).build(Cursor::new(text));
    match reader.map_err(|e| e.to_string())?.next() {
        Some(batch) => batch.map_err(|e| e.to_string()),
        None => Ok(RecordBatch::new_empty(source.schema())),
    }
}
