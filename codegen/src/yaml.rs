//! Parse: YAML into one tree that knows where each of its pieces stands, later files merged over earlier ones.

use std::{fmt, ops::Range};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use crate::{
    diagnostic::{Diagnostic, Report},
    source::{Source, Sources, Span},
};

/// A piece of YAML.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

/// What a [`Node`] is. Scalars keep the text they were written with: `yes` is a text here, and so is `010`.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// The name of a mapping's entry.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
}

impl Value {
    /// Returns what a person would call it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// Returns where byte `at` of a scalar's text stands in its file, as far as the text was written there letter by letter.
    pub(crate) fn span_within(&self, sources: &Sources, within: Range<usize>) -> Span {
        let written = sources.slice(&self.span);
        let text = match &self.value {
            Value::Text(text) => text.as_str(),
            _ => return self.span.clone(),
        };
        // A plain scalar is its own text, a quoted one stands behind its quote; anything folded or escaped is shown whole.
        let Some(offset) = [0, 1]
            .into_iter()
            .find(|offset| written.get(*offset..).is_some_and(|rest| rest.starts_with(text)))
        else {
            return self.span.clone();
        };
        let start = self.span.range.start + offset;
        Span {
            file: self.span.file,
            range: start + within.start..start + within.end.max(within.start),
        }
    }
}

/// Parses all files and merges them: mappings deeply, everything else by replacement, later over earlier.
/// A file that is not YAML is reported, and the rest is parsed all the same.
pub(crate) fn parse(sources: &Sources, report: &mut Report) -> Vec<(Key, Node)> {
    let mut root = Vec::new();
    for (file, source) in sources.files().iter().enumerate() {
        match serde_yaml::from_multiple::<Spanned<Raw>>(&source.text) {
            Ok(documents) => {
                for document in documents {
                    let node = place(document, file, source);
                    match node.value {
                        Value::Map(entries) => merge(&mut root, entries),
                        Value::Null => {}
                        other => report.push(
                            Diagnostic::error(
                                "not-a-mapping",
                                format!("a schema file is a mapping, this one is {}", other.kind()),
                            )
                            .label(node.span, "")
                            .help("begin with `clickhouse:`"),
                        ),
                    }
                }
            }
            Err(error) => report.push(syntax_error(&error, file, source)),
        }
    }
    root
}

fn merge(base: &mut Vec<(Key, Node)>, over: Vec<(Key, Node)>) {
    for (key, node) in over {
        match base.iter_mut().find(|(existing, _)| existing.text == key.text) {
            None => base.push((key, node)),
            Some((existing_key, existing)) => match (&mut existing.value, node.value) {
                (Value::Map(below), Value::Map(above)) => merge(below, above),
                (_, value) => {
                    *existing = Node { value, span: node.span };
                    *existing_key = key;
                }
            },
        }
    }
}

fn syntax_error(error: &serde_yaml::Error, file: usize, source: &Source) -> Diagnostic {
    let error = error.without_snippet();
    let (code, message) = match error {
        serde_yaml::Error::DuplicateMappingKey { key, .. } => (
            "duplicate-key",
            format!("`{}` stands twice in one mapping", key.as_deref().unwrap_or("this key")),
        ),
        other => ("yaml", plain_words(&other.to_string())),
    };
    let diagnostic = Diagnostic::error(code, message);
    match error.location() {
        Some(location) => {
            let start = offset(&source.text, location.line() as usize, location.column() as usize);
            let length = source.text[start..].chars().next().map_or(0, char::len_utf8);
            let length = location
                .span()
                .byte_len()
                .map_or(length, |length| length as usize)
                .max(length);
            let end = (start + length).min(source.text.len());
            diagnostic.label(
                Span {
                    file,
                    range: start..end,
                },
                "",
            )
        }
        None => diagnostic.label(Span { file, range: 0..0 }, ""),
    }
}

/// Takes the place out of a parser's message, since the report shows it.
fn plain_words(message: &str) -> String {
    let message = message.lines().next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    match message.split_once(": ") {
        Some((place, rest)) if place.starts_with("line ") => rest.to_owned(),
        _ => message.to_owned(),
    }
}

/// Returns the byte offset of a line and a column, both counted from 1, the column in characters.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let rest = &text[start..];
    let within = rest
        .char_indices()
        .nth(column.saturating_sub(1))
        .map_or(rest.len(), |(at, _)| at);
    start + within
}

/// YAML as the parser gives it: typed scalars, whose text is taken from the file afterwards.
#[derive(Debug)]
enum Raw {
    Null,
    Text(String),
    /// A boolean or a number; its text is what stands in the file.
    Scalar(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

fn place(raw: Spanned<Raw>, file: usize, source: &Source) -> Node {
    let location = raw.referenced.span();
    let start = location.byte_offset().unwrap_or(0) as usize;
    let range = start..start + location.byte_len().unwrap_or(0) as usize;
    let written = source.text.get(range.clone()).unwrap_or_default();
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Scalar(parsed) => Value::Text(if written.is_empty() { parsed } else { written.to_owned() }),
        Raw::List(items) => Value::List(items.into_iter().map(|item| place(item, file, source)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key = place(key, file, source);
                    let text = match key.value {
                        Value::Text(text) => text,
                        _ => source.text.get(key.span.range.clone()).unwrap_or_default().to_owned(),
                    };
                    (Key { text, span: key.span }, place(value, file, source))
                })
                .collect(),
        ),
    };
    Node {
        value,
        span: Span { file, range },
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("YAML")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}
