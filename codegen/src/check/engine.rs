//! Rules for a table's engine and its sorting key.

use crate::{
    declare::TableElementKind,
    diagnostic::{Diagnostic, Report},
    inherit::ResolvedTable,
    source::Span,
    table_engine::Engine,
};

pub(super) fn missing_engine(table: &ResolvedTable, report: &mut Report) {
    if table.engine.is_none() {
        let diagnostic = Diagnostic::error("missing-engine", format!("table `{}` has no engine", table.name.text))
            .label(table.name.span.clone(), "it neither declares nor inherits one")
            .help("add `_options: { engine: MergeTree, order_by: […] }`, or extend a table that has an engine");
        report.push(diagnostic);
    }
}

/// Returns the engine of a MergeTree that has no sorting key.
fn unsorted(table: &ResolvedTable) -> Option<&(Engine, Span)> {
    let has_key = || {
        let of_column = table.columns.iter().any(|column| column.declaration.primary_key);
        of_column || table.clauses.order_by.is_some() || table.clauses.primary_key.is_some()
    };
    table
        .engine
        .as_ref()
        .filter(|(engine, _)| engine.is_merge_tree() && !has_key())
}

const ORDER_HELP: &str = "add `order_by: […]` to `_options`, or `order_by: tuple()` for a table without an order";

/// Rule: tables that ClickHouse cannot create without a sorting key have one. Engine arguments
/// without a clause after them are the old form to ClickHouse, in which the key is one of the
/// arguments. A sampling key needs a sorting key.
pub(super) fn missing_order_by(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, span)) = unsorted(table).filter(|(engine, _)| needs_sorting_key(engine, table)) else {
        return;
    };
    let diagnostic = Diagnostic::error("missing-order-by", format!("`{}` needs a sorting key", engine.name()))
        .label(span.clone(), format!("of `{}`", table.name.text))
        .help(ORDER_HELP);
    report.push(diagnostic);
}

/// Rule: a MergeTree has a sorting key. ClickHouse 26.7 accepts one without and keeps its rows in
/// no order; earlier versions reject it.
pub(super) fn unsorted_table(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, span)) = unsorted(table).filter(|(engine, _)| !needs_sorting_key(engine, table)) else {
        return;
    };
    let what = match engine.merges_rows() {
        true => "without a sorting key, a merge keeps only one row of the table",
        false => "without a sorting key, each query reads all rows",
    };
    let diagnostic = Diagnostic::warning("unsorted-table", format!("`{}` has no sorting key", table.name.text))
        .label(span.clone(), what)
        .help(ORDER_HELP);
    report.push_unless_allowed(diagnostic, |code| table.allows(code));
}

/// Rule: a table is not a Buffer, which confirms rows that are only in memory.
pub(super) fn buffered_table(table: &ResolvedTable, report: &mut Report) {
    let Some((_, span)) = table.engine.as_ref().filter(|(engine, _)| engine.is_buffer()) else {
        return;
    };
    let name = &table.name.text;
    let diagnostic = Diagnostic::warning(
        "buffered-table",
        format!("if ClickHouse is killed, `{name}` loses acknowledged rows"),
    )
    .label(
        span.clone(),
        "a Buffer keeps rows only in memory at first, and does not deduplicate a repeated insert",
    )
    .help("name the table that the Buffer writes to: Rowmill itself combines rows into large inserts");
    report.push_unless_allowed(diagnostic, |code| table.allows(code));
}

fn needs_sorting_key(engine: &Engine, table: &ResolvedTable) -> bool {
    let clauses = &table.clauses;
    let is_old_form = !engine.arguments().is_empty() && clauses.partition_by.is_none() && clauses.settings.is_empty();
    is_old_form || clauses.sample_by.is_some()
}

/// Rule: an engine whose merges combine rows sets the mode of its projections, as ClickHouse
/// requires.
pub(super) fn projection_mode(table: &ResolvedTable, report: &mut Report) {
    const SETTING: &str = "deduplicate_merge_projection_mode";
    let Some((engine, span)) = table.engine.as_ref().filter(|(engine, _)| engine.merges_rows()) else {
        return;
    };
    let is_set = table.clauses.setting(SETTING).is_some_and(|value| value != "throw");
    let projections = table
        .elements
        .iter()
        .filter(|element| element.kind == TableElementKind::Projection);
    for projection in projections.filter(|_| !is_set) {
        let message = format!("`{}` needs a setting for its projections", engine.name());
        let diagnostic = Diagnostic::error("projection-mode", message)
            .label(projection.name.span.clone(), "")
            .label(span.clone(), format!("the engine of `{}`", table.name.text))
            .help(format!(
                "add `settings: {{ {SETTING}: rebuild }}` to `_options`, or `drop` instead of `rebuild`, which is cheaper"
            ));
        report.push(diagnostic);
    }
}
