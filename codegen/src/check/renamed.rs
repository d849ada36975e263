//! The rule for earlier names of columns: each belongs to one column, and ClickHouse can rename it.

use std::collections::HashMap;

use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    source::Span,
    yaml::Key,
};

pub(super) fn renamed_column(table: &ResolvedTable, report: &mut Report) {
    let mut firsts: HashMap<&str, &Span> = HashMap::new();
    for column in &table.columns {
        for old in &column.was {
            if let Some(diagnostic) = problem(column, old, table) {
                report.push(diagnostic);
            } else if let Some(first) = firsts.insert(&old.text, &old.span) {
                let diagnostic = error(format!("`{}` is an earlier name of two columns", old.text))
                    .label(old.span.clone(), "")
                    .label(first.clone(), "the other one")
                    .help("remove one of them: the old values can go into only one column");
                report.push(diagnostic);
            }
        }
    }
}

fn error(message: String) -> Diagnostic {
    Diagnostic::error("renamed-column", message)
}

/// Returns the problem of one earlier name.
fn problem(column: &ResolvedColumn, old: &Key, table: &ResolvedTable) -> Option<Diagnostic> {
    let (name, old_name) = (&column.name, &old.text);
    if old_name.is_empty() {
        let diagnostic = error(format!("an earlier name of `{name}` is empty"));
        return Some(diagnostic.label(old.span.clone(), "").help("remove it"));
    }
    if old_name == name {
        let diagnostic = error(format!("`{name}` is the column's current name"));
        return Some(
            diagnostic
                .label(old.span.clone(), "")
                .help("write the name that it had before"),
        );
    }
    if let Some(place) = table.places.get(old_name) {
        let diagnostic = error(format!("`{old_name}` is another column of `{}`", table.name.text))
            .label(old.span.clone(), format!("an earlier name of `{name}`"))
            .label(table.columns[*place].name_span.clone(), "the column")
            .help("remove one of them: the old values can go into only one column");
        return Some(diagnostic);
    }
    if nested_name(old_name) != nested_name(name) {
        let what = match &column.nested {
            Some(nested) => format!("the Nested `{nested}`"),
            None => format!("`{old_name}` to `{name}`"),
        };
        let diagnostic = error(format!("ClickHouse cannot rename {what}"))
            .label(old.span.clone(), "")
            .help("ClickHouse cannot change the part before a dot in a column's name: add a column, and copy the values with ALTER TABLE … UPDATE");
        return Some(diagnostic);
    }
    None
}

/// Returns the part of a column's name before its first dot.
fn nested_name(name: &str) -> Option<&str> {
    name.split_once('.').map(|(nested, _)| nested)
}
