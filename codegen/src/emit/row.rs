//! The row of a table: its struct, its default, and its methods for the runtime.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::{
    column_type::Declarations, columns::Columns, docs, fill_metadata::fill_metadata, lists, owned, read_value::read,
    text_match::text_match, value_bytes::bytes,
};
use crate::{
    collector_value::CollectorValue,
    declare::UnknownKeys,
    model::{Column, Table},
    names,
    paths::Role,
    types::constant,
};

/// Returns the row with all its implementations, and the methods of [`insert`](super::insert).
pub(super) fn row(table: &Table, columns: &Columns, insert: &TokenStream) -> TokenStream {
    let name = names::ident(&table.rust.row);
    let lifetime = table.borrows().then(|| quote!(<'a>));
    let mut declarations = Declarations::default();
    declarations.reserve(&name.to_string());
    declarations.reserve("Routes");
    declarations.reserve(&owned::name(table).to_string());

    let structure = structure(table, &mut declarations);
    let default = default(table);
    let column_constants = columns.module();
    let implementation = implementation(table, columns);
    let items = declarations.into_items();
    let static_name = if table.borrows() {
        quote!(#name<'static>)
    } else {
        quote!(#name)
    };
    quote! {
        #structure

        #(#items)*

        #default

        #column_constants

        impl __rt::TypedTable for #static_name {
            const TABLE: &'static __rt::Table = &TABLE;
            type Row<'a> = #name #lifetime;
        }

        impl<'a> __rt::Row<'a> for #name #lifetime {
            #implementation

            #insert
        }
    }
}

fn structure(table: &Table, declarations: &mut Declarations) -> TokenStream {
    let name = names::ident(&table.rust.row);
    let lifetime = table.borrows().then(|| quote!(<'a>));
    let fields = table.stored().map(|(_, column)| {
        let field = names::ident(&column.field);
        let ty = declarations.column_type(column);
        let docs = docs::field(column);
        let rename = (column.field != column.name || field != column.field).then(|| {
            let name = &column.name;
            quote!(#[serde(rename = #name)])
        });
        let deprecated = column
            .deprecated
            .as_ref()
            .map(|note| quote!(#[deprecated(note = #note)]));
        quote! {
            #(#[doc = #docs])*
            #deprecated
            #rename
            pub #field: #ty,
        }
    });
    let fields: Vec<TokenStream> = fields.collect();
    let docs = docs::row(table);
    let default = (!has_constant_defaults(table)).then(|| quote!(Default,));
    quote! {
        #(#[doc = #docs])*
        #[derive(Debug, Clone, PartialEq, #default __rt::ClickHouseRow, __rt::Serialize, __rt::Deserialize)]
        #[clickhouse(crate = "::rowmill_ingest::__rt::clickhouse")]
        #[serde(crate = "::rowmill_ingest::__rt::serde")]
        pub struct #name #lifetime {
            #(#fields)*
        }
    }
}

/// Returns the implementation of `Default`, if a column has a default that `derive` does not know.
fn default(table: &Table) -> Option<TokenStream> {
    if !has_constant_defaults(table) {
        return None;
    }
    let name = names::ident(&table.rust.row);
    let lifetime = table.borrows().then(|| quote!(<'a>));
    let fields = table.stored().map(|(_, column)| {
        let field = names::ident(&column.field);
        let value = constant(&column.declaration).unwrap_or_else(|| quote!(::core::default::Default::default()));
        quote!(#field: #value,)
    });
    Some(quote! {
        impl #lifetime ::core::default::Default for #name #lifetime {
            fn default() -> Self {
                Self {
                    #(#fields)*
                }
            }
        }
    })
}

fn has_constant_defaults(table: &Table) -> bool {
    table
        .stored()
        .any(|(_, column)| constant(&column.declaration).is_some())
}

fn implementation(table: &Table, columns: &Columns) -> TokenStream {
    let column = column(table, columns);
    let put = put(table, columns);
    let put_element = lists::put_element(table, columns);
    let extra = extra(table);
    let fill_metadata = fill_metadata(table, columns);
    let pad_nested = pad_nested(table, columns);
    let encode = encode(table, columns);
    let rules = rules(table, columns);
    let check_dates = check_dates(table, columns);
    quote! {
        fn column(&self, path: &str) -> ::core::option::Option<usize> {
            #column
        }

        fn put(&mut self, column: usize, input: __rt::Input<'_, 'a>) -> ::core::result::Result<(), __rt::ValueError> {
            #put
        }

        #put_element

        #extra

        #fill_metadata

        #pad_nested

        fn encode(&self, present: &__rt::PresentColumns, out: &mut ::std::vec::Vec<u8>) {
            #encode
        }

        #check_dates

        #rules
    }
}

/// Returns the method that compares dates with the arrival of their event; none if no column has
/// such a limit.
fn check_dates(table: &Table, columns: &Columns) -> Option<TokenStream> {
    let checks: Vec<_> = table
        .stored()
        .filter(|(_, column)| column.role == Role::Event || column.is_of_request())
        .filter_map(|(index, column)| {
            let (age, ahead) = (column.event.max_age, column.event.max_ahead);
            age.or(ahead)?;
            let (age, ahead) = (period(age), period(ahead));
            let (index, field) = (columns.index(index), names::ident(&column.field));
            Some(quote! {
                if present.contains(#index) {
                    __rt::check_date(&self.#field, meta, #age, #ahead, &TABLE.columns[#index], invalid);
                }
            })
        })
        .collect();
    (!checks.is_empty()).then(|| {
        quote! {
            fn check_dates(&self, meta: &__rt::EventMeta<'a>, present: &__rt::PresentColumns, invalid: &mut __rt::InvalidColumns) {
                #(#checks)*
            }
        }
    })
}

fn period(seconds: Option<u32>) -> TokenStream {
    match seconds {
        Some(seconds) => {
            let seconds = Literal::u32_unsuffixed(seconds);
            quote!(Some(#seconds))
        }
        None => quote!(None),
    }
}

fn column(table: &Table, columns: &Columns) -> TokenStream {
    let arms = table.columns.iter().enumerate().flat_map(|(index, column)| {
        let index = columns.index(index);
        let arm = move |path| (path, quote!(Some(#index)));
        column.paths.iter().map(String::as_str).map(arm)
    });
    text_match(&quote!(path), arms, &quote!(None))
}

fn put(table: &Table, columns: &Columns) -> TokenStream {
    let arms = table
        .stored()
        .filter(|(_, column)| column.role == Role::Event)
        .map(|(index, column)| {
            let index = columns.index(index);
            let field = names::ident(&column.field);
            let read = read(column, table, &quote!(&mut self.#field));
            match column.event.max_bytes {
                None => quote!(#index => #read,),
                Some(max_bytes) => {
                    let max_bytes = Literal::usize_unsuffixed(max_bytes);
                    let bytes = bytes(&column.declaration.ty, &field);
                    quote! {
                        #index => {
                            #read?;
                            __rt::at_most(#max_bytes, #bytes)
                        }
                    }
                }
            }
        });
    quote! {
        match column {
            #(#arms)*
            _ => Ok(()),
        }
    }
}

/// Returns the method for the required columns, the alternative paths, strict values, keys without
/// a column and lists of objects; none if the table has the default for all of them.
fn rules(table: &Table, columns: &Columns) -> Option<TokenStream> {
    let indexed = || {
        table
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (columns.index(index), column))
    };
    let required: Vec<_> = indexed()
        .filter(|(_, column)| column.event.is_required)
        .map(|(index, column)| {
            let source = column.event.source.as_ref().map(|source| &source.key);
            let path = column
                .event
                .from
                .first()
                .or(source)
                .map_or(&column.name, |path| &path.text);
            quote!((#index, #path))
        })
        .collect();
    let alternatives: Vec<_> = indexed()
        .filter(|(_, column)| column.event.from.len() > 1)
        .map(|(index, column)| {
            let paths = column.event.from.iter().map(|path| &path.text);
            quote!((#index, &[#(#paths),*]))
        })
        .collect();
    // Without an extra, the keys of the collector's values have no other destination.
    let owns_reserved_keys = !table.inherits_base && !table.extras.is_empty();
    let of_query = |column: &&Column| column.role == Role::Collector(CollectorValue::Query);
    let sources = table
        .columns
        .iter()
        .filter(of_query)
        .filter_map(|column| column.event.source.as_ref());
    let query: Vec<_> = sources.map(|source| &source.name).collect();
    let is_strict = table.is_strict;
    let unknown_keys = match table.unknown_keys {
        UnknownKeys::Count | UnknownKeys::Extra => None,
        UnknownKeys::Ignore => Some(quote!(unknown_keys: __rt::UnknownKeyPolicy::Ignore,)),
        UnknownKeys::Reject => Some(quote!(unknown_keys: __rt::UnknownKeyPolicy::Reject,)),
    };
    let lists = lists::constant(table, columns).map(|lists| quote!(lists: #lists,));
    let is_needed = is_strict
        || owns_reserved_keys
        || !required.is_empty()
        || !alternatives.is_empty()
        || !query.is_empty()
        || unknown_keys.is_some()
        || lists.is_some();
    is_needed.then(|| {
        quote! {
            fn rules(&self) -> &'static __rt::EventRules {
                const RULES: __rt::EventRules = __rt::EventRules {
                    required: &[#(#required),*],
                    alternatives: &[#(#alternatives),*],
                    query: &[#(#query),*],
                    is_strict: #is_strict,
                    owns_reserved_keys: #owns_reserved_keys,
                    #unknown_keys
                    #lists
                    ..__rt::EventRules::DEFAULT
                };
                &RULES
            }
        }
    })
}

/// Returns the methods for the extras; none if the table has none.
fn extra(table: &Table) -> Option<TokenStream> {
    if table.extras.is_empty() {
        return None;
    }
    let paths = table.extras.iter().enumerate().map(|(index, extra)| {
        let index = Literal::usize_unsuffixed(index);
        (extra.path.as_str(), quote!(Some(#index)))
    });
    let extra_at = text_match(&quote!(path), paths, &quote!(None));
    let arms = table.extras.iter().enumerate().map(|(index, extra)| {
        let index = Literal::usize_unsuffixed(index);
        let key = names::ident(&table.columns[extra.key].field);
        let value = names::ident(&table.columns[extra.value].field);
        quote! {
            #index => Some(__rt::ExtraMut { keys: &mut self.#key, values: &mut self.#value }),
        }
    });
    Some(quote! {
        fn extra_at(&self, path: &str) -> ::core::option::Option<usize> {
            #extra_at
        }

        fn extra(&mut self, extra: usize) -> ::core::option::Option<__rt::ExtraMut<'_, 'a>> {
            match extra {
                #(#arms)*
                _ => None,
            }
        }
    })
}

/// Returns the method that pads the arrays of each Nested; none if the table has no Nested.
fn pad_nested(table: &Table, columns: &Columns) -> Option<TokenStream> {
    let groups: Vec<_> = table
        .nested
        .iter()
        .map(|members| {
            let fields: Vec<_> = members
                .iter()
                .map(|index| names::ident(&table.columns[*index].field))
                .collect();
            let indexes: Vec<_> = members.iter().map(|index| columns.index(*index)).collect();
            quote! {
                let mut length = 0;
                #(length = self.#fields.len().max(length);)*
                #(__rt::pad_nested(&mut self.#fields, present.contains(#indexes), length, &TABLE.columns[#indexes], invalid);)*
            }
        })
        .collect();
    (!groups.is_empty()).then(|| {
        quote! {
            fn pad_nested(&mut self, present: &__rt::PresentColumns, invalid: &mut __rt::InvalidColumns) {
                #(#groups)*
            }
        }
    })
}

fn encode(table: &Table, columns: &Columns) -> TokenStream {
    let marked = table.has_computed_defaults();
    let statements = table.stored().map(|(index, column)| {
        let field = names::ident(&column.field);
        let put = quote!(self.#field.put(out););
        let index = columns.index(index);
        match (marked, column.has_computed_default()) {
            (false, _) => put,
            (true, false) => quote!(out.push(__rt::VALUE); #put),
            (true, true) => quote! {
                if present.contains(#index) {
                    out.push(__rt::VALUE);
                    #put
                } else {
                    out.push(__rt::DEFAULT);
                }
            },
        }
    });
    quote!(#(#statements)*)
}
