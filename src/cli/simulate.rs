//! `curb simulate`: plausible sources for a pack, made by the scripts beside it.

mod topics;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use chrono::{DateTime, Days, NaiveDate, TimeZone, Utc};
use chrono_tz::Tz;
use clap::Args;
use serde_json::json;

use self::topics::Feed;
use super::load::load;
use super::settings::{ClusterArgs, Configuration, Origin};
use super::{Failure, OutputForm, print};
use crate::catalog::{Catalog, Format, KeyFormat, SourceDefinition};
use crate::dialect::Pack;
use crate::engine::event_times;
use crate::stream::{RecordBatchBytes, RecordMeta};
use crate::testing::{Generated, GeneratorSettings, generate};

/// So many records are looked at together for their event times.
const BATCH_RECORDS: usize = 8_192;
/// The first day, unless something else is said.
const USUAL_START: NaiveDate = match NaiveDate::from_ymd_opt(2024, 3, 1) {
    Some(day) => day,
    None => NaiveDate::MIN,
};

/// Make plausible sources for a pack: files that `curb replay` reads, or records in the topics of a cluster
///
/// The scripts are the pack's own, PACK/simulation/*.sql: batch SQL that inserts into the pack's sources. The same numbers give
/// the same records. In a script, people(), days(), seed() and started_at() are what is given here, and chance(..) is a number from
/// 0 to below 1 that depends on the seed and on its arguments. To topics, records go in the order of their event times over all
/// sources, with the keys that the pack expects; `--until now` makes the simulated days end today, and leaves out what is to come.
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
    /// The first day [default: 2024-03-01; with --until now, so many days before tomorrow]
    #[arg(long, value_name = "DATE")]
    start: Option<NaiveDate>,
    /// Leave out records of later event times than this: `now`, or a timestamp (RFC 3339)
    #[arg(long, value_name = "now|TIMESTAMP", value_parser = parse_until)]
    until: Option<Until>,
    /// The folder that files are written to
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Make topics that are missing
    #[arg(long)]
    create_topics: bool,
    /// So many records a second over all topics; without it, as fast as the brokers take them
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    rate: Option<f64>,
    /// As fast as the brokers take them
    #[arg(long, conflicts_with = "rate")]
    as_fast_as_possible: bool,
    /// The time zone, instead of the pack's own
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<Tz>,
    /// How to print what was written
    #[arg(long, value_enum, default_value_t)]
    output: OutputForm,
}

/// Until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Now,
    At(i64),
}

fn parse_until(text: &str) -> Result<Until, String> {
    match text {
        "now" => Ok(Until::Now),
        other => DateTime::parse_from_rfc3339(other)
            .map(|at| Until::At(at.timestamp_millis()))
            .map_err(|_| "write now, or a timestamp as 2026-01-31T00:00:00+08:00".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "write a number above 0".into())
}

/// A simulated record: a JSON object, and its event time, if its source has one.
pub(super) struct Timed {
    event_ms: Option<i64>,
    line: Vec<u8>,
}

pub(super) fn run(args: &SimulateArgs, configuration: &Configuration) -> Result<(), Failure> {
    let catalog = load(&args.pack, args.time_zone, args.output)?.catalog;
    let feed = feed(args, configuration)?;
    if args.to.is_none() && feed.is_none() {
        return Err(Failure::Usage(anyhow!(
            "say where to: --to DIR for files, --brokers HOST:PORT for topics, or both"
        )));
    }
    let folder = args.pack.join("simulation");
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(Failure::Configuration(anyhow!(
            "there is no folder `{folder}` with scripts that say what to simulate"
        )));
    }
    let scripts = Pack::read(&folder).map_err(|e| Failure::Configuration(e.into()))?.files;
    let now_ms = Utc::now().timestamp_millis();
    let settings = GeneratorSettings {
        people: args.people,
        days: args.days,
        seed: args.seed,
        started_at_ms: started_at_ms(args, catalog.time_zone, now_ms)?,
    };
    let until_ms = args.until.map(|until| match until {
        Until::Now => now_ms,
        Until::At(ms) => ms,
    });
    let generated = generate(&catalog, &scripts, settings).map_err(|e| Failure::Failed(e.into()))?;
    let sources = timed(&catalog, generated, until_ms)?;
    if let Some(dir) = &args.to {
        write_files(dir, &sources).map_err(Failure::Configuration)?;
    }
    if let Some(feed) = &feed {
        to_topics(feed, &catalog, &sources)?;
    }
    let counts = sources.iter().map(|(name, records)| (name, records.len()));
    match args.output {
        OutputForm::Json => {
            let counts: serde_json::Map<_, _> = counts.map(|(name, n)| (name.to_string(), json!(n))).collect();
            print(&format!("{:#}\n", serde_json::Value::Object(counts)))
        }
        OutputForm::Text => print(&counts.map(|(name, n)| format!("{name:<28} {n:>12}\n")).collect::<String>()),
    }
}

/// The cluster that is written to. Who names a folder and has a cluster only in the environment or a file does not mean it.
fn feed(args: &SimulateArgs, configuration: &Configuration) -> Result<Option<Feed>, Failure> {
    let given = configuration.settings.iter().find(|(key, _)| key == "brokers").and_then(|(_, given)| given.as_ref());
    let is_meant = given.is_some_and(|given| args.to.is_none() || matches!(given.origin, Origin::Flag(_)));
    if !is_meant {
        return Ok(None);
    }
    let mut settings = args.cluster.settings(configuration)?;
    settings.pipeline = "curb-simulate".to_owned();
    Ok(Some(Feed { settings, create_topics: args.create_topics, rate: args.rate }))
}

fn started_at_ms(args: &SimulateArgs, zone: Tz, now_ms: i64) -> Result<i64, Failure> {
    let today = DateTime::from_timestamp_millis(now_ms).map(|now| now.with_timezone(&zone).date_naive());
    let first_of_last_days = || today?.checked_sub_days(Days::new(u64::from(args.days.saturating_sub(1))));
    let start = match (args.start, args.until) {
        (Some(day), _) => day,
        (None, Some(Until::Now)) => first_of_last_days().unwrap_or(USUAL_START),
        (None, _) => USUAL_START,
    };
    let midnight = start.and_hms_opt(0, 0, 0).and_then(|t| zone.from_local_datetime(&t).earliest());
    let midnight = midnight.ok_or_else(|| Failure::Usage(anyhow!("--start {start}: that day has no midnight")))?;
    Ok(midnight.timestamp_millis())
}

type Sources = BTreeMap<Arc<str>, Vec<Timed>>;

/// Records with their event times; without those that are later than `until_ms`.
fn timed(
    catalog: &Catalog,
    generated: BTreeMap<Arc<str>, Generated>,
    until_ms: Option<i64>,
) -> Result<Sources, Failure> {
    let mut sources = Sources::new();
    for (name, Generated { lines }) in generated {
        let definition = catalog.sources.iter().find(|s| s.name == name);
        let read = definition.map(event_times).transpose().map_err(|e| Failure::Failed(e.into()))?.flatten();
        let records = match read {
            None => lines.into_iter().map(|line| Timed { event_ms: None, line }).collect(),
            Some(mut read) => {
                let mut records = Vec::with_capacity(lines.len());
                for part in lines.chunks(BATCH_RECORDS) {
                    let mut batch = RecordBatchBytes::default();
                    for (idx, line) in part.iter().enumerate() {
                        let meta = RecordMeta {
                            partition: 0,
                            offset: idx as i64,
                            timestamp_ms: None,
                            sequence: idx as u64,
                            key: None,
                            value: None,
                        };
                        batch.push(meta, None, Some(line));
                    }
                    let times = read(&batch);
                    records.extend(
                        times.into_iter().zip(part).map(|(event_ms, line)| Timed { event_ms, line: line.clone() }),
                    );
                }
                records
            }
        };
        let is_over = |record: &Timed| record.event_ms.zip(until_ms).is_some_and(|(at, until)| at > until);
        sources.insert(name, records.into_iter().filter(|record| !is_over(record)).collect());
    }
    Ok(sources)
}

fn write_files(dir: &Path, sources: &Sources) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).context("output folder")?;
    for (name, records) in sources {
        let path = dir.join(format!("{name}.ndjson"));
        let written = File::create(&path).and_then(|file| {
            let mut file = BufWriter::new(file);
            for record in records {
                file.write_all(&record.line)?;
                file.write_all(b"\n")?;
            }
            file.flush()
        });
        written.with_context(|| format!("`{}`", path.display()))?;
    }
    Ok(())
}

/// Sources in order of declaration; what no topic takes is told.
fn to_topics(feed: &Feed, catalog: &Catalog, sources: &Sources) -> Result<(), Failure> {
    let mut fed: Vec<(&SourceDefinition, &[Timed])> = Vec::new();
    for definition in &catalog.sources {
        let Some(records) = sources.get(&definition.name).filter(|records| !records.is_empty()) else { continue };
        let is_text = definition.format.key == KeyFormat::Text || definition.key.is_empty();
        match (&definition.topic, definition.format.format) {
            (None, _) => {
                writeln!(
                    io::stderr(),
                    "note: `{}` is a file; its {} records were not written",
                    definition.name,
                    records.len()
                )?;
            }
            (Some(topic), Format::Json) if is_text => {
                // Several relations may read one topic: what is in it is then said by the first that has records.
                match fed.iter().find(|(known, _)| known.topic.as_ref() == Some(topic)) {
                    None => fed.push((definition, records)),
                    Some((first, _)) => writeln!(
                        io::stderr(),
                        "note: topic `{topic}` was given the records of `{}`; those of `{}` were not written",
                        first.name,
                        definition.name
                    )?,
                }
            }
            (Some(topic), _) => {
                return Err(Failure::Configuration(anyhow!(
                    "topic `{topic}` of `{}` does not hold JSON with keys as text, and nothing else can be written to topics: use --to DIR",
                    definition.name
                )));
            }
        }
    }
    topics::write(feed, &fed).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: SimulateArgs,
    }

    fn args(flags: &[&str]) -> SimulateArgs {
        Command::try_parse_from(["simulate", "pack"].iter().chain(flags)).unwrap().args
    }

    #[test]
    fn until_now_begins_so_many_days_ago_at_midnight_of_the_zone() {
        let zone = chrono_tz::Asia::Shanghai;
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis();
        let now_ms = at("2026-11-28T23:30:00+08:00");
        let started = |flags: &[&str]| started_at_ms(&args(flags), zone, now_ms).unwrap();
        assert_eq!(started(&["--until", "now", "--days", "3"]), at("2026-11-26T00:00:00+08:00"));
        assert_eq!(started(&["--until", "now", "--start", "2026-11-01"]), at("2026-11-01T00:00:00+08:00"));
        assert_eq!(started(&[]), at("2024-03-01T00:00:00+08:00"));
    }

    #[test]
    fn a_rate_is_a_positive_number() {
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "many", "inf"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
