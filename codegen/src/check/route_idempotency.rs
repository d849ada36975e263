//! Rules for the idempotency keys of routes.

use super::Schema;
use crate::{
    declare::{Destination, IdempotencyKey},
    diagnostic::{Diagnostic, Report},
    emit::can_be_skipped,
    inherit::ResolvedTable,
    types::DefaultKind,
};

/// Rule: the column of an idempotency key is one of the table, a row has it, and the collector finds
/// it in the row.
pub(super) fn idempotency_column(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    let Some(IdempotencyKey::Column(name, span)) = destination.options.idempotency.as_ref().map(|once| &once.key)
    else {
        return;
    };
    let is_named = |table: &&ResolvedTable| table.name.text == destination.table.text;
    let Some(table) = schema.tables.iter().find(is_named) else {
        return;
    };
    if !table.is_complete || table.is_abstract || table.is_view_target {
        return;
    }
    let Some(place) = table.columns.iter().position(|column| column.name == *name) else {
        let message = format!("table `{}` has no column `{name}`", table.name.text);
        let names = table.columns.iter().map(|column| column.name.as_str());
        let diagnostic = Diagnostic::error("bad-idempotency", message).did_you_mean(name, names);
        report.push(diagnostic.label(span.clone(), "the idempotency key of the route"));
        return;
    };
    let column = &table.columns[place];
    let kind = column.declaration.default.as_ref().map(|default| default.kind);
    if matches!(kind, Some(DefaultKind::Materialized | DefaultKind::Alias)) {
        let message = format!("ClickHouse computes `{name}`, so no event has it");
        let diagnostic = Diagnostic::error("bad-idempotency", message);
        let diagnostic = diagnostic.label(span.clone(), "the idempotency key of the route");
        report.push(diagnostic.help("name a column that the events have"));
        return;
    }
    let before = &table.columns[..=place];
    if let Some(hidden) = before.iter().find(|column| !can_be_skipped(&column.declaration)) {
        let message = format!("`{name}` cannot be an idempotency key");
        let diagnostic = Diagnostic::error("bad-idempotency", message)
            .label(span.clone(), "the idempotency key of the route")
            .label(
                hidden.name_span.clone(),
                "a value of this type hides those after it in a row",
            );
        report.push(diagnostic.help(format!("declare `{name}` before `{}`", hidden.name)));
    }
}
