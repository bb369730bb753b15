//! `curb why`: the records that a row follows from, found by running the rules over them again.

mod trail;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use chrono_tz::Tz;
use clap::Args;
use serde_json::{Value, json};

use self::trail::{Asked, Audited, RowName};
use super::load::{Loaded, load_with_keys, pseudonym_keys};
use super::settings::{Configuration, PipelineArgs};
use super::{Failure, OutputForm, print};
use crate::catalog::SourceDefinition;
use crate::engine::read_files;
use crate::format::json::Wire;
use crate::plan::suggest;
use crate::stream::Watermark;
use crate::testing::{Derivation, DerivedRow, History, Inquiry, SourceRecord};

/// What stands for a PRIVATE value.
const MASK: &str = "***";

/// Say why a row is there: the records that it follows from, and whether the rules still derive it
///
/// Over a running pipeline the row is looked up in the audit trail (`curb run --audit`), whose hashes are checked, and the topics
/// are read up to where the pipeline had read them when the row left; tables that are files are read as they are now. Over files, the row is the last one that a replay gives.
/// Then the rules are run over fewer and fewer records, for as long as they derive the same row: what is left are the
/// records that it follows from. PRIVATE columns are masked.
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// The row: its key, or the value of its first column, as action_id
    id: String,
    /// The pack: a folder of .sql files, or one file
    pack: PathBuf,
    /// Only rows of this sink; without it, of the first sink of the pack that has a row of this name
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Look into files, as `curb replay` reads them, instead of topics
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// The audit trail of the replay, curb-audit.ndjson: it is checked, and must hold the row
    #[arg(long, value_name = "FILE", requires = "from")]
    trail: Option<PathBuf>,
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The time zone, instead of the pack's own
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<Tz>,
    /// End the search after so many seconds; what is found by then follows from more records than it needs
    #[arg(long, value_name = "SECONDS", default_value = "60")]
    patience: u64,
    /// The keys of `pseudonym` that the row was made with
    #[arg(long, value_name = "FILE", env = "CURB_PSEUDONYM_KEYS")]
    pseudonym_keys: Option<PathBuf>,
    /// How much memory the records read from topics may take, in MiB; where they need more the command ends and says so
    #[arg(long, value_name = "N", default_value = "1024")]
    max_mib: usize,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

pub(super) fn run(args: &WhyArgs, configuration: &Configuration) -> Result<(), Failure> {
    let Loaded { catalog, pipeline, pack_sha256 } =
        load_with_keys(&args.pack, args.time_zone, args.output, pseudonym_keys(args.pseudonym_keys.as_deref())?)?;
    if let Some(sink) = args.sink.as_deref().filter(|sink| !pipeline.sinks.iter().any(|s| *s.name == **sink)) {
        let known: Vec<&str> = pipeline.sinks.iter().map(|s| &*s.name).collect();
        return Err(Failure::Usage(anyhow!(
            "the pack has no sink `{sink}`. {}",
            suggest(sink, &known, "Its sinks are")
        )));
    }
    let name = RowName { id: &args.id, sink: args.sink.as_deref() };
    let pipeline = Arc::new(pipeline);
    let (history, audited) = match &args.from {
        Some(dir) => {
            let epochs = read_files(&pipeline, dir, None).map_err(|e| Failure::Configuration(e.into()))?;
            let lines = args.trail.as_deref().map(std::fs::read);
            let lines = lines.transpose().map_err(|e| Failure::Configuration(anyhow!("the audit trail: {e}")))?;
            let audited = lines.map(|lines| trail::in_file(&pipeline, &lines, name)).transpose()?;
            (History { epochs, wire: Wire::Lines, end_watermark: Watermark::MAX }, audited)
        }
        None => {
            let asked = Asked { name, bytes_max: args.max_mib.saturating_mul(1 << 20) };
            let settings = args.pipeline.settings(configuration)?;
            let (history, audited) = trail::in_topics(&pipeline, &catalog.sources, &settings, &asked)?;
            (history, Some(audited))
        }
    };
    let mut inquiry = Inquiry::new(pipeline, &history);
    let wanted = match audited.as_ref().and_then(Audited::derived) {
        Some(row) => row,
        None => {
            inquiry.find(&args.id, args.sink.as_deref()).map_err(|e| Failure::Failed(e.into()))?.ok_or_else(|| {
                Failure::Failed(anyhow!(
                    "no row has `{}` as its key or in its first column; look for the id in the sinks' output",
                    args.id
                ))
            })?
        }
    };
    if let Some(audited) = audited.as_ref().filter(|a| a.epoch.pack_sha256 != pack_sha256) {
        let (then, now) = (short(&audited.epoch.pack_sha256), short(&pack_sha256));
        writeln!(
            io::stderr(),
            "note: the row left by another text of the rules ({then}) than `{}` holds now ({now})",
            args.pack.display()
        )?;
    }
    let patience = Duration::from_secs(args.patience);
    let derivation = inquiry.explain(&args.id, &wanted, patience).map_err(|e| Failure::Failed(e.into()))?;
    let Some(derivation) = derivation else { return Err(not_derived(&wanted, audited.is_some())) };
    let shown = Shown {
        sources: catalog.sources.iter().map(|d| (d.name.clone(), d)).collect(),
        is_of_files: args.from.is_some(),
    };
    match args.output {
        OutputForm::Json => print(&format!("{:#}\n", shown.json(&derivation, audited.as_ref()))),
        OutputForm::Text => print(&shown.text(&derivation, audited.as_ref())),
    }
}

fn not_derived(wanted: &DerivedRow, is_audited: bool) -> Failure {
    let row = &wanted.row;
    Failure::Failed(if is_audited {
        anyhow!(
            "the row left as {row}\nbut these rules do not derive it from what the sources hold now up to that moment: the rules are \
             others, records have been deleted from the topics, a record was late then, or the row depends on the order of arrival \
             (`curb explain` marks what does)"
        )
    } else {
        anyhow!("the rules do not derive the row a second time: {row}")
    })
}

/// The first digits of a hash.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// How records are shown.
struct Shown<'a> {
    sources: BTreeMap<Arc<str>, &'a SourceDefinition>,
    is_of_files: bool,
}

impl Shown<'_> {
    fn text(&self, derivation: &Derivation, audited: Option<&Audited>) -> String {
        let Derivation { row, records, is_minimal, n_records, n_runs } = derivation;
        let mut text = format!("{}\n  {}\n", row.sink, row.row);
        // Writing to a string cannot fail.
        if let Some(Audited { row, epoch, n_checked }) = audited {
            let _ = writeln!(
                text,
                "left in epoch {} at {}, by rule version {} of curb {}; the audit trail of {n_checked} records is unbroken",
                epoch.epoch, epoch.clock, row.rule_version, epoch.engine_version
            );
        }
        let _ = writeln!(text, "\nfollows from {} of {n_records} records:", records.len());
        let places: Vec<String> = records.iter().map(|r| self.place(r)).collect();
        let width = places.iter().map(String::len).max().unwrap_or(0);
        for (place, record) in places.iter().zip(records) {
            let _ = writeln!(text, "  {place:<width$}  {}", self.content(record));
        }
        let _ = writeln!(
            text,
            "\n{}",
            match is_minimal {
                true => format!(
                    "The rules derive the same row from these alone, and lose it without any one of them ({n_runs} runs)."
                ),
                false => format!(
                    "The rules derive the same row from these alone; some may not be needed (ended after {n_runs} runs, see --patience)."
                ),
            }
        );
        text
    }

    fn json(&self, derivation: &Derivation, audited: Option<&Audited>) -> Value {
        let record = |r: &SourceRecord| {
            let topic = self.sources.get(&r.relation).and_then(|d| d.topic.clone()).filter(|_| !self.is_of_files);
            let value = self.masked_value(r).map(|v| serde_json::from_str(&v).unwrap_or(Value::String(v)));
            json!({"relation": r.relation, "topic": topic, "partition": r.partition, "offset": r.offset,
                   "key": self.masked_key(r), "value": value})
        };
        json!({
            "sink": derivation.row.sink,
            "row": serde_json::from_str::<Value>(&derivation.row.row).unwrap_or_default(),
            "epoch": audited.map(|a| &a.epoch),
            "rule_version": audited.map(|a| &a.row.rule_version),
            "records": derivation.records.iter().map(record).collect::<Vec<_>>(),
            "is_minimal": derivation.is_minimal,
            "read": derivation.n_records,
            "runs": derivation.n_runs,
        })
    }

    fn place(&self, record: &SourceRecord) -> String {
        if self.is_of_files {
            return format!("{}:{}", record.relation, record.offset);
        }
        let topic = self.sources.get(&record.relation).and_then(|d| d.topic.as_deref()).unwrap_or(&record.relation);
        format!("{topic}[{}]@{}", record.partition, record.offset)
    }

    fn content(&self, record: &SourceRecord) -> String {
        self.masked_value(record).unwrap_or_else(|| format!("deleted: {}", self.masked_key(record).unwrap_or_default()))
    }

    fn is_private(&self, relation: &str, column: &str) -> bool {
        self.sources.get(relation).is_some_and(|d| d.columns.iter().any(|c| c.private && c.name == column))
    }

    fn has_private(&self, relation: &str) -> bool {
        self.sources.get(relation).is_some_and(|d| d.columns.iter().any(|c| c.private))
    }

    fn masked_value(&self, record: &SourceRecord) -> Option<String> {
        let value = record.value.as_ref()?;
        if !self.has_private(&record.relation) {
            return Some(value.clone());
        }
        // What is no object does not show which of it is private.
        let Ok(Value::Object(mut members)) = serde_json::from_str(value) else { return Some(MASK.into()) };
        for (name, member) in &mut members {
            if self.is_private(&record.relation, name) {
                *member = MASK.into();
            }
        }
        Some(Value::Object(members).to_string())
    }

    fn masked_key(&self, record: &SourceRecord) -> Option<String> {
        let source = self.sources.get(&record.relation);
        let is_private = source.is_some_and(|d| d.key.iter().any(|c| d.columns.get(*c).is_some_and(|c| c.private)));
        record.key.as_ref().map(|key| if is_private { MASK.into() } else { key.clone() })
    }
}
