//! The option `redirect` of a route: the hosts that its links lead to.

use super::{DeclarationReader, secret::SecretSource};
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    types,
    yaml::{Key, Node, Value},
};

/// The hosts that the links of a route lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Redirect {
    Open,
    SameSite,
    /// Hosts, and hosts below others: `*.example.com`.
    Hosts(Vec<String>),
    /// Any host, with a signature by one of these keys.
    Signed(Vec<SecretSource>),
}

/// The values without keys of their own.
pub(crate) const REDIRECTS: [&str; 2] = ["open", "same-site"];

/// The keys of the long form.
pub(crate) const REDIRECT_KEYS: [&str; 2] = ["hosts", "signed"];

/// The long form of each key.
const EXAMPLES: [&str; 2] = [
    "redirect: { hosts: [example.com, \"*.example.com\"] }",
    "redirect: { signed: { secret_env: LINK_KEY } }",
];

impl DeclarationReader<'_> {
    /// Reads `redirect` of a route.
    pub(super) fn redirect(&mut self, node: Node, key: &Key) -> Option<Redirect> {
        let known_problems = self.report.found();
        let place = node.span.clone().or(&key.span);
        let entries = match node.value {
            Value::Text(text) => return self.redirect_word(&text, place),
            Value::Map(entries) => entries,
            other => {
                let message = format!("`redirect` must say where links lead, not be {}", other.kind());
                self.bad_redirect(message, place, &all_forms());
                return None;
            }
        };
        let (mut redirect, mut names) = (None, Vec::new());
        for (key, node) in entries {
            match key.text.as_str() {
                "hosts" => redirect = self.redirect_hosts(node).map(Redirect::Hosts),
                "signed" => redirect = self.link_keys(node, &key).map(Redirect::Signed),
                _ => {
                    self.unknown_key(&key, "`redirect`", &REDIRECT_KEYS);
                    continue;
                }
            }
            names.push(key);
        }
        match &names[..] {
            _ if self.report.found() > known_problems => None,
            [_] => redirect,
            [] => {
                self.bad_redirect("`redirect` is empty".to_owned(), place, &all_forms());
                None
            }
            [_, second, ..] => {
                let message = "`redirect` can have only one of `hosts` and `signed`".to_owned();
                self.bad_redirect(message, second.span.clone(), "a signed link leads to any host");
                None
            }
        }
    }

    fn redirect_word(&mut self, text: &str, place: Span) -> Option<Redirect> {
        match text {
            "open" => return Some(Redirect::Open),
            "same-site" => return Some(Redirect::SameSite),
            _ => {}
        }
        let help = match REDIRECT_KEYS.iter().position(|key| *key == text) {
            Some(at) => format!("write `{}`", EXAMPLES[at]),
            None => match types::closest(text, REDIRECTS) {
                Some(word) => format!("did you mean `{word}`?"),
                None => all_forms(),
            },
        };
        self.bad_redirect(format!("links cannot lead to `{text}`"), place, &help);
        None
    }

    fn redirect_hosts(&mut self, node: Node) -> Option<Vec<String>> {
        let items = match node.value {
            Value::List(items) => items,
            _ => vec![node],
        };
        let mut hosts = Vec::new();
        for item in items {
            let (text, span) = self.text(item, "a host")?;
            let host = text.to_ascii_lowercase();
            if let Some(help) = host_problem(&host) {
                self.bad_redirect(format!("`{text}` is not a host"), span, help);
                return None;
            }
            hosts.push(host);
        }
        Some(hosts)
    }

    fn link_keys(&mut self, node: Node, key: &Key) -> Option<Vec<SecretSource>> {
        let known_problems = self.report.found();
        let place = node.span.clone().or(&key.span);
        let entries = self.mapping(node, "`signed` must contain the place of a secret", EXAMPLES[1])?;
        let mut sources = Vec::new();
        for (key, node) in entries {
            match key.text.as_str() {
                "secret_env" | "secret_file" => sources.extend(self.secret_sources(node, &key)),
                "secret" | "secrets" => self.secret_in_schema(&key),
                _ => self.unknown_key(&key, "`signed`", &["secret_env", "secret_file"]),
            }
        }
        if self.report.found() > known_problems {
            return None;
        }
        if sources.is_empty() {
            self.missing_secret(place, "`signed`");
            return None;
        }
        Some(sources)
    }

    fn bad_redirect(&mut self, message: String, place: Span, help: &str) {
        let diagnostic = Diagnostic::error("bad-redirect", message).label(place, "");
        self.report.push(diagnostic.help(help));
    }
}

fn all_forms() -> String {
    format!(
        "write `redirect: open`, `redirect: same-site`, `{}` or `{}`",
        EXAMPLES[0], EXAMPLES[1]
    )
}

/// Returns how to write a host; `None` if the text is one.
fn host_problem(host: &str) -> Option<&'static str> {
    if host.contains("://") || host.contains('/') {
        return Some("write the host alone, without `https://` and without a path");
    }
    if !host.is_ascii() {
        return Some("write an international host in its ASCII form, `xn--…`");
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    if address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()) && name == host {
        return None;
    }
    if name.contains('*') {
        return Some("only the first label can be `*`, which stands for all hosts below the rest");
    }
    if name.contains(':') {
        return Some("leave out the port: links may lead to each port of the host");
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    (!name.split('.').all(is_label)).then_some("write, for example, `example.com`, `\"*.example.com\"` or `10.0.0.5`")
}
