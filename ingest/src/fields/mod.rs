//! Fields: the query of a request, or a urlencoded body, as names and values.
//!
//! Takes text, gives either a flat list that borrows from it (the usual case: no brackets, no name twice) or, for
//! `a[b]=1` and `a=1&a=2`, the text of one JSON object. It never fails: what cannot be decoded stays as it is.
//!
//! Nesting follows the Node library `qs` 6.11, whose results the senders of such events count on; the recorded answers
//! of the real one are in `tests/golden/09_qs_cases.jsonl`. Two differences are on purpose: there is no limit of 1000 fields
//! behind which the rest is lost, and names such as `constructor` are names like all others. The work is near-linear in the
//! length of the text, whatever stands in it, and nothing recurses deeper than [`Nesting::QUERY`] allows.

mod merge;
mod split;
mod tree;

use std::collections::HashSet;

use self::split::{Split, split};
pub(crate) use self::tree::Tree;
use crate::arena::Arena;

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
    Flat(&'a [(&'a str, &'a str)]),
    /// Nested or repeated names.
    Tree(Tree<'a>),
}

impl<'a> Fields<'a> {
    /// Reads the query of a request, without its `?`.
    pub(crate) fn from_query(query: &'a str, arena: &'a Arena) -> Self {
        Self::parse(query, Nesting::QUERY, arena)
    }

    /// Reads a body of type `application/x-www-form-urlencoded`.
    pub(crate) fn from_body(body: &'a str, arena: &'a Arena) -> Self {
        Self::parse(body, Nesting::BODY, arena)
    }

    fn parse(text: &'a str, nesting: Nesting, arena: &'a Arena) -> Self {
        let Split { pairs, may_nest } = split(text, arena);
        let nests = |(name, _): &(&str, &str)| name.bytes().any(|byte| byte == b'[');
        if (may_nest && pairs.iter().any(nests)) || has_repeated_name(pairs) {
            Self::Tree(Tree::grow(pairs, nesting))
        } else {
            Self::Flat(pairs)
        }
    }

    /// Returns the value of a name at the top, where it is one text; `None` where it is an array, an object or absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Flat(pairs) => pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| *value),
            Self::Tree(tree) => tree.top.iter().find(|(n, _)| n == name)?.1.as_deref(),
        }
    }

    /// Hands each name at the top with one text to `take`.
    pub(crate) fn each_text<'f>(&'f self, mut take: impl FnMut(&'f str, &'f str)) {
        match self {
            Self::Flat(pairs) => pairs.iter().for_each(|(name, value)| take(name, value)),
            Self::Tree(tree) => {
                let texts = tree
                    .top
                    .iter()
                    .filter_map(|(name, value)| Some((name, value.as_deref()?)));
                texts.for_each(|(name, value)| take(name, value));
            }
        }
    }

    /// Returns whether there is such a name at the top, whatever its value.
    #[cfg(test)]
    fn contains(&self, name: &str) -> bool {
        self.names().contains(name)
    }

    /// Returns the names at the top, to be asked for often.
    pub(crate) fn names(&self) -> Names<'_> {
        match self {
            Self::Flat(pairs) if pairs.len() <= SCANNED => Names::Few(pairs),
            Self::Flat(pairs) => Names::Many(pairs.iter().map(|(name, _)| *name).collect()),
            Self::Tree(tree) => Names::Many(tree.top.iter().map(|(name, _)| &**name).collect()),
        }
    }
}

/// The names of fields; to ask for each name of a long body among those of a long query takes no longer than to read both.
#[derive(Debug)]
pub(crate) enum Names<'f> {
    Few(&'f [(&'f str, &'f str)]),
    Many(HashSet<&'f str>),
}

impl Names<'_> {
    /// Returns whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Few(pairs) => pairs.is_empty(),
            Self::Many(names) => names.is_empty(),
        }
    }

    /// Returns whether there is such a name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        match self {
            Self::Few(pairs) => pairs.iter().any(|(known, _)| *known == name),
            Self::Many(names) => names.contains(name),
        }
    }
}

fn has_repeated_name(pairs: &[(&str, &str)]) -> bool {
    if pairs.len() <= SCANNED {
        // Only names that share a bit are compared.
        let mut bits = 0_u64;
        return pairs.iter().enumerate().any(|(at, (name, _))| {
            let bit = bit_of(name);
            let is_new = bits & bit == 0;
            bits |= bit;
            !is_new && pairs[..at].iter().any(|(other, _)| other == name)
        });
    }
    let mut seen = HashSet::with_capacity(pairs.len());
    !pairs.iter().all(|(name, _)| seen.insert(*name))
}

/// Returns one bit of 64 for a name, by its length and its ends.
#[inline]
fn bit_of(name: &str) -> u64 {
    let name = name.as_bytes();
    let end = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(*byte));
    1 << ((name.len() * 7 + end(name.first()) + end(name.last()) * 5) % 64)
}

#[cfg(test)]
mod tests;
