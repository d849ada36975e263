//! The options of routes that most routes do not have: paths, methods, answers, and hidden JSON.

use std::cmp::Reverse;

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::text_match::text_match;
use crate::{
    declare::{Echo, FixedAnswer, OwnPaths, RouteOptions},
    model::Route,
};

/// Returns the fields of the runtime's options that differ from the defaults.
pub(super) fn fields(options: &RouteOptions) -> Vec<TokenStream> {
    let mut fields = Vec::new();
    fields.extend(options.own_paths.as_ref().map(own_paths));
    if !options.methods.is_empty() {
        let methods = &options.methods;
        fields.push(quote!(methods: __rt::Methods(&[#(#methods),*])));
    }
    fields.extend(options.answer.as_ref().map(answer));
    fields.extend(options.echo.as_ref().map(echo));
    if !options.hiding.is_empty() {
        let hiding = &options.hiding;
        fields.push(quote!(hiding: &[#(#hiding),*]));
    }
    fields
}

fn own_paths(OwnPaths { service, name, paths }: &OwnPaths) -> TokenStream {
    let paths = paths.iter().map(|(path, _)| path);
    quote!(own_paths: Some(__rt::OwnPaths { service: #service, name: #name, paths: &[#(#paths),*] }))
}

fn answer(answer: &FixedAnswer) -> TokenStream {
    let FixedAnswer {
        status,
        content_type,
        body,
    } = answer;
    let status = Literal::u16_unsuffixed(*status);
    let content_type = option(content_type.as_ref().map(|content_type| quote!(#content_type)));
    quote!(answer: Some(__rt::FixedAnswer { status: #status, content_type: #content_type, body: #body }))
}

fn echo(Echo { field, is_json, token }: &Echo) -> TokenStream {
    let token = token
        .as_ref()
        .map(|(field, env)| quote!(__rt::EchoToken { field: #field, env: #env }));
    let token = option(token);
    quote!(echo: Some(__rt::Echo { field: #field, is_json: #is_json, token: #token }))
}

fn option(value: Option<TokenStream>) -> TokenStream {
    value.map_or_else(|| quote!(None), |value| quote!(Some(#value)))
}

/// Returns the function that finds a route by one of its own paths; nothing if no route has any.
pub(super) fn find_path(routes: &[&Route]) -> TokenStream {
    let own = routes.iter().filter_map(|route| route.options.own_paths.as_ref());
    let paths: Vec<(&str, TokenStream)> = own
        .flat_map(|OwnPaths { service, name, paths }| {
            let found = quote!(return Self::find(#service, #name));
            paths.iter().map(move |(path, _)| (path.as_str(), found.clone()))
        })
        .collect();
    if paths.is_empty() {
        return TokenStream::new();
    }
    let (mut folders, exact): (Vec<_>, Vec<_>) = paths.into_iter().partition(|(path, _)| path.ends_with('*'));
    let exact = (!exact.is_empty()).then(|| text_match(&quote!(path), exact, &quote!({})));
    // The longest folder that contains a path counts.
    folders.sort_by_key(|(folder, _)| Reverse(folder.len()));
    let folders = folders.into_iter().map(|(folder, found)| {
        let above = folder.trim_end_matches('*');
        let length = Literal::usize_unsuffixed(above.len());
        quote!(if path.len() > #length && path.starts_with(#above) { #found; })
    });
    quote! {
        fn find_path(path: &str) -> ::core::option::Option<__rt::Route> {
            #exact
            #(#folders)*
            None
        }
    }
}
