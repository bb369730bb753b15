//! Plain DataFusion over the same events: what a query must have written at the end.

use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::json::ReaderBuilder;
use curb::catalog::SourceDefinition;
use curb::format::json::Encoder;
use datafusion::config::ConfigOptions;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use serde_json::Value;

use super::queries::Query;

/// The rows of a query as its sink would write them, sorted. `lines` gives the events of a relation as NDJSON.
pub(crate) fn run(query: &Query, lines: impl Fn(&str) -> Result<Vec<u8>, String>) -> Result<Vec<String>, String> {
    let zone = query.catalog.time_zone;
    let mut options = ConfigOptions::new();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some(zone.name().to_owned());
    let ctx = SessionContext::new_with_config(SessionConfig::from(options).with_target_partitions(1));
    for source in &query.catalog.sources {
        let batches = rows(source, &lines(&source.name)?)?;
        let table = MemTable::try_new(source.schema(), vec![batches]).map_err(|e| e.to_string())?;
        ctx.register_table(source.name.as_ref(), Arc::new(table)).map_err(|e| e.to_string())?;
    }
    let (views, last) = query.batch_steps();
    let failed = |e: datafusion::error::DataFusionError| format!("{} in batch: {}", query.name, e.strip_backtrace());
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|e| e.to_string())?;
    let batches = runtime.block_on(async {
        for (name, sql) in views {
            ctx.sql(&format!("CREATE VIEW {name} AS {sql}")).await?;
        }
        ctx.sql(&last).await?.collect().await
    });
    let mut rows = Vec::new();
    for batch in batches.map_err(failed)? {
        let fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
        let encoder = Encoder::new(Arc::new(Schema::new(fields)), zone).map_err(|e| e.to_string())?;
        for line in encoder.encode(&batch).map_err(|e| e.to_string())?.iter() {
            rows.push(as_text(line)?);
        }
    }
    rows.sort_unstable();
    Ok(rows)
}

/// A row as it is compared.
pub(crate) fn as_text(json: &[u8]) -> Result<String, String> {
    let value: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    Ok(value.to_string())
}

/// Where two sorted lists of rows first differ; none if they do not.
pub(crate) fn difference(streamed: &[String], batch: &[String]) -> Option<String> {
    if streamed == batch {
        return None;
    }
    let n_same = streamed.iter().zip(batch).take_while(|(a, b)| a == b).count();
    let at = |rows: &[String]| rows.get(n_same).cloned().unwrap_or_else(|| "no more rows".into());
    Some(format!(
        "{} rows streamed, {} in batch; the first difference:\nstreamed {}\nin batch {}",
        streamed.len(),
        batch.len(),
        at(streamed),
        at(batch)
    ))
}

fn rows(source: &SourceDefinition, lines: &[u8]) -> Result<Vec<RecordBatch>, String> {
    let reader = ReaderBuilder::new(source.schema()).with_batch_size(8_192).build(Cursor::new(lines));
    reader.map_err(|e| e.to_string())?.collect::<Result<_, _>>().map_err(|e| e.to_string())
}
