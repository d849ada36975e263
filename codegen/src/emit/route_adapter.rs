//! The option `adapter` of a route.

use proc_macro2::TokenStream;
use quote::quote;

use crate::declare::Adapter;

/// Returns the field of the runtime's options of a route.
pub(super) fn field(adapter: Adapter) -> TokenStream {
    let adapter = match adapter {
        Adapter::AwsSns => quote!(AwsSns),
        Adapter::CloudEvents => quote!(CloudEvents),
        Adapter::OtlpLogs => quote!(OtlpLogs),
        Adapter::Segment => quote!(Segment),
        Adapter::Snowplow => quote!(Snowplow),
    };
    quote!(adapter: Some(__rt::Adapter::#adapter))
}
