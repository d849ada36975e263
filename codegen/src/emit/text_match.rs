//! A match over texts.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// A match with fewer arms than this is a plain one.
pub(super) const MIN_NESTED_ARMS: usize = 10;

/// The most texts of one length that a nested match compares one after another; it distinguishes
/// more by a byte first.
const MAX_GUARDS: usize = 3;

/// Returns a match of `value` over texts. A plain match compares with one text after another, which
/// needs quadratic time for an event of many columns. The match over many texts therefore first
/// compares the length, and then the bytes that distinguish most texts of this length.
pub(super) fn text_match<'t>(
    value: &TokenStream,
    arms: impl IntoIterator<Item = (&'t str, TokenStream)>,
    otherwise: &TokenStream,
) -> TokenStream {
    let arms: Vec<Arm<'t>> = arms.into_iter().map(|(text, result)| Arm { text, result }).collect();
    if arms.is_empty() {
        return otherwise.clone();
    }
    if arms.len() < MIN_NESTED_ARMS {
        return plain(value, arms, otherwise);
    }
    let mut lengths: BTreeMap<usize, Vec<Arm<'t>>> = BTreeMap::new();
    for arm in arms {
        lengths.entry(arm.text.len()).or_default().push(arm);
    }
    let lengths = lengths.into_iter().map(|(length, arms)| {
        let length = Literal::usize_unsuffixed(length);
        nested_arms(value, &length, arms, otherwise)
    });
    quote! {
        match #value.len() {
            #(#lengths)*
            _ => #otherwise,
        }
    }
}

struct Arm<'t> {
    text: &'t str,
    result: TokenStream,
}

fn plain(value: &TokenStream, arms: Vec<Arm<'_>>, otherwise: &TokenStream) -> TokenStream {
    let arms = arms.into_iter().map(|Arm { text, result }| quote!(#text => #result,));
    quote! {
        match #value {
            #(#arms)*
            _ => #otherwise,
        }
    }
}

/// Returns the arms for the texts that have a length, or a byte in one position: each text in a
/// guard if there are few, otherwise a match over another byte.
fn nested_arms(value: &TokenStream, pattern: &Literal, arms: Vec<Arm<'_>>, otherwise: &TokenStream) -> TokenStream {
    let Some(place) = distinguishing_byte(&arms).filter(|_| arms.len() > MAX_GUARDS) else {
        // If no guard holds, the last arm of the enclosing match applies, which is `otherwise`.
        let arms = arms
            .into_iter()
            .map(|Arm { text, result }| quote!(#pattern if #value == #text => #result,));
        return quote!(#(#arms)*);
    };
    let mut bytes: BTreeMap<u8, Vec<Arm<'_>>> = BTreeMap::new();
    for arm in arms {
        bytes.entry(arm.text.as_bytes()[place]).or_default().push(arm);
    }
    let bytes = bytes.into_iter().map(|(byte, arms)| {
        let byte = Literal::byte_character(byte);
        nested_arms(value, &byte, arms, otherwise)
    });
    let place = Literal::usize_unsuffixed(place);
    quote! {
        #pattern => match #value.as_bytes()[#place] {
            #(#bytes)*
            _ => #otherwise,
        },
    }
}

/// Returns the position of the first byte that has the most different values in texts of one
/// length; none if all texts are the same.
fn distinguishing_byte(arms: &[Arm<'_>]) -> Option<usize> {
    let values = |place: usize| {
        let bytes: BTreeSet<_> = arms.iter().map(|arm| arm.text.as_bytes()[place]).collect();
        bytes.len()
    };
    let places = 0..arms.first()?.text.len();
    // `max_by_key` returns the last maximum, so the reversed order yields the first position.
    places
        .rev()
        .max_by_key(|&place| values(place))
        .filter(|&place| values(place) > 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Follows the generated match as Rust would, and returns its result for `text`.
    fn find(found: &syn::Expr, text: &str) -> String {
        let syn::Expr::Match(found) = found else {
            return quote!(#found).to_string();
        };
        let (scrutinee, arms) = (&found.expr, &found.arms);
        let scrutinee = quote!(#scrutinee).to_string();
        let value = match scrutinee.strip_prefix("path . as_bytes () [") {
            Some(place) => {
                let place: usize = place.trim_end_matches(']').trim().parse().unwrap();
                Literal::byte_character(text.as_bytes()[place]).to_string()
            }
            None if scrutinee == "path" => Literal::string(text).to_string(),
            None => text.len().to_string(),
        };
        let matches_text = |arm: &&syn::Arm| {
            let pattern = &arm.pat;
            let pattern = quote!(#pattern).to_string();
            let (pattern, guard) = pattern.split_once(" if path == ").unwrap_or((&pattern, ""));
            let guard_holds = guard.is_empty() || guard == Literal::string(text).to_string();
            [value.as_str(), "_"].contains(&pattern) && guard_holds
        };
        find(&arms.iter().find(matches_text).unwrap().body, text)
    }

    #[test]
    fn few_texts_make_a_plain_match_and_many_a_nested_one() {
        for (count, scrutinee) in [(1, "path"), (9, "path"), (10, "path . len ()")] {
            let texts: Vec<_> = (0..count).map(|number| format!("c{number}")).collect();
            let arms = texts.iter().map(|text| (text.as_str(), quote!(#text)));
            let found: syn::ExprMatch = syn::parse2(text_match(&quote!(path), arms, &quote!(nothing))).unwrap();
            let value = &found.expr;
            assert_eq!(quote!(#value).to_string(), scrutinee, "{count}");
        }
        assert_eq!(text_match(&quote!(path), [], &quote!(nothing)).to_string(), "nothing");
    }

    #[test]
    fn each_text_is_found_and_no_other() {
        let mut texts: Vec<_> = (0..1_000).map(|number| format!("c{number:04}")).collect();
        texts.extend(["имя", "год", "дом", "кот", "лес", "мир", "", "a"].map(str::to_owned));
        let arms = texts.iter().map(|text| (text.as_str(), quote!(#text)));
        let found = syn::parse2(text_match(&quote!(path), arms, &quote!(nothing))).unwrap();
        for text in &texts {
            assert_eq!(find(&found, text), format!("{text:?}"));
        }
        // Texts of the same length that differ from a known one in few places, and other texts.
        for other in ["c1000", "d0001", "c000x", "имы", "кит", "b", "longer than all"] {
            assert_eq!(find(&found, other), "nothing");
        }
    }
}
