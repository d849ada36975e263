//! The option `idempotency` of a route: the place of the key with which a repeat is recognized.

use super::{DeclarationReader, event_keys::period};
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    yaml::{Key, Node, Value},
};

/// The idempotency keys of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idempotency {
    pub(crate) key: IdempotencyKey,
    /// The time for which a key is known, in seconds.
    pub(crate) window_s: u32,
    /// Whether a request without a key is rejected.
    pub(crate) required: bool,
}

/// The place of an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IdempotencyKey {
    /// The header with this name in lower case.
    Header(String),
    /// The column with this name.
    Column(String, Span),
}

/// The window of a route that sets none: three days. Senders of webhooks retry for one to three.
const DEFAULT_WINDOW_S: u32 = 3 * 86_400;

/// The longest window: a year.
const MAX_WINDOW_S: u32 = 366 * 86_400;

/// The keys of the long form.
pub(crate) const IDEMPOTENCY_KEYS: [&str; 4] = ["column", "header", "required", "window"];

impl DeclarationReader<'_> {
    /// Reads `idempotency: HEADER` or `idempotency: { header: …, window: … }`.
    pub(super) fn idempotency(&mut self, node: Node) -> Option<Idempotency> {
        let span = node.span.clone();
        let entries = match node.value {
            Value::Text(text) => {
                let header = self.key_header(&text, &span)?;
                return Some(Idempotency {
                    key: IdempotencyKey::Header(header),
                    window_s: DEFAULT_WINDOW_S,
                    required: false,
                });
            }
            Value::Map(entries) => entries,
            ref other => {
                self.bad_idempotency(
                    &format!(
                        "`idempotency` must be a header's name or a mapping, not {}",
                        other.kind()
                    ),
                    &span,
                );
                return None;
            }
        };
        let known_problems = self.report.found();
        let (mut header, mut column, mut window_s) = (None, None, DEFAULT_WINDOW_S);
        let mut required: Option<Span> = None;
        for (key, node) in entries {
            match key.text.as_str() {
                "header" => {
                    let text = self.text(node, "the header");
                    header = text.and_then(|(text, span)| self.key_header(&text, &span));
                }
                "column" => column = self.text(node, "the column"),
                "window" => window_s = self.window(node, &key)?,
                "required" => required = self.boolean(node, "`required`").then(|| key.span.clone()),
                _ => self.unknown_key(&key, "`idempotency`", &IDEMPOTENCY_KEYS),
            }
        }
        if self.report.found() > known_problems {
            return None;
        }
        let key = match (header, column) {
            (Some(header), None) => IdempotencyKey::Header(header),
            (None, Some((column, span))) => {
                if let Some(required) = required {
                    let message = "`required` is about a header";
                    let diagnostic = Diagnostic::error("bad-idempotency", message).label(required, "");
                    let help = format!("add `required: true` to the column `{column}`");
                    self.report.push(diagnostic.help(help));
                    return None;
                }
                IdempotencyKey::Column(column, span)
            }
            (Some(_), Some(_)) => {
                self.bad_idempotency("`idempotency` has both a header and a column", &span);
                return None;
            }
            (None, None) => {
                self.bad_idempotency("`idempotency` names no header and no column", &span);
                return None;
            }
        };
        Some(Idempotency {
            key,
            window_s,
            required: required.is_some(),
        })
    }

    fn bad_idempotency(&mut self, message: &str, span: &Span) {
        let diagnostic = Diagnostic::error("bad-idempotency", message).label(span.clone(), "");
        let help =
            "write `idempotency: { header: Idempotency-Key }`, or `{ column: message_id }` for a key in each event";
        self.report.push(diagnostic.help(help));
    }

    /// Returns the name of a header with a key, in lower case.
    fn key_header(&mut self, text: &str, span: &Span) -> Option<String> {
        let help = "write, for example, `Idempotency-Key` or `webhook-id`";
        self.header_name(text, span, "bad-idempotency", help)
    }

    fn window(&mut self, node: Node, key: &Key) -> Option<u32> {
        let (text, span) = self.text(node, &format!("`{}`", key.text))?;
        let seconds = short_period(&text).or_else(|| period(&text));
        let seconds = seconds.filter(|seconds| *seconds <= MAX_WINDOW_S);
        if seconds.is_none() {
            let diagnostic = Diagnostic::error("bad-idempotency", format!("invalid window `{text}`"));
            let help = "write a time of up to a year: `3d`, `12h`, `30m`, `90s`, or `3 days`";
            self.report.push(diagnostic.label(span, "").help(help));
        }
        seconds
    }
}

/// Returns the seconds of a period such as `3d`.
fn short_period(text: &str) -> Option<u32> {
    let text = text.trim();
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number: u32 = text[..text.len() - 1].trim_end().parse().ok()?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0)
}
