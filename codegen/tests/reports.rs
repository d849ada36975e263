//! Pins the report of each bad schema in `tests/cases/bad` in a file beside it.
//!
//! A case is a file `CODE.yml` or `CODE.variant.yml`, or a folder of such a name; its report must
//! contain that code. After a change of wording, `ROWMILL_BLESS=1 cargo test -p rowmill-codegen`
//! rewrites the reports, and a person reviews the diff.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use rowmill_codegen::{Generated, generate, generate_texts};
use support::Pinned;

/// Relative to the package's folder, in which tests run, because the reports contain the paths.
const CASES: &str = "tests/cases/bad";

#[test]
fn each_bad_schema_has_its_pinned_report() {
    let mut pinned = Pinned::default();
    for (name, report) in reports() {
        let code = name.split('.').next().unwrap_or(&name);
        assert!(
            report.contains(&format!("[{code}]")),
            "{name} does not report `{code}`:\n{report}"
        );
        pinned.compare(&Path::new(CASES).join(format!("{name}.txt")), &report);
    }
    pinned.finish();
}

#[test]
fn each_code_of_the_sources_has_a_case() {
    let reports: String = reports().into_iter().map(|(_, report)| report).collect();
    let codes = codes_of_the_sources();
    assert!(codes.len() > 50, "the scan finds only {codes:?}");
    let missing: Vec<_> = codes
        .iter()
        .filter(|code| !reports.contains(&format!("[{code}]")))
        .collect();
    assert!(missing.is_empty(), "no case reports {missing:?}");
}

/// The list of warnings that can be allowed has every warning of the sources, and no other code.
#[test]
fn each_warning_of_the_sources_can_be_allowed() {
    let (_, report) = reports()
        .into_iter()
        .find(|(name, _)| name == "unknown-warning")
        .unwrap();
    let (_, list) = report.split_once("the warnings are ").unwrap();
    let list = list.split(';').next().unwrap();
    let warnings: Vec<String> = codes(&WARNINGS).into_iter().collect();
    assert_eq!(list, format!("`{}`", warnings.join("`, `")));
}

#[test]
fn each_pinned_report_has_its_case() {
    let names: Vec<String> = reports().into_iter().map(|(name, _)| name).collect();
    for path in files(Path::new(CASES), "txt") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            names.iter().any(|known| known == name),
            "{} belongs to no case",
            path.display()
        );
    }
}

#[test]
fn messages_are_in_lower_case_and_have_no_full_stop() {
    for (name, report) in reports() {
        for line in report
            .lines()
            .filter(|line| line.starts_with("error[") || line.starts_with("warning["))
        {
            let (_, message) = line.split_once("]: ").unwrap();
            // Names keep their capitals. The names of ClickHouse's types and modifiers have more
            // than one.
            let first = message.split(' ').next().unwrap();
            let is_name = first == "Rowmill" || first.chars().filter(|c| c.is_uppercase()).count() > 1;
            assert!(is_name || !first.starts_with(char::is_uppercase), "{name}: {message}");
            assert!(!message.ends_with('.'), "{name}: {message}");
        }
    }
}

/// Simulates typing: each prefix of a schema produces a report or tables, and never a panic.
#[test]
fn no_prefix_of_a_schema_panics() {
    let text = "\u{feff}# имя\r\nclickhouse: # «…»\r\n  destinations: { wh/почта: mail, other: *no }\r\n  tables:\r\n    \
                base: &base { id: UInt64, \"é\\n\": [a, {b: c}], _options: { abstract: true } }\r\n    mail:\r\n      <<: *base\r\n      \
                имя: \"Enum8('ä' = 1, 'б') DEFAULT 'б'\"\r\n      items: Nested(`ж` UInt8, b String)\r\n      d: >-\r\n        \
                Tuple(x\r\n        Int8\r\n      long: { type: 'Int8 -- é', default: \" 'ж' ||\", ttl: д + , codec: LZ4), \
                from: [д.é, ' ж'], max_bytes: 9, required: true }\r\n      \
                <%= é %>: { type: Srting, comment: |\r\n        x }\r\n      \
                _options: { extend: base, engine: 'MergeTree(date, (é), 8192', settings: { a: 1 }, \
                indexes: { ж: а TYPE minmax, b: }, projections: { é: SELECT ж } }\r\n";
    for (end, _) in text.char_indices().chain([(text.len(), ' ')]) {
        for prefix in [
            text[..end].to_owned(),
            text[..end].replace("<%", "").replace("*no", "no"),
        ] {
            let generated = generate_texts([("mail.yml", prefix)]);
            assert!(!generated.problems.errors.is_empty() || !generated.statements.is_empty());
        }
    }
}

/// Returns each case's name and its report.
fn reports() -> Vec<(String, String)> {
    let mut reports: Vec<(String, String)> = cases().iter().map(|case| (name(case), report(&run(case)))).collect();
    // The one case without a file in the folder, because it tests a path that does not exist.
    reports.push((
        "unreadable".to_owned(),
        report(&generate(Path::new(CASES).join("unreadable"))),
    ));
    reports
}

/// Returns the paths of the cases: files and folders.
fn cases() -> Vec<PathBuf> {
    let mut cases: Vec<PathBuf> = fs::read_dir(CASES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    cases.sort();
    cases
}

fn name(case: &Path) -> String {
    let name = case.file_name().unwrap().to_str().unwrap();
    name.strip_suffix(".yml").unwrap_or(name).to_owned()
}

fn run(case: &Path) -> Generated {
    if case.is_dir() {
        generate(case)
    } else {
        let file = case.file_name().unwrap();
        generate_texts([(PathBuf::from(file), fs::read_to_string(case).unwrap())])
    }
}

/// Returns the problems as a terminal shows them, errors first.
fn report(generated: &Generated) -> String {
    let problems = &generated.problems;
    // Most schemas with a table `base` have notes; only the cases without other problems pin them.
    let has_problems = !problems.errors.is_empty() || !problems.warnings.is_empty();
    let notes = problems.notes.iter().filter(|_| !has_problems);
    let texts: Vec<&str> = problems
        .errors
        .iter()
        .chain(&problems.warnings)
        .chain(notes)
        .map(|problem| problem.text.as_str())
        .collect();
    format!("{}\n", texts.join("\n\n"))
}

/// The calls that create errors, up to the code: `error("CODE"`.
const ERRORS: [&str; 3] = ["Diagnostic::error(", "Diagnostic::of_schema(", "TypeError::new("];
const WARNINGS: [&str; 2] = ["Diagnostic::warning(", "TypeError::warning("];

/// Scans the sources for the codes of errors and warnings.
fn codes_of_the_sources() -> BTreeSet<String> {
    codes(&[&ERRORS[..], &WARNINGS].concat())
}

/// Returns the codes that follow the calls in the sources.
fn codes(calls: &[&str]) -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let folders = ["src", "src/check", "src/declare", "src/types", "src/emit"];
    for path in folders.iter().flat_map(|folder| files(Path::new(folder), "rs")) {
        let text = fs::read_to_string(path).unwrap();
        for call in calls {
            for (at, _) in text.match_indices(call) {
                let argument = text[at + call.len()..].trim_start();
                let code = argument.strip_prefix('"').and_then(|rest| rest.split('"').next());
                codes.extend(code.map(str::to_owned));
            }
        }
    }
    codes
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}
