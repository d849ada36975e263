//! Values that remove something are not left out, and the list of files and tables names all that is
//! read and left out.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rowmill_codegen::{Generated, generate, generate_texts};

const BASE: &str = "clickhouse:
  destinations: { wh/mail: mail, wh/post: mail }
  base_of_mail:
    id: { type: UInt64, from: $id }
    a: String
    _options: { engine: Memory, abstract: true }
  mail:
    b: String
    _options: { extend: base_of_mail }
";

fn warnings(files: &[&str]) -> Vec<String> {
    let names = ["1.yml", "2.yml", "3.yml"];
    let generated = generate_texts(names.into_iter().zip(files.iter().copied()));
    let problems = generated.problems;
    let all = problems.errors.into_iter().chain(problems.warnings);
    all.map(|problem| format!("{}: {}", problem.code, problem.message))
        .collect()
}

#[test]
fn an_empty_value_that_removes_something_is_no_problem() {
    for files in [
        // An inherited column.
        &[BASE, "clickhouse: { mail: { a: } }"][..],
        // A column and a destination of an earlier file.
        &[BASE, "clickhouse: { mail: { b: null }, destinations: { wh/post: } }"],
        // The same, twice.
        &[BASE, "clickhouse: { mail: { b: } }", "clickhouse: { mail: { b: ~ } }"],
        // A column that `<<` merges in.
        &[BASE, "x: &x { c: String }\nclickhouse: { mail: { <<: *x, c: } }"],
    ] {
        assert_eq!(warnings(files), [""; 0], "{files:?}");
    }
    for (file, expected) in [
        ("clickhouse: { mail: { c: } }", "not-a-type: column `c` has no type"),
        ("clickhouse: { mail: { c: null } }", "left-out: column `c` has no type"),
        (
            "clickhouse: { destinations: { wh/bill: } }",
            "left-out: the destination `wh/bill` names no table",
        ),
    ] {
        assert_eq!(warnings(&[BASE, file]), [expected], "{file}");
    }
}

#[test]
fn sections_of_other_programs_are_no_problem() {
    for file in [
        "x-columns: { a: String }\n",
        "columns: &columns { a: String }\n",
        "columns:\n  - &a { a: String }\n",
        "redis: { host: localhost }\nhttp: { port: 80 }\nname: chwriter\n",
        "---\n---\n# nothing\n",
        "",
    ] {
        assert_eq!(warnings(&[BASE, file]), [""; 0], "{file}");
    }
    assert_eq!(
        warnings(&[BASE, "billing: { host: localhost } # &b\n"]),
        ["left-out: Rowmill does not read the section `billing`"]
    );
}

#[test]
fn the_summary_names_each_file_and_each_column() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("summary");
    let _ = fs::remove_dir_all(&folder);
    for (path, text) in [
        ("b.yml", BASE),
        (
            "sub/c.yaml",
            "clickhouse: { mail: { \"d\\n\": \"DateTime DEFAULT now()\", e: ALIAS a || b } }",
        ),
        ("a.json", "{}"),
        (".git/a.yml", ""),
        ("examples/.rowmillignore", ""),
        ("examples/a.yml", ""),
        ("b.yml~", ""),
    ] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let generated = generate(&folder);
    assert_eq!(generated.problems.warnings, []);
    let summary = generated.summary().replace(&format!("{}/", folder.display()), "");
    assert_eq!(
        summary,
        "read b.yml\nread sub/c.yaml\n\
         left out a.json: its name does not end in `.yml` or `.yaml`\n\
         left out b.yml~: its name does not end in `.yml` or `.yaml`\n\
         left out .git: its name begins with a dot\n\
         left out examples: it contains `.rowmillignore`\n\
         table mail, 5 columns\n    id UInt64\n    a String\n    b String\n    \"d\\n\" DateTime\n    e\n"
    );
    let Generated { left_out, tables, .. } = generated;
    assert_eq!(left_out[0].path, folder.join(PathBuf::from("a.json")));
    assert_eq!((tables[0].name.as_str(), tables[0].columns.len()), ("mail", 5));
}

#[test]
fn the_list_marks_personal_columns() {
    let text = "clickhouse:\n  destinations: { wh/mail: mail }\n  tables:\n    mail:\n      id: { type: UInt64, from: $id }\n      \
                email: { type: String, pii: true }\n      _options: { engine: MergeTree, order_by: id }\n";
    let generated = generate_texts([("mail.yml", text)]);
    assert_eq!(generated.problems.errors, []);
    let summary = generated.summary();
    assert!(
        summary.ends_with("    id UInt64\n    email String (personal data)\n"),
        "{summary}"
    );
}
