//! Fields: the query of a request, or a urlencoded body, as names and values.
//!
//! Takes text and returns either a flat list that borrows from it (the usual case: no brackets, no
//! repeated name) or, for `a[b]=1` and `a=1&a=2`, the text of one JSON object. Parsing never fails:
//! text that cannot be decoded stays as it is, and the separators of a link may be escaped as HTML.
//!
//! Nesting follows the Node library `qs` 6.11, since the senders of such events rely on its
//! results; `tests/golden/09_qs_cases.jsonl` records results of the real one. Three differences are
//! intentional: there is no limit of 1000 fields after which the rest is lost, names such as
//! `constructor` are ordinary names, and a percent sequence that cannot be decoded leaves those beside
//! it decoded. The work is near-linear in the length of any text, and nothing
//! recurses deeper than [`Nesting::QUERY`] allows.

mod escaped_separators;
mod merge;
mod readable;
mod split;
mod tree;

use std::collections::HashSet;

pub(crate) use self::tree::Tree;
use self::{
    escaped_separators::without_escaped_separators,
    split::{Split, split},
};
use crate::arena::Arena;

/// How deep brackets nest, and whether they make arrays.
#[derive(Debug, Clone, Copy)]
struct Nesting {
    /// The number of bracket pairs that nest; the rest of the name is one literal key below them.
    depth: usize,
    /// The greatest number in brackets that is an array index and not a key. With `None`, only
    /// repeated names make arrays.
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

/// Up to this many fields, names are compared one by one; for more, a hash table is faster.
const SCANNED: usize = 16;

/// The fields of a query or of a urlencoded body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fields<'a> {
    /// Unique names with text values, in the order of the request.
    Flat(&'a [(&'a str, &'a str)]),
    /// Nested or repeated names.
    Tree(Tree<'a>),
}

impl<'a> Fields<'a> {
    /// Reads the query of a request, without its `?`.
    pub(crate) fn from_query(query: &'a str, arena: &'a Arena) -> Self {
        let Split { pairs, may_nest } = split(query, arena);
        let pairs = without_escaped_separators(query, pairs, arena);
        Self::of(pairs, may_nest, Nesting::QUERY)
    }

    /// Reads a body of type `application/x-www-form-urlencoded`.
    pub(crate) fn from_body(body: &'a str, arena: &'a Arena) -> Self {
        let Split { pairs, may_nest } = split(body, arena);
        Self::of(pairs, may_nest, Nesting::BODY)
    }

    fn of(pairs: &'a [(&'a str, &'a str)], may_nest: bool, nesting: Nesting) -> Self {
        let nests = |(name, _): &(&str, &str)| name.bytes().any(|byte| byte == b'[');
        if (may_nest && pairs.iter().any(nests)) || has_repeated_name(pairs) {
            Self::Tree(Tree::build(pairs, nesting))
        } else {
            Self::Flat(pairs)
        }
    }

    /// Returns the value of a top-level name if it is text; `None` if it is an array, an object or
    /// absent.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Flat(pairs) => pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| *value),
            Self::Tree(tree) => tree.top.iter().find(|(n, _)| n == name)?.1.as_deref(),
        }
    }

    /// Calls `take` with each top-level name that has a text value.
    pub(crate) fn each_text<'f>(&'f self, mut take: impl FnMut(&'f str, &'f str)) {
        match self {
            Self::Flat(pairs) => pairs.iter().for_each(|(name, value)| take(name, value)),
            Self::Tree(tree) => tree.each_text(&mut take),
        }
    }

    /// Returns whether the name exists at the top level, with any value.
    #[cfg(test)]
    fn contains(&self, name: &str) -> bool {
        self.names().contains(name)
    }

    /// Returns the top-level names, for many lookups.
    #[inline]
    pub(crate) fn names(&self) -> Names<'_> {
        match self {
            Self::Flat(pairs) if pairs.len() <= SCANNED => Names::Few(pairs),
            Self::Flat(pairs) => Names::Many(pairs.iter().map(|(name, _)| *name).collect()),
            Self::Tree(tree) => Names::Many(tree.top.iter().map(|(name, _)| &**name).collect()),
        }
    }
}

/// The names of fields. Looking up each name of a long body among those of a long query takes no
/// longer than reading both.
#[derive(Debug)]
pub(crate) enum Names<'f> {
    Few(&'f [(&'f str, &'f str)]),
    Many(HashSet<&'f str>),
}

impl Names<'_> {
    /// Returns whether there are no names.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Few(pairs) => pairs.is_empty(),
            Self::Many(names) => names.is_empty(),
        }
    }

    /// Returns whether the name exists.
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

/// Returns one bit of 64 for a name, chosen by its length and its first and last byte.
#[inline]
fn bit_of(name: &str) -> u64 {
    let name = name.as_bytes();
    let end = |byte: Option<&u8>| byte.map_or(0, |byte| usize::from(*byte));
    1 << ((name.len() * 7 + end(name.first()) + end(name.last()) * 5) % 64)
}

#[cfg(test)]
mod tests;
