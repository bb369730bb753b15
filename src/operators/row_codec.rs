//! Columns of a batch to byte strings and back, in arrow's row format.
//!
//! The byte order of encoded rows is the order of their columns, ascending, nulls first. State holds nothing else.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows, SortField};

use super::OperatorError;

/// Encodes some columns of a schema. No columns are fine: every row is then the empty string.
#[derive(Debug)]
pub(super) struct RowCodec {
    converter: Option<RowConverter>,
    columns: Vec<usize>,
    types: Vec<DataType>,
}

/// Rows of one batch, encoded.
#[derive(Debug)]
pub(super) struct EncodedRows {
    rows: Option<Rows>,
}

impl RowCodec {
    /// A codec of the columns at `columns`.
    pub fn new(schema: &SchemaRef, columns: Vec<usize>) -> Result<Self, OperatorError> {
        let types = columns
            .iter()
            .map(|c| match schema.fields().get(*c) {
                Some(f) => Ok(f.data_type().clone()),
                None => Err(OperatorError::Function(format!("no column {c} among {}", schema.fields().len()))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        let converter = match types.as_slice() {
            [] => None,
            types => Some(RowConverter::new(types.iter().map(|t| SortField::new(t.clone())).collect())?),
        };
        Ok(Self { converter, columns, types })
    }

    /// The columns that are encoded.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Encodes every row of a batch.
    pub fn encode(&self, batch: &RecordBatch) -> Result<EncodedRows, OperatorError> {
        let arrays: Vec<ArrayRef> = self.columns.iter().map(|c| batch.column(*c).clone()).collect();
        self.encode_arrays(&arrays)
    }

    /// Encodes rows given as the codec's own columns.
    pub fn encode_arrays(&self, arrays: &[ArrayRef]) -> Result<EncodedRows, OperatorError> {
        let rows = self.converter.as_ref().map(|c| c.convert_columns(arrays)).transpose()?;
        Ok(EncodedRows { rows })
    }

    /// Decodes rows into the codec's columns.
    pub fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>, OperatorError> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        let arrays = converter.convert_rows(rows.into_iter().map(|bytes| parser.parse(bytes)))?;
        let same_type = |(array, wanted): (ArrayRef, &DataType)| match array.data_type() == wanted {
            true => Ok(array),
            // A dictionary comes back as its values.
            false => Ok(cast(&array, wanted)?),
        };
        arrays.into_iter().zip(&self.types).map(same_type).collect()
    }
}

impl EncodedRows {
    /// The bytes of row `idx`.
    pub fn get(&self, idx: usize) -> &[u8] {
        match &self.rows {
            Some(rows) => rows.row(idx).data(),
            None => &[],
        }
    }
}
