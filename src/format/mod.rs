//! Bytes to Arrow and back: one folder a format.
//!
//! Decoding never fails as a whole: what cannot be read is handed back, record by record, with the reason.

pub mod csv;
pub mod json;
pub mod parquet;
