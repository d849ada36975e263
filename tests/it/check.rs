//! `rowmill check` prints the reports of the build, for people and for editors.

use std::{fs, path::PathBuf, process::Stdio};

use serde_json::{Value, json};

use crate::support::collector;

fn folder(name: &str, text: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("mail.yml"), text).unwrap();
    folder
}

const BROKEN: &str = "clickhouse:
  destinations: { wh/mail: mails }
  mail:
    \"имя\": Strng
    _options: { engine: Log }
";

#[test]
fn a_good_schema_passes() {
    let output = collector::run(&["check", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && text.ends_with("schemas: 5 tables, no errors\n"),
        "{text}"
    );
}

#[test]
fn the_files_and_the_tables_are_listed() {
    let folder = folder(
        "check-list",
        "clickhouse:\n  mail:\n    a: String\n    _options: { engine: Log }\n",
    );
    fs::write(folder.join("own.yml.txt"), "").unwrap();
    fs::write(folder.join("notes.md"), "").unwrap();
    let output = collector::run(&["check", folder.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let folder = folder.display();
    let listed = format!(
        "read {folder}/mail.yml\n\
         left out {folder}/notes.md: its name does not end in `.yml` or `.yaml`\n\
         left out {folder}/own.yml.txt: its name does not end in `.yml` or `.yaml`\n\
         table mail, 1 column\n    a String\n\n"
    );
    assert!(text.starts_with(&listed), "{text}");
    assert!(text.contains("warning[left-out]: the build does not read"), "{text}");
    assert!(text.contains("help: rename it to `own.yml`"), "{text}");
    assert!(text.ends_with(": 1 tables, no errors\n"), "{text}");
}

#[test]
fn a_closed_pipe_ends_a_command_silently() {
    let mut child = collector::command()
        .args(["check", concat!(env!("CARGO_MANIFEST_DIR"), "/schemas")])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn a_broken_schema_shows_all_its_problems_and_fails() {
    let folder = folder("check-text", BROKEN);
    let output = collector::run(&["check", folder.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "error[unknown-type]: ClickHouse has no type `Strng`",
        "mail.yml:4:12",
        "help: did you mean `String`?",
        "error[unknown-table]",
        "help: did you mean `mail`?",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: the schema has 2 errors\n"
    );
}

#[test]
fn the_json_format_has_positions_as_numbers() {
    let folder = folder("check-json", BROKEN);
    let output = collector::run(&["check", "--format", "json", folder.to_str().unwrap()]);
    let problems: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    assert_eq!(problems.len(), 2);
    assert_eq!(
        problems[1],
        json!({
            "severity": "error", "code": "unknown-type", "message": "ClickHouse has no type `Strng`",
            "help": ["did you mean `String`?"], "file": folder.join("mail.yml"),
            "line": 4, "column": 12, "endLine": 4, "endColumn": 17,
        })
    );
}
