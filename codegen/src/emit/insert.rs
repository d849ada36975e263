//! The methods of a row that Rust code inserts: its table, and the columns that it has.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::{columns::Columns, value_bytes::bytes};
use crate::{
    collector_value::CollectorValue,
    model::{Column, Table},
    names,
    paths::Role,
    types::{Type, constant},
};

/// Returns the methods.
pub(super) fn methods(table: &Table, columns: &Columns) -> TokenStream {
    let (fill, present, checks) = (fill(table), present(table, columns), checks(table, columns));
    quote! {
        fn table(&self) -> &'static __rt::Table {
            &TABLE
        }

        fn complete(&mut self, meta: &__rt::EventMeta<'a>, invalid: &mut __rt::InvalidColumns) -> __rt::PresentColumns {
            #fill
            #checks
            #present
        }
    }
}

/// Returns the statements that fill the absent columns of the collector's own values; none if the
/// table has no such column.
fn fill(table: &Table) -> Option<TokenStream> {
    let fields: Vec<_> = table
        .stored()
        .filter(|(_, column)| {
            matches!(
                column.role,
                Role::Collector(
                    CollectorValue::Id
                        | CollectorValue::Date
                        | CollectorValue::DateTime
                        | CollectorValue::Timestamp
                        | CollectorValue::ReceivedAt
                        | CollectorValue::Service
                )
            )
        })
        .map(|(_, column)| {
            let (field, is_absent) = (names::ident(&column.field), is_absent(column));
            quote! {
                if #is_absent {
                    self.#field = filled.#field;
                }
            }
        })
        .collect();
    (!fields.is_empty()).then(|| {
        quote! {
            let mut filled: Self = ::core::default::Default::default();
            __rt::Row::fill_metadata(&mut filled, meta, &mut ::core::default::Default::default(), &mut ::core::default::Default::default());
            #(#fields)*
        }
    })
}

/// Returns the expression for the present columns, among those whose presence has an effect.
fn present(table: &Table, columns: &Columns) -> TokenStream {
    let statements: Vec<_> = table
        .stored()
        .filter(|(_, column)| column.role == Role::Event || column.asks_for_value())
        .filter_map(|(index, column)| {
            let event = &column.event;
            let is_needed = event.is_required
                || event.max_age.or(event.max_ahead).is_some()
                || column.has_computed_default()
                || table.nested.iter().any(|members| members.contains(&index));
            let at = columns.index(index);
            let is_absent = is_absent(column);
            is_needed.then(|| {
                if event.is_required && is_never_empty(&column.declaration.ty) {
                    quote!(present.insert(#at);)
                } else {
                    quote! {
                        if !#is_absent {
                            present.insert(#at);
                        }
                    }
                }
            })
        })
        .collect();
    if statements.is_empty() {
        return quote!(::core::default::Default::default());
    }
    quote! {
        let mut present: __rt::PresentColumns = ::core::default::Default::default();
        #(#statements)*
        present
    }
}

/// Returns the checks of values that the decoder makes for an event.
fn checks(table: &Table, columns: &Columns) -> TokenStream {
    let limits = table
        .stored()
        .filter(|(_, column)| column.role == Role::Event || column.asks_for_value())
        .filter_map(|(index, column)| {
            let max_bytes = Literal::usize_unsuffixed(column.event.max_bytes?);
            let index = columns.index(index);
            let bytes = bytes(&column.declaration.ty, &names::ident(&column.field));
            Some(quote!(__rt::check_max_bytes(#max_bytes, #bytes, &TABLE.columns[#index], invalid);))
        });
    let pairs = table.extras.iter().map(|extra| {
        let keys = names::ident(&table.columns[extra.key].field);
        let values = names::ident(&table.columns[extra.value].field);
        let index = columns.index(extra.value);
        quote!(__rt::check_pairs(self.#keys.len(), self.#values.len(), &TABLE.columns[#index], invalid);)
    });
    quote! {
        #(#limits)*
        #(#pairs)*
    }
}

/// Returns whether a field has its default, as an expression.
fn is_absent(column: &Column) -> TokenStream {
    let field = names::ident(&column.field);
    let default = constant(&column.declaration).unwrap_or_else(|| quote!(::core::default::Default::default()));
    quote!(__rt::is_same(&self.#field, &#default))
}

/// Returns whether the default of a type counts as a value: 0 does, but an empty text counts as
/// absent.
fn is_never_empty(ty: &Type) -> bool {
    match ty {
        Type::Int { .. }
        | Type::Float(_)
        | Type::BFloat16
        | Type::Bool
        | Type::Decimal { .. }
        | Type::Date
        | Type::Date32
        | Type::DateTime(_)
        | Type::DateTime64(..)
        | Type::Time
        | Type::Time64(_)
        | Type::Interval(_)
        | Type::Enum { .. } => true,
        Type::LowCardinality(inner) | Type::SimpleAggregateFunction(_, inner) => is_never_empty(inner),
        _ => false,
    }
}
