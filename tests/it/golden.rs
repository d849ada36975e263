//! Compares the program, with the original's headers, to recordings of the original: repeats each
//! request over a socket, and compares each answer and each row.
//!
//! `01_http_full_headers.txt` contains whole answers; `02_http_cases.jsonl` contains fewer headers
//! but also the event. Both were recorded from the running original. The table in [`deviations`]
//! lists the intended differences. A difference that is missing in the table fails the test, and so
//! does an outdated entry.

mod answer;
mod deviations;
mod recordings;
mod rows;

use serde_json::Value;

use self::{
    answer::NormalizedAnswer,
    deviations::with_deviations,
    recordings::{Record, Recording, cases, whole_answers},
    rows::{row_of, rows},
};
use crate::support::{collector::Collector, engine::Database, http};

/// The table, service, name and channel of each event of `01_http_full_headers.txt`, in order; the
/// file does not contain them. A refused redirect is an event too, and so is a greeting without an
/// answer.
const EVENTS_OF_WHOLE_ANSWERS: [[&str; 4]; 18] = [
    ["mail_statistics", "wh", "mail", "http"],
    ["mail_statistics", "pixel", "mail", "http"],
    ["mail_statistics", "redir", "mail", "http"],
    ["mail_statistics", "redir", "mail", "http"],
    ["mail_statistics", "redir", "mail", "http"],
    ["mail_statistics", "pixel", "mail", "http"],
    ["mail_statistics", "pixel", "mail", "http"],
    ["mail_statistics", "wh", "mail", "pixel"],
    ["webhooks", "hello", "ping", "http"],
    ["webhooks", "hello", "hello", "http"],
    ["webhooks", "hello", "x", "http"],
    ["mail_statistics", "wh", "mail", "http"],
    ["mail_statistics", "redir", "mail", "http"],
    ["mail_statistics", "pixel", "mail", "http"],
    ["mail_statistics", "redir", "mail", "http"],
    ["events", "track", "page", "http"],
    ["events", "track", "page", "pixel"],
    ["events", "track", "page", "http"],
];

#[test]
fn answers_and_rows_are_as_recorded() {
    let recordings: Vec<_> = whole_answers().into_iter().chain(cases()).collect();
    assert_eq!(recordings.len(), 25 + 45);
    let expected = with_deviations(&recordings);

    let database = Database::named("golden");
    let collector = Collector::start_with(
        &database.url(),
        &["--domain", "stat.example.com", "--compat", "rockstat"],
    );
    let answers = recordings.iter().map(|Recording { request, .. }| {
        let headers = request.headers.iter();
        let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        http::send(
            collector.address,
            &request.method,
            &request.target,
            &headers,
            &request.body,
        )
    });
    let answers: Vec<_> = answers.collect();
    // After the stop, all rows are in their tables.
    assert_eq!(collector.stop().code, Some(0));
    let mut rows = rows(&database);

    let mut differences = Vec::new();
    for ((recording, expected), answer) in recordings.iter().zip(expected).zip(answers) {
        let name = &recording.name;
        let is_whole = expected.record == Record::Unknown;
        let normalized = NormalizedAnswer::of(answer.status, &answer.headers, &answer.body, is_whole);
        if normalized != expected.answer {
            differences.push(format!(
                "{name}: the answer is\n  {normalized:?}, not\n  {:?}",
                expected.answer
            ));
        }
        let event = match &expected.record {
            Record::Unknown => continue,
            Record::None => None,
            Record::Event(event) => Some(event),
        };
        let expected = event.map(|event| row_of(event, uid_of(&answer), expected.extra));
        let row = id_of(&answer).and_then(|id| rows.remove(&id));
        if row != expected {
            differences.push(format!("{name}: the row is\n  {row:?}, not\n  {expected:?}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));

    let left = rows.values().map(|(table, row)| {
        let text = |column: &str| row[column].as_str().unwrap();
        [*table, text("service"), text("name"), text("channel")]
    });
    assert_eq!(left.collect::<Vec<_>>(), EVENTS_OF_WHOLE_ANSWERS);
}

fn id_of(answer: &http::Answer) -> Option<u64> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    body["id"].as_str()?.parse().ok()
}

fn uid_of(answer: &http::Answer) -> String {
    let cookie = answer.header("set-cookie").unwrap_or_default();
    let uid = cookie.strip_prefix("uid=").and_then(|rest| rest.split(';').next());
    uid.unwrap_or_default().to_owned()
}
