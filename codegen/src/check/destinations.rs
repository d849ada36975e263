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
    let mut help = "write `service/name`, `service/default`, or `other` for the rest".to_owned();
    let problem = match path.split_once('/') {
        None if path == "other" => return,
        None => {
            if types::closest(path, ["other"]).is_some() {
                help = "did you mean `other`?".to_owned();
            }
            "it has no `/`"
        }
        Some(("", _)) => "it has no service",
        Some((_, "")) => "it has no name",
        Some((_, name)) if name.contains('/') => "it has more than one `/`",
        Some((service, name)) if service.contains(['?', '#']) || name.contains(['?', '#']) => "a path has no query",
        Some((service, name)) if matched(name) != name => {
            help = format!("write `{service}/{}`", matched(name));
            "names are matched in lower case, with `_` for each space"
        }
        Some(_) => return,
    };
    let diagnostic = Diagnostic::error("bad-path", format!("`{path}` is no destination"))
        .label(destination.path.span.clone(), problem)
        .help(help);
    report.push(diagnostic);
}

pub(super) fn unknown_table(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    // The missing table may be in a file that could not be read.
    if !schema.declared.is_whole {
        return;
    }
    let name = destination.table.text.as_str();
    if !schema.declared.tables.iter().any(|table| table.name.text == name) {
        let concrete = schema
            .tables
            .iter()
            .filter(|table| !table.is_abstract)
            .map(|table| table.name.text.as_str());
        let diagnostic = Diagnostic::error("unknown-table", format!("there is no table `{name}`"))
            .did_you_mean(name, concrete)
            .label(
                destination.table.span.clone(),
                format!("the destination of `{}`", destination.path.text),
            );
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
            format!("table `{name}` is abstract: it does not exist in ClickHouse"),
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
/// table has taken the rows, and a Buffer then has them only in memory.
pub(super) fn buffered_ack(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    if destination.options.acks.ack != Some(Ack::Stored) {
        return;
    }
    let Some((table, (_, span))) = buffer_behind(&destination.table.text, schema) else {
        return;
    };
    let diagnostic = Diagnostic::error(
        "buffered-ack",
        format!("`{}` cannot promise `stored`", destination.path.text),
    )
    .label(destination.table.span.clone(), "")
    .label(
        span.clone(),
        format!(
            "a ClickHouse that is killed loses what `{}` has in memory",
            table.name.text
        ),
    )
    .help("name the table behind the Buffer");
    report.push(diagnostic);
}

/// Returns the Buffer that takes a table's rows: the table itself, or one that Distributed tables
/// lead to.
fn buffer_behind<'a>(name: &str, schema: &Schema<'a>) -> Option<(&'a ResolvedTable, &'a (Engine, Span))> {
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
    for table in schema.tables.iter().filter(|table| !table.is_abstract) {
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
        if !is_reached && !is_extended && !is_allowed {
            let diagnostic = Diagnostic::warning("unreached-table", format!("no event can reach the table `{name}`"))
                .label(table.name.span.clone(), "no destination names it")
                .help(format!("add `service/name: {name}` to `destinations`"))
                .help("if it is there to be extended only, add `abstract: true` to its `_options`")
                .help("if something else fills it, add `allow: unreached-table` there");
            report.push(diagnostic);
        }
    }
}
