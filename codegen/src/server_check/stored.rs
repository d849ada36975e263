//! The table that the server has made of a statement: the types of its columns, and the values of
//! its constant defaults.

use super::{Send, refusal::Refusal};
use crate::{
    diagnostic::{Diagnostic, Report},
    emit,
    inherit::ResolvedTable,
    model::Table,
    types::{self, DefaultKind, Type, quote_text},
};

/// Reports columns that the server has stored with another type or another kind of default.
pub(super) fn columns<E>(
    table: &Table,
    resolved: &ResolvedTable,
    report: &mut Report,
    send: Send<'_, E>,
) -> Result<(), E> {
    let name = quote_text(&table.name);
    let query = format!(
        "SELECT name, default_kind, type FROM system.columns \
         WHERE database = currentDatabase() AND table = {name} ORDER BY position FORMAT TSVRaw"
    );
    let Ok(rows) = send(&query)? else { return Ok(()) };
    let mut stored = rows.lines();
    for (column, declared) in table.columns.iter().zip(&resolved.columns) {
        let kind = match column.declaration.default.as_ref().map(|default| default.kind) {
            Some(kind) => kind.keyword(),
            None => "",
        };
        let row = stored.next().unwrap_or_default();
        let mut fields = row.splitn(3, '\t');
        let (name, stored_kind, ty) = (fields.next(), fields.next(), fields.next().unwrap_or_default());
        let own = column.declaration.ty.to_string();
        let is_same =
            name == Some(&column.name) && stored_kind == Some(kind) && (column.declaration.is_untyped || ty == own);
        // A name with a line break is not comparable in this format.
        if is_same || column.name.contains(['\n', '\t']) {
            continue;
        }
        let message = format!("ClickHouse stores this column as `{}`", row.replace('\t', " "));
        let diagnostic = Diagnostic::error("changed-by-clickhouse", message).label(
            declared.span.clone(),
            format!("column `{}`, of type `{own}`", column.name),
        );
        report.push(diagnostic);
    }
    Ok(())
}

/// Reports constant defaults that the server changes when it converts them into their columns'
/// types.
pub(super) fn defaults<E>(
    table: &Table,
    resolved: &ResolvedTable,
    report: &mut Report,
    send: Send<'_, E>,
) -> Result<(), E> {
    for (column, declared) in table.columns.iter().zip(&resolved.columns) {
        let declaration = &column.declaration;
        let Some(default) = declaration.default.as_ref() else {
            continue;
        };
        let Some(sql) = &declared.expressions.default else {
            continue;
        };
        let is_constant = types::references(&default.text).is_empty();
        if default.kind == DefaultKind::Alias || declaration.is_untyped || !is_constant {
            continue;
        }
        if !is_compared(&declaration.ty) {
            continue;
        }
        let text = &default.text;
        let query = format!(
            "SELECT toTypeName(({text}\n)), toString(({text}\n)), toString(CAST(({text}\n) AS {})) FORMAT TSVRaw",
            declaration.ty
        );
        // A refused default is reported with its table.
        let Ok(row) = send(&query)? else { continue };
        let fields: Vec<&str> = row.trim_end_matches('\n').split('\t').collect();
        let [source, before, after] = fields[..] else { continue };
        if is_changed(&declaration.ty, source, before, after) {
            let span = sql.whole_span().unwrap_or_else(|| declared.span.clone());
            let message = format!("ClickHouse stores this default as `{after}`");
            let diagnostic = Diagnostic::error("changed-default", message)
                .label(span, format!("not a value of `{}`", declaration.ty));
            report.push(diagnostic);
        }
    }
    Ok(())
}

/// Returns the type below Nullable and LowCardinality.
fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Nullable(inner) | Type::LowCardinality(inner) => bare(inner),
        ty => ty,
    }
}

/// Returns whether the texts of values of the type can be compared.
fn is_compared(ty: &Type) -> bool {
    match bare(ty) {
        Type::Int { .. }
        | Type::Float(_)
        | Type::Decimal { .. }
        | Type::Bool
        | Type::Date
        | Type::Date32
        | Type::DateTime(_)
        | Type::DateTime64(..) => true,
        Type::Array(_) | Type::Map(..) | Type::Tuple(_) => is_exact(ty),
        _ => false,
    }
}

/// Returns whether the type consists of integers and texts, whose texts no conversion reformats.
fn is_exact(ty: &Type) -> bool {
    match bare(ty) {
        Type::Int { .. } | Type::String => true,
        Type::Array(inner) => is_exact(inner),
        Type::Map(key, value) => is_exact(key) && is_exact(value),
        Type::Tuple(elements) => elements.iter().all(|(_, element)| is_exact(element)),
        _ => false,
    }
}

/// Returns whether the conversion of a value of the type `source` has changed the value, not only
/// its format.
fn is_changed(ty: &Type, source: &str, before: &str, after: &str) -> bool {
    let source = source
        .strip_prefix("Nullable(")
        .and_then(|source| source.strip_suffix(')'))
        .unwrap_or(source);
    let is_number = ["Int", "UInt", "Float", "Decimal"]
        .iter()
        .any(|start| source.starts_with(start));
    let is_text = source == "String";
    match bare(ty) {
        Type::Int { .. } | Type::Decimal { .. } => {
            (is_number || is_text) && matches!((number(before), number(after)), (Some(a), Some(b)) if a != b)
        }
        Type::Float(bits) if is_number => {
            let (Ok(before), Ok(after)) = (before.parse::<f64>(), after.parse::<f64>()) else {
                return false;
            };
            let precision = if *bits == 32 { 1e-6 } else { 1e-15 };
            before.is_finite() && (after.is_infinite() || (before - after).abs() > before.abs() * precision)
        }
        Type::Bool => is_number && !["0", "1"].contains(&before),
        Type::Date | Type::Date32 | Type::DateTime(_) | Type::DateTime64(..) => {
            is_text && matches!((clock(before), clock(after)), (Some(a), Some(b)) if a != b)
        }
        // Without an exact type, ClickHouse writes the numbers of both in one format.
        Type::Array(_) | Type::Map(..) | Type::Tuple(_) => !is_text && is_whole(before) && before != after,
        _ => false,
    }
}

/// Returns whether a text has no number with a fraction.
fn is_whole(text: &str) -> bool {
    !text.contains('.') && !text.contains("e+")
}

/// Returns the digits of a decimal number, without zeros that do not change its value: its sign,
/// its whole part and its fraction.
fn number(text: &str) -> Option<(bool, &str, &str)> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let is_zero = whole.is_empty() && fraction.is_empty();
    Some((is_negative && !is_zero, whole, fraction))
}

/// Returns year, month, day, hour, minute and second of `2024-05-06 07:08:09`, which may have a
/// fraction; the time is zero if it is missing. Returns `None` for any other format.
fn clock(text: &str) -> Option<[u32; 6]> {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, ""));
    let time = time.split('.').next().unwrap_or_default();
    let mut clock = [0; 6];
    let (dates, times) = clock.split_at_mut(3);
    let mut parts = date.split('-');
    for value in dates {
        *value = parts.next()?.parse().ok()?;
    }
    if parts.next().is_some() {
        return None;
    }
    if !time.is_empty() {
        let mut parts = time.split(':');
        for value in times {
            *value = parts.next().unwrap_or("0").parse().ok()?;
        }
        if parts.next().is_some() {
            return None;
        }
    }
    Some(clock)
}

/// Returns the columns of a query and their types.
pub(super) fn described<E>(select: &str, send: Send<'_, E>) -> Result<Result<Vec<String>, Refusal>, E> {
    let query = format!("DESCRIBE ({select}\n) FORMAT TSVRaw");
    Ok(match send(&query)? {
        Ok(rows) => {
            let names = rows
                .lines()
                .map(|row| row.split('\t').next().unwrap_or_default().to_owned());
            Ok(names.collect())
        }
        Err(message) => Err(Refusal::new(&message)),
    })
}

/// Returns the statement that inserts no rows of a query into a table. The server refuses it if it
/// cannot convert a column.
pub(super) fn insert_nothing(target: &str, columns: &[String], select: &str) -> String {
    let names: Vec<String> = columns.iter().map(|name| emit::quote_name(name)).collect();
    let names = names.join(", ");
    format!(
        "INSERT INTO {} ({names}) SELECT {names} FROM ({select}\n) LIMIT 0",
        emit::quote_name(target)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_value_is_one_and_a_change_of_the_format_is_none() {
        let int = Type::Int { bits: 8, signed: false };
        assert!(is_changed(&int, "UInt16", "300", "44"));
        assert!(is_changed(&int, "Int8", "-1", "255"));
        assert!(!is_changed(&int, "UInt8", "7", "7"));
        assert!(!is_changed(&int, "String", "007", "7"));
        assert!(is_changed(&Type::Date, "String", "2024-13-01", "1970-01-01"));
        assert!(!is_changed(&Type::Date, "String", "2024-1-5", "2024-01-05"));
        assert!(is_changed(
            &Type::DateTime(None),
            "String",
            "2024-01-01 25:00:00",
            "2024-01-02 01:00:00"
        ));
        assert!(!is_changed(
            &Type::DateTime(None),
            "String",
            "2024-01-01T00:00:00Z",
            "2024-01-01 00:00:00"
        ));
        assert!(!is_changed(&Type::Float(32), "Float64", "0.1", "0.1"));
        assert!(is_changed(&Type::Float(32), "Float64", "1e300", "inf"));
        let decimal = Type::Decimal { precision: 9, scale: 2 };
        assert!(is_changed(&decimal, "String", "1.005", "1"));
        assert!(!is_changed(&decimal, "Float64", "0.50", "0.5"));
        let array = Type::Array(Box::new(int));
        assert!(is_changed(&array, "Array(UInt16)", "[1,300]", "[1,44]"));
        assert!(!is_changed(&array, "Array(UInt8)", "[1]", "[1]"));
        assert!(is_changed(&Type::Bool, "UInt8", "5", "true"));
    }
}
