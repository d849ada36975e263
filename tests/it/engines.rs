//! Table engines: each engine that a test can create accepts rows, and the build knows the features
//! of each.

use embedder::tables;
use rowmill_codegen::generate_texts;
use rowmill_ingest::server::not_found;
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, service::Served};

/// The statements for engines that no test can create.
const PINNED: &str = include_str!("../../codegen/tests/cases/ddl/engines.sql");

/// A table, the service that its events come from, and its rows after [`EVENTS`] as ClickHouse
/// prints them.
struct Case {
    service: &'static str,
    select: &'static str,
    rows: &'static str,
}

/// Three events with two keys.
const EVENTS: [&str; 3] = [
    r#"{"key":1,"count":2,"sign":1,"version":1}"#,
    r#"{"key":1,"count":3,"sign":-1,"version":1,"deleted":1}"#,
    r#"{"key":2,"sign":1,"version":1}"#,
];

const fn case(service: &'static str, select: &'static str, rows: &'static str) -> Case {
    Case { service, select, rows }
}

const CASES: [Case; 16] = [
    case(
        "merge_tree",
        "key, count FROM engine_merge_tree",
        "1\t2\n1\t3\n2\t\\N\n",
    ),
    case("replacing", "key, count FROM engine_replacing FINAL", "2\t\\N\n"),
    // ClickHouse drops a key whose sums are empty.
    case("summing", "key, count FROM engine_summing FINAL", "1\t5\n"),
    case(
        "aggregating",
        "key, count FROM engine_aggregating FINAL",
        "1\t3\n2\t\\N\n",
    ),
    case("collapsing", "key, count FROM engine_collapsing FINAL", "2\t\\N\n"),
    case(
        "versions",
        "key, count FROM engine_versioned_collapsing FINAL",
        "2\t\\N\n",
    ),
    case(
        "coalescing",
        "key, count FROM engine_coalescing FINAL",
        "1\t3\n2\t\\N\n",
    ),
    case("log", "key, count FROM engine_log", "1\t2\n1\t3\n2\t\\N\n"),
    case("tiny_log", "key, count FROM engine_tiny_log", "1\t2\n1\t3\n2\t\\N\n"),
    case(
        "stripe_log",
        "key, count FROM engine_stripe_log",
        "1\t2\n1\t3\n2\t\\N\n",
    ),
    case("null", "key, count FROM engine_null", ""),
    case("memory", "key, count FROM engine_memory", "1\t2\n1\t3\n2\t\\N\n"),
    // A Buffer also shows the rows of its target table.
    case(
        "buffer",
        "key, count FROM engine_buffer",
        "1\t2\n1\t2\n1\t3\n1\t3\n2\t\\N\n2\t\\N\n",
    ),
    case(
        "set",
        "number FROM numbers(4) WHERE (number, 3, 0) IN (SELECT 1, 3, 0)",
        "1\n",
    ),
    case("join", "key, count FROM engine_join", "1\t2\n2\t\\N\n"),
    // The last row of each key.
    case("rocks", "key, count FROM engine_rocks_db", "1\t3\n2\t\\N\n"),
];

#[test]
fn a_table_of_each_engine_accepts_rows() {
    let database = Database::create("engines");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    for case in &CASES {
        for event in EVENTS {
            let answer = http::post_json(served.address, &format!("/{}/event", case.service), event);
            assert_eq!(answer.status, 200, "{}: {}", case.service, answer.text());
        }
    }
    served.drain();
    for case in &CASES {
        let rows = database.query(&format!("SELECT {} ORDER BY ALL", case.select));
        assert_eq!(rows, case.rows, "{}", case.service);
    }
    // The tables have the engines of the schema, and a deduplication window only if the engine
    // supports one.
    let tables = database.query(
        "SELECT name, engine, engine_full LIKE '%non_replicated_deduplication_window = 1000%' FROM system.tables \
         WHERE database = currentDatabase() AND name LIKE 'engine\\_%' ORDER BY name",
    );
    assert_eq!(tables.lines().count(), CASES.len());
    for table in tables.lines() {
        let [name, engine, has_window] = table.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{table}")
        };
        let expected: String = name.strip_prefix("engine_").unwrap().replace('_', "");
        let is_named = engine
            .to_lowercase()
            .strip_prefix("embedded")
            .unwrap_or(&engine.to_lowercase())
            .starts_with(&expected);
        assert!(is_named, "{table}");
        assert_eq!(has_window == "1", engine.ends_with("MergeTree"), "{table}");
    }
    let keys = database.query(
        "SELECT partition_key, sorting_key, primary_key, sampling_key, comment FROM system.tables \
         WHERE database = currentDatabase() AND name = 'engine_merge_tree'",
    );
    assert_eq!(
        keys,
        "key % 2\tkey, intHash32(key), at\tkey, intHash32(key)\tintHash32(key)\tIt\\'s the whole of it.\n"
    );
}

#[test]
fn clickhouse_can_read_the_statements_that_no_test_runs() {
    let database = Database::create("engines");
    let statements: Vec<&str> = PINNED
        .split(";\n")
        .filter(|statement| !statement.trim().is_empty())
        .collect();
    assert!(statements.len() > 5);
    for statement in statements {
        database.query(&format!("SELECT formatQuery($statement${statement}$statement$)"));
    }
}

#[test]
fn the_build_knows_the_features_of_each_engine() {
    let database = Database::create("engines");
    let engines = database.query(
        "SELECT name, supports_sort_order, supports_settings, supports_ttl, supports_skipping_indices, supports_projections \
         FROM system.table_engines ORDER BY name",
    );
    assert!(engines.lines().count() > 60);
    let options = [
        "order_by: id",
        "settings: { max_rows_to_keep: 1 }",
        "ttl: at + INTERVAL 1 DAY",
        "indexes: { i: id TYPE minmax }",
        "projections: { p: SELECT id ORDER BY id }",
    ];
    let mut wrong = Vec::new();
    for engine in engines.lines() {
        let mut has = engine.split('\t');
        let name = has.next().unwrap();
        for (option, has) in options.iter().zip(has) {
            let codes = codes(&format!("{{ engine: {name}, {option} }}"));
            let is_misfit = codes.iter().any(|code| code == "engine-misfit");
            let is_known = !codes.iter().any(|code| code == "unknown-engine");
            let refuses_rows = codes.iter().any(|code| code == "engine-takes-no-rows");
            if !is_known || (!refuses_rows && is_misfit == (has == "1")) {
                wrong.push(format!("{name}: {option}: {codes:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the codes of the build's errors for a table with these options.
fn codes(options: &str) -> Vec<String> {
    let schema = format!(
        "clickhouse: {{ destinations: {{ wh/t: t }}, tables: {{ t: {{ id: UInt64, at: DateTime, _options: {options} }} }} }}"
    );
    let problems = generate_texts([("t.yml", schema)]).problems;
    problems.errors.iter().map(|problem| problem.code.to_owned()).collect()
}
