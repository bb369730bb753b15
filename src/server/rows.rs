//! The rows of an answer as JSON, written as sinks write them.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use serde_json::{Value, json};

use crate::engine::Answer;
use crate::format::json::{Encoded, Encoder, sql_type};

/// The columns of an answer with their types.
pub(super) fn columns(answer: &Answer) -> Vec<Value> {
    let column = |f: &Arc<Field>| json!({ "name": f.name(), "type": sql_type(f.data_type()) });
    answer.schema.fields().iter().map(column).collect()
}

/// One JSON object a row. Types that sinks do not write, as intervals, become texts.
pub(super) fn rows(answer: &Answer) -> Result<Encoded, String> {
    let has_form = |data_type: &DataType| {
        let alone = Arc::new(Schema::new(vec![Field::new("c", data_type.clone(), true)]));
        Encoder::new(alone, answer.time_zone).is_ok()
    };
    let fields = answer.schema.fields().iter().map(|field| match has_form(field.data_type()) {
        true => field.as_ref().clone(),
        false => Field::new(field.name(), DataType::Utf8, true),
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let encoder = Encoder::new(schema.clone(), answer.time_zone).map_err(|e| e.to_string())?;
    let mut all = Encoded::default();
    for batch in &answer.batches {
        let as_written = || -> Result<RecordBatch, ArrowError> {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| match column.data_type() == field.data_type() {
                true => Ok(column.clone()),
                false => cast(column, field.data_type()),
            });
            RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
        };
        let encoded = encoder.encode(&as_written().map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        let start = all.data.len();
        all.data.extend_from_slice(&encoded.data);
        all.ranges.extend(encoded.ranges.into_iter().map(|r| r.start + start..r.end + start));
    }
    Ok(all)
}
