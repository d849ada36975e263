//! Pins the Rust generated for each schema in `tests/cases/good` in a file beside it.
//!
//! These tests only show a change of the output. The crates that build with the generated code test
//! that it compiles and works. `ROWMILL_BLESS=1 cargo test -p rowmill-codegen` rewrites the files.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    thread,
};

use rowmill_codegen::{Generated, Problem, generate, generate_texts};
use support::Pinned;

const CASES: &str = "tests/cases/good";

/// The one warning about the schema of the project's first user, whose links lead to any host.
const SEEDS_WARNING: &str = "open-redirect";

#[test]
fn each_good_schema_has_its_pinned_code() {
    let mut pinned = Pinned::default();
    for (name, text) in cases() {
        let generated = run(&name, &text);
        let problems = &generated.problems;
        let is_known = |problem: &Problem| name == "seed" && problem.code == SEEDS_WARNING;
        assert!(
            problems.errors.is_empty() && problems.warnings.iter().all(is_known),
            "{name}: {problems:#?}"
        );
        pinned.compare(&Path::new(CASES).join(format!("{name}.rs")), &generated.code);
    }
    pinned.finish();
}

#[test]
fn the_same_schema_generates_the_same_output() {
    let cases = cases();
    // Each thread has different seeds for its hash maps.
    let runs: Vec<HashMap<String, [String; 2]>> = thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let outputs = cases.iter().map(|(name, text)| {
                        let Generated { code, statements, .. } = run(name, text);
                        (name.clone(), [code, statements.join("\n")])
                    });
                    outputs.collect()
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for run in &runs[1..] {
        assert_eq!(run, &runs[0]);
    }
}

#[test]
fn problems_have_a_stable_order() {
    let report = || generate("tests/cases/bad/unknown-type.in-two-files").problems;
    let first = report();
    assert!(first.errors.len() > 4, "{first:#?}");
    for _ in 0..3 {
        assert_eq!(thread::scope(|scope| scope.spawn(report).join().unwrap()), first);
    }
}

#[test]
fn the_projects_own_schemas_have_neither_errors_nor_warnings() {
    for folder in ["../schemas", "../tests/embedder/schemas"] {
        let problems = generate(folder).problems;
        let codes: Vec<&str> = problems.warnings.iter().map(|warning| warning.code).collect();
        let expected = if folder == "../schemas" {
            &[SEEDS_WARNING][..]
        } else {
            &[]
        };
        assert!(problems.errors.is_empty(), "{folder}: {problems:#?}");
        assert_eq!(codes, expected, "{folder}: {problems:#?}");
    }
}

#[test]
fn a_schema_with_errors_generates_a_stub_without_tables() {
    let generated = generate("tests/cases/bad/unknown-type.in-two-files");
    assert!(generated.statements.is_empty());
    let stub: String = generated.code.split_whitespace().collect();
    assert!(stub.contains("Schema::new(&[])"), "{}", generated.code);
}

fn run(name: &str, text: &str) -> Generated {
    generate_texts([(PathBuf::from(format!("{name}.yml")), text)])
}

/// Returns the names and texts of the cases.
fn cases() -> Vec<(String, String)> {
    let mut cases: Vec<_> = fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    cases.sort();
    cases
}
