//! Rows that their table lacks although ClickHouse remembers their token, as after a kill between
//! its deduplication log and the rename of the part: they reach the table, and no view twice.

use std::{path::Path, sync::atomic::Ordering};

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
    proxy::Proxy,
    wait_for,
};

const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];

const ATTACHED: &str = "they are attached to their table, and its materialized views do not get them again";

/// The collector's statements that attach rows, as they cross the network, in order.
const STEPS: [&str; 5] = [
    "CREATE TABLE `rowmill_attach_",
    "INSERT+INTO+%60rowmill_attach_",
    "SELECT DISTINCT _partition_id",
    "ATTACH PARTITION ID",
    "DROP TABLE `rowmill_attach_",
];

/// Returns a database with the collector's tables, of which `mail_statistics` has this partition
/// key, and keeps parts without rows: ClickHouse forgets the token of a part that it removes.
fn partitioned(name: &str, key: &str) -> Database {
    let database = Database::named(name);
    let applied = collector::run(&["apply", "--clickhouse", &database.url()]);
    assert!(applied.status.success());
    database.query(&format!(
        "CREATE TABLE other AS mail_statistics ENGINE = MergeTree PARTITION BY {key} ORDER BY id \
         SETTINGS non_replicated_deduplication_window = 1000, remove_empty_parts = 0"
    ));
    database.query("EXCHANGE TABLES other AND mail_statistics");
    database
}

/// Creates a view without a window. The next start of the collector adds the window.
fn make_view(database: &Database) {
    database.query("CREATE TABLE sums (n UInt64, s UInt64) ENGINE = MergeTree ORDER BY tuple()");
    database.query(
        "CREATE MATERIALIZED VIEW view TO sums AS \
         SELECT count() AS n, sum(toUInt64(message_id)) AS s FROM mail_statistics",
    );
}

fn start(database: &Database, data: &Path) -> Collector {
    Collector::start_in(data, &database.url(), &["--drain-seconds", "60"])
}

/// Stops a collector, which delivers all rows to ClickHouse first, and returns its log.
fn drain(collector: Collector) -> String {
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    ended.log
}

/// Stores rows with the numbers `first..first + 40` as one block, and kills the collector before
/// it gets the response.
fn store_without_response(database: &Database, data: &Path, first: u64) {
    let line = |number| format!("{{\"event\":\"sent\",\"message_id\":\"{number}\"}}\n");
    store_lines_without_response(database, data, &(first..first + 40).map(line).collect::<String>());
}

fn store_lines_without_response(database: &Database, data: &Path, lines: &str) {
    let proxy = Proxy::start(database.engine);
    let collector = Collector::start_in(data, &database.url_through(proxy.address), &[]);
    proxy.loses_answers.store(true, Ordering::SeqCst);
    let answer = http::send(collector.address, "POST", "/wh/mail", NDJSON, lines.as_bytes());
    assert_eq!((answer.status, answer.header("x-rowmill-ack")), (200, Some("spooled")));
    // The collector queries the table only after it has lost the response to the whole insert.
    wait_for("a lookup", || proxy.seen().contains("system.processes").then_some(()));
    collector.kill();
}

/// Deletes rows, but not their token: as if ClickHouse had been killed between the write to its
/// deduplication log and the rename of the parts.
fn delete_rows(database: &Database, condition: &str) {
    database.query(&format!(
        "ALTER TABLE mail_statistics DELETE WHERE {condition} SETTINGS mutations_sync = 2"
    ));
}

/// Returns the count and the sum of the numbers in the table, and the same in the view.
fn state(database: &Database) -> String {
    database.query(
        "SELECT count(), uniqExact(message_id), sum(toUInt64(message_id)), (SELECT sum(n) FROM sums), \
         (SELECT sum(s) FROM sums) FROM mail_statistics",
    )
}

/// Returns the state of a table and a view that have the numbers `0..rows`, each once.
fn expected_state(rows: u64) -> String {
    let sum: u64 = (0..rows).sum();
    format!("{rows}\t{rows}\t{sum}\t{rows}\t{sum}\n")
}

fn leftovers(database: &Database) -> String {
    database.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'rowmill%attach%'")
}

#[test]
fn a_view_that_has_the_rows_does_not_get_attached_rows_again() {
    for (key, lost) in [("tuple()", "true"), ("id % 4", "true"), ("id % 4", "id % 4 IN (1, 3)")] {
        let database = partitioned("attach_has", key);
        make_view(&database);
        let data = tempfile::tempdir().unwrap();
        store_without_response(&database, data.path(), 0);
        assert_eq!(state(&database), expected_state(40));
        delete_rows(&database, lost);
        let log = drain(start(&database, data.path()));
        assert_eq!(state(&database), expected_state(40), "{key} {lost}");
        assert!(log.contains(ATTACHED) && !log.contains("WARN"), "{log}");
        assert_eq!(leftovers(&database), "");
    }
}

#[test]
fn a_view_that_lacks_attached_rows_gets_them_once() {
    for (key, lost) in [("tuple()", "true"), ("id % 4", "id % 4 = 2")] {
        let database = partitioned("attach_lacks", key);
        let data = tempfile::tempdir().unwrap();
        store_without_response(&database, data.path(), 0);
        make_view(&database);
        delete_rows(&database, lost);
        let log = drain(start(&database, data.path()));
        assert_eq!(state(&database), expected_state(40), "{key} {lost}");
        assert!(log.contains(ATTACHED), "{log}");
    }
}

#[test]
fn rows_are_exact_although_a_request_of_a_step_is_lost() {
    cut_each_step("attach_request", false, false);
}

#[test]
fn rows_are_exact_although_the_response_of_a_step_is_lost() {
    cut_each_step("attach_response", true, false);
}

#[test]
fn rows_are_exact_although_the_collector_is_killed_before_a_step() {
    cut_each_step("attach_before", false, true);
}

#[test]
fn rows_are_exact_although_the_collector_is_killed_after_a_step() {
    cut_each_step("attach_after", true, true);
}

/// Cuts the connection at each step in turn, before or after ClickHouse has got the request, and
/// kills the collector there, or lets it continue.
fn cut_each_step(name: &str, passes: bool, is_killed: bool) {
    let database = partitioned(name, "id % 4");
    make_view(&database);
    let data = tempfile::tempdir().unwrap();
    let mut rows = 0;
    for step in STEPS {
        store_without_response(&database, data.path(), rows);
        delete_rows(
            &database,
            &format!("toUInt64(message_id) >= {rows} AND id % 4 IN (1, 3)"),
        );
        rows += 40;
        let proxy = Proxy::start(database.engine);
        proxy.cut(step, passes);
        let url = database.url_through(proxy.address);
        let collector = Collector::start_in(data.path(), &url, &["--drain-seconds", "60"]);
        proxy.wait_for_cut();
        if is_killed {
            collector.kill();
            drain(start(&database, data.path()));
        } else {
            drain(collector);
        }
        assert_eq!(state(&database), expected_state(rows), "{step}");
        assert_eq!(leftovers(&database), "", "{step}");
    }
}

#[test]
fn partitions_that_were_not_attached_before_a_kill_are_attached_after_it() {
    let database = partitioned("attach_partly", "id % 4");
    make_view(&database);
    let data = tempfile::tempdir().unwrap();
    store_without_response(&database, data.path(), 0);
    delete_rows(&database, "true");
    let proxy = Proxy::start(database.engine);
    proxy.cut("ATTACH PARTITION ID", true);
    let collector = Collector::start_in(data.path(), &database.url_through(proxy.address), &[]);
    proxy.wait_for_cut();
    collector.kill();
    delete_rows(&database, "id % 4 IN (0, 3)");
    let log = drain(start(&database, data.path()));
    assert_eq!(state(&database), expected_state(40));
    assert!(log.contains(ATTACHED), "{log}");
    assert_eq!(leftovers(&database), "");
}

#[test]
fn a_delayed_attach_statement_changes_nothing() {
    let database = partitioned("attach_late", "id % 4");
    make_view(&database);
    let data = tempfile::tempdir().unwrap();
    store_without_response(&database, data.path(), 0);
    delete_rows(&database, "id % 4 IN (1, 3)");
    let proxy = Proxy::start(database.engine);
    proxy.cut("ATTACH PARTITION ID", false);
    let collector = Collector::start_in(
        data.path(),
        &database.url_through(proxy.address),
        &["--drain-seconds", "60"],
    );
    proxy.wait_for_cut();
    drain(collector);
    assert_eq!(state(&database), expected_state(40));
    let seen = proxy.seen();
    let late = &seen[seen.find("ALTER TABLE `mail_statistics` ATTACH PARTITION ID").unwrap()..];
    let late = late.split(['\r', '\0']).next().unwrap();
    let end = late.find("POST ").or(late.find("GET ")).unwrap_or(late.len());
    let error = database.try_query(&late[..end]).unwrap_err();
    assert!(error.contains("UNKNOWN_TABLE"), "{error}");
    assert_eq!(state(&database), expected_state(40));
}

#[test]
fn a_user_who_may_not_create_tables_is_warned_that_a_view_may_have_rows_twice() {
    let database = partitioned("attach_refused", "tuple()");
    make_view(&database);
    let data = tempfile::tempdir().unwrap();
    store_without_response(&database, data.path(), 0);
    delete_rows(&database, "true");
    let proxy = Proxy::start(database.engine);
    proxy.refuse(
        "CREATE TABLE `rowmill_attach_",
        "Code: 497. DB::Exception: collector: Not enough privileges. (ACCESS_DENIED) (version 26.7.2.1)",
    );
    let collector = Collector::start_in(
        data.path(),
        &database.url_through(proxy.address),
        &["--drain-seconds", "60"],
    );
    wait_for("the metric", || {
        (collector.metric("rowmill_views_in_doubt_total{table=\"mail_statistics\"}") == 1).then_some(())
    });
    let log = drain(collector);
    assert!(
        log.contains("a materialized view over their table may have them twice")
            && log.contains("Not enough privileges")
            && log.contains("grant the user CREATE TABLE"),
        "{log}"
    );
    let rows = database.query("SELECT count(), uniqExact(message_id) FROM mail_statistics");
    assert_eq!(rows, "40\t40\n");
    assert_eq!(leftovers(&database), "");
}

#[test]
fn a_view_that_throws_lacks_only_the_rows_on_which_it_throws() {
    let database = partitioned("attach_throws", "id % 4");
    make_view_of("numbers", "toUInt32(message_id) AS s", &database);
    make_view_of("lengths", "length(message_id) AS s", &database);
    let data = tempfile::tempdir().unwrap();
    let line = |number| format!("{{\"event\":\"sent\",\"message_id\":\"{number}\"}}\n");
    let numbers = (10..49).map(|number: u32| line(number.to_string()));
    let lines: String = numbers.chain([line("x1".to_owned())]).collect();
    store_lines_without_response(&database, data.path(), &lines);
    delete_rows(&database, "id % 4 != 2");
    drain(start(&database, data.path()));
    let sum: u32 = (10..49).sum();
    assert_eq!(
        database.query(
            "SELECT count(), uniqExact(message_id), (SELECT count() FROM numbers), (SELECT sum(s) FROM numbers), \
             (SELECT count() FROM lengths), (SELECT sum(s) FROM lengths) FROM mail_statistics"
        ),
        format!("40\t40\t39\t{sum}\t40\t80\n")
    );
    assert_eq!(database.query("SELECT code FROM rejected"), "view-6\n");
}

fn make_view_of(target: &str, column: &str, database: &Database) {
    database.query(&format!(
        "CREATE TABLE {target} (s UInt64) ENGINE = MergeTree ORDER BY tuple()"
    ));
    database.query(&format!(
        "CREATE MATERIALIZED VIEW to_{target} TO {target} AS SELECT {column} FROM mail_statistics"
    ));
}
