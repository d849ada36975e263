//! `plan` and `apply`: their statements do the same from every client, their exit status tells
//! whether the database differs, and without a ClickHouse they use the embedded one.

use std::path::Path;

use rowmill_engine::{Engine, Options, running};
use rowmill_ingest::{ClickHouseUrl, schema};
use tokio::runtime::Runtime;

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
};

/// Runs each statement of a printed plan as a client does whose database is another one.
fn run_elsewhere(statements: &str, other: &Database) {
    let comments = |line: &&str| !line.starts_with("-- ");
    let text: Vec<_> = statements.lines().filter(comments).collect();
    for statement in text.join("\n").split(";\n").filter(|statement| !statement.is_empty()) {
        other.query(statement.trim_end_matches(';'));
    }
}

fn plan(database: &Database) -> (Option<i32>, String) {
    let output = collector::run(&["plan", "--exit-code", "--clickhouse", &database.url()]);
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_printed_statements_work_from_another_database() {
    let (database, other) = (Database::named("plan_pasted"), Database::create("plan_other"));
    let (status, text) = plan(&database);
    assert_eq!(status, Some(2), "{text}");
    run_elsewhere(&text, &other);
    assert_eq!(plan(&database), (Some(0), String::new()));

    for change in [
        "ALTER TABLE mail_statistics COMMENT COLUMN email 'an address'",
        "ALTER TABLE mail_statistics DROP COLUMN link_id",
        "ALTER TABLE ping RESET SETTING non_replicated_deduplication_window",
        "DROP TABLE rejected",
    ] {
        database.query(change);
    }
    let (status, text) = plan(&database);
    assert_eq!(status, Some(2), "{text}");
    run_elsewhere(&text, &other);
    assert_eq!(plan(&database), (Some(0), String::new()));
    assert_eq!(other.query("SHOW TABLES"), "");
}

#[test]
fn statements_of_views_and_engines_work_from_another_database() {
    let (database, other) = (Database::named("plan_views"), Database::create("plan_views_other"));
    let url: ClickHouseUrl = database.url().parse().unwrap();
    let runtime = Runtime::new().unwrap();
    let schema = &embedder::tables::SCHEMA;
    let lacking = || runtime.block_on(schema::plan(&url, schema)).unwrap().statements;
    let drifts = || {
        let views = runtime.block_on(schema::view_drift(&url, schema)).unwrap().drifts;
        let tables = runtime.block_on(schema::drift(&url, schema)).unwrap().drifts;
        views.into_iter().chain(tables)
    };
    let statements = lacking();
    assert!(!schema.views.is_empty() && statements.len() > schema.views.len());
    for statement in &statements {
        other.query(statement);
    }
    assert_eq!(lacking(), [""; 0]);
    assert_eq!(drifts().collect::<Vec<_>>(), []);
    assert_eq!(other.query("SHOW TABLES"), "");

    // A view that is missing or has another query, and a source that has rows.
    let view = schema.views.iter().find(|view| view.source.is_some()).unwrap();
    database.query(&format!("ALTER TABLE `{}` MODIFY COMMENT 'another'", view.name));
    let changed: Vec<_> = drifts().flat_map(|drift| drift.statements).collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    other.query(&changed[0]);
    // New views over old tables begin at an id.
    for view in schema.views.iter().filter(|view| view.source.is_some()) {
        database.query(&format!("DROP VIEW `{}` SYNC", view.name));
    }
    let statements = lacking();
    assert!(
        statements.iter().any(|statement| statement.contains("(SELECT *")),
        "{statements:?}"
    );
    for statement in &statements {
        other.query(statement);
    }
    assert_eq!(lacking(), [""; 0]);
    assert_eq!(drifts().collect::<Vec<_>>(), []);
}

#[test]
fn a_column_of_another_type_is_a_difference_and_not_an_error() {
    let database = Database::named("plan_differs");
    collector::run(&["apply", "--clickhouse", &database.url()]);
    database.query("ALTER TABLE mail_statistics MODIFY COLUMN link_id LowCardinality(String)");
    let (status, text) = plan(&database);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains(&format!(
        "ALTER TABLE `{}`.`mail_statistics` MODIFY COLUMN",
        database.name
    )));
    let without = collector::run(&["plan", "--clickhouse", &database.url()]);
    assert_eq!(without.status.code(), Some(1));
    let unreachable = collector::run(&["plan", "--exit-code", "--clickhouse", "http://127.0.0.1:1/stats"]);
    assert_eq!(unreachable.status.code(), Some(1));
}

fn with_data(command: &[&str], data: &Path) -> (Option<i32>, String) {
    let output = collector::run(&[command, &["--data", data.to_str().unwrap()]].concat());
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn without_a_clickhouse_the_embedded_one_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let (status, text) = with_data(&["plan", "--exit-code"], data);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("CREATE DATABASE IF NOT EXISTS `stats`"), "{text}");
    let (status, text) = with_data(&["apply"], data);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("no ClickHouse is named"), "{text}");
    assert_eq!(with_data(&["plan", "--exit-code"], data).0, Some(0));

    // While another process runs it.
    let engine = Engine::start(&Options::new(env!("CARGO_BIN_EXE_rowmill"), data.join("engine"))).unwrap();
    let address = running(&data.join("engine")).unwrap().unwrap().address;
    assert_eq!(address, engine.address());
    let database = Database::of_engine("stats", address, &data.join("engine"));
    database.query("ALTER TABLE mail_statistics DROP COLUMN link_id");
    let (status, text) = with_data(&["plan", "--exit-code"], data);
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("ADD COLUMN IF NOT EXISTS `link_id`"), "{text}");
    engine.stop().unwrap();
    assert!(running(&data.join("engine")).unwrap().is_none());
    let (status, text) = with_data(&["plan", "--exit-code"], data);
    assert_eq!(status, Some(2), "{text}");
}

#[test]
fn a_replay_into_a_database_without_the_table_ends_at_once() {
    let (database, empty) = (Database::named("replay_from"), Database::named("replay_empty"));
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_in(data.path(), &database.url(), &["--drain-seconds", "0"]);
    database.query("RENAME TABLE mail_statistics TO hidden");
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    collector.stop();

    let url = empty.url();
    let replay = |more: &[&str]| {
        let arguments = [&["spool", "replay", "--clickhouse", &url, "--within", "60"], more].concat();
        with_data(&arguments, data.path())
    };
    let started = std::time::Instant::now();
    let (status, text) = replay(&[]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("lacks the tables of waiting rows: mail_statistics; create them with `rowmill apply`"),
        "{text}"
    );
    assert!(started.elapsed().as_secs() < 30, "the replay has waited");
    let (status, text) = replay(&["--create-tables"]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(empty.count("mail_statistics"), 1);
}
