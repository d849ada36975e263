//! Rules for dictionaries. ClickHouse knows their sources and layouts; `rowmill check --engine` asks
//! it.

use super::Schema;
use crate::{
    declare::Dictionary,
    diagnostic::{Diagnostic, Report},
    model,
    sql::Sql,
    types,
};

/// Rule: no table, no view and no other dictionary has the name of a dictionary.
pub(super) fn duplicate_dictionary(schema: &Schema<'_>, report: &mut Report) {
    for dictionary in &schema.declared.dictionaries {
        let name = &dictionary.name;
        let table = schema.tables.iter().map(|table| ("table", &table.name));
        let view = schema.declared.views.iter().map(|view| ("view", &view.name));
        if let Some((kind, other)) = table.chain(view).find(|(_, other)| other.text == name.text) {
            let message = format!("dictionary `{}` has the name of a {kind}", name.text);
            let diagnostic = Diagnostic::error("bad-dictionary", message)
                .label(name.span.clone(), "")
                .label(other.span.clone(), format!("the {kind}"))
                .help("in ClickHouse, tables, views and dictionaries share their names");
            report.push(diagnostic);
        }
    }
}

/// Rule: quotes and brackets of the clauses are closed, and each stands without its keyword.
pub(super) fn dictionary_syntax(schema: &Schema<'_>, report: &mut Report) {
    for dictionary in &schema.declared.dictionaries {
        let name = &dictionary.name;
        for (keyword, sql) in clauses(dictionary) {
            let text = sql.as_str();
            let span = || sql.whole_span().unwrap_or_else(|| name.span.clone());
            if let Some(problem) = types::lexical_problem(text) {
                let at = sql.span(&problem.span).unwrap_or_else(span);
                let diagnostic = Diagnostic::error("bad-dictionary", problem.message)
                    .label(at, format!("in {keyword} of dictionary `{}`", name.text));
                report.push(diagnostic);
            } else if has_keyword(text, keyword) {
                let message = format!("`{}:` is written without the keyword {keyword}", keyword.to_lowercase());
                let diagnostic = Diagnostic::error("bad-dictionary", message)
                    .label(span(), "")
                    .help(format!("write only the text between the brackets of {keyword}(…)"));
                report.push(diagnostic);
            }
        }
    }
}

/// Returns whether the text begins with a keyword and its bracket.
fn has_keyword(text: &str, keyword: &str) -> bool {
    text.split_at_checked(keyword.len())
        .is_some_and(|(first, rest)| first.eq_ignore_ascii_case(keyword) && rest.trim_start().starts_with('('))
}

/// Rule: each part of the primary key is an attribute.
pub(super) fn dictionary_key(schema: &Schema<'_>, report: &mut Report) {
    for dictionary in &schema.declared.dictionaries {
        let key = &dictionary.primary_key;
        let names = || {
            dictionary
                .attributes
                .iter()
                .map(|attribute| attribute.name.text.as_str())
        };
        for reference in types::references(key.as_str()) {
            let name = reference.name();
            if names().any(|known| known == name) {
                continue;
            }
            let span = key
                .span(&reference.span)
                .unwrap_or_else(|| dictionary.name.span.clone());
            let message = format!("dictionary `{}` has no attribute `{name}`", dictionary.name.text);
            let diagnostic = Diagnostic::error("bad-dictionary", message)
                .did_you_mean(&name, names())
                .label(span, "in its primary key");
            report.push(diagnostic);
        }
    }
}

/// Returns the clauses with their keywords.
fn clauses(dictionary: &Dictionary) -> impl Iterator<Item = (&'static str, &Sql)> {
    [
        ("SOURCE", Some(&dictionary.source)),
        ("LAYOUT", Some(&dictionary.layout)),
        ("LIFETIME", dictionary.lifetime.as_ref()),
        ("RANGE", dictionary.range.as_ref()),
        ("SETTINGS", dictionary.settings.as_ref()),
    ]
    .into_iter()
    .filter_map(|(keyword, sql)| Some((keyword, sql?)))
}

/// Returns the dictionaries for the emitters.
pub(super) fn dictionaries(declared: &[Dictionary]) -> Vec<model::Dictionary> {
    declared
        .iter()
        .map(|dictionary| model::Dictionary {
            name: dictionary.name.text.clone(),
            attributes: dictionary
                .attributes
                .iter()
                .map(|attribute| (attribute.name.text.clone(), attribute.declaration.as_str().to_owned()))
                .collect(),
            primary_key: dictionary.primary_key.as_str().to_owned(),
            source: dictionary.source.as_str().to_owned(),
            clauses: clauses(dictionary)
                .filter(|(keyword, _)| *keyword != "SOURCE")
                .map(|(keyword, sql)| (keyword, sql.as_str().to_owned()))
                .collect(),
            cluster: dictionary.cluster.clone(),
            comment: dictionary.comment.clone(),
        })
        .collect()
}
