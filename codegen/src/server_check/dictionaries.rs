//! The dictionaries of a schema on a server.

use super::{Send, refusal::Refusal};
use crate::{
    declare::{Declared, Dictionary},
    diagnostic::{Diagnostic, Report},
    emit,
    model::{self, Model},
    source::Span,
};

/// A source that any server has, and that has no rows. The data of the own source is not needed to
/// check the tables and views that use the dictionary.
const EMPTY_SOURCE: &str = "NULL()";

/// Returns whether a statement may use one of the dictionaries.
pub(super) fn are_used_in(statement: &str, model: &Model) -> bool {
    let mut names = model.dictionaries.iter().map(|dictionary| dictionary.name.as_str());
    statement.contains("dict") && names.any(|name| statement.contains(name))
}

/// Creates each dictionary.
///
/// # Errors
/// The error of `send`.
pub(super) fn check<E>(declared: &Declared, model: &Model, report: &mut Report, send: Send<'_, E>) -> Result<(), E> {
    for dictionary in &model.dictionaries {
        let Some(written) = declared
            .dictionaries
            .iter()
            .find(|declared| declared.name.text == dictionary.name)
        else {
            continue;
        };
        if let Err(message) = send(&emit::create_dictionary(dictionary, &dictionary.source))? {
            let refusal = Refusal::new(&message);
            let message = format!("ClickHouse refuses this: {}", refusal.text());
            let place = format!("dictionary `{}`", dictionary.name);
            let diagnostic = Diagnostic::error("refused-by-clickhouse", message);
            report.push(diagnostic.label(place_of(&refusal, written), place));
            continue;
        }
        replace_source(dictionary, send)?;
    }
    Ok(())
}

/// Creates the dictionary without its data, so that no other server is asked for it.
fn replace_source<E>(dictionary: &model::Dictionary, send: Send<'_, E>) -> Result<(), E> {
    let drop = format!("DROP DICTIONARY {}", emit::quote_name(&dictionary.name));
    if send(&drop)?.is_ok() && send(&emit::create_dictionary(dictionary, EMPTY_SOURCE))?.is_err() {
        let _ = send(&emit::create_dictionary(dictionary, &dictionary.source))?;
    }
    Ok(())
}

/// Returns the piece that a message names, or the dictionary's name.
fn place_of(refusal: &Refusal, dictionary: &Dictionary) -> Span {
    let attributes = dictionary.attributes.iter().map(|attribute| &attribute.declaration);
    let clauses = [
        Some(&dictionary.source),
        Some(&dictionary.layout),
        dictionary.lifetime.as_ref(),
        dictionary.range.as_ref(),
        dictionary.settings.as_ref(),
        Some(&dictionary.primary_key),
    ];
    clauses
        .into_iter()
        .flatten()
        .chain(attributes)
        .find_map(|sql| sql.span(&refusal.place_in(sql.as_str())?))
        .unwrap_or_else(|| dictionary.name.span.clone())
}
