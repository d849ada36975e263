//! Rules for expressions, which go to ClickHouse unchanged: their syntax, and the columns that they
//! name.

use std::collections::{HashMap, HashSet};

use super::table::{Clause, Expression, Resolved, has_subcolumn, sql_span};
use crate::{
    declare::TableElementKind,
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    types::{self, DefaultKind, Reference, Type},
};

/// Functions that SQL has without brackets; ClickHouse accepts them without brackets in defaults
/// and projections.
const BARE_FUNCTIONS: [&str; 15] = [
    "curdate",
    "current_database",
    "current_date",
    "current_timestamp",
    "current_user",
    "currentDatabase",
    "currentUser",
    "database",
    "localtime",
    "localtimestamp",
    "now",
    "schema",
    "session_user",
    "today",
    "user",
];

/// The virtual columns that every table of the MergeTree family has.
const VIRTUAL_COLUMNS: [&str; 18] = [
    "_block_number",
    "_block_offset",
    "_database",
    "_disk_name",
    "_distance",
    "_part",
    "_part_data_version",
    "_part_granule_offset",
    "_part_index",
    "_part_offset",
    "_part_starting_offset",
    "_part_uuid",
    "_partition_id",
    "_partition_value",
    "_row_exists",
    "_sample_factor",
    "_shard_num",
    "_table",
];

/// The number of problems after which there are no suggestions, since each suggestion compares a
/// name with every column.
const MAX_SUGGESTIONS: usize = 200;

/// The types of indexes in 26.7.
const INDEX_TYPES: [&str; 8] = [
    "bloom_filter",
    "minmax",
    "ngrambf_v1",
    "set",
    "sparse_grams",
    "text",
    "tokenbf_v1",
    "vector_similarity",
];

/// Rule: quotes and brackets are closed, and the expression is not empty.
pub(super) fn expression_syntax(table: &ResolvedTable, report: &mut Report) {
    for expression in table.expressions() {
        let sql = &expression.sql;
        if let Some(problem) = types::lexical_problem(sql.as_str()) {
            let span = sql.span(&problem.span).unwrap_or_else(|| sql_span(sql, table));
            let diagnostic = Diagnostic::error("expression-syntax", problem.message).label(span, expression.place());
            report.push(match problem.help {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            });
        }
    }
}

/// Rule: no expression has a subquery, since ClickHouse computes and sorts each row alone.
pub(super) fn subquery(table: &ResolvedTable, report: &mut Report) {
    for expression in table.expressions() {
        let sql = &expression.sql;
        if let Some(at) = types::subquery(sql.as_str()) {
            let span = sql.span(&at).unwrap_or_else(|| sql_span(sql, table));
            let diagnostic = Diagnostic::error("subquery", "an expression of a table cannot contain a subquery")
                .label(span, expression.place())
                .help("to read data from elsewhere, use a dictionary and `dictGet`");
            report.push(diagnostic);
        }
    }
}

/// Rule: names that can only be columns are columns of the table.
pub(super) fn unknown_column(table: &ResolvedTable, report: &mut Report) {
    for expression in table.expressions() {
        for reference in types::references(expression.sql.as_str()) {
            if !is_known_elsewhere(&reference, expression.clause) {
                report_unknown(&reference, &expression, table, report);
            }
        }
    }
}

fn is_known_elsewhere(reference: &Reference, clause: Clause) -> bool {
    let [name] = reference.parts.as_slice() else {
        return false;
    };
    let is_bare_function = || BARE_FUNCTIONS.iter().any(|known| known.eq_ignore_ascii_case(name));
    let is_virtual = || VIRTUAL_COLUMNS.contains(&name.as_str());
    match clause {
        Clause::Default(_) => is_bare_function(),
        Clause::Projection => is_bare_function() || is_virtual(),
        Clause::OrderBy | Clause::PrimaryKey | Clause::PartitionBy | Clause::SampleBy => is_virtual(),
        Clause::ShardingKey | Clause::Ttl | Clause::ColumnTtl | Clause::Index | Clause::Constraint => false,
    }
}

fn report_unknown(reference: &Reference, expression: &Expression<'_>, table: &ResolvedTable, report: &mut Report) {
    let name = reference.name();
    let sql = &expression.sql;
    let span = sql.span(&reference.span).unwrap_or_else(|| sql_span(sql, table));
    // The label names the table, not the message: the error in an inherited key is one problem,
    // however many tables inherit it.
    let error = |message: String| Diagnostic::error("unknown-column", message).label(span, expression.place());
    let diagnostic = match table.resolve(reference) {
        Resolved::Column(column, rest) if has_subcolumn(&column.declaration.ty, &rest) => return,
        Resolved::Column(column, rest) => {
            let ty = &column.declaration.ty;
            error(format!(
                "column `{}` has no subcolumn `{}`",
                column.name,
                rest.join(".")
            ))
            .help(format!("its type is `{ty}`"))
        }
        // In defaults and projections, a whole Nested is an array of tuples.
        Resolved::Nested
            if reference.parts.len() == 1 && matches!(expression.clause, Clause::Default(_) | Clause::Projection) =>
        {
            return;
        }
        Resolved::Nested => {
            let first = &reference.parts[0];
            let prefix = format!("{first}.");
            let names: Vec<&str> = table
                .columns
                .iter()
                .filter(|column| column.name.starts_with(&prefix))
                .map(|column| column.name.as_str())
                .collect();
            let diagnostic = error(format!("unknown column `{name}`"));
            match types::closest(&name, names.iter().copied()) {
                Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
                None => diagnostic.help(format!("the columns of `{first}` are `{}`", names.join("`, `"))),
            }
        }
        Resolved::Unknown => {
            let diagnostic = error(format!("unknown column `{name}`"));
            let diagnostic = match unquoted_text(reference, expression) {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            };
            // After that many problems, the author can find the names without suggestions.
            if report.found() > MAX_SUGGESTIONS {
                report.push(diagnostic);
                return;
            }
            let is_own = |column: &&ResolvedColumn| expression.column.is_some_and(|own| own.name == column.name);
            let others = table.columns.iter().filter(|column| !is_own(column));
            diagnostic.did_you_mean(&name, others.map(|column| column.name.as_str()))
        }
    };
    report.push(diagnostic);
}

/// Returns a help text if the whole default of a text column is a name, which is probably meant as
/// a text: YAML removes the quotes of `default: 'EUR'`.
fn unquoted_text(reference: &Reference, expression: &Expression<'_>) -> Option<String> {
    let column = expression.column?;
    let is_all = reference.span == (0..expression.sql.as_str().len());
    if !is_all || !matches!(expression.clause, Clause::Default(_)) || !holds_text(&column.declaration.ty) {
        return None;
    }
    let text = types::quote_text(&reference.name());
    // In the short form, the default is after the type.
    let span = expression.sql.whole_span()?;
    let is_short = column.span.file == span.file
        && column.span.range.start <= span.range.start
        && span.range.end <= column.span.range.end;
    Some(if is_short {
        format!("for a string, write `DEFAULT {text}`")
    } else {
        format!("for a string, write `default: \"{text}\"`: the inner quotes are those of SQL")
    })
}

fn holds_text(ty: &Type) -> bool {
    match ty {
        Type::String | Type::FixedString(_) | Type::Enum { .. } => true,
        Type::LowCardinality(inner) | Type::Nullable(inner) => holds_text(inner),
        _ => false,
    }
}

/// Rule: a column without a type names a column from which it gets its type.
pub(super) fn untyped_column(table: &ResolvedTable, report: &mut Report) {
    for column in &table.columns {
        let Some((of, kind)) = column.declaration.ty_of.as_ref().zip(column.default_kind()) else {
            continue;
        };
        let is_reported = match table.resolve(of) {
            Resolved::Column(named, rest) => rest.is_empty() && named.declaration.ty_of.is_some(),
            Resolved::Nested => false,
            Resolved::Unknown => !is_known_elsewhere(of, Clause::Default(kind)),
        };
        if !is_reported {
            let problem = column.declaration.cannot_infer(kind);
            let default = column.expressions.default.as_ref();
            let span = default.map_or_else(|| column.span.clone(), |sql| sql_span(sql, table));
            let diagnostic = Diagnostic::error(problem.code, problem.message).label(span, "");
            report.push(problem.help.into_iter().fold(diagnostic, Diagnostic::help));
        }
    }
}

/// Rule: a column that is not stored is in no key, index or TTL. An index may have an ALIAS.
pub(super) fn unstored_column(table: &ResolvedTable, report: &mut Report) {
    for expression in table.expressions() {
        let rejects = |kind: DefaultKind| match expression.clause {
            Clause::OrderBy
            | Clause::PrimaryKey
            | Clause::PartitionBy
            | Clause::SampleBy
            | Clause::ShardingKey
            | Clause::Ttl
            | Clause::ColumnTtl => matches!(kind, DefaultKind::Alias | DefaultKind::Ephemeral),
            Clause::Index | Clause::Constraint => kind == DefaultKind::Ephemeral,
            Clause::Projection | Clause::Default(_) => false,
        };
        for reference in types::references(expression.sql.as_str()) {
            let Resolved::Column(column, _) = table.resolve(&reference) else {
                continue;
            };
            if column.default_kind().is_some_and(rejects) {
                let sql = &expression.sql;
                let span = sql.span(&reference.span).unwrap_or_else(|| sql_span(sql, table));
                let diagnostic = Diagnostic::error(
                    "unstored-column",
                    format!("ClickHouse does not store `{}`", column.name),
                )
                .label(span, expression.place())
                .label(column.name_span.clone(), "an ALIAS or EPHEMERAL column")
                .help("declare it as MATERIALIZED, or use the columns that it depends on");
                report.push(diagnostic);
            }
        }
    }
}

/// Rule: no default depends on itself.
pub(super) fn default_cycle(table: &ResolvedTable, report: &mut Report) {
    let computed: Vec<&ResolvedColumn> = table
        .columns
        .iter()
        .filter(|column| column.expressions.default.is_some())
        .collect();
    let places: HashMap<&str, usize> = computed
        .iter()
        .enumerate()
        .map(|(place, column)| (column.name.as_str(), place))
        .collect();
    let from: Vec<Vec<usize>> = computed
        .iter()
        .map(|column| {
            let named = column
                .expressions
                .default
                .iter()
                .flat_map(|sql| table.named_columns(sql));
            named
                .filter_map(|named| places.get(named.name.as_str()).copied())
                .collect()
        })
        .collect();
    // Each path of columns ends at a column without further inputs, at a settled one, or at one on
    // the path, which is a cycle.
    let mut is_settled = vec![false; computed.len()];
    for start in 0..computed.len() {
        // The path; each column has the number of its inputs that are done.
        let mut path = vec![(start, 0)];
        let mut is_on_path = HashSet::from([start]);
        while let Some((column, done)) = path.last_mut() {
            let next = from[*column].get(*done).copied();
            *done += 1;
            match next {
                None => {
                    is_settled[*column] = true;
                    is_on_path.remove(column);
                    path.pop();
                }
                Some(next) if is_on_path.contains(&next) => {
                    let first = path.iter().position(|(column, _)| *column == next).unwrap_or(0);
                    let cycle: Vec<&ResolvedColumn> =
                        path[first..].iter().map(|(column, _)| computed[*column]).collect();
                    report.push(cycle_of(&cycle, table));
                    path.iter().for_each(|(column, _)| is_settled[*column] = true);
                    path.clear();
                }
                Some(next) if is_settled[next] => {}
                Some(next) => {
                    is_on_path.insert(next);
                    path.push((next, 0));
                }
            }
        }
    }
}

fn cycle_of(cycle: &[&ResolvedColumn], table: &ResolvedTable) -> Diagnostic {
    let names: Vec<&str> = cycle
        .iter()
        .chain(cycle.first())
        .map(|column| column.name.as_str())
        .collect();
    let message = match names.as_slice() {
        [only, _] => format!("the default of `{only}` depends on `{only}` itself"),
        _ => format!("the defaults form a cycle: {}", names.join(" → ")),
    };
    let mut diagnostic = Diagnostic::error("default-cycle", message);
    for column in cycle {
        let span = column.expressions.default.as_ref().map(|sql| sql_span(sql, table));
        diagnostic = diagnostic.label(span.unwrap_or_else(|| column.span.clone()), "");
    }
    diagnostic.help("let one of them depend on other columns")
}

/// Rule: a date default has quotes. ClickHouse computes `2024-01-01` without quotes as 2022, which
/// as a date is day 2022 after 1970-01-01.
pub(super) fn unquoted_date(table: &ResolvedTable, report: &mut Report) {
    for column in &table.columns {
        let Some(sql) = &column.expressions.default else {
            continue;
        };
        let ty = match &column.declaration.ty {
            Type::Nullable(inner) => inner,
            ty => ty,
        };
        let is_date = matches!(ty, Type::Date | Type::Date32 | Type::DateTime(_) | Type::DateTime64(..));
        let text = sql.as_str();
        let parts: Vec<&str> = text.split('-').collect();
        let is_digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if is_date && parts.len() == 3 && parts.iter().all(is_digits) {
            let diagnostic = Diagnostic::warning(
                "unquoted-date",
                format!("ClickHouse reads `{text}` as a subtraction, not as a date"),
            )
            .label(sql_span(sql, table), format!("in the default of `{}`", column.name))
            .help(format!("write `\"'{text}'\"` under a key, or `'{text}'` after a type"));
            report.push_unless_allowed(diagnostic, |code| table.allows(code));
        }
    }
}

/// Rule: ClickHouse has the index's type; the names are case-insensitive.
pub(super) fn index_type(table: &ResolvedTable, report: &mut Report) {
    for element in table
        .elements
        .iter()
        .filter(|element| element.kind == TableElementKind::Index)
    {
        let Some(text) = &element.text else {
            continue;
        };
        let Some((_, at)) = types::index_parts(text.as_str()) else {
            continue;
        };
        let name = &text.as_str()[at.clone()];
        if !INDEX_TYPES.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            let span = text.span(&at).unwrap_or_else(|| element.name.span.clone());
            let diagnostic = Diagnostic::error("index-type", format!("ClickHouse has no index type `{name}`"));
            report.push(match types::closest(name, INDEX_TYPES) {
                Some(meant) => diagnostic.label(span, "").help(format!("did you mean `{meant}`?")),
                None => diagnostic
                    .label(span, "")
                    .help(format!("the types are `{}`", INDEX_TYPES.join("`, `"))),
            });
        }
    }
}
