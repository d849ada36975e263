//! Rules for the columns that the collector itself fills.

use crate::{
    diagnostic::{Diagnostic, Report},
    emit,
    inherit::{ResolvedColumn, ResolvedTable},
    paths::{self, Role},
    types::{DefaultKind, Type},
};

pub(super) fn no_columns(table: &ResolvedTable, report: &mut Report) {
    if table.columns.is_empty() {
        let diagnostic = Diagnostic::error("no-columns", format!("table `{}` has no columns", table.name.text));
        report.push(
            diagnostic
                .label(table.name.span.clone(), "")
                .help("add columns, or extend a table that has some"),
        );
        return;
    }
    // The collector inserts no row without columns.
    let is_computed = |column: &ResolvedColumn| {
        matches!(
            column.default_kind(),
            Some(DefaultKind::Materialized | DefaultKind::Alias)
        )
    };
    if !table.is_view_target && table.columns.iter().all(is_computed) {
        let message = format!("ClickHouse computes every column of table `{}`", table.name.text);
        let diagnostic = Diagnostic::error("no-columns", message).label(table.name.span.clone(), "");
        report.push(diagnostic.help("add a column that an event or the collector fills"));
    }
}

/// Splits the name of a column for values that have no column: `page_extra.key` into `page_extra`
/// and `key`.
fn extra_part(column: &ResolvedColumn) -> Option<(&str, &str)> {
    column
        .name
        .split_once('.')
        .filter(|(prefix, _)| *prefix == "extra" || prefix.ends_with("_extra"))
        .filter(|(_, part)| matches!(*part, "key" | "value"))
}

pub(super) fn extra_of_no_texts(table: &ResolvedTable, report: &mut Report) {
    if table.is_view_target {
        return;
    }
    for column in &table.columns {
        let ty = &column.declaration.ty;
        if extra_part(column).is_some() && !paths::is_text_array(ty) {
            let diagnostic = Diagnostic::error("extra-type", format!("`{}` cannot be `{ty}`", column.name))
                .label(
                    column.span.clone(),
                    "the collector stores values without a column here, as text",
                )
                .help("write `Array(String)`, or give a column of the event another name");
            report.push(diagnostic);
        }
    }
}

pub(super) fn half_an_extra(table: &ResolvedTable, report: &mut Report) {
    if table.is_view_target {
        return;
    }
    for column in &table.columns {
        let Some((prefix, part)) = extra_part(column) else {
            continue;
        };
        let other = format!("{prefix}.{}", if part == "key" { "value" } else { "key" });
        if !table.columns.iter().any(|column| column.name == other) {
            let diagnostic = Diagnostic::error(
                "half-an-extra",
                format!("column `{}` needs a column `{other}`", column.name),
            )
            .label(
                column.name_span.clone(),
                "the collector stores values without a column as keys and values, in two columns",
            )
            .help(format!("add `{other}: Array(String)`"));
            report.push(diagnostic);
        }
    }
}

pub(super) fn server_column(table: &ResolvedTable, report: &mut Report) {
    if table.is_view_target {
        return;
    }
    for column in &table.columns {
        let is_computed = column
            .declaration
            .default
            .as_ref()
            .is_some_and(|default| matches!(default.kind, DefaultKind::Materialized | DefaultKind::Alias));
        let Some(value) = paths::collector_value(column, table.inherits_base).filter(|_| !is_computed) else {
            continue;
        };
        if !value.fits(&column.declaration.ty) {
            let message = format!("`{}` cannot be `{}`", column.name, column.declaration.ty);
            let diagnostic = Diagnostic::error("server-column", message)
                .label(column.span.clone(), "the collector fills this column")
                .help(format!("use {}", value.expected()));
            report.push(match &column.event.source {
                Some(source) => diagnostic.label(source.key.span.clone(), ""),
                None if column.name.starts_with("td_") => diagnostic.help("or give a column of the event another name"),
                None => diagnostic.help(format!("or let events fill it, with `from: {}`", column.name)),
            });
        }
    }
}

/// Rule: delivery can look up rows by the table's column with the collector's ids. After an insert with an unknown
/// outcome, delivery queries the rows by the collector's ids, which are unique.
///
/// An engine that merges rows gets no warning: a lookup cannot distinguish a missing row from a
/// merged one.
pub(super) fn no_row_id(table: &ResolvedTable, report: &mut Report) {
    const WHY: &str = "if the outcome of an insert is unknown, only the deduplication token prevents duplicate rows";
    let keeps_each_row = table
        .engine
        .as_ref()
        .is_some_and(|(engine, _)| engine.is_merge_tree() && !engine.merges_rows());
    // A table without errors may still have inherited too little because of an error in another
    // table.
    if !keeps_each_row || table.is_view_target || report.has_errors() {
        return;
    }
    let name = &table.name.text;
    let warning = |message: String| Diagnostic::warning("no-row-id", message).label(table.name.span.clone(), WHY);
    let roles = paths::roles(table, &paths::extras(&table.columns));
    let declarations = table.columns.iter().map(|column| &column.declaration);
    let diagnostic = match paths::row_id(roles.into_iter().zip(declarations)) {
        None => {
            let diagnostic = warning(format!("`{name}` has no column with the collector's ids"));
            let is_taken = |name: &str| table.places.contains_key(name);
            let free = ["id", "event_id"].into_iter().find(|name| !is_taken(name));
            let diagnostic = match is_taken("id") {
                true => diagnostic.help("events fill `id`; if the collector shall fill it, add `from: $id` to it"),
                false => diagnostic,
            };
            diagnostic.help(format!(
                "add `{}: {{ type: UInt64, from: $id }}`, or extend a table that has it: delivery then looks the rows up by their ids",
                free.unwrap_or("rowmill_id")
            ))
        }
        Some(at) => {
            let (before, id) = (&table.columns[..at], &table.columns[at]);
            let unusable = |message: &str| warning(format!("`{name}` has an `{}` {message}", id.name));
            if id.declaration.default.is_some() {
                unusable("with a default, which may replace the collector's value")
                    .label(id.span.clone(), "")
                    .help("remove the default: the collector fills the column in every row")
            } else if !matches!(id.declaration.ty, Type::Int { bits: 64, .. }) {
                unusable("that delivery cannot look up")
                    .label(id.span.clone(), format!("`{}`", id.declaration.ty))
                    .help("change its type to `UInt64`")
            } else if let Some(column) = before.iter().find(|column| !emit::can_be_skipped(&column.declaration)) {
                unusable("that delivery cannot locate in a row")
                    .label(id.name_span.clone(), "")
                    .label(
                        column.span.clone(),
                        "delivery cannot find the end of a value of this type",
                    )
                    .help(format!("declare `{}` before `{}`", id.name, column.name))
            } else {
                return;
            }
        }
    };
    report.push_unless_allowed(diagnostic, |code| table.allows(code));
}

/// Note: the collector's values take the place of an event's values with the same names. The sender
/// of an event may not expect this.
pub(super) fn collector_value(table: &ResolvedTable, report: &mut Report) {
    if report.has_errors() {
        return;
    }
    let extras = paths::extras(&table.columns);
    let roles = paths::roles(table, &extras);
    let is_implicit =
        |(column, role): &(&ResolvedColumn, &Role)| matches!(role, Role::Collector(_)) && column.event.source.is_none();
    let columns: Vec<_> = table
        .columns
        .iter()
        .zip(&roles)
        .filter(is_implicit)
        .map(|(column, _)| format!("`{}`", column.name))
        .collect();
    if columns.is_empty() {
        return;
    }
    let keeps_others = extras.iter().any(|extra| extra.path.is_empty());
    let others = if keeps_others { "go to the extra" } else { "are dropped" };
    let message = format!(
        "the collector fills {} of `{}`; an event's values with these names {others}",
        columns.join(", "),
        table.name.text
    );
    let note = Diagnostic::note("collector-value", message).label(table.name.span.clone(), "");
    report.push(if keeps_others {
        note
    } else {
        note.help("to keep them, add the columns `extra.key: Array(String)` and `extra.value: Array(String)`")
    });
}
