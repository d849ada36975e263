//! `serve --archive-format parquet`: ClickHouse reads the objects, and finds the rows of the tables.

use std::{fs, path::Path, time::Duration};

use embedder::tables;
use rowmill_ingest::{
    WriterOptions,
    archive::{Archive, ArchiveFormat},
    server::not_found,
};
use serde_json::Value;
use tempfile::TempDir;
use tower::{Layer, service_fn};

use super::{assert_archived, empty, replay, url, walk};
use crate::{
    handover::rows::{Rows, text},
    support::{collector::Collector, engine::Database, http, object_store::ObjectStore, service::Served, wait_for},
    type_families,
};

/// The options of a collector that soon writes objects of Parquet.
pub(super) const PARQUET: [&str; 6] = [
    "--archive-format",
    "parquet",
    "--archive-seconds",
    "0.3",
    "--drain-seconds",
    "20",
];

/// The settings of a load: no object may be taken for a repeat.
const SETTINGS: &str = "insert_deduplicate = 0";

/// Returns the objects of Parquet in a folder.
fn objects(folder: &Path) -> Vec<Vec<u8>> {
    let files = walk(folder).into_iter();
    let parquet = files.filter(|file| file.extension().is_some_and(|extension| extension == "parquet"));
    parquet.map(|file| fs::read(file).unwrap()).collect()
}

/// Inserts the rows of objects into a table, which ClickHouse reads itself. `columns` are those of the
/// table, in parentheses; empty for all.
pub(super) fn load(database: &Database, table: &str, columns: &str, objects: &[Vec<u8>]) {
    assert!(!objects.is_empty(), "there are no objects of `{table}`");
    for object in objects {
        let statement = format!("INSERT INTO `{table}` {columns} SETTINGS {SETTINGS} FORMAT Parquet\n");
        let loaded = database.try_insert(&[statement.as_bytes(), object].concat());
        loaded.unwrap_or_else(|error| panic!("{table}: {error}"));
    }
}

/// Serves the tables of the embedder, and archives all rows as Parquet.
fn serve(database: &Database, data: &TempDir, archive: &TempDir) -> Served {
    let archive = Archive {
        format: ArchiveFormat::Parquet,
        age: Duration::from_millis(200),
        ..Archive::new(url(archive).parse().unwrap())
    };
    let options = WriterOptions {
        archive: Some(archive),
        block_age: Duration::from_millis(50),
        ..WriterOptions::default()
    };
    Served::start_in(Some(data.path()), &database.url(), &tables::SCHEMA, options, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    })
}

/// Returns a type of a table, with texts in place of the types that the file has as JSON.
fn with_texts(data_type: &str) -> String {
    // The reader of Parquet refuses times of typed paths in the forms of events.
    if data_type.starts_with("JSON(") && data_type.contains("Time") {
        return "String".to_owned();
    }
    let mut out = String::new();
    let mut rest = data_type;
    let starts = |rest: &str| {
        ["Variant(", "Dynamic"]
            .into_iter()
            .filter_map(|name| rest.find(name))
            .min()
    };
    while let Some(start) = starts(rest).filter(|_| !data_type.starts_with("JSON")) {
        out.push_str(&rest[..start]);
        out.push_str("String");
        let arguments = &rest[start + "Variant".len()..];
        let mut level = 0;
        let end = arguments.find(|c| {
            level += i32::from(c == '(') - i32::from(c == ')');
            level < 0 || level == 0 && c != '('
        });
        // After the closing parenthesis, or before what ends a Dynamic without arguments.
        let end = end.map_or(arguments.len(), |end| end + usize::from(arguments.starts_with('(')));
        rest = &arguments[end..];
    }
    out + rest
}

/// Returns the names and types of the columns of a table that are stored.
fn columns(database: &Database, table: &str) -> Vec<(String, String)> {
    let rows = database.query(&format!(
        "SELECT name, type FROM system.columns WHERE database = '{}' AND table = '{table}' ORDER BY position FORMAT JSONCompactEachRow",
        database.name
    ));
    rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect()
}

/// Loads the archived rows of a table into a copy, and compares each value with that of the table. `n`
/// is the number of a row.
fn assert_same_rows(database: &Database, archive: &Path, table: &str) {
    let columns = columns(database, table);
    let copied = columns
        .iter()
        .map(|(name, data_type)| format!("`{name}` {}", with_texts(data_type)));
    let copied = copied.collect::<Vec<_>>().join(", ");
    database.query(&format!(
        "CREATE TABLE copy_of_{table} ({copied}) ENGINE = MergeTree ORDER BY n"
    ));
    load(
        database,
        &format!("copy_of_{table}"),
        "",
        &objects(&archive.join(table)),
    );
    assert_eq!(database.count(&format!("copy_of_{table}")), database.count(table));
    for (name, data_type) in &columns {
        match with_texts(data_type) == *data_type {
            // In the rarer types, a JSON has date-times in the forms of events, which stay Strings in the copy.
            true if table == "more_types" && data_type.contains("JSON") => {}
            true => assert_same_values(database, table, name, data_type),
            // The table has the values of typed paths in another form.
            false if data_type.starts_with("JSON") => {}
            false => assert_same_json(database, table, name),
        }
    }
}

/// Compares the values of a column bit by bit.
fn assert_same_values(database: &Database, table: &str, name: &str, data_type: &str) {
    let compared = |of: &str| match data_type {
        // The bytes of these depend on their neighbours in the block.
        _ if data_type.starts_with("JSON") => format!("({of}.`{name}`::String, JSONAllPathsWithTypes({of}.`{name}`))"),
        _ if data_type == "Geometry" => format!("(toString({of}.`{name}`), variantType({of}.`{name}`))"),
        _ if ["JSON", "QBit", "Geometry"].iter().any(|part| data_type.contains(part)) => {
            format!("toString({of}.`{name}`)")
        }
        _ => format!("{of}.`{name}`"),
    };
    let (ours, copied) = (compared("ours"), compared("copied"));
    let differing = database.query(&format!(
        "SELECT count(), any(toString({ours})), any(toString({copied})) FROM {table} AS ours JOIN copy_of_{table} AS copied USING n \
         WHERE sipHash128({ours}) != sipHash128({copied})"
    ));
    assert!(differing.starts_with("0\t"), "{table} {name}: {differing}");
}

/// Compares the values of a column with the JSON in the copy.
fn assert_same_json(database: &Database, table: &str, name: &str) {
    let rows = database.query(&format!(
        "SELECT ifNull(toJSONString(ours.`{name}`), 'null'), toJSONString(copied.`{name}`) FROM {table} AS ours JOIN copy_of_{table} AS copied USING n \
         FORMAT JSONCompactEachRow SETTINGS date_time_output_format = 'iso', output_format_json_quote_64bit_integers = 0"
    ));
    for row in rows.lines() {
        let (ours, copied): (String, String) = serde_json::from_str(row).unwrap();
        let (ours, copied): (Value, Value) = (
            serde_json::from_str(&ours).unwrap(),
            serde_json::from_str(&copied).unwrap(),
        );
        assert!(is_same(&ours, &copied), "{table} {name}: {ours} {copied}");
    }
}

/// Returns whether a value is that of a copy, in which some values are texts with JSON.
fn is_same(ours: &Value, copied: &Value) -> bool {
    if let Value::String(text) = copied
        && let Ok(parsed) = serde_json::from_str::<Value>(text)
        && is_same(ours, &parsed)
    {
        return true;
    }
    match (ours, copied) {
        (Value::Array(ours), Value::Array(copied)) => {
            ours.len() == copied.len() && ours.iter().zip(copied).all(|(ours, copied)| is_same(ours, copied))
        }
        (Value::Object(ours), Value::Object(copied)) => {
            let is_found = |(key, ours)| copied.get(key).is_some_and(|copied| is_same(ours, copied));
            ours.len() == copied.len() && ours.iter().all(is_found)
        }
        // `1` and `1.0` are the same number, and the reader of this test rounds some floats.
        (Value::Number(ours), Value::Number(copied)) => match (ours.as_f64(), copied.as_f64()) {
            (Some(ours), Some(copied)) => (ours - copied).abs() <= 1e-14 * ours.abs(),
            _ => ours == copied,
        },
        _ => ours == copied,
    }
}

#[test]
fn each_family_of_types_is_what_the_table_has() {
    let database = Database::create("archive_parquet_families");
    let (data, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let served = serve(&database, &data, &archive);
    let events = type_families::random_events(&database);
    let headers = [("Content-Type", "application/x-ndjson")];
    for events in events.lines().collect::<Vec<_>>().chunks(100) {
        for path in ["/wh/families", "/wh/columns"] {
            let answer = http::send(served.address, "POST", path, &headers, events.join("\n").as_bytes());
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    served.drain();
    for table in ["families", "families_in_columns"] {
        assert_eq!(database.count(table), type_families::ROWS as u64);
        assert_same_rows(&database, archive.path(), table);
    }
}

#[test]
#[ignore = "ClickHouse reads an empty polygon in WKB with one empty ring; the columns after it are not compared yet"]
fn the_rarer_types_are_what_the_table_has() {
    let database = Database::create("archive_parquet_types");
    let (data, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let served = serve(&database, &data, &archive);
    for (n, case) in include_str!("../more_types/cases.txt").lines().enumerate() {
        let (column, value) = case.split_once(' ').unwrap();
        let answer = http::post_json(
            served.address,
            "/wh/more",
            &format!("{{\"n\":{n},\"{column}\":{value}}}"),
        );
        assert!([200, 400].contains(&answer.status), "{case}: {}", answer.text());
    }
    served.drain();
    assert!(database.count("more_types") > 500);
    assert_same_rows(&database, archive.path(), "more_types");
}

#[test]
fn what_clickhouse_computes_is_computed_again() {
    let database = Database::create("archive_parquet_defaults");
    let (data, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let served = serve(&database, &data, &archive);
    for event in [
        r#"{"number":"A-1","raw":"four","state":"new"}"#,
        r#"{"number":"A-2","created":"2026-11-30 22:15:00","raw_length":7,"amount":1.5,"state":"new"}"#,
    ] {
        let answer = http::post_json(served.address, "/wh/order", event);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    served.drain();
    database.query("CREATE TABLE copied AS orders");
    let inserted = tables::orders::TABLE
        .columns
        .iter()
        .filter(|column| column.kind.is_inserted());
    let names: Vec<_> = inserted.map(|column| format!("`{}`", column.name)).collect();
    let columns = format!("({})", names.join(", "));
    load(&database, "copied", &columns, &objects(&archive.path().join("orders")));
    assert_eq!(database.count("copied"), 2);
    assert_equal_tables(&database, "orders", &database, "copied");
    let rows = database.query("SELECT number, toUnixTimestamp(created), raw_length FROM copied ORDER BY number");
    assert_eq!(rows, "A-1\t1577934245\t4\nA-2\t1796076900\t7\n");
}

/// Checks that two tables have the same rows.
fn assert_equal_tables(a: &Database, table_of_a: &str, b: &Database, table_of_b: &str) {
    let select = |database: &Database, table: &str| format!("SELECT * FROM {}.`{table}`", database.name);
    let (a_rows, b_rows) = (select(a, table_of_a), select(b, table_of_b));
    for (ours, theirs) in [(&a_rows, &b_rows), (&b_rows, &a_rows)] {
        assert_eq!(
            a.query(&format!("SELECT count() FROM ({ours} EXCEPT {theirs})")),
            "0\n",
            "{ours}"
        );
    }
}

#[test]
fn a_killed_collector_writes_each_row_once_and_a_replay_names_the_way_back() {
    let (database, mut rows) = (Database::named("archive_parquet"), Rows::default());
    let (data, archive) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = url(&archive);
    let options = [&["--archive", &url][..], &PARQUET].concat();
    for _ in 0..3 {
        let collector = Collector::start_in(data.path(), &database.url(), &options);
        rows.post(collector.address, 20);
        // With the last rows of the process before.
        wait_for("archived rows", || {
            (collector.metric("rowmill_archive_rows_total") >= 20).then_some(())
        });
        rows.post(collector.address, 5);
        collector.kill();
    }
    let collector = Collector::start_in(data.path(), &database.url(), &options);
    rows.wait(&database);
    assert_eq!(collector.stop().code, Some(0));
    assert_archived(data.path());
    let other = empty("archive_parquet_copy");
    load(
        &other,
        "mail_statistics",
        "",
        &objects(&archive.path().join("mail_statistics")),
    );
    assert_eq!(other.count("mail_statistics"), 75);
    rows.wait(&other);
    assert_equal_tables(&database, "mail_statistics", &other, "mail_statistics");

    let replayed = replay(&url, &other, &[], &[]);
    let text = text(&replayed);
    assert_eq!(replayed.status.code(), Some(1), "{text}");
    assert!(
        text.contains("mail_statistics: a replay does not read objects of Parquet"),
        "{text}"
    );
    assert!(text.contains("has only objects of Parquet"), "{text}");

    // The next objects are of blocks again, and a replay sends only their rows.
    let options = ["--archive", &url, "--archive-seconds", "0.3", "--drain-seconds", "20"];
    let collector = Collector::start_in(data.path(), &database.url(), &options);
    rows.post(collector.address, 5);
    assert_eq!(collector.stop().code, Some(0));
    let replayed = replay(&url, &other, &[], &[]);
    let text = crate::handover::rows::text(&replayed);
    assert_eq!(replayed.status.code(), Some(1), "{text}");
    assert!(text.contains("\n5 rows in "), "{text}");
    assert!(
        text.contains("objects are left out: a replay does not read objects of Parquet"),
        "{text}"
    );
    rows.wait(&other);
}

#[test]
fn a_store_of_s3_gets_objects_that_clickhouse_reads() {
    let Some(store) = ObjectStore::start() else { return };
    let (database, mut rows) = (Database::named("archive_parquet_s3"), Rows::default());
    let data = tempfile::tempdir().unwrap();
    let options = [&["--archive", "s3://events/collector-1"][..], &PARQUET].concat();
    let collector = Collector::start_in_as(data.path(), &database.url(), &store.variables(), &options);
    rows.post(collector.address, 30);
    assert_eq!(collector.stop().code, Some(0));
    let objects = store.objects("events/collector-1/mail_statistics");
    assert!(
        objects.iter().all(|(name, _)| name.ends_with(".parquet")),
        "{:?}",
        objects[0].0
    );
    let other = empty("archive_parquet_s3_copy");
    let objects: Vec<_> = objects.into_iter().map(|(_, bytes)| bytes).collect();
    load(&other, "mail_statistics", "", &objects);
    assert_eq!(other.count("mail_statistics"), 30);
    rows.wait(&other);
}
