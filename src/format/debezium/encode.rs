//! Rows to envelopes in JSON, as Flink writes them: every row that is there is `c`, whatever was there before, and one that is
//! gone is `d`; Debezium's readers take the former for either.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use chrono_tz::Tz;

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
