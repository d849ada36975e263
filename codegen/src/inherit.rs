//! Inherit: declared tables become whole ones.
//!
//! A child gets the columns of its parent, then of its parent's parent, and so on, then its own; the order is the original's.
//! Where a child names an inherited column again, the child's declaration stands in the inherited place.
//! Options come from the nearest table of the line that has them.

use std::collections::HashSet;

use crate::{
    declare::{self, Declared},
    diagnostic::{Diagnostic, Report},
    engine::Engine,
    source::Span,
    types::{Declaration, Type},
    yaml::Key,
};

/// A table with everything that it inherits.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) name: Key,
    pub(crate) is_abstract: bool,
    pub(crate) columns: Vec<WholeColumn>,
    pub(crate) engine: Option<(Engine, Span)>,
    pub(crate) clauses: declare::Clauses,
}

/// A column of a [`Whole`]; the elements of a Nested are columns of their own.
#[derive(Debug, Clone)]
pub(crate) struct WholeColumn {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) span: Span,
    pub(crate) declaration: Declaration,
}

/// Resolves `extend` for every table.
pub(crate) fn inherit(declared: &Declared, report: &mut Report) -> Vec<Whole> {
    let mut reported = HashSet::new();
    declared
        .tables
        .iter()
        .enumerate()
        .map(|(index, _)| whole(index, declared, &mut reported, report))
        .collect()
}

fn whole(index: usize, declared: &Declared, reported: &mut HashSet<usize>, report: &mut Report) -> Whole {
    let line = line(index, declared, reported, report);
    let table = &declared.tables[index];

    let mut columns: Vec<declare::Column> = Vec::new();
    for ancestor in line[1..].iter().chain([&index]) {
        for column in &declared.tables[*ancestor].columns {
            match columns
                .iter_mut()
                .find(|existing| existing.name.text == column.name.text)
            {
                // A nearer ancestor has said it already; only the child itself comes after what it overrides.
                Some(_) if *ancestor != index => {}
                Some(existing) => *existing = column.clone(),
                None => columns.push(column.clone()),
            }
        }
    }

    // A clause written behind an engine belongs to the table that wrote it, and an option beside it goes before it.
    let mut engine = None;
    let mut clauses = declare::Clauses::default();
    for ancestor in &line {
        let options = &declared.tables[*ancestor].options;
        clauses.inherit(&options.clauses);
        if let Some((theirs, span)) = &options.engine {
            clauses.inherit(&theirs.clauses);
            if engine.is_none() {
                engine = Some((theirs.clone(), span.clone()));
            }
        }
    }
    if engine
        .as_ref()
        .is_some_and(|(engine, _): &(Engine, Span)| !engine.is_merge_tree())
    {
        // Keys mean nothing to another engine: what it keeps is what it says itself.
        clauses = table.options.clauses.clone();
        if let Some((engine, _)) = &engine {
            clauses.inherit(&engine.clauses);
        }
    }

    Whole {
        name: table.name.clone(),
        is_abstract: table.options.is_abstract,
        columns: columns.into_iter().flat_map(flatten_nested).collect(),
        engine,
        clauses,
    }
}

/// Returns a table and its ancestors, nearest first. What cannot be followed is reported once.
fn line(index: usize, declared: &Declared, reported: &mut HashSet<usize>, report: &mut Report) -> Vec<usize> {
    let mut line = vec![index];
    let mut current = index;
    while let Some(parent) = &declared.tables[current].options.extend {
        let Some(next) = declared.tables.iter().position(|table| table.name.text == parent.text) else {
            if reported.insert(current) {
                let names = declared.tables.iter().map(|table| table.name.text.as_str());
                let diagnostic = Diagnostic::error(
                    "unknown-extend",
                    format!("there is no table `{}` to extend", parent.text),
                )
                .did_you_mean(&parent.text, names)
                .label(
                    parent.span.clone(),
                    format!("extended by `{}`", declared.tables[current].name.text),
                );
                report.push(diagnostic);
            }
            break;
        };
        if let Some(start) = line.iter().position(|member| *member == next) {
            let members = &line[start..];
            let is_new = members.iter().all(|member| !reported.contains(member));
            if is_new {
                reported.extend(members);
                report.push(cycle(members, declared));
            }
            break;
        }
        line.push(next);
        current = next;
    }
    line
}

fn cycle(members: &[usize], declared: &Declared) -> Diagnostic {
    let name = |member: &usize| declared.tables[*member].name.text.as_str();
    let mut way: Vec<&str> = members.iter().map(name).collect();
    way.extend(members.first().map(name));
    let message = match members {
        [only] => format!("table `{}` extends itself", name(only)),
        _ => format!("tables extend one another in a circle: {}", way.join(" → ")),
    };
    let mut diagnostic = Diagnostic::error("extend-cycle", message);
    for member in members {
        if let Some(parent) = &declared.tables[*member].options.extend {
            diagnostic = diagnostic.label(
                parent.span.clone(),
                format!("`{}` extends `{}`", name(member), parent.text),
            );
        }
    }
    diagnostic.help("take one `extend` of the circle away")
}

/// A Nested is one array a field, as ClickHouse itself has it
/// ([Nested](https://clickhouse.com/docs/sql-reference/data-types/nested-data-structures/nested)).
fn flatten_nested(column: declare::Column) -> Vec<WholeColumn> {
    let declare::Column {
        name,
        declaration,
        span,
    } = column;
    let Some(declaration) = declaration else {
        return Vec::new();
    };
    let Type::Nested(fields) = &declaration.ty else {
        return vec![WholeColumn {
            name: name.text,
            name_span: name.span,
            span,
            declaration,
        }];
    };
    fields
        .iter()
        .map(|(field, ty)| WholeColumn {
            name: format!("{}.{field}", name.text),
            name_span: name.span.clone(),
            span: span.clone(),
            declaration: Declaration {
                ty: Type::Array(Box::new(ty.clone())),
                ..declaration.clone()
            },
        })
        .collect()
}
