//! The option `idempotency` of a route, as a field of the runtime's options.

use proc_macro2::TokenStream;
use quote::quote;

use crate::declare::{Idempotency, IdempotencyKey};

/// Returns the field of the route with this path; `None` if the route has no keys.
pub(super) fn idempotency(path: &str, idempotency: Option<&Idempotency>) -> Option<TokenStream> {
    let Idempotency {
        key,
        window_s,
        required,
    } = idempotency?;
    let key = match key {
        IdempotencyKey::Header(name) => quote!(__rt::KeySource::Header(#name)),
        IdempotencyKey::Column(name, _) => quote!(__rt::KeySource::Column(#name)),
    };
    Some(quote! {
        idempotency: Some(__rt::Idempotency { scope: #path, key: #key, window_s: #window_s, required: #required })
    })
}
