//! Server check: lets a ClickHouse server create the tables and views of a checked schema, and
//! reports the parts that the server refuses or changes.
//!
//! The caller sends the statements. If the server refuses a table, the check adds the parts of the
//! table to it one after another, so that one run finds each refused part with its place.

mod dictionaries;
mod part;
mod refusal;
mod stored;
mod views;

use std::collections::{HashMap, HashSet};

use self::{
    part::{Part, reduced, without_cluster},
    refusal::Refusal,
};
use crate::{
    declare::Declared,
    diagnostic::{Diagnostic, Report},
    emit,
    inherit::ResolvedTable,
    model::{Model, Table},
    shards::local_name,
    source::Span,
    types,
};

/// The server's output for a statement, or its error message.
pub type ServerAnswer = Result<String, String>;

/// Sends a statement to the server. The outer error ends the check.
type Send<'s, E> = &'s mut dyn FnMut(&str) -> Result<ServerAnswer, E>;

/// Creates every table and view of the schema, in an empty database of the server.
///
/// # Errors
/// The error of `send`, if a statement could not be sent.
pub(crate) fn check<E>(
    declared: &Declared,
    tables: &[ResolvedTable],
    model: &Model,
    report: &mut Report,
    send: Send<'_, E>,
) -> Result<(), E> {
    let mut missing = HashSet::new();
    let tables_in_order = || model.local_tables.iter().chain(&model.tables).chain(&model.targets);
    let uses = |table: &&Table| dictionaries::are_used_in(&emit::create(table), model);
    let (after, before): (Vec<_>, Vec<_>) = tables_in_order().partition(uses);
    let mut are_dictionaries_created = false;
    for (table, needs_dictionaries) in before
        .into_iter()
        .map(|table| (table, false))
        .chain(after.into_iter().map(|table| (table, true)))
    {
        if needs_dictionaries && !are_dictionaries_created {
            dictionaries::check(declared, model, report, send)?;
            are_dictionaries_created = true;
        }
        let is_of = |resolved: &&ResolvedTable| {
            let local = || local_name(&resolved.name.text) == table.name && resolved.distribution.is_distributed();
            resolved.name.text == table.name || local()
        };
        let Some(resolved) = tables.iter().find(is_of) else {
            continue;
        };
        if !check_table(table, resolved, report, send)? {
            missing.insert(table.name.as_str());
        }
    }
    if !are_dictionaries_created {
        dictionaries::check(declared, model, report, send)?;
    }
    views::check(declared, tables, model, &missing, report, send)
}

/// Checks a table. Returns whether the server has the table now, with all of its columns.
fn check_table<E>(table: &Table, resolved: &ResolvedTable, report: &mut Report, send: Send<'_, E>) -> Result<bool, E> {
    let (table, is_substitute) = without_cluster(table);
    // The table over the shards has the columns of the table of a shard, which is checked.
    if is_substitute && resolved.distribution.is_distributed() {
        return Ok(send(&emit::create(&table))?.is_ok());
    }
    if is_substitute {
        let message = format!("the engine of `{}` needs other servers", table.name);
        let span = resolved.engine.as_ref().map_or(&resolved.name.span, |(_, span)| span);
        report.push(
            Diagnostic::note("unchecked-engine", message)
                .label(span.clone(), "the server has checked only the columns"),
        );
    }
    let is_complete = match send(&emit::create(&table))? {
        Ok(_) => {
            stored::columns(&table, resolved, report, send)?;
            true
        }
        Err(message) => find_refused(&table, resolved, &Refusal::new(&message), report, send)?,
    };
    stored::defaults(&table, resolved, report, send)?;
    insert_settings(resolved, report, send)?;
    Ok(is_complete)
}

/// Reports the settings of inserts whose values the server refuses.
fn insert_settings<E>(resolved: &ResolvedTable, report: &mut Report, send: Send<'_, E>) -> Result<(), E> {
    for setting in &resolved.insert_settings {
        let query = format!(
            "SELECT 1 SETTINGS {} = {}",
            setting.name,
            types::quote_text(&setting.value)
        );
        if let Err(message) = send(&query)? {
            let span = setting.span.clone().unwrap_or_else(|| resolved.name.span.clone());
            let place = format!("the setting `{}` of inserts", setting.name);
            report_refusal(&Refusal::new(&message), span, place, resolved, report);
        }
    }
    Ok(())
}

/// Reports the parts that the server refuses, and creates the table without them. Returns whether
/// all columns are in the table.
fn find_refused<E>(
    table: &Table,
    resolved: &ResolvedTable,
    refusal: &Refusal,
    report: &mut Report,
    send: Send<'_, E>,
) -> Result<bool, E> {
    let all = part::parts(table);
    let mut accepted: HashSet<Part> = all.iter().copied().filter(|part| part.is_typed_column(table)).collect();
    if try_create(table, &accepted, send)?.is_err() {
        accepted.clear();
    }
    let mut pending: Vec<Part> = all.into_iter().filter(|part| !accepted.contains(part)).collect();
    let mut refusals: HashMap<Part, Refusal> = HashMap::new();
    // A part may need another one, for example an index a column without a type.
    loop {
        let before = pending.len();
        let mut refused = Vec::new();
        for part in pending {
            accepted.insert(part);
            if let Err(message) = try_create(table, &accepted, send)? {
                accepted.remove(&part);
                refusals.insert(part, Refusal::new(&message));
                refused.push(part);
            }
        }
        pending = refused;
        if pending.is_empty() || pending.len() == before {
            break;
        }
    }
    let lost: HashSet<&str> = pending.iter().filter_map(|part| part.column(table)).collect();
    let mut is_reported = false;
    for part in &pending {
        let sql = part.sql(resolved);
        // The refused column is the reason.
        let is_consequence = part.column(table).is_none()
            && sql.as_ref().is_some_and(|sql| {
                let names = types::references(sql.as_str());
                names.iter().any(|reference| lost.contains(reference.name().as_str()))
            });
        let Some(refusal) = refusals.get(part).filter(|_| !is_consequence) else {
            continue;
        };
        is_reported = true;
        let whole = part.span(resolved);
        let span = sql
            .as_ref()
            .and_then(|sql| sql.span(&refusal.place_in(sql.as_str())?))
            .unwrap_or(whole);
        report_refusal(refusal, span, part.place(table), resolved, report);
    }
    if !is_reported {
        let label = format!("table `{}`", table.name);
        report_refusal(refusal, resolved.name.span.clone(), label, resolved, report);
    }
    if !accepted.is_empty() {
        let _ = send(&emit::create(&reduced(table, &accepted)))?;
    }
    Ok(lost.is_empty() && !accepted.is_empty())
}

fn report_refusal(refusal: &Refusal, span: Span, place: String, resolved: &ResolvedTable, report: &mut Report) {
    let is_allowed = refusal.is_unknown_function() && resolved.allowed.iter().any(|code| code == "unknown-function");
    let diagnostic = if is_allowed || refusal.is_about_configuration() {
        let message = format!("this server cannot check it: {}", refusal.text());
        Diagnostic::note("unchecked-part", message)
    } else {
        Diagnostic::error(
            "refused-by-clickhouse",
            format!("ClickHouse refuses this: {}", refusal.text()),
        )
    };
    report.push(diagnostic.label(span, place));
}

/// Creates the table with some of its parts, and removes it again.
fn try_create<E>(table: &Table, parts: &HashSet<Part>, send: Send<'_, E>) -> Result<ServerAnswer, E> {
    let created = send(&emit::create(&reduced(table, parts)))?;
    if created.is_ok() {
        return send(&format!("DROP TABLE {} SYNC", emit::quote_name(&table.name)));
    }
    Ok(created)
}
