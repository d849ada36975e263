//! Rules for the columns that a MergeTree's arguments name.

use super::table::sql_span;
use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    sql::Sql,
    types::{self, Type},
};

/// Rule: the version column exists and its type has an order. A merge keeps the row with the
/// greatest version of each key.
pub(super) fn version_column(table: &ResolvedTable, report: &mut Report) {
    let Some(argument) = argument(table, |kind| match kind {
        "ReplacingMergeTree" => Some(0),
        "VersionedCollapsingMergeTree" => Some(1),
        _ => None,
    }) else {
        return;
    };
    const WHAT: &str = "the version column";
    let problem = |message: String| Diagnostic::error("version-column", message).label(sql_span(&argument, table), "");
    let column = match stored_column(&argument, table) {
        Ok(column) => column,
        Err(reason) => return report.push(reason.report(WHAT, problem, table)),
    };
    let ty = &column.declaration.ty;
    let is_sorted = table
        .engine
        .as_ref()
        .is_some_and(|(engine, _)| engine.kind() == "VersionedCollapsingMergeTree");
    let inner = match ty {
        // The version of a VersionedCollapsingMergeTree becomes part of the sorting key.
        Type::SimpleAggregateFunction(_, inner) if !is_sorted => inner,
        ty => ty,
    };
    let is_ordered = matches!(
        inner,
        Type::Int { .. }
            | Type::Float(_)
            | Type::BFloat16
            | Type::Bool
            | Type::Date
            | Type::Date32
            | Type::DateTime(_)
            | Type::DateTime64(..)
            | Type::Time
            | Type::Time64(_)
    );
    if !is_ordered {
        let diagnostic = problem(format!("{WHAT} cannot be `{ty}`"))
            .label(column.span.clone(), format!("`{}`", column.name))
            .help("use an integer, a Date or a DateTime");
        report.push(diagnostic);
    }
}

/// Rule: the deletion column is valid. A row with a 1 in it deletes the row of its key.
pub(super) fn deleted_column(table: &ResolvedTable, report: &mut Report) {
    let position = |kind: &str, at| (kind == "ReplacingMergeTree").then_some(at);
    let Some(deleted) = argument(table, |kind| position(kind, 1)) else {
        return;
    };
    const WHAT: &str = "the deletion column";
    let problem = |message: String| Diagnostic::error("deleted-column", message).label(sql_span(&deleted, table), "");
    let column = match stored_column(&deleted, table) {
        Ok(column) => column,
        Err(reason) => return report.push(reason.report(WHAT, problem, table)),
    };
    let ty = &column.declaration.ty;
    let inner = match ty {
        Type::SimpleAggregateFunction(_, inner) => inner,
        ty => ty,
    };
    let is_flag = matches!(inner, Type::Int { bits: 8, signed: false } | Type::Bool);
    let version = argument(table, |kind| position(kind, 0)).map(|version| name(&version));
    if !is_flag {
        let diagnostic = problem(format!("{WHAT} cannot be `{ty}`"))
            .label(column.span.clone(), format!("`{}`", column.name))
            .help("change its type to `UInt8`: 1 marks a deleted row, 0 any other row");
        report.push(diagnostic);
    } else if version == Some(name(&deleted)) {
        report.push(problem(format!("{WHAT} cannot also be the version column")).help("add a column for one of them"));
    }
}

/// Rule: the sign column is an Int8. A row with 1 states a value, and a row with -1 cancels it.
pub(super) fn sign_column(table: &ResolvedTable, report: &mut Report) {
    let Some(argument) = argument(table, |kind| {
        matches!(kind, "CollapsingMergeTree" | "VersionedCollapsingMergeTree").then_some(0)
    }) else {
        return;
    };
    const WHAT: &str = "the sign column";
    let problem = |message: String| Diagnostic::error("sign-column", message).label(sql_span(&argument, table), "");
    match stored_column(&argument, table) {
        Err(reason) => report.push(reason.report(WHAT, problem, table)),
        Ok(column) if matches!(column.declaration.ty, Type::Int { bits: 8, signed: true }) => {}
        Ok(column) => {
            let diagnostic = problem(format!("{WHAT} cannot be `{}`", column.declaration.ty))
                .label(column.span.clone(), format!("`{}`", column.name))
                .help("change its type to `Int8`: 1 adds a row, -1 cancels it");
            report.push(diagnostic);
        }
    }
}

/// Rule: columns that a merge sums or fills in are in no key.
pub(super) fn summed_column(table: &ResolvedTable, report: &mut Report) {
    let Some(argument) = argument(table, |kind| {
        matches!(kind, "SummingMergeTree" | "CoalescingMergeTree").then_some(0)
    }) else {
        return;
    };
    let elements = types::key_elements(argument.as_str()).unwrap_or_default();
    let keys: Vec<&ResolvedColumn> = table
        .keys()
        .iter()
        .flat_map(|(_, sql)| table.named_columns(sql))
        .collect();
    let mut seen: Vec<&str> = Vec::new();
    for element in &elements {
        let listed = argument.part(element.span.clone());
        let problem = |message: String| Diagnostic::error("summed-column", message).label(sql_span(&listed, table), "");
        let first = element.normal.as_str();
        let is_nested = table
            .columns
            .iter()
            .any(|column| column.nested.as_deref() == Some(first));
        let column = stored_column(&listed, table);
        if let Ok(Some(nested)) = column.as_ref().map(|column| column.nested.as_deref()) {
            let message = format!("ClickHouse cannot merge `{first}` without the rest of `{nested}`");
            report.push(problem(message).help(format!("write `{nested}`")));
        } else if let Err(reason) = column
            && !is_nested
        {
            report.push(reason.report("a column to merge", problem, table));
        } else if keys.iter().any(|key| key.name == first) {
            report.push(
                problem(format!(
                    "`{first}` is part of a key, and ClickHouse does not merge keys"
                ))
                .help("remove it from the key or from the engine's arguments"),
            );
        } else if seen.contains(&first) {
            report.push(problem(format!("the engine's arguments contain `{first}` twice")).help("remove it"));
        }
        seen.push(first);
    }
}

/// Returns the argument at the position that `position` returns for the engine's kind, among the
/// arguments that are not for replication.
fn argument(table: &ResolvedTable, position: impl Fn(&str) -> Option<usize>) -> Option<Sql> {
    let (engine, _) = table.engine.as_ref()?;
    let position = position(engine.kind()).filter(|_| engine.is_merge_tree())?;
    engine.own_arguments().1.into_iter().nth(position)
}

/// The reason why an argument is not a column.
enum NotAColumn {
    NotAName,
    Unknown(String),
    NotStored(String),
}

impl NotAColumn {
    fn report(self, what: &str, problem: impl Fn(String) -> Diagnostic, table: &ResolvedTable) -> Diagnostic {
        match self {
            Self::NotAName => {
                problem(format!("the argument for {what} must be a column name")).help("write the name without quotes")
            }
            Self::Unknown(name) => problem(format!("unknown column `{name}`"))
                .did_you_mean(&name, table.columns.iter().map(|column| column.name.as_str()))
                .help(format!("the engine needs {what} here")),
            Self::NotStored(name) => problem(format!("ClickHouse does not store `{name}`"))
                .help("declare it as MATERIALIZED, or as an ordinary column"),
        }
    }
}

fn stored_column<'t>(argument: &Sql, table: &'t ResolvedTable) -> Result<&'t ResolvedColumn, NotAColumn> {
    let elements = types::key_elements(argument.as_str()).unwrap_or_default();
    let [element] = elements.as_slice() else {
        return Err(NotAColumn::NotAName);
    };
    let reference = element.column().ok_or(NotAColumn::NotAName)?;
    let [name] = reference.parts.as_slice() else {
        return Err(NotAColumn::Unknown(reference.name()));
    };
    match table.column(name) {
        None => Err(NotAColumn::Unknown(reference.name())),
        Some(column) if !column.is_stored() => Err(NotAColumn::NotStored(column.name.clone())),
        Some(column) => Ok(column),
    }
}

fn name(argument: &Sql) -> Option<String> {
    let element = types::key_elements(argument.as_str())?.pop()?;
    Some(element.normal)
}
