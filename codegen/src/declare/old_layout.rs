//! The oldest layout of the original's files: the destinations of each service in a mapping of their
//! own, `track: { default: events }`, directly under `clickhouse:` or under `destinations:`.

use super::{DeclarationReader, Destination, RouteOptions};
use crate::yaml::{Key, Node, Value};

/// The names that the original's first versions gave to services, and their names in paths.
const RENAMED_SERVICES: [(&str, &str); 1] = [("webhook", "wh")];

/// Returns the names of all tables of the section, under `tables` and beside it.
pub(super) fn table_names(entries: &[(Key, Node)]) -> Vec<String> {
    let mut names = Vec::new();
    for (key, node) in entries {
        match &node.value {
            Value::Map(tables) if key.text == "tables" => {
                names.extend(tables.iter().map(|(name, _)| name.text.clone()));
            }
            Value::Map(_) => names.push(key.text.clone()),
            _ => {}
        }
    }
    names
}

/// Returns whether a mapping directly under `clickhouse:` contains destinations: it names tables
/// where the columns of a table have types.
pub(super) fn is_service(entries: &[(Key, Node)], tables: &[String]) -> bool {
    !entries.is_empty()
        && entries
            .iter()
            .all(|(_, node)| matches!(&node.value, Value::Text(text) if tables.contains(text)))
}

impl DeclarationReader<'_> {
    /// Declares the destinations of a service. A destination of the same path in the present layout,
    /// for example one of the standard tables, gives way.
    pub(super) fn old_destinations(&mut self, service: &Key, entries: Vec<(Key, Node)>) {
        let renamed = RENAMED_SERVICES.iter().find(|(old, _)| *old == service.text);
        let service = renamed.map_or(service.text.as_str(), |(_, new)| new);
        for (name, node) in entries {
            let Value::Text(text) = node.value else {
                continue;
            };
            // The first versions wrote a webhook's service and name in full.
            let path = match name.text.contains('/') {
                true => name.text,
                false => format!("{service}/{}", name.text),
            };
            self.declared
                .destinations
                .retain(|destination| destination.path.text != path);
            self.declared.destinations.push(Destination {
                path: Key {
                    text: path,
                    span: name.span,
                },
                table: Key { text, span: node.span },
                options: RouteOptions::default(),
            });
        }
    }
}
