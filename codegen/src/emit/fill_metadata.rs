//! The method of a row that fills the columns of the collector's values.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::{columns::Columns, value_bytes::bytes};
use crate::{
    collector_value::CollectorValue,
    declare::Source,
    model::{Column, Table},
    names,
    paths::Role,
    types::{Type, constant},
};

/// Returns the method that fills the collector's own columns; none if the table has none.
pub(super) fn fill_metadata(table: &Table, columns: &Columns) -> Option<TokenStream> {
    let statements = table.stored().filter_map(|(index, column)| {
        let Role::Collector(value) = column.role else {
            return None;
        };
        let index = columns.index(index);
        Some(match &column.event.source {
            Some(source) => asked(source, column, &index),
            None => direct(value, column, &index),
        })
    });
    let statements: Vec<_> = statements.chain(without_consent(table, columns)).collect();
    (!statements.is_empty()).then(|| {
        quote! {
            fn fill_metadata(&mut self, meta: &__rt::EventMeta<'a>, present: &mut __rt::PresentColumns, invalid: &mut __rt::InvalidColumns) {
                #(#statements)*
            }
        }
    })
}

/// Returns the statement for a column that asks for a value with `from: $…`. The column has its
/// default if the request has no such value.
fn asked(source: &Source, column: &Column, index: &TokenStream) -> TokenStream {
    let field = names::ident(&column.field);
    let event = &column.event;
    let is_presence_needed =
        event.is_required || event.max_age.or(event.max_ahead).is_some() || column.has_computed_default();
    let max_bytes = event.max_bytes.map(|max_bytes| {
        let max_bytes = Literal::usize_unsuffixed(max_bytes);
        let bytes = bytes(&column.declaration.ty, &field);
        quote! {
            if present.contains(#index) {
                __rt::check_max_bytes(#max_bytes, #bytes, &TABLE.columns[#index], invalid);
            }
        }
    });
    let name = &source.name;
    let value = match source.value {
        // The value that the privacy options apply to.
        CollectorValue::Header if name == "user-agent" => CollectorValue::UserAgent,
        value => value,
    };
    let (function, first) = match value {
        CollectorValue::Header => (quote!(put_header), quote!(#name)),
        CollectorValue::Query => (quote!(put_query), quote!(#name)),
        value => {
            let may_be_missing = matches!(
                value,
                CollectorValue::UserAgent | CollectorValue::Referer | CollectorValue::ProjectId
            );
            if value == CollectorValue::ProjectId && !is_presence_needed || !may_be_missing {
                let direct = direct(value_of_type(value, &column.declaration.ty), column, index);
                let present = (is_presence_needed || max_bytes.is_some()).then(|| quote!(present.insert(#index);));
                return quote!(#direct #present #max_bytes);
            }
            let value = names::ident(&format!("{value:?}"));
            (quote!(put_asked), quote!(__rt::CollectorValue::#value))
        }
    };
    quote! {
        meta.#function(#first, &mut self.#field, &TABLE.columns[#index], #index, present, invalid);
        #max_bytes
    }
}

/// Returns the statement that empties the columns of the visitor's data in an event without consent.
fn without_consent(table: &Table, columns: &Columns) -> Option<TokenStream> {
    let emptied = table.columns_of_consent().map(|(index, column)| {
        let field = names::ident(&column.field);
        let value = constant(&column.declaration).unwrap_or_else(|| quote!(::core::default::Default::default()));
        let index = columns.index(index);
        // An event with a required value was right to have it.
        let absent = (!column.event.is_required).then(|| quote!(present.remove(#index);));
        quote! {
            self.#field = #value;
            #absent
        }
    });
    let emptied: Vec<_> = emptied.collect();
    (!emptied.is_empty()).then(|| {
        quote! {
            if meta.is_anonymous() {
                #(#emptied)*
            }
        }
    })
}

/// Returns the form of the time of arrival that a type holds.
fn value_of_type(value: CollectorValue, ty: &Type) -> CollectorValue {
    match (value, ty) {
        (_, Type::LowCardinality(inner) | Type::Nullable(inner) | Type::SimpleAggregateFunction(_, inner)) => {
            value_of_type(value, inner)
        }
        (CollectorValue::ReceivedAt, Type::Date | Type::Date32) => CollectorValue::Date,
        (CollectorValue::ReceivedAt, Type::Int { .. }) => CollectorValue::Timestamp,
        (CollectorValue::ReceivedAt, Type::DateTime(_)) => CollectorValue::DateTime,
        _ => value,
    }
}

/// Returns the statement that puts a value into a column.
fn direct(value: CollectorValue, column: &Column, index: &TokenStream) -> TokenStream {
    let field = names::ident(&column.field);
    let ty = &column.declaration.ty;
    match (value, ty) {
        (
            CollectorValue::Id,
            Type::Int {
                bits: 64,
                signed: false,
            },
        ) => quote!(self.#field = meta.id;),
        (
            CollectorValue::Uid,
            Type::Int {
                bits: 64,
                signed: false,
            },
        ) => quote!(self.#field = meta.uid;),
        (
            CollectorValue::Fingerprint,
            Type::Int {
                bits: 64,
                signed: false,
            },
        ) => quote!(self.#field = meta.fingerprint;),
        (
            CollectorValue::Timestamp,
            Type::Int {
                bits: 64,
                signed: false,
            },
        ) => quote!(self.#field = meta.unix_ms;),
        (CollectorValue::Channel, Type::String) => {
            quote!(self.#field = ::std::borrow::Cow::Borrowed(meta.channel);)
        }
        (CollectorValue::Service, Type::String) => {
            quote!(self.#field = ::std::borrow::Cow::Borrowed(meta.service);)
        }
        (CollectorValue::Name, Type::String) => quote!(self.#field = ::std::borrow::Cow::Borrowed(meta.name);),
        (CollectorValue::Ip, Type::String) => quote!(self.#field = ::std::borrow::Cow::Borrowed(meta.ip);),
        (CollectorValue::UserAgent, Type::String) => {
            quote!(self.#field = ::std::borrow::Cow::Borrowed(meta.user_agent.unwrap_or_default());)
        }
        (CollectorValue::Referer, Type::String) => {
            quote!(self.#field = ::std::borrow::Cow::Borrowed(meta.referer.unwrap_or_default());)
        }
        (CollectorValue::Date, Type::Date) => quote!(self.#field = meta.date();),
        (CollectorValue::DateTime, Type::DateTime(None)) => quote!(self.#field = meta.date_time();),
        (CollectorValue::ProjectId, Type::Int { bits: ..=128, .. }) => {
            quote!(meta.put_project(&mut self.#field, &TABLE.columns[#index], invalid);)
        }
        (CollectorValue::Date, Type::String) => quote!(self.#field = ::std::borrow::Cow::Owned(meta.date_text());),
        (CollectorValue::DateTime, Type::String) => {
            quote!(self.#field = ::std::borrow::Cow::Owned(meta.date_time_text());)
        }
        (CollectorValue::ReceivedAt, Type::DateTime64(..)) => quote!(self.#field = meta.date_time64();),
        _ => {
            let value = match (value, ty) {
                // A point in time instead of a number of milliseconds.
                (CollectorValue::Timestamp, Type::DateTime64(..)) | (CollectorValue::ReceivedAt, _) => {
                    CollectorValue::DateTime
                }
                _ => value,
            };
            let value = names::ident(&format!("{value:?}"));
            quote!(meta.put(__rt::CollectorValue::#value, &mut self.#field, &TABLE.columns[#index], invalid);)
        }
    }
}
