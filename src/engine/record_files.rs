//! Which reader reads the file of a source, and which sources are files.

use arrow::datatypes::DataType;
use chrono_tz::Tz;

use crate::catalog::{FileFormat, SourceDefinition};
use crate::format::csv::CsvReader;
use crate::format::parquet::ParquetReader;
use crate::local::{FileTable, LineReader};
use crate::plan::{OperatorPlan, Pipeline};
use crate::stream::{OpenRecords, RecordReader};

/// How the files of a source are opened: by their extension, else by the format that it declares.
pub(super) fn open_records(definition: &SourceDefinition, time_zone: Tz) -> OpenRecords {
    let columns: Vec<(String, DataType)> =
        definition.columns.iter().map(|c| (c.name.clone(), c.data_type.clone())).collect();
    let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
    let (key, declared) = (definition.key.clone(), definition.file_format);
    Box::new(move |path, bytes_read| {
        let format = FileFormat::of_path(path).or(declared).unwrap_or(FileFormat::Ndjson);
        let reader: Box<dyn RecordReader> = match format {
            FileFormat::Ndjson => Box::new(LineReader::open(path, bytes_read)?),
            FileFormat::Csv => Box::new(CsvReader::open(path, &columns, &key, bytes_read)?),
            FileFormat::Parquet => Box::new(ParquetReader::open(path, &names, &key, time_zone, bytes_read)?),
        };
        Ok(reader)
    })
}

/// The tables of a pipeline that are files.
pub fn file_tables(pipeline: &Pipeline) -> Vec<FileTable> {
    let tables = pipeline.relations.iter().filter_map(|relation| {
        let OperatorPlan::SourceTable(definition, _) = &relation.operator else { return None };
        Some(FileTable {
            relation: definition.name.clone(),
            path: definition.file.clone()?,
            open: open_records(definition, pipeline.time_zone),
            is_watched: definition.watch,
        })
    });
    tables.collect()
}
