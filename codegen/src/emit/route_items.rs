//! The option `items` of a route.

use proc_macro2::TokenStream;
use quote::quote;

use crate::declare::Items;

/// Returns the field of the runtime's options of a route.
pub(super) fn field(items: &Items) -> TokenStream {
    let Items { keys, shared } = items;
    quote!(items: Some(__rt::ItemPath { keys: &[#(#keys),*], shared: &[#(#shared),*] }))
}
