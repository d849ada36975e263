//! The table of dead letters: its columns, and how long it keeps a row.

use crate::support::{collector::Collector, engine::Database, http, wait_for};

fn ttl(database: &Database) -> String {
    let engine = database
        .query("SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'rejected'");
    let ttl = engine.split_once(" TTL ").map_or("", |(_, ttl)| ttl);
    ttl.split(" SETTINGS ").next().unwrap_or_default().to_owned()
}

fn expected_ttl(days: u32) -> String {
    format!("toDateTime(time) + toIntervalDay({days})")
}

#[test]
fn a_long_payload_is_cut_and_identified_by_its_hash() {
    let database = Database::named("rejected_cut");
    let collector = Collector::start_with(&database.url(), &["--rejected-payload-bytes", "100"]);
    let long = format!("{{{}", "x".repeat(5_000));
    for body in [&long, "{"] {
        assert_eq!(http::post_json(collector.address, "/wh/mail?a=1", body).status, 400);
    }
    database.wait_for_rows("rejected", 2);
    let whole = format!("?a=1\n{long}");
    assert_eq!(
        database.query(&format!(
            "SELECT payload = substring('{whole}', 1, 100), payload_bytes, payload_hash = xxHash64('{whole}') FROM rejected \
             WHERE payload_bytes > 100"
        )),
        format!("1\t{}\t1\n", whole.len())
    );
    let short = "SELECT payload, payload_bytes, payload_hash = xxHash64(payload) FROM rejected WHERE payload_bytes <= 100 FORMAT TSV";
    assert_eq!(database.query(short), "?a=1\\n{\t6\t1\n");
}

#[test]
fn payloads_beyond_the_rate_keep_their_start() {
    let database = Database::named("rejected_rate");
    // A thousand bytes in each of 16 seconds.
    let collector = Collector::start_with(&database.url(), &["--rejected-bytes-per-second", "1000"]);
    let long = format!("{{{}", "x".repeat(20_000));
    assert_eq!(http::post_json(collector.address, "/wh/mail", &long).status, 400);
    let lines = format!("{long}\n{{");
    let media_type = [("Content-Type", "application/x-ndjson")];
    http::send(collector.address, "POST", "/wh/mail", &media_type, lines.as_bytes());
    database.wait_for_rows("rejected", 3);
    assert_eq!(
        database.query(&format!(
            "SELECT length(payload), payload_bytes, payload_hash = xxHash64('{long}') FROM rejected ORDER BY payload_bytes DESC"
        )),
        format!("256\t{0}\t1\n256\t{0}\t1\n1\t1\t0\n", long.len())
    );
    assert_eq!(collector.metric("rowmill_rejected_payloads_cut_total"), 2);
}

#[test]
fn dead_letters_expire_after_the_requested_days() {
    let database = Database::named("rejected_days");
    for (arguments, expected) in [
        (&[][..], expected_ttl(30)),
        (&["--rejected-days", "7"], expected_ttl(7)),
        (&["--rejected-days", "0"], String::new()),
        (&[], expected_ttl(30)),
    ] {
        let collector = Collector::start_with(&database.url(), arguments);
        assert_eq!(ttl(&database), expected, "{arguments:?}");
        assert_eq!(collector.stop().code, Some(0));
    }
    // The next merge removes an expired dead letter.
    database.query("INSERT INTO rejected (time, payload) VALUES (now() - INTERVAL 31 DAY, 'old'), (now(), 'new')");
    database.query("OPTIMIZE TABLE rejected FINAL");
    wait_for("the expired dead letter to be removed", || {
        (database.query("SELECT groupArray(payload) FROM rejected") == "['new']\n").then_some(())
    });
}

#[test]
fn a_ttl_set_by_hand_stays() {
    let database = Database::named("rejected_own");
    drop(Collector::start(&database));
    let own = "toDateTime(time) + toIntervalYear(2)";
    database.query(&format!("ALTER TABLE rejected MODIFY TTL {own}"));
    drop(Collector::start_with(&database.url(), &["--rejected-days", "7"]));
    assert_eq!(ttl(&database), own);
}

#[test]
fn a_table_of_an_older_build_gets_its_missing_columns() {
    let database = Database::create("rejected_old");
    database.query(
        "CREATE TABLE rejected (`time` DateTime64(3, 'UTC'), `id` UInt64, `service` LowCardinality(String), `name` String, \
         `table` String, `column` String, `code` LowCardinality(String), `reason` String, `payload` String, `ip` String) \
         ENGINE = MergeTree PARTITION BY toYYYYMM(`time`) ORDER BY `time` SETTINGS non_replicated_deduplication_window = 1000",
    );
    database.query("INSERT INTO rejected (time, payload) VALUES (now(), 'before')");
    let collector = Collector::start(&database);
    assert_eq!(ttl(&database), expected_ttl(30));
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{").status, 400);
    database.wait_for_rows("rejected", 2);
    assert_eq!(
        database.query("SELECT payload, payload_bytes FROM rejected ORDER BY payload FORMAT TSV"),
        "before\t0\n{\t1\n"
    );
}
