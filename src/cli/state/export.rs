//! `curb state export`: the logged rows of a pipeline as files.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::record_batch::RecordBatch;
use clap::Args;
use serde_json::Value;

use super::{open, unreadable};
use crate::cli::load::load;
use crate::cli::settings::{Configuration, PipelineArgs};
use crate::cli::{Failure, OutputForm, print};
use crate::engine::{PrivateColumns, StateView};
use crate::plan::Pipeline;
use crate::stream::ShardCount;

/// What stands for a value that is not to be shown.
const MASK: &str = "***";

/// Write the rows that the state of a pipeline holds to files, one RELATION.ndjson for each relation with logged state
///
/// Tables have their columns; what a sink or CHANGES handed on last has `_present` (whether the key has a row now) and
/// `_revision` (how often it changed) besides; keys and accumulators of streams are written in hexadecimal.
/// Values of PRIVATE columns, and of whatever follows from them, are written as ***.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The pack that wrote the state: a folder of .sql files, or one file
    pack: PathBuf,
    /// The folder to write to; it is made if need be, and files of the same name are written over
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Write values of PRIVATE columns as they are
    #[arg(long)]
    with_private: bool,
    #[command(flatten)]
    pipeline: PipelineArgs,
}

pub(super) fn run(args: &ExportArgs, configuration: &Configuration) -> Result<(), Failure> {
    let loaded = load(&args.pack, None, OutputForm::Text)?;
    let mut topic = open(&args.pipeline, configuration)?;
    let n_shards = ShardCount(topic.n_shards());
    let view = StateView::read(&loaded.pipeline, n_shards, &mut topic).map_err(unreadable)?;
    let made = fs::create_dir_all(&args.to).with_context(|| format!("folder `{}`", args.to.display()));
    made.map_err(Failure::Configuration)?;
    for id in view.relations() {
        let private = match args.with_private {
            true => PrivateColumns::Named([].into()),
            false => view.private_columns(id),
        };
        let name = relation_name(&loaded.pipeline, id);
        let path = args.to.join(format!("{name}.ndjson"));
        let n_rows = write_rows(&path, view.rows(id), &private)
            .with_context(|| format!("relation `{name}` to `{}`", path.display()))
            .map_err(Failure::Failed)?;
        print(&format!("{}: {n_rows} rows\n", path.display()))?;
    }
    Ok(())
}

fn relation_name(pipeline: &Pipeline, id: usize) -> &str {
    pipeline.relations.get(id).map_or("", |relation| relation.name.as_ref())
}

fn write_rows<E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    private: &PrivateColumns,
) -> anyhow::Result<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut n_rows = 0;
    for batch in batches {
        let batch = shown_columns(&batch?)?;
        n_rows += batch.num_rows() as u64;
        let mut lines = Vec::new();
        let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut lines);
        writer.write(&batch)?;
        writer.finish()?;
        drop(writer);
        match hides(&batch, private) {
            true => mask(&lines, private, &mut file)?,
            false => file.write_all(&lines)?,
        }
    }
    file.flush()?;
    Ok(n_rows)
}

/// Leaves out what a delta has for its own sake.
fn shown_columns(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    let schema = batch.schema();
    let is_shown = |(_, name): &(usize, &String)| !["_weight", "_closed"].contains(&name.as_str());
    let names: Vec<&String> = schema.fields().iter().map(|f| f.name()).collect();
    let shown: Vec<usize> = names.into_iter().enumerate().filter(is_shown).map(|(idx, _)| idx).collect();
    Ok(batch.project(&shown)?)
}

fn hides(batch: &RecordBatch, private: &PrivateColumns) -> bool {
    batch.schema().fields().iter().any(|f| private.contains(f.name()))
}

/// Copies lines with a mask in the place of values that are not to be shown. Nulls stay.
fn mask(lines: &[u8], private: &PrivateColumns, to: &mut impl Write) -> anyhow::Result<()> {
    for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let mut row: serde_json::Map<String, Value> = serde_json::from_slice(line)?;
        for (name, value) in &mut row {
            if private.contains(name) && !value.is_null() {
                *value = Value::String(MASK.to_owned());
            }
        }
        serde_json::to_writer(&mut *to, &row)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn written(private: &PrivateColumns) -> String {
        let id: StringArray = ["x"].into_iter().map(Some).collect();
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(id) as _, false),
            ("name", Arc::new(StringArray::from(vec![Some("secret")])) as _, true),
            ("n", Arc::new(Int64Array::from(vec![None::<i64>])) as _, true),
            ("_weight", Arc::new(Int64Array::from(vec![1])) as _, false),
        ]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.ndjson");
        let batches = [Ok::<_, Infallible>(batch.unwrap())].into_iter();
        assert_eq!(write_rows(&path, batches, private).unwrap(), 1);
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn private_columns_are_masked_and_nulls_stay() {
        let named = PrivateColumns::Named(["name".to_owned(), "n".to_owned()].into());
        assert_eq!(written(&named), "{\"id\":\"x\",\"name\":\"***\",\"n\":null}\n");
        assert_eq!(written(&PrivateColumns::All), "{\"id\":\"***\",\"name\":\"***\",\"n\":null}\n");
        let none = PrivateColumns::Named([].into());
        assert_eq!(written(&none), "{\"id\":\"x\",\"name\":\"secret\",\"n\":null}\n");
    }
}
