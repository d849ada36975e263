//! Check: whole tables become the model, or every rule that they break is reported.
//!
//! A rule is a function; [`check`] calls them all, so that one run shows all problems.

use crate::{
    declare::{Declared, Destination, ElementKind},
    diagnostic::{Diagnostic, Report},
    engine_family,
    inherit::{Whole, WholeColumn},
    model::{self, Model, Route, Table},
    names, paths,
    server::ServerValue,
    types::{self, DefaultKind},
    yaml::Key,
};

/// The tables that the runtime keeps for itself.
const RESERVED_TABLES: [&str; 1] = ["rejected"];

/// What stands beside the tables in the generated code: the routes of all tables, the door to the runtime, and a type that a module of
/// that name would hide.
const RESERVED_NAMES: [&str; 3] = ["Routes", "__rt", "str"];

/// Returns the model; it is whole only if `report` has no errors afterwards.
pub(crate) fn check(declared: &Declared, tables: Vec<Whole>, report: &mut Report) -> Model {
    for table in &tables {
        reserved_table(table, report);
        duplicate_column(table, report);
        field_collision(table, report);
        extra_of_no_texts(table, report);
        server_column(table, report);
        paths::check(table, report);
        if !table.is_abstract && table.is_whole {
            half_an_extra(table, report);
            no_columns(table, report);
            missing_engine(table, report);
            missing_order_by(table, report);
            engine_family::check(table, report);
            projection_mode(table, report);
        }
    }
    duplicate_table(&tables, report);
    type_collision(&tables, report);
    for destination in &declared.destinations {
        bad_path(destination, report);
        abstract_table(destination, &tables, report);
        if declared.is_whole {
            unknown_table(destination, &tables, report);
        }
    }
    // While other things are wrong, a missing destination may be one of them.
    if !report.has_errors() {
        unreached_table(declared, &tables, report);
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
                acks: destination.acks,
            }),
            None => other = Some((table, destination.acks)),
        }
    }
    Model { tables, routes, other }
}

fn reserved_table(table: &Whole, report: &mut Report) {
    let name = table.name.text.as_str();
    let reason = if RESERVED_TABLES.contains(&name) {
        "Rowmill keeps refused events in a table of this name"
    } else if rust_names(name)
        .iter()
        .any(|name| RESERVED_NAMES.contains(&name.as_str()))
    {
        "the generated code has this name already"
    } else {
        return;
    };
    let diagnostic = Diagnostic::error("reserved-table", format!("a table cannot be called `{name}`"))
        .label(table.name.span.clone(), reason)
        .help("give it another name");
    report.push(diagnostic);
}

/// Returns what the generated code calls after a table: its row, its layer and its module.
fn rust_names(table: &str) -> [String; 3] {
    let type_name = names::type_name(table);
    let layer_name = format!("{type_name}Layer");
    [type_name, layer_name, names::module(table)]
}

fn duplicate_column(table: &Whole, report: &mut Report) {
    for (index, column) in table.columns.iter().enumerate() {
        if let Some(first) = table.columns[..index].iter().find(|first| first.name == column.name) {
            let origin = |column: &WholeColumn| match &column.nested {
                Some(nested) => format!("the Nested `{nested}` has it"),
                None => "stands here".to_owned(),
            };
            let message = format!("there are two columns `{}`", column.name);
            let diagnostic = Diagnostic::error("duplicate-column", message)
                .label(column.name_span.clone(), origin(column))
                .label(first.name_span.clone(), origin(first))
                .help("the elements of a Nested are columns of their own; rename or remove one of the two");
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

/// Entries of one mapping are merged; a table under `tables` and one beside it are two mappings.
fn duplicate_table(tables: &[Whole], report: &mut Report) {
    for (index, table) in tables.iter().enumerate() {
        if let Some(first) = tables[..index].iter().find(|first| first.name.text == table.name.text) {
            let message = format!("there are two tables `{}`", table.name.text);
            let diagnostic = Diagnostic::error("duplicate-table", message)
                .label(table.name.span.clone(), "")
                .label(first.name.span.clone(), "the other")
                .help("to add to a table, put both entries under `tables`, or both directly under `clickhouse`");
            report.push(diagnostic);
        }
    }
}

fn type_collision(tables: &[Whole], report: &mut Report) {
    for (index, table) in tables.iter().enumerate() {
        let own = rust_names(&table.name.text);
        let collision = tables[..index]
            .iter()
            .filter(|first| first.name.text != table.name.text)
            .find_map(|first| {
                let name = rust_names(&first.name.text)
                    .into_iter()
                    .find(|name| own.contains(name))?;
                Some((first, name))
            });
        if let Some((first, name)) = collision {
            let message = format!(
                "tables `{}` and `{}` both need the name `{name}` in Rust",
                first.name.text, table.name.text
            );
            let diagnostic = Diagnostic::error("type-collision", message)
                .label(table.name.span.clone(), "")
                .label(first.name.span.clone(), "the other")
                .help("rename one of them");
            report.push(diagnostic);
        }
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

fn extra_of_no_texts(table: &Whole, report: &mut Report) {
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

fn half_an_extra(table: &Whole, report: &mut Report) {
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
                .label(column.span.clone(), "the collector fills this column")
                .help(format!("use {}", value.expected()))
                .help("for a value of the event, choose another name");
            report.push(diagnostic);
        }
    }
}

fn no_columns(table: &Whole, report: &mut Report) {
    if table.columns.is_empty() {
        let diagnostic = Diagnostic::error("no-columns", format!("table `{}` has no columns", table.name.text));
        report.push(
            diagnostic
                .label(table.name.span.clone(), "")
                .help("add columns, or extend a table that has some"),
        );
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

/// Where a merge makes one row of several, ClickHouse wants to be told what becomes of the projections.
fn projection_mode(table: &Whole, report: &mut Report) {
    const SETTING: &str = "deduplicate_merge_projection_mode";
    let Some((engine, span)) = table.engine.as_ref().filter(|(engine, _)| engine.merges_rows()) else {
        return;
    };
    let is_said = table
        .clauses
        .settings
        .iter()
        .any(|(name, value)| name == SETTING && value.trim_matches('\'') != "throw");
    let projections = table
        .elements
        .iter()
        .filter(|element| element.kind == ElementKind::Projection);
    for projection in projections.filter(|_| !is_said) {
        let message = format!("`{}` needs to know what becomes of its projections", engine.name);
        let diagnostic = Diagnostic::error("projection-mode", message)
            .label(projection.name.span.clone(), "")
            .label(span.clone(), format!("the engine of `{}`", table.name.text))
            .help(format!(
                "add `settings: {{ {SETTING}: rebuild }}` to `_options`; `drop` is cheaper"
            ));
        report.push(diagnostic);
    }
}

fn bad_path(destination: &Destination, report: &mut Report) {
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

/// Events reach a table by its destinations alone. A table that others extend may be there for them.
fn unreached_table(declared: &Declared, tables: &[Whole], report: &mut Report) {
    for table in tables.iter().filter(|table| !table.is_abstract) {
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
        if !is_reached && !is_extended {
            let diagnostic = Diagnostic::warning("unreached-table", format!("no event can reach the table `{name}`"))
                .label(table.name.span.clone(), "no destination names it")
                .help(format!("add `service/name: {name}` to `destinations`"))
                .help("if it is there to be extended only, add `abstract: true` to its `_options`");
            report.push(diagnostic);
        }
    }
}
