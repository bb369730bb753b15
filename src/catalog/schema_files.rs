//! The files of schemas that a pack names: read once, and held against the declared columns.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::{Catalog, FormatSpec, QueryRole, RelationKind};
use crate::dialect::{Diagnostic, Span, codes};
use crate::format::json::{DecodeColumn, DecodeSpec, Wire};
use crate::format::{DecoderSource, RecordDecoder};

/// No schema is longer.
const FILE_BYTES_MAX: u64 = 8 << 20;

impl Catalog {
    /// Reads the files of schemas, relative to the folder of the pack, and reports those that are not there or do not have
    /// the columns declared.
    pub fn read_schema_files(&mut self, folder: &Path) -> Vec<Diagnostic> {
        let mut findings = Vec::new();
        for source in &mut self.sources {
            if let Err(finding) = read(&mut source.format, folder, source.span) {
                findings.push(*finding);
                continue;
            }
            if !source.format.format.needs_schema_file() || source.format.schema.is_none() {
                continue;
            }
            let columns = source.columns.iter().map(|c| DecodeColumn {
                name: c.name.clone(),
                data_type: c.data_type.clone(),
                not_null: c.not_null,
                private: c.private,
            });
            let spec = DecodeSpec {
                columns: columns.collect(),
                key: source.key.clone(),
                is_table: source.kind == RelationKind::Table,
                event_time: None,
                max_future_ms: None,
                wire: Wire::Kafka,
            };
            // Keys may be the registry's affair, which is not asked here.
            let format = FormatSpec { key: super::KeyFormat::Text, ..source.format.clone() };
            let of =
                DecoderSource { relation: source.name.clone(), format: &format, declared: Vec::new(), registry: None };
            if let Err(reason) = RecordDecoder::new(spec, &of) {
                let file = source.format.schema_file.as_deref().unwrap_or_default();
                let message = format!("`{}` cannot be read by the schema in `{file}`: {reason}", source.name);
                findings.push(
                    Diagnostic::new(codes::SCHEMA_FILE, source.span, message)
                        .hint("Declare columns that the schema has, with types that hold its values."),
                );
            }
        }
        for query in &mut self.queries {
            if let QueryRole::Sink(options) = &mut query.role {
                findings.extend(read(&mut options.format, folder, query.span).err().map(|finding| *finding));
            }
        }
        findings
    }
}

fn read(format: &mut FormatSpec, folder: &Path, span: Span) -> Result<(), Box<Diagnostic>> {
    let Some(name) = &format.schema_file else { return Ok(()) };
    let path = folder.join(name);
    let refused = |reason: String| {
        let message = format!("the schema file `{name}` {reason}");
        let hint = format!("Paths are relative to the folder of the pack: `{}` must be there.", path.display());
        Box::new(Diagnostic::new(codes::SCHEMA_FILE, span, message).hint(hint))
    };
    let unreadable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => refused("does not exist".to_owned()),
        _ => refused(format!("cannot be read: {e}")),
    };
    let size = fs::metadata(&path).map_err(unreadable)?.len();
    if size > FILE_BYTES_MAX {
        return Err(refused(format!("has more than {FILE_BYTES_MAX} bytes")));
    }
    let bytes = fs::read(&path).map_err(unreadable)?;
    format.schema = Some(Arc::from(bytes));
    Ok(())
}
