//! The gallery of `schemas/gallery`: ClickHouse has each table, which takes its example event
//! singly and in bulk, and the rows are the expected ones beside this file.

use std::{collections::BTreeMap, fs, path::Path};

use gallery::tables;
use rowmill_ingest::server::not_found;
use serde_json::Value;
use tower::{Layer, service_fn};

use crate::support::{collector, engine::Database, http, service::Served};

/// The day in the example events and the expected rows. Tables refuse and remove old events, so the
/// test sends another day.
const DAY: &str = "2026-11-28";

/// The columns that the collector fills.
const OF_COLLECTOR: &str = "id, uid, date, dateTime, timestamp, channel, projectId, name, service, td_ip, td_ua, td_fpid, \
     td_ref, td_extra.key, td_extra.value, received_at, gateway, client";

/// An example of the gallery.
struct Example {
    name: String,
    /// The paths of its routes.
    paths: Vec<String>,
    table: String,
    /// The example event on one line.
    event: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn examples() -> Vec<Example> {
    let folder = root().join("schemas/gallery");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let read = |name: &str, extension: &str| fs::read_to_string(folder.join(format!("{name}.{extension}"))).unwrap();
    names
        .into_iter()
        .map(|name| {
            let schema = read(&name, "yml");
            let keys = schema
                .lines()
                .filter(|line| line.starts_with("    ") && !line.starts_with("     "));
            let keys: Vec<&str> = keys
                .filter_map(|line| line.trim_start().split_once(':'))
                .map(|(key, _)| key)
                .filter(|key| !key.starts_with('#'))
                .collect();
            let (paths, tables): (Vec<&str>, Vec<&str>) = keys.iter().partition(|key| key.contains('/'));
            let event: Value = serde_json::from_str(&read(&name, "json")).unwrap();
            assert_eq!(tables.len(), 1, "{name}");
            Example {
                paths: paths.into_iter().map(str::to_owned).collect(),
                table: tables[0].to_owned(),
                event: event.to_string(),
                name,
            }
        })
        .collect()
}

#[test]
fn each_example_takes_its_event_singly_and_in_bulk() {
    let database = Database::create("gallery");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let yesterday = database.query("SELECT yesterday()").trim().to_owned();
    let examples = examples();
    assert_eq!(examples.len(), 12);
    for example in &examples {
        let path = example.paths.iter().find(|path| path.starts_with("wh/")).unwrap();
        let (path, event) = (format!("/{path}"), example.event.replace(DAY, &yesterday));
        let answer = http::post_json(served.address, &path, &event);
        assert_eq!(answer.status, 200, "{}: {}", example.name, answer.text());
        let lines = format!("{event}\n{event}\n");
        let ndjson = [("Content-Type", "application/x-ndjson")];
        let answer = http::send(served.address, "POST", &path, &ndjson, lines.as_bytes());
        assert!(
            answer.text().contains(r#""recorded":2,"refused":0"#),
            "{}: {}",
            example.name,
            answer.text()
        );
    }
    served.drain();

    let bless = std::env::var_os("ROWMILL_BLESS").is_some_and(|value| value == "1");
    for Example { name, table, .. } in &examples {
        let row = database.query(&format!(
            "SELECT * EXCEPT ({}) FROM {table} LIMIT 1 FORMAT PrettyJSONEachRow \
             SETTINGS asterisk_include_materialized_columns = 1, asterisk_include_alias_columns = 1",
            OF_COLLECTOR
                .split(", ")
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ));
        let row = row.replace(&yesterday, DAY);
        let expected = root().join(format!("tests/it/gallery/{name}.json"));
        if bless {
            fs::write(&expected, &row).unwrap();
        }
        assert_eq!(row, fs::read_to_string(&expected).unwrap_or_default(), "{name}");
        // A ReplacingMergeTree keeps one row of an order.
        let (rows, last) = match table.as_str() {
            "orders" => (1, "FINAL"),
            _ => (3, ""),
        };
        let columns = "* EXCEPT (id, uid, timestamp, date, dateTime, received_at)";
        let found = database.query(&format!(
            "SELECT count(), uniqExact(toString(tuple({columns}))) FROM {table} {last}"
        ));
        assert_eq!(
            found,
            format!("{rows}\t1\n"),
            "{name}: rows, and different ones among them"
        );
    }
    assert_eq!(database.count("rejected"), 0);
}

#[test]
fn each_column_of_an_example_is_filled_by_its_event() {
    for example in examples() {
        let text = fs::read_to_string(root().join(format!("tests/it/gallery/{}.json", example.name))).unwrap();
        let row: BTreeMap<String, Value> = serde_json::from_str(text.trim()).unwrap();
        let is_empty = |value: &Value| match value {
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        // The first span of a trace has no parent, and this call had no error.
        let may_be_empty = ["parent", "status_message", "error", "link"];
        let empty: Vec<&String> = row
            .iter()
            .filter(|(column, value)| is_empty(value) && !may_be_empty.contains(&column.as_str()))
            .map(|(column, _)| column)
            .collect();
        assert!(empty.is_empty(), "{}: {empty:?}", example.name);
    }
}

#[test]
fn the_gallery_is_not_part_of_the_schema_above_it() {
    let output = collector::run(&["routes"]);
    let routes = String::from_utf8(output.stdout).unwrap();
    for path in examples().iter().flat_map(|example| &example.paths) {
        assert!(!routes.contains(path), "{path}: {routes}");
    }
}
