//! Emit: turns a checked model into Rust. This stage cannot fail.
//!
//! The output has one module for each table, then the items for all tables: the schema, the routes,
//! the layer. The generated code names only one external item, `::rowmill_ingest::__rt`.

mod column_type;
mod ddl;
mod docs;
mod insert;
mod routes;
mod row;
mod shape;
mod text_match;

use proc_macro2::TokenStream;
use quote::quote;

pub(crate) use shape::can_be_skipped;

use crate::{
    model::{Model, Table},
    names,
};

/// Returns the text of the generated file, built table by table, as a tree of tokens takes fifty
/// times the memory of its text.
pub(crate) fn emit(model: &Model) -> String {
    let tables = model
        .tables
        .iter()
        .enumerate()
        .map(|(index, table)| text(table_module(index, table, model)));
    let mut file = text(quote!(
        use ::rowmill_ingest::__rt;
    ));
    file.extend(tables);
    let (schema, routes) = (schema(model), routes::all(model));
    file.push_str(&text(quote!(#schema #routes)));
    file
}

fn text(items: TokenStream) -> String {
    match syn::parse2(items.clone()) {
        Ok(parsed) => prettyplease::unparse(&parsed),
        // Unformatted code is still valid as output: rustc reports the error and its place.
        Err(_) => items.to_string(),
    }
}

/// Returns the statement that creates each table.
pub(crate) fn statements(model: &Model) -> Vec<String> {
    model.tables.iter().map(ddl::create).collect()
}

/// Returns the file that replaces the generated one while the schema has errors, so that an editor
/// can still resolve the rest.
pub(crate) fn stub() -> String {
    let (lints, may_be_unused) = (lints(), may_be_unused());
    let file = quote! {
        use ::rowmill_ingest::__rt;

        /// The tables of the schema: none, until its errors are mended.
        #may_be_unused
        pub static SCHEMA: __rt::Schema = __rt::Schema { tables: &[] };

        /// No routes, until the schema's errors are mended.
        #may_be_unused
        #[derive(Debug, Clone, Copy)]
        pub struct Routes;

        impl __rt::Routes for Routes {
            const DESTINATIONS: &'static [__rt::Destination] = &[];

            fn schema() -> &'static __rt::Schema {
                &SCHEMA
            }

            fn declared(_: &str, _: &str) -> __rt::Option<__rt::Route> {
                __rt::None
            }
        }

        /// Returns a layer that takes nothing, until the schema's errors are mended.
        ///
        /// # Errors
        ///
        /// The writer was made with another schema.
        #lints
        pub fn layer(writer: __rt::Writer) -> __rt::Result<__rt::EventLayer<Routes>, __rt::SchemaMismatch> {
            __rt::EventLayer::new(writer)
        }
    };
    file.to_string()
}

/// Returns the attribute that keeps the lints of the surrounding crate from the generated code,
/// which Rowmill itself checks.
fn lints() -> TokenStream {
    quote! {
        #[allow(
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            clippy::restriction,
            dead_code,
            missing_copy_implementations,
            non_snake_case,
            single_use_lifetimes,
            unreachable_patterns,
            unreachable_pub,
            unused_qualifications,
            unused_variables
        )]
    }
}

/// Returns the attribute of items that a program may leave unused: rustc would warn about them in a
/// private module, and in any module of a binary.
fn may_be_unused() -> TokenStream {
    quote!(#[allow(clippy::restriction, dead_code, unreachable_pub, unused_imports)])
}

fn table_module(index: usize, table: &Table, model: &Model) -> TokenStream {
    let module = names::ident(&names::module(&table.name));
    let type_name = names::ident(&names::type_name(&table.name));
    let layer_name = names::ident(&format!("{}Layer", names::type_name(&table.name)));
    let definition = ddl::table(index, table);
    let row = row::row(table, &insert::methods(table));
    let routes = routes::of_table(index, table, model);
    let doc = format!(" The table `{}`: its row, its definition and its routes.", table.name);
    let layer_doc = format!(
        " The layer that takes the events of `{}` and hands all other requests on.",
        table.name
    );
    let (lints, may_be_unused) = (lints(), may_be_unused());
    quote! {
        #[doc = #doc]
        #lints
        pub mod #module {
            use ::rowmill_ingest::__rt;

            #row
            #definition
            #routes
        }

        #may_be_unused
        pub use #module::#type_name;

        #[doc = #layer_doc]
        #may_be_unused
        pub type #layer_name = __rt::EventLayer<#module::Routes>;
    }
}

fn schema(model: &Model) -> TokenStream {
    let tables = model
        .tables
        .iter()
        .map(|table| names::ident(&names::module(&table.name)));
    let may_be_unused = may_be_unused();
    quote! {
        /// All tables, in the order of the schema's files.
        #may_be_unused
        pub static SCHEMA: __rt::Schema = __rt::Schema {
            tables: &[#(&#tables::TABLE),*],
        };
    }
}
