//! The collector's values that a column can ask for: `from: $id`, `from: $header.X-GitHub-Event`.

use crate::{collector_value::CollectorValue, diagnostic::Diagnostic, types, yaml::Key};

/// The collector's values that have one name each, in the order of the documentation.
const VALUES: [(&str, CollectorValue); 12] = [
    ("id", CollectorValue::Id),
    ("received_at", CollectorValue::ReceivedAt),
    ("ip", CollectorValue::Ip),
    ("user_agent", CollectorValue::UserAgent),
    ("referer", CollectorValue::Referer),
    ("fingerprint", CollectorValue::Fingerprint),
    ("service", CollectorValue::Service),
    ("name", CollectorValue::Name),
    ("channel", CollectorValue::Channel),
    ("uid", CollectorValue::Uid),
    ("project", CollectorValue::ProjectId),
    ("automated", CollectorValue::Automated),
];

/// The collector's values that have a name after a dot.
const GROUPS: [(&str, CollectorValue); 2] = [("header", CollectorValue::Header), ("query", CollectorValue::Query)];

/// The headers that carry a secret of the client.
const SECRET_HEADERS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// The collector's value that a column asks for.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) value: CollectorValue,
    /// The name of the header, in lower case, or of the field of the query; empty for other values.
    pub(crate) name: String,
    /// The text as the schema has it.
    pub(crate) key: Key,
}

impl Source {
    /// Returns the names of all values, those with a name of their own first. The JSON Schema
    /// offers them.
    pub(crate) fn names() -> impl Iterator<Item = String> {
        VALUES.iter().map(|(name, _)| format!("${name}"))
    }

    /// Returns the text that asks for the value of a column of `base`.
    pub(crate) fn of_name(column: &str) -> Option<String> {
        let value = match CollectorValue::of_name(column)? {
            CollectorValue::Date | CollectorValue::DateTime | CollectorValue::Timestamp => CollectorValue::ReceivedAt,
            value => value,
        };
        VALUES
            .iter()
            .find(|(_, known)| *known == value)
            .map(|(name, _)| format!("${name}"))
    }

    /// Reads a text that begins with one `$`.
    pub(super) fn parse(key: Key) -> Result<Self, Diagnostic> {
        let text = key.text.strip_prefix('$').unwrap_or(&key.text);
        if let Some((_, value)) = VALUES.iter().find(|(name, _)| *name == text) {
            let name = String::new();
            return Ok(Self {
                value: *value,
                name,
                key,
            });
        }
        let (group, name) = text.split_once('.').unwrap_or((text, ""));
        match GROUPS.iter().find(|(known, _)| *known == group) {
            Some((_, value)) => match name_problem(*value, name) {
                None => {
                    let name = match value {
                        CollectorValue::Header => name.to_ascii_lowercase(),
                        _ => name.to_owned(),
                    };
                    Ok(Self {
                        value: *value,
                        name,
                        key,
                    })
                }
                Some((problem, help)) => {
                    let diagnostic = Diagnostic::error("bad-source", format!("invalid value `{}`", key.text));
                    Err(diagnostic.label(key.span, problem).help(help))
                }
            },
            None => Err(unknown(&key, group, name)),
        }
    }
}

/// Returns the problem of the name of a header or a field, and a help text.
fn name_problem(value: CollectorValue, name: &str) -> Option<(&'static str, &'static str)> {
    if value == CollectorValue::Query {
        return name.is_empty().then_some((
            "the name of a field is missing",
            "write, for example, `$query.utm_source`",
        ));
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() {
        Some((
            "the name of a header is missing",
            "write, for example, `$header.X-GitHub-Event`",
        ))
    } else if !name.bytes().all(is_token) {
        Some((
            "a header's name has letters, digits and `-`",
            "write, for example, `$header.X-GitHub-Event`",
        ))
    } else if SECRET_HEADERS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
        Some((
            "this header carries a secret of the client, and each reader of the table would see it",
            "let the service in front of the collector check the secret, and send what it found in another header",
        ))
    } else {
        None
    }
}

fn unknown(key: &Key, group: &str, name: &str) -> Diagnostic {
    let groups = GROUPS.iter().map(|(group, _)| *group);
    let nearest = if name.is_empty() {
        let values = VALUES.iter().map(|(value, _)| *value);
        types::closest(group, values.chain(groups)).map(|nearest| {
            match GROUPS.iter().any(|(known, _)| *known == nearest) {
                true => format!("${nearest}.…"),
                false => format!("${nearest}"),
            }
        })
    } else {
        types::closest(group, groups).map(|group| format!("${group}.{name}"))
    };
    let known: Vec<_> = Source::names().map(|name| format!("`{name}`")).collect();
    let diagnostic = Diagnostic::error("bad-source", format!("the collector has no value `{}`", key.text))
        .label(key.span.clone(), "");
    let diagnostic = match nearest {
        Some(nearest) => diagnostic.help(format!("did you mean `{nearest}`?")),
        None => diagnostic.help(format!(
            "the values are {}, `$header.…` and `$query.…`",
            known.join(", ")
        )),
    };
    diagnostic.help(format!("for the event's own key `{0}`, write `${0}`", key.text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::source::Span;

    fn parse(text: &str) -> Result<Source, Diagnostic> {
        Source::parse(Key {
            text: text.to_owned(),
            span: Span { file: 0, range: 0..0 },
        })
    }

    #[test]
    fn each_value_has_a_name_and_a_header_is_found_in_any_case() {
        for name in Source::names() {
            assert!(parse(&name).unwrap().name.is_empty(), "{name}");
        }
        let header = parse("$header.X-GitHub-Event").unwrap();
        assert_eq!(
            (header.value, &*header.name),
            (CollectorValue::Header, "x-github-event")
        );
        let field = parse("$query.Utm.Source").unwrap();
        assert_eq!((field.value, &*field.name), (CollectorValue::Query, "Utm.Source"));
    }

    #[test]
    fn other_names_are_errors() {
        for text in [
            "$",
            "$idd",
            "$ID",
            "$id.x",
            "$header",
            "$header.",
            "$header.a b",
            "$header.ä",
            "$header.COOKIE",
            "$header.Authorization",
            "$header.proxy-authorization",
            "$query",
            "$query.",
            "$headers.x",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
