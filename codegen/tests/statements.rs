//! The statements that create tables, pinned: each schema of `tests/cases/ddl` beside its SQL.
//!
//! That ClickHouse takes them is shown by the tests with an engine; here stand those for which it would have to be set up.
//! `ROWMILL_BLESS=1 cargo test -p rowmill-codegen` writes the files anew.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{fs, path::Path};

use rowmill_codegen::generate_texts;
use support::Pinned;

const CASES: &str = "tests/cases/ddl";

#[test]
fn each_schema_gives_its_statements() {
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
