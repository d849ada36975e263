//! The owned twin of a row: a row that borrows nothing.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::{model::Table, names};

/// Returns the name of a table's owned row.
pub(super) fn name(table: &Table) -> Ident {
    format_ident!("{}", table.rust.owned())
}

/// Returns whether another table needs the name of this table's owned row. The owned row is then
/// only in the table's module.
pub(super) fn is_taken(table: &Table, tables: &[Table]) -> bool {
    let name = name(table).to_string();
    tables.iter().any(|other| other.rust.all().contains(&name.as_str()))
}

/// Returns the type of the owned row, and the conversion of a row into one.
pub(super) fn owned(table: &Table) -> TokenStream {
    let (row, owned) = (names::ident(&table.rust.row), name(table));
    let doc = format!(" A row of `{}` that borrows nothing.", table.name);
    let method_doc = " Returns the row with its own copy of each borrowed text.";
    if !table.borrows() {
        return quote! {
            #[doc = #doc]
            pub type #owned = #row;

            impl #row {
                #[doc = #method_doc]
                pub fn into_owned(self) -> Self {
                    self
                }
            }
        };
    }
    let fields = table.stored().map(|(_, column)| {
        let field = names::ident(&column.field);
        match column.declaration.ty.borrows() {
            true => quote!(#field: __rt::IntoOwned::into_owned(self.#field),),
            false => quote!(#field: self.#field,),
        }
    });
    quote! {
        #[doc = #doc]
        pub type #owned = __rt::Owned<#row<'static>>;

        impl #row<'_> {
            #[doc = #method_doc]
            pub fn into_owned(self) -> #owned {
                __rt::Owned::new(#row {
                    #(#fields)*
                })
            }
        }
    }
}
