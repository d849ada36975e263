//! `rowmill rejected replay`: rows that ClickHouse refused go into their table exactly once, when
//! ClickHouse accepts them.

use std::process::Output;

use embedder::tables;
use rowmill_ingest::{
    Ack, ClickHouseUrl,
    rejected::{RejectedReplay, RejectedTable, replay as replay_rejected},
    server::not_found,
    table::Table,
};
use tokio::runtime::Runtime;
use tower::{Layer, service_fn};

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    service::Served,
};

/// Runs the command with a database's URL.
fn replay(database: &Database, arguments: &[&str]) -> Output {
    let url = database.url();
    collector::run(&[&["rejected", "replay", "--clickhouse", &url], arguments].concat())
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs the command, which must succeed and print `line`.
fn assert_replayed(database: &Database, arguments: &[&str], line: &str) {
    let output = replay(database, arguments);
    let text = text(&output);
    assert!(output.status.success() && text.contains(line), "no {line:?} in {text}");
}

fn send(collector: &Collector, event: &str, number: u32) {
    let body = format!(r#"{{"event":"{event}","message_id":"{number}","email":"anna@example.org"}}"#);
    let answer = http::post_json(collector.address, "/wh/mail", &body);
    assert_eq!(answer.status, 200);
}

/// Lets ClickHouse refuse five rows and accept five others.
fn with_five_dead_letters(name: &str) -> Database {
    let database = Database::named(name);
    let collector = Collector::start(&database);
    database.query("ALTER TABLE mail_statistics ADD CONSTRAINT no_bounce CHECK event != 'bounce'");
    for number in 0..5 {
        send(&collector, "bounce", number);
        send(&collector, "sent", number + 5);
    }
    database.wait_for_rows("rejected", 5);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.count("mail_statistics"), 5);
    database
}

const EACH_ONCE: &str = "SELECT count(), uniqExact(id), uniqExact(message_id), countIf(event = 'bounce'), \
                         countIf(email = 'anna@example.org') FROM mail_statistics";

const DEAD_LETTER_COUNT: &str = "SELECT count() FROM rejected";

#[test]
fn rows_are_stored_once_after_the_constraint_is_dropped() {
    let database = with_five_dead_letters("replay_once");
    // The command tries each row again, and the reason contains no value.
    let output = replay(&database, &[]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("mail_statistics: rows refused: 5: Code: 469 (VIOLATED_CONSTRAINT): constraint `no_bounce`"),
        "{text}"
    );
    assert!(!text.contains("anna") && !text.contains("bounce'"), "{text}");
    assert_eq!(database.count("mail_statistics"), 5);

    database.query("ALTER TABLE mail_statistics DROP CONSTRAINT no_bounce");
    assert_replayed(
        &database,
        &["--dry-run"],
        "mail_statistics: rows to send: 5, rows already in the table: 0",
    );
    assert_eq!(database.count("mail_statistics"), 5);
    assert_replayed(
        &database,
        &[],
        "mail_statistics: rows stored: 5, rows already in the table: 0",
    );
    assert_eq!(database.query(EACH_ONCE), "10\t10\t10\t5\t10\n");

    // The table's window has forgotten the insert, so the ids decide.
    database.query("ALTER TABLE mail_statistics MODIFY SETTING non_replicated_deduplication_window = 0");
    assert_replayed(
        &database,
        &[],
        "mail_statistics: rows stored: 0, rows already in the table: 5",
    );
    assert_eq!(database.query(EACH_ONCE), "10\t10\t10\t5\t10\n");
    assert_eq!(database.query(DEAD_LETTER_COUNT), "5\n");

    assert_replayed(&database, &["--delete"], "dead letters deleted: 5");
    assert_eq!(database.query(DEAD_LETTER_COUNT), "0\n");
    assert_replayed(&database, &[], "found no dead letters of rows");
}

#[test]
fn dead_letters_are_selected_by_table_time_and_reason() {
    let database = with_five_dead_letters("replay_chosen");
    database.query("ALTER TABLE mail_statistics DROP CONSTRAINT no_bounce");
    let none = "found no dead letters of rows";
    for arguments in [
        &["--table", "webhooks"][..],
        &["--since", "2100-01-01T00:00:00Z"],
        &["--reason", "another"],
        &["--reason", "clickhouse-46"],
    ] {
        assert_replayed(&database, arguments, none);
    }
    let all = [
        "--table",
        "mail_statistics",
        "--since",
        "1h",
        "--reason",
        "clickhouse-469",
    ];
    assert_replayed(&database, &all, "rows stored: 5");
    assert_eq!(database.query(EACH_ONCE), "10\t10\t10\t5\t10\n");

    let output = replay(&database, &["--table", "mail_statistic"]);
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    assert!(text.contains("the schema has no table `mail_statistic`"), "{text}");
    assert!(text.contains("mail_statistics"), "{text}");
}

#[test]
fn rows_of_changed_columns_are_converted_and_one_bad_row_is_refused_alone() {
    let database = with_five_dead_letters("replay_converted");
    // The current table accepts all rows but one, has a column of another type, and lacks a column.
    database.query("ALTER TABLE mail_statistics DROP CONSTRAINT no_bounce");
    database.query("ALTER TABLE mail_statistics ADD CONSTRAINT no_three CHECK message_id != '3'");
    database.query("ALTER TABLE mail_statistics MODIFY COLUMN event LowCardinality(String)");
    database.query("ALTER TABLE mail_statistics RENAME COLUMN email TO address");
    let output = replay(&database, &[]);
    assert_eq!(output.status.code(), Some(1));
    let hint = "--map email=NEW";
    assert!(text(&output).contains(hint), "{}", text(&output));
    assert_eq!(database.count("mail_statistics"), 5);

    let output = replay(&database, &["--map", "email=address"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("mail_statistics: rows stored: 4"), "{text}");
    assert!(text.contains("mail_statistics: rows refused: 1: Code: 469"), "{text}");
    assert_eq!(
        database.query(
            "SELECT count(), countIf(event = 'bounce'), countIf(address = 'anna@example.org') FROM mail_statistics"
        ),
        "9\t4\t9\n"
    );
}

#[test]
fn dead_letters_that_cannot_be_replayed_are_counted() {
    let database = with_five_dead_letters("replay_counted");
    database.query("ALTER TABLE mail_statistics DROP CONSTRAINT no_bounce");
    // A dead letter from an earlier version, one with a cut payload, and one of an event.
    database.query(
        "INSERT INTO rejected (time, id, table, code, payload, payload_bytes, payload_hash, payload_format, payload_columns) \
         SELECT time, 1, table, code, payload, payload_bytes, payload_hash, '', '' FROM rejected LIMIT 1",
    );
    database.query(
        "INSERT INTO rejected (time, id, table, code, payload, payload_bytes, payload_hash, payload_format, payload_columns) \
         SELECT time, 2, table, code, substring(payload, 1, 10), payload_bytes, payload_hash, payload_format, payload_columns \
         FROM rejected WHERE payload_format != '' LIMIT 1",
    );
    database.query(
        "INSERT INTO rejected (time, id, table, code, payload) VALUES (now(), 3, 'mail_statistics', 'json', '{')",
    );
    let output = replay(&database, &["--delete"]);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for line in [
        "mail_statistics: rows stored: 5",
        "mail_statistics: dead letters with a cut payload, which cannot be replayed: 1",
        "mail_statistics: dead letters of a version that did not keep the columns, which cannot be replayed: 1",
        "dead letters deleted: 5",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    assert_eq!(
        database.query("SELECT groupArray(id) FROM (SELECT id FROM rejected ORDER BY id)"),
        "[1,2,3]\n"
    );
    assert_eq!(database.query(EACH_ONCE), "10\t10\t10\t5\t10\n");
}

#[test]
fn an_outdated_table_of_dead_letters_is_reported() {
    let database = Database::create("replay_earlier");
    database.query("CREATE TABLE rejected (time DateTime64(3, 'UTC'), id UInt64, payload String) ENGINE = Memory");
    let output = replay(&database, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("rowmill apply"), "{}", text(&output));
}

#[test]
fn rows_without_an_id_are_recognized_by_their_tokens() {
    let database = Database::named("replay_tokens");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    database.query("ALTER TABLE engine_merge_tree ADD CONSTRAINT even CHECK key % 2 = 0");
    let mut tables = tables::SCHEMA.tables.iter().copied();
    let table: &'static Table = tables.find(|table| table.name == "engine_merge_tree").unwrap();
    for key in 0..6_u64 {
        // RowBinaryWithDefaults: a flag byte before each value is 1 if the value is the default. The
        // key, a count that is NULL, and a default.
        let appended = served.writer.append(table, Ack::Accepted, |row| {
            row.push(0);
            row.extend(key.to_le_bytes());
            row.extend([0, 1]);
            row.push(1);
        });
        appended.unwrap();
    }
    served.drain();
    assert_eq!(database.count("rejected"), 3);
    database.query("ALTER TABLE engine_merge_tree DROP CONSTRAINT even");

    let store: ClickHouseUrl = database.url().parse().unwrap();
    let replayed = [RejectedTable {
        table: "engine_merge_tree".to_owned(),
        letters: 3,
        stored: 3,
        is_known_by_token: true,
        ..RejectedTable::default()
    }];
    let options = RejectedReplay::default();
    for _ in 0..2 {
        let replay = replay_rejected(&store, &tables::SCHEMA, &options);
        let report = Runtime::new().unwrap().block_on(replay).unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.tables, replayed);
        assert_eq!(
            database.query("SELECT count(), uniqExact(key), countIf(count IS NULL) FROM engine_merge_tree"),
            "6\t6\t6\n"
        );
    }
}
