//! Builds one JSON object from names that nest or repeat.

use std::{borrow::Cow, ops::Range};

use memchr::{memchr, memchr2};

use super::{
    Nesting,
    merge::{Object, Value, keyed},
};

/// Fields that nest or repeat, as a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tree<'a> {
    /// The text of one JSON object. Its leaves are strings, or `true` for a name that is also a
    /// flag.
    pub(super) json: String,
    /// The top-level names, each with its value if that is text.
    pub(super) top: Vec<(Cow<'a, str>, Option<Cow<'a, str>>)>,
}

impl<'a> Tree<'a> {
    /// Returns the text of the JSON object.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    // The compiler inlines the visitor of flat fields, which are most, if this is another function.
    #[cold]
    pub(super) fn each_text<'f>(&'f self, take: &mut dyn FnMut(&'f str, &'f str)) {
        for (name, value) in &self.top {
            if let Some(value) = value {
                take(name, value);
            }
        }
    }

    pub(super) fn build(pairs: &[(&'a str, &'a str)], nesting: Nesting) -> Self {
        // First collect the values of equal names, then parse the names: `a[]=1&a[]=2` has one
        // name.
        let mut by_name = Object::default();
        for (name, value) in pairs {
            let value = Cow::Borrowed(*value);
            match by_name.position(name) {
                Some(at) => by_name.entries[at].1.append(value),
                None => by_name.push(Cow::Borrowed(*name), Value::Text(value)),
            }
        }
        // A JavaScript object has its integer keys first, which decides the merge order of
        // `0[x]=1&0=2`.
        by_name
            .entries
            .sort_by_key(|(name, _)| array_index(name).unwrap_or(usize::MAX));
        let mut root = Object::default();
        for (name, leaf) in by_name.entries {
            root.merge(nest(&name, leaf, nesting));
        }
        // Writing to a string fails only if a `Serialize` fails, and those of the tree never do.
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

/// Puts `leaf` at the path in its name: `a[b][0]` becomes `{"a":{"b":[leaf]}}`.
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

/// Returns the range of the next `[…]`, brackets included, that contains no other bracket.
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

/// Returns the array index that `text` is in plain decimal form.
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
