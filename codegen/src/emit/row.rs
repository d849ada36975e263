//! The row of a table: its struct, its default, and its methods for the runtime.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::{column_type::Declarations, docs, text_match::text_match};
use crate::{
    collector_value::CollectorValue,
    model::Table,
    names,
    paths::Role,
    types::{Type, constant},
};

/// Returns the row with all its implementations, and the methods of [`insert`](super::insert).
pub(super) fn row(table: &Table, insert: &TokenStream) -> TokenStream {
    let name = names::ident(&names::type_name(&table.name));
    let lifetime = table.borrows().then(|| quote!(<'a>));
    let mut declarations = Declarations::default();
    declarations.reserve(&name.to_string());
    declarations.reserve("Routes");

    let structure = structure(table, &mut declarations);
    let default = default(table);
    let implementation = implementation(table);
    let items = declarations.into_items();
    let static_name = if table.borrows() {
        quote!(#name<'static>)
    } else {
        quote!(#name)
    };
    quote! {
        #structure
        #(#items)*

        impl #lifetime __rt::Default for #name #lifetime {
            #default
        }

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
    let name = names::ident(&names::type_name(&table.name));
    let lifetime = table.borrows().then(|| quote!(<'a>));
    let fields = table.stored().map(|(_, column)| {
        let field = names::ident(&column.field);
        let ty = declarations.rust_type(&column.declaration.ty, &column.name);
        let docs = docs::field(column);
        let rename = (column.field != column.name || field != column.field).then(|| {
            let name = &column.name;
            quote!(#[serde(rename = #name)])
        });
        quote! {
            #(#[doc = #docs])*
            #rename
            pub #field: #ty,
        }
    });
    let fields: Vec<TokenStream> = fields.collect();
    let docs = docs::row(table);
    quote! {
        #(#[doc = #docs])*
        #[derive(Debug, Clone, PartialEq, __rt::ClickHouseRow, __rt::Serialize, __rt::Deserialize)]
        #[clickhouse(crate = "::rowmill_ingest::__rt::clickhouse")]
        #[serde(crate = "::rowmill_ingest::__rt::serde")]
        pub struct #name #lifetime {
            #(#fields)*
        }
    }
}

fn default(table: &Table) -> TokenStream {
    let fields = table.stored().map(|(_, column)| {
        let field = names::ident(&column.field);
        let value = constant(&column.declaration).unwrap_or_else(|| quote!(__rt::Default::default()));
        quote!(#field: #value,)
    });
    quote! {
        fn default() -> Self {
            Self {
                #(#fields)*
            }
        }
    }
}

fn implementation(table: &Table) -> TokenStream {
    let column = column(table);
    let put = put(table);
    let extra_at = {
        let arms = table.extras.iter().enumerate().map(|(index, extra)| {
            let index = Literal::usize_unsuffixed(index);
            (extra.path.as_str(), quote!(__rt::Some(#index)))
        });
        text_match(&quote!(path), arms, &quote!(__rt::None))
    };
    let extra = extra(table);
    let stamp = stamp(table);
    let level = level(table);
    let encode = encode(table);
    let rules = rules(table);
    let check_dates = check_dates(table);
    quote! {
        fn column(&self, path: &str) -> __rt::Option<usize> {
            #column
        }

        fn put(&mut self, column: usize, input: __rt::Input<'_, 'a>) -> __rt::Result<(), __rt::ValueError> {
            #put
        }

        fn extra_at(&self, path: &str) -> __rt::Option<usize> {
            #extra_at
        }

        fn extra(&mut self, extra: usize) -> __rt::Option<__rt::ExtraMut<'_, 'a>> {
            #extra
        }

        fn stamp(&mut self, stamp: &__rt::EventMeta<'a>, refusals: &mut __rt::InvalidColumns) {
            #stamp
        }

        fn level(&mut self, given: &__rt::PresentColumns, refusals: &mut __rt::InvalidColumns) {
            #level
        }

        fn encode(&self, given: &__rt::PresentColumns, out: &mut __rt::Vec<u8>) {
            #encode
        }

        #check_dates

        #rules
    }
}

/// Returns the method that compares dates with the arrival of their event; none if no column has
/// such a limit.
fn check_dates(table: &Table) -> Option<TokenStream> {
    let checks: Vec<_> = table
        .stored()
        .filter(|(_, column)| column.role == Role::Event)
        .filter_map(|(index, column)| {
            let (age, ahead) = (column.event.max_age, column.event.max_ahead);
            age.or(ahead)?;
            let (age, ahead) = (period(age), period(ahead));
            let (index, field) = (Literal::usize_unsuffixed(index), names::ident(&column.field));
            Some(quote! {
                if given.contains(#index) {
                    __rt::check_date(&self.#field, stamp, #age, #ahead, &TABLE.columns[#index], refusals);
                }
            })
        })
        .collect();
    (!checks.is_empty()).then(|| {
        quote! {
            fn check_dates(&self, stamp: &__rt::EventMeta<'a>, given: &__rt::PresentColumns, refusals: &mut __rt::InvalidColumns) {
                #(#checks)*
            }
        }
    })
}

fn period(seconds: Option<u32>) -> TokenStream {
    match seconds {
        Some(seconds) => {
            let seconds = Literal::u32_unsuffixed(seconds);
            quote!(__rt::Some(#seconds))
        }
        None => quote!(__rt::None),
    }
}

fn column(table: &Table) -> TokenStream {
    let arms = table.columns.iter().enumerate().flat_map(|(index, column)| {
        let index = Literal::usize_unsuffixed(index);
        let arm = move |path| (path, quote!(__rt::Some(#index)));
        column.paths.iter().map(String::as_str).map(arm)
    });
    text_match(&quote!(path), arms, &quote!(__rt::None))
}

fn put(table: &Table) -> TokenStream {
    let arms = table
        .stored()
        .filter(|(_, column)| column.role == Role::Event)
        .map(|(index, column)| {
            let index = Literal::usize_unsuffixed(index);
            let field = names::ident(&column.field);
            let read = quote!(input.read(&mut self.#field));
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
            _ => __rt::Ok(()),
        }
    }
}

/// Returns the number of bytes in a field: the length of a text, or the encoded length of any other
/// value.
pub(super) fn bytes(ty: &Type, field: &Ident) -> TokenStream {
    match (ty.is_text(), ty.is_nullable()) {
        (true, false) => quote!(self.#field.len()),
        (true, true) => quote!(self.#field.as_deref().map_or(0, __rt::str::len)),
        (false, _) => quote!(__rt::encoded_bytes(&self.#field)),
    }
}

/// Returns the method for the required columns and alternative paths; none if there are neither.
fn rules(table: &Table) -> Option<TokenStream> {
    let columns = || {
        table
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (Literal::usize_unsuffixed(index), column))
    };
    let required: Vec<_> = columns()
        .filter(|(_, column)| column.event.is_required)
        .map(|(index, column)| {
            let path = column.event.from.first().map_or(&column.name, |path| &path.text);
            quote!((#index, #path))
        })
        .collect();
    let alternatives: Vec<_> = columns()
        .filter(|(_, column)| column.event.from.len() > 1)
        .map(|(index, column)| {
            let paths = column.event.from.iter().map(|path| &path.text);
            quote!((#index, &[#(#paths),*]))
        })
        .collect();
    let is_needed = !required.is_empty() || !alternatives.is_empty();
    is_needed.then(|| {
        quote! {
            fn rules(&self) -> &'static __rt::EventRules {
                const RULES: __rt::EventRules = __rt::EventRules {
                    required: &[#(#required),*],
                    alternatives: &[#(#alternatives),*],
                };
                &RULES
            }
        }
    })
}

fn extra(table: &Table) -> TokenStream {
    let arms = table.extras.iter().enumerate().map(|(index, extra)| {
        let index = Literal::usize_unsuffixed(index);
        let key = names::ident(&table.columns[extra.key].field);
        let value = names::ident(&table.columns[extra.value].field);
        quote! {
            #index => __rt::Some(__rt::ExtraMut { keys: &mut self.#key, values: &mut self.#value }),
        }
    });
    quote! {
        match extra {
            #(#arms)*
            _ => __rt::None,
        }
    }
}

fn stamp(table: &Table) -> TokenStream {
    let statements = table.stored().filter_map(|(index, column)| {
        let Role::Server(value) = column.role else { return None };
        let field = names::ident(&column.field);
        let ty = &column.declaration.ty;
        let direct = match (value, ty) {
            (
                CollectorValue::Id,
                Type::Int {
                    bits: 64,
                    signed: false,
                },
            ) => quote!(self.#field = stamp.id;),
            (
                CollectorValue::Uid,
                Type::Int {
                    bits: 64,
                    signed: false,
                },
            ) => quote!(self.#field = stamp.uid;),
            (
                CollectorValue::Fingerprint,
                Type::Int {
                    bits: 64,
                    signed: false,
                },
            ) => quote!(self.#field = stamp.fingerprint;),
            (
                CollectorValue::Timestamp,
                Type::Int {
                    bits: 64,
                    signed: false,
                },
            ) => quote!(self.#field = stamp.unix_ms;),
            (CollectorValue::Channel, Type::String) => quote!(self.#field = __rt::Cow::Borrowed(stamp.channel);),
            (CollectorValue::Service, Type::String) => quote!(self.#field = __rt::Cow::Borrowed(stamp.service);),
            (CollectorValue::Name, Type::String) => quote!(self.#field = __rt::Cow::Borrowed(stamp.name);),
            (CollectorValue::Ip, Type::String) => quote!(self.#field = __rt::Cow::Borrowed(stamp.ip);),
            (CollectorValue::UserAgent, Type::String) => {
                quote!(self.#field = __rt::Cow::Borrowed(stamp.user_agent.unwrap_or_default());)
            }
            (CollectorValue::Referer, Type::String) => {
                quote!(self.#field = __rt::Cow::Borrowed(stamp.referer.unwrap_or_default());)
            }
            (CollectorValue::Date, Type::Date) => quote!(self.#field = stamp.date();),
            (CollectorValue::DateTime, Type::DateTime(None)) => quote!(self.#field = stamp.date_time();),
            (CollectorValue::ProjectId, Type::Int { bits: ..=128, .. }) => {
                let index = Literal::usize_unsuffixed(index);
                quote!(stamp.put_project(&mut self.#field, &TABLE.columns[#index], refusals);)
            }
            (CollectorValue::Date, Type::String) => quote!(self.#field = __rt::Cow::Owned(stamp.date_text());),
            (CollectorValue::DateTime, Type::String) => quote!(self.#field = __rt::Cow::Owned(stamp.date_time_text());),
            _ => {
                let value = match (value, ty) {
                    // A point in time instead of a number of milliseconds.
                    (CollectorValue::Timestamp, Type::DateTime64(..)) => CollectorValue::DateTime,
                    _ => value,
                };
                let value = names::ident(&format!("{value:?}"));
                let index = Literal::usize_unsuffixed(index);
                quote!(stamp.put(__rt::CollectorValue::#value, &mut self.#field, &TABLE.columns[#index], refusals);)
            }
        };
        Some(direct)
    });
    quote!(#(#statements)*)
}

fn level(table: &Table) -> TokenStream {
    let groups = table.nested.iter().map(|members| {
        let fields: Vec<_> = members
            .iter()
            .map(|index| names::ident(&table.columns[*index].field))
            .collect();
        let indexes: Vec<_> = members.iter().map(|index| Literal::usize_unsuffixed(*index)).collect();
        quote! {
            let mut length = 0;
            #(length = self.#fields.len().max(length);)*
            #(__rt::level(&mut self.#fields, given.contains(#indexes), length, &TABLE.columns[#indexes], refusals);)*
        }
    });
    quote!(#(#groups)*)
}

fn encode(table: &Table) -> TokenStream {
    let marked = table.has_computed_defaults();
    let statements = table.stored().map(|(index, column)| {
        let field = names::ident(&column.field);
        let put = quote!(__rt::Encode::put(&self.#field, out););
        let index = Literal::usize_unsuffixed(index);
        match (marked, column.has_computed_default()) {
            (false, _) => put,
            (true, false) => quote!(out.push(__rt::VALUE); #put),
            (true, true) => quote! {
                if given.contains(#index) {
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
