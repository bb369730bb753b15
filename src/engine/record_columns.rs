//! The pseudo-columns of a source: what its records say of themselves, beside their values.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder, StructBuilder,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, FieldRef};

use super::shared_topics::sharing;
use crate::catalog::SourceDefinition;
use crate::plan::Pipeline;
use crate::stream::RecordBatchBytes;

/// Makes the pseudo-column `field` of the records at the indices `of`.
pub(super) fn record_column(
    field: &FieldRef,
    definition: &SourceDefinition,
    raw: &RecordBatchBytes,
    of: &[u32],
) -> Result<ArrayRef, String> {
    let records = || of.iter().map(|idx| raw.get(*idx as usize));
    Ok(match field.name().as_str() {
        "_topic" => {
            let name = definition.topic.as_deref().or(definition.path.as_deref());
            Arc::new(of.iter().map(|_| name).collect::<StringArray>())
        }
        "_partition" => Arc::new(records().map(|r| Some(r.meta.partition)).collect::<Int32Array>()),
        "_offset" => Arc::new(records().map(|r| Some(r.meta.offset)).collect::<Int64Array>()),
        "_timestamp" => {
            let times: TimestampMillisecondArray = records().map(|r| r.meta.timestamp_ms).collect();
            Arc::new(times.with_data_type(field.data_type().clone()))
        }
        "_key" => Arc::new(records().map(|r| r.key.map(String::from_utf8_lossy)).collect::<StringArray>()),
        "_headers" => headers(field, raw, of)?,
        other => return Err(format!("column `{other}` is not declared")),
    })
}

fn headers(field: &FieldRef, raw: &RecordBatchBytes, of: &[u32]) -> Result<ArrayRef, String> {
    let DataType::List(item) = field.data_type() else { return Err("headers are a list".into()) };
    let DataType::Struct(fields) = item.data_type() else { return Err("a header is a struct".into()) };
    let texts: Vec<Box<dyn ArrayBuilder>> = vec![Box::new(StringBuilder::new()), Box::new(StringBuilder::new())];
    let mut lists = ListBuilder::new(StructBuilder::new(fields.clone(), texts)).with_field(item.clone());
    for idx in of {
        for (name, value) in raw.headers.get(*idx as usize).into_iter().flatten() {
            let entry = lists.values();
            let value = String::from_utf8_lossy(value);
            for (column, text) in [(0, name.as_str()), (1, value.as_ref())] {
                if let Some(texts) = entry.field_builder::<StringBuilder>(column) {
                    texts.append_value(text);
                }
            }
            entry.append(true);
        }
        // Files have none, and neither has a record of a topic whose headers nobody asked for.
        lists.append(!raw.headers.is_empty());
    }
    Ok(Arc::new(lists.finish()))
}

/// The sources of which some query reads the headers, and those that read a topic for them.
pub fn header_readers(pipeline: &Pipeline) -> Vec<Arc<str>> {
    let sources = pipeline.relations.iter().filter(|r| r.operator.is_source());
    let readers = sources.filter(|r| r.schema.fields().iter().any(|f| f.name() == "_headers"));
    let mut readers: Vec<Arc<str>> = readers.map(|r| r.name.clone()).collect();
    for (first, others) in sharing(pipeline) {
        if others.iter().any(|other| readers.contains(other)) {
            readers.push(first);
        }
    }
    readers
}

#[cfg(test)]
mod tests {
    use arrow::util::pretty::pretty_format_columns;

    use super::*;
    use crate::catalog::resolve;
    use crate::dialect::{Pack, parse};
    use crate::stream::RecordMeta;

    #[test]
    fn a_record_tells_where_it_came_from() {
        let rules = "CREATE STREAM s (a INT) WITH (topic = 'the.topic');";
        let catalog = resolve(parse(&Pack::from_text("rules.sql", rules)).0, None).unwrap();
        let definition = &catalog.sources[0];
        let schema = definition.schema_with_records(catalog.time_zone);
        let mut raw = RecordBatchBytes::default();
        for offset in 0..3 {
            let timestamp_ms = (offset > 0).then_some(1_700_000_000_000);
            let meta =
                RecordMeta { partition: 4, offset, timestamp_ms, sequence: offset as u64, key: None, value: None };
            raw.push(meta, (offset > 1).then_some(b"k\xff".as_slice()), Some(b"{}"));
            raw.headers.push((0..offset).map(|n| (format!("h{n}"), vec![b'v', b'0' + n as u8])).collect());
        }
        let shown = |name: &str| {
            let field = schema.field_with_name(name).unwrap();
            let column = record_column(&Arc::new(field.clone()), definition, &raw, &[0, 2]).unwrap();
            assert_eq!(column.data_type(), field.data_type());
            pretty_format_columns(name, &[column]).unwrap().to_string()
        };
        let all: String = crate::catalog::PSEUDO_COLUMNS.iter().map(|n| shown(n) + "\n").collect();
        expect_test::expect![[r#"
            +-----------+
            | _topic    |
            +-----------+
            | the.topic |
            | the.topic |
            +-----------+
            +------------+
            | _partition |
            +------------+
            | 4          |
            | 4          |
            +------------+
            +---------+
            | _offset |
            +---------+
            | 0       |
            | 2       |
            +---------+
            +----------------------+
            | _timestamp           |
            +----------------------+
            |                      |
            | 2023-11-14T22:13:20Z |
            +----------------------+
            +------+
            | _key |
            +------+
            |      |
            | k�   |
            +------+
            +------------------------------------------------+
            | _headers                                       |
            +------------------------------------------------+
            | []                                             |
            | [{name: h0, value: v0}, {name: h1, value: v1}] |
            +------------------------------------------------+
        "#]]
        .assert_eq(&all);
    }
}
