//! Each type family with the same table of edges: null, booleans, texts, numbers at the bounds of
//! all families, lists and objects, valid or not. The collector and ClickHouse's
//! `INSERT … FORMAT JSONEachRow` store the same value, or refuse it alike; a rule of
//! `docs/types.md` permits each difference.

mod rules;
mod values;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use embedder::tables;
use rowmill_ingest::{server::not_found, table::Table};
use tower::{Layer, service_fn};

use self::rules::{Case, RULES};
use crate::support::{engine::Database, http, service::Served};

/// The columns that hold a 0 without a name if ClickHouse stores null in an enum, which it cannot
/// print.
const ENUMS: &str = "CAST(Enum AS Int8) AS Enum, CAST(Enum8 AS Int8) AS Enum8, CAST(Enum16 AS Int16) AS Enum16";

/// The outcomes of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Only ClickHouse stores the value.
    Stricter,
    /// Only the collector stores the value.
    Kinder,
    /// Both store the value, and not the same one.
    Other,
}

#[test]
fn values_at_the_edges_are_stored_as_clickhouse_stores_them() {
    let database = Database::create("edges");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let values = values::values();
    let of_rows = ["Dynamic", "Geometry", "JSON", "QBit", "Variant"];
    let columns = |table: &'static Table, is_in: &dyn Fn(&str) -> bool| {
        let names = table.columns.iter().map(|column| column.name);
        let is_compared = |name: &&str| *name != "n" && !name.contains('.') && is_in(name);
        names.filter(is_compared).collect::<Vec<_>>()
    };
    let find = |name: &str| *tables::SCHEMA.tables.iter().find(|table| table.name == name).unwrap();
    let of_columns = columns(find("families_in_columns"), &|_| true);
    let of_rows = columns(find("families"), &|name| of_rows.contains(&name));

    let mut unknown = String::new();
    let mut used = BTreeSet::new();
    let mut cases = 0;
    for (table, route, columns, types) in [
        ("families_in_columns", "/wh/columns", of_columns, "0"),
        (
            "families",
            "/wh/families",
            of_rows,
            "dynamicType(Dynamic), variantType(Variant), variantType(Geometry)",
        ),
    ] {
        let pairs: Vec<_> = columns
            .iter()
            .flat_map(|column| values.iter().map(move |value| (*column, value)))
            .collect();
        database.query(&format!("CREATE TABLE twin_{table} AS {table} ENGINE = Memory"));
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        for (n, (column, value)) in pairs.iter().enumerate() {
            let mut event = format!("{{\"n\":{n},\"{column}\":").into_bytes();
            event.extend_from_slice(value);
            event.push(b'}');
            let json = [("Content-Type", "application/json")];
            let answer = http::send(served.address, "POST", route, &json, &event);
            match answer.status {
                200 => accepted.push(event),
                400 => refused.push(event),
                status => panic!(
                    "{status} {}: {column} {:?}",
                    answer.text(),
                    String::from_utf8_lossy(value)
                ),
            }
        }
        insert(&database, table, &accepted);
        insert(&database, table, &refused);
        database.wait_for_rows(table, accepted.len() as u64);
        let (ours, theirs) = (
            rows(&database, table, types),
            rows(&database, &format!("twin_{table}"), types),
        );
        assert_eq!(ours.len(), accepted.len());
        cases += pairs.len();
        for (n, (column, value)) in pairs.iter().enumerate() {
            let kind = match (ours.get(&n), theirs.get(&n)) {
                (Some(_), None) => Kind::Kinder,
                (None, Some(_)) => Kind::Stricter,
                (Some(ours), Some(theirs)) if ours != theirs => Kind::Other,
                _ => continue,
            };
            let value = String::from_utf8_lossy(value);
            let case = Case {
                column,
                value: &value,
                kind,
            };
            match RULES.iter().find(|rule| (rule.permits)(&case)) {
                Some(rule) => _ = used.insert(rule.name),
                None => {
                    let (ours, theirs) = (changed(&ours, n), changed(&theirs, n));
                    writeln!(
                        unknown,
                        "{kind:?} {column} {value:.80}\n    ours {ours:.200}\n    theirs {theirs:.200}"
                    )
                    .unwrap();
                }
            }
        }
    }
    served.drain();
    assert!(
        unknown.is_empty(),
        "{cases} cases; differences that no rule permits:\n{unknown}"
    );
    let unused: Vec<_> = RULES
        .iter()
        .map(|rule| rule.name)
        .filter(|name| !used.contains(name))
        .collect();
    assert!(unused.is_empty(), "rules that no value needs: {unused:?}");
    assert!(cases > 10_000, "{cases} cases");
}

/// Inserts the events that ClickHouse accepts. It skips events that it cannot parse. Any other error
/// refuses the whole INSERT, so each half is tried until the event is alone.
fn insert(database: &Database, table: &str, events: &[Vec<u8>]) {
    let mut statement = format!("INSERT INTO twin_{table} FORMAT JSONEachRow\n").into_bytes();
    statement.extend_from_slice(&events.join(&b'\n'));
    let target = format!("/?database={}&input_format_allow_errors_num=100000", database.name);
    if database.send("POST", &target, &statement).status != 200 && events.len() > 1 {
        let (front, back) = events.split_at(events.len() / 2);
        insert(database, table, front);
        insert(database, table, back);
    }
}

/// Returns the rows of a table by number.
fn rows(database: &Database, table: &str, types: &str) -> BTreeMap<usize, Vec<String>> {
    let sql = format!("SELECT * REPLACE ({ENUMS}), {types} FROM {table} FORMAT TSV");
    // A table of ClickHouse may have bytes that are not UTF-8.
    let answer = database.send("POST", &format!("/?database={}", database.name), sql.as_bytes());
    assert_eq!(answer.status, 200);
    let rows: String = answer.body.iter().map(|byte| char::from(*byte)).collect();
    let rows = rows.lines().map(|row| {
        let mut values = row.split('\t').map(str::to_owned);
        (values.next().unwrap().parse().unwrap(), values.collect())
    });
    rows.collect()
}

/// Returns the values of a row that are rare among all rows.
fn changed(rows: &BTreeMap<usize, Vec<String>>, n: usize) -> String {
    let Some(row) = rows.get(&n) else {
        return "refuses".to_owned();
    };
    let is_rare = |(index, value): &(usize, &String)| {
        rows.values().filter(|row| row.get(*index) == Some(*value)).count() < rows.len() / 2
    };
    let values: Vec<_> = row
        .iter()
        .enumerate()
        .filter(is_rare)
        .map(|(_, value)| value.as_str())
        .collect();
    values.join(" ")
}
