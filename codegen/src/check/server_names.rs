//! Rules for names that ClickHouse looks up in its own lists: functions and settings; and for
//! constant defaults that it changes.

use super::{
    Schema,
    table::{Clause, sql_span},
};
use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::ResolvedTable,
    server_names,
    sql::Sql,
    types::{self, DefaultKind, closest, function_names},
};

/// The number of problems after which there are no suggestions, since each suggestion compares a
/// name with every function.
const MAX_SUGGESTIONS: usize = 100;

/// Rule: a constant default is a value of its column's type. ClickHouse wraps numbers and dates
/// without an error.
pub(super) fn changed_default(table: &ResolvedTable, report: &mut Report) {
    for column in &table.columns {
        let declaration = &column.declaration;
        let (Some(default), Some(sql)) = (&declaration.default, &column.expressions.default) else {
            continue;
        };
        if default.kind == DefaultKind::Alias || declaration.is_untyped || declaration.ty_of.is_some() {
            continue;
        }
        let Some(reason) = default
            .literal()
            .and_then(|literal| types::misfit(&literal, &declaration.ty))
        else {
            continue;
        };
        let message = format!("ClickHouse would store another value than `{}`", default.text);
        report.push(Diagnostic::error("changed-default", message).label(sql_span(sql, table), reason));
    }
}

/// Rule: ClickHouse has each function that an expression calls. A function of the user's own is
/// allowed by an option.
pub(super) fn unknown_function(table: &ResolvedTable, report: &mut Report) {
    for expression in table.expressions() {
        let is_allowed = |code: &str| table.allows(code);
        functions(&expression.sql, &expression.place(), is_allowed, report, || {
            sql_span(&expression.sql, table)
        });
    }
}

/// Rule: an expression of a single row does not aggregate. Projections and the GROUP BY of a TTL do.
pub(super) fn aggregate_in_expression(table: &ResolvedTable, report: &mut Report) {
    for expression in table.expressions() {
        let has_rows = matches!(expression.clause, Clause::Projection | Clause::Ttl);
        if has_rows || types::subquery(expression.sql.as_str()).is_some() {
            continue;
        }
        for function in function_names(expression.sql.as_str()) {
            if !server_names::is_aggregate(&function.name) {
                continue;
            }
            let sql = &expression.sql;
            let span = sql.span(&function.span).unwrap_or_else(|| sql_span(sql, table));
            let message = format!(
                "`{}` is an aggregate function, and this expression has one row",
                function.name
            );
            let diagnostic = Diagnostic::error("aggregate-in-expression", message)
                .label(span, expression.place())
                .help("aggregate the rows in a materialized view, or an array with `arrayReduce`");
            report.push(diagnostic);
        }
    }
}

/// Rule: ClickHouse has each function that the query of a view calls. The table that the view fills
/// allows others.
pub(super) fn unknown_view_function(schema: &Schema<'_>, report: &mut Report) {
    for view in &schema.declared.views {
        let target = schema.tables.iter().find(|table| table.name.text == view.to.text);
        let is_allowed = |code: &str| target.is_some_and(|target| target.allows(code));
        let place = format!("in the query of view `{}`", view.name.text);
        functions(&view.select, &place, is_allowed, report, || view.name.span.clone());
    }
}

fn functions(
    sql: &Sql,
    place: &str,
    is_allowed: impl Fn(&str) -> bool,
    report: &mut Report,
    otherwise: impl Fn() -> crate::source::Span,
) {
    for function in function_names(sql.as_str()) {
        let name = &function.name;
        let is_known = match function.is_table {
            true => server_names::is_table_function(name) || server_names::is_function(name),
            false => server_names::is_function(name),
        };
        if is_known {
            continue;
        }
        let span = sql.span(&function.span).unwrap_or_else(&otherwise);
        let diagnostic =
            Diagnostic::error("unknown-function", format!("ClickHouse has no function `{name}`")).label(span, place);
        let diagnostic = match report.found() <= MAX_SUGGESTIONS {
            true => diagnostic.did_you_mean(name, server_names::functions()),
            false => diagnostic,
        };
        report.push_unless_allowed(diagnostic, &is_allowed);
    }
}

/// Rule: ClickHouse has each setting of a table of the MergeTree family. It takes settings of
/// queries there as well.
pub(super) fn unknown_setting(table: &ResolvedTable, report: &mut Report) {
    let Some((engine, _)) = &table.engine else { return };
    // ClickHouse Cloud has settings of its own.
    if !engine.is_merge_tree() || engine.name().starts_with("Shared") {
        return;
    }
    for setting in &table.clauses.settings {
        let name = setting.name.as_str();
        let is_known = |mut names: Box<dyn Iterator<Item = &str>>| names.any(|known| known == name);
        if is_known(Box::new(server_names::merge_tree_settings())) || is_known(Box::new(server_names::settings())) {
            continue;
        }
        let span = setting.span.clone().unwrap_or_else(|| table.name.span.clone());
        let message = format!("ClickHouse has no setting `{name}` for tables of the MergeTree family");
        let diagnostic = Diagnostic::error("unknown-setting", message).label(span, "");
        let diagnostic = match closest(name, server_names::merge_tree_settings()) {
            Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
            None => diagnostic,
        };
        report.push_unless_allowed(diagnostic, |code| table.allows(code));
    }
}
