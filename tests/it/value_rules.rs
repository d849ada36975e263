//! How values of events are read, as a schema states it: keys without a column, lists of objects,
//! units of times, and strict columns.

mod elements;
mod lists;
mod unknown;

use embedder::tables;
use rowmill_ingest::server::not_found;
use tower::{Layer, service_fn};

use crate::support::{
    engine::Database,
    http::{self, Answer},
    service::Served,
};

/// The layers of the embedder's tables.
struct World {
    database: Database,
    served: Served,
}

impl World {
    fn start(test: &str) -> Self {
        let database = Database::create(test);
        let served = Served::start(&database, &tables::SCHEMA, |writer| {
            tables::layer(writer).unwrap().layer(service_fn(not_found))
        });
        Self { database, served }
    }

    fn post(&self, path: &str, event: &str) -> Answer {
        http::post_json(self.served.address, path, event)
    }

    /// Posts an event with a number, and returns the values of columns of its row as TSV.
    fn row(&self, path: &str, columns: &str, table: &str, n: usize, event: &str) -> String {
        let event = event.replacen('{', &format!(r#"{{"n":{n},"#), 1);
        let answer = self.post(path, &event);
        assert_eq!(answer.status, 200, "{event}: {}", answer.text());
        self.database.wait_for_rows(table, n as u64 + 1);
        let row = self
            .database
            .query(&format!("SELECT {columns} FROM {table} WHERE n = {n} FORMAT TSV"));
        row.trim_end_matches('\n').to_owned()
    }

    /// Returns the number of unknown keys that were counted for a table.
    fn counted(&self, table: &str) -> u64 {
        let unknown = self.served.writer.status().unknown_keys;
        unknown.into_iter().find(|(name, _)| *name == table).unwrap().1
    }
}

#[test]
fn numbers_are_in_the_unit_of_their_column() {
    let world = World::start("value_units");
    // Each value, and the same moment as ClickHouse computes it from a number of that unit.
    let cases = [
        ("s", "1780000000", "toDateTime64(1780000000, 3, 'UTC')"),
        ("s", "1780000000.25", "toDateTime64('1780000000.25', 3, 'UTC')"),
        ("s", "-1", "fromUnixTimestamp64Milli(-1000, 'UTC')"),
        ("ms", "1780000000908", "fromUnixTimestamp64Milli(1780000000908, 'UTC')"),
        (
            "ms",
            "1780000000908.181",
            "fromUnixTimestamp64Micro(1780000000908181, 'UTC')",
        ),
        ("ms", "0", "fromUnixTimestamp64Milli(0, 'UTC')"),
        (
            "us",
            "1780000000908181",
            "fromUnixTimestamp64Micro(1780000000908181, 'UTC')",
        ),
        (
            "ns",
            "1780000000908181123",
            "fromUnixTimestamp64Nano(1780000000908181123, 'UTC')",
        ),
        ("raw", "1780000000908", "fromUnixTimestamp64Milli(1780000000908, 'UTC')"),
        ("raw", "1780000000", "toDateTime64('1970-01-21 14:26:40', 3, 'UTC')"),
        (
            "raw",
            "1780000000.908",
            "fromUnixTimestamp64Milli(1780000000908, 'UTC')",
        ),
        ("whole", "1780000000908", "toDateTime(1780000000, 'UTC')"),
        ("whole", "\"2026-05-28 20:26:40\"", "toDateTime(1780000000, 'UTC')"),
        ("whole", "\"1780000000\"", "toDateTime(1780000000, 'UTC')"),
        (
            "many",
            "[1000, null, \"1970-01-01 00:00:02\"]",
            "[toDateTime(1, 'UTC'), NULL, toDateTime(2, 'UTC')]",
        ),
        ("many", "1000", "[toNullable(toDateTime(1, 'UTC'))]"),
    ];
    for (n, (column, value, expected)) in cases.into_iter().enumerate() {
        let event = format!(r#"{{"{column}":{value}}}"#);
        let row = world.row("/wh/units", column, "units", n, &event);
        let expected = world
            .database
            .query(&format!("SELECT CAST({expected} AS {}) FORMAT TSV", type_of(column)));
        assert_eq!(row, expected.trim_end(), "{event}");
    }
    for event in [
        r#"{"s":253402300800}"#,
        r#"{"ms":1e12}"#,
        r#"{"ns":9223372036854775808}"#,
        r#"{"whole":4294967296000}"#,
        r#"{"whole":-1}"#,
        r#"{"many":[true]}"#,
    ] {
        let answer = world.post("/wh/units", event);
        assert_eq!(answer.status, 400, "{event}: {}", answer.text());
    }
}

/// Returns the type of a column of `units`.
fn type_of(column: &str) -> &'static str {
    match column {
        "s" | "raw" => "DateTime64(3, 'UTC')",
        "ms" | "us" => "DateTime64(6, 'UTC')",
        "ns" => "DateTime64(9, 'UTC')",
        "whole" => "DateTime('UTC')",
        _ => "Array(Nullable(DateTime('UTC')))",
    }
}

#[test]
fn a_strict_column_refuses_what_only_the_lenient_rules_accept() {
    let world = World::start("value_strict");
    for (event, status) in [
        (r#"{"n":1,"lax":3.0}"#, 200),
        (r#"{"n":2,"count":3}"#, 200),
        (r#"{"n":3,"count":3.0}"#, 400),
        (r#"{"n":4,"at":1780000000908}"#, 200),
        (r#"{"n":5,"at":1780000000908.5}"#, 400),
        (r#"{"n":6,"tags":["a"]}"#, 200),
        (r#"{"n":7,"tags":"a"}"#, 400),
        // The rules of one column do not hold for the next.
        (r#"{"n":8.0,"count":3,"lax":4.0}"#, 200),
        (r#"{"n":9,"count":"x","lax":4.0}"#, 400),
    ] {
        let answer = world.post("/wh/partly_strict", event);
        assert_eq!(answer.status, status, "{event}: {}", answer.text());
    }
    world.database.wait_for_rows("partly_strict", 5);
    assert_eq!(
        world
            .database
            .query("SELECT n, lax, count FROM partly_strict ORDER BY n"),
        "1\t3\t0\n2\t0\t3\n4\t0\t0\n6\t0\t0\n8\t4\t3\n"
    );
}
