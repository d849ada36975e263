//! The dictionaries: their statements, and their definitions for the runtime.

use proc_macro2::TokenStream;
use quote::quote;

use super::{ddl::quote_name, text::raw_string};
use crate::{
    model::{Dictionary, Model},
    types::quote_text,
};

/// Returns the call that adds the dictionaries to the schema; none without dictionaries.
pub(super) fn of_schema(model: &Model) -> Option<TokenStream> {
    if model.dictionaries.is_empty() {
        return None;
    }
    let dictionaries = model.dictionaries.iter().map(|dictionary| {
        let name = &dictionary.name;
        let definition = raw_string(&definition(dictionary, &dictionary.source));
        let cluster = dictionary.cluster.as_ref().map(|cluster| quote!(.on_cluster(#cluster)));
        quote!(__rt::Dictionary::new(#name, #definition) #cluster)
    });
    Some(quote!(.with_dictionaries(&[#(#dictionaries),*])))
}

/// Returns the statement that creates a dictionary on one server, with its own or another source.
pub(crate) fn create(dictionary: &Dictionary, source: &str) -> String {
    format!(
        "CREATE DICTIONARY {}{}",
        quote_name(&dictionary.name),
        definition(dictionary, source)
    )
}

/// Returns the text of the statement after the name and the cluster.
fn definition(dictionary: &Dictionary, source: &str) -> String {
    let attributes: Vec<String> = dictionary
        .attributes
        .iter()
        .map(|(name, declaration)| format!("    {} {declaration}", quote_name(name)))
        .collect();
    let key = &dictionary.primary_key;
    let key = key
        .strip_prefix('(')
        .and_then(|key| key.strip_suffix(')'))
        .unwrap_or(key);
    let mut sql = format!(
        "\n(\n{}\n)\nPRIMARY KEY {key}\nSOURCE({source})",
        attributes.join(",\n")
    );
    for (keyword, text) in &dictionary.clauses {
        // A layout without parameters may be written without brackets.
        let brackets = if *keyword == "LAYOUT" && !text.contains('(') {
            "()"
        } else {
            ""
        };
        sql.push_str(&format!("\n{keyword}({text}{brackets})"));
    }
    if let Some(comment) = &dictionary.comment {
        sql.push_str(&format!("\nCOMMENT {}", quote_text(comment)));
    }
    sql
}
