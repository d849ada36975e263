//! The formats of bodies: each ends in the same rows, and the requests of `docs/formats.md` work as
//! typed.

use std::{fs, io::Write, path::Path, process::Command};

use embedder::tables;
use flate2::{Compression, write::GzEncoder};
use rowmill_ingest::{EventOptions, WriterOptions, route::Routes, server::not_found};
use serde_json::{Value, json};
use tower::{Layer, service_fn};

use crate::support::{collector::Collector, engine::Database, http, service::Served};

fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn each_format_makes_the_same_rows() {
    const COLUMNS: &str = "event, email, detailed, service, name, extra.key, extra.value";
    let array = r#"[{"event":"sent","email":"a@example.com","detailed":"x, \"y\"","k":"1"},{"event":"open","email":"b@example.com","detailed":"","k":"2"}]"#;
    let lines = array[1..array.len() - 1].replace("},{", "}\n{");
    let csv = "event,email,detailed,k\nsent,a@example.com,\"x, \"\"y\"\"\",1\nopen,b@example.com,,2\n";
    let tsv = "event\temail\tdetailed\tk\nsent\ta@example.com\tx, \"y\"\t1\nopen\tb@example.com\t\t2\n";
    let sequence = format!("\u{1e}{}\n", lines.replace('\n', "\n\u{1e}"));
    let mut bodies: Vec<(&str, &str, Vec<u8>)> = Vec::new();
    for (content_type, body) in [
        ("application/json", array),
        ("text/plain", array),
        ("application/json", &lines),
        ("application/x-ndjson", &lines),
        ("application/json-seq", &sequence),
        ("text/csv", csv),
        ("text/tab-separated-values", tsv),
    ] {
        bodies.push((content_type, "identity", body.into()));
        bodies.push((content_type, "gzip", gzip(body)));
    }
    let mut all = Vec::new();
    for (content_type, encoding, body) in bodies {
        let database = Database::named("formats");
        let collector = Collector::start(&database);
        let headers = [("Content-Type", content_type), ("Content-Encoding", encoding)];
        let answer = http::send(collector.address, "POST", "/wh/mail", &headers, &body);
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"key": "in.gen.wh.mail", "recorded": 2, "refused": 0})),
            "{content_type} {encoding}"
        );
        assert_eq!(collector.stop().code, Some(0));
        all.push(database.query(&format!("SELECT {COLUMNS} FROM mail_statistics ORDER BY id FORMAT TSV")));
        assert_eq!(database.count("rejected"), 0);
    }
    let expected = "sent\ta@example.com\tx, \"y\"\twh\tmail\t['k']\t['1']\n\
                    open\tb@example.com\t\twh\tmail\t['k']\t['2']\n";
    assert!(all.iter().all(|rows| rows == expected), "{all:#?}");
}

#[test]
fn one_bad_element_of_ten_thousand_costs_one_row() {
    let database = Database::named("formats_bad");
    let collector = Collector::start(&database);
    let mut elements: Vec<_> = (0..10_000).map(|number| format!(r#"{{"event":"{number}"}}"#)).collect();
    elements[7_777] = r#"{"event":"bad","projectId":-1}"#.to_owned();
    let body = format!("[{}]", elements.join(","));
    // A whole array may be longer than one event.
    assert!(body.len() > 102_400);
    for encoding in ["identity", "gzip"] {
        let body = if encoding == "gzip" {
            gzip(&body)
        } else {
            body.clone().into()
        };
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", encoding)];
        let answer = http::send(collector.address, "POST", "/wh/mail", &headers, &body);
        let report = answer.json();
        assert_eq!(
            (answer.status, &report["recorded"], &report["refused"]),
            (200, &json!(9_999), &json!(1))
        );
        assert_eq!(
            (&report["errors"][0]["index"], &report["errors"][0]["column"]),
            (&json!(7_777), &json!("projectId"))
        );
    }
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT count(), uniqExact(event) FROM mail_statistics"),
        "19998\t9999\n"
    );
    assert_eq!(
        database.query("SELECT payload FROM rejected LIMIT 1"),
        "{\"event\":\"bad\",\"projectId\":-1}\n"
    );
}

#[test]
fn the_events_inside_a_document_become_rows_with_its_fields() {
    let database = Database::create("formats_items");
    let served = Served::start_with(&database, &tables::SCHEMA, WriterOptions::default(), |writer| {
        let events = EventOptions {
            max_body_bytes: 200,
            ..EventOptions::default()
        };
        tables::layer(writer)
            .unwrap()
            .with_options(&events)
            .layer(service_fn(not_found))
    });
    let post = |path: &str, body: &str| http::post_json(served.address, path, body);
    let padding = "x".repeat(300);
    let body = format!(
        r#"{{"sentAt":"now","batch":[{{"event":"a","number":1}},{{"event":"b","sentAt":"own"}},{{"event":"c","number":"x"}},7],"context":{{"ip":"::1","other":"{padding}"}}}}"#
    );
    let answer = post("/wh/batch", &body);
    let report = answer.json();
    assert_eq!(
        (answer.status, &report["recorded"], &report["refused"]),
        (200, &json!(2), &json!(2))
    );
    let error = |at: usize| -> Vec<&Value> {
        ["index", "column"]
            .iter()
            .map(|key| &report["errors"][at][*key])
            .collect()
    };
    assert_eq!(error(0), [&json!(2), &json!("number")]);
    assert_eq!(error(1), [&json!(3), &Value::Null]);
    let answer = post("/wh/nested", r#"{"data":{"events":{"event":"d"}}}"#);
    assert_eq!((answer.status, answer.header("x-rowmill-ack")), (200, Some("stored")));
    let absent = post("/wh/batch", r#"{"events":[{"event":"e"}]}"#);
    assert_eq!(
        (absent.status, absent.json()["reason"].as_str()),
        (400, Some("the body has no `batch`, where the events should be"))
    );
    // A document that is cut has no events, whatever is left of it.
    for end in 1..150 {
        assert_eq!(post("/wh/batch", &body[..end]).status, 400, "{}", &body[..end]);
    }
    served.drain();
    assert_eq!(
        database.query("SELECT event, context_ip, sentAt, number FROM tracks ORDER BY event FORMAT TSV"),
        "a\t::1\tnow\t1\nb\t::1\town\t0\nd\t\t\t0\n"
    );
    assert_eq!(
        database.query("SELECT count() FROM rejected WHERE code = 'no-items'"),
        "1\n"
    );
}

#[test]
fn the_requests_of_the_document_work_as_typed() {
    let database = Database::named("formats_document");
    let collector = Collector::start(&database);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/formats.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = text
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let mut count = 0;
    for block in blocks {
        let command = block.replace("127.0.0.1:8080", &collector.address.to_string());
        let command = command.replace("curl ", "curl --silent --fail-with-body ");
        let output = Command::new("sh").args(["-c", &command]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command}: {answer}");
        assert!(
            !answer.contains("\"refused\":") || answer.contains("\"refused\":0"),
            "{command}: {answer}"
        );
        count += 1;
    }
    assert_eq!(count, 7);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query(
            "SELECT email, groupArray(event) FROM (SELECT * FROM mail_statistics ORDER BY id) GROUP BY 1 ORDER BY 1"
        ),
        "ann@example.com\t['sent']\nbob@example.com\t['sent','open']\ndan@example.com\t['sent','open']\n\
         eve@example.com\t['sent','open']\nfay@example.com\t['sent']\ngus@example.com\t['sent']\n\
         hal@example.com\t['sent']\n"
    );
    assert_eq!(
        database.query("SELECT detailed FROM mail_statistics WHERE email LIKE 'dan%' AND event = 'sent'"),
        "250 ok, queued\n"
    );
}

#[test]
fn the_options_of_a_route_are_listed_as_in_its_schema() {
    let options = |name: &str| tables::Routes::find("wh", name).and_then(|route| route.options);
    assert_eq!(
        options("batch").unwrap().to_string(),
        "items at batch  with context sentAt"
    );
    assert_eq!(options("nested").unwrap().to_string(), "items at data.events");
    assert!(options("plain").is_none());
}
