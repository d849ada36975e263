//! Losses are visible: the counters of the audit, and the conditions that `/ready` lists.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::support::{
    collector::Collector,
    engine::Database,
    http::{self, Answer},
    wait_for,
};

const AUDIT: &[&str] = &["--audit", "--audit-after-seconds", "2"];

/// The longest time until the audit reports a difference: two comparisons.
const TWO_COMPARISONS: Duration = Duration::from_secs(10);

fn post(collector: &Collector, rows: u64) {
    for _ in 0..rows {
        let answer = http::post_json(collector.address, "/wh/mail", r#"{"event":"sent"}"#);
        assert_eq!(answer.status, 200);
    }
}

fn audited(collector: &Collector, what: &str) -> u64 {
    collector.metric(&format!("rowmill_audit_{what}{{table=\"mail_statistics\"}}"))
}

fn ready(collector: &Collector) -> Answer {
    http::get(collector.address, "/ready?store=1")
}

/// Waits until `/ready` answers 200 with this line.
fn wait_for_condition(collector: &Collector, line: &str) {
    wait_for(line, || {
        let answer = ready(collector);
        (answer.status == 200 && answer.text().contains(line)).then_some(())
    });
}

/// Sends rows, runs `statement` on the table before the audit compares the rows, and returns the
/// gauge once it is not 0. Repeats all of it if the comparison comes first on a slow machine.
fn difference(database: &Database, collector: &Collector, statement: &str, gauge: &str) -> u64 {
    let mut sent = audited(collector, "checked_rows_total");
    wait_for(gauge, || {
        post(collector, 5);
        sent += 5;
        wait_for("the rows", || (database.count("mail_statistics") > 0).then_some(()));
        database.query(statement);
        wait_for("the comparison", || {
            (audited(collector, "checked_rows_total") == sent).then_some(())
        });
        let start = Instant::now();
        while start.elapsed() < TWO_COMPARISONS {
            let rows = audited(collector, gauge);
            if rows > 0 {
                return Some(rows);
            }
            thread::sleep(Duration::from_millis(50));
        }
        None
    })
}

#[test]
fn rows_that_are_lost_after_their_answer_are_counted() {
    let database = Database::named("audit_missing");
    let collector = Collector::start_with(&database.url(), AUDIT);
    // There is no difference at first: dead letters do not count as missing.
    post(&collector, 20);
    let refused = http::post_json(collector.address, "/wh/mail", "[1]");
    assert_ne!(refused.status, 200);
    wait_for("the comparison", || {
        (audited(&collector, "checked_rows_total") == 20).then_some(())
    });
    assert_eq!(
        (
            audited(&collector, "missing_rows"),
            audited(&collector, "duplicate_rows")
        ),
        (0, 0)
    );
    assert_eq!((ready(&collector).status, ready(&collector).text()), (200, "ready\n"));

    let lost = difference(
        &database,
        &collector,
        "ALTER TABLE mail_statistics DROP PARTITION ALL",
        "missing_rows",
    );
    wait_for_condition(
        &collector,
        &format!("table mail_statistics: audit: confirmed rows are not in the table: {lost}\n"),
    );
    let ended = collector.stop();
    assert!(
        ended
            .log
            .contains("audit: the table does not have each confirmed row once"),
        "{}",
        ended.log
    );
}

#[test]
fn duplicate_rows_are_counted() {
    let database = Database::named("audit_duplicate");
    let collector = Collector::start_with(&database.url(), AUDIT);
    difference(
        &database,
        &collector,
        "INSERT INTO mail_statistics SELECT * FROM mail_statistics SETTINGS insert_deduplicate = 0",
        "duplicate_rows",
    );
    assert_eq!(audited(&collector, "missing_rows"), 0);
    wait_for_condition(
        &collector,
        "table mail_statistics: audit: rows are in the table more than once: ",
    );
}

#[test]
fn a_table_that_merges_rows_is_not_compared() {
    let database = Database::named("audit_merges");
    drop(Collector::start(&database));
    database.query("CREATE TABLE other AS mail_statistics ENGINE = ReplacingMergeTree ORDER BY event");
    database.query("EXCHANGE TABLES other AND mail_statistics");
    let collector = Collector::start_with(&database.url(), AUDIT);
    post(&collector, 5);
    wait_for("the audit", || {
        collector
            .log()
            .contains("audit: a table of this engine is not compared")
            .then_some(())
    });
    assert_eq!(audited(&collector, "checked_rows_total"), 0);
}

#[test]
fn ready_lists_a_table_that_waits_for_an_operator() {
    let database = Database::named("ready_held");
    let collector = Collector::start(&database);
    database.query("RENAME TABLE mail_statistics TO elsewhere");
    post(&collector, 3);
    let held = "table mail_statistics: rows wait for an operator, and the log has the reason; waiting rows: 3\n";
    wait_for_condition(&collector, held);
    assert_eq!(collector.metric("rowmill_table_held{table=\"mail_statistics\"}"), 1);
    database.query("RENAME TABLE elsewhere TO mail_statistics");
    wait_for("the table to be ready", || {
        (ready(&collector).text() == "ready\n").then_some(())
    });
    assert_eq!(collector.metric("rowmill_table_held{table=\"mail_statistics\"}"), 0);
}

#[test]
fn ready_reports_a_spool_that_was_damaged() {
    let database = Database::named("ready_damaged");
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_without_clickhouse(data.path());
    // The collector writes each event separately.
    post(&collector, 20);
    collector.kill();
    let mut entries = fs::read_dir(data.path().join("spool")).unwrap();
    let segment = entries
        .find_map(|entry| Some(entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "spool")))
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();

    let collector = Collector::start_in(data.path(), &database.url(), &[]);
    wait_for_condition(
        &collector,
        "parts of the spool were damaged on disk, and their segments are kept as *.damaged; found since the start: 1\n",
    );
    assert_eq!(collector.metric("rowmill_spool_damaged_total"), 1);
}
