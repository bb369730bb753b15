//! Rows to records of comma-separated values.

use arrow::array::{Array, BinaryArray, RecordBatch};
use chrono_tz::Tz;

use crate::format::json::{Encoded, Encoder, UnsupportedType};

/// Writes rows of one schema, columns in their order. Texts are quoted only where they must be.
pub(in crate::format) struct CsvEncoder {
    encoder: Encoder,
    delimiter: u8,
    null_literal: String,
}

impl CsvEncoder {
    pub(in crate::format) fn new(
        schema: arrow::datatypes::SchemaRef,
        zone: Tz,
        delimiter: u8,
        null_literal: Option<String>,
    ) -> Result<Self, UnsupportedType> {
        Ok(Self { encoder: Encoder::new(schema, zone)?, delimiter, null_literal: null_literal.unwrap_or_default() })
    }

    /// One row of text a row.
    pub(in crate::format) fn encode(&self, rows: &RecordBatch) -> Result<Encoded, UnsupportedType> {
        // A cell is what a key of one column is: the text in JSON without quotes.
        let columns = rows.columns().iter().map(|c| self.encoder.key_text(std::slice::from_ref(c)));
        let columns: Vec<BinaryArray> = columns.collect::<Result<_, _>>()?;
        let mut encoded = Encoded::default();
        for row in 0..rows.num_rows() {
            let start = encoded.data.len();
            for (idx, column) in columns.iter().enumerate() {
                if idx > 0 {
                    encoded.data.push(self.delimiter);
                }
                // What has no form in JSON, as NaN, is null there; a text may well be called so.
                let is_text = rows.column(idx).data_type().is_string();
                match column.is_null(row) || (!is_text && column.value(row) == b"null") {
                    true => encoded.data.extend_from_slice(self.null_literal.as_bytes()),
                    false => self.write(column.value(row), &mut encoded.data),
                }
            }
            encoded.ranges.push(start..encoded.data.len());
        }
        Ok(encoded)
    }

    fn write(&self, cell: &[u8], out: &mut Vec<u8>) {
        let is_special = |b: &u8| matches!(b, b'"' | b'\n' | b'\r') || *b == self.delimiter;
        if cell != self.null_literal.as_bytes() && !cell.iter().any(is_special) {
            return out.extend_from_slice(cell);
        }
        out.push(b'"');
        for byte in cell {
            if *byte == b'"' {
                out.push(b'"');
            }
            out.push(*byte);
        }
        out.push(b'"');
    }
}
