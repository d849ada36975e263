//! Rust accepts the code of each schema that has no errors.
//!
//! A generator writes schemas with names that are keywords, names of std, not ASCII or alike. Those
//! without errors are compiled in batches, as modules of one crate. The seeds of the short run are
//! fixed. `cargo test -p rowmill-codegen --test compiles -- --ignored --nocapture` tries 2 000
//! schemas; `ROWMILL_SCHEMAS` and `ROWMILL_SCHEMAS_SEED` set the number and the first seed.

#![allow(clippy::unwrap_used, clippy::panic)]

mod compiler;
mod pool;
mod schemas;

use std::{collections::BTreeMap, env, fs, path::Path, time::Instant};

use compiler::{Compiler, Module};
use rowmill_codegen::generate_texts;

/// The number of schemas in the short run.
const SHORT: u64 = 60;

/// The number of schemas in the long run.
const LONG: u64 = 2_000;

/// The number of schemas in one crate.
const BATCH: usize = 50;

#[test]
fn the_schemas_with_difficult_names_compile() {
    let mut modules = Vec::new();
    for folder in ["tests/cases/names", "tests/cases/good"] {
        let mut paths: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yml"));
        paths.sort();
        assert!(!paths.is_empty(), "{folder}");
        modules.extend(
            paths
                .into_iter()
                .map(|path| module(&fs::read_to_string(&path).unwrap(), &path)),
        );
    }
    for edition in ["2021", "2024"] {
        let refused = Compiler::new("named").refused(&modules, edition);
        assert!(refused.is_empty(), "{}", shown(&refused, &modules));
    }
}

#[test]
fn rust_accepts_what_the_checker_accepts() {
    agree("short", 1, SHORT);
}

#[test]
#[ignore = "takes many minutes; see CONTRIBUTING.md"]
fn rust_accepts_what_the_checker_accepts_in_a_long_run() {
    let number = |name, otherwise| env::var(name).map_or(otherwise, |value| value.parse().unwrap());
    agree(
        "long",
        number("ROWMILL_SCHEMAS_SEED", 1 << 20),
        number("ROWMILL_SCHEMAS", LONG),
    );
}

/// Compiles the schemas of `count` seeds that have no errors.
fn agree(name: &str, first: u64, count: u64) {
    let start = Instant::now();
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut modules = Vec::new();
    for seed in first..first + count {
        let text = schemas::schema(seed);
        let generated = generate_texts([("schema.yml", text.clone())]);
        if generated.problems.errors.is_empty() {
            modules.push(Module {
                name: format!("s{seed}"),
                text,
                code: generated.code,
            });
        }
        for error in &generated.problems.errors {
            *codes.entry(error.code).or_default() += 1;
        }
    }
    let mut refused = Vec::new();
    for (batch, modules) in modules.chunks(BATCH).enumerate() {
        let edition = if batch % 4 == 3 { "2021" } else { "2024" };
        refused.extend(Compiler::new(name).refused(modules, edition));
    }
    println!(
        "{count} schemas: the checker accepts {}, of which rustc refuses {}, in {:?}; errors: {codes:?}",
        modules.len(),
        refused.len(),
        start.elapsed()
    );
    assert!(refused.is_empty(), "{}", shown(&refused, &modules));
    assert!(
        modules.len() as u64 * 3 > count,
        "the generator writes too many schemas with errors"
    );
}

fn module(text: &str, path: &Path) -> Module {
    let generated = generate_texts([("schema.yml", text)]);
    let problems = &generated.problems;
    assert!(problems.errors.is_empty(), "{}: {:#?}", path.display(), problems.errors);
    let name: String = path.file_stem().unwrap().to_str().unwrap().replace(['-', '.'], "_");
    Module {
        name: format!("m_{name}"),
        text: text.to_owned(),
        code: generated.code,
    }
}

/// Returns the messages of rustc, and the schema of each module that it refuses.
fn shown(refused: &[(String, String)], modules: &[Module]) -> String {
    let texts = refused.iter().map(|(name, messages)| {
        let text = modules
            .iter()
            .find(|module| module.name == *name)
            .map_or("", |module| &module.text);
        format!("{name}: {messages}\n{text}")
    });
    texts.collect::<Vec<_>>().join("\n\n")
}
