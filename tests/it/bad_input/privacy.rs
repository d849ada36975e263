//! Privacy: whom an event is about stays in the tables, and never gets into the log.

use super::Victim;

const EMAIL: &str = "anna@private.example";

fn assert_says_nothing_of_anna(log: &str) {
    assert!(!log.to_lowercase().contains("anna"), "{log}");
}

#[test]
fn the_log_says_nothing_of_whom_a_refused_event_is_about() {
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
    assert_eq!(after.letters.len(), 3);
    assert_says_nothing_of_anna(&after.log);
}

#[test]
fn the_log_says_nothing_of_whom_a_row_that_clickhouse_refuses_is_about() {
    let victim = Victim::start_with(&["--drain-seconds", "1"]);
    let constraint = "ALTER TABLE mail_statistics ADD CONSTRAINT strangers CHECK email NOT LIKE 'anna%'";
    victim.database.query(constraint);
    assert_eq!(
        victim.post("/wh/mail", &format!(r#"{{"email":"{EMAIL}"}}"#)).status,
        200
    );
    let log = victim.collector.stop().log;
    assert!(log.contains("strangers"), "{log}");
    // The dead letter has all of it.
    let reason = victim
        .database
        .query("SELECT code, position(reason, 'anna') > 0, position(payload, 'anna') > 0 FROM rejected");
    assert_eq!(reason, "clickhouse-469\t1\t1\n");
    assert_says_nothing_of_anna(&log);
}
