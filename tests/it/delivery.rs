//! The delivery of rows across a stop, an unavailable ClickHouse and a lost answer.

use std::sync::atomic::Ordering;

use rowmill_ingest::{WriterOptions, server::not_found};
use tower::{Layer, service_fn};

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    proxy::Proxy,
    service::Served,
    wait_for,
};

fn send_numbered(collector: &Collector, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let answer = http::post_json(
            collector.address,
            "/wh/mail",
            &format!(r#"{{"message_id":"{number}"}}"#),
        );
        assert_eq!(answer.status, 200);
    }
}

const EACH_ONCE: &str =
    "SELECT count(), uniqExact(message_id), min(toUInt32(message_id)), max(toUInt32(message_id)) FROM mail_statistics";

#[test]
fn a_stop_delivers_all_rows_to_clickhouse() {
    let database = Database::named("drain");
    let collector = Collector::start(&database);
    send_numbered(&collector, 0..50);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "50\t50\t0\t49\n");
}

#[test]
fn a_stop_that_cannot_reach_clickhouse_leaves_the_rows_for_the_next_start() {
    let database = Database::named("drain_late");
    let data = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(database.engine);
    let url = database.url_through(proxy.address);
    let collector = Collector::start_in(data.path(), &url, &["--drain-seconds", "0.3"]);
    proxy.loses_answers.store(true, Ordering::SeqCst);
    send_numbered(&collector, 0..3);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("rows stay in the spool"), "{}", ended.log);

    let collector = Collector::start_in(data.path(), &database.url(), &[]);
    send_numbered(&collector, 3..5);
    let ended = collector.stop();
    assert!(
        ended.log.contains("the spool has rows of an earlier run"),
        "{}",
        ended.log
    );
    // ClickHouse already had the first three rows; only its answer was lost.
    assert_eq!(database.query(EACH_ONCE), "5\t5\t0\t4\n");
}

#[test]
fn a_killed_collector_loses_no_acknowledged_row() {
    let database = Database::named("killed");
    let data = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(database.engine);
    let url = database.url_through(proxy.address);
    let collector = Collector::start_in(data.path(), &url, &[]);
    proxy.loses_answers.store(true, Ordering::SeqCst);
    send_numbered(&collector, 0..7);
    collector.kill();

    let collector = Collector::start_in(data.path(), &database.url(), &[]);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.query(EACH_ONCE), "7\t7\t0\t6\n");
}

#[test]
fn an_insert_with_missing_frames_stores_no_rows() {
    let database = Database::create("cut_frames");
    database.query("CREATE TABLE t (a UInt64, s String) ENGINE = MergeTree ORDER BY a");
    let path = format!("/?database={}", database.name);
    let select =
        b"SELECT number AS a, toString(a) AS s FROM numbers(500000) SETTINGS max_block_size = 500000 FORMAT Native";
    let block = database.send("POST", &format!("{path}&compress=1"), select).body;
    let mut rest = &block[..];
    let mut frames = Vec::new();
    while !rest.is_empty() {
        // The checksum is followed by the method and a length that counts from the method on.
        let length = 16 + u32::from_le_bytes(rest[17..21].try_into().unwrap()) as usize;
        frames.push(&rest[..length]);
        rest = &rest[length..];
    }
    assert!(frames.len() > 5, "{}", frames.len());

    let head = format!(
        "POST {path}&decompress=1&query=INSERT%20INTO%20t%20FORMAT%20Native HTTP/1.1\r\nHost: localhost\r\n\
         X-ClickHouse-User: collector\r\nX-ClickHouse-Key: {}\r\n",
        database.password
    );
    let chunked = |frames: &[&[u8]]| {
        let mut request = format!("{head}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
        for frame in frames {
            request.extend(format!("{:x}\r\n", frame.len()).into_bytes());
            request.extend(*frame);
            request.extend(b"\r\n");
        }
        request
    };
    for sent in 1..frames.len() {
        // The connection breaks, …
        drop(http::open(database.engine, &chunked(&frames[..sent])));
        // … or the body ends early, which must be an error too.
        let ended = [chunked(&frames[..sent]), b"0\r\n\r\n".to_vec()].concat();
        let answer = http::send_bytes(database.engine, &ended);
        assert_ne!(answer.status, 200, "{sent} of {}: {}", frames.len(), answer.text());
    }
    wait_for("the end of broken requests", || {
        let running =
            "SELECT count() FROM system.processes WHERE current_database = currentDatabase() AND query LIKE 'INSERT%'";
        (database.query(running) == "0\n").then_some(())
    });
    assert_eq!(database.count("t"), 0);
    let all = [chunked(&frames), b"0\r\n\r\n".to_vec()].concat();
    assert_eq!(http::send_bytes(database.engine, &all).status, 200);
    assert_eq!(database.count("t"), 500_000);
}

#[test]
fn a_truncated_block_is_refused_if_its_last_column_is_plain() {
    let database = Database::create("cut_columns");
    let path = format!("/?database={}", database.name);
    let kinds = [
        "Array(String)",
        "Array(UInt64)",
        "Array(Array(UInt8))",
        "Map(String, String)",
        "Tuple(Array(UInt8), Array(Nullable(String)))",
        "Nullable(String)",
    ];
    for (index, kind) in kinds.iter().enumerate() {
        for (plain, value) in [
            ("UInt64", "number"),
            ("String", "toString(number)"),
            ("FixedString(3)", "'abc'"),
        ] {
            let table = format!("t{index}_{}", &plain[..1]);
            database.query(&format!(
                "CREATE TABLE {table} (last {plain}, n UInt8, v {kind}) ENGINE = MergeTree ORDER BY n"
            ));
            let rows = format!("SELECT * FROM generateRandom('n UInt8, v {kind}', {index}, 5, 3) LIMIT 4");
            let select = format!(
                "SELECT n, v, CAST({value} AS {plain}) AS last FROM (SELECT *, rowNumberInAllBlocks() AS number FROM ({rows})) FORMAT Native"
            );
            let block = database.send("POST", &path, select.as_bytes()).body;
            let insert = |body: &[u8]| {
                let target = format!("{path}&query=INSERT%20INTO%20{table}%20FORMAT%20Native");
                database.send("POST", &target, body).status
            };
            for length in 1..block.len() {
                assert_ne!(insert(&block[..length]), 200, "{table}: {length} of {}", block.len());
            }
            assert_eq!(database.count(&table), 0);
            assert_eq!(insert(&block), 200);
            assert_eq!(database.count(&table), 4);
        }
    }
}

#[test]
fn a_second_collector_on_the_same_data_is_refused() {
    let database = Database::named("second");
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_in(data.path(), &database.url(), &[]);
    let second = collector::command()
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--clickhouse",
            &database.url(),
            "--data",
        ])
        .arg(data.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let text = String::from_utf8(second.stderr).unwrap();
    assert!(text.contains("another process is using this spool"), "{text}");
    send_numbered(&collector, 0..1);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.count("mail_statistics"), 1);
}

#[test]
fn a_lost_answer_duplicates_no_row() {
    let database = Database::named("lost_answer");
    let proxy = Proxy::start(database.engine);
    let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
    proxy.loses_answers.store(true, Ordering::SeqCst);
    send_numbered(&collector, 0..20);
    // The rows are stored, but the collector does not know, and queries ClickHouse.
    database.wait_for_rows("mail_statistics", 20);
    wait_for("a lookup", || proxy.seen().contains("system.processes").then_some(()));
    proxy.loses_answers.store(false, Ordering::SeqCst);
    send_numbered(&collector, 20..30);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!(database.query(EACH_ONCE), "30\t30\t0\t29\n");
}

#[test]
fn an_insert_contains_its_columns_token_and_settings() {
    let database = Database::named("insert");
    let proxy = Proxy::start(database.engine);
    let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
    send_numbered(&collector, 0..1);
    database.wait_for_rows("mail_statistics", 1);
    let seen = proxy.seen();
    let insert = seen
        .lines()
        .find(|line| line.contains("INSERT+INTO+%60"))
        .unwrap_or_else(|| panic!("{seen}"));
    for part in [
        "FORMAT+Native",
        "%60extra.key%60",
        "%60detailed%60",
        "insert_deduplication_token=mail_statistics%3A",
        "insert_deduplicate=1",
        "async_insert=0",
        "insert_distributed_sync=1",
        "wait_for_async_insert=1",
        "input_format_null_as_default=1",
        "decompress=1",
    ] {
        assert!(insert.contains(part), "{part} is not in {insert}");
    }
}

#[test]
fn values_are_converted_to_the_type_of_an_altered_column() {
    let database = Database::named("altered");
    let collector = Collector::start(&database);
    database.wait_for_rows("mail_statistics", 0);
    // In a row format, ClickHouse would read the text's length as the number's first byte.
    database.query("ALTER TABLE mail_statistics MODIFY COLUMN list_id UInt32");
    for (message, list) in [(1, "12345"), (2, "none"), (3, "67")] {
        let body = format!(r#"{{"message_id":"{message}","list_id":"{list}"}}"#);
        assert_eq!(http::post_json(collector.address, "/wh/mail", &body).status, 200);
    }
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT message_id, list_id FROM mail_statistics ORDER BY message_id"),
        "1\t12345\n3\t67\n"
    );
    assert_eq!(
        database.query("SELECT table, code, position(payload, 'none') > 0 FROM rejected"),
        "mail_statistics\tclickhouse-6\t1\n"
    );
}

#[test]
fn a_refused_event_does_not_affect_others() {
    let database = Database::named("poison");
    let collector = Collector::start(&database);
    for body in [
        r#"{"sess":{"num":1}}"#,
        r#"{"sess":{"num":"x"}}"#,
        r#"{"sess":{"num":3}}"#,
    ] {
        http::post_json(collector.address, "/track/page", body);
    }
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT sess_num FROM events ORDER BY sess_num"),
        "1\n3\n"
    );
    assert_eq!(
        database.query("SELECT table, column, code FROM rejected"),
        "events\tsess_num\tmalformed\n"
    );
}

#[test]
fn without_memory_webhooks_get_a_503_and_pixels_and_redirects_are_answered() {
    let database = Database::named("no_room");
    let options = WriterOptions {
        memory_bytes: 1,
        ..WriterOptions::default()
    };
    let served = Served::start_with(&database, &rowmill::tables::SCHEMA, options, |writer| {
        rowmill::tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let webhook = http::post_json(served.address, "/wh/mail", r#"{"event":"sent"}"#);
    assert_eq!((webhook.status, webhook.header("retry-after")), (503, Some("2")));
    assert_eq!(webhook.json()["message"], "Service Unavailable");
    let pixel = http::get(served.address, "/pixel/mail?event=open");
    assert_eq!((pixel.status, pixel.body.len()), (200, 43));
    let redirect = http::get(served.address, "/redir/mail?to=https://example.org/");
    assert_eq!(
        (redirect.status, redirect.header("location")),
        (302, Some("https://example.org/"))
    );
    served.drain();
    assert_eq!((database.count("mail_statistics"), database.count("rejected")), (0, 0));
}

#[test]
fn a_view_that_refuses_a_row_neither_holds_nor_duplicates_rows() {
    let database = Database::create("bad_view");
    let served = Served::start(&database, &rowmill::tables::SCHEMA, |writer| {
        rowmill::tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    database.query(
        "CREATE MATERIALIZED VIEW strict ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100
         AS SELECT toUInt32(message_id) + throwIf(message_id = '2') AS n FROM mail_statistics",
    );
    for number in 0..4 {
        http::post_json(served.address, "/wh/mail", &format!(r#"{{"message_id":"{number}"}}"#));
    }
    served.drain();
    assert_eq!(database.query(EACH_ONCE), "4\t4\t0\t3\n");
    assert_eq!(database.query("SELECT count(), sum(n) FROM strict"), "3\t4\n");
    assert_eq!(database.query("SELECT code FROM rejected"), "view-395\n");
}
