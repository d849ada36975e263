//! Emit: turns a checked model into Rust. This stage cannot fail.
//!
//! The output has one module for each table, then the items for all tables: the schema, the routes,
//! the layer. All of them are in one private module, which has the attributes against lints. The
//! generated code names types of `::rowmill_ingest::value`, and for everything else `__rt`.

mod column_type;
mod columns;
mod ddl;
mod dictionary;
mod docs;
mod fill_metadata;
mod format;
mod header;
mod insert;
mod insert_settings;
mod lists;
mod macro_call;
mod object_paths;
mod owned;
mod read_value;
mod route_adapter;
mod route_idempotency;
mod route_items;
mod route_options;
mod route_privacy;
mod route_redirect;
mod route_stream;
mod route_verify;
mod routes;
mod row;
mod shape;
mod text;
mod text_match;
mod value_bytes;
mod view;

use proc_macro2::{Ident, TokenStream};
use quote::quote;

pub(crate) use ddl::{create, quote_name};
pub(crate) use dictionary::create as create_dictionary;
pub(crate) use shape::can_be_skipped;

use self::columns::Columns;
use crate::{
    model::{Model, Table},
    names,
    source::Sources,
};

/// Returns the text of the generated file. Formats one table at a time, as a tree of tokens needs
/// fifty times the memory of its text.
pub(crate) fn emit(model: &Model, sources: &Sources) -> String {
    let tables = model
        .tables
        .iter()
        .enumerate()
        .map(|(index, table)| format::module_items(table_items(index, table, model)) + "\n");
    let (schema, routes) = (schema(model), routes::all(model));
    let for_all_tables = format::module_items(quote!(#schema #routes));
    let content = tables.chain([for_all_tables]);
    let has_deprecated = model
        .tables
        .iter()
        .any(|table| table.columns.iter().any(|column| column.deprecated.is_some()));
    file(&module(model), content, has_deprecated, sources)
}

/// Returns the file that has the content in its private module.
fn file(module: &Ident, content: impl IntoIterator<Item = String>, has_deprecated: bool, sources: &Sources) -> String {
    // The module itself uses all columns.
    let deprecated = has_deprecated.then(|| quote!(deprecated,));
    let mut file = header::comment(sources);
    file.push('\n');
    file.push_str(&format::items(quote! {
        #[allow(clippy::restriction, unreachable_pub, unused_imports)]
        pub use #module::*;
    }));
    let lints = format::items(quote! {
        #[allow(
            clippy::all,
            clippy::pedantic,
            clippy::nursery,
            clippy::restriction,
            dead_code,
            #deprecated
            missing_copy_implementations,
            non_snake_case,
            single_use_lifetimes,
            unreachable_patterns,
            unreachable_pub,
            unused_imports,
            unused_qualifications,
            unused_variables
        )]
        mod #module {
            use ::rowmill_ingest::__rt;
        }
    });
    file.push('\n');
    file.push_str(lints.trim_end().trim_end_matches('}'));
    for items in content {
        file.push('\n');
        file.push_str(items.trim_end());
        file.push('\n');
    }
    file.push_str("}\n");
    file
}

/// Returns the name of the private module, distinct from the names of the tables' modules.
fn module(model: &Model) -> Ident {
    let mut name = "generated".to_owned();
    while model.tables.iter().any(|table| table.rust.module == name) {
        name.push('_');
    }
    names::ident(&name)
}

/// Returns the statement that creates each table.
pub(crate) fn statements(model: &Model) -> Vec<String> {
    let tables = model.local_tables.iter().chain(&model.tables).chain(&model.targets);
    tables.map(ddl::create).collect()
}

/// Returns the file that replaces the generated one while the schema has errors, so that an editor
/// can still resolve the rest.
pub(crate) fn stub(sources: &Sources) -> String {
    let items = quote! {
        /// The tables of the schema: none until its errors are fixed.
        pub static SCHEMA: __rt::Schema = __rt::Schema::new(&[]);

        /// The routes of all tables: none until the schema's errors are fixed.
        #[derive(Debug, Clone, Copy)]
        pub struct Routes;

        impl __rt::Routes for Routes {
            const DESTINATIONS: &'static [__rt::Destination] = &[];

            fn schema() -> &'static __rt::Schema {
                &SCHEMA
            }

            fn find(service: &str, name: &str) -> ::core::option::Option<__rt::Route> {
                None
            }
        }

        /// Returns a layer that accepts no events until the schema's errors are fixed.
        ///
        /// # Errors
        ///
        /// The writer was opened with another schema.
        pub fn layer(writer: __rt::Writer) -> ::core::result::Result<__rt::EventLayer<Routes>, __rt::SchemaMismatch> {
            __rt::EventLayer::new(writer)
        }
    };
    let module = names::ident("generated");
    file(&module, [format::module_items(items)], false, sources)
}

fn table_items(index: usize, table: &Table, model: &Model) -> TokenStream {
    let module = names::ident(&table.rust.module);
    let type_name = names::ident(&table.rust.row);
    let layer_name = names::ident(&table.rust.layer);
    let definition = ddl::table(index, table);
    let columns = Columns::new(table);
    let row = row::row(table, &columns, &insert::methods(table, &columns));
    let owned = owned::owned(table);
    let owned_name = (!owned::is_taken(table, &model.tables)).then(|| {
        let name = owned::name(table);
        quote!(pub use #module::#name;)
    });
    let routes = routes::of_table(index, table, model);
    let doc = format!(" The table `{}`: its row, its definition and its routes.", table.name);
    let layer_doc = format!(
        " The layer that accepts the events of `{}` and passes every other request to the inner service.",
        table.name
    );
    quote! {
        #[doc = #doc]
        pub mod #module {
            use ::rowmill_ingest::{__rt, value::Encode as _};

            #row
            #owned
            #definition
            #routes
        }

        pub use #module::#type_name;
        #owned_name

        #[doc = #layer_doc]
        pub type #layer_name = __rt::EventLayer<#module::Routes>;
    }
}

fn schema(model: &Model) -> TokenStream {
    let tables = model.tables.iter().map(|table| names::ident(&table.rust.module));
    let views = view::of_schema(model);
    let local_tables = local_tables(model);
    let dictionaries = dictionary::of_schema(model);
    let insert_settings = insert_settings::of_schema(model);
    quote! {
        /// All tables, in the order of the schema's files.
        pub static SCHEMA: __rt::Schema = __rt::Schema::new(&[#(&#tables::TABLE),*]) #views #local_tables #dictionaries #insert_settings;
    }
}

/// Returns the call that adds the tables with the rows of a shard to the schema; none without them.
fn local_tables(model: &Model) -> Option<TokenStream> {
    let first = model.tables.len() + model.targets.len();
    let indexed = model.local_tables.iter().enumerate();
    let tables: Vec<_> = indexed
        .map(|(index, table)| ddl::definition(first + index, table))
        .collect();
    (!tables.is_empty()).then(|| quote!(.with_local_tables(&[#(&#tables),*])))
}
