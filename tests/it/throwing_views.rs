//! Materialized views that throw on some rows: the table and all other views have each row once,
//! and only those rows are missing in the view.

use std::path::Path;

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    proxy::Proxy,
    wait_for,
};

const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];

/// Returns a database with the collector's tables.
fn with_tables(name: &str) -> Database {
    let database = Database::named(name);
    let applied = collector::run(&["apply", "--clickhouse", &database.url()]);
    assert!(applied.status.success());
    database
}

/// Creates a view with an inner table, which has the columns of `query`.
fn make_view(database: &Database, name: &str, query: &str) {
    database.query(&format!(
        "CREATE MATERIALIZED VIEW {name} ENGINE = SummingMergeTree ORDER BY tuple() AS {query}"
    ));
}

/// Creates two views that never throw, one that throws on texts, and one over the table of the
/// latter.
fn make_views(database: &Database) {
    make_view(database, "a_count", "SELECT count() AS n FROM mail_statistics");
    database.query("CREATE TABLE numbers (n UInt64, s UInt64) ENGINE = SummingMergeTree ORDER BY tuple()");
    database.query(
        "CREATE MATERIALIZED VIEW m_numbers TO numbers AS \
         SELECT 1 AS n, toUInt32(message_id) AS s FROM mail_statistics",
    );
    make_view(database, "chained", "SELECT n, s FROM numbers");
    make_view(database, "z_count", "SELECT count() AS n FROM mail_statistics");
}

/// Sends these message ids in one request, and checks that they are acknowledged on disk.
fn send(collector: &Collector, ids: impl IntoIterator<Item = String>) {
    let lines: String = ids
        .into_iter()
        .map(|id| format!("{{\"event\":\"sent\",\"message_id\":\"{id}\"}}\n"))
        .collect();
    let answer = http::send(collector.address, "POST", "/wh/mail", NDJSON, lines.as_bytes());
    assert_eq!((answer.status, answer.header("x-rowmill-ack")), (200, Some("spooled")));
}

/// Returns the numbers from `first` on, with the number `text` replaced by a text.
fn with_one_text(first: u32, count: u32, text: u32) -> impl Iterator<Item = String> {
    (first..first + count).map(move |number| match number == text {
        true => "secret-text".to_owned(),
        false => number.to_string(),
    })
}

/// Returns the number of rows in the table, in the two views that accept everything, in the view
/// that throws and in the one over it, with the sums of the last two.
fn state(database: &Database) -> String {
    database.query(
        "SELECT (SELECT count() FROM mail_statistics), (SELECT sum(n) FROM a_count), (SELECT sum(n) FROM z_count), \
         (SELECT sum(n) FROM numbers), (SELECT sum(s) FROM numbers), (SELECT sum(n) FROM chained), (SELECT sum(s) FROM chained)",
    )
}

fn wait_for_state(database: &Database, expected: &str) {
    wait_for(expected, || (state(database) == expected).then_some(()));
}

/// Stops a collector, which delivers all rows to ClickHouse first, and returns its log.
fn drain(collector: Collector) -> String {
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.log
}

#[test]
fn a_row_on_which_a_view_throws_is_missing_in_that_view_alone() {
    let database = with_tables("throwing_one");
    make_views(&database);
    let collector = Collector::start(&database);
    send(&collector, with_one_text(0, 100, 50));
    let sum = (0..100).sum::<u32>() - 50;
    wait_for_state(&database, &format!("100\t100\t100\t99\t{sum}\t99\t{sum}\n"));
    // No rows are held.
    send(&collector, (100..110).map(|number| number.to_string()));
    let sum = (0..110).sum::<u32>() - 50;
    wait_for_state(&database, &format!("110\t110\t110\t109\t{sum}\t109\t{sum}\n"));
    database.wait_for_rows("rejected", 1);
    assert_eq!(
        database.query(
            "SELECT table, code, startsWith(reason, 'view `' || currentDatabase() || '`.`m_numbers`: '), \
             id = (SELECT id FROM mail_statistics WHERE message_id = 'secret-text') FROM rejected"
        ),
        "mail_statistics\tview-6\t1\t1\n"
    );
    assert_eq!(
        collector.metric("rowmill_rows_refused_by_views_total{table=\"mail_statistics\"}"),
        1
    );
    let log = drain(collector);
    assert!(
        log.contains("a materialized view refuses rows that its table has stored") && log.contains("CANNOT_PARSE_TEXT"),
        "{log}"
    );
    assert!(
        !log.contains("secret-text") && !log.contains("will not succeed without intervention"),
        "{log}"
    );
}

#[test]
fn views_are_exact_although_the_collector_is_killed_between_the_steps() {
    let database = with_tables("throwing_killed");
    make_views(&database);
    let data = tempfile::tempdir().unwrap();
    let start = |url: &str, data: &Path| Collector::start_in(data, url, &[]);
    let has_numbers = |rows: u32| database.query("SELECT sum(n) FROM numbers") == format!("{rows}\n");
    let mut sent = 0;
    for step in ["materialized_views_ignore_errors=1", "additional_table_filters", ""] {
        for _ in 0..3 {
            let proxy = Proxy::start(database.engine);
            let collector = start(&database.url_through(proxy.address), data.path());
            send(&collector, with_one_text(sent, 20, sent + 7));
            sent += 20;
            // The empty step is the last one, after which the view has its rows.
            wait_for("a step", || {
                let is_there = match step {
                    "" => has_numbers(sent / 20 * 19),
                    step => proxy.seen().contains(step),
                };
                is_there.then_some(())
            });
            collector.kill();
        }
        drain(start(&database.url(), data.path()));
        let (blocks, accepted) = (sent / 20, sent / 20 * 19);
        let sum = (0..sent).sum::<u32>() - (0..blocks).map(|block| block * 20 + 7).sum::<u32>();
        assert_eq!(
            state(&database),
            format!("{sent}\t{sent}\t{sent}\t{accepted}\t{sum}\t{accepted}\t{sum}\n"),
            "{step}"
        );
        assert_eq!(
            database.query("SELECT count(), uniqExact(id) FROM rejected"),
            format!("{blocks}\t{blocks}\n"),
            "{step}"
        );
    }
}

#[test]
fn each_of_several_views_lacks_only_its_own_rows() {
    let database = with_tables("throwing_two");
    make_view(
        &database,
        "odd",
        "SELECT 1 AS n, throwIf(message_id IN ('1', '2', '3')) AS t FROM mail_statistics",
    );
    make_view(
        &database,
        "even",
        "SELECT 1 AS n, throwIf(message_id IN ('3', '4')) AS t FROM mail_statistics",
    );
    make_view(
        &database,
        "subset",
        "SELECT 1 AS n, throwIf(message_id IN ('4')) AS t FROM mail_statistics",
    );
    // ClickHouse converts the text when it writes into the view's table.
    database.query("CREATE TABLE converted (message_id UInt32, n UInt8) ENGINE = MergeTree ORDER BY n");
    let collector = Collector::start(&database);
    send(&collector, (0..10).map(|number| number.to_string()));
    let sums = "SELECT (SELECT count() FROM mail_statistics), (SELECT sum(n) FROM odd), (SELECT sum(n) FROM even), \
                (SELECT sum(n) FROM subset)";
    wait_for("the views", || (database.query(sums) == "10\t7\t8\t9\n").then_some(()));
    database.wait_for_rows("rejected", 6);

    database
        .query("CREATE MATERIALIZED VIEW to_converted TO converted AS SELECT message_id, 1 AS n FROM mail_statistics");
    wait_for("a window", || {
        let engine = "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'converted'";
        database.query(engine).contains("deduplication_window").then_some(())
    });
    send(&collector, ["10", "x", "12"].map(str::to_owned));
    wait_for("the view that converts", || {
        (database.count("converted") == 2).then_some(())
    });
    database.wait_for_rows("rejected", 7);
    assert_eq!(database.query(sums), "13\t10\t11\t12\n");
    drain(collector);
}

#[test]
fn a_view_that_throws_over_another_views_table_is_logged_and_holds_no_rows() {
    let database = with_tables("throwing_chained");
    database.query("CREATE TABLE texts (t String) ENGINE = MergeTree ORDER BY t");
    database.query("CREATE MATERIALIZED VIEW to_texts TO texts AS SELECT message_id AS t FROM mail_statistics");
    make_view(&database, "numbers", "SELECT 1 AS n, toUInt32(t) AS s FROM texts");
    make_view(&database, "z_count", "SELECT count() AS n FROM mail_statistics");
    let collector = Collector::start(&database);
    send(&collector, ["1", "x", "3"].map(str::to_owned));
    send(&collector, ["4", "5"].map(str::to_owned));
    let sums =
        "SELECT (SELECT count() FROM mail_statistics), (SELECT count() FROM texts), (SELECT sum(n) FROM z_count)";
    wait_for("the rows", || (database.query(sums) == "5\t5\t5\n").then_some(()));
    let name = "rowmill_views_in_doubt_total{table=\"mail_statistics\"}";
    wait_for("the metric", || (collector.metric(name) >= 1).then_some(()));
    let log = drain(collector);
    assert!(log.contains("or one over its target table"), "{log}");
    assert_eq!(database.query(sums), "5\t5\t5\n");
}

#[test]
fn many_rows_on_which_a_view_throws_hold_no_valid_row() {
    let database = with_tables("throwing_many");
    make_views(&database);
    let collector = Collector::start(&database);
    send(&collector, ["0"].map(str::to_owned));
    wait_for_state(&database, "1\t1\t1\t1\t0\t1\t0\n");
    // One anonymous request, which becomes a separate block.
    send(&collector, (0..150).map(|_| "x".to_owned()));
    database.wait_for_rows("mail_statistics", 151);
    let mut sent = 0;
    wait_for("the valid rows", || {
        sent += 1;
        send(&collector, [sent.to_string()]);
        (collector.metric("rowmill_rows_refused_by_views_total{table=\"mail_statistics\"}") >= 150).then_some(())
    });
    let log = drain(collector);
    let (all, accepted, sum) = (151 + sent, 1 + sent, (0..=sent).sum::<u32>());
    assert_eq!(
        state(&database),
        format!("{all}\t{all}\t{all}\t{accepted}\t{sum}\t{accepted}\t{sum}\n"),
        "{log}"
    );
    // The log only counts the other refused rows.
    assert_eq!(database.count("rejected"), 100);
}
