//! From statements to the catalog: names, types, keys and options checked.

use std::collections::HashMap;
use std::sync::Arc;

use chrono_tz::Tz;

use super::Catalog;
use super::options::short;
use super::query::resolve_query;
use super::source::resolve_source;
use crate::dialect::{Diagnostic, Kind, Name, Span, Statement, StatementKind, codes};
use crate::functions::PseudonymKeys;

/// Resolves the statements of a pack. All findings are returned, in order of their places, not only the first.
///
/// `time_zone` overrides that of the pack, as `--time-zone` does. What queries refer to is the planner's business.
pub fn resolve(statements: Vec<Statement>, time_zone: Option<Tz>) -> Result<Catalog, Vec<Diagnostic>> {
    let (catalog, findings) = resolve_all(statements, time_zone);
    if findings.is_empty() { Ok(catalog) } else { Err(findings) }
}

/// As [`resolve`], with what could be resolved in spite of the findings, so that more can be found in one go.
pub fn resolve_all(statements: Vec<Statement>, time_zone: Option<Tz>) -> (Catalog, Vec<Diagnostic>) {
    let mut findings = Vec::new();
    let declared_zone = resolve_zone(&statements, &mut findings);
    let time_zone = time_zone.or(declared_zone).unwrap_or(Tz::UTC);
    check_names(&statements, &mut findings);
    let pseudonym_keys = Arc::new(PseudonymKeys::of_tests());
    let mut catalog = Catalog { time_zone, sources: Vec::new(), queries: Vec::new(), pseudonym_keys };
    for statement in statements {
        match statement.kind {
            StatementKind::SetTimeZone { .. } => {}
            StatementKind::CreateSource(source) => {
                catalog.sources.push(resolve_source(&source, time_zone, &mut findings));
            }
            StatementKind::CreateQuery(query) => catalog.queries.push(resolve_query(*query, &mut findings)),
        }
    }
    findings.sort_by_key(|finding| finding.span);
    (catalog, findings)
}

/// The zone that a pack sets; it may do so once, in any of its files.
fn resolve_zone(statements: &[Statement], findings: &mut Vec<Diagnostic>) -> Option<Tz> {
    let mut first: Option<Span> = None;
    let mut resolved = None;
    for statement in statements {
        let StatementKind::SetTimeZone { zone, span } = &statement.kind else { continue };
        if let Some(first) = first {
            findings.push(
                Diagnostic::new(codes::DUPLICATE_ZONE, statement.span, "the time zone of the pack is set twice")
                    .note(first, "first set here")
                    .hint("All files of a pack share one time zone; keep one of the two."),
            );
            continue;
        }
        first = Some(statement.span);
        match zone.parse::<Tz>() {
            Ok(zone) => resolved = Some(zone),
            Err(_) => findings.push(unknown_zone(zone, *span)),
        }
    }
    resolved
}

fn unknown_zone(zone: &str, span: Span) -> Diagnostic {
    let hint = match suggest_zone(zone) {
        Some(known) => format!("Did you mean '{known}'?"),
        None => "Zones have names of the IANA database, as 'Asia/Shanghai', 'Europe/Berlin' or 'UTC'.".into(),
    };
    Diagnostic::new(codes::UNKNOWN_ZONE, span, format!("time zone `{}` does not exist", short(zone))).hint(hint)
}

/// The zone whose whole name, or whose city, is most like the word.
fn suggest_zone(word: &str) -> Option<&'static str> {
    const LENGTH_MAX: usize = 100;
    if word.len() > LENGTH_MAX {
        return None;
    }
    let lower = word.to_lowercase().replace(' ', "_");
    let likeness = |name: &str| {
        let name = name.to_lowercase();
        let city = name.rsplit('/').next().unwrap_or_default();
        strsim::jaro_winkler(&lower, &name).max(strsim::jaro_winkler(&lower, city))
    };
    chrono_tz::TZ_VARIANTS
        .iter()
        .map(|zone| (likeness(zone.name()), zone.name()))
        .filter(|(likeness, _)| *likeness > 0.9)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// A name may be declared once, whatever it names.
fn check_names(statements: &[Statement], findings: &mut Vec<Diagnostic>) {
    let mut declared: HashMap<&str, (Kind, &Name)> = HashMap::new();
    for statement in statements {
        let (kind, name) = match &statement.kind {
            StatementKind::SetTimeZone { .. } => continue,
            StatementKind::CreateSource(source) => (source.kind, &source.name),
            StatementKind::CreateQuery(query) => (query.kind, &query.name),
        };
        match declared.get(name.value.as_str()) {
            Some((first_kind, first)) => findings.push(
                Diagnostic::new(
                    codes::DUPLICATE_RELATION,
                    name.span,
                    format!("{kind} `{}` has the name of another relation", name.value),
                )
                .note(first.span, format!("the {first_kind} is declared here"))
                .hint("Rename one of the two; all files of a pack share one set of names."),
            ),
            None => {
                declared.insert(&name.value, (kind, name));
            }
        }
    }
}

#[cfg(test)]
mod tests;
