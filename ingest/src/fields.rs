//! Fields: the query of a request, or a urlencoded body, as names and values.
//!
//! Takes text, gives either a flat list that borrows from it (the usual case: no brackets, no name twice) or, for
//! `a[b]=1` and `a=1&a=2`, the text of one JSON object. It never fails: what cannot be decoded stays as it is.
//!
//! Nesting follows the Node library `qs` 6.11, whose results the senders of such events count on; the recorded answers
//! of the real one are in `tests/golden/09_qs_cases.jsonl`. Two differences are on purpose: there is no limit of 1000 fields
//! behind which the rest is lost, and names such as `constructor` are names like all others. The work is near-linear in the
//! length of the text, whatever stands in it, and nothing recurses deeper than [`Nesting::QUERY`] allows.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ops::Range,
};

use memchr::{memchr, memchr_iter, memchr2, memmem};
use serde::{Serialize, Serializer};

/// How deep brackets nest, and whether they make arrays.
#[derive(Debug, Clone, Copy)]
struct Nesting {
    /// Bracket pairs that are followed; the rest of the name is one literal key below them.
    depth: usize,
    /// The greatest number in brackets that is an index of an array and not a key; `None`: there are no arrays but of repeated names.
    array_limit: Option<usize>,
}

impl Nesting {
    const QUERY: Self = Self {
        depth: 5,
        array_limit: Some(20),
    };
    const BODY: Self = Self {
        depth: 2,
        array_limit: None,
    };
}

/// The most fields among which names are compared one by one; a hash table pays off above.
const SCANNED: usize = 16;

/// The fields of a query or of a urlencoded body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fields<'a> {
    /// Each name once, each value a text, in the order of the request.
    Flat(Vec<(Cow<'a, str>, Cow<'a, str>)>),
    /// Nested or repeated names.
    Tree(Tree<'a>),
}

/// Fields that nest or repeat, as a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree<'a> {
    /// The text of one JSON object; its leaves are strings, and `true` where a name was also used as a flag.
    json: String,
    /// The names at the top, with their values where these are texts.
    top: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
}

impl<'a> Fields<'a> {
    /// Reads the query of a request, without its `?`.
    pub(crate) fn from_query(query: &'a str) -> Self {
        Self::parse(query, Nesting::QUERY)
    }

    /// Reads a body of type `application/x-www-form-urlencoded`.
    pub(crate) fn from_body(body: &'a str) -> Self {
        Self::parse(body, Nesting::BODY)
    }

    fn parse(text: &'a str, nesting: Nesting) -> Self {
        let pairs = split(text);
        if pairs.iter().any(|(name, _)| memchr(b'[', name.as_bytes()).is_some()) || has_repeated_name(&pairs) {
            Self::Tree(Tree::grow(pairs, nesting))
        } else {
            Self::Flat(pairs)
        }
    }

    /// Returns the value of a name at the top, where it is one text; `None` where it is an array, an object or absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Flat(pairs) => pairs.iter().find(|(n, _)| n == name).map(|(_, value)| &**value),
            Self::Tree(tree) => tree.top.iter().find(|(n, _)| n == name)?.1.as_deref(),
        }
    }

    /// Returns whether there is such a name at the top, whatever its value.
    #[cfg(test)]
    fn contains(&self, name: &str) -> bool {
        self.names().contains(name)
    }

    /// Returns the names at the top, to be asked for often.
    pub(crate) fn names(&self) -> Names<'_> {
        let names: Vec<&str> = match self {
            Self::Flat(pairs) => pairs.iter().map(|(name, _)| &**name).collect(),
            Self::Tree(tree) => tree.top.iter().map(|(name, _)| &**name).collect(),
        };
        if names.len() > SCANNED {
            Names::Many(names.into_iter().collect())
        } else {
            Names::Few(names)
        }
    }

    /// Returns the same fields with nothing borrowed, for a text that ends before they do.
    pub(crate) fn into_owned(self) -> Fields<'static> {
        fn own(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        match self {
            Self::Flat(pairs) => Fields::Flat(pairs.into_iter().map(|(name, value)| (own(name), own(value))).collect()),
            Self::Tree(Tree { json, top }) => {
                let top = top
                    .into_iter()
                    .map(|(name, value)| (own(name), value.map(own)))
                    .collect();
                Fields::Tree(Tree { json, top })
            }
        }
    }
}

/// The names of fields; to ask for each name of a long body among those of a long query takes no longer than to read both.
#[derive(Debug)]
pub(crate) enum Names<'f> {
    Few(Vec<&'f str>),
    Many(HashSet<&'f str>),
}

impl Names<'_> {
    /// Returns whether there is such a name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Few(names) => names.contains(&name),
            Self::Many(names) => names.contains(name),
        }
    }
}

impl<'a> Tree<'a> {
    /// Returns the text of the JSON object.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    fn grow(pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>, nesting: Nesting) -> Self {
        // First the values of equal names come together, then the names are taken apart: `a[]=1&a[]=2` is one name.
        let mut whole = Object::default();
        for (name, value) in pairs {
            match whole.position(&name) {
                Some(at) => whole.entries[at].1.append(value),
                None => whole.push(name, Value::Text(value)),
            }
        }
        // An object of JavaScript has its numbers first, which decides who merges into whom in `0[x]=1&0=2`.
        whole
            .entries
            .sort_by_key(|(name, _)| array_index(name).unwrap_or(usize::MAX));
        let mut root = Object::default();
        for (name, leaf) in whole.entries {
            root.merge(nest(&name, leaf, nesting));
        }
        // Writing to a string fails only where a `Serialize` says so, and those below never do.
        let json = serde_json::to_string(&root).unwrap_or_default();
        let text = |value| {
            if let Value::Text(text) = value {
                Some(text)
            } else {
                None
            }
        };
        let top = root
            .entries
            .into_iter()
            .map(|(name, value)| (name, text(value)))
            .collect();
        Self { json, top }
    }
}

/// Splits `text` at its `&` and decodes both sides of each `=`; fields without a name are dropped.
fn split(text: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    let mut pairs = Vec::new();
    // A `]=` ends the name even behind another `=`, as in `a=b]=c`; most texts have none.
    let has_brackets = memchr(b']', text.as_bytes()).is_some();
    let mut start = 0;
    for end in memchr_iter(b'&', text.as_bytes()).chain([text.len()]) {
        let part = &text[start..end];
        start = end + 1;
        let bracket = if has_brackets {
            memmem::find(part.as_bytes(), b"]=").map(|at| at + 1)
        } else {
            None
        };
        let (name, value) = match bracket.or_else(|| memchr(b'=', part.as_bytes())) {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, ""),
        };
        if !name.is_empty() {
            pairs.push((decode(name), decode(value)));
        }
    }
    pairs
}

/// Resolves `+` and percent sequences; a text whose sequences are broken, or are not UTF-8, keeps all of them.
fn decode(text: &str) -> Cow<'_, str> {
    let Some(first) = memchr2(b'+', b'%', text.as_bytes()) else {
        return Cow::Borrowed(text);
    };
    match decode_percents(text.as_bytes(), first).and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(decoded) => Cow::Owned(decoded),
        None => Cow::Owned(text.replace('+', " ")),
    }
}

fn decode_percents(text: &[u8], first: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(&text[..first]);
    let mut bytes = text[first..].iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(*bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            _ => byte,
        });
    }
    Some(decoded)
}

fn has_repeated_name(pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> bool {
    if pairs.len() <= SCANNED {
        return pairs
            .iter()
            .enumerate()
            .any(|(at, (name, _))| pairs[..at].iter().any(|(other, _)| other == name));
    }
    let mut seen = HashSet::with_capacity(pairs.len());
    !pairs.iter().all(|(name, _)| seen.insert(&**name))
}

/// A value while the tree grows.
#[derive(Debug, PartialEq, Eq)]
enum Value<'a> {
    Text(Cow<'a, str>),
    /// What `a[b]=1&a=c` makes of `c`: a key without a value.
    Flag,
    /// `None` is a place that an index has skipped; it is closed up at the end.
    Array(Vec<Option<Value<'a>>>),
    Object(Box<Object<'a>>),
}

/// The values of an object under their names, in the order in which these came.
#[derive(Debug, Default, PartialEq, Eq)]
struct Object<'a> {
    entries: Vec<(Cow<'a, str>, Value<'a>)>,
    /// The place of each name, kept only above [`SCANNED`] entries. Its hashes are keyed at random, so that no choice of names makes it slow.
    places: HashMap<Cow<'a, str>, usize>,
}

impl<'a> Object<'a> {
    fn position(&self, name: &str) -> Option<usize> {
        if self.entries.len() <= SCANNED {
            self.entries.iter().position(|(n, _)| n == name)
        } else {
            self.places.get(name).copied()
        }
    }

    /// Adds a name that is not there yet.
    fn push(&mut self, name: Cow<'a, str>, value: Value<'a>) {
        self.entries.push((name, value));
        let indexed = if self.entries.len() <= SCANNED {
            self.entries.len()
        } else {
            self.places.len()
        };
        for (at, (name, _)) in self.entries.iter().enumerate().skip(indexed) {
            self.places.insert(name.clone(), at);
        }
    }

    fn merge_entry(&mut self, name: Cow<'a, str>, value: Value<'a>) {
        match self.position(&name) {
            Some(at) => self.entries[at].1.merge(value),
            None => self.push(name, value),
        }
    }

    fn merge(&mut self, source: Value<'a>) {
        match source {
            Value::Text(flag) => match self.position(&flag) {
                Some(at) => self.entries[at].1 = Value::Flag,
                None => self.push(flag, Value::Flag),
            },
            Value::Array(items) => {
                for (at, item) in items.into_iter().enumerate() {
                    if let Some(item) = item {
                        self.merge_entry(Cow::Owned(at.to_string()), item);
                    }
                }
            }
            Value::Object(source) => {
                for (name, value) in source.entries {
                    self.merge_entry(name, value);
                }
            }
            // Flags come of merging and are never merged themselves.
            Value::Flag => {}
        }
    }
}

impl<'a> Value<'a> {
    /// Adds one more value of the same name.
    fn append(&mut self, value: Cow<'a, str>) {
        match self {
            Self::Array(items) => items.push(Some(Self::Text(value))),
            _ => *self = Self::Array(vec![Some(self.take()), Some(Self::Text(value))]),
        }
    }

    /// Merges `source`, which stands later in the text, into `self`: the rules of `qs`, one arm each.
    fn merge(&mut self, source: Self) {
        match (&mut *self, source) {
            (_, Self::Text(text)) if text.is_empty() => {}
            (Self::Object(object), source) => object.merge(source),
            (Self::Array(items), Self::Text(text)) => items.push(Some(Self::Text(text))),
            (Self::Array(items), Self::Array(more)) => merge_items(items, more),
            (Self::Array(items), source) => {
                let mut object = Object::default();
                object.merge(Self::Array(std::mem::take(items)));
                object.merge(source);
                *self = Self::Object(Box::new(object));
            }
            (_, Self::Array(more)) => {
                *self = Self::Array([Some(self.take())].into_iter().chain(more).collect());
            }
            (_, source) => *self = Self::Array(vec![Some(self.take()), Some(source)]),
        }
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Flag)
    }

    const fn is_nested(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Object(_))
    }
}

fn merge_items<'a>(items: &mut Vec<Option<Value<'a>>>, more: Vec<Option<Value<'a>>>) {
    for (at, item) in more.into_iter().enumerate() {
        let Some(item) = item else { continue };
        match items.get_mut(at) {
            Some(Some(old)) if old.is_nested() && item.is_nested() => old.merge(item),
            Some(Some(_)) => items.push(Some(item)),
            Some(place) => *place = Some(item),
            None => {
                items.resize_with(at, || None);
                items.push(Some(item));
            }
        }
    }
}

/// Puts `leaf` where its name says: `a[b][0]` becomes `{"a":{"b":[leaf]}}`.
fn nest<'a>(name: &Cow<'a, str>, leaf: Value<'a>, nesting: Nesting) -> Value<'a> {
    let first = next_pair(name, 0);
    let parent = 0..first.as_ref().map_or(name.len(), |pair| pair.start);
    let mut pairs = Vec::new();
    let mut next = first;
    while let Some(pair) = next.take_if(|_| pairs.len() < nesting.depth) {
        next = next_pair(name, pair.end);
        pairs.push(pair);
    }
    let mut value = leaf;
    if let Some(rest) = next {
        value = keyed(slice(name, rest.start..name.len()), value);
    }
    for pair in pairs.into_iter().rev() {
        let key = pair.start + 1..pair.end - 1;
        value = match nesting.array_limit {
            None if key.is_empty() => keyed(Cow::Borrowed("0"), value),
            Some(_) if key.is_empty() => match value {
                Value::Array(_) => value,
                _ => Value::Array(vec![Some(value)]),
            },
            Some(limit) if array_index(&name[key.clone()]).is_some_and(|index| index <= limit) => {
                let index = array_index(&name[key]).unwrap_or_default();
                let skipped = std::iter::repeat_with(|| None).take(index);
                Value::Array(skipped.chain([Some(value)]).collect())
            }
            _ => keyed(slice(name, key), value),
        };
    }
    if parent.is_empty() {
        value
    } else {
        keyed(slice(name, parent), value)
    }
}

fn keyed<'a>(name: Cow<'a, str>, value: Value<'a>) -> Value<'a> {
    let entries = vec![(name, value)];
    Value::Object(Box::new(Object {
        entries,
        ..Object::default()
    }))
}

/// Returns the next `[…]`, brackets included, that has no other bracket inside.
fn next_pair(name: &str, from: usize) -> Option<Range<usize>> {
    let bytes = name.as_bytes();
    let mut open = from + memchr(b'[', &bytes[from..])?;
    loop {
        let inside = open + 1;
        let at = inside + memchr2(b'[', b']', &bytes[inside..])?;
        if bytes[at] == b']' {
            return Some(open..at + 1);
        }
        open = at;
    }
}

/// Returns the number that `text` is the plain decimal form of, as an index of an array has it.
fn array_index(text: &str) -> Option<usize> {
    let is_index = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let index: u32 = if is_index { text.parse().ok()? } else { return None };
    (index < u32::MAX).then_some(index as usize)
}

fn slice<'a>(text: &Cow<'a, str>, range: Range<usize>) -> Cow<'a, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[range]),
        Cow::Owned(text) => Cow::Owned(text[range].to_owned()),
    }
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.entries.iter().map(|(name, value)| (name, value)))
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Flag => serializer.serialize_bool(true),
            Self::Array(items) => serializer.collect_seq(items.iter().flatten()),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        fmt::Write,
        time::{Duration, Instant},
    };

    use serde::Deserialize;
    use serde_json::{Map, json};

    use super::*;

    fn value_of(fields: &Fields<'_>) -> serde_json::Value {
        match fields {
            Fields::Flat(pairs) => {
                let object: Map<_, _> = pairs
                    .iter()
                    .map(|(name, value)| (name.to_string(), json!(value)))
                    .collect();
                assert_eq!(object.len(), pairs.len(), "a flat list has each name once");
                object.into()
            }
            Fields::Tree(tree) => serde_json::from_str(tree.json()).unwrap(),
        }
    }

    /// One text, and what the real `qs` makes of it as a query and as a body.
    #[derive(Deserialize)]
    struct Case {
        text: String,
        query: serde_json::Value,
        body: serde_json::Value,
    }

    #[test]
    fn reads_as_the_recorded_qs_does() {
        let cases = include_str!("../../tests/golden/09_qs_cases.jsonl");
        let mut count = 0;
        for line in cases.lines() {
            let case: Case = serde_json::from_str(line).unwrap();
            assert_eq!(
                value_of(&Fields::from_query(&case.text)),
                case.query,
                "query {}",
                case.text
            );
            assert_eq!(
                value_of(&Fields::from_body(&case.text)),
                case.body,
                "body {}",
                case.text
            );
            count += 1;
        }
        assert!(count > 500);
    }

    #[test]
    fn borrows_what_needs_no_decoding() {
        let Fields::Flat(pairs) = Fields::from_query("event=open&email=bob@example.com&k&=x&&l=") else {
            unreachable!("there is neither a bracket nor a repeated name");
        };
        let expected = [("event", "open"), ("email", "bob@example.com"), ("k", ""), ("l", "")];
        assert_eq!(pairs.len(), expected.len());
        for ((name, value), expected) in pairs.iter().zip(expected) {
            assert!(matches!((name, value), (Cow::Borrowed(_), Cow::Borrowed(_))));
            assert_eq!((&**name, &**value), expected);
        }
    }

    #[test]
    fn keeps_what_cannot_be_decoded() {
        let cases = [
            ("a=%", "%"),
            ("a=%4", "%4"),
            ("a=50%+off", "50% off"),
            ("a=%zz%41", "%zz%41"),
            ("a=%ff", "%ff"),
            ("a=%D0%BF+%D0", "%D0%BF %D0"),
            ("a=%ED%A0%80", "%ED%A0%80"),
            ("a=%+1", "% 1"),
            ("a=%00%0d%0A", "\0\r\n"),
            ("a=%d0%bf+\u{43f}", "п п"),
        ];
        for (text, value) in cases {
            assert_eq!(Fields::from_query(text).text("a"), Some(value), "{text}");
        }
    }

    #[test]
    fn takes_names_of_the_object_prototype_as_names() {
        let fields = Fields::from_query("constructor=1&__proto__=2&toString=3");
        assert_eq!(fields.text("constructor"), Some("1"));
        assert_eq!(fields.text("__proto__"), Some("2"));
        let nested = value_of(&Fields::from_query("a[__proto__][b]=1&a[constructor]=2"));
        assert_eq!(nested["a"]["__proto__"], json!({"b": "1"}));
        assert_eq!(nested["a"]["constructor"], "2");
    }

    #[test]
    fn answers_for_the_top_of_a_tree() {
        let fields = Fields::from_query("a=1&uid=5&uid=6&b[c]=2&d%20e=3");
        assert_eq!(fields.text("a"), Some("1"));
        assert_eq!(fields.text("d e"), Some("3"));
        assert_eq!((fields.text("uid"), fields.contains("uid")), (None, true));
        assert_eq!((fields.text("b"), fields.contains("b")), (None, true));
        assert_eq!((fields.text("c"), fields.contains("c")), (None, false));
        assert_eq!(Fields::from_query(""), Fields::Flat(Vec::new()));
        assert_eq!(Fields::from_query("&&=1&="), Fields::Flat(Vec::new()));
        assert_eq!(fields.clone().into_owned(), fields);
    }

    #[test]
    fn writes_json_that_stands_every_character() {
        let text = "a=1&a=%22%5C%0A%00%F0%9F%98%80&%22=x";
        assert_eq!(
            value_of(&Fields::from_query(text)),
            json!({"a": ["1", "\"\\\n\0😀"], "\"": "x"})
        );
    }

    #[test]
    fn takes_more_than_a_thousand_fields() {
        let text: String = (0..10_000).fold(String::new(), |mut text, n| {
            let _ = write!(text, "k{n}={n}&");
            text
        });
        let Fields::Flat(pairs) = Fields::from_query(&text) else {
            unreachable!("no name is repeated");
        };
        assert_eq!(pairs.len(), 10_000);
        assert_eq!(pairs[9_999].1, "9999");
    }

    #[test]
    fn survives_brackets_that_do_not_match() {
        for text in [
            "[",
            "]",
            "a[",
            "a]=1",
            "a[b=1",
            "a[b=]=1",
            "a[[b]=1",
            "a]b[=1",
            "[]",
            "[]=",
            "[[]]=1",
            "a=[]=&[=]",
        ] {
            value_of(&Fields::from_query(text));
            value_of(&Fields::from_body(text));
        }
        let open = "[".repeat(100_000);
        assert_eq!(value_of(&Fields::from_query(&open))[&open], "");
    }

    /// Each text is of some 100 kB to 200 kB; quadratic work on any of them takes far longer than the limit.
    #[test]
    fn does_near_linear_work() {
        let many = |count: usize, field: &dyn Fn(usize) -> String| (0..count).map(field).collect::<String>();
        let texts = [
            "a".to_owned() + &"[a]".repeat(33_000),
            "[".repeat(100_000),
            "[]".repeat(50_000),
            "%5B".repeat(33_000),
            many(10_000, &|n| format!("k{n}=&")),
            many(20_000, &|_| "a=1&".to_owned()),
            many(20_000, &|_| "a[]=1&".to_owned()),
            many(10_000, &|n| format!("a[{n}]=1&")),
            many(10_000, &|n| format!("a[x{n}]=1&")),
            many(10_000, &|n| format!("a[]=1&a[x{n}]=2&")),
            many(10_000, &|n| format!("a=1&a[{}]=2&", n % 21)),
            many(10_000, &|n| format!("a[][k{n}]=1&")),
            many(10_000, &|n| format!("a[0][{}]=1&[a]={n}&", n % 30)),
            many(3_000, &|n| format!("a[b][c][d][e][f][g{n}]=1&")),
            many(10_000, &|n| format!("{n}[]=1&[]={n}&")),
            "&".repeat(100_000),
            "]=".repeat(50_000),
        ];
        let started = Instant::now();
        for text in &texts {
            Fields::from_query(text);
            Fields::from_body(text);
        }
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}
