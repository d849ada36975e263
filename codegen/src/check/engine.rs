//! Rules for a table's engine and what it takes.

use crate::{
    declare::ElementKind,
    diagnostic::{Diagnostic, Report},
    inherit::ResolvedTable,
    source::Span,
    table_engine::Engine,
};

pub(super) fn missing_engine(table: &ResolvedTable, report: &mut Report) {
    if table.engine.is_none() {
        let diagnostic = Diagnostic::error("missing-engine", format!("table `{}` has no engine", table.name.text))
            .label(table.name.span.clone(), "neither its own nor an inherited one")
            .help("add `_options: { engine: MergeTree, order_by: […] }`, or extend a table that has an engine");
        report.push(diagnostic);
    }
}

/// Returns the engine of a MergeTree that says nothing of an order.
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

const ORDER_CURE: &str = "add `order_by: […]` to `_options`; `order_by: tuple()` is none";

/// Arguments without a clause behind them are the old form to ClickHouse, which had its key among them; and a sample is taken of
/// the key.
pub(super) fn missing_order_by(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, span)) = unsorted(table).filter(|(engine, _)| cannot_do_without(engine, table)) else {
        return;
    };
    let diagnostic = Diagnostic::error("missing-order-by", format!("`{}` needs a sorting key", engine.name()))
        .label(span.clone(), format!("of `{}`", table.name.text))
        .help(ORDER_CURE);
    report.push(diagnostic);
}

/// ClickHouse 26.7 takes a MergeTree without a sorting key for one of which the rows have no order; earlier ones refuse it.
pub(super) fn unsorted_table(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, span)) = unsorted(table).filter(|(engine, _)| !cannot_do_without(engine, table)) else {
        return;
    };
    let what = match engine.merges_rows() {
        true => "without one, all its rows are the same to a merge, which leaves one of them",
        false => "without one, each query reads all rows",
    };
    let diagnostic = Diagnostic::warning("unsorted-table", format!("`{}` has no sorting key", table.name.text))
        .label(span.clone(), what)
        .help(ORDER_CURE);
    report.push_unless_allowed(diagnostic, |code| table.allows(code));
}

/// A Buffer answers before its rows are anywhere but in memory.
pub(super) fn buffered_table(table: &ResolvedTable, report: &mut Report) {
    let Some((_, span)) = table.engine.as_ref().filter(|(engine, _)| engine.is_buffer()) else {
        return;
    };
    let name = &table.name.text;
    let diagnostic = Diagnostic::warning(
        "buffered-table",
        format!("a ClickHouse that is killed loses rows of `{name}` that were acknowledged"),
    )
    .label(
        span.clone(),
        "it has rows in memory alone for a while, and takes those of a lost answer twice",
    )
    .help("let events go to the table behind it: Rowmill gathers rows into large inserts itself");
    report.push_unless_allowed(diagnostic, |code| table.allows(code));
}

fn cannot_do_without(engine: &Engine, table: &ResolvedTable) -> bool {
    let clauses = &table.clauses;
    let is_old_form = !engine.arguments().is_empty() && clauses.partition_by.is_none() && clauses.settings.is_empty();
    is_old_form || clauses.sample_by.is_some()
}

/// Where a merge makes one row of several, ClickHouse wants to be told what becomes of the projections.
pub(super) fn projection_mode(table: &ResolvedTable, report: &mut Report) {
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
