//! All definitions of a pack, planned together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::SessionContext;

use super::builder::{Builder, Facts, NewRelation, project_columns};
use super::checks::{check_subqueries, check_syntax, check_wait};
use super::cut::{all_columns, cut};
use super::error::{DEFECT, PlanError, Result, refuse};
use super::leaf::EpochTable;
use super::nodes;
use super::order::in_order;
use super::pipeline::Pipeline;
use super::place::place;
use super::private::PrivateColumns;
use super::pseudo_columns::{own_name, with_records};
use super::retention::{Retention, plan_retention};
use super::rewrite::{Rewritten, rewrite};
use super::sources::add_source;
use super::table_read::{TableRead, add_read};
use super::{session, shields, sinks};
use crate::catalog::{Catalog, Emit, QueryDefinition, QueryRole, RelationKind};
use crate::dialect::Diagnostic;

/// Plans a pack. All findings are returned, not only the first; what depends on a definition that failed is left out.
pub fn plan(catalog: &Catalog) -> std::result::Result<Pipeline, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let rewritten = rewrite(catalog, &mut findings);
    let definitions = rewritten.iter().map(|r| (r.definition.name.to_string(), r.clone())).collect();
    let ordered = in_order(catalog, rewritten, &mut findings);
    let ctx = session::session(catalog.time_zone, &catalog.pseudonym_keys);
    let followed: BTreeSet<TableRead> = ordered.iter().flat_map(|r| &r.followed).cloned().collect();
    let mut private = PrivateColumns::default();
    let planned = read_definitions(&ctx, catalog, ordered, &followed, &mut private, &mut findings);
    let optimised = optimise(&ctx, catalog, planned, &followed, &mut findings);
    let mut pipeline = build(&ctx, catalog, optimised, &followed, &mut findings);
    pipeline.private_origins = private.origins();
    pipeline.private = private.by_relation();
    if findings.is_empty() {
        return Ok(pipeline);
    }
    let mut findings: Vec<Diagnostic> = findings.into_iter().map(|finding| place(finding, &definitions)).collect();
    findings.sort_by_key(|f| f.span);
    Err(findings)
}

/// The columns of every source and of every definition that can be planned, by name: all that are declared.
pub fn definition_schemas(catalog: &Catalog) -> BTreeMap<String, arrow::datatypes::SchemaRef> {
    let mut findings = Vec::new();
    let rewritten = rewrite(catalog, &mut findings);
    let ordered = in_order(catalog, rewritten, &mut findings);
    let followed: BTreeSet<TableRead> = ordered.iter().flat_map(|r| &r.followed).cloned().collect();
    let ctx = session::session(catalog.time_zone, &catalog.pseudonym_keys);
    let mut private = PrivateColumns::default();
    let planned = read_definitions(&ctx, catalog, ordered, &followed, &mut private, &mut findings);
    let of_query = |p: Planned| (p.definition.name.to_string(), Arc::new(p.plan.schema().as_arrow().clone()));
    let sources = catalog.sources.iter().map(|s| (s.name.to_string(), s.schema()));
    sources.chain(planned.into_iter().map(of_query)).collect()
}

/// The names that a query may read.
fn relation_names(catalog: &Catalog) -> Vec<String> {
    let sources = catalog.sources.iter().map(|s| s.name.to_string());
    let queries = catalog.queries.iter().filter(|q| !matches!(q.role, QueryRole::Sink(_)));
    sources.chain(queries.map(|q| q.name.to_string())).collect()
}

/// A definition whose syntax has been planned.
struct Planned {
    definition: QueryDefinition,
    plan: LogicalPlan,
    /// Whether it becomes a relation of its own; else it is put in the place of its name.
    stands_alone: bool,
}

/// Plans the syntax of every definition, in order.
fn read_definitions(
    ctx: &SessionContext,
    catalog: &Catalog,
    ordered: Vec<Rewritten>,
    followed: &BTreeSet<TableRead>,
    private: &mut PrivateColumns,
    findings: &mut Vec<Diagnostic>,
) -> Vec<Planned> {
    for source in &catalog.sources {
        private.add_source(source);
        register(ctx, &source.name, source.schema(), None, findings);
        let all = source.schema_with_records(catalog.time_zone);
        register(ctx, &with_records(&source.name), all, None, findings);
    }
    let mut readers: BTreeMap<&str, usize> = BTreeMap::new();
    for name in ordered.iter().flat_map(|r| &r.reads) {
        *readers.entry(name.as_str()).or_default() += 1;
    }
    let has_options = |d: &QueryDefinition| d.allowed_lateness_ms != 0 || d.wait_ms != 0;
    let with_options = ordered.iter().filter(|r| has_options(&r.definition));
    let read_with_options: BTreeSet<&str> = with_options.flat_map(|r| &r.reads).map(String::as_str).collect();
    for source in &catalog.sources {
        for read in reads_of(followed, &source.name) {
            register(ctx, &read.name(), read.schema(&source.schema()), None, findings);
            private.add_read(read);
        }
    }
    let relations = relation_names(catalog);
    // What refers to itself was left out of the order, and has its finding already.
    let ordered_names: BTreeSet<&str> = ordered.iter().map(|r| r.definition.name.as_ref()).collect();
    let mut failed: BTreeSet<String> =
        catalog.queries.iter().map(|q| q.name.to_string()).filter(|q| !ordered_names.contains(q.as_str())).collect();
    let mut planned = Vec::new();
    for rewritten in &ordered {
        let definition = rewritten.definition.clone();
        let name = definition.name.to_string();
        if rewritten.is_refused || rewritten.all_reads().any(|r| failed.contains(r)) {
            failed.insert(name);
            continue;
        }
        let plan = match session::read(ctx, catalog.time_zone, &catalog.pseudonym_keys, &definition.query)
            .and_then(check_syntax)
        {
            Ok(plan) => plan,
            Err(error) => {
                failed.insert(name);
                findings.push(error.into_diagnostic(&definition, &relations));
                continue;
            }
        };
        findings.extend(private.check_sink(&definition, &plan));
        private.add_definition(&name, &plan);
        let n_readers = readers.get(name.as_str()).copied().unwrap_or_default();
        // Put in the place of its name, it would be planned with the options of whoever reads it.
        let is_read_otherwise = n_readers > 1 || read_with_options.contains(name.as_str());
        let is_shared = is_read_otherwise && keeps_state(&plan);
        let declared = !matches!(definition.role, QueryRole::View);
        let stands_alone = declared
            || is_shared
            || is_followed(followed, &name)
            || definition.emit.is_some()
            || has_options(&definition);
        let schema = Arc::new(plan.schema().as_arrow().clone());
        let view = (!stands_alone).then(|| plan.clone());
        register(ctx, &name, schema.clone(), view, findings);
        for read in reads_of(followed, &name) {
            register(ctx, &read.name(), read.schema(&schema), None, findings);
            private.add_read(read);
        }
        planned.push(Planned { definition, plan, stands_alone });
    }
    planned
}

/// The references to `CHANGES(table)`.
pub(super) fn reads_of<'a>(followed: &'a BTreeSet<TableRead>, table: &'a str) -> impl Iterator<Item = &'a TableRead> {
    followed.iter().filter(move |read| read.table == table)
}

pub(super) fn is_followed(followed: &BTreeSet<TableRead>, table: &str) -> bool {
    reads_of(followed, table).next().is_some()
}

fn register(
    ctx: &SessionContext,
    name: &str,
    schema: arrow::datatypes::SchemaRef,
    view: Option<LogicalPlan>,
    findings: &mut Vec<Diagnostic>,
) {
    let table = EpochTable { relation: name.to_owned(), schema, view };
    let reference = datafusion::common::TableReference::bare(name.to_owned());
    if ctx.table_exist(reference.clone()).unwrap_or_default() {
        // Declared twice, which the catalog has told.
        return;
    }
    if let Err(error) = ctx.register_table(reference, Arc::new(table)) {
        findings.push(Diagnostic::new("C0200", crate::dialect::Span::default(), error.strip_backtrace()));
    }
}

/// Whether a plan holds anything but filters, projections, UNNEST and UNION ALL.
fn keeps_state(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.apply_with_subqueries(|node| {
        found |= matches!(
            node,
            LogicalPlan::Join(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Distinct(_)
        );
        let _ = node.apply_expressions(|e| {
            e.apply(|e| {
                found |= matches!(e, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_));
                Ok(TreeNodeRecursion::Continue)
            })
        });
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found
}

/// An optimised definition.
struct Optimised {
    definition: QueryDefinition,
    plan: LogicalPlan,
}

/// What the optimised definitions read of each relation.
struct Usage {
    definitions: Vec<Optimised>,
    columns: BTreeMap<String, BTreeSet<usize>>,
}

/// Optimises the definitions that stand alone, readers first, so that each yields only the columns that are read.
fn optimise(
    ctx: &SessionContext,
    catalog: &Catalog,
    planned: Vec<Planned>,
    followed: &BTreeSet<TableRead>,
    findings: &mut Vec<Diagnostic>,
) -> Usage {
    let state = ctx.state();
    let relations = relation_names(catalog);
    let mut usage = Usage { definitions: Vec::new(), columns: BTreeMap::new() };
    for Planned { definition, plan, stands_alone } in planned.into_iter().rev() {
        if !stands_alone {
            continue;
        }
        let is_sink = matches!(definition.role, QueryRole::Sink(_));
        let name = definition.name.to_string();
        let all_read = is_sink || reads_of(followed, &name).any(|read| usage.columns.contains_key(&read.name()));
        let used = usage.columns.get(&name).cloned().unwrap_or_default();
        let optimised = (|| {
            let plan = if all_read { plan } else { keep_columns(&definition, plan, &used)? };
            let plan = shields::unshielded(state.optimize(&shields::shielded(plan)?)?)?;
            check_subqueries(&plan)?;
            Ok(plan)
        })();
        let plan = match optimised {
            Ok(plan) => plan,
            Err(error) => {
                findings.push(PlanError::into_diagnostic(error, &definition, &relations));
                continue;
            }
        };
        let _ = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let all = 0..scan.source.schema().fields().len();
                let columns = usage.columns.entry(own_name(scan.table_name.table()).to_owned()).or_default();
                columns.extend(scan.projection.clone().unwrap_or_else(|| all.collect()));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        usage.definitions.push(Optimised { definition, plan });
    }
    usage.definitions.reverse();
    usage
}

/// Drops columns that nobody reads; key columns stay, for they tell rows apart.
fn keep_columns(definition: &QueryDefinition, plan: LogicalPlan, used: &BTreeSet<usize>) -> Result<LogicalPlan> {
    let declared: Vec<String> = match &definition.role {
        QueryRole::Table { key: Some(key) } => key.iter().map(super::rewrite::normalise).collect(),
        _ => Vec::new(),
    };
    let columns = plan.schema().columns();
    let keep = columns.iter().enumerate().filter(|(idx, c)| used.contains(idx) || declared.contains(&c.name));
    let keep: Vec<Expr> = keep.map(|(_, c)| Expr::Column(c.clone())).collect();
    if keep.is_empty() || keep.len() == columns.len() {
        return Ok(plan);
    }
    project_columns(plan, keep)
}

/// Makes relations of sources, definitions and sinks, in order.
fn build(
    ctx: &SessionContext,
    catalog: &Catalog,
    usage: Usage,
    followed: &BTreeSet<TableRead>,
    findings: &mut Vec<Diagnostic>,
) -> Pipeline {
    let state = ctx.state();
    let mut builder = Builder {
        state: &state,
        zone: catalog.time_zone,
        relations: Vec::new(),
        facts: Vec::new(),
        scans: BTreeMap::new(),
        definition: "".into(),
        emit: None,
        allowed_lateness_ms: 0,
        wait_ms: 0,
    };
    let relations = relation_names(catalog);
    let followed: BTreeSet<TableRead> =
        followed.iter().filter(|read| usage.columns.contains_key(&read.name())).cloned().collect();
    for source in &catalog.sources {
        let used = usage.columns.get(source.name.as_ref()).cloned().unwrap_or_default();
        let made = add_source(&mut builder, source, used, &followed);
        findings.extend(made.err().map(|e| Diagnostic::new("C0290", source.span, e.to_string()).hint(DEFECT)));
    }
    let mut sink_plans = Vec::new();
    for Optimised { definition, plan } in usage.definitions {
        builder.definition = definition.name.clone();
        builder.emit = definition.emit;
        builder.allowed_lateness_ms = definition.allowed_lateness_ms;
        builder.wait_ms = definition.wait_ms;
        let added = add_definition(&mut builder, &definition, plan, &followed);
        match added.and_then(|sink| check_wait(&builder, &definition).map(|()| sink)) {
            Ok(sink) => sink_plans.extend(sink),
            // What reads a definition that failed would only repeat its finding.
            Err(PlanError::Refused { code: "C0202", .. }) if !findings.is_empty() => {}
            Err(error) => findings.push(error.into_diagnostic(&definition, &relations)),
        }
    }
    let order: BTreeMap<&str, usize> = catalog.queries.iter().enumerate().map(|(i, q)| (q.name.as_ref(), i)).collect();
    sink_plans.sort_by_key(|s: &super::SinkPlan| order.get(s.name.as_ref()).copied());
    let retention = plan_retention(&mut builder, &mut sink_plans).unwrap_or_else(|error| {
        findings
            .extend(catalog.sources.first().map(|s| Diagnostic::new("C0291", s.span, error.to_string()).hint(DEFECT)));
        Retention::default()
    });
    let private = BTreeMap::new();
    Pipeline {
        time_zone: catalog.time_zone,
        relations: builder.relations,
        sinks: sink_plans,
        retention,
        private,
        private_origins: BTreeMap::new(),
    }
}

/// Cuts a definition and gives its relation the definition's name; a sink gets its last operator.
fn add_definition(
    builder: &mut Builder<'_>,
    definition: &QueryDefinition,
    plan: LogicalPlan,
    followed: &BTreeSet<TableRead>,
) -> Result<Option<super::SinkPlan>> {
    let needed = all_columns(&plan);
    let rest = cut(builder, plan, &needed)?;
    let kind = builder.kind(&rest)?;
    check_role(definition, kind)?;
    if let QueryRole::Sink(options) = &definition.role {
        let rest = nodes::pace::paced(builder, definition, rest, kind)?;
        return sinks::add_sink(builder, definition, options, rest, kind).map(Some);
    }
    let id = name_relation(builder, definition, rest, kind)?;
    for read in reads_of(followed, &definition.name) {
        add_read(builder, read, id)?;
    }
    Ok(None)
}

fn check_role(definition: &QueryDefinition, kind: RelationKind) -> Result<()> {
    match (&definition.role, kind) {
        (QueryRole::Stream, RelationKind::Table) => refuse(
            "C0442",
            format!("`{}` is declared as a stream, but its query yields a table", definition.name),
            "Write CREATE TABLE, or read the changes of a table with FROM CHANGES(t).",
        ),
        (QueryRole::Table { .. }, RelationKind::Stream) => refuse(
            "C0443",
            format!("`{}` is declared as a table, but its query yields a stream", definition.name),
            "Write CREATE STREAM, or group by a key.",
        ),
        _ => match definition.emit {
            Some(Emit::Final) if kind == RelationKind::Table => refuse(
                "C0444",
                format!("EMIT FINAL of `{}`: a table has no last word", definition.name),
                "Group a stream by a bucket of its event time, or drop EMIT FINAL.",
            ),
            _ => Ok(()),
        },
    }
}

/// Gives what a definition yields a relation of its name, with the columns in their order.
fn name_relation(
    builder: &mut Builder<'_>,
    definition: &QueryDefinition,
    rest: LogicalPlan,
    kind: RelationKind,
) -> Result<usize> {
    let mut facts = Facts { keys: super::lineage::keys(builder, &rest), ..Facts::default() };
    facts.event_time = super::lineage::event_time(builder, &rest);
    facts.event_times = super::lineage::event_times(builder, &rest);
    facts.bucket = super::lineage::bucket(builder, &rest);
    facts.broadcast = builder.is_broadcast(&rest);
    if let QueryRole::Table { key: Some(key) } = &definition.role {
        facts.keys.insert(0, declared_key(definition, key, &rest)?);
        facts.declared = true;
    }
    let schema = rest.schema().clone();
    let (operator, distribution) = nodes::pace::last_operator(builder, definition, &rest, kind)?;
    builder.add(NewRelation {
        node: "select",
        kind,
        schema,
        operator,
        inputs: vec![(rest, distribution)],
        facts,
        arrival: false,
        meaning: "select".into(),
    })?;
    let id = builder.relations.len() - 1;
    if let Some(relation) = builder.relations.last_mut() {
        relation.name = definition.name.clone();
        nodes::pace::keep_id(relation);
    }
    builder.scans.insert(definition.name.to_string(), id);
    Ok(id)
}

fn declared_key(
    definition: &QueryDefinition,
    key: &[datafusion::sql::sqlparser::ast::Ident],
    plan: &LogicalPlan,
) -> Result<Vec<usize>> {
    let names: Vec<String> = plan.schema().columns().into_iter().map(|c| c.name).collect();
    key.iter()
        .map(|ident| {
            let name = super::rewrite::normalise(ident);
            names.iter().position(|n| *n == name).map_or_else(
                || {
                    refuse(
                        "C0440",
                        format!("`{}` has no column `{name}` for its key", definition.name),
                        format!("Its columns are {}.", names.join(", ")),
                    )
                },
                Ok,
            )
        })
        .collect()
}
