//! Rules for how events are read: the units of times, and keys without a column.

use super::Schema;
use crate::{
    declare::UnknownKeys,
    diagnostic::{Diagnostic, Report},
    inherit::{ResolvedColumn, ResolvedTable},
    paths::{self, Role},
    types::Type,
};

impl Type {
    /// Returns the DateTime or DateTime64 that the values, or their elements, are.
    pub(crate) fn moment(&self) -> Option<&Self> {
        match self {
            Self::DateTime(_) | Self::DateTime64(..) => Some(self),
            Self::LowCardinality(inner)
            | Self::Nullable(inner)
            | Self::Array(inner)
            | Self::SimpleAggregateFunction(_, inner) => inner.moment(),
            _ => None,
        }
    }
}

/// Rule: only times have a unit.
pub(super) fn unit_misfit(table: &ResolvedTable, report: &mut Report) {
    for column in &table.columns {
        let Some(key) = column.event.present_keys.iter().find(|key| key.text == "unit") else {
            continue;
        };
        // The key of a Nested applies to those of its elements that are times.
        let is_namesake = |other: &&ResolvedColumn| column.nested.is_some() && other.nested == column.nested;
        let mut columns = table.columns.iter().filter(is_namesake).chain([column]);
        if columns.any(|column| column.declaration.ty.moment().is_some()) {
            continue;
        }
        let message = format!("`{}` has no unit", column.declaration.ty);
        let diagnostic = Diagnostic::error("unit-misfit", message)
            .label(key.span.clone(), format!("of column `{}`", column.name))
            .help("remove it: `unit` applies to DateTime and DateTime64, and to arrays of them");
        report.push(diagnostic);
    }
}

/// Rule: `unknown` of a table fits its columns.
pub(super) fn unknown_misfit(table: &ResolvedTable, report: &mut Report) {
    let Some((keys, span)) = &table.unknown_keys else {
        return;
    };
    let extras = paths::extras(&table.columns);
    let has_extra = extras.iter().any(|extra| extra.path.is_empty());
    let name = &table.name.text;
    match keys {
        UnknownKeys::Extra if !has_extra => {
            let message = format!("table `{name}` has no extra for keys without a column");
            let diagnostic = Diagnostic::error("unknown-misfit", message)
                .label(span.clone(), "")
                .help("add the columns `extra.key: Array(String)` and `extra.value: Array(String)`");
            report.push(diagnostic);
        }
        UnknownKeys::Count | UnknownKeys::Ignore | UnknownKeys::Reject if has_extra => {
            let message = format!("`unknown` has no effect on `{name}`: its extra keeps all keys without a column");
            let extra = table.columns.iter().find(|column| column.name == "extra.key");
            let diagnostic = Diagnostic::error("unknown-misfit", message).label(span.clone(), "");
            let diagnostic = match extra {
                Some(extra) => diagnostic.label(extra.name_span.clone(), "the extra"),
                None => diagnostic,
            };
            report.push(
                diagnostic.help(
                    "write `unknown: extra`, or remove `extra.key` and `extra.value` with an empty value for each",
                ),
            );
        }
        _ => {}
    }
}

/// Rule: the unit of an integer is stated, where it is not the second and events fill the column.
pub(super) fn ambiguous_unit(schema: &Schema<'_>, report: &mut Report) {
    let destinations = &schema.declared.destinations;
    let is_fed = |table: &&ResolvedTable| {
        let is_destination = destinations.iter().any(|to| to.table.text == table.name.text);
        is_destination && !table.is_abstract && table.is_complete
    };
    for table in schema.tables.iter().filter(is_fed) {
        let roles = paths::roles(table, &paths::extras(&table.columns));
        for (column, role) in table.columns.iter().zip(roles) {
            if role == Role::Event
                && column.event.unit.is_none()
                && let Some(warning) = unit_warning(column)
            {
                report.push_unless_allowed(warning, |code| table.allows(code));
            }
        }
    }
}

/// Returns the warning for a column whose type counts parts of seconds.
fn unit_warning(column: &ResolvedColumn) -> Option<Diagnostic> {
    let Some(Type::DateTime64(digits, _)) = column.declaration.ty.moment() else {
        return None;
    };
    let (unit, word) = match digits {
        0 => return None,
        3 => ("milliseconds".to_owned(), "ms"),
        6 => ("microseconds".to_owned(), "us"),
        9 => ("nanoseconds".to_owned(), "ns"),
        digits => (format!("units of 10^-{digits} seconds"), "raw"),
    };
    let name = &column.name;
    let message = format!("an integer for `{name}` is a number of {unit}");
    let label = "a time in seconds, such as 1780000000, is a day of 1970 here";
    let (name, ty) = match &column.nested {
        Some(nested) => (nested, "\"Nested(…)\"".to_owned()),
        None => (name, column.declaration.ty.to_string()),
    };
    let long = if ty.contains(',') { format!("\"{ty}\"") } else { ty };
    Some(
        Diagnostic::warning("ambiguous-unit", message)
            .label(column.span.clone(), label)
            .help(format!(
                "state the unit that senders use, `s`, `ms`, `us` or `ns`: `{name}: {{ type: {long}, unit: s }}`"
            ))
            .help(format!("`unit: {word}` keeps the unit of the type")),
    )
}
