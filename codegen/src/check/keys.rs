//! Rules for the keys of a MergeTree: their elements, and how the keys fit together.

use super::table::{Clause, Resolved, sql_span};
use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    source::Span,
    sql::Sql,
    types::{self, DefaultKind, KeyElement, KeyElementKind, Reference, Type},
};

const NULLABLE_KEYS: &str = "allow_nullable_key";

/// The functions, among those common in keys, whose result is NULL if an argument is.
const NULL_FOR_NULL: [&str; 24] = [
    "cityHash64",
    "intHash32",
    "intHash64",
    "lower",
    "sipHash64",
    "toDate",
    "toDate32",
    "toDateTime",
    "toDateTime64",
    "toHour",
    "toMonday",
    "toStartOfDay",
    "toStartOfHour",
    "toStartOfMinute",
    "toStartOfMonth",
    "toStartOfWeek",
    "toStartOfYear",
    "toString",
    "toUInt64",
    "toYYYYMM",
    "toYYYYMMDD",
    "toYear",
    "upper",
    "xxHash64",
];

/// Types whose values have no order.
const UNORDERED: [&str; 6] = ["AggregateFunction", "Dynamic", "Geometry", "JSON", "QBit", "Variant"];

/// Rule: a list of expressions has brackets, since ClickHouse reads one expression.
pub(super) fn key_without_brackets(table: &ResolvedTable, report: &mut Report) {
    for (clause, sql) in table.clauses() {
        if clause != Clause::Ttl && types::is_bare_list(sql.as_str()) {
            let message = format!("{} must be one expression or a list in brackets", clause.name());
            let text = sql.as_str().trim();
            let diagnostic = Diagnostic::error("key-without-brackets", message)
                .label(sql_span(sql, table), "a list without brackets")
                .help(format!("write `[{text}]`"));
            report.push(diagnostic);
        }
    }
}

/// Rule: a key is not Nullable, since ClickHouse sorts NULL only if a setting allows it.
pub(super) fn nullable_key(table: &ResolvedTable, report: &mut Report) {
    let is_allowed = table
        .clauses
        .setting(NULLABLE_KEYS)
        .is_some_and(|value| matches!(value, "1" | "true"));
    if is_allowed {
        return;
    }
    for (clause, sql) in table.keys() {
        for element in elements(sql) {
            let Some(column) = nullable_in(&element, table) else {
                continue;
            };
            let message = format!("`{}` can be NULL, which {} does not allow", column.name, clause.name());
            let diagnostic = Diagnostic::error("nullable-key", message)
                .label(span(sql, &element, table), "")
                .label(column.span.clone(), "")
                .help("declare the column without Nullable")
                .help(format!("or add `settings: {{ {NULLABLE_KEYS}: 1 }}` to `_options`"));
            report.push(diagnostic);
        }
    }
}

/// Returns the column that makes an element Nullable; `None` if the rule cannot decide.
fn nullable_in<'t>(element: &KeyElement, table: &'t ResolvedTable) -> Option<&'t ResolvedColumn> {
    match &element.kind {
        KeyElementKind::Column(_) => whole_column(element, table).filter(|column| holds_null(&column.declaration.ty)),
        KeyElementKind::Call(function, arguments) if NULL_FOR_NULL.contains(&function.as_str()) => {
            arguments.iter().find_map(|argument| nullable_in(argument, table))
        }
        _ => None,
    }
}

fn holds_null(ty: &Type) -> bool {
    match ty {
        Type::Nullable(_) => true,
        Type::LowCardinality(inner) | Type::Array(inner) => holds_null(inner),
        Type::Map(key, value) => holds_null(key) || holds_null(value),
        Type::Tuple(elements) => elements.iter().any(|(_, element)| holds_null(element)),
        _ => false,
    }
}

/// Rule: a key has types that ClickHouse can order. A sorting key has no aggregates, and a
/// partition key no floating-point numbers.
pub(super) fn key_type(table: &ResolvedTable, report: &mut Report) {
    for (clause, sql) in table.keys() {
        for element in elements(sql) {
            let column = whole_column(&element, table);
            let Some(column) = column.or_else(|| untyped_path(&element, table)) else {
                continue;
            };
            let ty = &column.declaration.ty;
            let (reason, help) = if let Some(name) = unordered_in(ty) {
                (
                    format!("a key cannot contain a {name}"),
                    "use a part of it that has one type, for example `payload.id::UInt64`",
                )
            } else if clause != Clause::PartitionBy && matches!(ty, Type::SimpleAggregateFunction(..)) {
                (
                    "a merge of rows changes an aggregate, and so the order of the rows".to_owned(),
                    "remove it from the key",
                )
            } else if clause == Clause::PartitionBy && is_float(ty) {
                (
                    "ClickHouse does not allow floating-point numbers in a partition key".to_owned(),
                    "partition by an expression with few values, for example `toYYYYMM(date)`",
                )
            } else {
                continue;
            };
            let message = format!("`{}` cannot be part of {}", text(sql, &element), clause.name());
            let diagnostic = Diagnostic::error("key-type", message)
                .label(span(sql, &element, table), reason)
                .label(column.span.clone(), format!("`{ty}`"))
                .help(help);
            report.push(diagnostic);
        }
    }
}

/// Returns the JSON column that the element is an untyped path of.
fn untyped_path<'t>(element: &KeyElement, table: &'t ResolvedTable) -> Option<&'t ResolvedColumn> {
    let Resolved::Column(column, path) = table.resolve(element.column()?) else {
        return None;
    };
    let Type::Json(json) = &column.declaration.ty else {
        return None;
    };
    let has_type =
        path.iter().any(|part| part == Reference::ANY) || json.typed().any(|(typed, _)| typed == path.join("."));
    (!has_type).then_some(column)
}

/// Returns a type without an order that occurs anywhere in the printed type.
fn unordered_in(ty: &Type) -> Option<&'static str> {
    let written = ty.to_string();
    UNORDERED
        .into_iter()
        .find(|name| types::type_names(&written).any(|found| found == *name))
}

fn is_float(ty: &Type) -> bool {
    match ty {
        Type::Float(_) | Type::BFloat16 => true,
        Type::SimpleAggregateFunction(_, inner) => is_float(inner),
        _ => false,
    }
}

/// Rule: a key has no constants, as a value that all rows share does not order them.
pub(super) fn constant_key(table: &ResolvedTable, report: &mut Report) {
    for (clause, sql) in table.keys() {
        for element in elements(sql) {
            if element.kind == KeyElementKind::Constant {
                let message = format!("{} cannot contain a constant", clause.name());
                let diagnostic = Diagnostic::error("constant-key", message)
                    .label(span(sql, &element, table), "its value is the same for every row")
                    .help("for an empty key, write `tuple()`; for a column, write its name without single quotes");
                report.push(diagnostic);
            }
        }
    }
}

/// Rule: a sorting key has each element once, as a second one does not change the order.
pub(super) fn key_twice(table: &ResolvedTable, report: &mut Report) {
    for (clause, sql) in table.keys() {
        let elements = elements(sql);
        for (index, element) in elements.iter().enumerate() {
            let is_first = !elements[..index].iter().any(|first| first.normal == element.normal);
            if clause != Clause::PartitionBy && !is_first {
                let message = format!("{} contains `{}` twice", clause.name(), text(sql, element));
                let diagnostic = Diagnostic::error("key-twice", message)
                    .label(span(sql, element, table), "")
                    .help("remove it");
                report.push(diagnostic);
            }
        }
    }
}

/// Rule: either a column or the table declares the primary key.
pub(super) fn two_primary_keys(table: &ResolvedTable, report: &mut Report) {
    let Some(key) = &table.clauses.primary_key else {
        return;
    };
    for column in table.columns.iter().filter(|column| column.declaration.primary_key) {
        let diagnostic = Diagnostic::error("two-primary-keys", "a table can have only one primary key")
            .label(sql_span(key, table), "the table's")
            .label(column.span.clone(), "the column's")
            .help("remove one of them");
        report.push(diagnostic);
    }
}

/// Rule: the primary key is a prefix of the sorting key.
pub(super) fn primary_key_prefix(table: &ResolvedTable, report: &mut Report) {
    let Some(sorting_sql) = &table.clauses.order_by else {
        return;
    };
    let Some(sorting) = types::key_elements(sorting_sql.as_str()) else {
        return;
    };
    let primary: Vec<(KeyElement, Span)> = match &table.clauses.primary_key {
        Some(sql) => elements(sql)
            .into_iter()
            .map(|element| {
                let span = span(sql, &element, table);
                (element, span)
            })
            .collect(),
        None => table
            .columns
            .iter()
            .filter(|column| column.declaration.primary_key)
            .filter_map(|column| {
                let name = types::quote_name(&column.name);
                Some((types::key_elements(&name)?.pop()?, column.name_span.clone()))
            })
            .collect(),
    };
    for (index, (element, span)) in primary.into_iter().enumerate() {
        let there = match sorting.get(index) {
            None => "the sorting key is shorter".to_owned(),
            Some(other) if differs(&element, other) => {
                format!("the sorting key has `{}` in this position", text(sorting_sql, other))
            }
            Some(_) => continue,
        };
        let diagnostic = Diagnostic::error(
            "primary-key-prefix",
            "the primary key must be a prefix of the sorting key",
        )
        .label(span, there)
        .label(sql_span(sorting_sql, table), "the sorting key")
        .help("put the columns of the primary key first in the sorting key, or remove the primary key: it is the sorting key by default");
        report.push(diagnostic);
        return;
    }
}

/// Returns whether two elements certainly differ. ClickHouse has more than one way to write an
/// operator or a function.
fn differs(left: &KeyElement, right: &KeyElement) -> bool {
    let one_is_column = left.column().is_some() || right.column().is_some();
    let are_plain = left.is_plain() && right.is_plain();
    !left.normal.eq_ignore_ascii_case(&right.normal) && (one_is_column || are_plain)
        || left.column().is_some() && right.column().is_some() && left.normal != right.normal
}

/// Rule: the sampling key is an unsigned integer in the primary key, since a sample is a range of
/// its values.
pub(super) fn sampling_key(table: &ResolvedTable, report: &mut Report) {
    let (Some(sql), Some(key)) = (
        &table.clauses.sample_by,
        table.clauses.primary_key.as_ref().or(table.clauses.order_by.as_ref()),
    ) else {
        return;
    };
    let sampling = elements(sql);
    let Some(element) = sampling.first() else {
        return;
    };
    let error = |message: &str, label: String| {
        Diagnostic::error("sampling-key", message).label(span(sql, element, table), label)
    };
    let in_key = elements(key);
    if element.is_plain() && !in_key.iter().any(|other| !differs(element, other)) {
        let diagnostic = error("the primary key must contain the sampling key", String::new())
            .label(sql_span(key, table), "the primary key")
            .help(format!("add `{}` to the key", text(sql, element)));
        report.push(diagnostic);
    } else if let Some(column) = whole_column(element, table) {
        let ty = &column.declaration.ty;
        if !matches!(ty, Type::Int { signed: false, .. } | Type::Bool) && unordered_in(ty).is_none() {
            let diagnostic = error("the sampling key must be an unsigned integer", format!("`{ty}`")).help(format!(
                "sample by a hash, for example `intHash32({})`, and add it to the primary key",
                element.normal
            ));
            report.push(diagnostic);
        }
    }
}

/// Rule: a TTL is a date or a time.
pub(super) fn ttl_type(table: &ResolvedTable, report: &mut Report) {
    for expression in table.expressions() {
        if !matches!(expression.clause, Clause::Ttl | Clause::ColumnTtl) {
            continue;
        }
        for element in elements(&expression.sql) {
            let Some(column) = whole_column(&element, table).filter(|column| column.is_stored()) else {
                continue;
            };
            let ty = &column.declaration.ty;
            if !matches!(ty, Type::Date | Type::Date32 | Type::DateTime(_) | Type::DateTime64(..)) {
                let diagnostic = Diagnostic::error("ttl-type", format!("column `{}` is not a date", column.name))
                    .label(span(&expression.sql, &element, table), expression.place())
                    .label(column.span.clone(), format!("`{ty}`"))
                    .help("write a Date or DateTime column and an interval, for example `date + INTERVAL 30 DAY`");
                report.push(diagnostic);
            }
        }
    }
}

/// Rule: a TTL depends on a column.
pub(super) fn ttl_of_nothing(table: &ResolvedTable, report: &mut Report) {
    for expression in table.expressions() {
        let is_ttl = matches!(expression.clause, Clause::Ttl | Clause::ColumnTtl);
        let text = expression.sql.as_str();
        if is_ttl && types::lexical_problem(text).is_none() && types::references(text).is_empty() {
            let diagnostic = Diagnostic::error("ttl-of-nothing", "a TTL must depend on a column")
                .label(sql_span(&expression.sql, table), expression.place())
                .help("write a Date or DateTime column and an interval, for example `date + INTERVAL 30 DAY`");
            report.push(diagnostic);
        }
    }
}

/// Rule: a column of a key has no TTL.
pub(super) fn ttl_of_key(table: &ResolvedTable, report: &mut Report) {
    let keys: Vec<(Clause, &Sql)> = table.keys();
    for column in &table.columns {
        let Some(ttl) = &column.expressions.ttl else {
            continue;
        };
        let key = keys
            .iter()
            .find(|(_, sql)| table.named_columns(sql).iter().any(|named| named.name == column.name));
        if let Some((clause, sql)) = key {
            let message = format!(
                "column `{}` is part of {} and cannot have a TTL",
                column.name,
                clause.name()
            );
            let diagnostic = Diagnostic::error("ttl-of-key", message)
                .label(sql_span(ttl, table), "")
                .label(sql_span(sql, table), "")
                .help("let whole rows expire instead, with `ttl: …` in `_options`");
            report.push(diagnostic);
        }
    }
}

fn elements(sql: &Sql) -> Vec<KeyElement> {
    types::key_elements(sql.as_str()).unwrap_or_default()
}

/// Returns the element as written.
fn text<'s>(sql: &'s Sql, element: &KeyElement) -> &'s str {
    sql.as_str()
        .get(element.span.clone())
        .unwrap_or_default()
        .trim_matches('`')
}

fn span(sql: &Sql, element: &KeyElement, table: &ResolvedTable) -> Span {
    sql.span(&element.span).unwrap_or_else(|| sql_span(sql, table))
}

/// Returns the column if the element is a whole column that ClickHouse stores. Another rule reports
/// other columns in keys.
fn whole_column<'t>(element: &KeyElement, table: &'t ResolvedTable) -> Option<&'t ResolvedColumn> {
    match table.resolve(element.column()?) {
        Resolved::Column(column, rest) if rest.is_empty() => {
            let is_computed = matches!(column.default_kind(), Some(DefaultKind::Alias | DefaultKind::Ephemeral));
            (!is_computed).then_some(column)
        }
        _ => None,
    }
}
