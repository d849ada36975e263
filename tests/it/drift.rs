//! Drift: the collector reports and classifies each difference from the schema, and changes
//! those that the operator allows.

use rowmill_ingest::{
    ClickHouseUrl,
    schema::{Drift, Impact, apply_drift, drift, sync},
};
use tokio::runtime::Runtime;

use crate::support::{collector, engine::Database, http};

const TABLE: &str = "engine_merge_tree";

/// Returns the differences from the embedder's schema.
fn drifts(database: &Database) -> Vec<Drift> {
    let url: ClickHouseUrl = database.url().parse().unwrap();
    let report = Runtime::new().unwrap().block_on(drift(&url, &embedder::tables::SCHEMA));
    let report = report.unwrap();
    assert_eq!(report.warnings, [""; 0]);
    report.drifts
}

/// Creates a database with the embedder's tables.
fn synced(name: &str) -> Database {
    let database = Database::create(name);
    let url: ClickHouseUrl = database.url().parse().unwrap();
    Runtime::new()
        .unwrap()
        .block_on(sync(&url, &embedder::tables::SCHEMA))
        .unwrap();
    database
}

fn apply(database: &Database, is_allowed: impl Fn(Impact) -> bool) {
    let url: ClickHouseUrl = database.url().parse().unwrap();
    Runtime::new().unwrap().block_on(async {
        let report = drift(&url, &embedder::tables::SCHEMA).await.unwrap();
        let refused = apply_drift(&url, &report, |drift| is_allowed(drift.impact))
            .await
            .unwrap();
        assert!(refused.is_empty(), "{refused:?}");
    });
}

#[test]
fn tables_that_the_sync_created_have_no_drift() {
    let database = synced("drift_none");
    assert_eq!(drifts(&database), []);
    let database = Database::create("drift_none_seed");
    collector::run(&["apply", "--clickhouse", &database.url()]);
    let plan = collector::run(&["plan", "--clickhouse", &database.url()]);
    let text = String::from_utf8(plan.stderr).unwrap();
    assert_eq!(text, "the database matches the schema\n");
    assert_eq!(String::from_utf8(plan.stdout).unwrap(), "");
}

#[test]
fn each_manual_change_is_found_classified_and_reverted() {
    use Impact::{Drop, Rewrite, Safe};

    let database = synced("drift_each");
    database.query(&format!(
        "INSERT INTO {TABLE} (key, count) SELECT number, number FROM numbers(1000)"
    ));
    for (change, impact, difference) in [
        (
            "COMMENT COLUMN count 'how many'",
            Safe,
            "the comment of column `count` is 'how many' in the database and none in the schema",
        ),
        (
            "MODIFY COLUMN at DEFAULT now() + INTERVAL 1 DAY",
            Safe,
            "the source of column `at` is DEFAULT now() + toIntervalDay(1) in the database and DEFAULT now() in the schema",
        ),
        (
            "MODIFY COLUMN at REMOVE DEFAULT",
            Safe,
            "the source of column `at` is none in the database and DEFAULT now() in the schema",
        ),
        (
            "MODIFY COLUMN count DEFAULT 7",
            Safe,
            "the source of column `count` is DEFAULT 7 in the database and none in the schema",
        ),
        (
            "MODIFY COLUMN count CODEC(ZSTD(9))",
            Safe,
            "the codec of column `count` is ZSTD(9) in the database and none in the schema",
        ),
        (
            "MODIFY COLUMN count TTL at + INTERVAL 10 YEAR",
            Drop,
            "the TTL of column `count` is at + toIntervalYear(10) in the database and none in the schema",
        ),
        (
            "MODIFY TTL at + INTERVAL 20 YEAR",
            Rewrite,
            "TTL is at + toIntervalYear(20) in the database and at + toIntervalYear(10) in the schema",
        ),
        (
            "REMOVE TTL",
            Rewrite,
            "TTL is none in the database and at + toIntervalYear(10) in the schema",
        ),
        (
            "MODIFY COMMENT 'something else'",
            Safe,
            "COMMENT is 'something else' in the database and 'It\\'s the whole of it.' in the schema",
        ),
        (
            "ADD COLUMN strange Array(UInt8)",
            Drop,
            "column `strange` is Array(UInt8) in the database and none in the schema",
        ),
        (
            "DROP INDEX by_count",
            Safe,
            "INDEX `by_count` is none in the database and count TYPE minmax GRANULARITY 2 in the schema",
        ),
        (
            "ADD INDEX by_key key TYPE minmax GRANULARITY 1",
            Drop,
            "INDEX `by_key` is key TYPE minmax GRANULARITY 1 in the database and none in the schema",
        ),
        (
            "ADD CONSTRAINT small CHECK key < 1000000",
            Drop,
            "CONSTRAINT `small` is CHECK key < 1000000 in the database and none in the schema",
        ),
        (
            "DROP PROJECTION sums",
            Safe,
            "PROJECTION `sums` is none in the database and (SELECT key % 2, sum(count) GROUP BY key % 2) in the schema",
        ),
        (
            "REMOVE SAMPLE BY",
            Safe,
            "SAMPLE BY is none in the database and intHash32(key) in the schema",
        ),
    ] {
        database.query(&format!("ALTER TABLE {TABLE} {change} SETTINGS mutations_sync = 2"));
        let found = drifts(&database);
        let [drift] = &found[..] else {
            panic!("{change}: {found:#?}")
        };
        assert_eq!(
            (drift.table, drift.impact, &*drift.difference),
            (TABLE, impact, difference)
        );
        assert_eq!((drift.rows, drift.bytes.is_some()), (Some(1000), true));
        // `apply_drift` only makes the changes that are allowed.
        apply(&database, |allowed| allowed < impact);
        assert_eq!(drifts(&database), found, "{change}");
        apply(&database, |allowed| allowed == impact);
        assert_eq!(drifts(&database), [], "{change}");
    }
    assert_eq!(
        database.query(&format!("SELECT count(), sum(key) FROM {TABLE}")),
        "1000\t499500\n"
    );
}

#[test]
fn a_difference_that_no_alter_can_change_has_no_statement() {
    let database = synced("drift_keys");
    let found = |definition: &str| {
        database.query(&format!("DROP TABLE {TABLE} SYNC"));
        database.query(&format!(
            "CREATE TABLE {TABLE} (key UInt64, count Nullable(Int64), at DateTime DEFAULT now(), \
             INDEX by_count count TYPE minmax GRANULARITY 2, PROJECTION sums (SELECT key % 2, sum(count) GROUP BY key % 2)) \
             {definition} SETTINGS index_granularity = 1024, non_replicated_deduplication_window = 1000, \
             deduplicate_merge_projection_mode = 'drop' COMMENT 'It\\'s the whole of it.'"
        ));
        let found = drifts(&database);
        assert!(
            found
                .iter()
                .all(|drift| drift.impact == Impact::Impossible && drift.statements.is_empty())
        );
        found.into_iter().map(|drift| drift.difference).collect::<Vec<_>>()
    };
    let keys = "PARTITION BY key % 2 PRIMARY KEY (key, intHash32(key)) ORDER BY (key, intHash32(key), at) \
                SAMPLE BY intHash32(key) TTL at + INTERVAL 10 YEAR";
    assert_eq!(found(&format!("ENGINE = MergeTree {keys}")), [""; 0]);
    assert_eq!(
        found(&format!("ENGINE = ReplacingMergeTree(at) {keys}")),
        ["the engine is ReplacingMergeTree(at) in the database and MergeTree in the schema"]
    );
    assert_eq!(
        found(&format!("ENGINE = MergeTree {}", keys.replace("key % 2", "key % 3"))),
        ["PARTITION BY is key % 3 in the database and key % 2 in the schema"]
    );
    assert_eq!(
        found(&format!("ENGINE = MergeTree {}", keys.replace(", at)", ")"))),
        ["ORDER BY is (key, intHash32(key)) in the database and (key, intHash32(key), at) in the schema"]
    );
}

#[test]
fn plan_prints_all_differences_and_apply_changes_the_allowed_ones() {
    let database = Database::create("drift_command");
    let url = database.url();
    let run = |arguments: &[&str]| {
        let output = collector::run(&[arguments, &["--clickhouse", &url]].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["apply"]);
    let collector = collector::Collector::start(&database);
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    database.wait_for_rows("mail_statistics", 1);
    drop(collector);
    for change in [
        "COMMENT COLUMN email 'an address'",
        "ADD COLUMN strange UInt8",
        "MODIFY COLUMN link_id LowCardinality(String)",
    ] {
        database.query(&format!(
            "ALTER TABLE mail_statistics {change} SETTINGS mutations_sync = 2"
        ));
    }

    // A start would fail at the column of another type, so the plan does, too.
    let plan = collector::run(&["plan", "--clickhouse", &url]);
    assert_eq!(plan.status.code(), Some(1));
    let text = String::from_utf8(plan.stdout).unwrap();
    let alter = format!("ALTER TABLE `{}`.`mail_statistics`", database.name);
    let expected = [
        "-- rewrite: `mail_statistics`: column `link_id` is LowCardinality(String) in the database and String in the schema",
        &format!("-- {alter} MODIFY COLUMN `link_id` String;"),
        "-- safe: `mail_statistics`: the comment of column `email` is 'an address' in the database and none in the schema",
        &format!("{alter} COMMENT COLUMN `email` '';"),
        "-- drop: `mail_statistics`: column `strange` is UInt8 in the database and none in the schema",
        &format!("-- {alter} DROP COLUMN `strange`;"),
    ];
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(lines[0].contains("(the table has 1 rows, "), "{text}");

    run(&["apply", "--allow", "rewrite"]);
    let text = run(&["plan"]);
    assert!(
        text.starts_with("-- drop: `mail_statistics`: column `strange`"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2, "{text}");
    run(&["apply", "--allow", "rewrite", "--allow", "drop"]);
    assert_eq!(run(&["plan"]), "");
}

#[test]
fn a_refused_statement_does_not_stop_the_others() {
    let database = Database::create("drift_refused");
    let apply = || collector::run(&["apply", "--allow", "drop", "--clickhouse", &database.url()]);
    assert!(apply().status.success());
    for change in [
        "ADD COLUMN strange UInt8",
        "ADD INDEX by_strange strange TYPE minmax GRANULARITY 1",
        "COMMENT COLUMN email 'an address'",
        "DROP COLUMN link_id",
    ] {
        database.query(&format!("ALTER TABLE mail_statistics {change}"));
    }
    // The index still needs the column when the column's turn comes.
    let output = apply();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains(&format!(
            "error: ClickHouse refuses a statement for `mail_statistics`: ALTER TABLE `{}`.`mail_statistics` DROP COLUMN `strange`: ",
            database.name
        )),
        "{error}"
    );
    assert!(error.contains("ClickHouse has refused 1 of the statements"), "{error}");
    let columns = "SELECT name, comment FROM system.columns WHERE database = currentDatabase() \
                   AND table = 'mail_statistics' AND name IN ('email', 'link_id', 'strange') ORDER BY name";
    assert_eq!(database.query(columns), "email\t\nlink_id\t\nstrange\t\n");
    assert!(apply().status.success());
    assert_eq!(database.query(columns), "email\t\nlink_id\t\n");
}

#[test]
fn missing_columns_are_added_before_what_needs_them() {
    let database = synced("drift_order");
    for change in ["DROP PROJECTION sums", "DROP INDEX by_count", "DROP COLUMN count"] {
        database.query(&format!("ALTER TABLE {TABLE} {change} SETTINGS mutations_sync = 2"));
    }
    let url: ClickHouseUrl = database.url().parse().unwrap();
    let schema = &embedder::tables::SCHEMA;
    Runtime::new().unwrap().block_on(async {
        let report = drift(&url, schema).await.unwrap();
        assert!(report.drifts.iter().all(|drift| !drift.stops_start), "{report:#?}");
        // Before the column, ClickHouse refuses the index and the projection.
        let refused = apply_drift(&url, &report, |drift| drift.table == TABLE).await.unwrap();
        assert_eq!(refused.len(), 2, "{refused:?}");
        sync(&url, schema).await.unwrap();
        let refused = apply_drift(&url, &report, |drift| drift.table == TABLE).await.unwrap();
        assert!(refused.is_empty(), "{refused:?}");
    });
    assert_eq!(drifts(&database), []);
}
