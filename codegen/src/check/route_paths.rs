//! Rules for the paths that destinations list.

use super::Schema;
use crate::{
    declare::Destination,
    diagnostic::{Diagnostic, Report},
    source::Span,
};

/// Rule: each path leads to one destination.
pub(super) fn path_conflict(schema: &Schema<'_>, report: &mut Report) {
    let destinations = &schema.declared.destinations;
    let mut known: Vec<(&str, &Span, &Destination)> = Vec::new();
    for destination in destinations {
        for (path, span) in paths(destination) {
            if let Some((_, first, other)) = known.iter().find(|(known, ..)| *known == path) {
                let diagnostic = Diagnostic::error("path-conflict", format!("the path `{path}` has two destinations"))
                    .label(span.clone(), format!("of `{}`", destination.path.text))
                    .label((*first).clone(), format!("of `{}`", other.path.text))
                    .help("remove one of them");
                report.push(diagnostic);
            }
            known.push((path, span, destination));
            for named in destinations.iter().filter(|named| covers(path, &named.path.text)) {
                let diagnostic = Diagnostic::error(
                    "path-conflict",
                    format!(
                        "the path `{path}` contains the path of the destination `{}`",
                        named.path.text
                    ),
                )
                .label(span.clone(), format!("of `{}`", destination.path.text))
                .label(named.path.span.clone(), "")
                .help("choose another path: `/service/name` always leads to its destination");
                report.push(diagnostic);
            }
        }
    }
}

fn paths(destination: &Destination) -> impl Iterator<Item = (&str, &Span)> {
    let own = destination.options.own_paths.iter().flat_map(|own| &own.paths);
    own.map(|(path, span)| (path.as_str(), span))
}

/// Returns whether a path of its own contains the path of a destination `service/name` or
/// `service/default`.
fn covers(path: &str, destination: &str) -> bool {
    let Some((service, name)) = destination.split_once('/') else {
        return false;
    };
    match path.strip_suffix('*') {
        Some(above) if name == "default" => format!("/{service}/").starts_with(above),
        Some(above) => format!("/{service}/{name}").starts_with(above),
        None => path.trim_end_matches('/') == format!("/{service}/{name}"),
    }
}
