//! Rules for materialized views: their queries, their tables, and the order among them.
//!
//! These rules know only the names in a query. `rowmill plan` lets ClickHouse itself read the query.

use std::collections::HashSet;

use super::Schema;
use crate::{
    declare::{Declared, View},
    diagnostic::{Diagnostic, Report},
    inherit::ResolvedTable,
    model,
    source::Span,
    types::{self, view_query as read_query},
};

/// Rule: no table and no other view has the name of a view.
pub(super) fn duplicate_view(schema: &Schema<'_>, report: &mut Report) {
    for view in &schema.declared.views {
        let name = &view.name.text;
        if let Some(table) = schema.tables.iter().find(|table| table.name.text == *name) {
            let message = format!("view `{name}` has the name of a table");
            let diagnostic = Diagnostic::error("duplicate-view", message)
                .label(view.name.span.clone(), "")
                .label(table.name.span.clone(), "the table")
                .help("in ClickHouse, tables and views share their names: rename the view, for example to `…_view`");
            report.push(diagnostic);
        }
    }
}

/// Rule: the query of a view can be read, and reads a table.
pub(super) fn view_query(schema: &Schema<'_>, report: &mut Report) {
    for view in &schema.declared.views {
        let span = view.select.whole_span().unwrap_or_else(|| view.name.span.clone());
        let problem = |message: &str| Diagnostic::error("bad-view", message);
        let Some(query) = read_query(view.select.as_str()) else {
            let diagnostic = match types::lexical_problem(view.select.as_str()) {
                Some(error) if !view.select.as_str().is_empty() => {
                    let at = view.select.span(&error.span).unwrap_or(span);
                    problem(&error.message).label(at, "")
                }
                _ => problem("the query of a view must begin with SELECT or WITH").label(span, ""),
            };
            report.push(diagnostic);
            continue;
        };
        // A view with a schedule may read anything.
        if view.refresh.is_some() {
            continue;
        }
        let Some(source) = query.source else {
            let diagnostic = problem("the query of the view reads no table")
                .label(span, "")
                .help("a view processes the rows that are inserted into the first table after FROM");
            report.push(diagnostic);
            continue;
        };
        if let Some(modifier) = source.modifier {
            let word = view.select.as_str()[modifier.clone()].to_uppercase();
            let diagnostic = problem(&format!("the query of a view cannot have {word} after its table"))
                .label(view.select.span(&modifier).unwrap_or(span), "")
                .help("a view processes only the rows of one insert; for a condition, write WHERE");
            report.push(diagnostic);
        }
    }
}

/// Rule: the schema has the tables of a view: those that it reads, and the one that it fills.
pub(super) fn view_table(schema: &Schema<'_>, report: &mut Report) {
    // The missing table may be in a file that could not be read.
    if !schema.declared.is_complete {
        return;
    }
    for view in &schema.declared.views {
        let query = read_query(view.select.as_str()).unwrap_or_default();
        let read = query.tables.iter().filter(|table| !table.is_qualified).map(|table| {
            let span = view.select.span(&table.span);
            (
                table.name.as_str(),
                span.unwrap_or_else(|| view.name.span.clone()),
                "reads it",
            )
        });
        let filled = [(view.to.text.as_str(), view.to.span.clone(), "fills it")];
        for (name, span, role) in read.chain(filled) {
            if schema
                .tables
                .iter()
                .any(|table| table.exists_as(name) && !table.is_abstract)
                || role == "reads it"
                    && schema
                        .declared
                        .dictionaries
                        .iter()
                        .any(|dictionary| dictionary.name.text == name)
            {
                continue;
            }
            let label = format!("view `{}` {role}", view.name.text);
            let diagnostic = Diagnostic::error("unknown-table", format!("unknown table `{name}`"));
            let diagnostic = diagnose(diagnostic, name, span, label, schema);
            report.push(match role {
                "reads it" => {
                    diagnostic.help("write a table outside of the schema with its database, for example `other.table`")
                }
                _ => diagnostic,
            });
        }
    }
}

fn diagnose(diagnostic: Diagnostic, name: &str, span: Span, label: String, schema: &Schema<'_>) -> Diagnostic {
    if let Some(other) = schema.declared.views.iter().find(|view| view.name.text == name) {
        return diagnostic.label(span, label).help(format!(
            "`{name}` is a view: read the table that it fills, `{}`",
            other.to.text
        ));
    }
    if schema.tables.iter().any(|table| table.name.text == name) {
        return diagnostic
            .label(span, label)
            .help("the table is abstract and does not exist in ClickHouse: name one that extends it");
    }
    let tables = schema.tables.iter().filter(|table| !table.is_abstract);
    diagnostic
        .did_you_mean(name, tables.map(|table| table.name.text.as_str()))
        .label(span, label)
}

/// Rule: the table of a view has each column of the query that has a name. Some versions of
/// ClickHouse drop the values of another column without an error.
pub(super) fn lost_column(schema: &Schema<'_>, report: &mut Report) {
    for view in &schema.declared.views {
        let Some(target) = schema.tables.iter().find(|table| table.name.text == view.to.text) else {
            continue;
        };
        if !target.is_complete || target.is_abstract {
            continue;
        }
        for (name, span) in read_query(view.select.as_str()).unwrap_or_default().columns {
            if has_column(target, &name) {
                continue;
            }
            let message = format!("table `{}` has no column `{name}`", target.name.text);
            let columns = target.columns.iter().map(|column| column.name.as_str());
            let diagnostic = Diagnostic::error("lost-column", message)
                .did_you_mean(&name, columns)
                .label(
                    view.select.span(&span).unwrap_or_else(|| view.name.span.clone()),
                    "the view would lose this column of its query",
                )
                .help("add the column to the table, or give it the name of a column with `AS`");
            report.push(diagnostic);
        }
    }
}

fn has_column(table: &ResolvedTable, name: &str) -> bool {
    table.columns.iter().any(|column| column.name == name)
}

/// Rule: no view fills, through others, the table that it reads.
pub(super) fn view_cycle(schema: &Schema<'_>, report: &mut Report) {
    let views = &schema.declared.views;
    let mut reported: Vec<&str> = Vec::new();
    let mut explored = HashSet::new();
    for view in views {
        let mut path = vec![view];
        if let Some(cycle) = cycle(views, &mut path, &mut explored) {
            if cycle.iter().any(|view| reported.contains(&view.name.text.as_str())) {
                continue;
            }
            reported.extend(cycle.iter().map(|view| view.name.text.as_str()));
            let names: Vec<_> = cycle
                .iter()
                .chain(cycle.first())
                .map(|view| view.name.text.as_str())
                .collect();
            let message = match cycle[..] {
                [only] => format!("view `{}` fills the table that it reads", only.name.text),
                _ => format!("the views form a cycle: {}", names.join(" → ")),
            };
            let mut diagnostic = Diagnostic::error("view-cycle", message);
            for view in &cycle {
                let label = format!("`{}` fills `{}`", view.name.text, view.to.text);
                diagnostic = diagnostic.label(view.to.span.clone(), label);
            }
            report.push(diagnostic.help("let one of the views fill another table"));
        }
    }
}

/// Returns the views of the cycle that the last view of the path closes, if there is one.
fn cycle<'a>(views: &'a [View], path: &mut Vec<&'a View>, explored: &mut HashSet<&'a str>) -> Option<Vec<&'a View>> {
    let last = *path.last()?;
    if explored.contains(last.name.text.as_str()) {
        return None;
    }
    for next in views
        .iter()
        .filter(|view| source(view).as_deref() == Some(&last.to.text))
    {
        if let Some(start) = path.iter().position(|view| view.name.text == next.name.text) {
            return Some(path[start..].to_vec());
        }
        path.push(next);
        if let Some(found) = cycle(views, path, explored) {
            return Some(found);
        }
        path.pop();
    }
    explored.insert(last.name.text.as_str());
    None
}

/// Returns the table whose inserts a view processes.
fn source(view: &View) -> Option<String> {
    if view.refresh.is_some() {
        return None;
    }
    let source = read_query(view.select.as_str())?.source?;
    (!source.is_qualified).then_some(source.name)
}

/// Returns the views, each after those that read its table: a row that the first view of a chain
/// processes then reaches the whole chain. Views with a schedule are last.
pub(super) fn ordered(declared: &Declared) -> Vec<model::View> {
    let mut ordered: Vec<&View> = Vec::new();
    let mut waiting: Vec<&View> = declared.views.iter().collect();
    waiting.sort_by_key(|view| view.refresh.is_some());
    while !waiting.is_empty() {
        let is_ready = |view: &&View| {
            !waiting
                .iter()
                .any(|other| other.name.text != view.name.text && source(other).as_deref() == Some(&view.to.text))
        };
        // In a cycle, which is an error, no view is ready.
        let next = waiting.iter().position(is_ready).unwrap_or(0);
        ordered.push(waiting.remove(next));
    }
    ordered
        .into_iter()
        .map(|view| {
            let source = read_query(view.select.as_str()).and_then(|query| query.source);
            model::View {
                name: view.name.text.clone(),
                select: view.select.as_str().to_owned(),
                target: view.to.text.clone(),
                source: source.filter(|source| view.refresh.is_none() && !source.is_qualified),
                refresh: view.refresh.as_ref().map(|refresh| refresh.as_str().to_owned()),
                cluster: view.cluster.clone(),
                comment: view.comment.clone(),
            }
        })
        .collect()
}
