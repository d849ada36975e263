//! After every rejection and fault, the collector soon stores an event that asks for it, and also
//! the events before it.

use std::{fmt::Write, time::Instant};

use crate::support::{collector::Collector, engine::Database, http, wait_for};

/// Sends an event whose answer waits until its row is in the table.
fn assert_alive(collector: &Collector, fault: &str) {
    let started = Instant::now();
    wait_for(fault, || {
        let headers = [("Content-Type", "application/json"), ("X-Rowmill-Ack", "stored")];
        let body = br#"{"event":"alive"}"#;
        let answer = http::send(collector.address, "POST", "/wh/mail", &headers, body);
        // The sender repeats the request after a 503, as a webhook's sender does.
        (answer.status == 200).then(|| assert_eq!(answer.header("x-rowmill-ack"), Some("stored"), "{fault}"))
    });
    assert!(started.elapsed().as_secs() < 10, "{fault}: {:?}", started.elapsed());
}

fn bulk(collector: &Collector, lines: usize, event: &str) -> u16 {
    let body = (0..lines).fold(String::new(), |mut body, _| {
        writeln!(body, r#"{{"event":"{event}"}}"#).unwrap();
        body
    });
    let headers = [("Content-Type", "application/x-ndjson")];
    http::send(collector.address, "POST", "/wh/mail", &headers, body.as_bytes()).status
}

#[test]
fn no_refusal_and_no_fault_leaves_rows_waiting() {
    let database = Database::named("liveness");
    let limits = ["--memory-bytes", "8000000", "--spool-bytes", "20000000", "--ack-header"];
    let collector = Collector::start_with(&database.url(), &limits);

    // With the second bulk request, the block would be too long, and memory does not suffice for
    // another one: the collector refuses the request and seals the first block.
    assert_eq!(bulk(&collector, 1_000, "first"), 200);
    assert_eq!(bulk(&collector, 99_500, "second"), 503);
    database.wait_for_rows("mail_statistics", 1_000);
    assert_alive(&collector, "a bulk request that exceeds the memory");

    let large = format!(r#"{{"event":"{}"}}"#, "x".repeat(200_000));
    assert_eq!(http::post_json(collector.address, "/wh/mail", &large).status, 413);
    assert_alive(&collector, "a body that is too large");

    database.query("ALTER TABLE mail_statistics ADD CONSTRAINT good CHECK event != 'bad'");
    assert_eq!(bulk(&collector, 8, "good"), 200);
    assert_eq!(bulk(&collector, 1, "bad"), 200);
    database.wait_for_rows("rejected", 1);
    assert_alive(&collector, "a row that ClickHouse refuses");

    // Rows fill the memory limit, and then the disk limit.
    database.query("RENAME TABLE mail_statistics TO elsewhere");
    let mut accepted = 0;
    while bulk(&collector, 10_000, "waiting") == 200 {
        accepted += 10_000;
    }
    assert!(accepted > 0);
    database.query("RENAME TABLE elsewhere TO mail_statistics");
    assert_alive(&collector, "full memory and a full disk");

    assert_eq!(collector.stop().code, Some(0));
    let counts = database.query("SELECT event, count() FROM mail_statistics GROUP BY event ORDER BY event FORMAT TSV");
    let lines: Vec<_> = counts.lines().collect();
    assert_eq!(&lines[1..3], ["first\t1000", "good\t8"], "{counts}");
    assert_eq!(lines[3], format!("waiting\t{accepted}"), "{counts}");
}
