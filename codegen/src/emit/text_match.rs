//! A match over texts.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// The most texts that are compared one after another; more are first distinguished by a byte.
const FEW: usize = 3;

/// Returns a match of `value` over texts, first by length and then by the bytes that distinguish
/// most of them. A plain match compares with one text after another, which for a table of many
/// columns takes quadratic time.
pub(super) fn text_match<'t>(
    value: &TokenStream,
    arms: impl IntoIterator<Item = (&'t str, TokenStream)>,
    otherwise: &TokenStream,
) -> TokenStream {
    let mut lengths: BTreeMap<usize, Vec<Arm<'t>>> = BTreeMap::new();
    for (text, result) in arms {
        lengths.entry(text.len()).or_default().push(Arm { text, result });
    }
    if lengths.is_empty() {
        return otherwise.clone();
    }
    let lengths = lengths.into_iter().map(|(length, arms)| {
        let length = Literal::usize_unsuffixed(length);
        let inner = of_one_length(value, arms, otherwise);
        quote!(#length => #inner,)
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

fn of_one_length(value: &TokenStream, arms: Vec<Arm<'_>>, otherwise: &TokenStream) -> TokenStream {
    let Some(place) = telling_byte(&arms).filter(|_| arms.len() > FEW) else {
        let arms = arms.into_iter().map(|Arm { text, result }| quote!(#text => #result,));
        return quote! {
            match #value {
                #(#arms)*
                _ => #otherwise,
            }
        };
    };
    let mut bytes: BTreeMap<u8, Vec<Arm<'_>>> = BTreeMap::new();
    for arm in arms {
        bytes.entry(arm.text.as_bytes()[place]).or_default().push(arm);
    }
    let bytes = bytes.into_iter().map(|(byte, arms)| {
        let byte = Literal::byte_character(byte);
        let inner = of_one_length(value, arms, otherwise);
        quote!(#byte => #inner,)
    });
    let place = Literal::usize_unsuffixed(place);
    quote! {
        match #value.as_bytes()[#place] {
            #(#bytes)*
            _ => #otherwise,
        }
    }
}

/// Returns the position of the first byte that has the most different values in texts of one
/// length; none if all texts are the same.
fn telling_byte(arms: &[Arm<'_>]) -> Option<usize> {
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
        let is_it = |arm: &&syn::Arm| {
            let pattern = &arm.pat;
            [value.as_str(), "_"].contains(&quote!(#pattern).to_string().as_str())
        };
        find(&arms.iter().find(is_it).unwrap().body, text)
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
