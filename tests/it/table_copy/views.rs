//! A copy of a table that materialized views read: the sums of the views are those of the rows,
//! whatever is killed.

use super::*;

const TABLES: [&str; 5] = [
    "CREATE TABLE sums (service String, name String, rows UInt64, ids UInt64) ENGINE = SummingMergeTree \
     ORDER BY (service, name)",
    "CREATE TABLE states (name String, rows AggregateFunction(sum, UInt64)) ENGINE = AggregatingMergeTree ORDER BY name",
    "CREATE MATERIALIZED VIEW states_view TO states AS SELECT name, sumState(rows) AS rows FROM sums GROUP BY name",
    "CREATE MATERIALIZED VIEW sums_view TO sums AS \
     SELECT service, name, count() AS rows, sum(id) AS ids FROM mail_statistics GROUP BY service, name",
    // The view has a table of its own, and an alias in its query.
    "CREATE MATERIALIZED VIEW days (date Date, rows SimpleAggregateFunction(sum, UInt64), ids AggregateFunction(uniqExact, UInt64)) \
     ENGINE = AggregatingMergeTree PARTITION BY toYYYYMM(date) ORDER BY date AS \
     SELECT date, count() AS rows, uniqExactState(id) AS ids FROM \
     (SELECT * FROM mail_statistics WHERE id > 0) AS m GROUP BY date",
];

/// The line of the copy after which it is killed, or ClickHouse is.
const KILLS: [(&str, bool); 7] = [
    ("is created", false),
    ("pass 1", false),
    ("closed to inserts", false),
    ("the table is closed", true),
    ("both tables are closed", true),
    ("both tables are closed", false),
    ("are exchanged", false),
];

fn create_views(database: &Database) {
    for statement in TABLES {
        database.query(statement);
    }
}

/// Compares the sums of each view with those of the table's rows.
fn check_views(database: &Database) {
    let rows = database.query("SELECT name, count(), sum(id) FROM mail_statistics GROUP BY name ORDER BY name");
    let sums = database.query("SELECT name, sum(rows), sum(ids) FROM sums GROUP BY name ORDER BY name");
    assert_eq!(sums, rows);
    let rows = database.query("SELECT name, count() FROM mail_statistics GROUP BY name ORDER BY name");
    let states = database.query("SELECT name, sumMerge(rows) FROM states GROUP BY name ORDER BY name");
    assert_eq!(states, rows);
    let rows = database.query("SELECT date, uniqExact(id) FROM mail_statistics GROUP BY date ORDER BY date");
    let days = database.query("SELECT date, uniqExactMerge(ids) FROM days GROUP BY date ORDER BY date");
    assert_eq!(days, rows);
}

#[test]
fn views_get_each_row_once_while_their_table_is_copied() {
    const ROWS: u64 = 100_000;
    let mut clickhouse = ClickHouse::start();
    let database = clickhouse.database();
    with_old_key(&database);
    create_views(&database);
    fill(&database, ROWS);
    let collector = Collector::start_with(&database.url(), &["--insert-timeout-seconds", "20"]);
    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let address = collector.address;
    thread::scope(|scope| {
        let over = Over(&is_over);
        let sender = scope.spawn(|| send(address, &is_over, &sent));
        wait_for("rows of events", || {
            (database.count("mail_statistics") > ROWS + 100).then_some(())
        });
        for (mark, kills_clickhouse) in KILLS {
            let (mut copy, is_seen) = copy_until_or_end(mark, &database);
            if !is_seen {
                // The exchange of the run before has still happened, and this run is the last one.
                assert!(copy.wait().unwrap().success());
                break;
            }
            if kills_clickhouse {
                clickhouse.kill();
                copy.wait().unwrap();
                clickhouse.restart();
            } else {
                let _ = copy.kill();
                copy.wait().unwrap();
            }
        }
        let (is_done, text) = apply(&database, "copy");
        assert!(is_done, "{text}");
        let before = sent.load(Ordering::SeqCst);
        wait_for("events after the copy", || {
            (sent.load(Ordering::SeqCst) > before + 200).then_some(())
        });
        drop(over);
        sender.join().unwrap();
    });
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(!ended.log.contains("may have missed them"), "{}", ended.log);
    let sent = sent.load(Ordering::SeqCst);
    assert_eq!(
        database.query("SELECT count(), uniqExact(id), uniqExact(message_id) FROM mail_statistics"),
        format!("{0}\t{0}\t{0}\n", ROWS + sent)
    );
    check_views(&database);
    let create = database.query("SHOW CREATE TABLE mail_statistics FORMAT TSVRaw");
    assert!(
        create.contains(NEW_KEY) && !create.contains("max_parts_in_total"),
        "{create}"
    );
    // The views do not read the table before the copy, not even after a restart.
    clickhouse.kill();
    clickhouse.restart();
    assert!(apply(&database, "drop").0);
    fill_more(&database);
    check_views(&database);
}

fn fill_more(database: &Database) {
    database.query("INSERT INTO mail_statistics (id, name) SELECT 1000000000 + number, 'later' FROM numbers(10)");
    assert_eq!(
        database.query("SELECT sum(rows) FROM sums WHERE name = 'later'"),
        "10\n"
    );
}

#[test]
fn a_copy_that_has_not_opened_the_new_table_does_so_when_it_is_repeated() {
    let database = Database::create("copy_unopened");
    with_old_key(&database);
    create_views(&database);
    fill(&database, 1000);
    // The state before the exchange: both tables are closed.
    let create = database.query("SHOW CREATE TABLE mail_statistics FORMAT TSVRaw");
    let create = create.replace(OLD_KEY, NEW_KEY);
    database.query(&create.replacen("mail_statistics", "rowmill_copy_mail_statistics", 1));
    let close = |table: &str| database.query(&format!("ALTER TABLE {table} MODIFY SETTING max_parts_in_total = 0"));
    close("mail_statistics");
    close("rowmill_copy_mail_statistics");
    let text = plan(&database);
    assert!(
        text.contains("impossible in place: `mail_statistics`: a copy of it has not ended, and it accepts no inserts"),
        "{text}"
    );
    assert!(!text.contains("DROP TABLE"), "{text}");
    let (is_done, text) = apply(&database, "copy");
    assert!(is_done && text.contains("the new table is open"), "{text}");
    assert_eq!(database.count("mail_statistics"), 1000);
    assert_eq!(database.count("rowmill_copy_mail_statistics"), 1000);
    fill_more(&database);

    // The state after the exchange.
    close("mail_statistics");
    let text = plan(&database);
    assert!(
        text.contains("can be copied (rowmill apply --allow copy):\n-- 1. `")
            && text.contains("`.`mail_statistics` is the new table: the copy opens it"),
        "{text}"
    );
    let (is_done, text) = apply(&database, "copy");
    assert!(is_done && !text.contains("pass 1"), "{text}");
    database.query("INSERT INTO mail_statistics (id, name) VALUES (2000000000, 'open')");
    check_views(&database);
    assert!(apply(&database, "drop").0);
    let text = plan(&database);
    assert!(text.lines().all(|line| line.starts_with("-- note: view ")), "{text}");
}

#[test]
fn views_do_not_get_rows_in_doubt_twice() {
    let database = Database::create("copy_views_doubt");
    with_old_key(&database);
    create_views(&database);
    fill(&database, 1000);
    let proxy = Proxy::start(database.engine);
    let collector = Collector::start_with(&database.url_through(proxy.address), &[]);
    proxy.loses_answers.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    }
    wait_for("rows whose answer is lost", || {
        (database.count("mail_statistics") > 1000).then_some(())
    });
    let (is_done, text) = apply(&database, "copy");
    assert!(is_done, "{text}");
    proxy.loses_answers.store(false, Ordering::SeqCst);
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!(
        database.query("SELECT count(), uniqExact(id) FROM mail_statistics"),
        "1020\t1020\n"
    );
    check_views(&database);
}
