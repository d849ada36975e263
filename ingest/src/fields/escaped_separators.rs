//! Separators that HTML escapes: mail programs and page builders write the `&` of a link as `&amp;`,
//! and some send the link without reading it back.

use bumpalo::collections::Vec;

use crate::arena::Arena;

/// The rests of escaped separators: the field before each of them has ended at its `&`.
const RESTS: [&str; 4] = ["amp;", "#38;", "#038;", "#x26;"];

/// Returns fields whose names are without the rests of escaped separators: `a=1&amp;b=2` and
/// `a=1&amp%3Bb=2` are `a=1&b=2`.
///
/// The fields are those of the query `text`. No encoder of queries leaves a `;` in a name after a
/// literal `&amp`, so no real name is lost.
#[inline]
pub(super) fn without_escaped_separators<'a>(
    text: &str,
    fields: &'a [(&'a str, &'a str)],
    arena: &'a Arena,
) -> &'a [(&'a str, &'a str)] {
    let may_be_escaped = |(name, _): &(&str, &str)| {
        matches!(
            name.as_bytes(),
            [b'a', b'm', b'p', b';', ..] | [b'A', b'M', b'P', b';', ..] | [b'#', ..]
        )
    };
    if fields.iter().any(may_be_escaped) {
        strip(text, fields, arena)
    } else {
        fields
    }
}

#[cold]
#[inline(never)]
fn strip<'a>(text: &str, fields: &'a [(&'a str, &'a str)], arena: &'a Arena) -> &'a [(&'a str, &'a str)] {
    // No separator precedes the first field, so its name is literal.
    let literal = usize::from(!text.starts_with('&'));
    let stripped = fields
        .iter()
        .enumerate()
        .map(|(at, &(name, value))| (if at < literal { name } else { without_rests(name) }, value));
    Vec::from_iter_in(stripped, arena).into_bump_slice()
}

/// Returns a name without the rests of a separator that was escaped once or several times, if a
/// plausible name remains.
fn without_rests(name: &str) -> &str {
    let mut remaining = name;
    while let Some(next) = RESTS.iter().find_map(|rest| strip_rest(remaining, rest)) {
        remaining = next;
    }
    if is_plausible(remaining) { remaining } else { name }
}

fn strip_rest<'a>(name: &'a str, rest: &str) -> Option<&'a str> {
    let (start, end) = name.split_at_checked(rest.len())?;
    start.eq_ignore_ascii_case(rest).then_some(end)
}

/// Returns whether a text looks like the name of a field and not like part of a sentence.
fn is_plausible(name: &str) -> bool {
    let is_first = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '[');
    name.starts_with(is_first) && !name.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;
    use crate::fields::Fields;

    /// Returns the names of a query's fields, separated by spaces.
    fn names(query: &str) -> String {
        let arena = Arena::new();
        let Fields::Flat(pairs) = Fields::from_query(query, &arena) else {
            panic!("{query} has a name twice");
        };
        let names: std::vec::Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        names.join(" ")
    }

    #[test]
    fn an_escaped_separator_separates_in_every_spelling() {
        for separator in [
            "&",
            "&amp;",
            "&amp%3B",
            "&amp%3b",
            "&%61mp;",
            "&AMP;",
            "&amp;amp;",
            "&#38;",
            "&%2338;",
            "&%2338%3B",
            "&#038;",
            "&#x26;",
            "&#X26;",
        ] {
            let query = ["event=click", "email=a@b.example", "to=https://x.example/"].join(separator);
            assert_eq!(names(&query), "event email to", "{query}");
            let arena = Arena::new();
            let fields = Fields::from_query(&query, &arena);
            assert_eq!(fields.text("to"), Some("https://x.example/"), "{query}");
        }
    }

    #[test]
    fn a_text_that_is_no_separator_stays() {
        for (query, expected) in [
            // No separator precedes the first field.
            ("amp;a=1", "amp;a"),
            ("&amp;a=1", "a"),
            // No plausible name follows.
            ("q=fish&amp;+chips=1", "q amp; chips"),
            ("a=1&amp;", "a amp;"),
            ("a=1&amp;=2", "a amp;"),
            ("a=1&amp;;=2", "a amp;;"),
            // Other names.
            ("a=1&amp=2", "a amp"),
            ("a=1&ampere;b=2", "a ampere;b"),
            ("a=1&%2339;b=2", "a #39;b"),
            ("a=1&%23=2", "a #"),
            ("a=1&am", "a am"),
        ] {
            assert_eq!(names(query), expected, "{query}");
        }
    }

    #[test]
    fn a_value_with_an_escaped_separator_of_its_own_is_unchanged() {
        let arena = Arena::new();
        let query = "a=1&amp;to=https%3A%2F%2Fx.example%2F%3Fb%3D1%26amp%3Bc%3D2&d=%26amp%3B";
        let fields = Fields::from_query(query, &arena);
        assert_eq!(fields.text("to"), Some("https://x.example/?b=1&amp;c=2"));
        assert_eq!(fields.text("d"), Some("&amp;"));
    }

    #[test]
    fn a_separator_may_precede_a_name_that_nests_or_repeats() {
        let arena = Arena::new();
        let Fields::Tree(tree) = Fields::from_query("a=1&amp;b[c]=2&amp;a=3", &arena) else {
            panic!("a name has brackets");
        };
        assert_eq!(tree.json(), r#"{"a":["1","3"],"b":{"c":"2"}}"#);
        // A form is written by an encoder, which HTML does not touch.
        assert_eq!(Fields::from_body("a=1&amp;b=2", &arena).text("amp;b"), Some("2"));
    }
}
