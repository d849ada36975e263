//! Destinations: which table the events of a route go to, and how they are acknowledged.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    types,
    yaml::{Key, Node, Value},
};

/// One entry of `destinations`.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) path: Key,
    pub(crate) table: Key,
    pub(crate) acks: Acks,
}

/// What a success says to an event of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Acks {
    /// None: what the collector says to all.
    pub(crate) ack: Option<Ack>,
    /// Whether a request may ask for another one.
    pub(crate) by_header: bool,
}

/// How far an event's row is when its success is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// In memory.
    Accepted,
    /// On disk.
    Spooled,
    /// In its table.
    Stored,
}

/// The names of all acknowledgements.
pub(crate) const ACKS: [(&str, Ack); 3] = [
    ("accepted", Ack::Accepted),
    ("spooled", Ack::Spooled),
    ("stored", Ack::Stored),
];

/// The keys of the long form.
pub(crate) const KEYS: [&str; 3] = ["ack", "ack_header", "table"];

impl DeclarationReader<'_> {
    pub(super) fn destinations(&mut self, node: Node) {
        for (path, node) in self
            .mapping(
                node,
                "`destinations` maps paths to tables",
                "destinations: { service/name: table }",
            )
            .unwrap_or_default()
        {
            let (table, acks) = match node.value {
                // A later file takes a route away by setting it to nothing.
                Value::Null => continue,
                Value::Text(text) => (Some(Key { text, span: node.span }), Acks::default()),
                Value::Map(entries) => self.long_destination(entries, &path),
                ref other => {
                    let diagnostic = Diagnostic::error(
                        "bad-destination",
                        format!("a destination is a table's name, not {}", other.kind()),
                    );
                    self.report
                        .push(diagnostic.label(node.span, format!("of `{}`", path.text)));
                    (None, Acks::default())
                }
            };
            if let Some(table) = table {
                self.declared.destinations.push(Destination { path, table, acks });
            }
        }
    }

    fn long_destination(&mut self, entries: Vec<(Key, Node)>, path: &Key) -> (Option<Key>, Acks) {
        let known_problems = self.report.found();
        let mut table = None;
        let mut acks = Acks::default();
        for (key, node) in entries {
            match key.text.as_str() {
                "table" => table = self.text(node, "the table").map(|(text, span)| Key { text, span }),
                "ack" => acks.ack = self.ack(node),
                "ack_header" => acks.by_header = self.boolean(node, "`ack_header`"),
                _ => self.unknown_key(&key, "a destination", &KEYS),
            }
        }
        if table.is_none() && self.report.found() == known_problems {
            let diagnostic = Diagnostic::error(
                "bad-destination",
                format!("the destination `{}` names no table", path.text),
            );
            self.report
                .push(diagnostic.label(path.span.clone(), "").help("add `table: …`"));
        }
        (table, acks)
    }

    fn ack(&mut self, node: Node) -> Option<Ack> {
        let (text, span) = self.text(node, "the acknowledgement")?;
        let found = ACKS.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names = ACKS.map(|(name, _)| name);
            let help = match types::closest(&text, names) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "write `accepted` (in memory), `spooled` (on disk) or `stored` (in its table)".to_owned(),
            };
            let diagnostic = Diagnostic::error("unknown-ack", format!("`{text}` is no acknowledgement"));
            self.report.push(diagnostic.label(span, "").help(help));
        }
        found.map(|(_, ack)| *ack)
    }
}
