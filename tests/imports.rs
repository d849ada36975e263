//! The layout of the crates: each folder of `ingest/src` imports only from lower stages, and no
//! files import each other in a circle.
//!
//! The test reads every `use` and every path that begins with `crate::` or `super::`, except in
//! tests.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{
    Attribute, Item, ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

/// The folders and files of `ingest/src`, from the first that sees a request to those that depend
/// on neither requests nor tables.
const STAGES: [&str; 40] = [
    "test",
    "service",
    "collect",
    "adapters",
    "verify",
    "intake",
    "answer",
    "writer",
    "rejected",
    "forget",
    "backfill",
    "topics",
    "archive",
    "kafka",
    "handover",
    "deliver",
    "spool",
    "sharding",
    "idempotency",
    "block",
    "native",
    "row_bytes",
    "lease",
    "sync",
    "ids",
    "value",
    "privacy",
    "identify",
    "table",
    "request",
    "json",
    "fields",
    "store",
    "ack",
    "arena",
    "scan",
    "budget",
    "leb128",
    "private",
    "tls",
];

/// The module that generated code uses; it re-exports from everywhere.
const RUNTIME_MODULE: &str = "rt";

/// Files that import each other because they read a grammar by recursive descent.
const RECURSIVE_DESCENT: [&str; 3] = ["types::arguments", "types::enumeration", "types::grammar"];

/// The path of a module in its crate; empty for the crate's root.
type Module = Vec<String>;

/// The source of each module.
type Sources = BTreeMap<Module, String>;

/// The modules that each module imports from.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn a_folder_imports_only_from_lower_stages() {
    let imports = imports_of(&sources("ingest/src"));
    let unknown: Vec<_> = imports
        .keys()
        .filter(|module| !module.is_empty() && module[0] != RUNTIME_MODULE && stage(module).is_none())
        .collect();
    assert!(unknown.is_empty(), "add these to `STAGES`, in their place: {unknown:?}");
    let upward = upward(&imports);
    assert!(upward.is_empty(), "imports from a higher stage:\n{}", upward.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for root in ["ingest/src", "codegen/src", "engine/src"] {
        let circles = circles(&imports_of(&sources(root)));
        assert!(circles.is_empty(), "circles in {root}: {circles:#?}");
    }
}

#[test]
fn an_upward_import_and_a_circle_are_found() {
    let source = |path: &str, text: &str| (module(path), text.to_owned());
    let sources = Sources::from([
        source("", "mod ack; mod spool;"),
        source("ack", "use crate::spool::Spool;"),
        source("spool", "mod log; mod state; pub(crate) struct Spool;"),
        source("spool::log", "use super::state::State; pub(super) struct Log;"),
        source("spool::state", "pub(super) struct State(Vec<super::log::Log>);"),
        source("scan", "#[cfg(test)] mod tests { use crate::spool::Spool; }"),
    ]);
    let imports = imports_of(&sources);
    assert_eq!(upward(&imports), ["ack -> spool"]);
    assert_eq!(circles(&imports), [["spool::log", "spool::state"]]);
}

/// Returns the imports from a module to a higher stage.
fn upward(imports: &Imports) -> Vec<String> {
    let edges = imports
        .iter()
        .flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
    edges
        .filter(|(from, to)| stage(to).is_some_and(|to| stage(from).is_some_and(|from| to < from)))
        .map(|(from, to)| format!("{} -> {}", from.join("::"), to.join("::")))
        .collect()
}

fn stage(module: &Module) -> Option<usize> {
    STAGES
        .iter()
        .position(|stage| module.first().is_some_and(|name| name == stage))
}

/// Returns the groups of sibling files or folders that import each other in a circle. Imports
/// between a parent and its children are allowed.
fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let folders: BTreeSet<&[String]> = imports
        .keys()
        .filter_map(|module| module.split_last())
        .map(|(_, folder)| folder)
        .collect();
    let mut circles = Vec::new();
    for folder in folders {
        let child = |module: &Module| {
            module
                .starts_with(folder)
                .then(|| module.get(folder.len()).cloned())
                .flatten()
        };
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, all) in imports {
            for (from, to) in all.iter().filter_map(|to| Some((child(from)?, child(to)?))) {
                edges.entry(from).or_default().insert(to);
            }
        }
        let mut left: BTreeSet<&String> = edges.keys().collect();
        while let Some(name) = left.pop_first() {
            let mut circle = vec![name];
            let reaches = reached(&edges, name);
            left.retain(|other: &&String| {
                let is_in_circle = reaches.contains(other) && reached(&edges, other).contains(name);
                if is_in_circle {
                    circle.push(*other);
                }
                !is_in_circle
            });
            let names: Vec<_> = circle
                .iter()
                .map(|name| [folder, &[(*name).clone()]].concat().join("::"))
                .collect();
            if names.len() > 1 && names != RECURSIVE_DESCENT {
                circles.push(names);
            }
        }
    }
    circles
}

/// Returns the names that are reachable from a name over any number of edges.
fn reached<'e>(edges: &'e BTreeMap<String, BTreeSet<String>>, start: &'e str) -> BTreeSet<&'e String> {
    let mut seen = BTreeSet::new();
    let mut next = vec![start];
    while let Some(name) = next.pop() {
        let new = edges.get(name).into_iter().flatten().filter(|name| seen.insert(*name));
        next.extend(new.map(String::as_str));
    }
    seen
}

fn module(path: &str) -> Module {
    path.split("::")
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Reads the modules below a source folder, except test modules.
fn sources(root: &str) -> Sources {
    fn read(folder: &Path, at: &Module, sources: &mut Sources) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let inner = [at.as_slice(), std::slice::from_ref(&name)].concat();
            if name == "tests" {
            } else if path.is_dir() {
                read(&path, &inner, sources);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let module = if matches!(&*name, "mod" | "lib") {
                    at.clone()
                } else {
                    inner
                };
                sources.insert(module, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut sources = Sources::new();
    read(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(root),
        &Module::new(),
        &mut sources,
    );
    assert!(sources.len() > 10, "{root} has few modules");
    sources
}

fn imports_of(sources: &Sources) -> Imports {
    let imports = sources.iter().map(|(module, text)| {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{module:?}: {error}"));
        let mut reader = Reader {
            module,
            depth: 0,
            paths: Vec::new(),
        };
        reader.visit_file(&file);
        let owner = |path: &Module| {
            (0..=path.len())
                .rev()
                .map(|end| path[..end].to_vec())
                .find(|module| sources.contains_key(module))
        };
        // A path to the crate's root is a macro or a public name.
        let imported = reader
            .paths
            .iter()
            .filter_map(owner)
            .filter(|to| to != module && !to.is_empty());
        (module.clone(), imported.collect())
    });
    imports.collect()
}

/// Collects the paths in a file that lead to other modules of its crate.
struct Reader<'m> {
    module: &'m Module,
    /// The number of inline modules around the current item.
    depth: usize,
    paths: Vec<Module>,
}

impl Reader<'_> {
    /// Records a path in its written form.
    fn record(&mut self, written: &[String]) {
        let supers = written.iter().take_while(|name| *name == "super").count();
        let outward = supers.saturating_sub(self.depth);
        match written.first().map(String::as_str) {
            Some("crate") => self.paths.push(written[1..].to_vec()),
            Some("super") if outward > 0 && outward <= self.module.len() => {
                let base = &self.module[..self.module.len() - outward];
                self.paths.push([base, &written[supers..]].concat());
            }
            _ => {}
        }
    }

    fn record_tree(&mut self, tree: &UseTree, before: &mut Module) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.record_tree(&path.tree, before);
                before.pop();
            }
            UseTree::Name(name) => self.record(&[before.as_slice(), &[name.ident.to_string()]].concat()),
            UseTree::Rename(name) => self.record(&[before.as_slice(), &[name.ident.to_string()]].concat()),
            UseTree::Glob(_) => self.record(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.record_tree(tree, before)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes: &[Attribute] = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if !attributes.iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.depth += 1;
        visit::visit_item_mod(self, item);
        self.depth -= 1;
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.record_tree(&item.tree, &mut Module::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.record(&names);
        visit::visit_path(self, path);
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .meta
            .require_list()
            .is_ok_and(|list| list.tokens.to_string() == "test")
}
