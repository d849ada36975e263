//! The tests that `docs/security.md` names: each of them exists.

#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::{Attribute, Item, ItemFn};

#[test]
fn each_test_that_the_security_document_names_exists() {
    let text = fs::read_to_string(root().join("docs/security.md")).unwrap();
    let names = names(&text);
    assert!(names.len() > 80, "{names:?}");
    let unknown: Vec<_> = names.iter().filter(|name| !exists(name)).collect();
    assert!(
        unknown.is_empty(),
        "docs/security.md names tests that do not exist: {unknown:#?}"
    );
}

#[test]
fn a_name_of_no_test_is_found() {
    let text = "| attack | Rowmill | test |\n|---|---|---|\n| `x` | `y` | `golden`, `a::b` (`--ignored`) |\ntext `z`\n";
    assert_eq!(names(text), ["golden", "a::b"]);
    for (name, is_known) in [
        ("golden", true),
        ("bad_input::addresses", true),
        ("ids::a_clock_that_was_set_back_repeats_no_id", true),
        ("ingest: composition::events_do_not_wait_for_a_full_inner_service", true),
        ("ingest: store::tests::settings_follow_the_database", true),
        ("codegen: declare::source::tests", true),
        ("rowmill: init::new_crate::tests", true),
        ("gold", false),
        ("ids::a_clock_that_was_set_back", false),
        ("bad_input::a_clock_that_was_set_back_repeats_no_id", false),
        ("ingest: ids::a_clock_that_was_set_back_repeats_no_id", false),
        // A function without the attribute of a test.
        ("ingest: store::quoted", false),
        // A module without tests.
        ("ingest: lease::servers", false),
        ("engine access", false),
    ] {
        assert_eq!(exists(name), is_known, "{name}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns the names in backquotes in the last column of each table, except those in parentheses.
fn names(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_suffix(" |"));
    let cells = rows.filter_map(|row| row.rsplit(" | ").next());
    let outside = cells.flat_map(|cell| cell.split('(').enumerate().map(after_parenthesis));
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

/// Returns the text that follows the closing parenthesis; all of it before the first opening one.
fn after_parenthesis((at, text): (usize, &str)) -> &str {
    match at {
        0 => text,
        _ => text.split_once(')').map_or("", |(_, after)| after),
    }
}

/// Returns whether a test or a module with tests has this name: `module::test` in `tests/it`, or
/// `ingest: module::test` in the sources or the tests of a crate.
fn exists(name: &str) -> bool {
    let (folders, path) = match name.split_once(": ") {
        Some(("rowmill", path)) => (vec!["src".to_owned()], path),
        Some((name, path)) => (vec![format!("{name}/src"), format!("{name}/tests")], path),
        None => (vec!["tests/it".to_owned()], name),
    };
    let path: Vec<_> = path.split("::").collect();
    folders.iter().any(|folder| is_in_folder(&root().join(folder), &path))
}

/// Returns whether the module at the start of `path` is a file of `folder`, or a folder in it, and
/// has the rest of the path.
fn is_in_folder(folder: &Path, path: &[&str]) -> bool {
    let Some((module, rest)) = path.split_first() else {
        return has_tests(folder);
    };
    let inner = folder.join(module);
    let files = [folder.join(format!("{module}.rs")), inner.join("mod.rs")];
    let is_in_file = |file: &PathBuf| fs::read_to_string(file).is_ok_and(|text| is_in(&items(&text), rest));
    files.iter().any(is_in_file) || (inner.is_dir() && is_in_folder(&inner, rest))
}

/// Returns whether a folder has a file with tests.
fn has_tests(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            has_tests(&path)
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && is_in(&items(&fs::read_to_string(&path).unwrap()), &[])
        }
    })
}

fn items(text: &str) -> Vec<Item> {
    syn::parse_file(text).unwrap().items
}

/// Returns whether items contain the test with this path, or any test if the path is empty.
fn is_in(items: &[Item], path: &[&str]) -> bool {
    items.iter().any(|item| match item {
        Item::Fn(item) => is_test(item) && (path.is_empty() || item.sig.ident == path[0] && path.len() == 1),
        Item::Mod(item) => item
            .content
            .as_ref()
            .is_some_and(|(_, items)| match path.split_first() {
                Some((first, rest)) => item.ident == first && is_in(items, rest),
                None => is_in(items, path),
            }),
        _ => false,
    })
}

/// Returns whether a function has the attribute `#[test]`, or one of a runtime such as
/// `#[tokio::test]`.
fn is_test(item: &ItemFn) -> bool {
    let is_test = |attribute: &Attribute| {
        attribute
            .path()
            .segments
            .last()
            .is_some_and(|name| name.ident == "test")
    };
    item.attrs.iter().any(is_test)
}
