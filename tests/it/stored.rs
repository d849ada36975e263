//! An answer says `stored` once the rows are on each shard of a Distributed table, and on the
//! requested number of replicas.

use std::{fs, path::Path, sync::atomic::Ordering, thread};

use rowmill_engine::{Engine, Options};

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    proxy::Proxy,
    wait_for,
};

const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];

/// Starts an engine with two clusters: `one` is the engine alone, and `two` has another shard,
/// which is down.
fn engine_with_clusters(data: &Path) -> Engine {
    let config = data.join("config/config.d");
    fs::create_dir_all(&config).unwrap();
    // The embedded ClickHouse considers port 9000 its own, whether it listens there or not.
    let shard = |port| format!("<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>");
    let (here, down) = (shard(9000), shard(1));
    let clusters =
        format!("<clickhouse><remote_servers><one>{here}</one><two>{here}{down}</two></remote_servers></clickhouse>");
    fs::write(config.join("clusters.xml"), clusters).unwrap();
    Engine::start(&Options::new(env!("CARGO_BIN_EXE_rowmill"), data)).unwrap()
}

/// Creates the collector's tables, and replaces `mail_statistics` with a Distributed table over
/// `local`, which then holds the rows.
fn distributed(engine: &Engine, data: &Path, cluster: &str) -> Database {
    let database = Database::of_engine("stats", engine.address(), data);
    let applied = collector::run(&["apply", "--clickhouse", &database.url()]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    database.query("RENAME TABLE mail_statistics TO local");
    database.query("ALTER TABLE local MODIFY SETTING non_replicated_deduplication_window = 0");
    database.query(&format!(
        "CREATE TABLE mail_statistics AS local ENGINE = Distributed({cluster}, currentDatabase(), local, id)"
    ));
    database
}

#[test]
fn nothing_is_stored_while_a_shard_is_down() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("engine");
    let engine = engine_with_clusters(&data);
    let database = distributed(&engine, &data, "two");
    let collector = Collector::start_with(&database.url(), &["--ack", "stored", "--drain-seconds", "0.1"]);
    // The ids of twenty rows map to both shards.
    let lines: String = (0..20)
        .map(|number| format!("{{\"message_id\":\"{number}\"}}\n"))
        .collect();
    let answer = http::send(collector.address, "POST", "/wh/mail", NDJSON, lines.as_bytes());
    assert_eq!(
        (answer.status, answer.header("x-rowmill-ack")),
        (503, Some("spooled")),
        "{}",
        answer.text()
    );
    let log = collector.stop().log;
    assert!(log.contains("an insert failed and will be retried"), "{log}");
    assert!(log.contains("rows stay in the spool"), "{log}");
    engine.stop().unwrap();
}

#[test]
fn rows_of_a_lost_answer_are_stored_once_under_a_distributed_table() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("engine");
    let engine = engine_with_clusters(&data);
    let database = distributed(&engine, &data, "one");
    database.query(
        "CREATE MATERIALIZED VIEW sums ENGINE = SummingMergeTree ORDER BY n AS SELECT 1 AS n, count() AS s FROM local",
    );
    let proxy = Proxy::start(engine.address());
    let collector = Collector::start_with(&database.url_through(proxy.address), &["--ack", "stored"]);
    let log = collector.log();
    // One for the local table, and one for the view's table.
    let windows = log
        .matches("MODIFY SETTING non_replicated_deduplication_window")
        .count();
    assert_eq!(windows, 2, "{log}");
    assert!(!log.contains("is a Distributed"), "{log}");

    proxy.loses_answers.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        let answer = scope.spawn(|| http::post_json(collector.address, "/wh/mail", "{}"));
        // The collector queries ClickHouse only after it has lost an answer.
        wait_for("a lookup", || proxy.seen().contains("system.processes").then_some(()));
        proxy.loses_answers.store(false, Ordering::SeqCst);
        let answer = answer.join().unwrap();
        assert_eq!((answer.status, answer.header("x-rowmill-ack")), (200, Some("stored")));
    });
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.count("local"), 1);
    assert_eq!(database.query("SELECT sum(s) FROM sums"), "1\n");
    engine.stop().unwrap();
}

#[test]
fn an_insert_requires_a_quorum_and_is_sent_again_after_a_lost_answer() {
    let database = Database::named("quorum");
    let proxy = Proxy::start(database.engine);
    let options = ["--insert-quorum", "auto", "--insert-timeout-seconds", "40"];
    let collector = Collector::start_with(&database.url_through(proxy.address), &options);
    proxy.loses_answers.store(true, Ordering::SeqCst);
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    wait_for("a lookup", || proxy.seen().contains("system.processes").then_some(()));
    proxy.loses_answers.store(false, Ordering::SeqCst);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.count("mail_statistics"), 1);

    let seen = proxy.seen();
    let inserts = seen
        .lines()
        .filter(|line| line.contains("INSERT+INTO+%60mail_statistics"));
    let inserts: Vec<_> = inserts.collect();
    assert!(inserts.len() >= 2, "{inserts:?}");
    for insert in inserts {
        assert!(
            insert.contains("insert_quorum=auto&insert_quorum_timeout=20000"),
            "{insert}"
        );
    }
}

#[test]
fn rows_wait_while_the_quorum_is_lost_and_are_stored_once() {
    let database = Database::named("lost_quorum");
    let proxy = Proxy::start(database.engine);
    let url = database.url_through(proxy.address);
    let collector = Collector::start_with(&url, &["--insert-quorum", "2"]);
    let insert = "INSERT+INTO+%60mail_statistics%60";
    proxy.refuse(
        insert,
        "Code: 285. DB::Exception: Number of alive replicas (1) is less than requested quorum (2/2). (TOO_FEW_LIVE_REPLICAS)",
    );
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    wait_for("further attempts", || {
        (proxy.seen().matches(insert).count() >= 4).then_some(())
    });
    assert_eq!(database.count("mail_statistics"), 0);
    proxy.accept();
    database.wait_for_rows("mail_statistics", 1);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(database.count("mail_statistics"), 1);
}

#[test]
fn an_invalid_quorum_is_refused() {
    let output = collector::run(&["serve", "--insert-quorum", "0"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("a quorum is a number of replicas"),
        "{text}"
    );
}

#[test]
fn a_buffer_table_that_the_schema_does_not_declare_causes_a_warning() {
    let database = Database::named("buffered");
    let applied = collector::run(&["apply", "--clickhouse", &database.url()]);
    assert!(applied.status.success());
    database.query("RENAME TABLE mail_statistics TO kept");
    database.query(
        "CREATE TABLE mail_statistics AS kept \
         ENGINE = Buffer(currentDatabase(), kept, 1, 10, 100, 10000, 1000000, 10000000, 100000000)",
    );
    let plan = collector::run(&["plan", "--clickhouse", &database.url()]);
    let warnings = String::from_utf8(plan.stderr).unwrap();
    let warning = "the table `mail_statistics` is a Buffer, which does not deduplicate blocks and holds rows only in memory for a while";
    assert!(warnings.contains(warning), "{warnings}");
}
