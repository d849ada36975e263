//! The views of a schema on a server: their queries, the conversion of their columns, and the views
//! themselves.

use std::collections::HashSet;

use super::{
    Send,
    refusal::Refusal,
    stored::{described, insert_nothing},
};
use crate::{
    declare::{Declared, View},
    diagnostic::{Diagnostic, Report},
    emit::quote_name,
    inherit::ResolvedTable,
    model::Model,
    source::Span,
    sql::Sql,
    types::view_query,
};

/// Checks each view whose tables the server has.
///
/// # Errors
/// The error of `send`.
pub(super) fn check<E>(
    declared: &Declared,
    tables: &[ResolvedTable],
    model: &Model,
    missing: &HashSet<&str>,
    report: &mut Report,
    send: Send<'_, E>,
) -> Result<(), E> {
    for name in model.views.iter().map(|view| &view.name) {
        let Some(view) = declared.views.iter().find(|view| view.name.text == *name) else {
            continue;
        };
        let read = view_query(view.select.as_str()).unwrap_or_default().tables;
        let mut names = read
            .iter()
            .map(|table| table.name.as_str())
            .chain([view.to.text.as_str()]);
        if names.any(|name| missing.contains(name)) {
            continue;
        }
        let Some(target) = tables.iter().find(|table| table.name.text == view.to.text) else {
            continue;
        };
        if let Some(refused) = check_view(view, target, report, send)? {
            let Refused { sql, refusal, what } = refused;
            let is_allowed =
                refusal.is_unknown_function() && target.allowed.iter().any(|code| code == "unknown-function");
            let span = refusal.place_in(sql.as_str()).and_then(|place| sql.span(&place));
            let span = span.unwrap_or_else(|| place_of(sql, view));
            let diagnostic = if is_allowed || refusal.is_about_configuration() {
                let message = format!("this server cannot check it: {}", refusal.text());
                Diagnostic::note("unchecked-part", message)
            } else {
                Diagnostic::error(
                    "refused-by-clickhouse",
                    format!("ClickHouse refuses this: {}", refusal.text()),
                )
            };
            report.push(diagnostic.label(span, format!("{what} of view `{name}`")));
        }
    }
    Ok(())
}

/// A part of a view that the server refuses.
struct Refused<'v> {
    sql: &'v Sql,
    refusal: Refusal,
    what: &'static str,
}

fn place_of(sql: &Sql, view: &View) -> Span {
    sql.whole_span().unwrap_or_else(|| view.name.span.clone())
}

/// Checks a view. Returns the part that the server refuses, if it refuses one.
fn check_view<'v, E>(
    view: &'v View,
    target: &ResolvedTable,
    report: &mut Report,
    send: Send<'_, E>,
) -> Result<Option<Refused<'v>>, E> {
    let select = view.select.as_str();
    let refused = |refusal: Refusal, what| {
        Some(Refused {
            sql: &view.select,
            refusal,
            what,
        })
    };
    let columns = match described(select, send)? {
        Ok(columns) => columns,
        Err(refusal) => return Ok(refused(refusal, "the query")),
    };
    let (kept, lost): (Vec<_>, Vec<_>) = columns
        .into_iter()
        .partition(|name| target.columns.iter().any(|column| column.name == *name));
    for name in &lost {
        let message = format!("table `{}` has no column `{name}`", target.name.text);
        let columns = target.columns.iter().map(|column| column.name.as_str());
        let diagnostic = Diagnostic::error("lost-column", message)
            .did_you_mean(name, columns)
            .label(
                place_of(&view.select, view),
                "the view would lose this column of its query",
            )
            .help("add the column to the table, or give it the name of a column with `AS`");
        report.push(diagnostic);
    }
    if !lost.is_empty() {
        return Ok(None);
    }
    if !kept.is_empty()
        && let Err(message) = send(&insert_nothing(&view.to.text, &kept, select))?
    {
        return Ok(refused(Refusal::new(&message), "the columns"));
    }
    let refresh = view.refresh.as_ref().map(Sql::as_str);
    let create = format!(
        "CREATE MATERIALIZED VIEW {}{}\nTO {}\n{}AS {select}",
        quote_name(&view.name.text),
        refresh.map_or_else(String::new, |refresh| format!("\nREFRESH {refresh}")),
        quote_name(&view.to.text),
        // The query of a schedule does not run during the check.
        if refresh.is_some() { "EMPTY " } else { "" },
    );
    Ok(match (send(&create)?, &view.refresh) {
        (Ok(_), _) => None,
        (Err(message), Some(refresh)) => Some(Refused {
            sql: refresh,
            refusal: Refusal::new(&message),
            what: "the schedule",
        }),
        (Err(message), None) => refused(Refusal::new(&message), "the query"),
    })
}
