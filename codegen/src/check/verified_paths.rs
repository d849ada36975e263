//! Rules for the paths of routes with `verify`.

use super::Schema;
use crate::{
    collector_value::CollectorValue,
    declare::{Destination, Verify},
    diagnostic::{Diagnostic, Report},
    inherit::ResolvedTable,
    paths,
};

/// Rule: no column of a verified route has a part of the path that the sender has not signed. On a
/// route for many paths, a request that somebody has copied would be valid at another of them, as an
/// event with another name. A path of the route's own, and a name in it, leave nothing to choose.
pub(super) fn unsigned_path(destination: &Destination, schema: &Schema<'_>, report: &mut Report) {
    let path = destination.path.text.as_str();
    let (service, chosen): (_, &[_]) = match path.split_once('/') {
        None => ("wh", &[CollectorValue::Service, CollectorValue::Name]),
        Some((service, "default")) => (service, &[CollectorValue::Name]),
        Some(_) => return,
    };
    let leaves_open = |verify: &Verify| verify.scheme.signs_body_alone() && !verify.allows_unsigned;
    if !destination.options.verify.as_ref().is_some_and(leaves_open) {
        return;
    }
    let is_named = |table: &&ResolvedTable| table.name.text == destination.table.text;
    let Some(table) = schema.tables.iter().find(is_named) else {
        return;
    };
    let roles = paths::roles(table, &paths::extras(&table.columns));
    let is_chosen = |role: &paths::Role| matches!(role, paths::Role::Collector(value) if chosen.contains(value));
    let columns = table.columns.iter().zip(&roles).filter(|(_, role)| is_chosen(role));
    let columns: Vec<_> = columns.map(|(column, _)| format!("`{}`", column.name)).collect();
    if columns.is_empty() {
        return;
    }
    let message = format!("the signatures of `{path}` do not cover the path");
    let diagnostic = Diagnostic::warning("unsigned-path", message)
        .label(
            destination.path.span.clone(),
            format!(
                "a copied request is accepted at each of its paths, which fill {} of `{}`",
                columns.join(" and "),
                table.name.text
            ),
        )
        .help(format!(
            "give each sender a route of its own, for example `{service}/billing: {{ table: {}, verify: … }}`",
            table.name.text
        ));
    report.push_unless_allowed(diagnostic, |code| table.allows(code));
}
