//! The pack: does it compile, and are its files there.

use std::path::Path;

use chrono_tz::Tz;

use super::finding::Findings;
use crate::cli::load::{Loaded, Read, examine, missing_files};
use crate::dialect::{Diagnostic, Pack, findings as located};

/// Errors of the pack that are shown one by one.
const SHOWN: usize = 20;

pub(super) fn look(path: &Path, time_zone: Option<Tz>, findings: &mut Findings) -> Option<Loaded> {
    let Read { pack, compiled } = match examine(path, time_zone) {
        Ok(read) => read,
        Err(error) => {
            findings.problem("pack", &format!("{error:#}"), "name a folder of .sql files, or one file");
            return None;
        }
    };
    match compiled {
        Err(diagnostics) => {
            report(&diagnostics, &pack, findings);
            None
        }
        Ok(loaded) => {
            let missing = missing_files(&loaded.catalog);
            report(&missing, &pack, findings);
            let (n_sources, n_sinks) = (loaded.catalog.sources.len(), loaded.pipeline.sinks.len());
            findings.ok("pack", &format!("`{}` compiles: {n_sources} sources, {n_sinks} sinks", path.display()));
            let unbounded = crate::plan::unbounded(&loaded.pipeline).len();
            if unbounded > 0 {
                findings.warning(
                    "pack",
                    &format!("the state of {unbounded} relations grows without end"),
                    "`curb check PACK` names them; declare a `retention` where rows need not stay for ever",
                );
            }
            Some(loaded)
        }
    }
}

fn report(diagnostics: &[Diagnostic], pack: &Pack, findings: &mut Findings) {
    for found in located(diagnostics, pack).into_iter().take(SHOWN) {
        let place = found.place.as_ref().map(|p| format!("{}:{}:{}: ", p.file, p.line, p.column)).unwrap_or_default();
        let remedy = found.hint.unwrap_or("`curb check PACK` shows the place");
        findings.problem("pack", &format!("{place}{} {}", found.code, found.message), remedy);
    }
    if diagnostics.len() > SHOWN {
        findings.problem("pack", &format!("{} more errors", diagnostics.len() - SHOWN), "`curb check PACK` shows all");
    }
}
