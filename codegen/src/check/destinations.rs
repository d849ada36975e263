//! Rules for destinations.

use super::Schema;
use crate::{
    declare::{Ack, Destination},
    diagnostic::{Diagnostic, Report},
    inherit::ResolvedTable,
    source::Span,
    table_engine::Engine,
    types,
    yaml::Key,
};

pub(super) fn bad_path(destination: &Destination, _: &Schema<'_>, report: &mut Report) {
    let path = destination.path.text.as_str();
    let matched = |name: &str| name.to_lowercase().replace(char::is_whitespace, "_");
    let mut help = "write `service/name`, `service/default`, or `other` for all other events".to_owned();
    let problem = match path.split_once('/') {
        None if path == "other" => return,
        None if path == "*" => {
            help = "write `other` for all other events".to_owned();
            "the collector has no wildcards"
        }
        None => {
            if types::closest(path, ["other"]).is_some() {
                help = "did you mean `other`?".to_owned();
            }
            "a `/` is missing"
        }
        Some(("", _)) => "the service is missing",
        Some((_, "")) => "the name is missing",
        Some((_, name)) if name.contains('/') => "more than one `/`",
        Some((service, name)) if path.contains('*') => {
            help = match (service, name) {
                (service, "*") if !service.contains('*') => {
                    format!("write `{service}/default` for all other events of `{service}`")
                }
                _ => "write each path, `service/default` for all other events of a service, or `other`".to_owned(),
            };
            "the collector has no wildcards"
        }
        Some((service, name)) if service.contains(['?', '#']) || name.contains(['?', '#']) => {
            "a path cannot contain `?` or `#`"
        }
        Some((service, name)) if matched(name) != name => {
            help = format!("write `{service}/{}`", matched(name));
            "the collector converts names to lower case, and spaces to `_`"
        }
        Some(_) => return,
    };
    let diagnostic = Diagnostic::error("bad-path", format!("invalid destination `{path}`"))
        .label(destination.path.span.clone(), problem)
        .help(help);
    report.push(diagnostic);
}

pub(super) fn unknown_table(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    // The missing table may be in a file that could not be read.
    if !schema.declared.is_complete {
        return;
    }
    let name = destination.table.text.as_str();
    if !schema.declared.tables.iter().any(|table| table.name.text == name) {
        let concrete = schema
            .tables
            .iter()
            .filter(|table| !table.is_abstract)
            .map(|table| table.name.text.as_str());
        let diagnostic = Diagnostic::error("unknown-table", format!("unknown table `{name}`"))
            .did_you_mean(name, concrete)
            .label(
                destination.table.span.clone(),
                format!("the destination of `{}`", destination.path.text),
            );
        report.push(diagnostic);
    }
}

/// Rule: no destination names the table of a view, which has no decoder.
pub(super) fn view_target(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    let name = destination.table.text.as_str();
    let is_target = |table: &&ResolvedTable| table.name.text == name && table.is_view_target;
    if let Some(table) = schema.tables.iter().find(is_target) {
        let diagnostic = Diagnostic::error("view-target", format!("only a view fills table `{name}`"))
            .label(
                destination.table.span.clone(),
                format!("the destination of `{}`", destination.path.text),
            )
            .label(table.name.span.clone(), "the table of the view")
            .help("declare the table under `tables`, and name it in the view's `to`");
        report.push(diagnostic);
    }
}

pub(super) fn abstract_table(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    let name = destination.table.text.as_str();
    if schema
        .tables
        .iter()
        .any(|table| table.name.text == name && table.is_abstract)
    {
        let diagnostic = Diagnostic::error(
            "abstract-table",
            format!("table `{name}` is abstract and does not exist in ClickHouse"),
        )
        .label(
            destination.table.span.clone(),
            format!("the destination of `{}`", destination.path.text),
        )
        .help("name a table that extends it");
        report.push(diagnostic);
    }
}

/// Rule: a Buffer does not acknowledge `stored`. The collector acknowledges `stored` as soon as the
/// table has accepted the rows, and a Buffer then has them only in memory.
pub(super) fn buffered_ack(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    if destination.options.acks.ack != Some(Ack::Stored) {
        return;
    }
    let Some((table, (_, span))) = buffer_of(&destination.table.text, schema) else {
        return;
    };
    let diagnostic = Diagnostic::error(
        "buffered-ack",
        format!("`{}` cannot acknowledge as `stored`", destination.path.text),
    )
    .label(destination.table.span.clone(), "")
    .label(
        span.clone(),
        format!(
            "if ClickHouse is killed, `{}` loses the rows that it has in memory",
            table.name.text
        ),
    )
    .help("name the table that the Buffer writes to");
    report.push(diagnostic);
}

/// Returns the Buffer that receives a table's rows: the table itself, or the end of a chain of
/// Distributed tables.
fn buffer_of<'a>(name: &str, schema: &Schema<'a>) -> Option<(&'a ResolvedTable, &'a (Engine, Span))> {
    let mut name = name.to_owned();
    // The number of steps is limited, as the tables may form a cycle.
    for _ in schema.tables {
        let table = schema.tables.iter().find(|table| table.name.text == name)?;
        let engine = table.engine.as_ref()?;
        if engine.0.is_buffer() {
            return Some((table, engine));
        }
        name = engine.0.distributed_to()?;
    }
    None
}

/// Rule: a destination names each table, unless other tables extend it. Events reach a table only
/// through its destinations.
pub(super) fn unreached_table(schema: &Schema<'_>, report: &mut Report) {
    // As long as there are errors, a missing destination may be the result of one.
    if report.has_errors() {
        return;
    }
    let declared = schema.declared;
    for table in schema
        .tables
        .iter()
        .filter(|table| !table.is_abstract && !table.is_view_target)
    {
        let name = table.name.text.as_str();
        let is_named_by = |key: &Key| key.text == name;
        let is_reached = declared
            .destinations
            .iter()
            .any(|destination| is_named_by(&destination.table));
        let is_extended = declared
            .tables
            .iter()
            .any(|table| table.options.extend.as_ref().is_some_and(is_named_by));
        let is_allowed = declared
            .tables
            .iter()
            .any(|table| is_named_by(&table.name) && table.options.allows("unreached-table"));
        let is_target = declared.views.iter().any(|view| is_named_by(&view.to));
        if !is_reached && !is_extended && !is_allowed && !is_target {
            let diagnostic = Diagnostic::warning("unreached-table", format!("table `{name}` gets no events"))
                .label(table.name.span.clone(), "no destination names it")
                .help(format!("add `service/name: {name}` to `destinations`"))
                .help("if other tables only extend it, add `abstract: true` to its `_options`")
                .help("if something else fills it, add `allow: unreached-table` to its `_options`");
            report.push(diagnostic);
        }
    }
}
