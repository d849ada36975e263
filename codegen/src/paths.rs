//! Paths: the source of each column's value, and the paths in an event at which it is found.
//!
//! A path is the keys down to a value, joined by `_`. A field of a query may keep its dots, so the
//! decoder also accepts a path with dots.

use std::collections::HashMap;

use crate::{
    collector_value::CollectorValue,
    declare::Source,
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    types::{Declaration, DefaultKind, Type},
    yaml::Key,
};

/// The source of a column's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The event.
    Event,
    /// The collector itself.
    Collector(CollectorValue),
    /// The collector, with values that have no column: the keys or the values of an [`Extra`].
    Extra,
    /// ClickHouse.
    Computed,
}

/// A pair of arrays for the values below one path of the event that have no column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extra {
    /// The path, its parts joined by `_`; empty for the whole event.
    pub(crate) path: String,
    pub(crate) key: usize,
    pub(crate) value: usize,
}

/// Finds the pairs of columns `….key` and `….value` whose prefix ends in `extra` and that hold
/// texts.
pub(crate) fn extras(columns: &[ResolvedColumn]) -> Vec<Extra> {
    columns
        .iter()
        .enumerate()
        .filter_map(|(key, column)| {
            let prefix = column.name.strip_suffix(".key")?;
            let path = match prefix.strip_suffix("extra")? {
                "" => "",
                path => path.strip_suffix('_')?,
            };
            let value_name = format!("{prefix}.value");
            let value = columns.iter().position(|column| column.name == value_name)?;
            let is_texts = |index: usize| is_text_array(&columns[index].declaration.ty);
            (is_texts(key) && is_texts(value)).then(|| Extra {
                path: path.to_owned(),
                key,
                value,
            })
        })
        .collect()
}

pub(crate) fn is_text_array(ty: &Type) -> bool {
    match ty {
        Type::Array(element) => match &**element {
            Type::String => true,
            Type::LowCardinality(inner) => matches!(**inner, Type::String),
            _ => false,
        },
        _ => false,
    }
}

/// Returns the source of each column's value.
pub(crate) fn roles(table: &ResolvedTable, extras: &[Extra]) -> Vec<Role> {
    let role = |(index, column): (usize, &ResolvedColumn)| match column
        .declaration
        .default
        .as_ref()
        .map(|default| default.kind)
    {
        Some(DefaultKind::Materialized | DefaultKind::Alias) => Role::Computed,
        _ if extras.iter().any(|extra| [extra.key, extra.value].contains(&index)) => Role::Extra,
        _ => collector_value(column, table.inherits_base).map_or(Role::Event, Role::Collector),
    };
    table.columns.iter().enumerate().map(role).collect()
}

/// Returns the collector's value that a column holds: the one that it asks for, or that of its name
/// in a table that inherits `base`, unless the column gives a path of the event.
pub(crate) fn collector_value(column: &ResolvedColumn, inherits_base: bool) -> Option<CollectorValue> {
    match &column.event.source {
        Some(source) => Some(source.value),
        None if column.event.from.is_empty() && inherits_base => CollectorValue::of_name(&column.name),
        None => None,
    }
}

/// Returns the index of the column with the collector's ids: the first of a type that identifies
/// rows, or else the first. `None` if no column has the ids.
pub(crate) fn row_id<'c>(columns: impl Iterator<Item = (Role, &'c Declaration)>) -> Option<usize> {
    let ids: Vec<_> = columns
        .enumerate()
        .filter(|(_, (role, _))| *role == Role::Collector(CollectorValue::Id))
        .collect();
    let identifies = |declaration: &Declaration| {
        declaration.default.is_none() && matches!(declaration.ty, Type::Int { bits: 64, .. })
    };
    let usable = ids.iter().find(|(_, (_, declaration))| identifies(declaration));
    usable.or(ids.first()).map(|(index, _)| *index)
}

/// Returns the paths of each column; none for a column that events do not fill.
pub(crate) fn paths(columns: &[ResolvedColumn], roles: &[Role]) -> Vec<Vec<String>> {
    let of_column = |(column, role): (&ResolvedColumn, &Role)| {
        if *role != Role::Event {
            return Vec::new();
        }
        let mut paths = Vec::new();
        if column.event.from.is_empty() {
            paths.push(column.name.clone());
            // The parts of a Nested are also found by the path of an object, unless a column has
            // that name.
            let joined = joined(&column.name);
            if !columns.iter().any(|column| column.name == joined) {
                paths.push(joined);
            }
        }
        for path in &column.event.from {
            for path in [joined(&path.text), path.text.clone()] {
                if !paths.contains(&path) {
                    paths.push(path);
                }
            }
        }
        paths
    };
    columns.iter().zip(roles).map(of_column).collect()
}

fn joined(path: &str) -> String {
    path.replace('.', "_")
}

/// Checks the event keys of a table's columns.
pub(crate) fn event_paths(table: &ResolvedTable, report: &mut Report) {
    if table.is_view_target {
        return;
    }
    let roles = roles(table, &extras(&table.columns));
    let paths = paths(&table.columns, &roles);
    not_of_the_event(table, &roles, report);
    collectors_path(table, report);
    shared_path(table, &paths, report);
    path_into_a_value(table, &paths, report);
    max_bytes_misfit(table, report);
    period_misfit(table, report);
}

fn not_of_the_event(table: &ResolvedTable, roles: &[Role], report: &mut Report) {
    for (column, role) in table.columns.iter().zip(roles) {
        let by = match role {
            Role::Event => continue,
            Role::Collector(_) => "the collector fills this column",
            Role::Extra => "the collector stores values without a column here",
            Role::Computed => "ClickHouse computes this column",
        };
        // A column that asks for a value of the collector may require it and limit its length. Only
        // a date from the request can be far from its arrival.
        let has_effect = |key: &str| match role {
            Role::Collector(value) if column.event.source.is_some() => {
                value.is_of_request() || !matches!(key, "max_age" | "max_ahead")
            }
            _ => false,
        };
        for key in column.event.present_keys.iter().filter(|key| !has_effect(&key.text)) {
            let message = format!("`{}` has no effect on `{}`", key.text, column.name);
            let diagnostic = Diagnostic::error("not-of-the-event", message)
                .label(key.span.clone(), by)
                .label(column.name_span.clone(), "")
                .help("remove it, or give a column of the event another name");
            report.push(diagnostic);
        }
    }
}

/// Rule: an event cannot set a value that the collector knows about its client.
fn collectors_path(table: &ResolvedTable, report: &mut Report) {
    if !table.inherits_base {
        return;
    }
    for column in &table.columns {
        for path in &column.event.from {
            let name = joined(&path.text);
            if name.starts_with("td_") && CollectorValue::of_name(&name).is_some() {
                let diagnostic = Diagnostic::error("bad-source", format!("an event cannot fill `{}`", path.text))
                    .label(path.span.clone(), "the collector sets this value, and no client can")
                    .help(format!("name the column `{name}`, and the collector fills it"));
                report.push(diagnostic);
            }
        }
    }
}

/// Rule: no two columns read the same value.
fn shared_path(table: &ResolvedTable, paths: &[Vec<String>], report: &mut Report) {
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (index, (column, paths)) in table.columns.iter().zip(paths).enumerate() {
        let same = paths.iter().find_map(|path| match owners.insert(path, index) {
            Some(first) if first != index => Some((path, first)),
            _ => None,
        });
        let Some((path, first)) = same else { continue };
        let first = &table.columns[first];
        let place = |column: &ResolvedColumn| {
            let from = column
                .event
                .from
                .iter()
                .find(|from| from.text == *path || joined(&from.text) == *path);
            from.map(|from| from.span.clone())
        };
        let (here, there) = (place(column), place(first));
        // If two columns collide by their names alone, their Rust names collide as well, and
        // another rule reports that.
        if here.is_none() && there.is_none() {
            continue;
        }
        let message = format!("columns `{}` and `{}` both read `{path}`", first.name, column.name);
        let diagnostic = Diagnostic::error("shared-source", message)
            .label(here.unwrap_or_else(|| column.name_span.clone()), "")
            .label(there.unwrap_or_else(|| first.name_span.clone()), "the other one")
            .help("remove one of them, or compute it from the other with `materialized: …` or `alias: …`");
        let named = [column, first].into_iter().find(|column| column.name == *path);
        let source = named.and_then(|column| Source::of_name(&column.name));
        report.push(match source {
            Some(source) => diagnostic.help(format!(
                "if the collector shall fill `{path}`, add `from: {source}` to it"
            )),
            None => diagnostic,
        });
    }
    for column in &table.columns {
        let from = &column.event.from;
        for (index, path) in from.iter().enumerate() {
            if let Some(first) = from[..index]
                .iter()
                .find(|first| joined(&first.text) == joined(&path.text))
            {
                let message = format!("`{}` and `{}` are the same path", first.text, path.text);
                let diagnostic = Diagnostic::error("shared-source", message)
                    .label(path.span.clone(), "")
                    .label(first.span.clone(), "the other one")
                    .help("remove one of them: the collector joins the keys of a path with `_`");
                report.push(diagnostic);
            }
        }
    }
}

/// Rule: no column reads a value from inside an object that is the value of another column.
fn path_into_a_value(table: &ResolvedTable, paths: &[Vec<String>], report: &mut Report) {
    let objects = table
        .columns
        .iter()
        .zip(paths)
        .filter(|(column, _)| column.declaration.ty.accepts_object());
    let whole: HashMap<&str, &ResolvedColumn> = objects
        .flat_map(|(column, paths)| paths.iter().map(move |path| (path.as_str(), column)))
        .collect();
    if whole.is_empty() {
        return;
    }
    for column in &table.columns {
        for path in &column.event.from {
            let above = path.text.match_indices('.').map(|(dot, _)| joined(&path.text[..dot]));
            let owner = above.filter_map(|above| whole.get(above.as_str())).next();
            if let Some(owner) = owner {
                let message = format!(
                    "the path `{}` is inside the value of column `{}`",
                    path.text, owner.name
                );
                let diagnostic = Diagnostic::error("path-into-a-value", message)
                    .label(path.span.clone(), "")
                    .label(
                        owner.span.clone(),
                        format!("a `{}` reads the whole object", owner.declaration.ty),
                    )
                    .help("compute this column from the other with `materialized: …`, or remove one of them");
                report.push(diagnostic);
            }
        }
    }
}

fn max_bytes_misfit(table: &ResolvedTable, report: &mut Report) {
    for column in &table.columns {
        let present = column.event.present_keys.iter().find(|key| key.text == "max_bytes");
        let Some(key) = present.filter(|_| !column.declaration.ty.varies_in_length()) else {
            continue;
        };
        let ty = &column.declaration.ty;
        let diagnostic = Diagnostic::error("max-bytes-misfit", format!("all values of `{ty}` have the same length"))
            .label(key.span.clone(), format!("of column `{}`", column.name))
            .help("remove it: `max_bytes` applies to strings, arrays, maps and JSON");
        report.push(diagnostic);
    }
}

fn period_misfit(table: &ResolvedTable, report: &mut Report) {
    for column in table.columns.iter().filter(|column| !column.declaration.ty.is_date()) {
        let is_period = |key: &&Key| matches!(key.text.as_str(), "max_age" | "max_ahead");
        for key in column.event.present_keys.iter().filter(is_period) {
            let message = format!("`{}` is not a date type", column.declaration.ty);
            let diagnostic = Diagnostic::error("period-misfit", message)
                .label(key.span.clone(), format!("of column `{}`", column.name))
                .help(format!(
                    "remove it: `{}` applies to Date, Date32, DateTime and DateTime64",
                    key.text
                ));
            report.push(diagnostic);
        }
    }
}

impl Type {
    /// Returns whether the values are dates or times with a date, or `NULL`.
    pub(crate) fn is_date(&self) -> bool {
        match self {
            Self::Date | Self::Date32 | Self::DateTime(_) | Self::DateTime64(..) => true,
            Self::LowCardinality(inner) | Self::Nullable(inner) => inner.is_date(),
            _ => false,
        }
    }

    /// Returns whether the values of the type differ in length.
    fn varies_in_length(&self) -> bool {
        match self {
            Self::String | Self::Array(_) | Self::Map(..) | Self::Nested(_) | Self::Json(_) => true,
            Self::LowCardinality(inner) | Self::Nullable(inner) | Self::SimpleAggregateFunction(_, inner) => {
                inner.varies_in_length()
            }
            Self::Tuple(elements) => elements.iter().any(|(_, element)| element.varies_in_length()),
            Self::Shape(_) => self.is_array(),
            _ => false,
        }
    }

    /// Returns whether the values are texts, or `NULL`.
    pub(crate) fn is_text(&self) -> bool {
        match self {
            Self::String => true,
            Self::LowCardinality(inner) | Self::Nullable(inner) | Self::SimpleAggregateFunction(_, inner) => {
                inner.is_text()
            }
            _ => false,
        }
    }
}
