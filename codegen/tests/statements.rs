//! Pins the statements that create tables: each schema in `tests/cases/ddl` has its SQL beside it.
//!
//! The tests with an engine show that ClickHouse accepts the statements of other schemas; these
//! would need a ClickHouse with additional setup. `ROWMILL_BLESS=1 cargo test -p rowmill-codegen`
//! rewrites the files.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{fs, path::Path};

use rowmill_codegen::generate_texts;
use support::Pinned;

const CASES: &str = "tests/cases/ddl";

#[test]
fn each_schema_has_its_pinned_statements() {
    let mut pinned = Pinned::default();
    for entry in fs::read_dir(CASES).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        let generated = generate_texts([(path.clone(), fs::read_to_string(&path).unwrap())]);
        let problems = &generated.problems;
        assert!(
            problems.errors.is_empty() && problems.warnings.is_empty(),
            "{}: {problems:#?}",
            path.display()
        );
        let name = path.file_stem().unwrap().to_str().unwrap();
        let statements = format!("{};\n", generated.statements.join(";\n\n"));
        pinned.compare(&Path::new(CASES).join(format!("{name}.sql")), &statements);
    }
    pinned.finish();
}
