//! Rules for a table's engine and what it takes.

use crate::{
    declare::ElementKind,
    diagnostic::{Diagnostic, Report},
    inherit::Whole,
};

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
