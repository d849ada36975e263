//! Reads lists of texts; a single text is a list of one.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    yaml::{Node, Value},
};

impl DeclarationReader<'_> {
    /// Reads a text or a list of texts, each once.
    pub(super) fn texts(&mut self, node: Node, what: &str, code: &'static str) -> Vec<(String, Span)> {
        let items = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        let mut texts: Vec<(String, Span)> = Vec::new();
        for item in items {
            let Some((text, span)) = self.text(item, what) else {
                continue;
            };
            match texts.iter().find(|(known, _)| *known == text) {
                None => texts.push((text, span)),
                Some((_, first)) => {
                    let diagnostic = repeated(code, &text)
                        .label(span, "")
                        .label(first.clone(), "the first one");
                    self.report.push(diagnostic.help("remove one of them"));
                }
            }
        }
        texts
    }
}

fn repeated(code: &'static str, text: &str) -> Diagnostic {
    Diagnostic::error(code, format!("`{text}` is in the list twice"))
}
