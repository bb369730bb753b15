//! From the path of a pack to its pipeline; what is wrong with the SQL is printed, all of it.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use chrono_tz::Tz;

use super::run::topics::private_sinks;
use super::{Failure, OutputForm, print};
use crate::catalog::{Catalog, SourceDefinition, resolve_all};
use crate::dialect::{Diagnostic, Pack, codes, findings, parse, render, render_styled};
use crate::engine::AuditOptions;
use crate::functions::PseudonymKeys;
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
    read(path, time_zone, form, None).map(|(loaded, _)| loaded)
}

/// The same with the keys of pseudonyms, which a pack without pseudonyms does not need.
pub(super) fn load_with_keys(
    path: &Path,
    time_zone: Option<Tz>,
    form: OutputForm,
    keys: PseudonymKeys,
) -> Result<Loaded, Failure> {
    read(path, time_zone, form, Some(keys)).map(|(loaded, _)| loaded)
}

/// Reads a file of keys; without one there are none.
pub(super) fn pseudonym_keys(path: Option<&Path>) -> Result<PseudonymKeys, Failure> {
    let Some(path) = path else { return Ok(PseudonymKeys::none()) };
    let name = || format!("keys of pseudonyms, file `{}`", path.display());
    let text = fs::read_to_string(path).with_context(name).map_err(Failure::Configuration)?;
    PseudonymKeys::parse(&text).with_context(name).map_err(Failure::Configuration)
}

/// The same, and refuses a pack whose tables are files that are not there.
pub(super) fn load_with_files(path: &Path, time_zone: Option<Tz>, form: OutputForm) -> Result<Loaded, Failure> {
    let (loaded, pack) = read(path, time_zone, form, None)?;
    let missing = missing_files(&loaded.catalog);
    if !missing.is_empty() {
        print_findings(&missing, &pack, form)?;
        return Err(Failure::Refused);
    }
    Ok(loaded)
}

/// One finding for each table whose file is not there. Where a pack is tested or replayed, other rows stand in for the file.
pub(super) fn missing_files(catalog: &Catalog) -> Vec<Diagnostic> {
    let missing = |source: &SourceDefinition| {
        let (path, file) = (source.path.as_ref()?, source.file.as_ref()?);
        let reason = match fs::metadata(file) {
            Ok(found) if found.is_file() => return None,
            Ok(_) => "is no file",
            Err(error) if error.kind() == io::ErrorKind::NotFound => "does not exist",
            Err(_) => "cannot be read",
        };
        let message = format!("table `{}` is the file `{path}`, which {reason}", source.name);
        let hint = format!(
            "Paths are relative to the folder of the pack: `{}` must be there when the pack is checked and run.",
            file.display()
        );
        Some(Diagnostic::new(codes::MISSING_FILE, source.span, message).hint(hint))
    };
    catalog.sources.iter().filter_map(missing).collect()
}

fn read(
    path: &Path,
    time_zone: Option<Tz>,
    form: OutputForm,
    keys: Option<PseudonymKeys>,
) -> Result<(Loaded, Pack), Failure> {
    let Read { pack, compiled } = examine_with_keys(path, time_zone, keys).map_err(Failure::Configuration)?;
    match compiled {
        Ok(loaded) => Ok((loaded, pack)),
        Err(diagnostics) => {
            print_findings(&diagnostics, &pack, form)?;
            Err(Failure::Refused)
        }
    }
}

/// A pack that was read, and what it says or what is wrong with it.
pub(super) struct Read {
    pub(super) pack: Pack,
    pub(super) compiled: Result<Loaded, Vec<Diagnostic>>,
}

/// Reads and plans a pack, and prints nothing.
pub(super) fn examine(path: &Path, time_zone: Option<Tz>) -> anyhow::Result<Read> {
    examine_with_keys(path, time_zone, None)
}

fn examine_with_keys(path: &Path, time_zone: Option<Tz>, keys: Option<PseudonymKeys>) -> anyhow::Result<Read> {
    let pack = Pack::read(path)?;
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let compiled = compile(&pack, folder, time_zone, keys);
    Ok(Read { pack, compiled })
}

/// What the audit trail of a pack says of all its rows.
pub(super) fn audit_options(loaded: &Loaded) -> AuditOptions {
    AuditOptions { pack_sha256: loaded.pack_sha256.clone(), private_sinks: private_sinks(&loaded.catalog) }
}

fn compile(
    pack: &Pack,
    folder: &Path,
    time_zone: Option<Tz>,
    keys: Option<PseudonymKeys>,
) -> Result<Loaded, Vec<Diagnostic>> {
    let (statements, mut diagnostics) = parse(pack);
    let (mut catalog, found) = resolve_all(statements, time_zone);
    catalog.set_folder(folder);
    catalog.pseudonym_keys = keys.map_or(catalog.pseudonym_keys, Arc::new);
    diagnostics.extend(found);
    diagnostics.extend(catalog.read_schema_files(folder));
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
