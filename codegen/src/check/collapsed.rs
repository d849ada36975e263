//! Rules for columns whose values a merge loses: those of an engine that combines rows with the
//! same key, in which they are neither a part of the key nor aggregated.

use super::table::Resolved;
use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    table_engine::Engine,
    types::{self, DefaultKind, Type},
};

/// The setting that lets ClickHouse create an AggregatingMergeTree with such columns.
const DIMENSIONS: &str = "allow_dimensions_outside_sorting_key";

/// Another setting under which ClickHouse does not check the columns.
const TUPLES: &str = "allow_tuple_element_aggregation";

/// The most columns that a message names.
const MAX_NAMES: usize = 5;

/// Rule: if an AggregatingMergeTree has aggregates, each of its other columns is in the sorting key
/// or in the partition key. ClickHouse refuses the table otherwise.
pub(super) fn dimension_outside_key(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, engine_span)) = &table.engine else {
        return;
    };
    if !is_checked(engine, table) {
        return;
    }
    let lost = lost_columns(table, &|column| is_aggregate(&column.declaration.ty));
    let Some(first) = lost.first() else {
        return;
    };
    let message = format!("an {} loses values of {}", engine.name(), names(&lost));
    let diagnostic = Diagnostic::error("dimension-outside-key", message)
        .label(
            first.name_span.clone(),
            "a merge keeps the value of one of the rows with the same key",
        )
        .label(engine_span.clone(), "")
        .help(format!(
            "add {} to `order_by`, or aggregate {}, for example `SimpleAggregateFunction(max, {})`",
            if lost.len() == 1 { "it" } else { "them" },
            if lost.len() == 1 { "it" } else { "each" },
            first.declaration.ty
        ))
        .help(format!(
            "if all rows with the same key have the same value, add `settings: {{ {DIMENSIONS}: 1 }}` to `_options`"
        ));
    report.push(diagnostic);
}

/// Rule: each column of a SummingMergeTree or an AggregatingMergeTree is in a key, summed or
/// aggregated. ClickHouse creates other tables, too, and their merges lose values silently.
pub(super) fn collapsed_columns(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, engine_span)) = table.engine.as_ref().filter(|(engine, _)| engine.is_merge_tree()) else {
        return;
    };
    // An unknown name among the engine's arguments is a problem of its own.
    if report.has_errors() || table.clauses.setting(DIMENSIONS).is_some_and(is_true) {
        return;
    }
    let (lost, help) = match engine.kind() {
        "SummingMergeTree" => {
            let listed = summed(engine);
            let lost = lost_columns(table, &|column| {
                is_aggregate(&column.declaration.ty)
                    || match &listed {
                        Some(names) => {
                            names.contains(&column.name)
                                || column.nested.as_ref().is_some_and(|nested| names.contains(nested))
                        }
                        None => {
                            is_summed(&column.declaration.ty)
                                || column.nested.as_ref().is_some_and(|nested| nested.ends_with("Map"))
                        }
                    }
            });
            (
                lost,
                "add the columns to `order_by`, or use a MergeTree and sum in the query",
            )
        }
        "AggregatingMergeTree" if !is_checked(engine, table) && !table.clauses.setting(TUPLES).is_some_and(is_true) => {
            let lost = lost_columns(table, &|column| is_aggregate(&column.declaration.ty));
            (
                lost,
                "give the columns an aggregate, for example `SimpleAggregateFunction(sum, UInt64)`, or add them to `order_by`",
            )
        }
        _ => return,
    };
    if lost.is_empty() {
        return;
    }
    let message = format!("merges of `{}` lose values of {}", table.name.text, names(&lost));
    let diagnostic = Diagnostic::warning("collapsed-columns", message)
        .label(
            engine_span.clone(),
            "of the rows with the same key, a merge keeps one value of such a column",
        )
        .help(help);
    report.push_unless_allowed(diagnostic, |code| table.allows(code));
}

/// Returns whether ClickHouse itself checks the columns.
fn is_checked(engine: &Engine, table: &ResolvedTable) -> bool {
    let is_stored =
        |column: &ResolvedColumn| !matches!(column.default_kind(), Some(DefaultKind::Alias | DefaultKind::Ephemeral));
    engine.is_merge_tree()
        && engine.kind() == "AggregatingMergeTree"
        && ![DIMENSIONS, TUPLES]
            .iter()
            .any(|name| table.clauses.setting(name).is_some_and(is_true))
        && table
            .columns
            .iter()
            .any(|column| is_stored(column) && is_aggregate(&column.declaration.ty))
}

fn is_true(value: &str) -> bool {
    matches!(value, "1" | "true")
}

/// Returns the columns that are neither merged nor whole in a key. The rows of a merge share their
/// partition. ClickHouse does not check columns that it computes.
fn lost_columns<'t>(table: &'t ResolvedTable, is_merged: &dyn Fn(&ResolvedColumn) -> bool) -> Vec<&'t ResolvedColumn> {
    let mut in_key: Vec<&str> = Vec::new();
    for (_, sql) in table.keys() {
        for reference in types::references(sql.as_str()) {
            if let Resolved::Column(column, rest) = table.resolve(&reference)
                && rest.is_empty()
            {
                in_key.push(&column.name);
            }
        }
    }
    let is_lost = |column: &&ResolvedColumn| {
        matches!(column.default_kind(), None | Some(DefaultKind::Default))
            && !column.declaration.primary_key
            && !in_key.contains(&column.name.as_str())
            && !is_merged(column)
    };
    table.columns.iter().filter(is_lost).collect()
}

/// Returns the columns that the engine's argument lists.
fn summed(engine: &Engine) -> Option<Vec<String>> {
    let argument = engine.own_arguments().1.into_iter().next()?;
    let elements = types::key_elements(argument.as_str())?;
    Some(elements.into_iter().map(|element| element.normal).collect())
}

fn is_aggregate(ty: &Type) -> bool {
    matches!(ty, Type::SimpleAggregateFunction(..) | Type::AggregateFunction(_))
}

/// Returns whether a SummingMergeTree without a list of columns sums a column of the type.
fn is_summed(ty: &Type) -> bool {
    match ty {
        Type::Int { .. } | Type::Float(_) | Type::BFloat16 | Type::Decimal { .. } => true,
        Type::Nullable(of) => is_summed(of),
        _ => false,
    }
}

fn names(columns: &[&ResolvedColumn]) -> String {
    let shown: Vec<String> = columns
        .iter()
        .take(MAX_NAMES)
        .map(|column| format!("`{}`", column.name))
        .collect();
    match columns.len().saturating_sub(MAX_NAMES) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
