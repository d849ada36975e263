//! Topics beside ClickHouse: `serve --topics`, with a broker, and ClickHouse as the reader of the
//! messages.

mod families;
mod faults;
mod reader;

use std::path::Path;

use self::reader::Reader;
use crate::{
    handover::rows::{Rows, away, spool, text},
    support::{broker::Broker, collector::Collector, engine::Database, wait_for},
};

/// The rows that were sent to the topic of `mail_statistics`.
const SENT: &str = "rowmill_topics_rows_total{table=\"mail_statistics\"}";

/// Starts a collector with topics.
fn start(data: &Path, clickhouse: &str, topics: &str, more: &[&str]) -> Collector {
    let options = [
        &["--topics", topics, "--topics-replicas", "1", "--topics-partitions", "2"],
        more,
    ];
    Collector::start_in(data, clickhouse, &options.concat())
}

/// Waits until a collector has sent this many rows.
fn wait_for_sent(collector: &Collector, rows: u64) {
    wait_for("rows in the topic", || (collector.metric(SENT) >= rows).then_some(()));
    assert_eq!(collector.metric(SENT), rows);
}

/// Checks that nothing in a data folder waits for the topics.
fn assert_sent(data: &Path) {
    let list = text(&spool("list", data, &[]));
    assert!(list.contains("0 segments, 0 bytes are kept for the topics"), "{list}");
}

#[test]
fn clickhouse_reads_from_a_topic_what_its_table_has() {
    let Some(broker) = Broker::start() else { return };
    let (database, mut rows) = (Database::named("topics"), Rows::default());
    for (format, clickhouse_format) in [("json", "JSONEachRow"), ("rowbinary", "RowBinary")] {
        let data = tempfile::tempdir().unwrap();
        let topics = broker.log(format);
        let options = ["--topics-format", format, "--drain-seconds", "20"];
        let collector = start(data.path(), &database.url(), &topics, &options);
        rows.post(collector.address, 20);
        wait_for("the first rows", || (collector.metric(SENT) > 0).then_some(()));
        rows.post(collector.address, 10);
        // The stop sends the rows of the last moment.
        let ended = collector.stop();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        rows.wait(&database);
        assert_sent(data.path());

        let topic = format!("{format}.mail_statistics");
        let reader = Reader::start(&database, &broker, "mail_statistics", &topic, clickhouse_format);
        reader.wait_for(30);
        let first: u64 = if format == "json" { 0 } else { 30 };
        reader.assert_equals_table(&format!("toUInt64(message_id) >= {first}"));
        reader.assert_headers();
        let headers = reader.query("SELECT DISTINCT headers['rowmill-table'], headers['rowmill-format'] FROM messages");
        assert_eq!(headers, format!("mail_statistics\t{clickhouse_format}\n"));
    }
}

#[test]
fn neither_clickhouse_nor_the_broker_delays_the_other() {
    let Some(broker) = Broker::start() else { return };
    let (database, mut rows) = (Database::named("topics_away"), Rows::default());
    let (data, away) = (tempfile::tempdir().unwrap(), away(&database));
    let topics = broker.log("away");
    let collector = start(data.path(), &away.url(), &topics, &[]);
    rows.post(collector.address, 10);
    wait_for_sent(&collector, 10);
    collector.kill();
    // The spool has the rows, and the next process knows that the topic has them.
    let collector = start(data.path(), &away.url(), &topics, &["--drain-seconds", "20"]);
    rows.post(collector.address, 5);
    wait_for_sent(&collector, 5);

    broker.go_away();
    away.proxy.set_server(Some(database.engine));
    rows.wait(&database);
    rows.post(collector.address, 7);
    rows.wait(&database);
    let failing = "rowmill_topics_failing{table=\"mail_statistics\"}";
    wait_for("a failure", || (collector.metric(failing) == 1).then_some(()));
    assert_eq!(collector.metric(SENT), 5);
    broker.come_back();
    wait_for_sent(&collector, 12);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    for line in [
        "rows cannot be sent to their topic and wait on disk",
        "the topic takes rows again",
    ] {
        assert!(ended.log.contains(line), "{}", ended.log);
    }
    assert_sent(data.path());

    let reader = Reader::start(
        &database,
        &broker,
        "mail_statistics",
        "away.mail_statistics",
        "JSONEachRow",
    );
    reader.wait_for(22);
    reader.assert_equals_table("1");
    reader.assert_headers();
    assert_eq!(reader.query("SELECT count() FROM messages FINAL"), "22\n");
}

#[test]
fn rows_beyond_the_limit_are_given_up_and_counted() {
    let (database, mut rows) = (Database::named("topics_limit"), Rows::default());
    let data = tempfile::tempdir().unwrap();
    let away = "kafka://rowmill:not-in-the-log@127.0.0.1:1/events?sasl=plain";
    let collector = start(data.path(), &database.url(), away, &[]);
    rows.post(collector.address, 10);
    rows.wait(&database);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(
        ended.log.contains("rows stay on disk for their topics"),
        "{}",
        ended.log
    );
    let list = text(&spool("list", data.path(), &[]));
    assert!(
        list.contains("0 rows wait in 0 blocks") && list.contains("1 segments, "),
        "{list}"
    );

    let collector = start(data.path(), &database.url(), away, &["--topics-bytes", "0"]);
    wait_for("dropped rows", || {
        (collector.metric("rowmill_topics_dropped_bytes_total") > 0).then_some(())
    });
    let ended = collector.stop();
    assert!(ended.log.contains("rows do not reach their topics"), "{}", ended.log);
    assert!(!ended.log.contains("not-in-the-log"), "{}", ended.log);
    assert_sent(data.path());
}

#[test]
fn a_mistake_in_the_options_stops_the_start() {
    let data = tempfile::tempdir().unwrap();
    let start =
        |arguments: &[&str]| Collector::try_start_in(data.path(), "http://127.0.0.1:1/stats", arguments).unwrap_err();
    let url = "kafka://127.0.0.1:1/events";
    for (arguments, reason) in [
        (
            &["--topics", "http://user:secret@broker"][..],
            "--topics: the scheme is not `kafka` or `kafka+tls`",
        ),
        (
            &["--topics", "kafka://user:secret@broker"],
            "--topics: the topic prefix is missing",
        ),
        (
            &["--topics", url, "--topics-tables", "mail_statistics,nothing"],
            "--topics-tables: the schema has no table `nothing`",
        ),
        (
            &["--topics", url, "--log", "kafka://127.0.0.1:1/rows"],
            "--topics reads the spool, which a collector with --log does not have",
        ),
        (
            &["--topics", url, "--topics-format", "avro"],
            "[possible values: json, rowbinary]",
        ),
        (&["--topics-tables", "mail_statistics"], "--topics <URL>"),
    ] {
        let log = start(arguments);
        assert!(log.contains(reason), "{arguments:?}: {log}");
        assert!(!log.contains("secret"), "{log}");
    }
}
