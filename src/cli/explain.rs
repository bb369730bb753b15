//! `curb explain`: what a pack's relations are, and how they are computed.

use std::path::PathBuf;

use anyhow::anyhow;
use chrono_tz::Tz;
use clap::Args;

use super::load::load;
use super::{Failure, OutputForm, print};
use crate::plan::{Pipeline, explain, mermaid};

/// Show the relations of a pack: stream or table, key, state, retention, exchanges, plan
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The pack: a folder of .sql files, or one file
    pack: PathBuf,
    /// Only this relation
    relation: Option<String>,
    /// The time zone, instead of the pack's own
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<Tz>,
    /// Draw the relations as a Mermaid flowchart
    #[arg(long, conflicts_with = "relation")]
    mermaid: bool,
}

pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    let loaded = load(&args.pack, args.time_zone, OutputForm::Text)?;
    if args.mermaid {
        return print(&mermaid(&loaded.pipeline));
    }
    let text = explain(&loaded.pipeline, args.relation.as_deref());
    match &args.relation {
        Some(name) if text.is_empty() => Err(Failure::Usage(unknown(&loaded.pipeline, name))),
        _ => print(&text),
    }
}

fn unknown(pipeline: &Pipeline, name: &str) -> anyhow::Error {
    let names = pipeline.relations.iter().map(|r| r.name.as_ref());
    let distance = |candidate: &&str| strsim::damerau_levenshtein(candidate, name);
    match names.min_by_key(distance).filter(|nearest| distance(nearest) <= 1 + name.len() / 3) {
        Some(nearest) => anyhow!("there is no relation `{name}`; did you mean `{nearest}`?"),
        None => anyhow!("there is no relation `{name}`; `curb explain PACK` shows all"),
    }
}
