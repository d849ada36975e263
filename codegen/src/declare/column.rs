//! A column's entry: its declaration alone, or in a mapping beside a comment; or nothing, which takes an inherited column away.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    source::{Sources, Span},
    types::{self, Declaration},
    yaml::{Key, Node, Value},
};

/// One column as its own entry has it.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: Key,
    /// `None` takes an inherited column away.
    pub(crate) declaration: Option<Declaration>,
    /// Where the declaration stands.
    pub(crate) span: Span,
}

const COLUMN_KEYS: [&str; 2] = ["comment", "type"];

impl DeclarationReader<'_> {
    /// Reads one entry of a table; `None` where it has a problem.
    pub(super) fn column(&mut self, name: Key, node: Node) -> Option<Column> {
        let span = node.span.clone();
        let (node, comment) = match node.value {
            Value::Null => {
                return Some(Column {
                    name,
                    declaration: None,
                    span,
                });
            }
            Value::Map(entries) => self.long_column(entries, &name)?,
            _ => (node, None),
        };
        let Value::Text(text) = &node.value else {
            let diagnostic = Diagnostic::error(
                "not-a-type",
                format!("a column's type is a text, not {}", node.value.kind()),
            )
            .label(node.span, format!("of column `{}`", name.text))
            .help("write the type as ClickHouse has it, for example `Array(String)`");
            self.report.push(diagnostic);
            return None;
        };
        match types::parse(text) {
            Ok(mut declaration) => {
                if comment.is_some() {
                    declaration.comment = comment;
                }
                Some(Column {
                    name,
                    declaration: Some(declaration),
                    span: node.span,
                })
            }
            Err(errors) => {
                for error in errors {
                    let mut diagnostic = Diagnostic::error(error.code, error.message)
                        .label(node.span_within(self.sources, error.span), "");
                    if let Some(help) = cut_short(&node, self.sources).map(str::to_owned).or(error.help) {
                        diagnostic = diagnostic.help(help);
                    }
                    self.report.push(diagnostic);
                }
                None
            }
        }
    }

    fn long_column(&mut self, entries: Vec<(Key, Node)>, name: &Key) -> Option<(Node, Option<String>)> {
        let known_problems = self.report.found();
        let is_known = |key: &str| types::closest(key, COLUMN_KEYS).is_some();
        if !entries.iter().any(|(key, _)| is_known(&key.text)) {
            let diagnostic = Diagnostic::error("not-a-type", format!("column `{}` has no type", name.text))
                .label(name.span.clone(), "")
                .help(format!("write `{}: {{ type: …, comment: … }}`", name.text));
            let part = entries.first().map(|(part, _)| format!("{}_{}", name.text, part.text));
            self.report.push(match part {
                Some(part) => diagnostic.help(format!("the parts of an object are columns of their own: `{part}: …`")),
                None => diagnostic,
            });
            return None;
        }
        let (mut declaration, mut comment) = (None, None);
        for (key, node) in entries {
            match key.text.as_str() {
                "type" => declaration = Some(node),
                "comment" => comment = self.text(node, "the comment").map(|(text, _)| text),
                _ => self.unknown_key(&key, "a column", &COLUMN_KEYS),
            }
        }
        if declaration.is_none() && self.report.found() == known_problems {
            let diagnostic = Diagnostic::error("not-a-type", format!("column `{}` has no type", name.text));
            self.report
                .push(diagnostic.label(name.span.clone(), "").help("add `type: …`"));
        }
        Some((declaration?, comment))
    }
}

/// Finds out whether YAML has ended a type before its author did: at a comma inside of braces, or at what it takes for a comment.
fn cut_short(node: &Node, sources: &Sources) -> Option<&'static str> {
    let Value::Text(text) = &node.value else {
        return None;
    };
    let is_open = text.matches('(').count() > text.matches(')').count() || text.matches('\'').count() % 2 == 1;
    let behind = sources.behind(&node.span);
    if !is_open {
        None
    } else if behind.starts_with(',') {
        Some("between braces, YAML ends a value at a comma: put the whole type between double quotes")
    } else if behind.trim_start_matches([' ', '\t']).starts_with('#') {
        Some("for YAML, a `#` behind a space begins a comment: put the whole type between double quotes")
    } else {
        None
    }
}
