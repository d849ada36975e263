//! A rule for partition keys whose values a client chooses.
//!
//! ClickHouse writes a separate part for each partition of an insert. Two requests of 1.8 MB whose
//! events had one date each for every day that a Date can hold created 355 000 files, and all
//! inserts of all tables timed out.

use super::table::{Resolved, sql_span};
use crate::{
    collector_value::CollectorValue,
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    paths::{self, Role},
    sql::Sql,
    types::{self, KeyElement, KeyElementKind, Type},
};

/// A key with at most this many values, those of one byte, is safe.
const MAX_FEW_VALUES: usize = 256;

/// Functions that return few values for any arguments.
const FUNCTIONS_WITH_FEW_VALUES: [&str; 12] = [
    "empty",
    "isNotNull",
    "isNull",
    "notEmpty",
    "toDayOfMonth",
    "toDayOfWeek",
    "toHour",
    "toMinute",
    "toMonth",
    "toQuarter",
    "toSecond",
    "toYear",
];

/// Functions whose values are fewer than their second argument.
const REMAINDERS: [&str; 6] = [
    "mod",
    "modulo",
    "moduloOrZero",
    "pmod",
    "positiveModulo",
    "positive_modulo",
];

/// Rule: the collector chooses the partition of a row, or the key has few values.
pub(super) fn client_partition(table: &ResolvedTable, report: &mut Report) {
    if table.is_view_target {
        return;
    }
    let is_merge_tree = table.engine.as_ref().is_some_and(|(engine, _)| engine.is_merge_tree());
    let Some(sql) = table.clauses.partition_by.as_ref().filter(|_| is_merge_tree) else {
        return;
    };
    // A key with an error will be changed anyway.
    if report.has_errors() {
        return;
    }
    let roles = paths::roles(table, &paths::extras(&table.columns));
    for element in types::key_elements(sql.as_str()).unwrap_or_default() {
        if has_few_values(&element, sql, table) {
            continue;
        }
        let Some(column) = chosen_column(&sql.part(element.span.clone()), table, &roles, &mut Vec::new()) else {
            continue;
        };
        let name = &column.name;
        let diagnostic = Diagnostic::warning("client-partition", "clients determine the number of partitions")
            .label(
                sql.span(&element.span).unwrap_or_else(|| sql_span(sql, table)),
                format!("in the partition key of `{}`", table.name.text),
            )
            .label(
                column.span.clone(),
                "an event can have any value here; thousands of partitions block all inserts",
            )
            .help(if table.inherits_base {
                "partition by a column that the collector fills, for example `toYYYYMM(date)`"
            } else {
                "partition by a column that the collector fills, for example `received_at: { type: DateTime, from: $received_at }`"
            })
            .help(format!(
                "or by an expression with few values, for example `cityHash64({name}) % 16`"
            ));
        let diagnostic = if column.declaration.ty.is_date() {
            diagnostic.help("or limit its dates, for example with `max_age: 90 days, max_ahead: 2 days`")
        } else {
            diagnostic
        };
        report.push_unless_allowed(diagnostic, |code| table.allows(code));
    }
}

fn has_few_values(element: &KeyElement, sql: &Sql, table: &ResolvedTable) -> bool {
    match &element.kind {
        KeyElementKind::Constant => true,
        KeyElementKind::Column(reference) => match table.resolve(reference) {
            Resolved::Column(column, rest) => rest.is_empty() && type_has_few_values(&column.declaration.ty),
            _ => false,
        },
        KeyElementKind::Call(function, arguments) => {
            FUNCTIONS_WITH_FEW_VALUES.contains(&function.as_str())
                || REMAINDERS.contains(&function.as_str()) && arguments.get(1).is_some_and(is_small)
                || !arguments.is_empty() && arguments.iter().all(|argument| has_few_values(argument, sql, table))
        }
        KeyElementKind::Index(_) => false,
        KeyElementKind::Other => types::calls(&sql.as_str()[element.span.clone()]).iter().any(|call| {
            call.span.len() == element.span.len()
                && call.function == "modulo"
                && call.arguments.get(1).is_some_and(is_small)
        }),
    }
}

fn is_small(element: &KeyElement) -> bool {
    element
        .normal
        .parse::<usize>()
        .is_ok_and(|number| number <= MAX_FEW_VALUES)
}

fn type_has_few_values(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Int { bits: 8, .. } => true,
        Type::Enum { values, .. } => values.len() <= MAX_FEW_VALUES,
        Type::LowCardinality(inner) | Type::Nullable(inner) => type_has_few_values(inner),
        _ => false,
    }
}

/// Returns a column that the expression depends on, that has many values, and whose values a client
/// chooses.
fn chosen_column<'t>(
    sql: &Sql,
    table: &'t ResolvedTable,
    roles: &[Role],
    seen: &mut Vec<&'t str>,
) -> Option<&'t ResolvedColumn> {
    for column in table.named_columns(sql) {
        if type_has_few_values(&column.declaration.ty) || seen.contains(&column.name.as_str()) {
            continue;
        }
        seen.push(&column.name);
        let role = table.places.get(&column.name).and_then(|place| roles.get(*place))?;
        let chosen = match role {
            // The rules of the column keep its dates close to the arrival of the event.
            Role::Event | Role::Collector(CollectorValue::Header | CollectorValue::Query)
                if column.event.max_age.is_some() && column.event.max_ahead.is_some() =>
            {
                None
            }
            Role::Event | Role::Extra => Some(column),
            Role::Collector(value) => value.is_chosen_by_client().then_some(column),
            Role::Computed => {
                let computed_from = column.expressions.default.as_ref();
                computed_from.and_then(|sql| chosen_column(sql, table, roles, seen))
            }
        };
        if chosen.is_some() {
            return chosen;
        }
    }
    None
}
