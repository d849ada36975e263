//! Materialized views over the collector's tables: a block whose answer is lost reaches them
//! exactly once too.

use std::{
    fs::File,
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, SystemTime},
};

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    proxy::Proxy,
    wait_for,
};

/// Sends ten webhooks and checks that the collector accepts each.
fn send_ten_webhooks(collector: &Collector) {
    for number in 0..10 {
        let body = format!(r#"{{"message_id":"{number}"}}"#);
        assert_eq!(http::post_json(collector.address, "/wh/mail", &body).status, 200);
    }
}

/// Stores ten rows while the proxy drops the answers, then lets answers pass again.
fn send_ten_without_answers(proxy: &Proxy, collector: &Collector, database: &Database) {
    proxy.loses_answers.store(true, Ordering::SeqCst);
    send_ten_webhooks(collector);
    database.wait_for_rows("mail_statistics", 10);
    // The rows are visible before their views have them, and thus before there is an answer to
    // lose. The collector queries ClickHouse only after it has lost the answer.
    wait_for("a lookup", || proxy.seen().contains("system.processes").then_some(()));
    proxy.loses_answers.store(false, Ordering::SeqCst);
}

/// Stops a collector, which delivers all rows to ClickHouse first, and returns its log.
fn drain(collector: Collector) -> String {
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.log
}

/// Creates a view with TO, a view with an inner table, and a view over the first one's table. None
/// of their tables has a deduplication window.
fn make_views(database: &Database, target: &str) {
    let summing = "SummingMergeTree ORDER BY n";
    for sql in [
        &format!("CREATE TABLE {target}.by_to (n UInt8, s UInt64) ENGINE = {summing}"),
        &format!(
            "CREATE MATERIALIZED VIEW to_view TO {target}.by_to AS SELECT 1 AS n, count() AS s FROM mail_statistics"
        ),
        &format!(
            "CREATE MATERIALIZED VIEW inner_view ENGINE = {summing} AS SELECT 1 AS n, count() AS s FROM mail_statistics"
        ),
        &format!("CREATE MATERIALIZED VIEW chained_view ENGINE = {summing} AS SELECT n, s FROM {target}.by_to"),
    ] {
        database.query(sql);
    }
}

fn sums(database: &Database, target: &str) -> String {
    database.query(&format!(
        "SELECT (SELECT sum(s) FROM {target}.by_to), (SELECT sum(s) FROM inner_view), (SELECT sum(s) FROM chained_view)"
    ))
}

/// Returns how many tables of views have a deduplication window.
fn count_windows(database: &Database, target: &str) -> u64 {
    let sql = format!(
        "SELECT count() FROM system.tables WHERE database IN ('{}', '{target}') AND (name = 'by_to' OR name LIKE '.inner%') \
         AND engine_full LIKE '%deduplication_window = 1000%'",
        database.name
    );
    database.query(&sql).trim().parse().unwrap()
}

/// Returns a database with the collector's tables, and the name of another database.
fn with_tables(name: &str) -> (Database, String) {
    let database = Database::named(name);
    let applied = collector::run(&["apply", "--clickhouse", &database.url()]);
    assert!(applied.status.success());
    let target = format!("{}_target", database.name);
    database.query(&format!("CREATE DATABASE {target}"));
    (database, target)
}

#[test]
fn views_made_before_the_start_count_rows_of_a_lost_answer_once() {
    let (database, target) = with_tables("views_before");
    make_views(&database, &target);
    let proxy = Proxy::start(database.engine);
    let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
    assert_eq!(count_windows(&database, &target), 3, "{}", collector.log());
    send_ten_without_answers(&proxy, &collector, &database);
    drain(collector);
    assert_eq!(sums(&database, &target), "10\t10\t10\n");
    // The table already has its rows; the collector sends them again for the views.
    assert!(proxy.seen().matches("mail_statistics%3A").count() >= 2);
}

#[test]
fn views_count_unconfirmed_rows_of_a_killed_collector_once() {
    let (database, target) = with_tables("views_killed");
    make_views(&database, &target);
    let data = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(database.engine);
    let start = |data: &Path| Collector::start_in(data, &database.url_through(proxy.address), &[]);
    let collector = start(data.path());
    proxy.loses_answers.store(true, Ordering::SeqCst);
    send_ten_webhooks(&collector);
    database.wait_for_rows("mail_statistics", 10);
    collector.kill();
    proxy.loses_answers.store(false, Ordering::SeqCst);
    drain(start(data.path()));
    assert_eq!(sums(&database, &target), "10\t10\t10\n");
}

/// Makes the only part of `mail_statistics` an hour old.
fn age_part(database: &Database) {
    let path = database.query(&format!(
        "SELECT path FROM system.parts WHERE active AND database = '{}' AND table = 'mail_statistics'",
        database.name
    ));
    let folder = File::open(path.trim()).unwrap();
    folder
        .set_modified(SystemTime::now() - Duration::from_secs(3600))
        .unwrap();
    database.query("DETACH TABLE mail_statistics SYNC");
    database.query("ATTACH TABLE mail_statistics");
}

#[test]
fn views_get_rows_of_a_lost_answer_although_their_part_is_merged_with_old_ones() {
    let (database, target) = with_tables("views_merged");
    // More inserts than half of the window.
    database.query(
        "INSERT INTO mail_statistics (id, date) SELECT number, today() FROM numbers(600) \
         SETTINGS max_block_size = 1, min_insert_block_size_rows = 1, max_insert_threads = 1",
    );
    database.query("OPTIMIZE TABLE mail_statistics FINAL");
    age_part(&database);
    make_views(&database, &target);
    let proxy = Proxy::start(database.engine);
    let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
    proxy.loses_answers.store(true, Ordering::SeqCst);
    send_ten_webhooks(&collector);
    database.wait_for_rows("mail_statistics", 610);
    database.query("OPTIMIZE TABLE mail_statistics FINAL");
    proxy.loses_answers.store(false, Ordering::SeqCst);
    let log = drain(collector);
    assert!(!log.contains("may have missed"), "{log}");
    assert_eq!(sums(&database, &target), "10\t10\t10\n");
    assert!(proxy.seen().matches("mail_statistics%3A").count() >= 2);
}

#[test]
fn views_made_while_the_collector_runs_count_rows_of_a_lost_answer_once() {
    let (database, target) = with_tables("views_later");
    let proxy = Proxy::start(database.engine);
    let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
    make_views(&database, &target);
    assert_eq!(count_windows(&database, &target), 0);
    wait_for("windows of the new views", || {
        (count_windows(&database, &target) == 3).then_some(())
    });
    send_ten_without_answers(&proxy, &collector, &database);
    let log = drain(collector);
    assert_eq!(sums(&database, &target), "10\t10\t10\n");
    assert!(
        log.contains(&format!("ALTER TABLE `{target}`.`by_to` MODIFY SETTING")),
        "{log}"
    );
}

#[test]
fn a_view_whose_table_cannot_have_a_window_causes_a_warning() {
    let (database, _) = with_tables("views_log");
    database.query("CREATE MATERIALIZED VIEW counts ENGINE = Log AS SELECT count() AS s FROM mail_statistics");
    let plan = collector::run(&["plan", "--clickhouse", &database.url()]);
    let warnings = String::from_utf8(plan.stderr).unwrap();
    let warning = format!(
        "receives rows of `{}`.`counts`, is a Log, which does not deduplicate blocks",
        database.name
    );
    assert_eq!(
        (
            warnings.matches("warning: ").count(),
            warnings.matches(&warning).count()
        ),
        (1, 1),
        "{warnings}"
    );
    let log = Collector::start(&database).stop().log;
    assert_eq!(log.matches(&warning).count(), 1, "{log}");
}

#[test]
fn a_view_whose_table_has_no_window_yet_gets_rows_of_a_lost_answer_once() {
    let (database, _) = with_tables("views_doubt");
    let proxy = Proxy::start(database.engine);
    let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
    // This view's table never gets a window, like that of a view made a moment ago.
    database.query("CREATE MATERIALIZED VIEW counts ENGINE = Log AS SELECT count() AS s FROM mail_statistics");
    send_ten_without_answers(&proxy, &collector, &database);
    let log = drain(collector);
    assert_eq!(database.query("SELECT sum(s) FROM counts"), "10\n");
    assert!(
        log.contains("a materialized view over their table may have missed them"),
        "{log}"
    );
}
