//! Routes: destinations as constants, and the one match over them.

use proc_macro2::TokenStream;
use quote::quote;

use super::{
    route_adapter, route_idempotency, route_items, route_options, route_privacy, route_redirect, route_stream,
    route_verify,
    text_match::{MIN_NESTED_ARMS, text_match},
};
use crate::{
    declare::{Ack, Acks, RouteOptions},
    model::{Model, Route, Table},
    names,
};

/// The path of the destination for all other events.
const OTHER: &str = "other";

/// Returns the routes of all tables, and the layer over them.
pub(super) fn all(model: &Model) -> TokenStream {
    let routes: Vec<&Route> = model.routes.iter().collect();
    let route_of = |path: &str, table: usize, options: &RouteOptions| {
        let module = names::ident(&model.tables[table].rust.module);
        let row = row_type(&model.tables[table]);
        some_route(&quote!(#module::#row), path, options)
    };
    let declared = declared(&routes, |route| route_of(&route.path(), route.table, &route.options));
    let find_path = route_options::find_path(&routes);
    let other = model
        .other
        .as_ref()
        .map_or_else(|| quote!(None), |(table, options)| route_of(OTHER, *table, options));
    let mut destinations: Vec<TokenStream> = routes
        .iter()
        .map(|route| destination(&route.path(), route.table, &route.options, model))
        .collect();
    destinations.extend(
        model
            .other
            .as_ref()
            .map(|(table, options)| destination(OTHER, *table, options, model)),
    );
    quote! {
        /// The routes of all tables.
        #[derive(Debug, Clone, Copy)]
        pub struct Routes;

        impl __rt::Routes for Routes {
            const DESTINATIONS: &'static [__rt::Destination] = &[#(#destinations),*];

            fn schema() -> &'static __rt::Schema {
                &SCHEMA
            }

            fn find(service: &str, name: &str) -> ::core::option::Option<__rt::Route> {
                #declared
            }

            #find_path

            fn fallback() -> ::core::option::Option<__rt::Route> {
                #other
            }
        }

        /// Returns the layer that accepts the events of all tables and passes every other request
        /// to the inner service.
        ///
        /// # Errors
        ///
        /// The writer was opened with another schema than [`SCHEMA`].
        pub fn layer(writer: __rt::Writer) -> ::core::result::Result<__rt::EventLayer<Routes>, __rt::SchemaMismatch> {
            __rt::EventLayer::new(writer)
        }
    }
}

/// Returns the routes that lead to one table.
pub(super) fn of_table(index: usize, table: &Table, model: &Model) -> TokenStream {
    let own: Vec<&Route> = model.routes.iter().filter(|route| route.table == index).collect();
    // `service/default` matches only events that no route of another table names, so these routes
    // are in the match too.
    let is_default = |service: &str| own.iter().any(|route| route.name.is_none() && route.service == service);
    let known: Vec<&Route> = model
        .routes
        .iter()
        .filter(|route| route.table == index || is_default(&route.service))
        .collect();

    let row = row_type(table);
    let declared = declared(&known, |route| {
        if route.table == index {
            some_route(&row, &route.path(), &route.options)
        } else {
            quote!(None)
        }
    });
    let find_path = route_options::find_path(&own);
    let destinations = own
        .iter()
        .map(|route| destination(&route.path(), index, &route.options, model));
    let paths: Vec<String> = own.iter().map(|route| route.path()).collect();
    let names = names::route_constants(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let constants = paths.iter().zip(names).map(|(path, name)| {
        let name = names::ident(&name);
        let doc = format!(" The route `{path}`.");
        quote! {
            #[doc = #doc]
            pub const #name: &'static str = #path;
        }
    });
    let doc = format!(" The routes that lead to `{}`.", table.name);
    quote! {
        #[doc = #doc]
        #[derive(Debug, Clone, Copy)]
        pub struct Routes;

        impl Routes {
            #(#constants)*
        }

        impl __rt::Routes for Routes {
            const DESTINATIONS: &'static [__rt::Destination] = &[#(#destinations),*];

            fn schema() -> &'static __rt::Schema {
                &super::SCHEMA
            }

            fn find(service: &str, name: &str) -> ::core::option::Option<__rt::Route> {
                #declared
            }

            #find_path
        }
    }
}

/// Returns the match over service and name; `service/default` comes after the named routes of its
/// service.
fn declared(routes: &[&Route], route_of: impl Fn(&Route) -> TokenStream) -> TokenStream {
    if routes.len() < MIN_NESTED_ARMS {
        few_declared(routes, route_of)
    } else {
        many_declared(routes, route_of)
    }
}

fn few_declared(routes: &[&Route], route_of: impl Fn(&Route) -> TokenStream) -> TokenStream {
    if routes.is_empty() {
        return quote!(None);
    }
    let (named, defaults): (Vec<&Route>, Vec<&Route>) = routes.iter().partition(|route| route.name.is_some());
    let arms = named.into_iter().chain(defaults).map(|route| {
        let (service, found) = (&route.service, route_of(route));
        match &route.name {
            Some(name) => quote!((#service, #name) => #found,),
            None => quote!((#service, _) => #found,),
        }
    });
    quote! {
        match (service, name) {
            #(#arms)*
            _ => None,
        }
    }
}

fn many_declared(routes: &[&Route], route_of: impl Fn(&Route) -> TokenStream) -> TokenStream {
    let none = quote!(None);
    let mut services: Vec<&str> = Vec::new();
    for route in routes {
        if !services.contains(&route.service.as_str()) {
            services.push(&route.service);
        }
    }
    let arms = services.into_iter().map(|service| {
        let (named, defaults): (Vec<&Route>, Vec<&Route>) = routes
            .iter()
            .filter(|route| route.service == service)
            .partition(|route| route.name.is_some());
        let otherwise = defaults.first().map_or_else(|| none.clone(), |route| route_of(route));
        let arms = named
            .iter()
            .filter_map(|route| Some((route.name.as_deref()?, route_of(route))));
        (service, text_match(&quote!(name), arms, &otherwise))
    });
    text_match(&quote!(service), arms, &none)
}

fn destination(path: &str, table: usize, options: &RouteOptions, model: &Model) -> TokenStream {
    let table = &model.tables[table].name;
    let acks = ack_policy(options.acks);
    let rate_limit = match options.rate_limit {
        None => quote!(None),
        Some(limit) => {
            let (requests, seconds) = (limit.requests, limit.seconds);
            quote!(Some(__rt::RateLimit::new(#requests, #seconds)))
        }
    };
    let options = route_options(path, options);
    quote! {
        __rt::Destination {
            path: #path, table: #table, acks: #acks, rate_limit: #rate_limit, options: #options
        }
    }
}

fn some_route(row: &TokenStream, path: &str, options: &RouteOptions) -> TokenStream {
    let acks = ack_policy(options.acks);
    let options = route_options(path, options);
    quote!(Some(__rt::Route { handler: __rt::intake::<#row>, acks: #acks, options: #options }))
}

/// Returns the runtime's options of a route; `None` if all of them are the defaults.
fn route_options(path: &str, options: &RouteOptions) -> TokenStream {
    let mut fields = route_options::fields(options);
    fields.extend(options.adapter.map(route_adapter::field));
    fields.extend(options.items.iter().map(route_items::field));
    fields.extend(route_idempotency::idempotency(path, options.idempotency.as_ref()));
    fields.extend(route_stream::field(options));
    fields.extend(route_privacy::fields(options));
    if let Some(verify) = &options.verify {
        let verification = route_verify::verification(path, verify);
        fields.push(quote!(verify: Some(#verification)));
    }
    if let Some(redirect) = &options.redirect {
        let policy = route_redirect::policy(path, redirect);
        fields.push(quote!(redirect: Some(#policy)));
    }
    if fields.is_empty() {
        return quote!(None);
    }
    quote!(Some(const { &__rt::RouteOptions { #(#fields,)* ..__rt::RouteOptions::NONE } }))
}

fn ack_policy(acks: Acks) -> TokenStream {
    if acks == Acks::default() {
        return quote!(__rt::AckPolicy::NONE);
    }
    let ack = match acks.ack {
        None => quote!(None),
        Some(Ack::Accepted) => quote!(Some(__rt::Ack::Accepted)),
        Some(Ack::Spooled) => quote!(Some(__rt::Ack::Spooled)),
        Some(Ack::Replicated) => quote!(Some(__rt::Ack::Replicated)),
        Some(Ack::Stored) => quote!(Some(__rt::Ack::Stored)),
    };
    let by_header = acks.by_header;
    quote!(__rt::AckPolicy { ack: #ack, by_header: #by_header })
}

/// Returns the row type of a table, which represents the table.
fn row_type(table: &Table) -> TokenStream {
    let name = names::ident(&table.rust.row);
    if table.borrows() {
        quote!(#name<'static>)
    } else {
        quote!(#name)
    }
}
