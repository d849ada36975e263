//! ClickHouse as the oracle: the collector stores a value as `INSERT … FORMAT JSONEachRow` does.
//!
//! Each case goes to both: over HTTP into the table `types`, and by an INSERT into `twin`, a table
//! with the same columns. If both accept it, the rows are equal byte for byte; otherwise both
//! refuse it. `differences.txt` lists the intended differences with their reasons. A difference
//! that is missing in the file fails the test, and so does an outdated entry.

mod cases;
mod defaults;
mod differences;
mod random_rows;
mod rows_read_back;

use std::collections::BTreeMap;

use embedder::tables;
use rowmill_ingest::server::not_found;
use tower::{Layer, service_fn};

use self::differences::{Difference, listed};
use crate::support::{engine::Database, http, proxy::Proxy, service::Served};

/// Rows as ClickHouse prints them, by number.
type Rows = BTreeMap<usize, Vec<String>>;

/// The replacements of columns for the comparison. Enums are compared as numbers: if the value of
/// an enum is null or missing in a tuple, ClickHouse stores a 0 without a name, and then cannot
/// print it.
const AS_NUMBERS: &str = "CAST(c_enum8 AS Int8) AS c_enum8, CAST(c_enum16 AS Int16) AS c_enum16, \
     CAST(c_arr_tuple AS Array(Tuple(id UInt32, kind Int8))) AS c_arr_tuple";

/// The layers of the embedder's tables, and a copy of its table `types`.
struct Both {
    database: Database,
    served: Served,
    proxy: Proxy,
}

impl Both {
    fn start(test: &str) -> Self {
        let database = Database::create(test);
        let proxy = Proxy::start(database.engine);
        let served = Served::start_through(&proxy, &database, &tables::SCHEMA, |writer| {
            tables::layer(writer).unwrap().layer(service_fn(not_found))
        });
        database.query("CREATE TABLE twin AS types ENGINE = Memory");
        Self {
            database,
            served,
            proxy,
        }
    }

    /// Posts an event.
    ///
    /// # Errors
    /// The answer, if the collector refuses the event.
    fn post(&self, event: &str) -> Result<(), String> {
        let answer = http::post_json(self.served.address, "/wh/types", event);
        match answer.status {
            200 => Ok(()),
            400 => Err(answer.text().to_owned()),
            status => panic!("{status} {}: {event}", answer.text()),
        }
    }

    fn rows(&self, table: &str) -> Rows {
        let rows = self
            .database
            .query(&format!("SELECT * REPLACE ({AS_NUMBERS}) FROM {table} FORMAT TSV"));
        let rows = rows.lines().map(|row| {
            let (n, row) = row.split_once('\t').unwrap();
            (n.parse().unwrap(), row.split('\t').map(str::to_owned).collect())
        });
        rows.collect()
    }
}

/// Inserts the events that ClickHouse accepts.
fn insert_each(database: &Database, into: &str, events: &[&str]) {
    let sql = format!("INSERT INTO {into} FORMAT JSONEachRow\n{}", events.join("\n"));
    if database.try_query(&sql).is_err() && events.len() > 1 {
        // An INSERT is all or nothing, so each half is tried until a bad event is alone.
        let (front, back) = events.split_at(events.len() / 2);
        insert_each(database, into, front);
        insert_each(database, into, back);
    }
}

#[test]
fn values_are_stored_as_clickhouse_stores_them() {
    let both = Both::start("differential");
    let mut cases = cases::all();
    let differences = listed();
    for fields in differences.keys() {
        assert!(cases.contains(fields), "a difference without a case: {fields}");
    }
    // An event without values shows the defaults.
    let nothing = cases.len();
    cases.push("\"nothing\":0".to_owned());

    let events: Vec<String> = (0..)
        .zip(&cases)
        .map(|(n, fields): (usize, _)| format!("{{\"n\":{n},{fields}}}"))
        .collect();
    let (accepted, refused): (Vec<_>, Vec<_>) = events
        .iter()
        .map(String::as_str)
        .partition(|event| both.post(event).is_ok());
    both.served.drain();
    insert_each(&both.database, "twin", &accepted);
    // One by one, because ClickHouse refuses nearly all of them.
    for event in &refused {
        insert_each(&both.database, "twin", &[event]);
    }

    let (ours, theirs) = (both.rows("types"), both.rows("twin"));
    assert_eq!(ours.len(), accepted.len(), "each accepted event is a row");
    assert!(both.proxy.formats("types").iter().eq(["Native"]));
    assert!(cases.len() > 2_000, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for (n, fields) in cases.iter().enumerate() {
        let stored = |row: &Vec<String>| changed(row, &ours[&nothing]);
        let difference = match (ours.get(&n), theirs.get(&n)) {
            (None, None) => None,
            (None, Some(_)) => Some(Difference::Stricter),
            (Some(row), None) => Some(Difference::Kinder(stored(row))),
            (Some(row), Some(their)) => (row != their).then(|| Difference::Other(stored(row))),
        };
        let expected = differences.get(fields);
        if difference.as_ref() != expected {
            let their = theirs.get(&n).map(stored);
            wrong.push(format!(
                "{fields:.200}: expected {expected:?}, is {difference:?}, ClickHouse has {their:?}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn random_rows_are_stored_as_clickhouse_stores_them() {
    const ROWS: usize = 2_000;
    let both = Both::start("random_rows");
    let events: Vec<String> = random_rows::events().take(ROWS).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    for event in &events {
        both.post(event).unwrap_or_else(|refusal| panic!("{refusal}: {event}"));
    }
    both.served.drain();
    insert_each(&both.database, "twin", &events);
    let (ours, theirs) = (both.rows("types"), both.rows("twin"));
    assert_eq!((ours.len(), theirs.len()), (ROWS, ROWS));
    assert!(both.proxy.formats("types").iter().eq(["Native"]));
    for (n, row) in &ours {
        for ((column, our), their) in cases::columns().zip(row).zip(&theirs[n]) {
            assert_eq!(our, their, "column {column} of {}", events[*n]);
        }
    }
}

/// Returns the values of a row that differ from those of an event without values.
fn changed(row: &[String], nothing: &[String]) -> String {
    let values = row.iter().zip(nothing).filter(|(value, default)| value != default);
    let values: Vec<&str> = values.map(|(value, _)| value.as_str()).collect();
    if values.is_empty() {
        "default".to_owned()
    } else {
        values.join(" ")
    }
}
