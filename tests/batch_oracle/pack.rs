//! The sources that all shapes read, and the way from SQL to a pipeline.

use std::sync::Arc;

use curb::catalog::{Catalog, resolve};
use curb::dialect::{Diagnostic, Pack, parse, render};
use curb::plan::{Pipeline, plan};

/// Tables of several kinds, one of them with an event time, a stream, and one whose identifiers are unique.
pub(crate) const SOURCES: &str = "
SET TIME ZONE = 'Europe/London';
CREATE TABLE t (
    id VARCHAR PRIMARY KEY, g VARCHAR, n BIGINT, x DOUBLE, m DECIMAL(10, 2), b BOOLEAN,
    at TIMESTAMP WITH TIME ZONE, d DATE, tags VARCHAR[]
) WITH (topic = 't', format = 'json');
CREATE TABLE u (id VARCHAR PRIMARY KEY, g VARCHAR, n BIGINT, k BIGINT NOT NULL, at TIMESTAMP WITH TIME ZONE)
    WITH (topic = 'u', format = 'json');
CREATE TABLE w (id BIGINT PRIMARY KEY, lo BIGINT, hi BIGINT) WITH (topic = 'w', format = 'json', broadcast = true);
CREATE TABLE v (g VARCHAR, since TIMESTAMP WITH TIME ZONE, val BIGINT, PRIMARY KEY (g, since))
    WITH (topic = 'v', format = 'json', valid_from = 'since');
CREATE TABLE p (since TIMESTAMP WITH TIME ZONE PRIMARY KEY, val BIGINT)
    WITH (topic = 'p', format = 'json', valid_from = 'since', broadcast = true);
CREATE TABLE timed (id VARCHAR PRIMARY KEY, g VARCHAR, n BIGINT, x DOUBLE, b BOOLEAN, at TIMESTAMP WITH TIME ZONE)
    WITH (topic = 'timed', format = 'json', event_time = 'at', watermark_delay = '30 minutes');
CREATE TABLE calendar (day DATE PRIMARY KEY, working BOOLEAN) WITH (topic = 'calendar', format = 'json');
CREATE STREAM s (id VARCHAR NOT NULL, g VARCHAR, n BIGINT, x DOUBLE, b BOOLEAN, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 's', format = 'json', event_time = 'at', watermark_delay = '30 minutes');
CREATE STREAM later (id VARCHAR NOT NULL, g VARCHAR, n BIGINT, x DOUBLE, b BOOLEAN, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'later', format = 'json', event_time = 'at', watermark_delay = '2 minutes');
CREATE STREAM q (id VARCHAR PRIMARY KEY, g VARCHAR, n BIGINT, at TIMESTAMP WITH TIME ZONE NOT NULL)
    WITH (topic = 'q', format = 'json', event_time = 'at', watermark_delay = '30 minutes', unique_for = '400 days');
";

/// Plans a pack of the sources and these rules. An error is the text that a user would see.
pub(crate) fn compile(rules: &str) -> Result<(Catalog, Arc<Pipeline>), String> {
    compile_whole(&format!("{SOURCES}{rules}"))
}

/// Plans a pack that declares its sources itself.
pub(crate) fn compile_whole(text: &str) -> Result<(Catalog, Arc<Pipeline>), String> {
    let pack = Pack::from_text("rules.sql", text.to_owned());
    let shown = |findings: Vec<Diagnostic>| render(&findings, &pack);
    let (statements, findings) = parse(&pack);
    if !findings.is_empty() {
        return Err(shown(findings));
    }
    let catalog = resolve(statements, None).map_err(shown)?;
    let pipeline = plan(&catalog).map_err(shown)?;
    Ok((catalog, Arc::new(pipeline)))
}
