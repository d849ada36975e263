//! Where secrets are: in environment variables and files, never in the schema itself.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    yaml::{Key, Node, Value},
};

/// The place of one or several secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// An environment variable.
    Env(String),
    /// A file.
    File(String),
}

/// The starts of texts that are secrets and no names of variables: of Standard Webhooks, Stripe
/// and Slack.
const SECRET_PREFIXES: [&str; 4] = ["whsec_", "whpk_", "sk_live_", "xox"];

impl DeclarationReader<'_> {
    /// Reads `secret_env` or `secret_file`: a name, or a list of names.
    pub(super) fn secret_sources(&mut self, node: Node, key: &Key) -> Vec<SecretSource> {
        let what = match key.text.as_str() {
            "secret_env" => "the name of an environment variable",
            _ => "the path of a file",
        };
        let items = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        let mut sources = Vec::new();
        for item in items {
            let Some((text, span)) = self.text(item, what) else {
                continue;
            };
            if key.text == "secret_file" {
                sources.push(SecretSource::File(text));
            } else if is_variable(&text) {
                sources.push(SecretSource::Env(text));
            } else {
                let message = format!("`{}` must be {what}", key.text);
                let diagnostic = Diagnostic::error("bad-secret", message).label(span, "");
                self.report
                    .push(diagnostic.help(
                        "write a name such as `BILLING_SECRET`, and set the variable where the collector starts",
                    ));
            }
        }
        sources
    }

    /// Reports a secret in the schema.
    pub(super) fn secret_in_schema(&mut self, key: &Key) {
        let diagnostic = Diagnostic::error("bad-secret", "a schema cannot contain a secret")
            .label(key.span.clone(), "")
            .help("write `secret_env: NAME` or `secret_file: PATH` instead")
            .help("get a new secret from the sender: this one has been in a file that others read");
        self.report.push(diagnostic);
    }

    /// Reports that there is no source of a secret.
    pub(super) fn missing_secret(&mut self, place: Span, what: &str) {
        let diagnostic = Diagnostic::error("bad-secret", format!("{what} needs a secret"))
            .label(place, "")
            .help("add `secret_env: NAME` (an environment variable) or `secret_file: PATH`");
        self.report.push(diagnostic);
    }
}

/// Returns whether a text is the name of a variable, and not a secret.
pub(super) fn is_variable(text: &str) -> bool {
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && !SECRET_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}
