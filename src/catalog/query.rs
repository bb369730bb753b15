//! From `CREATE .. AS` to query definitions.

use datafusion::sql::sqlparser::ast::Ident;

use super::options::{OptionReader, Owner, duration_ms};
use super::{Compression, Emit, Headers, QueryDefinition, QueryRole, SinkMode, SinkOptions};
use crate::dialect::{CreateQuery, Diagnostic, EmitMode, Kind, Name, OptionValue, PrimaryKey, Span, codes};

/// Resolves what can be told of a query without planning it.
pub(super) fn resolve_query(statement: CreateQuery, findings: &mut Vec<Diagnostic>) -> QueryDefinition {
    let CreateQuery { kind, name, key, options, query, emit } = statement;
    let subject = format!("{kind} `{}`", name.value);
    let owner = if kind == Kind::Sink { Owner::Sink } else { Owner::Query };
    let mut reader = OptionReader { subject: &subject, owner, options: &options, findings };
    reader.check_names();
    let allowed_lateness_ms = reader.duration_ms("allowed_lateness").unwrap_or(0);
    let wait_ms = reader.duration_ms("wait").unwrap_or(0);
    let role = match kind {
        Kind::View => QueryRole::View,
        Kind::Stream => QueryRole::Stream,
        Kind::Table => QueryRole::Table { key: key.map(|key| declared_key(&subject, &key, reader.findings)) },
        Kind::Sink => QueryRole::Sink(Box::new(sink_options(&mut reader, &name))),
    };
    let every = emit.as_ref().and_then(|emit| emit.every.as_ref());
    let emit_every_ms = every.and_then(|(value, span)| resolve_every(&subject, value, *span, findings));
    QueryDefinition {
        file: name.span.file,
        span: name.span,
        name: name.value.into(),
        role,
        query,
        emit: emit.map(|emit| match emit.mode {
            EmitMode::Final => Emit::Final,
            EmitMode::Changes => Emit::Changes,
        }),
        emit_every_ms,
        allowed_lateness_ms,
        wait_ms,
    }
}

fn declared_key(subject: &str, key: &PrimaryKey, findings: &mut Vec<Diagnostic>) -> Vec<Ident> {
    for (i, column) in key.columns.iter().enumerate() {
        if let Some(first) = key.columns.iter().take(i).find(|first| first.value == column.value) {
            let message = format!("the key of {subject} holds column `{}` twice", column.value);
            findings.push(
                Diagnostic::new(codes::DUPLICATE_KEY, column.span, message)
                    .note(first.span, "first named here")
                    .hint("Name each key column once."),
            );
        }
    }
    key.columns.iter().map(Name::ident).collect()
}

fn sink_options(reader: &mut OptionReader<'_>, name: &Name) -> SinkOptions {
    let emit_time = one_column(reader, "emit_time", "Name the one timestamp column that `--emit-from` compares.");
    let count_by = one_column(reader, "count_by", "Name the one text column by whose values rows are counted.");
    SinkOptions {
        topic: reader.topic(&name.value, name.span),
        format: reader.format(),
        key: reader.columns("key"),
        compression: reader.choice("compression", &Compression::ALL),
        headers: reader
            .choice("headers", &[("minimal", Headers::Minimal), ("none", Headers::None)])
            .unwrap_or(Headers::Minimal),
        allow_private: reader.boolean("allow_private").unwrap_or(false),
        mode: reader
            .choice("mode", &[("live", SinkMode::Live), ("shadow", SinkMode::Shadow)])
            .unwrap_or(SinkMode::Live),
        max_rate: reader.rate("max_rate"),
        settle_ms: reader.duration_ms("settle").unwrap_or(0),
        emit_time,
        count_by,
    }
}

/// An option that names a single column.
fn one_column(reader: &mut OptionReader<'_>, name: &str, hint: &str) -> Option<Ident> {
    let columns = reader.columns(name)?;
    if let ([_, _, ..], Some(option)) = (columns.as_slice(), reader.given(name)) {
        reader.refuse(option, "names more than one column", hint);
        return None;
    }
    columns.into_iter().next()
}

fn resolve_every(subject: &str, value: &OptionValue, span: Span, findings: &mut Vec<Diagnostic>) -> Option<i64> {
    let refused = |reason: String, hint: &str| {
        let message = format!("`EMIT CHANGES EVERY` of {subject} {reason}");
        Diagnostic::new(codes::OPTION_VALUE, span, message).hint(hint)
    };
    match duration_ms(value) {
        Ok(0) => findings.push(refused("is zero".into(), "Leave out `EVERY ..` to let changes leave at once.")),
        Ok(ms) => return Some(ms),
        Err(error) => findings.push(refused(format!("is not a duration: {error}"), error.hint())),
    }
    None
}
