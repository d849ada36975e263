//! Rules for tables on a cluster: what a cluster cannot do is refused before a server refuses it, or
//! loses rows.

use super::{Schema, table::sql_span};
use crate::{
    declare::Distributed,
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    paths,
    shards::local_name,
    source::Span,
    types::{self, DefaultKind, function_names},
};

/// The functions that return another value for the same row if a block is sent again, in lower case.
const UNSTABLE_FUNCTIONS: [&str; 52] = [
    "blocknumber",
    "curdate",
    "current_date",
    "current_timestamp",
    "fqdn",
    "fullhostname",
    "fuzzbits",
    "fuzzjson",
    "fuzzquery",
    "generaterandomstructure",
    "generateserialid",
    "generatesnowflakeid",
    "generateulid",
    "generateuuidv4",
    "generateuuidv7",
    "hostname",
    "initial_query_id",
    "initialqueryid",
    "now",
    "now64",
    "nowinblock",
    "nowinblock64",
    "query_id",
    "queryid",
    "rand",
    "rand32",
    "rand64",
    "randbernoulli",
    "randbinomial",
    "randcanonical",
    "randchisquared",
    "randconstant",
    "randexponential",
    "randfisherf",
    "randlognormal",
    "randnegativebinomial",
    "randnormal",
    "randomfixedstring",
    "randomprintableascii",
    "randomstring",
    "randomstringutf8",
    "randpoisson",
    "randstudentt",
    "randuniform",
    "rownumberinallblocks",
    "rownumberinblock",
    "serveruuid",
    "today",
    "uptime",
    "utc_timestamp",
    "utctimestamp",
    "yesterday",
];

/// Returns the place of `distributed`, if the table is distributed.
fn distributed(table: &ResolvedTable) -> Option<&Span> {
    let (_, span) = table.distribution.distributed.as_ref()?;
    table.distribution.is_distributed().then_some(span)
}

impl ResolvedTable {
    /// Returns whether ClickHouse has a table with this name for the schema's table.
    pub(super) fn exists_as(&self, name: &str) -> bool {
        let is_local = || self.distribution.is_distributed() && local_name(&self.name.text) == name;
        self.name.text == name || is_local()
    }
}

/// Rule: a distributed table has a cluster.
pub(super) fn missing_cluster(table: &ResolvedTable, report: &mut Report) {
    let Some((Distributed::OwnCluster, span)) = &table.distribution.distributed else {
        return;
    };
    if table.clauses.cluster.is_none() {
        let message = format!("table `{}` is distributed over no cluster", table.name.text);
        let diagnostic = Diagnostic::error("missing-cluster", message)
            .label(span.clone(), "")
            .help(
                "name the cluster: `cluster: NAME` in `_options`, or under `clickhouse:` for all tables; or \
                 `distributed: NAME`, if the tables are not to be created ON CLUSTER",
            );
        report.push(diagnostic);
    }
}

/// Rule: only a table of the MergeTree family has replicas and shards, and only a distributed one
/// has a sharding key.
pub(super) fn cluster_misfit(table: &ResolvedTable, report: &mut Report) {
    let distribution = &table.distribution;
    let name = &table.name.text;
    if let Some((engine, _)) = table.engine.as_ref().filter(|(engine, _)| !engine.is_merge_tree()) {
        let replicated = distribution.replicated.as_ref().filter(|(is_set, _)| *is_set);
        let replicated = replicated.map(|(_, span)| ("replicated", span));
        for (key, span) in distributed(table)
            .map(|span| ("distributed", span))
            .into_iter()
            .chain(replicated)
        {
            let message = format!("`{name}` is a {}, which cannot be {key}", engine.name());
            let diagnostic = Diagnostic::error("cluster-misfit", message)
                .label(span.clone(), "")
                .help("use an engine of the MergeTree family, or omit the option");
            report.push(diagnostic);
        }
    }
    // `distributed: false` keeps the key of an ancestor out of use.
    if let (Some((_, span)), None) = (&distribution.sharding_key, &distribution.distributed) {
        let message = format!("`{name}` has a sharding key and is not distributed");
        let diagnostic = Diagnostic::error("cluster-misfit", message)
            .label(span.clone(), "")
            .help("add `distributed: true`, or omit the key");
        report.push(diagnostic);
    }
    if let Some(span) = distributed(table) {
        ephemeral_source(table, span, report);
    }
}

/// Reports the columns that a shard computes from values that it never gets.
fn ephemeral_source(table: &ResolvedTable, span: &Span, report: &mut Report) {
    let is = |column: &ResolvedColumn, kind| column.default_kind() == Some(kind);
    let computed = table
        .columns
        .iter()
        .filter(|column| is(column, DefaultKind::Materialized));
    for column in computed {
        let sources = column.expressions.default.as_ref().map(|sql| table.named_columns(sql));
        let mut sources = sources.unwrap_or_default().into_iter();
        let Some(source) = sources.find(|source| is(source, DefaultKind::Ephemeral)) else {
            continue;
        };
        let message = format!("no shard can compute `{}` of `{}`", column.name, table.name.text);
        let diagnostic = Diagnostic::error("cluster-misfit", message)
            .label(
                column.name_span.clone(),
                format!("shards do not get the EPHEMERAL column `{}`", source.name),
            )
            .label(span.clone(), "")
            .help("use DEFAULT instead of MATERIALIZED, which the server computes that gets the insert");
        report.push(diagnostic);
    }
}

/// Rule: a row that is sent again gets to the same shard, which recognizes it.
pub(super) fn sharding_key(table: &ResolvedTable, report: &mut Report) {
    let Some(span) = distributed(table) else {
        return;
    };
    let name = &table.name.text;
    let Some((key, _)) = &table.distribution.sharding_key else {
        let extras = paths::extras(&table.columns);
        let roles = paths::roles(table, &extras);
        let declarations = table.columns.iter().map(|column| &column.declaration);
        if paths::row_id(roles.into_iter().zip(declarations)).is_none() {
            let message = format!("`{name}` is distributed and has neither a sharding key nor an id");
            let diagnostic = Diagnostic::error("sharding-key", message)
                .label(span.clone(), "the shard of a row is unknown")
                .help(
                    "add `sharding_key: cityHash64(COLUMN)` to `_options`, or an id: `id: { type: UInt64, from: $id }`",
                );
            report.push(diagnostic);
        }
        return;
    };
    let functions = function_names(key.as_str());
    if let Some(function) = functions
        .iter()
        .find(|function| UNSTABLE_FUNCTIONS.contains(&function.name.to_ascii_lowercase().as_str()))
    {
        let span = key.span(&function.span).unwrap_or_else(|| sql_span(key, table));
        let message = format!("`{}` gives a row another shard each time", function.name);
        let diagnostic = Diagnostic::error("sharding-key", message)
            .label(span, format!("in the sharding key of `{name}`"))
            .help(
                "a row that is sent again after a lost response would be stored twice: use a column of the event, for \
                 example `cityHash64(email)`, or omit the key, which then is the id",
            );
        report.push(diagnostic);
    } else if types::references(key.as_str()).is_empty() {
        let message = format!("the sharding key of `{name}` names no column");
        let diagnostic = Diagnostic::error("sharding-key", message)
            .label(sql_span(key, table), "all rows would be on one shard")
            .help("use a column of the event, for example `cityHash64(email)`, or omit the key, which then is the id");
        report.push(diagnostic);
    }
}

/// Rule: the name of the table with the rows of a shard is free.
pub(super) fn local_table(schema: &Schema<'_>, report: &mut Report) {
    for table in schema.tables.iter().filter(|table| !table.is_abstract) {
        let Some(span) = distributed(table) else { continue };
        let local = local_name(&table.name.text);
        let others = schema.tables.iter().map(|other| &other.name);
        let views = schema.declared.views.iter().map(|view| &view.name);
        if let Some(other) = others.chain(views).find(|other| other.text == local) {
            let message = format!(
                "`{local}` is the table with the rows of each shard of `{}`",
                table.name.text
            );
            let diagnostic = Diagnostic::error("local-table", message)
                .label(other.span.clone(), "another table has this name")
                .label(span.clone(), "")
                .help("rename the other table");
            report.push(diagnostic);
        }
    }
}

/// Rule: a view does not process the inserts of a Distributed table, of which each server sees only
/// some.
pub(super) fn view_over_shards(schema: &Schema<'_>, report: &mut Report) {
    for view in schema.declared.views.iter().filter(|view| view.refresh.is_none()) {
        let Some(source) = types::view_query(view.select.as_str()).and_then(|query| query.source) else {
            continue;
        };
        let read = schema.tables.iter().find(|table| table.name.text == source.name);
        let Some(table) = read.filter(|table| !source.is_qualified && table.distribution.is_distributed()) else {
            continue;
        };
        let local = local_name(&table.name.text);
        let span = view.select.span(&source.span).unwrap_or_else(|| view.name.span.clone());
        let message = format!(
            "view `{}` reads `{}`, which is distributed",
            view.name.text, table.name.text
        );
        let diagnostic = Diagnostic::error("view-over-shards", message)
            .label(span, "its rows are inserted into the tables of the shards")
            .help(format!("read the rows of each shard: `FROM {local}`"));
        report.push(diagnostic);
    }
}
