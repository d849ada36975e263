//! Inserts with an unknown outcome: the collector queries the table before it sends rows again.

use std::sync::atomic::Ordering;

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    proxy::Proxy,
    wait_for,
};

const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];

/// Sends webhooks with these numbers and checks that each is acknowledged on disk.
fn send_numbered(collector: &Collector, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let body = format!(r#"{{"event":"sent","message_id":"{number}"}}"#);
        let answer = http::post_json(collector.address, "/wh/mail", &body);
        assert_eq!((answer.status, answer.header("x-rowmill-ack")), (200, Some("spooled")));
    }
}

/// Counts the rows and their distinct numbers.
const EACH_ONCE: &str = "SELECT count(), uniqExact(message_id) FROM mail_statistics WHERE event = 'sent'";

/// Lets a collector store rows with these numbers but not receive the answers, and kills it.
fn store_without_response(database: &Database, data: &std::path::Path, numbers: std::ops::Range<u32>) {
    let rows = u64::from(numbers.end);
    lose_responses(database, data, rows, |collector| send_numbered(collector, numbers));
}

/// Lets a collector store what `send` sends but not receive the answers, and kills it once the
/// table has `rows` rows.
fn lose_responses(database: &Database, data: &std::path::Path, rows: u64, send: impl FnOnce(&Collector)) {
    let proxy = Proxy::start(database.engine);
    let url = database.url_through(proxy.address);
    let collector = Collector::start_in(data, &url, &[]);
    proxy.loses_answers.store(true, Ordering::SeqCst);
    send(&collector);
    database.wait_for_rows("mail_statistics", rows);
    collector.kill();
}

#[test]
fn stored_rows_are_not_sent_again_when_their_token_is_forgotten() {
    let database = Database::named("forgotten_token");
    let data = tempfile::tempdir().unwrap();
    store_without_response(&database, data.path(), 0..3);
    database.query("ALTER TABLE mail_statistics MODIFY SETTING non_replicated_deduplication_window = 5");
    // Other writers fill the whole window.
    for number in 0..30 {
        database.query(&format!(
            "INSERT INTO mail_statistics (event, id) VALUES ('other', {number})"
        ));
    }
    let collector = Collector::start_in(data.path(), &database.url(), &[]);
    send_numbered(&collector, 3..4);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "4\t4\n");
}

#[test]
fn stored_rows_are_not_refused_by_a_later_constraint() {
    let database = Database::named("stricter");
    let data = tempfile::tempdir().unwrap();
    store_without_response(&database, data.path(), 0..8);
    database.query("ALTER TABLE mail_statistics ADD CONSTRAINT none CHECK event != 'sent'");
    let ended = Collector::start_in(data.path(), &database.url(), &[]).stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "8\t8\n");
    assert_eq!(database.count("rejected"), 0);
}

/// Lets the collector create its tables, and gives `mail_statistics` another partition key. The
/// table keeps parts without rows: ClickHouse forgets the token of a part that it removes.
fn partitioned(database: &Database, key: &str) {
    drop(Collector::start(database));
    database.query(&format!(
        "CREATE TABLE other AS mail_statistics ENGINE = MergeTree PARTITION BY {key} ORDER BY id \
         SETTINGS non_replicated_deduplication_window = 1000, remove_empty_parts = 0"
    ));
    database.query("EXCHANGE TABLES other AND mail_statistics");
}

/// Deletes rows, but not their token: as if ClickHouse had been killed between the write to its
/// deduplication log and the rename of a part.
fn delete_rows(database: &Database, condition: &str) {
    database.query(&format!(
        "ALTER TABLE mail_statistics DELETE WHERE {condition} SETTINGS mutations_sync = 2"
    ));
}

#[test]
fn missing_partitions_are_sent_although_their_token_is_known() {
    let database = Database::named("partly");
    let data = tempfile::tempdir().unwrap();
    partitioned(&database, "id % 4");
    let line = |number| format!("{{\"event\":\"sent\",\"message_id\":\"{number}\"}}\n");
    let lines: String = (0..40).map(line).collect();
    lose_responses(&database, data.path(), 40, |collector| {
        let answer = http::send(collector.address, "POST", "/wh/mail", NDJSON, lines.as_bytes());
        assert_eq!((answer.status, answer.header("x-rowmill-ack")), (200, Some("spooled")));
    });
    delete_rows(&database, "id % 4 IN (1, 3)");
    let left = database.count("mail_statistics");
    assert!(left > 0 && left < 40, "{left}");
    let ended = Collector::start_in(data.path(), &database.url(), &[]).stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "40\t40\n");
}

#[test]
fn a_missing_block_is_sent_although_its_token_is_known() {
    let database = Database::named("gone");
    let data = tempfile::tempdir().unwrap();
    partitioned(&database, "tuple()");
    store_without_response(&database, data.path(), 0..10);
    delete_rows(&database, "true");
    assert_eq!(database.count("mail_statistics"), 0);
    let ended = Collector::start_in(data.path(), &database.url(), &["--drain-seconds", "60"]).stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "10\t10\n");
}

#[test]
fn a_hundred_bad_rows_hold_no_valid_row() {
    let database = Database::named("hundred_bad");
    let collector = Collector::start(&database);
    database.query("ALTER TABLE mail_statistics ADD COLUMN link UInt32 MATERIALIZED toUInt32(link_id)");
    send_numbered_links(&collector, 0..20);
    // One anonymous request with 150 bad rows.
    let lines = "{\"event\":\"bad\",\"link_id\":\"x\"}\n".repeat(150);
    let answer = http::send(collector.address, "POST", "/wh/mail", NDJSON, lines.as_bytes());
    assert_eq!(answer.status, 200);
    send_numbered_links(&collector, 20..40);
    wait_for("the valid rows", || {
        (database.query("SELECT count() FROM mail_statistics WHERE event = 'sent'") == "40\n").then_some(())
    });
    // Each accepted insert shows that the bad rows are the cause, and not the table.
    wait_for("the bad rows among the dead letters", || {
        send_numbered_links(&collector, 40..41);
        (database.count("rejected") == 150).then_some(())
    });
    assert_eq!(collector.stop().code, Some(0));
}

fn send_numbered_links(collector: &Collector, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let body = format!(r#"{{"event":"sent","message_id":"{number}","link_id":"{number}"}}"#);
        assert_eq!(http::post_json(collector.address, "/wh/mail", &body).status, 200);
    }
}

#[test]
fn a_block_of_many_partitions_is_divided() {
    let database = Database::named("many_partitions");
    partitioned(&database, "message_id");
    let collector = Collector::start(&database);
    let lines: String = (0..250)
        .map(|number| format!("{{\"event\":\"sent\",\"message_id\":\"{number}\"}}\n"))
        .collect();
    let answer = http::send(collector.address, "POST", "/wh/mail", NDJSON, lines.as_bytes());
    assert_eq!(answer.status, 200);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "250\t250\n");
    assert_eq!(database.count("rejected"), 0);
}

/// Leaves rows in a spool, as an older build would, and returns the data folder.
fn waiting(database: &Database, rows: u32) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_in(data.path(), &database.url(), &["--drain-seconds", "0.1"]);
    database.query("RENAME TABLE mail_statistics TO elsewhere");
    send_numbered(&collector, 0..rows);
    collector.kill();
    database.query("RENAME TABLE elsewhere TO mail_statistics");
    data
}

/// Replays a spool. Returns whether the command succeeded, and its output.
fn replay(data: &std::path::Path, database: &Database, changes: &[&str]) -> (bool, String) {
    let output = collector::command()
        .args(["spool", "replay", "--data"])
        .arg(data)
        .args(["--within", "3", "--clickhouse", &database.url()])
        .args(changes)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn rows_of_an_earlier_build_keep_their_values_in_wider_columns() {
    let database = Database::named("wider");
    let data = waiting(&database, 5);
    database.query("ALTER TABLE mail_statistics MODIFY COLUMN projectId UInt64, MODIFY COLUMN td_fpid String");
    let (is_done, output) = replay(data.path(), &database, &[]);
    assert!(is_done, "{output}");
    assert_eq!(database.query(EACH_ONCE), "5\t5\n");
    assert_eq!(
        database.query("SELECT countIf(date = toDate(fromUnixTimestamp64Milli(toInt64(bitShiftRight(id, 22))))) FROM mail_statistics"),
        "5\n",
        "ids and dates are those that were sent"
    );
}

#[test]
fn rows_of_changed_columns_wait_and_the_hint_works() {
    let database = Database::named("renamed");
    let data = waiting(&database, 5);
    database.query("ALTER TABLE mail_statistics RENAME COLUMN message_id TO message, MODIFY COLUMN projectId UInt8");
    let (is_done, output) = replay(data.path(), &database, &[]);
    assert!(!is_done, "{output}");
    assert!(
        output.contains("--map message_id=NEW") && output.contains("--convert projectId"),
        "{output}"
    );
    let changes = ["--map", "message_id=message", "--drop", "projectId"];
    let (is_done, output) = replay(data.path(), &database, &changes);
    assert!(is_done, "{output}");
    assert_eq!(
        database.query("SELECT count(), uniqExact(message) FROM mail_statistics"),
        "5\t5\n"
    );
}

#[test]
fn rows_that_the_collector_finds_are_counted() {
    let database = Database::named("seen");
    let data = tempfile::tempdir().unwrap();
    store_without_response(&database, data.path(), 0..3);
    let collector = Collector::start_in(data.path(), &database.url(), &[]);
    wait_for("the rows to be found", || {
        let metrics = http::get(collector.address, "/metrics").text().to_owned();
        metrics
            .contains("rowmill_rows_found_total{table=\"mail_statistics\"} 3")
            .then_some(())
    });
    assert_eq!(collector.stop().code, Some(0));
}

#[test]
fn a_view_without_a_window_counts_rows_once_after_a_lost_answer() {
    let database = Database::named("view_once");
    // The collector creates the table; the test adds a view over it, and another over that view's
    // table.
    drop(Collector::start(&database));
    database.query("CREATE TABLE sums (n UInt64) ENGINE = MergeTree ORDER BY tuple()");
    database.query("CREATE MATERIALIZED VIEW first TO sums AS SELECT count() AS n FROM mail_statistics");
    database
        .query("CREATE MATERIALIZED VIEW second ENGINE = MergeTree ORDER BY tuple() AS SELECT sum(n) AS n FROM sums");
    let data = tempfile::tempdir().unwrap();
    store_without_response(&database, data.path(), 0..10);
    let ended = Collector::start_in(data.path(), &database.url(), &[]).stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "10\t10\n");
    assert_eq!(database.query("SELECT sum(n) FROM sums"), "10\n");
    assert_eq!(database.query("SELECT sum(n) FROM second"), "10\n");
}
