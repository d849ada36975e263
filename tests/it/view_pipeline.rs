//! Materialized views of a schema: created, compared, changed, and filled from older rows.

mod kills;

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use rowmill_ingest::{
    ClickHouseUrl,
    backfill::{Backfill, BackfillError, BackfillReport, InDoubt, backfill},
    schema::{DriftReport, Impact, SyncReport, apply_drift, drift, plan, sync, view_drift},
    table::{Schema, View},
};
use tokio::{runtime::Runtime, time::sleep};
use tower::{Layer, service_fn};

use crate::support::{collector, engine::Database, http, proxy::Proxy, service::Served, wait_for};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(future)
}

fn url(database: &Database) -> ClickHouseUrl {
    database.url().parse().unwrap()
}

fn synced(database: &Database) -> SyncReport {
    block_on(sync(&url(database), &embedder::tables::SCHEMA)).unwrap()
}

fn view_drifts(database: &Database) -> DriftReport {
    let report = block_on(view_drift(&url(database), &embedder::tables::SCHEMA)).unwrap();
    assert_eq!(report.warnings, [""; 0]);
    report
}

fn served(database: &Database) -> Served {
    Served::start(database, &embedder::tables::SCHEMA, |writer| {
        embedder::tables::layer(writer)
            .unwrap()
            .layer(service_fn(embedder::shop))
    })
}

/// Sends events, each with other values, and waits until their table has `rows` rows.
fn send(served: &Served, database: &Database, events: u64, rows: u64) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    for _ in 0..events / 50 {
        let lines: String = (0..50)
            .map(|_| {
                let n = NEXT.fetch_add(1, Ordering::Relaxed);
                format!(r#"{{"page":"/{}","visitor":{},"price":{}}}"#, n % 11, n % 37, n % 101) + "\n"
            })
            .collect();
        let header = [("Content-Type", "application/x-ndjson")];
        let answer = http::send(served.address, "POST", "/wh/page", &header, lines.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    database.wait_for_rows("site_pages", rows);
}

/// The columns of each view's table, and the same of all rows of the source.
const SUMS: [(&str, &str); 3] = [
    (
        "SELECT kind, page, sum(views), sum(total), sum(taxed) FROM site_sums GROUP BY kind, page ORDER BY kind, page",
        "SELECT price % 7 AS kind, page, count(), sum(price), sum(taxed) FROM site_pages WHERE price != 13 \
         GROUP BY kind, page ORDER BY kind, page",
    ),
    (
        "SELECT kind, sumMerge(views), uniqExactMerge(pages) FROM site_kinds GROUP BY kind ORDER BY kind",
        "SELECT price % 7 AS kind, count(), uniqExact(page) FROM site_pages WHERE price != 13 GROUP BY kind ORDER BY kind",
    ),
    (
        "SELECT page, uniqExactMerge(visitors) FROM site_visitors GROUP BY page ORDER BY page",
        "SELECT page, uniqExact(visitor) FROM site_pages GROUP BY page ORDER BY page",
    ),
];

/// Waits until the views have all rows, since a row is visible in the source first. Then checks
/// that each view's table has the result of the view's query over all rows of the source.
fn check_sums(database: &Database) {
    let of_rows = SUMS.map(|(_, of_rows)| database.query(of_rows));
    assert!(of_rows.iter().all(|sums| !sums.is_empty()));
    let counted = "SELECT (SELECT sum(views) FROM site_sums), (SELECT uniqExactMerge(visitors) FROM site_visitors)";
    let expected = database.query(
        "SELECT (SELECT count() FROM site_pages WHERE price != 13), (SELECT uniqExact(visitor) FROM site_pages)",
    );
    wait_for("the rows of the views", || {
        (database.query(counted) == expected).then_some(())
    });
    // More rows than expected would arrive within a moment, too.
    thread::sleep(Duration::from_millis(200));
    assert_eq!(SUMS.map(|(of_view, _)| database.query(of_view)), of_rows);
}

/// Returns a database with rows that its views lack, and the service.
fn with_older_rows(name: &str, rows: u64) -> (Database, Served) {
    older_rows_in(Database::named(name), rows)
}

/// Like [`with_older_rows`], in a database that does not exist yet.
fn older_rows_in(database: Database, rows: u64) -> (Database, Served) {
    let served = served(&database);
    for view in ["site_sums_view", "site_kinds_view", "site_visitors_view"] {
        database.query(&format!("DROP VIEW {view}"));
    }
    send(&served, &database, rows, rows);
    let report = synced(&database);
    assert_eq!(report.warnings, [""; 0]);
    assert_eq!(report.notes.len(), 3, "{report:?}");
    (database, served)
}

fn options(view: &str) -> Backfill {
    Backfill {
        piece_rows: 70,
        ..Backfill::new(view)
    }
}

fn fill(database: &Database, view: &str) -> Result<BackfillReport, BackfillError> {
    block_on(backfill(
        &url(database),
        &embedder::tables::SCHEMA,
        &options(view),
        |_| {},
    ))
}

#[test]
fn views_are_created_once_and_equal_their_schema() {
    let database = Database::named("view_created");
    let report = synced(&database);
    assert_eq!((report.warnings, report.notes), (vec![], vec![]));
    let created: Vec<_> = report
        .statements
        .iter()
        .filter(|statement| statement.contains("MATERIALIZED VIEW"))
        .map(|statement| statement.split('`').nth(3).unwrap())
        .collect();
    // A view comes after those that read its table.
    assert_eq!(
        created,
        [
            "site_kinds_view",
            "site_sums_view",
            "site_visitors_view",
            "site_hourly_view"
        ]
    );
    for _ in 0..2 {
        assert_eq!(
            block_on(plan(&url(&database), &embedder::tables::SCHEMA)).unwrap(),
            SyncReport::default()
        );
        assert_eq!(
            block_on(drift(&url(&database), &embedder::tables::SCHEMA)).unwrap(),
            DriftReport::default()
        );
        assert_eq!(view_drifts(&database), DriftReport::default());
        assert_eq!(synced(&database), SyncReport::default());
    }
}

#[test]
fn chained_views_sum_each_event_of_the_routes_once() {
    let database = Database::named("view_sums");
    let served = served(&database);
    send(&served, &database, 1000, 1000);
    check_sums(&database);
    let refused = http::post_json(served.address, "/wh/page", r#"{"page":"","price":1}"#);
    assert_eq!(refused.status, 200);
    // The constraint refuses this row alone.
    database.wait_for_rows("rejected", 1);
    database.query("OPTIMIZE TABLE site_sums FINAL");
    check_sums(&database);
}

#[test]
fn each_manual_change_of_a_view_is_found_and_reverted() {
    let database = Database::named("view_changed");
    synced(&database);
    database.query("CREATE MATERIALIZED VIEW other ENGINE = Log AS SELECT page FROM site_pages");
    database.query("CREATE TABLE elsewhere AS site_visitors");
    let note = format!(
        "view `{}`.`other` reads `site_pages` and is not in the schema",
        database.name
    );
    assert_eq!(view_drifts(&database).notes, [note]);
    for (change, impact, difference) in [
        (
            "ALTER TABLE site_visitors_view MODIFY QUERY SELECT page, uniqExactState(visitor) AS visitors FROM site_pages \
             WHERE visitor > 1 GROUP BY page",
            Impact::Safe,
            "the query is SELECT page, uniqExactState(visitor) AS visitors FROM site_pages WHERE visitor > 1 GROUP BY page in \
             the database and SELECT page, uniqExactState(visitor) AS visitors FROM site_pages GROUP BY page in the schema",
        ),
        (
            "ALTER TABLE site_hourly_view MODIFY QUERY SELECT page, count() + 1 AS views FROM site_pages GROUP BY page",
            Impact::Rewrite,
            "the query is SELECT page, count() + 1 AS views FROM site_pages GROUP BY page in the database and \
             SELECT page, count() AS views FROM site_pages GROUP BY page in the schema",
        ),
        (
            "ALTER TABLE site_hourly_view MODIFY REFRESH EVERY 2 HOUR",
            Impact::Safe,
            "the schedule is REFRESH EVERY 2 HOUR in the database and REFRESH EVERY 1 HOUR in the schema",
        ),
        (
            "ALTER TABLE site_sums_view MODIFY COMMENT 'another'",
            Impact::Safe,
            "the comment is another in the database and It's the sum of each page. in the schema",
        ),
        (
            "DROP VIEW site_visitors_view; CREATE MATERIALIZED VIEW site_visitors_view TO elsewhere AS \
             SELECT page, uniqExactState(visitor) AS visitors FROM site_pages GROUP BY page",
            Impact::Drop,
            "the table is elsewhere in the database and site_visitors in the schema",
        ),
        (
            "DROP VIEW site_hourly_view; CREATE MATERIALIZED VIEW site_hourly_view TO site_hourly AS \
             SELECT page, count() AS views FROM site_pages GROUP BY page",
            Impact::Drop,
            "the schedule is none in the database and REFRESH EVERY 1 HOUR in the schema",
        ),
    ] {
        for statement in change.split("; ") {
            database.query(statement);
        }
        let found = view_drifts(&database);
        let [drift] = &found.drifts[..] else {
            panic!("{change}: {found:?}")
        };
        assert_eq!(
            (drift.impact, drift.difference.as_str()),
            (impact, difference),
            "{change}"
        );
        block_on(apply_drift(&url(&database), &found, |other| {
            other.impact == drift.impact
        }))
        .unwrap();
        synced(&database);
        assert_eq!(view_drifts(&database).drifts, [], "{change}");
    }
}

#[test]
fn a_backfill_adds_older_and_late_rows_exactly() {
    let (database, served) = with_older_rows("view_backfill", 500);
    assert_eq!(database.count("site_sums"), 0);
    assert_eq!(view_drifts(&database), DriftReport::default());
    // These rows are before the cut of some seconds, so the views do not take them.
    send(&served, &database, 100, 600);
    let report = fill(&database, "site_visitors_view").unwrap();
    assert_eq!((report.rows, report.total_rows), (600, 600));
    assert!(report.pieces >= 8, "{report:?}");
    // From here on, the views take the rows.
    send(&served, &database, 200, 800);
    fill(&database, "site_sums_view").unwrap();
    check_sums(&database);

    let again = fill(&database, "site_sums_view").unwrap();
    assert_eq!((again.pieces, again.total_rows), (0, 600));
    // A row from the spool of a collector that was away for long.
    database.query("INSERT INTO site_pages (id, page, visitor, price) VALUES (7, '/late', 1, 2)");
    for view in ["site_sums_view", "site_visitors_view"] {
        let late = fill(&database, view).unwrap();
        assert_eq!((late.pieces, late.rows), (1, 1));
    }
    check_sums(&database);
}

/// Each statement of a backfill.
const STEPS: [&str; 7] = [
    "CREATE TABLE IF NOT EXISTS `rowmill_backfill_rows`",
    "WITH TIES",
    "INSERT INTO rowmill_backfill_rows",
    "max_block_number",
    "'sending'",
    "INSERT INTO `site_sums`",
    "'done'",
];

#[test]
fn a_backfill_that_is_killed_at_each_step_adds_each_row_once() {
    let (database, served) = with_older_rows("view_killed", 1000);
    let mut proxy = Proxy::start(database.engine);
    // The first backfill waits for the cut.
    fill(&database, "site_visitors_view").unwrap();
    send(&served, &database, 50, 1050);
    let mut kills = 0;
    // A killed client closes its connection. ClickHouse may then have the statement or not.
    for round in 0..3 {
        for step in STEPS {
            let through: ClickHouseUrl = database.url_through(proxy.address).parse().unwrap();
            let run = options("site_sums_view");
            let seen = proxy.seen().len();
            let ended = block_on(async {
                tokio::select! {
                    report = backfill(&through, &embedder::tables::SCHEMA, &run, |_| {}) => Some(report.unwrap()),
                    () = async {
                        while !decoded(&proxy.seen()[seen..]).contains(step) {
                            sleep(Duration::from_millis(1)).await;
                        }
                        sleep(Duration::from_millis(round * 4)).await;
                    } => None,
                }
            });
            kills += usize::from(ended.is_none());
            proxy = Proxy::start(database.engine);
        }
    }
    assert!(kills >= 10, "{kills} kills");
    let report = fill(&database, "site_sums_view").unwrap();
    assert_eq!(report.total_rows, 1000);
    check_sums(&database);
}

/// The parameter with the token of a piece, and with that of its ids.
const TOKEN: &str = "insert_deduplication_token=rowmill-backfill%2F";
const ROWS_TOKEN: &str = "insert_deduplication_token=rowmill-backfill-rows%2F";

/// Returns a request with the most frequent escapes decoded.
fn decoded(seen: &str) -> String {
    seen.replace('+', " ").replace("%60", "`").replace("%27", "'")
}

#[test]
fn a_backfill_whose_answers_are_lost_adds_each_row_once() {
    let (database, _served) = with_older_rows("view_lost", 500);
    fill(&database, "site_visitors_view").unwrap();
    let proxy = Proxy::start(database.engine);
    let through: ClickHouseUrl = database.url_through(proxy.address).parse().unwrap();
    let run = options("site_sums_view");
    // Each run completes the piece of the one before, and begins one more.
    for text in [TOKEN, TOKEN, ROWS_TOKEN, TOKEN, ROWS_TOKEN] {
        proxy.cut(text, true);
        let ended = block_on(backfill(&through, &embedder::tables::SCHEMA, &run, |_| {}));
        assert!(matches!(ended, Err(BackfillError::Server(_))), "{ended:?}");
        proxy.wait_for_cut();
    }
    fill(&database, "site_sums_view").unwrap();
    check_sums(&database);
}

#[test]
fn a_piece_that_no_table_can_recognize_is_not_sent_again() {
    let (database, _served) = with_older_rows("view_doubt", 100);
    database.query("ALTER TABLE site_visitors MODIFY SETTING non_replicated_deduplication_window = 4");
    let report = fill(&database, "site_visitors_view").unwrap();
    assert_eq!(report.total_rows, 100);
    // As if the process had been killed before it recorded the second piece.
    database
        .query("ALTER TABLE rowmill_backfills DELETE WHERE piece = 2 AND state = 'done' SETTINGS mutations_sync = 1");
    let state = |in_doubt| {
        let run = Backfill {
            in_doubt,
            ..options("site_visitors_view")
        };
        block_on(backfill(&url(&database), &embedder::tables::SCHEMA, &run, |_| {}))
    };
    // Other writers fill the whole window.
    for number in 0..8 {
        database.query(&format!(
            "INSERT INTO site_visitors SELECT '/none', uniqExactState(toUInt32({number}))"
        ));
    }
    let error = state(InDoubt::Refuse).unwrap_err();
    assert!(
        matches!(error, BackfillError::InDoubt { piece: 2, rows: 30, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("--in-doubt"), "{error}");
    assert_eq!(state(InDoubt::Stored).unwrap().pieces, 1);
    assert_eq!(state(InDoubt::Refuse).unwrap().pieces, 0);
}

#[test]
fn a_view_without_a_first_id_cannot_be_backfilled() {
    let database = Database::named("view_refused");
    synced(&database);
    for (view, expected) in [
        ("site_sums_view", "it has all rows"),
        ("site_kinds_view", "no column with the collector's ids"),
        ("site_hourly_view", "has a schedule"),
        (
            "nothing",
            "its views are site_kinds_view, site_sums_view, site_visitors_view, site_hourly_view",
        ),
    ] {
        let error = fill(&database, view).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    database.query("DROP VIEW site_sums_view");
    let error = fill(&database, "site_sums_view").unwrap_err().to_string();
    assert!(error.contains("the database has no view"), "{error}");

    // The program has the seed's schema, which has no views.
    let ended = collector::run(&["backfill", "daily", "--clickhouse", &database.url()]);
    let text = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(text, "error: the schema has no view `daily`, and no other view\n");
    assert!(!ended.status.success());
}

#[test]
fn a_column_that_a_view_would_lose_is_an_error() {
    static VIEWS: [View; 1] = [
        // The checker does not know the names that ClickHouse gives to expressions.
        View::new(
            "losing",
            "site_visitors",
            "SELECT page, uniqExactState(visitor) visitors, count() FROM site_pages GROUP BY page",
        )
        .over("site_pages", 63..73, false),
    ];
    let all = &embedder::tables::SCHEMA;
    let schema = Schema::new(all.tables).with_views(all.targets, &VIEWS);
    let database = Database::named("view_losing");
    for error in [
        block_on(plan(&url(&database), &schema)).unwrap_err(),
        block_on(sync(&url(&database), &schema)).unwrap_err(),
    ] {
        let error = error.to_string();
        let expected =
            "view `losing` would lose columns of its query, which its table `site_visitors` lacks: `count()`";
        assert!(error.contains(expected), "{error}");
    }
}
