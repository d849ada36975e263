//! The expression that reads a value of an event into a field.

use proc_macro2::TokenStream;
use quote::quote;

use crate::{
    declare::Unit,
    model::{Column, Table},
};

/// Returns the expression that reads `input` into a field of a column, or into its element.
pub(super) fn read(column: &Column, table: &Table, field: &TokenStream) -> TokenStream {
    let unit = column.event.unit.filter(|_| column.declaration.ty.moment().is_some());
    let unit = match unit {
        None | Some(Unit::Raw) => None,
        Some(Unit::Second) => Some(quote!(Second)),
        Some(Unit::Millisecond) => Some(quote!(Millisecond)),
        Some(Unit::Microsecond) => Some(quote!(Microsecond)),
        Some(Unit::Nanosecond) => Some(quote!(Nanosecond)),
    };
    let read = match unit {
        None => quote!(input.read(#field)),
        Some(unit) => quote!(input.read_in(__rt::Unit::#unit, #field)),
    };
    match column.event.is_strict {
        Some(is_strict) if is_strict != table.is_strict => quote!(input.with_strictness(#is_strict, |input| #read)),
        _ => read,
    }
}
