//! Rules for a table's engine and what it takes.

use super::table::{Clause, written};
use crate::{
    declare::ElementKind,
    diagnostic::{Diagnostic, Report},
    inherit::Whole,
    sql::Sql,
};

/// `system.table_engines` of 26.7, and what ClickHouse Cloud adds to it.
const ENGINES: &str = include_str!("engines.txt");

/// Engines without settings.
const WITHOUT_SETTINGS: [&str; 8] = [
    "Buffer",
    "Dictionary",
    "GenerateRandom",
    "KeeperMap",
    "Merge",
    "MongoDB",
    "Null",
    "SQLite",
];

/// Engines outside of the MergeTree family that take keys.
const WITH_KEYS: [&str; 15] = [
    "AzureBlobStorage",
    "COSN",
    "EmbeddedRocksDB",
    "GCS",
    "HDFS",
    "Iceberg",
    "IcebergAzure",
    "IcebergHDFS",
    "IcebergLocal",
    "IcebergS3",
    "KeeperMap",
    "MaterializedPostgreSQL",
    "OSS",
    "Redis",
    "S3",
];

/// Engines outside of the MergeTree family that take a TTL.
const WITH_TTL: [&str; 1] = ["EmbeddedRocksDB"];

pub(super) fn missing_engine(table: &Whole, report: &mut Report) {
    if table.engine.is_none() {
        let diagnostic = Diagnostic::error("missing-engine", format!("table `{}` has no engine", table.name.text))
            .label(table.name.span.clone(), "neither its own nor an inherited one")
            .help("add `_options: { engine: MergeTree, order_by: […] }`, or extend a table that has an engine");
        report.push(diagnostic);
    }
}

pub(super) fn missing_order_by(table: &Whole, report: &mut Report) {
    let Some((engine, span)) = table.engine.as_ref().filter(|(engine, _)| engine.is_merge_tree()) else {
        return;
    };
    let has_key = table.columns.iter().any(|column| column.declaration.primary_key);
    if !has_key && table.clauses.order_by.is_none() && table.clauses.primary_key.is_none() {
        let diagnostic = Diagnostic::error("missing-order-by", format!("`{}` needs a sorting key", engine.name()))
            .label(span.clone(), format!("of `{}`", table.name.text))
            .help("add `order_by: […]` to `_options`; `order_by: tuple()` is none");
        report.push(diagnostic);
    }
}

fn is_known(engine: &str) -> bool {
    ENGINES.lines().any(|known| known == engine)
}

/// ClickHouse has the engine; capitals count.
pub(super) fn unknown_engine(table: &Whole, report: &mut Report) {
    let Some((engine, span)) = &table.engine else {
        return;
    };
    let name = engine.name();
    if !is_known(name) {
        let span = engine.name.whole_span().unwrap_or_else(|| span.clone());
        let diagnostic = Diagnostic::error("unknown-engine", format!("ClickHouse has no table engine `{name}`"))
            .did_you_mean(name, ENGINES.lines())
            .label(span, "");
        report.push(diagnostic);
    }
}

/// Only the MergeTree family has indexes and projections, and few others have keys, a TTL or settings.
pub(super) fn engine_misfit(table: &Whole, report: &mut Report) {
    let Some((engine, engine_span)) = table.engine.as_ref().filter(|(engine, _)| !engine.is_merge_tree()) else {
        return;
    };
    let name = engine.name();
    if !is_known(name) {
        return;
    }
    let mut misfit = |what: &str, span| {
        let diagnostic = Diagnostic::error("engine-misfit", format!("`{name}` has no {what}"))
            .label(span, "")
            .label(engine_span.clone(), format!("the engine of `{}`", table.name.text))
            .help("remove it, or take an engine of the MergeTree family");
        report.push(diagnostic);
    };
    for element in &table.elements {
        misfit(element.kind.plural(), element.name.span.clone());
    }
    for (clause, sql) in table.clauses() {
        let is_taken = if clause == Clause::Ttl {
            WITH_TTL.contains(&name)
        } else {
            WITH_KEYS.contains(&name)
        };
        // Files and their like are partitioned in their own way.
        if !is_taken && (clause != Clause::PartitionBy || is_local(name)) {
            let what = clause.name();
            misfit(what.strip_prefix("the ").unwrap_or(what), written(sql, table));
        }
    }
    for column in &table.columns {
        if let Some(ttl) = column.expressions.ttl.as_ref().filter(|_| !WITH_TTL.contains(&name)) {
            misfit("TTL", written(ttl, table));
        }
        if column.declaration.primary_key && !WITH_KEYS.contains(&name) {
            misfit("primary key", column.span.clone());
        }
    }
    if !table.clauses.settings.is_empty() && WITHOUT_SETTINGS.contains(&name) {
        misfit("settings", table.name.span.clone());
    }
}

/// Returns whether the engine keeps its rows itself, and by no parts.
fn is_local(name: &str) -> bool {
    ["Buffer", "Join", "Log", "Memory", "Null", "Set", "StripeLog", "TinyLog"].contains(&name)
}

/// An engine takes so many arguments and no others.
pub(super) fn engine_arguments(table: &Whole, report: &mut Report) {
    let Some((engine, span)) = &table.engine else {
        return;
    };
    let (least, most, what) = match engine.kind() {
        "MergeTree" | "AggregatingMergeTree" | "Log" | "TinyLog" | "StripeLog" | "Memory" | "Null" => {
            (0, 0, "no arguments")
        }
        "ReplacingMergeTree" => (
            0,
            2,
            "the version column and the column that says what is deleted, or less",
        ),
        "SummingMergeTree" | "CoalescingMergeTree" => (0, 1, "one column, or several between brackets, or none"),
        "CollapsingMergeTree" => (1, 1, "the sign column"),
        "VersionedCollapsingMergeTree" => (2, 2, "the sign column and the version column"),
        "GraphiteMergeTree" => (
            1,
            1,
            "the name of a section of the server's configuration, between single quotes",
        ),
        _ => return,
    };
    let (replica, own) = engine.own_arguments();
    let is_half = engine.is_replicated() && replica.len() == 1;
    let is_name = |argument: &Sql| !argument.as_str().starts_with('\'');
    let wants_text = engine.kind() == "GraphiteMergeTree" && own.iter().any(is_name);
    if is_half || wants_text || !(least..=most).contains(&own.len()) {
        let arguments = engine
            .arguments
            .as_ref()
            .filter(|arguments| !arguments.as_str().is_empty());
        let at = arguments.unwrap_or(&engine.name);
        let diagnostic = Diagnostic::error("engine-arguments", format!("`{}` takes {what}", engine.name())).label(
            at.whole_span().unwrap_or_else(|| span.clone()),
            format!("the engine of `{}`", table.name.text),
        );
        report.push(if engine.is_replicated() {
            diagnostic.help("before them stand the path in Keeper and the name of the replica, or neither")
        } else {
            diagnostic
        });
    }
}

/// Where a merge makes one row of several, ClickHouse wants to be told what becomes of the projections.
pub(super) fn projection_mode(table: &Whole, report: &mut Report) {
    const SETTING: &str = "deduplicate_merge_projection_mode";
    let Some((engine, span)) = table.engine.as_ref().filter(|(engine, _)| engine.merges_rows()) else {
        return;
    };
    let is_said = table.clauses.setting(SETTING).is_some_and(|value| value != "throw");
    let projections = table
        .elements
        .iter()
        .filter(|element| element.kind == ElementKind::Projection);
    for projection in projections.filter(|_| !is_said) {
        let message = format!("`{}` needs to know what becomes of its projections", engine.name());
        let diagnostic = Diagnostic::error("projection-mode", message)
            .label(projection.name.span.clone(), "")
            .label(span.clone(), format!("the engine of `{}`", table.name.text))
            .help(format!(
                "add `settings: {{ {SETTING}: rebuild }}` to `_options`; `drop` is cheaper"
            ));
        report.push(diagnostic);
    }
}
