//! Privacy: personal data stays in the tables and never gets into the log.

use serde_json::Value;

use super::Victim;
use crate::support::{collector, wait_for};

const EMAIL: &str = "anna@private.example";

fn assert_without_personal_data(log: &str) {
    assert!(!log.to_lowercase().contains("anna"), "{log}");
}

#[test]
fn the_log_has_no_personal_data_of_a_refused_event() {
    let victim = Victim::start();
    let project = victim.post("/wh/mail/-5", &format!(r#"{{"email":"{EMAIL}"}}"#));
    let broken = victim.post("/wh/mail", &format!(r#"{{"email":{EMAIL}}}"#));
    let wrong = victim.post("/track/page", &format!(r#"{{"sess_num":"{EMAIL}"}}"#));
    let relative = victim.get(&format!("/redir/mail?to=//{EMAIL}&email={EMAIL}"));
    let method = victim.send("PUT", &format!("/wh/mail?email={EMAIL}"), &[], b"");
    for answer in [project, broken, wrong, relative, method] {
        assert_eq!(answer.status, 400);
    }
    let large = victim.post("/wh/mail", &EMAIL.repeat(10_000));
    assert_eq!(large.status, 413);
    let after = victim.stop();
    assert_eq!(after.dead_letters.len(), 3);
    assert_without_personal_data(&after.log);
}

#[test]
fn the_log_has_no_personal_data_of_a_row_that_clickhouse_refuses() {
    let victim = Victim::start_with(&["--drain-seconds", "1"]);
    let constraint = "ALTER TABLE mail_statistics ADD CONSTRAINT strangers CHECK email NOT LIKE 'anna%'";
    victim.database.query(constraint);
    assert_eq!(
        victim.post("/wh/mail", &format!(r#"{{"email":"{EMAIL}"}}"#)).status,
        200
    );
    let log = victim.collector.stop().log;
    assert!(log.contains("(VIOLATED_CONSTRAINT): constraint `strangers`"), "{log}");
    // The dead letter contains the values in its reason and its payload.
    let reason = victim
        .database
        .query("SELECT code, position(reason, 'anna') > 0, position(payload, 'anna') > 0 FROM rejected");
    assert_eq!(reason, "clickhouse-469\t1\t1\n");
    assert_without_personal_data(&log);
}

/// Errors that views raise on values of rows: quoted, unquoted, and with terminal control
/// sequences.
const VIEWS: [(&str, &str, &str); 2] = [
    ("quoted", "toUInt32(email)", "CANNOT_PARSE_TEXT"),
    ("bare", "toUInt32(toUUID(email) = toUUID(email))", "CANNOT_PARSE_UUID"),
];

const MISSING_IN_VIEW: &str =
    "a materialized view refuses rows that its table has stored: they are missing in the view";

/// Returns the log after a view refuses a row with Anna's address.
fn log_of_view(view: &str, number: &str, name: &str, variables: &[(&str, &str)]) -> String {
    let victim = Victim::start_as(variables, &["--drain-seconds", "0.2"]);
    victim.database.query("CREATE TABLE numbers (n UInt32) ENGINE = Null");
    victim.database.query(&format!(
        "CREATE MATERIALIZED VIEW {view} TO numbers AS SELECT {number} AS n FROM mail_statistics"
    ));
    let body = format!(r#"{{"email":"{EMAIL}\u001b[31m\u001b]0;anna\u0007 while pushing to view anna"}}"#);
    assert_eq!(victim.post("/wh/mail", &body).status, 200);
    wait_for("the view's error", || {
        victim.collector.log().contains(name).then_some(())
    });
    victim.collector.stop().log
}

#[test]
fn the_log_has_no_personal_data_of_a_row_that_a_view_refuses() {
    for (view, number, name) in VIEWS {
        let log = log_of_view(view, number, name, &[]);
        assert!(
            log.contains(&format!("({name})")) && log.contains(&format!(".`{view}`")),
            "{log}"
        );
        assert!(log.contains(MISSING_IN_VIEW), "{log}");
        assert_without_personal_data(&log);
        assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
    }
}

#[test]
fn the_json_log_has_one_object_per_line_and_no_personal_data() {
    let (view, number, name) = VIEWS[0];
    let log = log_of_view(view, number, name, &[("ROWMILL_LOG_FORMAT", "json")]);
    assert_without_personal_data(&log);
    let events = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
    let events: Vec<Value> = events.collect();
    let refused = events.iter().find(|event| event["message"] == MISSING_IN_VIEW);
    let refused = refused.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(
        (&refused["level"], &refused["table"], &refused["code"]),
        (&"ERROR".into(), &"mail_statistics".into(), &6.into())
    );
    // The error that ends a command is an event too.
    let failed = collector::run(&["plan", "--clickhouse", "ftp://nowhere", "--log-format", "json"]);
    let event: Value = serde_json::from_slice(&failed.stderr).unwrap();
    assert_eq!(
        (&event["level"], &event["message"]),
        (&"ERROR".into(), &"the command failed".into())
    );
    assert!(
        event["error"].as_str().is_some_and(|error| error.contains("http")),
        "{event}"
    );
}

#[test]
fn the_trace_log_has_no_personal_data_of_a_request() {
    let filter = "rowmill=trace,rowmill_ingest=trace,rowmill_engine=trace";
    let victim = Victim::start_as(&[("ROWMILL_LOG", filter)], &["--log-format", "json"]);
    let page = [
        ("Content-Type", "application/json"),
        ("Referer", "https://anna.example/"),
        ("X-Real-IP", "203.0.113.7"),
    ];
    let accepted = victim.send(
        "POST",
        "/wh/mail/anna",
        &page,
        format!(r#"{{"email":"{EMAIL}"}}"#).as_bytes(),
    );
    assert_eq!(accepted.status, 200);
    assert_eq!(victim.post("/wh/mail", &format!("[\"{EMAIL}\"]")).status, 400);
    assert_eq!(
        victim
            .get(&format!("/redir/mail?to=https%3A%2F%2Fexample.org%2F&email={EMAIL}"))
            .status,
        302
    );
    victim.send_bytes(format!("GET /wh/mail?email={EMAIL} HTTP/1.1\r\nanna: \x01\r\n\r\n").as_bytes());
    let log = victim.stop().log;
    assert!(
        log.contains("\"level\":\"DEBUG\"") && log.contains("\"message\":\"stored\""),
        "{log}"
    );
    assert_without_personal_data(&log);
    assert!(!log.contains("203.0.113.7"), "{log}");
}

#[test]
fn the_debug_log_names_one_unknown_key_and_never_its_value() {
    let victim = Victim::start_as(&[("ROWMILL_LOG", "debug")], &[]);
    let event = format!(r#"{{"shoe\u001b[31m":"{EMAIL}","x":"{EMAIL}"}}"#);
    assert_eq!(victim.post("/track/page", &event).status, 200);
    let metrics = victim.get("/metrics");
    let metrics = metrics.text();
    for line in [
        "rowmill_unknown_keys_total{table=\"events\"} 2\n",
        "rowmill_unknown_keys_total{table=\"webhooks\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
    let log = victim.stop().log;
    let (_, key) = log.split_once("an event has a key without a column").unwrap();
    assert!(key.lines().next().unwrap().contains("shoe"), "{log}");
    assert!(!key.contains("an event has a key without a column"), "{log}");
    assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
    assert_without_personal_data(&log);
}
