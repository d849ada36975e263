//! The schema and the requests of docs/idempotency.md.

use std::process::Command;

use rowmill_codegen::generate_texts;
use rowmill_ingest::WriterOptions;

use super::start;
use crate::support::engine::Database;

const PAGE: &str = include_str!("../../../docs/idempotency.md");

/// Returns the first block of the page in a language.
fn block(language: &str) -> &'static str {
    let start = PAGE.split(&format!("```{language}\n")).nth(1).unwrap();
    start.split("```").next().unwrap()
}

#[test]
fn the_schema_of_the_page_is_one() {
    let tables = ["orders", "billing", "mail_statistics"].map(|table| {
        format!(
            "    {table}: {{ number: UInt32, message_id: String, _options: {{ engine: MergeTree, order_by: number, allow: no-row-id }} }}\n"
        )
    });
    let schema = format!("{}\n  tables:\n{}", block("yaml"), tables.concat());
    let generated = generate_texts([("page.yml", schema)]);
    let problems = generated.problems;
    assert!(
        problems.errors.is_empty() && problems.warnings.is_empty(),
        "{problems:?}"
    );
    for once in [
        r#"Header("idempotency-key")"#,
        r#"Header("webhook-id")"#,
        r#"Column("message_id")"#,
    ] {
        assert!(generated.code.replace(char::is_whitespace, "").contains(once), "{once}");
    }
}

#[test]
fn the_requests_of_the_page_work_as_typed() {
    let (database, spool) = (Database::create("idempotency_page"), tempfile::tempdir().unwrap());
    let served = start(&database, &spool, WriterOptions::default());
    let commands = block("sh").replace("localhost:8080", &served.address.to_string());
    let commands = commands.replace("curl ", "curl --silent --show-error ");
    let output = Command::new("sh").args(["-ec", &commands]).output().unwrap();
    if output.status.code() == Some(127) {
        eprintln!("skipped: there is no curl");
        return;
    }
    let text = String::from_utf8(output.stdout).unwrap().to_lowercase();
    let answers: Vec<_> = text.split("http/1.1 ").skip(1).collect();
    let body = |answer: &str| {
        answer
            .split("\r\n\r\n")
            .nth(1)
            .unwrap()
            .split("http/")
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(answers.len(), 2, "{text}");
    assert!(answers.iter().all(|answer| answer.starts_with("200 ")), "{text}");
    assert_eq!(body(answers[0]), body(answers[1]));
    let is_repeat = answers
        .iter()
        .map(|answer| answer.contains("\r\nidempotency-replayed: true\r\n"));
    assert_eq!(is_repeat.collect::<Vec<_>>(), [false, true], "{text}");
    served.drain();
    assert_eq!(database.query("SELECT number FROM payments"), "1\n");
}
