//! The option `stream` of a route, as a field of the runtime's options.

use proc_macro2::TokenStream;
use quote::quote;

use crate::declare::RouteOptions;

/// Returns the field of a route whose long bodies are streamed; `None` for any other route.
pub(super) fn field(options: &RouteOptions) -> Option<TokenStream> {
    options.stream.as_ref().map(|_| quote!(stream: true))
}
