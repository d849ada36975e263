//! Parse: YAML into one tree with the place of each piece. Later files are merged over earlier
//! ones.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{
    Spanned,
    options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy},
};

use crate::{
    diagnostic::{Diagnostic, Report},
    source::{Source, Sources, Span},
    syntax,
};

/// The key that [merges in](https://yaml.org/type/merge.html) the entries of another mapping,
/// unless it is quoted.
const MERGE_KEY: &str = "<<";

/// The maximum depth. A schema has seven levels; in a build without optimizations, the parser uses
/// about 50 KB of stack for each.
const MAX_DEPTH: usize = 24;

/// The maximum number of pieces, more than a file of the largest valid schema has. An alias counts
/// as all that it expands to.
const MAX_NODES: usize = 100_000;

/// A piece of YAML.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) span: Span,
}

/// The value of a [`Node`]. Scalars keep the text that they were written with: `yes` is a text
/// here, and so is `010`.
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
    /// Returns the name of the kind for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// Returns the place of the bytes `within` of a scalar's text. Returns the whole scalar if the
    /// file does not have its text verbatim.
    pub(crate) fn span_within(&self, sources: &Sources, within: Range<usize>) -> Span {
        let written = sources.slice(&self.span);
        let text = match &self.value {
            Value::Text(text) => text.as_str(),
            _ => return self.span.clone(),
        };
        // A plain scalar begins at its text, a quoted one at its quote. A folded or escaped scalar
        // is shown whole.
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

/// Parses all files and merges them: mappings deeply, everything else by replacement, later over
/// earlier. Reports a file that is not YAML and continues with the others.
pub(crate) fn parse(sources: &Sources, report: &mut Report) -> (Vec<(Key, Node)>, Removals) {
    // By default the parser stops at the first duplicate, and puts the entries of `<<` last; but
    // the order of the entries is the order of the columns.
    let options = serde_yaml::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        merge_keys: MergeKeyPolicy::AsOrdinary,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        budget: serde_yaml::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES },
    };
    let mut root = Vec::new();
    let mut removals = Removals::default();
    for (file, source) in sources.in_order() {
        if let Some(problem) = syntax::template(file, source) {
            report.push(problem);
            continue;
        }
        match serde_yaml::from_multiple_with_options::<Spanned<Raw>>(&source.text, options.clone()) {
            Ok(documents) => {
                for document in documents {
                    let node = Placer {
                        file,
                        source,
                        report,
                        removals: &mut removals,
                    }
                    .node(document);
                    match node.value {
                        Value::Map(entries) => merge(&mut root, entries, &mut removals),
                        Value::Null => {}
                        other => report.push(
                            Diagnostic::error(
                                "not-a-mapping",
                                format!("a schema file must be a mapping, not {}", other.kind()),
                            )
                            .label(node.span, "")
                            .help("begin with `clickhouse:`"),
                        ),
                    }
                }
            }
            Err(error) => report.push(syntax::syntax_error(&error, file, source)),
        }
    }
    (root, removals)
}

/// The keys whose empty values replace a value of an earlier file, or one that `<<` merges in. Any
/// other empty value removes nothing.
#[derive(Debug, Default)]
pub(crate) struct Removals(HashSet<(usize, usize)>);

impl Removals {
    pub(crate) fn contains(&self, key: &Span) -> bool {
        self.0.contains(&(key.file, key.range.start))
    }

    fn note(&mut self, key: &Key, node: &Node, replaced: &Node) {
        if matches!(node.value, Value::Null) && !matches!(replaced.value, Value::Null) {
            self.0.insert((key.span.file, key.span.range.start));
        }
    }
}

fn merge(base: &mut Vec<(Key, Node)>, over: Vec<(Key, Node)>, removals: &mut Removals) {
    let names = base
        .iter()
        .enumerate()
        .map(|(place, (key, _))| (key.text.clone(), place));
    let places: HashMap<String, usize> = names.collect();
    for (key, node) in over {
        // The keys of one mapping are distinct, so an entry never merges into another of the same
        // mapping.
        match places.get(&key.text).and_then(|place| base.get_mut(*place)) {
            None => base.push((key, node)),
            // A second removal replaces the first.
            Some((existing_key, existing)) if matches!((&existing.value, &node.value), (Value::Null, Value::Null)) => {
                if removals.contains(&existing_key.span) {
                    removals.0.insert((key.span.file, key.span.range.start));
                }
                (*existing_key, *existing) = (key, node);
            }
            Some((existing_key, existing)) => match (&mut existing.value, node.value) {
                (Value::Map(below), Value::Map(above)) => merge(below, above, removals),
                (_, value) => {
                    let node = Node { value, span: node.span };
                    removals.note(&key, &node, existing);
                    *existing = node;
                    *existing_key = key;
                }
            },
        }
    }
}

/// YAML as the parser returns it: typed scalars, whose text [`Placer`] reads from the file.
#[derive(Debug)]
enum Raw {
    Null,
    Text(String),
    /// A boolean or a number; the file has its text.
    Scalar(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

/// Turns the parser's pieces into nodes with places.
struct Placer<'a> {
    file: usize,
    source: &'a Source,
    report: &'a mut Report,
    removals: &'a mut Removals,
}

impl Placer<'_> {
    fn node(&mut self, raw: Spanned<Raw>) -> Node {
        // The value of an alias has the place of its anchor.
        let location = raw.defined.span();
        let start = location.byte_offset().unwrap_or(0) as usize;
        let range = start..start + location.byte_len().unwrap_or(0) as usize;
        let written = self.source.text.get(range.clone()).unwrap_or_default();
        let value = match raw.value {
            Raw::Null => Value::Null,
            Raw::Text(text) => Value::Text(text),
            Raw::Scalar(parsed) => Value::Text(if written.is_empty() { parsed } else { written.to_owned() }),
            Raw::List(items) => Value::List(items.into_iter().map(|item| self.node(item)).collect()),
            Raw::Map(entries) => Value::Map(self.mapping(entries)),
        };
        let range = match &value {
            Value::List(items) => self.collection(range, items.iter().map(|item| &item.span)),
            Value::Map(entries) => {
                self.collection(range, entries.iter().flat_map(|(key, node)| [&key.span, &node.span]))
            }
            _ => range,
        };
        Node {
            value,
            span: Span { file: self.file, range },
        }
    }

    /// Returns the bytes of a list or a mapping in brackets, up to the end of its first line. The
    /// parser returns the place of the bracket only.
    fn collection<'s>(&self, range: Range<usize>, pieces: impl Iterator<Item = &'s Span>) -> Range<usize> {
        let text = &self.source.text;
        let Some(bracket @ (b'[' | b'{')) = text.as_bytes().get(range.start).copied() else {
            return range;
        };
        let line_end = text[range.start..]
            .find('\n')
            .map_or(text.len(), |length| range.start + length);
        let end = pieces
            .map(|piece| piece.range.end)
            .filter(|end| (range.end..=line_end).contains(end))
            .max()
            .unwrap_or(range.start + 1);
        let rest = &text[end..line_end];
        let is_closed = rest.trim_start().starts_with(if bracket == b'[' { ']' } else { '}' });
        let after = if is_closed {
            rest.len() - rest.trim_start().len() + 1
        } else {
            0
        };
        range.start..end + after
    }

    /// Keeps the first of two entries with one key. The entries that `<<` merges in replace the
    /// `<<`, and the mapping's own entries override them.
    fn mapping(&mut self, entries: Vec<(Spanned<Raw>, Spanned<Raw>)>) -> Vec<(Key, Node)> {
        let mut mapping: Vec<(Key, Node)> = Vec::with_capacity(entries.len());
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut merged_keys = HashSet::new();
        for (key, value) in entries {
            let key = self.node(key);
            let written = self.source.text.get(key.span.range.clone()).unwrap_or_default();
            if written == MERGE_KEY {
                for (key, node) in self.merged(value) {
                    if !places.contains_key(&key.text) {
                        places.insert(key.text.clone(), mapping.len());
                        merged_keys.insert(key.text.clone());
                        mapping.push((key, node));
                    }
                }
                continue;
            }
            let text = match key.value {
                Value::Text(text) => text,
                Value::Null => written.to_owned(),
                other => {
                    let message = format!("a name must be a string, not {}", other.kind());
                    let diagnostic = Diagnostic::error("not-a-text", message).label(key.span, "");
                    self.report.push(diagnostic.help("put the name between double quotes"));
                    continue;
                }
            };
            let key = Key { text, span: key.span };
            let node = self.node(value);
            match places.get(&key.text).and_then(|place| mapping.get_mut(*place)) {
                None => {
                    places.insert(key.text.clone(), mapping.len());
                    mapping.push((key, node));
                }
                Some(entry) if merged_keys.remove(&key.text) => {
                    self.removals.note(&key, &node, &entry.1);
                    *entry = (key, node);
                }
                Some((first, _)) => self.report.push(
                    Diagnostic::error("duplicate-key", format!("duplicate key `{}` in a mapping", key.text))
                        .label(key.span, "the second")
                        .label(first.span.clone(), "the first"),
                ),
            }
        }
        mapping
    }

    /// Returns the entries of the mapping that is the value of a `<<`, or of the mappings in a
    /// list, the first of which wins.
    fn merged(&mut self, value: Spanned<Raw>) -> Vec<(Key, Node)> {
        let node = self.node(value);
        let nodes = match node.value {
            Value::List(items) => items,
            value => vec![Node { value, ..node }],
        };
        let mut merged = Vec::new();
        for node in nodes {
            match node.value {
                Value::Map(entries) => merged.extend(entries),
                other => {
                    let message = format!("the value of `{MERGE_KEY}` must be a mapping, not {}", other.kind());
                    self.report
                        .push(Diagnostic::error("not-a-mapping", message).label(node.span, ""));
                }
            }
        }
        merged
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
