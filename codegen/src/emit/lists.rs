//! Lists of objects: which arrays of a table they fill, and the method that does it.

use std::collections::BTreeMap;

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::{columns::Columns, read_value::read, value_bytes::bytes};
use crate::{
    model::{Column, Table},
    names,
    paths::Role,
};

/// The lists of a table, by their paths, and the columns of each with their paths.
type Lists<'t> = BTreeMap<&'t str, Vec<(usize, &'t str)>>;

/// Returns the lists of a table: a path with a dot, of an array column, is that of an element of a
/// list. An extra of the whole event keeps all lists, as in the original format.
fn lists(table: &Table) -> Lists<'_> {
    let mut lists = Lists::new();
    if table.extras.iter().any(|extra| extra.path.is_empty()) {
        return lists;
    }
    for (index, column) in arrays(table) {
        let from = column.event.from.iter().map(|path| path.text.as_str());
        let name = column.event.from.is_empty().then_some(column.name.as_str());
        for path in from.chain(name) {
            for (dot, _) in path.match_indices('.') {
                lists.entry(&path[..dot]).or_default().push((index, path));
            }
        }
    }
    lists
}

/// Returns the array columns that events fill.
fn arrays(table: &Table) -> impl Iterator<Item = (usize, &Column)> {
    let is_filled = |column: &Column| column.role == Role::Event && column.declaration.ty.is_array();
    table.stored().filter(move |(_, column)| is_filled(column))
}

/// Returns the value of the constant for the lists; none if the table has none.
pub(super) fn constant(table: &Table, columns: &Columns) -> Option<TokenStream> {
    let lists = lists(table);
    let items = lists.iter().map(|(path, members)| {
        let members = members.iter().map(|(index, path)| {
            let index = columns.index(*index);
            quote!((#index, #path))
        });
        quote!(__rt::ListColumns { path: #path, columns: &[#(#members),*] })
    });
    let items: Vec<_> = items.collect();
    (!items.is_empty()).then(|| quote!(&[#(#items),*]))
}

/// Returns the method that fills one element of an array; none if the table has no lists.
pub(super) fn put_element(table: &Table, columns: &Columns) -> Option<TokenStream> {
    let lists = lists(table);
    let arms = arrays(table)
        .filter(|(index, _)| lists.values().flatten().any(|(member, _)| member == index))
        .map(|(index, column)| {
            let index = columns.index(index);
            let field = names::ident(&column.field);
            let read = read(column, table, &quote!(element));
            let put = quote!(__rt::put_element(&mut self.#field, index, input, |input, element| #read));
            match column.event.max_bytes {
                None => quote!(#index => #put,),
                Some(max_bytes) => {
                    let max_bytes = Literal::usize_unsuffixed(max_bytes);
                    let bytes = bytes(&column.declaration.ty, &field);
                    quote! {
                        #index => {
                            let is_end = input.is_none();
                            #put?;
                            if is_end { __rt::at_most(#max_bytes, #bytes) } else { Ok(()) }
                        }
                    }
                }
            }
        });
    let arms: Vec<_> = arms.collect();
    (!arms.is_empty()).then(|| {
        quote! {
            fn put_element(
                &mut self,
                column: usize,
                index: usize,
                input: ::core::option::Option<__rt::Input<'_, 'a>>,
            ) -> ::core::result::Result<(), __rt::ValueError> {
                match column {
                    #(#arms)*
                    _ => Ok(()),
                }
            }
        }
    })
}
