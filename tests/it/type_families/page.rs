//! Compares the page of types with the engine's list and the generated code.

use std::collections::{BTreeMap, BTreeSet};

use super::{REFUSED, families, generated, supported};
use crate::support::engine::Database;

const PAGE: &str = include_str!("../../../docs/types.md");

/// Returns the rows of the page's table under a heading: the names in the first cell, and the
/// second cell.
fn page(heading: &str) -> Vec<(Vec<String>, &'static str)> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let row = |line: &'static str| {
        let mut cells = line.split('|').skip(1);
        (code_spans(cells.next().unwrap()), cells.next().unwrap())
    };
    rows.map(row).collect()
}

/// Returns the texts between backquotes.
fn code_spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Groups names by family.
fn by_family(rows: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for (family, name) in rows {
        all.entry(family).or_default().insert(name);
    }
    all
}

#[test]
fn the_page_of_types_lists_all_types() {
    let supported = supported();
    let rows = page("In a table");
    let listed: Vec<&String> = rows.iter().flat_map(|(families, _)| families).collect();
    assert_eq!(BTreeSet::from_iter(listed.clone()), supported.keys().collect());
    assert_eq!(listed.len(), supported.len(), "each type is listed once");
    for (families, rust) in &rows {
        for family in families {
            let actual = rust_type(&supported[family]);
            // A type that is generated for the column has the column's name.
            if actual == "C" {
                assert!(rust.contains("called like the column"), "{family}: {rust}");
            } else if !actual.is_empty() && !matches!(family.as_str(), "LowCardinality" | "SimpleAggregateFunction") {
                let named = code_spans(rust)
                    .iter()
                    .any(|name| name.split('<').next() == Some(&actual));
                assert!(named, "{family} is a {actual}: {rust}");
            }
        }
    }

    let refused = page("Not in a table, or not from events");
    let refused: Vec<(String, String)> = refused
        .into_iter()
        .map(|(names, code)| (names.concat(), code_spans(code).concat()))
        .collect();
    let expected = REFUSED.map(|(name, _, code, _)| (name.to_owned(), code.to_owned()));
    assert_eq!(BTreeSet::from_iter(refused), BTreeSet::from(expected));

    let database = Database::create("families_page");
    let aliases = families(&database)
        .into_iter()
        .filter(|family| !family.alias_to.is_empty());
    let aliases = by_family(aliases.map(|family| (family.alias_to, family.name)));
    let written = page("Other names").into_iter().flat_map(|(names, also)| {
        let family = names.concat();
        code_spans(also).into_iter().map(move |name| (family.clone(), name))
    });
    assert_eq!(by_family(written), aliases);
}

/// Returns the name of the Rust type of a column without its parameters; empty for a tuple.
fn rust_type(ty: &str) -> String {
    let code = generated(ty).code;
    let row = code.split_once("pub struct T").unwrap().1;
    let (_, field) = row.split_once("pub c").unwrap();
    let field = field.split_once(": ").unwrap().1;
    let end = field
        .find(|c: char| !(c.is_alphanumeric() || "_:".contains(c)))
        .unwrap();
    let name = field[..end].rsplit("::").next();
    name.unwrap().to_owned()
}
