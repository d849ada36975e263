//! Rules for the columns that the collector itself fills.

use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::{Whole, WholeColumn},
    model,
    server::ServerValue,
    types::DefaultKind,
};

pub(super) fn no_columns(table: &Whole, report: &mut Report) {
    if table.columns.is_empty() {
        let diagnostic = Diagnostic::error("no-columns", format!("table `{}` has no columns", table.name.text));
        report.push(
            diagnostic
                .label(table.name.span.clone(), "")
                .help("add columns, or extend a table that has some"),
        );
    }
}

/// Splits the name of a column that keeps what has no column of its own: `page_extra.key` into `page_extra` and `key`.
fn extra_part(column: &WholeColumn) -> Option<(&str, &str)> {
    column
        .name
        .split_once('.')
        .filter(|(prefix, _)| *prefix == "extra" || prefix.ends_with("_extra"))
        .filter(|(_, part)| matches!(*part, "key" | "value"))
}

pub(super) fn extra_of_no_texts(table: &Whole, report: &mut Report) {
    for column in &table.columns {
        let ty = &column.declaration.ty;
        if extra_part(column).is_some() && !model::is_text_array(ty) {
            let diagnostic = Diagnostic::error("extra-type", format!("`{}` cannot be `{ty}`", column.name))
                .label(
                    column.span.clone(),
                    "the collector keeps here, as texts, what has no column",
                )
                .help("write `Array(String)`; for a value of the event, choose another name");
            report.push(diagnostic);
        }
    }
}

pub(super) fn half_an_extra(table: &Whole, report: &mut Report) {
    for column in &table.columns {
        let Some((prefix, part)) = extra_part(column) else {
            continue;
        };
        let other = format!("{prefix}.{}", if part == "key" { "value" } else { "key" });
        if !table.columns.iter().any(|column| column.name == other) {
            let diagnostic = Diagnostic::error("half-an-extra", format!("`{}` without `{other}`", column.name))
                .label(
                    column.name_span.clone(),
                    "what has no column is kept in two, its keys and its values",
                )
                .help(format!("add `{other}: Array(String)`"));
            report.push(diagnostic);
        }
    }
}

pub(super) fn server_column(table: &Whole, report: &mut Report) {
    for column in &table.columns {
        let is_computed = column
            .declaration
            .default
            .as_ref()
            .is_some_and(|default| matches!(default.kind, DefaultKind::Materialized | DefaultKind::Alias));
        let Some(value) = ServerValue::of_column(&column.name).filter(|_| !is_computed) else {
            continue;
        };
        if !value.fits(&column.declaration.ty) {
            let message = format!("`{}` cannot be `{}`", column.name, column.declaration.ty);
            let diagnostic = Diagnostic::error("server-column", message)
                .label(column.span.clone(), "the collector fills this column")
                .help(format!("use {}", value.expected()))
                .help("for a value of the event, choose another name");
            report.push(diagnostic);
        }
    }
}
