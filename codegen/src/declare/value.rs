//! Readers of values: a mapping, a text, a boolean or an expression; each reports a problem if the
//! value is of another kind.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    source::{Sources, Span},
    sql::Sql,
    yaml::{Key, Node, Value},
};

impl DeclarationReader<'_> {
    pub(super) fn unknown_key(&mut self, key: &Key, place: &str, known: &[&'static str]) {
        let diagnostic = Diagnostic::error("unknown-key", format!("unknown key `{}` in {place}", key.text))
            .did_you_mean(&key.text, known.iter().copied())
            .label(key.span.clone(), "")
            .help(match known {
                [only] => format!("the only key is `{only}`"),
                _ => format!("the keys are `{}`", known.join("`, `")),
            });
        self.report.push(diagnostic);
    }

    /// Returns the entries of a mapping; a key without a value is an empty mapping.
    pub(super) fn mapping(&mut self, node: Node, what: &str, example: &str) -> Option<Vec<(Key, Node)>> {
        match node.value {
            Value::Map(entries) => Some(entries),
            Value::Null => Some(Vec::new()),
            other => {
                let diagnostic = Diagnostic::error("not-a-mapping", format!("{what}, not be {}", other.kind()))
                    .label(node.span, "")
                    .help(format!("write `{example}`"));
                self.report.push(diagnostic);
                None
            }
        }
    }

    pub(super) fn text(&mut self, node: Node, what: &str) -> Option<(String, Span)> {
        match node.value {
            Value::Text(text) => Some((text, node.span)),
            other => {
                let diagnostic =
                    Diagnostic::error("not-a-text", format!("{what} must be a string, not {}", other.kind()));
                self.report.push(diagnostic.label(node.span, ""));
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, node: Node, what: &str) -> bool {
        match &node.value {
            Value::Text(text) if text == "true" => true,
            Value::Text(text) if text == "false" => false,
            _ => {
                let found = match &node.value {
                    Value::Text(text) => format!("`{text}`"),
                    other => other.kind().to_owned(),
                };
                let message = format!("{what} must be `true` or `false`, not {found}");
                let mut diagnostic = Diagnostic::error("not-a-boolean", message).label(node.span, "");
                // The booleans of YAML 1.1.
                if let Value::Text(text) = &node.value {
                    match text.to_ascii_lowercase().as_str() {
                        "true" | "yes" | "y" | "on" => diagnostic = diagnostic.help("write `true`"),
                        "false" | "no" | "n" | "off" => diagnostic = diagnostic.help("write `false`"),
                        _ => {}
                    }
                }
                self.report.push(diagnostic);
                false
            }
        }
    }

    /// Reads a text that goes to ClickHouse.
    pub(super) fn sql(&mut self, node: Node, what: &str) -> Option<Sql> {
        if let Value::Text(text) = &node.value {
            return Some(Sql::of_node(&node, 0..text.len(), self.sources));
        }
        self.text(node, what);
        None
    }

    /// Reads an expression, or a list of them that becomes a tuple.
    pub(super) fn expression(&mut self, node: Node, what: &str) -> Option<Sql> {
        match node.value {
            Value::List(items) => {
                let items: Vec<Sql> = items.into_iter().filter_map(|item| self.sql(item, what)).collect();
                Some(Sql::list(&items))
            }
            _ => self.sql(node, what),
        }
    }
}

/// Returns a help text if YAML ended a text too early: at a comma between braces, or at the `#` of
/// a comment.
pub(super) fn truncation_help(node: &Node, sources: &Sources) -> Option<&'static str> {
    let Value::Text(text) = &node.value else {
        return None;
    };
    let is_open = text.matches('(').count() > text.matches(')').count() || text.matches('\'').count() % 2 == 1;
    let after = sources.after(&node.span);
    if !is_open {
        None
    } else if after.starts_with(',') {
        Some("between braces, YAML ends a value at a comma: put the whole value between double quotes")
    } else if after.trim_start_matches([' ', '\t']).starts_with('#') {
        Some("in YAML, a `#` after a space begins a comment: put the whole value between double quotes")
    } else {
        None
    }
}
