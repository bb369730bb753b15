//! `curb simulate`: plausible sources for a pack, made by the scripts beside it.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use chrono::{NaiveDate, TimeZone};
use chrono_tz::Tz;
use clap::Args;
use serde_json::json;

use super::load::load;
use super::{Failure, OutputForm, print};
use crate::dialect::Pack;
use crate::testing::{GeneratorSettings, generate};

/// Make plausible sources for a pack, as files that `curb replay` reads
///
/// The scripts are the pack's own, PACK/simulation/*.sql: batch SQL that inserts into the pack's sources. The same numbers give
/// the same files. In a script, people(), days(), seed() and started_at() are what is given here, and chance(..) is a number from
/// 0 to below 1 that depends on the seed and on its arguments.
#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// The pack: a folder of .sql files with a folder `simulation`
    pack: PathBuf,
    /// How many people, or whatever else the pack counts
    #[arg(long, value_name = "N", default_value = "1000")]
    people: u32,
    /// How many days
    #[arg(long, value_name = "N", default_value = "30")]
    days: u32,
    /// Another seed gives other records of the same kind
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// The first day
    #[arg(long, value_name = "DATE", default_value = "2024-03-01")]
    start: NaiveDate,
    /// The folder that the files are written to
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The time zone, instead of the pack's own
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<Tz>,
    /// How to print what was written
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

pub(super) fn run(args: &SimulateArgs) -> Result<(), Failure> {
    let catalog = load(&args.pack, args.time_zone, args.output)?.catalog;
    let folder = args.pack.join("simulation");
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(Failure::Configuration(anyhow!(
            "there is no folder `{folder}` with scripts that say what to simulate"
        )));
    }
    let scripts = Pack::read(&folder).map_err(|e| Failure::Configuration(e.into()))?.files;
    let midnight = args.start.and_hms_opt(0, 0, 0).and_then(|t| catalog.time_zone.from_local_datetime(&t).earliest());
    let midnight =
        midnight.ok_or_else(|| Failure::Usage(anyhow!("--start {}: that day has no midnight", args.start)))?;
    let settings = GeneratorSettings {
        people: args.people,
        days: args.days,
        seed: args.seed,
        started_at_ms: midnight.timestamp_millis(),
    };
    let sources = generate(&catalog, &scripts, settings).map_err(|e| Failure::Failed(e.into()))?;
    std::fs::create_dir_all(&args.to).context("output folder").map_err(Failure::Configuration)?;
    for (name, records) in &sources {
        let path = args.to.join(format!("{name}.ndjson"));
        let written = File::create(&path).and_then(|file| {
            let mut file = BufWriter::new(file);
            for line in &records.lines {
                file.write_all(line)?;
                file.write_all(b"\n")?;
            }
            file.flush()
        });
        written.with_context(|| format!("`{}`", path.display())).map_err(Failure::Configuration)?;
    }
    let counts = sources.iter().map(|(name, records)| (name, records.lines.len()));
    match args.output {
        OutputForm::Json => {
            let counts: serde_json::Map<_, _> = counts.map(|(name, n)| (name.to_string(), json!(n))).collect();
            print(&format!("{:#}\n", serde_json::Value::Object(counts)))
        }
        OutputForm::Text => print(&counts.map(|(name, n)| format!("{name:<28} {n:>12}\n")).collect::<String>()),
    }
}
