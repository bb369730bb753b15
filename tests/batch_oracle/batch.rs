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
use datafusion::prelude::{SessionConfig, SessionContext};
use serde_json::Value;

use crate::shapes::Shape;
use crate::world::Content;

/// The rows that batch SQL yields, as the sinks would write them, sorted.
pub(crate) fn run(catalog: &Catalog, shape: &Shape, content: &Content) -> Result<Vec<String>, String> {
    let (steps, query) = shape.batch_steps();
    let steps: Vec<(String, String)> = steps.iter().map(|(name, sql)| ((*name).into(), (*sql).into())).collect();
    run_sql(catalog, &steps, &query, content)
}

/// The rows of a query that reads views.
pub(crate) fn run_sql(
    catalog: &Catalog,
    steps: &[(String, String)],
    query: &str,
    content: &Content,
) -> Result<Vec<String>, String> {
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
    let failed = |e: datafusion::error::DataFusionError| format!("batch: {}", e.strip_backtrace());
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let batches = runtime.block_on(async {
        for (name, sql) in steps {
            ctx.sql(&format!("CREATE VIEW {name} AS {sql}")).await?;
        }
        ctx.sql(query).await?.collect().await
    });
    let mut lines = Vec::new();
    for batch in batches.map_err(failed)? {
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
