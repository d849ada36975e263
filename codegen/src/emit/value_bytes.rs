//! The size of a field's value, for `max_bytes`.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::types::Type;

/// Returns the number of bytes in a field: the length of a text, or the encoded length of any other
/// value.
pub(super) fn bytes(ty: &Type, field: &Ident) -> TokenStream {
    match (ty.is_text(), ty.is_nullable()) {
        (true, false) => quote!(self.#field.len()),
        (true, true) => quote!(self.#field.as_deref().map_or(0, str::len)),
        (false, _) => quote!(__rt::encoded_bytes(&self.#field)),
    }
}
