//! Rows to envelopes in JSON and Avro, as Flink writes them: every row that is there is `c`, whatever was there before, and one
//! that is gone is `d`; Debezium's readers take the former for either.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;
use serde_json::{Value, json};

use crate::format::avro::{AvroEncoder, long, record_name};
use crate::format::confluent;
use crate::format::json::{Encoded, Encoder, UnsupportedType};

/// Writes envelopes of rows of one schema.
pub(in crate::format) struct DebeziumEncoder {
    encoder: Encoder,
}

impl DebeziumEncoder {
    pub(in crate::format) fn new(schema: SchemaRef, zone: Tz) -> Result<Self, UnsupportedType> {
        Ok(Self { encoder: Encoder::new(schema, zone)? })
    }

    /// One envelope a row; `is_deleted` says of each whether it is gone.
    pub(in crate::format) fn encode(
        &self,
        rows: &RecordBatch,
        is_deleted: impl Fn(usize) -> bool,
    ) -> Result<Encoded, UnsupportedType> {
        let written = self.encoder.encode(rows)?;
        let mut encoded = Encoded::default();
        for (row, text) in written.iter().enumerate() {
            let start = encoded.data.len();
            let (before, after): (&[u8], &[u8]) = if is_deleted(row) { (text, b"null") } else { (b"null", text) };
            let op: &[u8] = if is_deleted(row) { b",\"op\":\"d\"}" } else { b",\"op\":\"c\"}" };
            for part in [b"{\"before\":", before, b",\"after\":", after, op] {
                encoded.data.extend_from_slice(part);
            }
            encoded.ranges.push(start..encoded.data.len());
        }
        Ok(encoded)
    }
}

/// Writes envelopes in Avro of rows of one schema.
pub(in crate::format) struct DebeziumAvroEncoder {
    row: AvroEncoder,
    /// The schema of the envelopes, in JSON.
    pub(in crate::format) text: String,
}

impl DebeziumAvroEncoder {
    /// An encoder for a topic. Fails if a column has no form or no name in Avro.
    pub(in crate::format) fn new(schema: &SchemaRef, topic: &str) -> Result<Self, String> {
        let row = AvroEncoder::new(schema, topic)?;
        let of_row: Value = serde_json::from_str(&row.text).map_err(|e| e.to_string())?;
        let name = record_name(topic);
        let envelope = json!({
            "type": "record", "name": format!("{name}_Envelope"), "namespace": "curb", "fields": [
                { "name": "before", "type": ["null", of_row], "default": null },
                { "name": "after", "type": ["null", format!("curb.{name}")], "default": null },
                { "name": "op", "type": "string" },
            ]
        });
        Ok(Self { row, text: envelope.to_string() })
    }

    /// One envelope a row, behind the number of its schema; `is_deleted` says of each whether it is gone.
    pub(in crate::format) fn encode(
        &self,
        rows: &RecordBatch,
        is_deleted: impl Fn(usize) -> bool,
        id: u32,
    ) -> Result<Encoded, String> {
        let writers = self.row.writers(rows.columns())?;
        let mut encoded = Encoded::default();
        for row in 0..rows.num_rows() {
            let start = encoded.data.len();
            let out = &mut encoded.data;
            confluent::begin(id, out);
            // The branches of `before` and `after`: 0 is null, 1 the row.
            let (before, op) = if is_deleted(row) { (true, b'd') } else { (false, b'c') };
            for is_there in [before, !before] {
                long(is_there.into(), out);
                if is_there {
                    writers.iter().for_each(|write| write(row, out));
                }
            }
            long(1, out);
            out.push(op);
            encoded.ranges.push(start..encoded.data.len());
        }
        Ok(encoded)
    }
}
