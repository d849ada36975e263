//! The settings of the inserts of each table, for the runtime.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::Model;

/// Returns the call that adds the settings to the schema; none without settings.
pub(super) fn of_schema(model: &Model) -> Option<TokenStream> {
    let tables: Vec<TokenStream> = model
        .tables
        .iter()
        .filter(|table| !table.insert_settings.is_empty())
        .map(|table| {
            let name = &table.name;
            let settings = table
                .insert_settings
                .iter()
                .map(|(name, value)| quote!((#name, #value)));
            quote!((#name, &[#(#settings),*]))
        })
        .collect();
    (!tables.is_empty()).then(|| quote!(.with_insert_settings(&[#(#tables),*])))
}
