//! From the path of a pack to its pipeline; what is wrong with the SQL is printed, all of it.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use chrono_tz::Tz;

use super::run::topics::private_sinks;
use super::{Failure, OutputForm, print};
use crate::catalog::{Catalog, resolve_all};
use crate::dialect::{Diagnostic, Pack, findings, parse, render, render_styled};
use crate::engine::AuditOptions;
use crate::plan::{Pipeline, UNKNOWN_COLUMN, UNKNOWN_RELATION, plan};

/// A pack that was read and planned.
pub(super) struct Loaded {
    pub(super) catalog: Catalog,
    pub(super) pipeline: Pipeline,
    /// The hash of the text of all rules.
    pub(super) pack_sha256: String,
}

/// Reads and plans a pack. `time_zone` overrides that of the pack.
pub(super) fn load(path: &Path, time_zone: Option<Tz>, form: OutputForm) -> Result<Loaded, Failure> {
    let pack = Pack::read(path).map_err(|e| Failure::Configuration(e.into()))?;
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    compile(&pack, folder, time_zone).or_else(|diagnostics| {
        print_findings(&diagnostics, &pack, form)?;
        Err(Failure::Refused)
    })
}

/// What the audit trail of a pack says of all its rows.
pub(super) fn audit_options(loaded: &Loaded) -> AuditOptions {
    AuditOptions { pack_sha256: loaded.pack_sha256.clone(), private_sinks: private_sinks(&loaded.catalog) }
}

fn compile(pack: &Pack, folder: &Path, time_zone: Option<Tz>) -> Result<Loaded, Vec<Diagnostic>> {
    let (statements, mut diagnostics) = parse(pack);
    let (mut catalog, found) = resolve_all(statements, time_zone);
    catalog.set_folder(folder);
    diagnostics.extend(found);
    match plan(&catalog) {
        Ok(pipeline) if diagnostics.is_empty() => {
            return Ok(Loaded { catalog, pipeline, pack_sha256: pack.sha256() });
        }
        Ok(_) => {}
        // What a broken statement declares would only be missed by all that refer to it.
        Err(found) if diagnostics.is_empty() => diagnostics = found,
        Err(found) => diagnostics.extend(found.into_iter().filter(|d| !is_about_names(d))),
    }
    diagnostics.sort_by_key(|d| d.span);
    Err(diagnostics)
}

fn is_about_names(finding: &Diagnostic) -> bool {
    matches!(finding.code, UNKNOWN_COLUMN | UNKNOWN_RELATION)
}

fn print_findings(diagnostics: &[Diagnostic], pack: &Pack, form: OutputForm) -> Result<(), Failure> {
    match form {
        OutputForm::Json => {
            let found = serde_json::json!({ "findings": findings(diagnostics, pack) });
            print(&format!("{found:#}\n"))
        }
        OutputForm::Text => {
            let mut stderr = io::stderr();
            let draw = if stderr.is_terminal() { render_styled } else { render };
            let n = diagnostics.len();
            let noun = if n == 1 { "error" } else { "errors" };
            Ok(write!(stderr, "{}\n{n} {noun}\n", draw(diagnostics, pack))?)
        }
    }
}

#[cfg(test)]
mod tests;
