//! The names of all columns of a table, of all tables, and of the routes of a table.
//!
//! Each has its first form: the one in which every character but an ASCII letter, digit or `_` is
//! lost. A name that is not ASCII, and whose first form another name has, gets its second form,
//! which keeps every character that Rust allows; and if this one is in use as well, its third form,
//! which spells the lost characters as numbers. A keyword that needs a `_`, beside a name that has the
//! `_` by itself, gets a prefix instead: `column_self`. So the name of a column changes only where the
//! code would not compile.

use std::collections::HashMap;

use icu_normalizer::ComposingNormalizerBorrowed;
use unicode_ident::{is_xid_continue, is_xid_start};

use super::{UsedNames, constant, field, module, speakable, type_name};

/// A table or a column: its name in ClickHouse, and the Rust name that the schema gives it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Named<'n> {
    pub(crate) name: &'n str,
    pub(crate) rust: Option<&'n str>,
}

/// The names that the generated code derives from a table's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableNames {
    /// The type of a row.
    pub(crate) row: String,
    /// The type of the layer.
    pub(crate) layer: String,
    pub(crate) module: String,
}

impl TableNames {
    fn new(row: &str, module: &str) -> Self {
        Self {
            row: speakable(row),
            layer: format!("{row}Layer"),
            module: speakable(module),
        }
    }

    /// Returns the name of the row's owned twin. Unlike the row's own name, it needs no `_` behind
    /// `Self`.
    pub(crate) fn owned(&self) -> String {
        let row = self.layer.strip_suffix("Layer").unwrap_or(&self.row);
        format!("{row}Owned")
    }

    /// Returns the three names.
    pub(crate) fn all(&self) -> [&str; 3] {
        [&self.row, &self.layer, &self.module]
    }
}

/// Returns whether a text is an identifier, or a keyword that can be a raw one.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    let starts = chars.next().is_some_and(|c| c == '_' || is_xid_start(c));
    starts && chars.all(is_xid_continue) && text.chars().any(|c| c != '_') && speakable(text) == text
}

/// Returns the field of each column. Two columns have the same field only if a rule refuses both.
pub(crate) fn fields(columns: &[Named<'_>]) -> Vec<String> {
    let fields = assign(
        columns,
        "column",
        [
            |name| vec![speakable(&field(name))],
            |name| vec![speakable(&readable_field(name))],
            |name| vec![escaped(name)],
        ],
    );
    fields.into_iter().flatten().collect()
}

/// Returns the names of each table.
pub(crate) fn table_names(tables: &[Named<'_>]) -> Vec<TableNames> {
    let names = assign(
        tables,
        "table",
        [
            |name| names_of(&type_name(name), &module(name)),
            |name| names_of(&readable_type(name), &readable_field(name).to_lowercase()),
            |name| names_of(&type_name(&escaped(name)), &escaped(name).to_ascii_lowercase()),
        ],
    );
    let names = names
        .into_iter()
        .filter_map(|names| <[String; 3]>::try_from(names).ok());
    names
        .map(|[row, layer, module]| TableNames { row, layer, module })
        .collect()
}

fn names_of(row: &str, module: &str) -> Vec<String> {
    let TableNames { row, layer, module } = TableNames::new(row, module);
    vec![row, layer, module]
}

/// Returns the constant of each route of one table.
pub(crate) fn route_constants(paths: &[&str]) -> Vec<String> {
    let named: Vec<Named<'_>> = paths.iter().map(|name| Named { name, rust: None }).collect();
    let constants = assign(
        &named,
        "route",
        [
            |path| vec![constant(path)],
            |path| vec![readable_field(path).to_uppercase()],
            |path| vec![escaped(path).to_ascii_uppercase()],
        ],
    );
    // `wh/a-b` and `wh/a_b`.
    let mut used = UsedNames::default();
    constants
        .into_iter()
        .flatten()
        .map(|constant| used.unique(&composed(&constant)))
        .collect()
}

/// A form of a name: the names in Rust that it needs.
type Form = fn(&str) -> Vec<String>;

/// Returns the Rust names of each item, in the first of the forms in which no other item needs one
/// of them. `kind` is the prefix of a keyword.
fn assign(items: &[Named<'_>], kind: &str, [first, readable, escaped]: [Form; 3]) -> Vec<Vec<String>> {
    let mut names: Vec<Vec<String>> = items
        .iter()
        .map(|item| item.rust.map_or_else(|| first(item.name), readable))
        .collect();
    let uses = uses_of(&names);
    for (item, names) in items.iter().zip(&mut names) {
        if item.rust.is_none() && speakable(item.name) != item.name && are_alike(names, &uses) {
            *names = first(&format!("{kind}_{}", item.name));
        }
    }
    for (form, stays) in [
        (readable, (|_| false) as fn(&str) -> bool),
        (escaped, |name| readable_field(name) == name),
    ] {
        let uses = uses_of(&names);
        for (item, names) in items.iter().zip(&mut names) {
            let is_free = item.rust.is_none() && !item.name.is_ascii() && !stays(item.name);
            if is_free && are_alike(names, &uses) {
                *names = form(item.name);
            }
        }
    }
    names
}

/// Returns how many items need each name.
fn uses_of(names: &[Vec<String>]) -> HashMap<String, usize> {
    let mut uses = HashMap::new();
    for name in names.iter().flatten() {
        *uses.entry(name.clone()).or_default() += 1;
    }
    uses
}

/// Returns whether another item needs one of the names.
fn are_alike(names: &[String], uses: &HashMap<String, usize>) -> bool {
    names.iter().any(|name| uses.get(name).is_some_and(|uses| *uses > 1))
}

/// Returns a name with the characters that Rust allows; the others become `_`.
fn readable_field(name: &str) -> String {
    let allowed: String = composed(name)
        .chars()
        .map(|c| if is_xid_continue(c) { c } else { '_' })
        .collect();
    after_prefix(allowed)
}

fn after_prefix(mut name: String) -> String {
    let starts = name.chars().next().is_some_and(|c| c == '_' || is_xid_start(c));
    if !starts || name.chars().all(|c| c == '_') {
        name.insert_str(0, "column_");
    }
    name
}

/// Returns the name of a type: `письма_клиентов` becomes `ПисьмаКлиентов`. Scripts without capital
/// letters get a `T` before the name, which distinguishes the type from the module.
fn readable_type(name: &str) -> String {
    let mut words = String::with_capacity(name.len());
    let mut starts = true;
    for c in composed(name).chars() {
        match (is_xid_continue(c) && c != '_', starts) {
            (true, true) => words.extend(c.to_uppercase()),
            (true, false) => words.push(c),
            (false, _) => {}
        }
        // A mark follows the letter that it belongs to.
        starts = !is_xid_continue(c) || c == '_';
    }
    if !words.starts_with(|c: char| is_xid_start(c) && c.is_uppercase()) {
        words.insert(0, 'T');
    }
    composed(&words)
}

/// Returns a name in ASCII that no other name is likely to have: each character that Rust does not
/// allow, and each one that is not ASCII, is spelt as its number.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => escaped.push(c),
            c => escaped.push_str(&format!("_u{:x}_", u32::from(c))),
        }
    }
    after_prefix(escaped)
}

/// Returns the name in the form in which rustc compares names, NFC.
fn composed(name: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'n>(names: &[&'n str]) -> Vec<Named<'n>> {
        names.iter().map(|name| Named { name, rust: None }).collect()
    }

    #[test]
    fn a_name_changes_only_where_two_are_alike() {
        assert_eq!(fields(&named(&["имя", "id", "gen"])), ["column____", "id", "gen"]);
        assert_eq!(fields(&named(&["имя", "тип"])), ["имя", "тип"]);
        assert_eq!(fields(&named(&["名字", "类型", "类-"])), ["名字", "类型", "类_"]);
        assert_eq!(fields(&named(&["a_", "aя"])), ["a_", "aя"]);
        assert_eq!(fields(&named(&["🎉", "🎊"])), ["_u1f389_", "_u1f38a_"]);
        assert_eq!(fields(&named(&["я-1", "я_1", "ю_1"])), ["_u44f__u2d_1", "я_1", "ю_1"]);
        // The same letter, composed and decomposed.
        let letters = ["\u{e9}", "\u{e8}", "e\u{301}", "e\u{300}"];
        assert_eq!(fields(&named(&letters)), ["\u{e9}", "\u{e8}", "e_u301_", "e_u300_"]);
    }

    #[test]
    fn a_keyword_beside_its_name_with_an_underscore_gets_a_prefix() {
        assert_eq!(fields(&named(&["self", "Self"])), ["self_", "Self_"]);
        assert_eq!(
            fields(&named(&["self", "self_", "Self"])),
            ["column_self", "self_", "Self_"]
        );
        assert_eq!(fields(&named(&["crate_", "crate"])), ["crate_", "column_crate"]);
        // A rule refuses these.
        assert_eq!(
            fields(&named(&["self", "self_", "column_self"])),
            ["column_self", "self_", "column_self"]
        );
        let names = table_names(&named(&["self_", "self"]));
        let names: Vec<_> = names.iter().flat_map(TableNames::all).collect();
        assert_eq!(
            names,
            [
                "Self_",
                "SelfLayer",
                "self_",
                "TableSelf",
                "TableSelfLayer",
                "table_self"
            ]
        );
    }

    #[test]
    fn the_schemas_own_name_comes_first() {
        let columns = [
            Named {
                name: "имя",
                rust: Some("name"),
            },
            Named {
                name: "тип",
                rust: None,
            },
            Named {
                name: "self",
                rust: Some("type"),
            },
        ];
        assert_eq!(fields(&columns), ["name", "column____", "type"]);
    }

    #[test]
    fn tables_have_three_names() {
        let names = |names: &[&str]| -> Vec<String> {
            let names = table_names(&named(names));
            names.iter().flat_map(TableNames::all).map(str::to_owned).collect()
        };
        assert_eq!(names(&["почта"]), ["T", "TLayer", "column______"]);
        assert_eq!(
            names(&["почта", "звонк"]),
            ["Почта", "ПочтаLayer", "почта", "Звонк", "ЗвонкLayer", "звонк"]
        );
        assert_eq!(names(&["名", "字"]), ["T名", "T名Layer", "名", "T字", "T字Layer", "字"]);
        assert_eq!(names(&["self"]), ["Self_", "SelfLayer", "self_"]);
    }

    #[test]
    fn routes_have_different_constants() {
        assert_eq!(route_constants(&["wh/a-b", "wh/a_b"]), ["WH_A_B", "WH_A_B_"]);
        assert_eq!(route_constants(&["wh/почта"]), ["WH______"]);
        assert_eq!(route_constants(&["wh/почта", "wh/звонк"]), ["WH_ПОЧТА", "WH_ЗВОНК"]);
    }

    #[test]
    fn identifiers_are_those_of_rust() {
        for name in ["a", "имя", "_a", "type", "gen", "名字", "r2"] {
            assert!(is_identifier(name), "{name}");
        }
        for name in [
            "", "_", "__", "2a", "a-b", "self", "Self", "crate", "super", "r#type", "a b", "🎉",
        ] {
            assert!(!is_identifier(name), "{name}");
        }
    }
}
