//! Columns: a constant for the index of each column, so that the generated code names columns.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use crate::{model::Table, names};

/// The constants of one table's columns.
pub(super) struct Columns {
    names: Vec<Ident>,
}

impl Columns {
    pub(super) fn new(table: &Table) -> Self {
        let mut used = names::UsedNames::default();
        let names = table
            .columns
            .iter()
            .map(|column| names::ident(&used.unique(&names::constant(&column.field))))
            .collect();
        Self { names }
    }

    /// Returns the path of a column's constant.
    pub(super) fn index(&self, column: usize) -> TokenStream {
        let name = &self.names[column];
        quote!(columns::#name)
    }

    /// Returns the module that declares the constants.
    pub(super) fn module(&self) -> TokenStream {
        let constants = self.names.iter().enumerate().map(|(index, name)| {
            let index = Literal::usize_unsuffixed(index);
            quote!(pub const #name: usize = #index;)
        });
        quote! {
            /// The index of each column of the table.
            mod columns {
                #(#constants)*
            }
        }
    }
}
