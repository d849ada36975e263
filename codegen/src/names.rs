//! Names: the Rust names of tables, columns and enum values.
//!
//! A name of ASCII letters stays as it is. Every other character becomes `_`; only where this makes
//! two names alike, [`assign`] keeps the characters that Rust allows.

mod assign;

use std::collections::HashMap;

use proc_macro2::{Ident, Span};

pub(crate) use self::assign::{Named, TableNames, fields, is_identifier, route_constants, table_names};

/// Returns the field name of a column: characters that Rust does not allow in a name become `_`.
pub(crate) fn field(column: &str) -> String {
    let mut name: String = column
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' })
        .collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || name.chars().all(|c| c == '_') {
        name.insert_str(0, "column_");
    }
    name
}

/// Returns the name of a type: `mail_statistics` becomes `MailStatistics`.
pub(crate) fn type_name(name: &str) -> String {
    let mut words = String::with_capacity(name.len());
    let mut starts = true;
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            words.push(if starts { c.to_ascii_uppercase() } else { c });
            starts = false;
        } else {
            starts = true;
        }
    }
    if words.is_empty() || words.starts_with(|c: char| c.is_ascii_digit()) {
        words.insert(0, 'T');
    }
    words
}

/// Returns the name of a module: `Mail-Statistics` becomes `mail_statistics`.
pub(crate) fn module(table: &str) -> String {
    field(table).to_ascii_lowercase()
}

/// Returns the name of a constant: `wh/mail` becomes `WH_MAIL`.
pub(crate) fn constant(path: &str) -> String {
    field(path).to_ascii_uppercase()
}

/// Returns the identifier, a raw one for a keyword of any edition.
pub(crate) fn ident(name: &str) -> Ident {
    let name = speakable(name);
    // Reserved since the edition 2024, and not known to every version of the parser.
    let is_new_keyword = name == "gen";
    match syn::parse_str::<Ident>(&name) {
        Ok(ident) if !is_new_keyword => ident,
        _ => Ident::new_raw(&name, Span::call_site()),
    }
}

/// Returns the name, with a `_` after the four keywords that cannot be raw identifiers.
pub(crate) fn speakable(name: &str) -> String {
    match name {
        "self" | "Self" | "super" | "crate" => format!("{name}_"),
        _ => name.to_owned(),
    }
}

/// The names that are in use in one scope.
#[derive(Debug, Default)]
pub(crate) struct UsedNames(HashMap<String, usize>);

impl UsedNames {
    /// Returns the name of a field, or a similar one if the name is in use.
    pub(crate) fn unique(&mut self, name: &str) -> String {
        self.unique_or_numbered(&speakable(name), "_")
    }

    /// Returns the name of a type or of an enum's value, or a similar one if the name is in use.
    /// The number has no `_` before it, since rustc warns about `_` in such names.
    pub(crate) fn unique_type(&mut self, name: &str) -> String {
        self.unique_or_numbered(&speakable(name), "")
    }

    fn unique_or_numbered(&mut self, name: &str, before_number: &str) -> String {
        loop {
            let uses = self.0.entry(name.to_owned()).or_insert(0);
            *uses += 1;
            let free = match *uses {
                1 => return name.to_owned(),
                2 if before_number.is_empty() && name.ends_with('_') => format!("{}2", name.trim_end_matches('_')),
                2 => format!("{name}_"),
                uses if before_number.is_empty() => format!("{}{uses}", name.trim_end_matches('_')),
                uses => format!("{name}{before_number}{uses}"),
            };
            if !self.0.contains_key(&free) {
                self.0.insert(free.clone(), 1);
                return free;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_fields() {
        assert_eq!(field("dateTime"), "dateTime");
        assert_eq!(field("td_extra.key"), "td_extra_key");
        assert_eq!(field("2fa"), "column_2fa");
        assert_eq!(field("имя"), "column____");
        assert_eq!(ident("type").to_string(), "r#type");
        assert_eq!(ident("gen").to_string(), "r#gen");
        assert_eq!(ident("union").to_string(), "union");
        assert_eq!(ident("self").to_string(), "self_");
    }

    #[test]
    fn names_are_unique() {
        let mut used = UsedNames::default();
        let names = ["T", "T", "T_", "T", "T_4", "T"].map(|name| used.unique(name));
        assert_eq!(names, ["T", "T_", "T__", "T_3", "T_4", "T_5"]);
        let mut used = UsedNames::default();
        let names = ["T", "T", "T", "T4", "T"].map(|name| used.unique_type(name));
        assert_eq!(names, ["T", "T_", "T3", "T4", "T5"]);
        let mut used = UsedNames::default();
        let names = ["Self", "Self", "Self"].map(|name| used.unique_type(name));
        assert_eq!(names, ["Self_", "Self2", "Self3"]);
    }

    #[test]
    fn tables_become_types_and_modules() {
        assert_eq!(type_name("mail_statistics"), "MailStatistics");
        assert_eq!(type_name("2fa-log"), "T2faLog");
        assert_eq!(module("Mail-Log"), "mail_log");
        assert_eq!(constant("wh/mail"), "WH_MAIL");
    }
}
