//! Check: whole tables become the model, or every rule that they break is reported.
//!
//! A rule is a function; [`check`] calls them all, so that one run shows all problems.

use crate::{
    declare::{Declared, Destination},
    diagnostic::{Diagnostic, Report},
    inherit::{Whole, WholeColumn},
    model::{Model, Route, Table},
    names,
    server::ServerValue,
    types::DefaultKind,
};

/// The tables that the runtime keeps for itself.
const RESERVED_TABLES: [&str; 1] = ["rejected"];

/// Returns the model; it is whole only if `report` has no errors afterwards.
pub(crate) fn check(declared: &Declared, tables: Vec<Whole>, report: &mut Report) -> Model {
    for table in &tables {
        reserved_table(table, report);
        duplicate_column(table, report);
        field_collision(table, report);
        half_an_extra(table, report);
        server_column(table, report);
        if !table.is_abstract {
            no_columns(table, report);
            missing_engine(table, report);
            missing_order_by(table, report);
        }
    }
    type_collision(&tables, report);
    for destination in &declared.destinations {
        bad_path(destination, report);
        unknown_table(destination, &tables, report);
        abstract_table(destination, &tables, report);
    }
    model(declared, tables)
}

fn model(declared: &Declared, tables: Vec<Whole>) -> Model {
    let tables: Vec<Table> = tables
        .into_iter()
        .filter(|table| !table.is_abstract)
        .filter_map(|mut table| {
            let (engine, _) = table.engine.take()?;
            Some(Table::new(table, engine))
        })
        .collect();
    let index_of = |name: &str| tables.iter().position(|table| table.name == name);
    let mut routes = Vec::new();
    let mut other = None;
    for destination in &declared.destinations {
        let Some(table) = index_of(&destination.table.text) else {
            continue;
        };
        match destination.path.text.split_once('/') {
            Some((service, name)) => routes.push(Route {
                service: service.to_owned(),
                name: (name != "default").then(|| name.to_owned()),
                table,
            }),
            None => other = Some(table),
        }
    }
    Model { tables, routes, other }
}

fn reserved_table(table: &Whole, report: &mut Report) {
    if RESERVED_TABLES.contains(&table.name.text.as_str()) {
        let diagnostic = Diagnostic::error(
            "reserved-table",
            format!("the table `{}` is Rowmill's own", table.name.text),
        )
        .label(table.name.span.clone(), "refused events are kept there")
        .help("give it another name");
        report.push(diagnostic);
    }
}

fn duplicate_column(table: &Whole, report: &mut Report) {
    for (index, column) in table.columns.iter().enumerate() {
        if let Some(first) = table.columns[..index].iter().find(|first| first.name == column.name) {
            let diagnostic = Diagnostic::error(
                "duplicate-column",
                format!("column `{}` stands twice in `{}`", column.name, table.name.text),
            )
            .label(column.name_span.clone(), "the second")
            .label(first.name_span.clone(), "the first");
            report.push(diagnostic);
        }
    }
}

fn field_collision(table: &Whole, report: &mut Report) {
    let field = |column: &WholeColumn| names::field(&column.name);
    for (index, column) in table.columns.iter().enumerate() {
        let collides = |first: &&WholeColumn| first.name != column.name && field(first) == field(column);
        if let Some(first) = table.columns[..index].iter().find(collides) {
            let message = format!(
                "columns `{}` and `{}` are both called `{}` in Rust",
                first.name,
                column.name,
                field(column)
            );
            let diagnostic = Diagnostic::error("field-collision", message)
                .label(column.name_span.clone(), "")
                .label(first.name_span.clone(), "the other")
                .help("rename one of them");
            report.push(diagnostic);
        }
    }
}

fn type_collision(tables: &[Whole], report: &mut Report) {
    for (index, table) in tables.iter().enumerate() {
        let first = tables[..index].iter().find(|first| {
            names::type_name(&first.name.text) == names::type_name(&table.name.text)
                || names::module(&first.name.text) == names::module(&table.name.text)
        });
        if let Some(first) = first {
            let message = format!(
                "tables `{}` and `{}` are both called `{}` in Rust",
                first.name.text,
                table.name.text,
                names::type_name(&table.name.text)
            );
            let diagnostic = Diagnostic::error("type-collision", message)
                .label(table.name.span.clone(), "")
                .label(first.name.span.clone(), "the other")
                .help("rename one of them");
            report.push(diagnostic);
        }
    }
}

fn half_an_extra(table: &Whole, report: &mut Report) {
    let is_extra = |prefix: &str| prefix == "extra" || prefix.ends_with("_extra");
    for column in &table.columns {
        let Some((prefix, part)) = column.name.split_once('.').filter(|(prefix, _)| is_extra(prefix)) else {
            continue;
        };
        let other = match part {
            "key" => "value",
            "value" => "key",
            _ => continue,
        };
        let other = format!("{prefix}.{other}");
        if !table.columns.iter().any(|column| column.name == other) {
            let diagnostic = Diagnostic::error("half-an-extra", format!("`{}` without `{other}`", column.name))
                .label(column.name_span.clone(), "keys and values stand in two columns")
                .help(format!("add `{other}: Array(String)`"));
            report.push(diagnostic);
        }
    }
}

fn server_column(table: &Whole, report: &mut Report) {
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
                .label(
                    column.span.clone(),
                    format!("the collector fills it: {}", value.expected()),
                )
                .help("for a value of the event, choose another name");
            report.push(diagnostic);
        }
    }
}

fn no_columns(table: &Whole, report: &mut Report) {
    if table.columns.is_empty() {
        let diagnostic = Diagnostic::error("no-columns", format!("table `{}` has no columns", table.name.text));
        report.push(diagnostic.label(table.name.span.clone(), ""));
    }
}

fn missing_engine(table: &Whole, report: &mut Report) {
    if table.engine.is_none() {
        let diagnostic = Diagnostic::error("missing-engine", format!("table `{}` has no engine", table.name.text))
            .label(table.name.span.clone(), "neither its own nor an inherited one")
            .help("add `_options: { engine: MergeTree, order_by: […] }`, or extend a table that has an engine");
        report.push(diagnostic);
    }
}

fn missing_order_by(table: &Whole, report: &mut Report) {
    let Some((engine, span)) = table.engine.as_ref().filter(|(engine, _)| engine.is_merge_tree()) else {
        return;
    };
    if table.clauses.order_by.is_none() && table.clauses.primary_key.is_none() {
        let diagnostic = Diagnostic::error("missing-order-by", format!("`{}` needs a sorting key", engine.name))
            .label(span.clone(), format!("of `{}`", table.name.text))
            .help("add `order_by: […]` to `_options`; `order_by: tuple()` is none");
        report.push(diagnostic);
    }
}

fn bad_path(destination: &Destination, report: &mut Report) {
    let path = destination.path.text.as_str();
    let problem = match path.split_once('/') {
        None if path == "other" => return,
        None => "it has no `/`",
        Some(("", _)) => "it has no service",
        Some((_, "")) => "it has no name",
        Some((_, name)) if name.contains('/') => "it has more than one `/`",
        Some((service, name)) if service.contains(['?', '#']) || name.contains(['?', '#']) => "a path has no query",
        Some((_, name)) if name.contains(char::is_whitespace) || name.to_lowercase() != name => {
            "names are matched in lower case, with `_` for each space"
        }
        Some(_) => return,
    };
    let diagnostic = Diagnostic::error("bad-path", format!("`{path}` is no destination"))
        .label(destination.path.span.clone(), problem)
        .help("write `service/name`, `service/default`, or `other` for the rest");
    report.push(diagnostic);
}

fn unknown_table(destination: &Destination, tables: &[Whole], report: &mut Report) {
    let name = destination.table.text.as_str();
    if !tables.iter().any(|table| table.name.text == name) {
        let concrete = tables
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

fn abstract_table(destination: &Destination, tables: &[Whole], report: &mut Report) {
    let name = destination.table.text.as_str();
    if tables.iter().any(|table| table.name.text == name && table.is_abstract) {
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
