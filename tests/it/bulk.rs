//! Many events in one request, one per line.

use std::{fmt::Write, time::Duration};

use embedder::tables;
use rowmill_ingest::{EventOptions, WriterOptions, server::not_found};
use tower::{Layer, service_fn};

use crate::support::{
    collector::Collector,
    engine::Database,
    http::{self, Answer},
    service::Served,
};

const NDJSON: (&str, &str) = ("Content-Type", "application/x-ndjson");

fn served(database: &Database, options: WriterOptions) -> Served {
    Served::start_with(database, &tables::SCHEMA, options, |writer| {
        let events = EventOptions {
            max_body_bytes: 100,
            max_bulk_bytes: 2 << 20,
            ..EventOptions::default()
        };
        tables::layer(writer)
            .unwrap()
            .with_options(&events)
            .layer(service_fn(not_found))
    })
}

fn post(served: &Served, path: &str, headers: &[(&str, &str)], lines: &str) -> Answer {
    let headers: Vec<_> = [NDJSON].into_iter().chain(headers.iter().copied()).collect();
    http::send(served.address, "POST", path, &headers, lines.as_bytes())
}

/// Returns `count` lines for the table of receipts, numbered from 0.
fn numbered_lines(count: u32) -> String {
    (0..count).fold(String::new(), |mut lines, number| {
        writeln!(lines, r#"{{"number":{number}}}"#).unwrap();
        lines
    })
}

#[test]
fn each_line_becomes_the_row_of_a_single_event() {
    let lines = [
        r#"{"event":"sent","email":"bob@example.com","message_id":"m1","list_id":12345,"uid":"7530842328009801728"}"#,
        r#" {"event":"deferred", "projectId": 7, "detailed":"a \"quoted\"\nline \ud83d\ude00", "other":{"a":[1,2]}} "#,
        r#"{"event":"sent","service":"elsewhere","name":"other","uid":"short"}"#,
        r#"{"event":"last"}"#,
        "{}",
    ];
    let together = Database::named("bulk_together");
    let collector = Collector::start(&together);
    let target = "/wh/mail/5?task_id=t1";
    let body = format!("\n{}\r\n\n", lines.join("\r\n"));
    let cookie = ("Cookie", "uid=7530842328009801729");
    let answer = http::send(collector.address, "POST", target, &[NDJSON, cookie], body.as_bytes());
    assert_eq!(
        (answer.status, answer.text()),
        (200, r#"{"key":"in.gen.wh.mail","recorded":5,"refused":0}"#)
    );

    let alone = Database::named("bulk_alone");
    let other = Collector::start(&alone);
    for line in lines {
        // In a request of many lines, a line's `service` and `name` do not change its destination.
        let line = line.replace(r#""service":"elsewhere","name":"other","#, "");
        let headers = [("Content-Type", "application/json"), cookie];
        assert_eq!(
            http::send(other.address, "POST", target, &headers, line.as_bytes()).status,
            200
        );
    }

    let columns = "uid, projectId, service, name, channel, td_ip, event, email, message_id, list_id, task_id, detailed";
    let rows = |database: &Database| {
        database.wait_for_rows("mail_statistics", 5);
        let sorted = format!("SELECT {columns} FROM mail_statistics ORDER BY id FORMAT TSV");
        let extra = "SELECT extra.key, extra.value FROM mail_statistics WHERE event = 'deferred' FORMAT TSV";
        (database.query(&sorted), database.query(extra))
    };
    assert_eq!(rows(&together), rows(&alone));
    assert_eq!(
        together.query("SELECT uniqExact(id), uniqExact(uid) FROM mail_statistics"),
        "5\t2\n"
    );
    let kept =
        "SELECT arrayZip(extra.key, extra.value) FROM mail_statistics WHERE has(extra.key, 'service') FORMAT TSV";
    assert_eq!(
        together.query(kept),
        "[('service','elsewhere'),('name','other'),('uid','short')]\n"
    );
}

#[test]
fn a_line_sets_its_project_if_the_path_has_none() {
    let database = Database::named("bulk_project");
    let collector = Collector::start(&database);
    let lines = "{\"event\":\"a\",\"projectId\":7}\n{\"event\":\"b\",\"projectId\":\"8\"}\n{\"event\":\"c\"}\n";
    let answer = http::send(collector.address, "POST", "/wh/mail", &[NDJSON], lines.as_bytes());
    assert_eq!(answer.status, 200);
    database.wait_for_rows("mail_statistics", 3);
    assert_eq!(
        database.query("SELECT event, projectId FROM mail_statistics ORDER BY event FORMAT TSV"),
        "a\t7\nb\t8\nc\t0\n"
    );
}

#[test]
fn an_invalid_line_does_not_affect_the_others() {
    let database = Database::create("bulk_refused");
    let served = served(&database, WriterOptions::default());
    let lines = "{\"number\":1}\n{\"number\":\"x\"}\n{\"number\":2\n\n{\"number\":3}\n";
    let answer = post(&served, "/wh/plain", &[], lines);
    let report = answer.json();
    assert_eq!(
        (answer.status, &report["recorded"], &report["refused"]),
        (200, &2.into(), &2.into())
    );
    let errors = report["errors"].as_array().unwrap();
    assert_eq!(
        (errors.len(), &errors[0]["line"], &errors[1]["line"]),
        (2, &2.into(), &3.into())
    );
    assert!(errors[0]["reason"].as_str().unwrap().contains("number"), "{report}");

    let all_bad = post(&served, "/wh/plain", &[], &"{\"number\":-1}\n".repeat(12));
    let report = all_bad.json();
    assert_eq!(
        (all_bad.status, &report["recorded"], &report["refused"]),
        (400, &0.into(), &12.into())
    );
    assert_eq!(report["errors"].as_array().unwrap().len(), 10);

    served.drain();
    assert_eq!(
        database.query("SELECT groupArray(number) FROM (SELECT * FROM receipts ORDER BY number)"),
        "[1,3]\n"
    );
    let dead_letters = "SELECT code, `table`, payload FROM rejected WHERE payload LIKE '{\"number\":\"x%' OR code = 'json' ORDER BY code FORMAT TSV";
    assert_eq!(
        database.query(dead_letters),
        "json\t\t{\"number\":2\nmalformed\treceipts\t{\"number\":\"x\"}\n"
    );
    assert_eq!(database.count("rejected"), 14);
    let counts = served.writer.status().rejections;
    let of = |code| {
        counts
            .events
            .iter()
            .find(|(known, _)| *known == code)
            .map(|(_, count)| *count)
    };
    assert_eq!(
        (of("json"), of("malformed"), of("out-of-range")),
        (Some(1), Some(1), Some(12))
    );
}

#[test]
fn a_line_that_is_not_an_object_is_refused_alone() {
    let database = Database::create("bulk_no_objects");
    let served = served(&database, WriterOptions::default());
    let bad = [
        ("5", "a number"),
        ("null", "null"),
        ("[]", "an array"),
        (r#"[{"number":9}]"#, "an array"),
        ("\"x\"", "a string"),
        ("true", "a boolean"),
    ];
    let lines: Vec<_> = bad
        .iter()
        .enumerate()
        .map(|(at, (line, _))| format!("{{\"number\":{at}}}\n{line}\n"))
        .collect();
    let answer = post(&served, "/wh/plain", &[], &lines.concat());
    let report = answer.json();
    assert_eq!(
        (answer.status, &report["recorded"], &report["refused"]),
        (200, &6.into(), &6.into())
    );
    let errors = bad.iter().enumerate().map(|(at, (_, got))| {
        serde_json::json!({"line": 2 * at + 2, "reason": format!("expected a JSON object, got {got}")})
    });
    assert_eq!(report["errors"], serde_json::Value::from_iter(errors));

    served.drain();
    assert_eq!(
        database.query("SELECT groupArray(number) FROM (SELECT * FROM receipts ORDER BY number)"),
        "[0,1,2,3,4,5]\n"
    );
    let dead_letters =
        database.query("SELECT payload, service, name, code FROM rejected ORDER BY payload FORMAT TSVRaw");
    let mut expected: Vec<_> = bad
        .iter()
        .map(|(line, _)| format!("{line}\twh\tplain\tnot-an-object\n"))
        .collect();
    expected.sort();
    assert_eq!(dead_letters, expected.concat());
}

#[test]
fn an_acknowledgement_covers_all_lines() {
    let database = Database::create("bulk_acks");
    let served = served(&database, WriterOptions::default());
    let answer = post(&served, "/wh/stored", &[], &numbered_lines(1_000));
    assert_eq!((answer.status, answer.header("x-rowmill-ack")), (200, Some("stored")));
    assert_eq!(
        database.query("SELECT count(), uniqExact(number) FROM receipts"),
        "1000\t1000\n"
    );
    // One block, whose rows ClickHouse inserts together.
    let inserts =
        "SELECT count() FROM system.parts WHERE database = currentDatabase() AND `table` = 'receipts' AND level = 0";
    assert_eq!(database.query(inserts), "1\n");
    let asked = post(&served, "/wh/asked", &[("X-Rowmill-Ack", "stored")], &numbered_lines(2));
    assert_eq!((asked.status, asked.header("x-rowmill-ack")), (200, Some("stored")));
    let mistyped = post(
        &served,
        "/wh/asked",
        &[("X-Rowmill-Ack", "storred")],
        &numbered_lines(2),
    );
    assert_eq!(mistyped.status, 400);
    assert_eq!(post(&served, "/wh/nowhere", &[], &numbered_lines(2)).status, 404);
    assert_eq!(database.count("receipts"), 1_002);
}

#[test]
fn without_capacity_for_all_lines_none_is_accepted() {
    let database = Database::create("bulk_room");
    let small = WriterOptions {
        memory_bytes: 2_000,
        ..WriterOptions::default()
    };
    let served = served(&database, small);
    // An invalid line is not kept either: otherwise each repetition of the request would add a dead
    // letter.
    let answer = post(&served, "/wh/plain", &[], &format!("x\n{}", numbered_lines(1_000)));
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(post(&served, "/wh/plain", &[], &numbered_lines(10)).status, 200);
    served.drain();
    assert_eq!((database.count("receipts"), database.count("rejected")), (10, 0));
}

#[test]
fn bulk_requests_have_their_own_limits() {
    let database = Database::create("bulk_bounds");
    let by_rows = WriterOptions {
        block_age: Duration::from_secs(3_600),
        ..WriterOptions::default()
    };
    let served = served(&database, by_rows);
    let json = [("Content-Type", "application/json")];
    let long = format!(r#"{{"number":1,"text":"{}"}}"#, "x".repeat(200));
    assert_eq!(
        http::send(served.address, "POST", "/wh/plain", &json, long.as_bytes()).status,
        413
    );
    assert_eq!(post(&served, "/wh/plain", &[], &long).status, 200);
    assert_eq!(post(&served, "/wh/plain", &[], &"x".repeat((2 << 20) + 1)).status, 413);
    let too_many = post(&served, "/wh/plain", &[], &"{\"number\":1}\n".repeat(100_001));
    assert_eq!(too_many.status, 413);
    assert!(too_many.text().contains("100000 lines"), "{}", too_many.text());
    assert_eq!(post(&served, "/wh/plain", &[], &"x\n".repeat(100_001)).status, 413);
    assert_eq!(
        post(&served, "/wh/plain", &[], &"{\"number\":2}\n".repeat(100_000)).status,
        200
    );
    served.drain();
    assert_eq!(database.count("receipts"), 100_001);
    // Rows that would make a block too long start another block.
    let parts = "SELECT rows FROM system.parts WHERE database = currentDatabase() AND `table` = 'receipts' AND level = 0 ORDER BY rows";
    assert_eq!(database.query(parts), "1\n100000\n");
    assert_eq!(
        database.query("SELECT count() FROM rejected WHERE payload = 'x'"),
        "0\n"
    );
}
