//! Rules for the option `privacy`.

use super::Schema;
use crate::{
    collector_value::CollectorValue,
    declare::{AddressRule, Destination, PersonalColumn, Privacy, UnknownKeys},
    diagnostic::{Diagnostic, Report},
    inherit::ResolvedTable,
    paths::collector_value,
    types::Type,
};

/// The headers in which proxies and networks name the client's address.
const ADDRESS_HEADERS: [&str; 12] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded-for",
    "x-original-forwarded-for",
    "x-real-ip",
];

/// The start of the headers that describe the browser beside `User-Agent`.
const BROWSER_HEADERS: &str = "sec-ch-ua";

/// Returns the table of a destination with the options that apply to its events; `None` if another
/// rule reports the table.
fn effective<'a>(destination: &Destination, schema: &Schema<'a>) -> Option<(&'a ResolvedTable, Privacy)> {
    let is_named = |table: &&ResolvedTable| table.name.text == destination.table.text;
    let table = schema.tables.iter().find(is_named)?;
    if !table.is_complete || table.is_abstract || table.is_view_target {
        return None;
    }
    let mut privacy = destination.options.privacy.clone().or(&table.privacy);
    let personal = |column: &crate::inherit::ResolvedColumn| {
        Some(PersonalColumn {
            name: column.name.clone(),
            paths: Vec::new(),
            personal: column.event.personal?,
        })
    };
    privacy.columns = table.columns.iter().filter_map(personal).collect();
    Some((table, privacy))
}

/// Rule: hashes have a key. Without one, the few addresses that there are can be tried one by one.
pub(super) fn unsalted_hash(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    let Some((_, privacy)) = effective(destination, schema) else {
        return;
    };
    if privacy.hashes() && privacy.hash_salt_env.is_none() {
        let message = format!("the hashes of `{}` have no key", destination.path.text);
        let place = privacy.place.unwrap_or_else(|| destination.path.span.clone());
        let diagnostic = Diagnostic::error("bad-privacy", message).label(place, "");
        report.push(diagnostic.help("add `hash_salt_env: NAME` to `privacy`, the environment variable with the key"));
    }
}

/// Rule: a hash of an address goes into a column of texts.
pub(super) fn hash_of_address(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    let Some((table, privacy)) = effective(destination, schema) else {
        return;
    };
    if privacy.ip != Some(AddressRule::Hash) {
        return;
    }
    let is_address = |ty: &Type| match ty {
        Type::LowCardinality(inner) | Type::Nullable(inner) => matches!(**inner, Type::Ipv4 | Type::Ipv6),
        ty => matches!(ty, Type::Ipv4 | Type::Ipv6),
    };
    let column = table.columns.iter().find(|column| {
        collector_value(column, table.inherits_base) == Some(CollectorValue::Ip) && is_address(&column.declaration.ty)
    });
    if let Some(column) = column {
        let message = format!("the hash of an address is not a value of `{}`", column.declaration.ty);
        let diagnostic = Diagnostic::error("bad-privacy", message)
            .label(column.span.clone(), "")
            .label(
                destination.path.span.clone(),
                "the events of this path have such hashes",
            );
        report.push(diagnostic.help("write `String`, or `ip: truncate`"));
    }
}

/// Rule: no column keeps under another name what the options remove.
pub(super) fn private_header(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    let Some((table, privacy)) = effective(destination, schema) else {
        return;
    };
    let asks = privacy.asks_for_consent();
    for column in &table.columns {
        let Some(source) = &column.event.source else {
            continue;
        };
        let name = source.name.as_str();
        let instead = match source.value {
            CollectorValue::Header if ADDRESS_HEADERS.contains(&name) && (asks || privacy.hides_address()) => "$ip",
            CollectorValue::Header if name.starts_with(BROWSER_HEADERS) && (asks || privacy.hides_user_agent()) => {
                "$user_agent"
            }
            CollectorValue::Query if name == "uid" && asks => "$uid",
            _ => continue,
        };
        let message = format!("`{}` keeps what the privacy options remove", source.key.text);
        let diagnostic = Diagnostic::error("bad-privacy", message)
            .label(source.key.span.clone(), "")
            .label(destination.path.span.clone(), "the events of this path");
        report.push(diagnostic.help(format!("write `from: {instead}`, or remove the column")));
    }
}

/// Rule: a table that rejects unknown keys knows the field with the consent.
pub(super) fn rejected_consent(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    let Some((table, privacy)) = effective(destination, schema) else {
        return;
    };
    let (Some(field), Some((UnknownKeys::Reject, place))) = (&privacy.consent, &table.unknown_keys) else {
        return;
    };
    let is_read = table.columns.iter().any(|column| {
        let from = &column.event.from;
        column.event.source.is_none()
            && (from.iter().any(|path| path.text == *field) || from.is_empty() && column.name == *field)
    });
    if !is_read {
        let message = format!(
            "table `{}` rejects events with `{field}`, their consent",
            table.name.text
        );
        let diagnostic = Diagnostic::error("bad-privacy", message).label(place.clone(), "");
        report.push(diagnostic.help(format!("add a column `{field}: Bool`, or write `unknown: count`")));
    }
}
