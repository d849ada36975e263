//! A match over texts.

use std::collections::BTreeMap;

use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// Returns a match of `value` over texts, first by length: a match over texts alone compares with one after another.
pub(super) fn text_match<'t>(
    value: &TokenStream,
    arms: impl IntoIterator<Item = (&'t str, TokenStream)>,
    otherwise: &TokenStream,
) -> TokenStream {
    let mut lengths: BTreeMap<usize, Vec<TokenStream>> = BTreeMap::new();
    for (text, result) in arms {
        lengths.entry(text.len()).or_default().push(quote!(#text => #result,));
    }
    if lengths.is_empty() {
        return otherwise.clone();
    }
    let lengths = lengths.into_iter().map(|(length, arms)| {
        let length = Literal::usize_unsuffixed(length);
        quote! {
            #length => match #value {
                #(#arms)*
                _ => #otherwise,
            },
        }
    });
    quote! {
        match #value.len() {
            #(#lengths)*
            _ => #otherwise,
        }
    }
}
