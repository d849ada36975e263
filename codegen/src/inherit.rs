//! Inherit: declared tables become resolved tables.
//!
//! A child gets the columns of its parent, then those of its parent's parent, and so on, then its
//! own; this is the original's order. If a child declares an inherited column again, the column
//! keeps its position and gets the child's declaration. Each option comes from the nearest table of
//! the lineage that sets it.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use crate::{
    declare::{self, Declared},
    diagnostic::{Diagnostic, Report},
    source::Span,
    standard,
    table_engine::{Engine, Setting},
    types::{Declaration, Filler, Type},
    yaml::Key,
};

/// The most columns of a schema. Inheritance multiplies columns: more of them are a mistake, and
/// would become gigabytes of Rust. A thousand tables of the seed's kind, with 24 columns each, fit.
const MAX_COLUMNS: usize = 25_000;

/// The table whose columns hold the collector's values, as in the original.
const BASE: &str = "base";

/// A table with everything that it inherits.
#[derive(Debug)]
pub(crate) struct ResolvedTable {
    pub(crate) name: Key,
    pub(crate) is_abstract: bool,
    pub(crate) columns: Vec<ResolvedColumn>,
    /// The index of each column, the first with its name.
    pub(crate) places: HashMap<String, usize>,
    /// The parts of the columns' names before the first dot.
    pub(crate) prefixes: HashSet<String>,
    pub(crate) engine: Option<(Engine, Span)>,
    pub(crate) clauses: declare::Clauses,
    pub(crate) distribution: declare::Distribution,
    /// The keys of the options that hold clauses, up to the table that sets the engine.
    pub(crate) present_keys: Vec<Key>,
    /// Indexes and projections, without those that only remove an inherited one.
    pub(crate) elements: Vec<declare::TableElement>,
    pub(crate) comment: Option<String>,
    /// The name that the schema gives the table in Rust.
    pub(crate) rust: Option<Key>,
    pub(crate) is_strict: bool,
    /// Whether the table is `base` or inherits it, and so has the collector's values in the columns
    /// with their names.
    pub(crate) inherits_base: bool,
    /// The settings of each insert.
    pub(crate) insert_settings: Vec<Setting>,
    /// Whether only a materialized view fills the table.
    pub(crate) is_view_target: bool,
    /// The treatment of keys without a column, and the place of the option.
    pub(crate) unknown_keys: Option<(declare::UnknownKeys, Span)>,
    pub(crate) privacy: declare::Privacy,
    pub(crate) doc_comments: Vec<String>,
    /// The codes of the warnings that the table or one of its ancestors allows.
    pub(crate) allowed: Vec<String>,
    /// Whether the table and all that it extends could be read. If not, most rules skip the table.
    pub(crate) is_complete: bool,
}

/// A column of a [`ResolvedTable`]; each element of a Nested is a column.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedColumn {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) span: Span,
    pub(crate) declaration: Declaration,
    pub(crate) expressions: declare::Expressions,
    pub(crate) doc_comments: Vec<String>,
    /// The keys of the column that concern its value in an event.
    pub(crate) event: declare::EventKeys,
    /// The earlier names of the column.
    pub(crate) was: Vec<Key>,
    /// The names that the schema gives the field and the values of enums in Rust.
    pub(crate) rust: declare::RustNames,
    /// Since when or why the column should not be filled any more.
    pub(crate) deprecated: Option<String>,
    /// The Nested that the column is an element of.
    pub(crate) nested: Option<String>,
}

/// Resolves `extend` for every table.
pub(crate) fn inherit(declared: &Declared, report: &mut Report) -> Vec<ResolvedTable> {
    let mut reported = HashSet::new();
    let mut tables = Vec::new();
    let mut columns = 0;
    for (index, table) in declared.tables.iter().enumerate() {
        let resolved = resolve(index, declared, &mut reported, report);
        columns += resolved.columns.len();
        if columns > MAX_COLUMNS {
            let message = format!("the tables have more than {MAX_COLUMNS} columns in all");
            let diagnostic = Diagnostic::error("schema-too-large", message)
                .label(table.name.span.clone(), "this table exceeds the limit")
                .help("use a column of the type Map or JSON, which holds any number of values");
            report.push(diagnostic);
            break;
        }
        tables.push(resolved);
    }
    tables
}

fn resolve(index: usize, declared: &Declared, reported: &mut HashSet<usize>, report: &mut Report) -> ResolvedTable {
    let (lineage, mut is_complete) = lineage(index, declared, reported, report);
    let table = &declared.tables[index];
    // If a parent could not be read, it may have a column that the child removes.
    let is_known = is_complete;

    let mut columns: Vec<declare::Column> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for ancestor in lineage[1..].iter().chain([&index]) {
        for column in &declared.tables[*ancestor].columns {
            match places.get(column.name.text.as_str()) {
                // A nearer ancestor has declared it already. Only the child overrides what precedes
                // it.
                Some(_) if *ancestor != index => {}
                None if column.declaration.is_none() && *ancestor == index && is_known => {
                    if !declared.removals.contains(&column.name.span) {
                        is_complete &= !column.span.range.is_empty();
                        report.push(untyped_column(column, table));
                    }
                }
                Some(place) => {
                    let existing = &mut columns[*place];
                    if let Some(warning) = retyped_column(column, existing, table, declared) {
                        report.push(warning);
                    }
                    *existing = column.clone();
                }
                None => {
                    places.insert(&column.name.text, columns.len());
                    columns.push(column.clone());
                }
            }
        }
    }

    // The options of a table override the clauses after its own engine.
    let mut engine = None;
    let mut clauses = declare::Clauses::default();
    let mut distribution = declare::Distribution::default();
    let mut elements: Vec<declare::TableElement> = Vec::new();
    let mut present_keys: Vec<Key> = Vec::new();
    let mut allowed = Vec::new();
    let mut is_strict = None;
    let mut unknown_keys = None;
    let mut privacy = declare::Privacy::default();
    let mut insert_settings = None;
    for ancestor in &lineage {
        let options = &declared.tables[*ancestor].options;
        allowed.extend(options.allowed.iter().cloned());
        is_strict = is_strict.or(options.is_strict);
        privacy = privacy.or(&options.privacy);
        unknown_keys = unknown_keys.or_else(|| options.unknown_keys.clone());
        insert_settings = insert_settings.or_else(|| options.insert_settings.clone());
        if clauses.cluster.is_none() {
            clauses.cluster.clone_from(&options.clauses.cluster);
        }
        distribution.inherit(&options.distribution);
        // Keys, settings and indexes of one engine family have no meaning for another. The options
        // of tables above the one that sets the engine are for another engine.
        if engine
            .as_ref()
            .is_some_and(|(engine, _): &(Engine, Span)| !engine.is_merge_tree())
        {
            continue;
        }
        if engine.is_none() {
            present_keys.extend(options.present_keys.iter().cloned());
        }
        clauses.inherit(&options.clauses);
        for element in &options.elements {
            if !elements.iter().any(|nearer| nearer.is_namesake(element)) {
                elements.push(element.clone());
            }
        }
        if let Some((inherited_engine, span)) = &options.engine {
            clauses.inherit(&inherited_engine.clauses);
            if engine.is_none() {
                engine = Some((inherited_engine.clone(), span.clone()));
            }
        }
    }
    if clauses.cluster.is_none() {
        clauses.cluster.clone_from(&declared.cluster);
    }
    if let Some((engine, _)) = &mut engine
        && matches!(distribution.replicated, Some((true, _)))
    {
        engine.replicate();
    }
    elements.retain(|element| element.text.is_some());
    let mut columns: Vec<ResolvedColumn> = columns.into_iter().flat_map(flatten_nested).collect();
    let mut places = HashMap::with_capacity(columns.len());
    let mut prefixes = HashSet::new();
    for (place, column) in columns.iter().enumerate() {
        places.entry(column.name.clone()).or_insert(place);
        prefixes.extend(column.name.split_once('.').map(|(prefix, _)| prefix.to_owned()));
    }
    resolve_types(&mut columns, &places);

    ResolvedTable {
        name: table.name.clone(),
        is_abstract: table.options.is_abstract,
        columns,
        places,
        prefixes,
        engine,
        clauses,
        distribution,
        present_keys,
        elements,
        comment: table.options.comment.clone(),
        rust: table.options.rust.clone(),
        is_strict: is_strict.unwrap_or(false),
        inherits_base: lineage.iter().any(|member| declared.tables[*member].name.text == BASE),
        insert_settings: insert_settings.unwrap_or_default(),
        is_view_target: table.filler == Filler::View,
        unknown_keys,
        privacy,
        doc_comments: table.doc_comments.clone(),
        allowed,
        is_complete,
    }
}

/// Returns a table and its ancestors, nearest first, and whether all of them could be read. Reports
/// each `extend` that cannot be followed once.
fn lineage(
    index: usize,
    declared: &Declared,
    reported: &mut HashSet<usize>,
    report: &mut Report,
) -> (Vec<usize>, bool) {
    let mut lineage = vec![index];
    let mut is_complete = declared.is_complete;
    let mut current = index;
    while let Some(parent) = &declared.tables[current].options.extend {
        let Some(next) = declared.tables.iter().position(|table| table.name.text == parent.text) else {
            is_complete = false;
            if declared.is_complete && reported.insert(current) {
                let names = declared.tables.iter().map(|table| table.name.text.as_str());
                let mut diagnostic =
                    Diagnostic::error("unknown-extend", format!("unknown table `{}` in `extend`", parent.text))
                        .did_you_mean(&parent.text, names)
                        .label(
                            parent.span.clone(),
                            format!("`{}` extends it", declared.tables[current].name.text),
                        );
                if let Some(help) = standard::help(&parent.text, declared.standard) {
                    diagnostic = diagnostic.help(help);
                }
                report.push(diagnostic);
            }
            break;
        };
        if let Some(start) = lineage.iter().position(|member| *member == next) {
            is_complete = false;
            let members = &lineage[start..];
            let is_new = members.iter().all(|member| !reported.contains(member));
            if is_new {
                reported.extend(members);
                report.push(cycle(members, declared));
            }
            break;
        }
        lineage.push(next);
        current = next;
    }
    let is_sound = |table: &declare::Table| {
        table.is_complete
            && declared
                .tables
                .iter()
                .filter(|other| other.name.text == table.name.text)
                .count()
                == 1
    };
    let is_complete = is_complete && lineage.iter().all(|member| is_sound(&declared.tables[*member]));
    (lineage, is_complete)
}

/// Sets the type of each column without one to the type of the column that it is computed from. If
/// that column does not exist, a rule reports it.
fn resolve_types(columns: &mut [ResolvedColumn], places: &HashMap<String, usize>) {
    let mut is_seen = vec![false; columns.len()];
    for start in 0..columns.len() {
        // Follow the columns until one has a type.
        let mut path = Vec::new();
        let mut next = Some(start);
        while let Some(place) = next.filter(|place| !is_seen[*place]) {
            let Some(of) = &columns[place].declaration.ty_of else {
                break;
            };
            is_seen[place] = true;
            path.push(place);
            next = places.get(&of.name()).copied();
        }
        let mut ty = match next.map(|place| &columns[place].declaration) {
            Some(declaration) if declaration.is_untyped => {
                for place in path {
                    columns[place].declaration.become_untyped();
                }
                continue;
            }
            Some(declaration) if declaration.ty_of.is_none() => declaration.ty.clone(),
            _ => continue,
        };
        for place in path.into_iter().rev() {
            let declaration = &mut columns[place].declaration;
            if declaration.set_type(&ty).is_err() {
                break;
            }
            ty = declaration.ty.clone();
        }
    }
    // A part of a column, such as an element of a tuple.
    for column in columns {
        let of = column.declaration.ty_of.as_ref();
        if of.is_some_and(|of| of.parts.len() > 1 && places.contains_key(&of.parts[0])) {
            column.declaration.become_untyped();
        }
    }
}

/// Returns a warning if a child changes the type of an inherited column, as this is more likely a
/// mistake than intended. The comparison ignores LowCardinality, which stores the same values in
/// another way.
fn retyped_column(
    column: &declare::Column,
    inherited: &declare::Column,
    table: &declare::Table,
    declared: &Declared,
) -> Option<Diagnostic> {
    let (own, above) = (column.declaration.as_ref()?, inherited.declaration.as_ref()?);
    let is_known = [own, above]
        .iter()
        .all(|known| known.ty_of.is_none() && !known.is_untyped);
    if !is_known || stored_as(&own.ty) == stored_as(&above.ty) || table.options.allows("retyped-column") {
        return None;
    }
    let parent = declared.tables.iter().find(|table| {
        table
            .columns
            .iter()
            .any(|column| column.name.span == inherited.name.span)
    })?;
    let name = &column.name.text;
    let message = format!(
        "`{}` changes the type of the inherited column `{name}`",
        table.name.text
    );
    Some(
        Diagnostic::warning("retyped-column", message)
            .label(column.span.clone(), format!("`{}` here", own.ty))
            .label(
                inherited.span.clone(),
                format!("`{}` in `{}`", above.ty, parent.name.text),
            )
            .help("for another column, use another name")
            .help("if this is intended, add `allow: retyped-column` to its `_options`"),
    )
}

/// Returns the problem of a column without a type that removes no column: an error if nothing is
/// written, and a warning for a `null`, which the original collector skips.
fn untyped_column(column: &declare::Column, table: &declare::Table) -> Diagnostic {
    let name = &column.name.text;
    let message = format!("column `{name}` has no type");
    let diagnostic = match column.span.range.is_empty() {
        true => Diagnostic::error("not-a-type", message),
        false => Diagnostic::of_schema("left-out", message),
    };
    diagnostic
        .label(
            column.name.span.clone(),
            format!("`{}` inherits no column of this name to remove", table.name.text),
        )
        .help(format!(
            "write its type, for example `{name}: String`, or remove the line"
        ))
}

fn stored_as(ty: &Type) -> &Type {
    match ty {
        Type::LowCardinality(inner) => inner,
        _ => ty,
    }
}

fn cycle(members: &[usize], declared: &Declared) -> Diagnostic {
    let name = |member: &usize| declared.tables[*member].name.text.as_str();
    let mut path: Vec<&str> = members.iter().map(name).collect();
    path.extend(members.first().map(name));
    let message = match members {
        [only] => format!("table `{}` extends itself", name(only)),
        _ => format!("the tables form a cycle of `extend`: {}", path.join(" → ")),
    };
    let mut diagnostic = Diagnostic::error("extend-cycle", message);
    for member in members {
        if let Some(parent) = &declared.tables[*member].options.extend {
            let label = match members {
                [_] => String::new(),
                _ => format!("`{}` extends `{}`", name(member), parent.text),
            };
            diagnostic = diagnostic.label(parent.span.clone(), label);
        }
    }
    diagnostic.help(match members {
        [_] => "remove the `extend`, or name another table",
        _ => "remove one `extend` of the cycle",
    })
}

/// Turns a Nested into one array column for each field, as ClickHouse itself does
/// ([Nested](https://clickhouse.com/docs/sql-reference/data-types/nested-data-structures/nested)).
fn flatten_nested(column: declare::Column) -> Vec<ResolvedColumn> {
    let declare::Column {
        name,
        declaration,
        event,
        was,
        rust,
        deprecated,
        span,
        expressions,
        doc_comments,
    } = column;
    let Some(mut declaration) = declaration else {
        return Vec::new();
    };
    if !matches!(declaration.ty, Type::Nested(_)) {
        return vec![ResolvedColumn {
            name: name.text,
            name_span: name.span,
            span,
            declaration,
            expressions,
            doc_comments,
            event,
            was,
            rust,
            deprecated,
            nested: None,
        }];
    }
    // Moved out, so that the clone for each field does not include it.
    let Type::Nested(fields) = mem::replace(&mut declaration.ty, Type::String) else {
        return Vec::new();
    };
    fields
        .into_iter()
        .map(|(field, ty)| ResolvedColumn {
            name: format!("{}.{field}", name.text),
            name_span: name.span.clone(),
            span: span.clone(),
            declaration: Declaration {
                ty: Type::Array(Box::new(ty)),
                ..declaration.clone()
            },
            expressions: expressions.clone(),
            doc_comments: doc_comments.clone(),
            event: event.of_element(&field),
            deprecated: deprecated.clone(),
            was: was.iter().map(|old| of_element(old, &field)).collect(),
            rust: declare::RustNames {
                field: rust.field.as_ref().map(|name| of_element(name, &field)),
                values: rust.values.clone(),
            },
            nested: Some(name.text.clone()),
        })
        .collect()
}

/// Returns the earlier name of an element of a Nested.
fn of_element(old: &Key, field: &str) -> Key {
    Key {
        text: format!("{}.{field}", old.text),
        span: old.span.clone(),
    }
}
