//! From the path of a pack to its pipeline; what is wrong with the SQL is printed, all of it.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use chrono_tz::Tz;

use super::{Failure, OutputForm, print};
use crate::catalog::{Catalog, resolve};
use crate::dialect::{Diagnostic, Pack, findings, parse, render, render_styled};
use crate::plan::{Pipeline, plan};

/// A pack that was read and planned.
pub(super) struct Loaded {
    pub(super) catalog: Catalog,
    pub(super) pipeline: Pipeline,
}

/// Reads and plans a pack. `time_zone` overrides that of the pack.
pub(super) fn load(path: &Path, time_zone: Option<Tz>, form: OutputForm) -> Result<Loaded, Failure> {
    let pack = Pack::read(path).map_err(|e| Failure::Configuration(e.into()))?;
    compile(&pack, time_zone).or_else(|diagnostics| {
        print_findings(&diagnostics, &pack, form)?;
        Err(Failure::Refused)
    })
}

fn compile(pack: &Pack, time_zone: Option<Tz>) -> Result<Loaded, Vec<Diagnostic>> {
    let (statements, mut diagnostics) = parse(pack);
    // A statement that could not be parsed would only be missed by all that refer to it: names and types that can be
    // checked without it still are.
    let catalog = match resolve(statements, time_zone) {
        Ok(catalog) if diagnostics.is_empty() => catalog,
        Ok(_) => return Err(diagnostics),
        Err(found) => {
            diagnostics.extend(found);
            return Err(diagnostics);
        }
    };
    let pipeline = plan(&catalog)?;
    Ok(Loaded { catalog, pipeline })
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
