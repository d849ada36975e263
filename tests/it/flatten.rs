//! Compares the program's flattening with the recorded flattening of the original, row by row.
//!
//! A recording contains an event, and the row that the original made of it for an insert in
//! `FORMAT JSONEachRow`. The test posts the event, inserts the recorded row into a table with the
//! same columns, and compares the two rows in ClickHouse. [`DEVIATIONS`] lists the intended
//! differences. A difference that is missing in the list fails the test, and so does an outdated
//! entry.

use std::collections::BTreeMap;

use embedder::tables;
use rowmill_ingest::server::not_found;
use serde_json::Value;
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, service::Served};

const RECORDED: &str = include_str!("../golden/05_flatten.txt");

/// The recording of a table without an extra at its root.
const WITHOUT_ROOT: &str = "no root extra (events-like)";

/// The columns of `flattened` that an event fills; the collector fills the others.
const COLUMNS: &str = "event, email, n, a_b, a_b_c, arr, data_x, extra.key, extra.value, data_extra.key, data_extra.value, \
     td_extra.key, td_extra.value";

/// A recording whose row intentionally differs.
struct Deviation {
    recording: &'static str,
    /// The differing columns with the program's values.
    row: &'static str,
    reason: &'static str,
}

const DEVIATIONS: [Deviation; 5] = [
    Deviation {
        recording: "bool in column",
        row: r#"{"event":"true"}"#,
        reason: "the original stored each boolean as a number; a text keeps the sent value, as ClickHouse's JSONEachRow does",
    },
    Deviation {
        recording: "arrays in column",
        row: r#"{"arr":["a","1","true","","{\"k\":1}","[2,3]"]}"#,
        reason: "the same for the elements of an array; a null there is the type's default, as in a column, and not the text `null`",
    },
    Deviation {
        recording: "td",
        row: r#"{"td_extra.key":[],"td_extra.value":[],
                  "extra.key":["td_ip","td_ua","td_host","td_zz_a"],"extra.value":["1.1.1.1","U","h","1"]}"#,
        reason: "the collector fills the td columns; a client's fields under td go to the extra of the root",
    },
    Deviation {
        recording: "user sends td_extra.key w/out td",
        row: r#"{"td_extra.key":[],"td_extra.value":[]}"#,
        reason: "the same for the arrays of td_extra, whose lengths would otherwise be unequal",
    },
    Deviation {
        recording: "prototype names",
        row: r#"{"extra.key":["constructor","toString","__proto__x","hasOwnProperty_a","valueOf"],
                  "extra.value":["x","y","1","1","1"]}"#,
        reason: "the original mistook property names of JavaScript objects for columns, and lost their values",
    },
];

type Row = serde_json::Map<String, Value>;

/// One recorded event.
struct Recording {
    name: &'static str,
    event: &'static str,
    row: &'static str,
}

/// Returns the recordings of the file, three lines each. Skips entries of any other form, which
/// recorded other things.
fn recordings() -> Vec<Recording> {
    let lines: Vec<&str> = RECORDED.lines().collect();
    let recordings = lines.windows(3).filter_map(|lines| {
        Some(Recording {
            name: lines[0],
            event: lines[1].strip_prefix("   in  ")?,
            row: lines[2].strip_prefix("   out ")?,
        })
    });
    recordings.collect()
}

/// Inserts the number of a recording before the fields of an object.
fn with_number(recording: usize, object: &str) -> String {
    object.replacen('{', &format!("{{\"recording\":{recording},"), 1)
}

/// Returns columns of rows as ClickHouse prints them, by the number of the recording.
fn rows(database: &Database, columns: &str, table: &str) -> BTreeMap<usize, Row> {
    let rows = database.query(&format!("SELECT recording, {columns} FROM {table} FORMAT JSONEachRow"));
    let rows = rows.lines().map(|row| {
        let mut row: Row = serde_json::from_str(row).unwrap();
        let recording = row.remove("recording").unwrap();
        (recording.as_u64().unwrap() as usize, row)
    });
    rows.collect()
}

fn start(test: &str) -> (Database, Served) {
    let database = Database::create(test);
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    (database, served)
}

#[test]
fn recorded_events_become_the_recorded_rows() {
    let (database, served) = start("flatten");
    for table in ["flattened", "flattened_without_root"] {
        database.query(&format!("CREATE TABLE {table}_recorded AS {table} ENGINE = Memory"));
    }
    let recordings = recordings();
    assert_eq!(recordings.len(), 23);
    let table_of = |recording: &Recording| match recording.name {
        WITHOUT_ROOT => ("flattened_without_root", "/wh/rootless"),
        _ => ("flattened", "/wh/flatten"),
    };
    for (number, recording) in recordings.iter().enumerate() {
        let (table, target) = table_of(recording);
        let answer = http::post_json(served.address, target, &with_number(number, recording.event));
        let row = with_number(number, recording.row);
        let inserted = database.try_query(&format!("INSERT INTO {table}_recorded FORMAT JSONEachRow {row}"));
        assert_eq!(
            answer.status == 200,
            inserted.is_ok(),
            "{}: {}, {inserted:?}",
            recording.name,
            answer.text()
        );
    }
    served.drain();

    let rootless = "event, data_extra.key, data_extra.value";
    let [mut ours, mut theirs] = ["", "_recorded"].map(|kind| rows(&database, COLUMNS, &format!("flattened{kind}")));
    ours.extend(rows(&database, rootless, "flattened_without_root"));
    theirs.extend(rows(&database, rootless, "flattened_without_root_recorded"));
    let mut wrong = Vec::new();
    for (number, recording) in recordings.iter().enumerate() {
        let (Some(our), Some(their)) = (ours.get(&number), theirs.get(&number)) else {
            continue;
        };
        let mut differing = our.clone();
        differing.retain(|column, value| their[column] != *value);
        let deviation = DEVIATIONS
            .iter()
            .find(|deviation| deviation.recording == recording.name);
        let expected: Row = deviation
            .map(|deviation| serde_json::from_str(deviation.row).unwrap())
            .unwrap_or_default();
        if differing != expected {
            let reason = deviation.map_or("not expected", |deviation| deviation.reason);
            wrong.push(format!("{}: {} ({reason})", recording.name, Value::Object(differing)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // All but one recording, whose text is not a number.
    assert_eq!((ours.len(), theirs.len()), (recordings.len() - 1, recordings.len() - 1));
    for deviation in &DEVIATIONS {
        assert!(
            recordings.iter().any(|recording| recording.name == deviation.recording),
            "{}",
            deviation.recording
        );
    }
}

#[test]
fn a_client_cannot_set_the_td_columns() {
    let (database, served) = start("td");
    let event = r#"{"td":{"ip":"1.1.1.1"},"td_ip":"2.2.2.2","td_ua":"me","td_extra":{"key":"k"},"recording":1}"#;
    let headers = [("Content-Type", "application/json"), ("User-Agent", "agent")];
    let answer = http::send(served.address, "POST", "/wh/flatten", &headers, event.as_bytes());
    assert_eq!(answer.status, 200);
    served.drain();
    // This service does not set the addresses of its peers.
    assert_eq!(
        database.query("SELECT td_ip, td_ua, td_extra.key, extra.key, extra.value FROM flattened"),
        "0.0.0.0\tagent\t[]\t['td_ip','td_ip','td_ua','td_extra_key']\t['1.1.1.1','2.2.2.2','me','k']\n"
    );
}
