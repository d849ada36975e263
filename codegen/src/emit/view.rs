//! The materialized views, and the tables that only views fill, as definitions for the runtime.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::{ddl, text::raw_string};
use crate::{
    model::{Model, View},
    types::view_query,
};

/// Returns the call that adds the views and their tables to the schema; none without views.
pub(super) fn of_schema(model: &Model) -> Option<TokenStream> {
    if model.views.is_empty() && model.targets.is_empty() {
        return None;
    }
    let first = model.tables.len();
    let targets = model
        .targets
        .iter()
        .enumerate()
        .map(|(index, target)| ddl::definition(first + index, target));
    let views = model.views.iter().map(view);
    Some(quote!(.with_views(&[#(&#targets),*], &[#(#views),*])))
}

fn view(view: &View) -> TokenStream {
    let View { name, target, .. } = view;
    let select = raw_string(&view.select);
    let source = view.source.as_ref().map(|source| {
        let table = &source.name;
        let (start, end) = (
            Literal::usize_unsuffixed(source.span.start),
            Literal::usize_unsuffixed(source.span.end),
        );
        let has_alias = source.has_alias;
        quote!(.over(#table, #start..#end, #has_alias))
    });
    let tables = view_query(&view.select).map_or_else(Vec::new, |query| query.tables);
    let unqualified: Vec<_> = tables
        .iter()
        .filter(|table| !table.is_qualified)
        .map(|table| {
            let (start, end) = (
                Literal::usize_unsuffixed(table.span.start),
                Literal::usize_unsuffixed(table.span.end),
            );
            quote!(#start..#end)
        })
        .collect();
    let reading = (!unqualified.is_empty()).then(|| quote!(.reading(&[#(#unqualified),*])));
    let refresh = view.refresh.as_ref().map(|refresh| quote!(.refreshed(#refresh)));
    let cluster = view.cluster.as_ref().map(|cluster| quote!(.on_cluster(#cluster)));
    let comment = view.comment.as_ref().map(|comment| quote!(.commented(#comment)));
    quote!(__rt::View::new(#name, #target, #select) #source #reading #refresh #cluster #comment)
}
