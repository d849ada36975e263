//! `items` and `with`: where the events of a document are, and which of its fields they get.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    yaml::{Key, Node, Value},
};

/// The events inside a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Items {
    /// The keys that lead to the events.
    pub(crate) keys: Vec<String>,
    /// The fields of the document that each event gets.
    pub(crate) shared: Vec<String>,
}

/// The keys `items` and `with` of a destination, as far as they are read.
#[derive(Debug, Default)]
pub(super) struct ItemKeys {
    keys: Option<Vec<String>>,
    /// The fields, and the place of `with`.
    shared: Option<(Vec<(String, Span)>, Span)>,
}

/// The maximum number of keys of a path.
const MAX_KEYS: usize = 8;

/// The maximum number of shared fields.
const MAX_SHARED: usize = 32;

impl DeclarationReader<'_> {
    /// Reads `items`.
    pub(super) fn item_path(&mut self, node: Node, found: &mut ItemKeys) {
        let Some((text, span)) = self.text(node, "`items`") else {
            return;
        };
        let keys: Vec<String> = text.split('.').map(str::to_owned).collect();
        if keys.iter().any(String::is_empty) || keys.len() > MAX_KEYS {
            let diagnostic = Diagnostic::error("bad-items", format!("invalid path `{text}` of events"));
            let help = format!("write at most {MAX_KEYS} keys, joined by dots: `items: data.events`");
            self.report.push(diagnostic.label(span, "").help(help));
        }
        found.keys = Some(keys);
    }

    /// Reads `with`, one name or a list of them.
    pub(super) fn shared_fields(&mut self, key: &Key, node: Node, found: &mut ItemKeys) {
        let nodes = match node.value {
            Value::List(nodes) => nodes,
            _ => vec![node],
        };
        let names = nodes
            .into_iter()
            .filter_map(|node| self.text(node, "a field in `with`"));
        let names: Vec<_> = names.collect();
        if names.len() > MAX_SHARED {
            let diagnostic = Diagnostic::error("bad-items", format!("`with` has more than {MAX_SHARED} fields"));
            self.report.push(diagnostic.label(key.span.clone(), ""));
        }
        found.shared = Some((names, key.span.clone()));
    }

    /// Checks both keys together.
    pub(super) fn items(&mut self, ItemKeys { keys, shared }: ItemKeys) -> Option<Items> {
        let Some(keys) = keys else {
            if let Some((_, span)) = shared {
                let diagnostic = Diagnostic::error("bad-items", "`with` needs `items`").label(span, "");
                let help = "add the path of the events in a document: `items: batch`";
                self.report.push(diagnostic.help(help));
            }
            return None;
        };
        let mut names: Vec<String> = Vec::new();
        for (name, span) in shared.into_iter().flat_map(|(names, _)| names) {
            let (message, help) = if name.is_empty() || name.contains('.') {
                let help = "`with` names fields at the root of the document";
                (format!("`{name}` is not the name of a field"), Some(help))
            } else if keys.first() == Some(&name) {
                (format!("`{name}` contains the events themselves"), None)
            } else if names.contains(&name) {
                (format!("`{name}` is twice in `with`"), None)
            } else {
                names.push(name);
                continue;
            };
            let mut diagnostic = Diagnostic::error("bad-items", message).label(span, "");
            if let Some(help) = help {
                diagnostic = diagnostic.help(help);
            }
            self.report.push(diagnostic);
        }
        Some(Items { keys, shared: names })
    }
}
