//! Rows of ClickHouse's `generateRandom` for each table of the gallery, and for tables of public
//! projects, sent singly and in bulk: the table and a twin that ClickHouse fills from the same values
//! differ in no row.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, thread, time::Duration};

use gallery::{public_tables, tables};
use rowmill_ingest::{
    server::not_found,
    table::{Column, ColumnKind, Schema, Table},
};
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, service::Served};

const ROWS: usize = 600;

/// The rows of a table whose route accepts ten events in a second.
const FEW_ROWS: usize = 20;

/// The number of tables of public projects.
const PUBLIC_TABLES: usize = 29;

/// The rows of a table of a public project, and those of the long run.
const PUBLIC_ROWS: usize = 200;
const MANY_PUBLIC_ROWS: usize = 10_000;

/// The part of the rows that are single events.
const SINGLE: usize = 6;

/// The columns that the collector fills.
const OF_COLLECTOR: [&str; 18] = [
    "id",
    "uid",
    "date",
    "dateTime",
    "timestamp",
    "channel",
    "projectId",
    "name",
    "service",
    "td_ip",
    "td_ua",
    "td_fpid",
    "td_ref",
    "td_extra.key",
    "td_extra.value",
    "received_at",
    "gateway",
    "client",
];

/// A column of a table, or a Nested.
struct Field {
    /// The names of the columns: one, or those of a Nested's elements.
    columns: Vec<&'static str>,
    /// The path of the value in an event.
    path: String,
    /// The type of the random values, and the expression that makes a value of the column of one of
    /// them, `x`.
    random: (String, String),
}

/// The path of each column in its event, from the lines of a schema.
fn paths(schema: &str) -> BTreeMap<String, String> {
    let mut paths = BTreeMap::new();
    let mut column = String::new();
    for line in schema.lines() {
        let text = line.trim_start();
        if line.len() - text.len() == 6 {
            column = text.split(':').next().unwrap_or_default().to_owned();
        }
        if let Some((_, path)) = text.split_once("from: ") {
            let path = path.trim_start_matches('[');
            let end = path.find([',', ']', ' ', '}']).unwrap_or(path.len());
            paths.insert(column.clone(), path[..end].to_owned());
        }
    }
    paths
}

/// Returns the type of the random values of a column, and the expression for its value.
fn random(column: &Column) -> (String, String) {
    let (data_type, value) = match column.data_type {
        // The schema refuses other times.
        text if ["measured_at", "happened_at"].contains(&column.name) => {
            let time = "now64(9) - toIntervalSecond(x % 1728000) - toIntervalNanosecond(x)";
            ("UInt32".to_owned(), format!("CAST({time}, '{text}')"))
        }
        // A ReplacingMergeTree keeps one row of each order.
        _ if column.name == "order" => ("UInt64".to_owned(), "toString(x)".to_owned()),
        // A collapsing and a replacing table accept two values.
        text if column.name == "sign" => ("UInt8".to_owned(), format!("CAST(if(x % 2 = 0, 1, -1), '{text}')")),
        text if column.name == "is_deleted" => ("UInt8".to_owned(), format!("CAST(x % 2, '{text}')")),
        // ClickHouse keeps unique elements in an order of its own.
        text if text.contains("(groupUniqArrayArray, Array(String))") => {
            ("Array(String)".to_owned(), "arraySlice(x, 1, 1)".to_owned())
        }
        // A text of random bytes is no JSON.
        text if text.contains("FixedString(") => {
            let length = text
                .split_once("FixedString(")
                .and_then(|(_, rest)| rest.split_once(')'));
            let length = length.map_or("1", |(length, _)| length);
            (
                "UInt64".to_owned(),
                format!("substring(repeat(hex(x), 8), 1, {length})"),
            )
        }
        json if json.starts_with("JSON") => ("Tuple(a UInt32, b String, c Array(Int16))".to_owned(), "x".to_owned()),
        other => (other.to_owned(), "x".to_owned()),
    };
    (data_type, value)
}

/// Returns the fields of a table's events. `of_collector` are the columns that no event fills.
fn fields(table: &'static Table, schema: &str, of_collector: &[&str]) -> Vec<Field> {
    let paths = paths(schema);
    let path = |name: &str| paths.get(name).cloned().unwrap_or_else(|| name.to_owned());
    let mut fields: Vec<Field> = Vec::new();
    let columns = table
        .columns
        .iter()
        .filter(|column| column.kind == ColumnKind::Plain || column.kind == ColumnKind::Default);
    // An extra has the keys without a column.
    let is_of_event = |column: &&Column| !of_collector.contains(&column.name) && !column.name.starts_with("extra.");
    for column in columns.filter(is_of_event) {
        let Some((nested, element)) = column.name.split_once('.') else {
            fields.push(Field {
                columns: vec![column.name],
                path: path(column.name),
                random: random(column),
            });
            continue;
        };
        let element_type = column
            .data_type
            .strip_prefix("Array(")
            .and_then(|rest| rest.strip_suffix(')'))
            .unwrap();
        let element = format!("{element} {element_type}");
        match fields
            .last_mut()
            .filter(|last| last.path == path(nested) && last.columns[0].contains('.'))
        {
            Some(last) => {
                last.columns.push(column.name);
                last.random
                    .0
                    .insert_str(last.random.0.len() - 2, &format!(", {element}"));
            }
            None => fields.push(Field {
                columns: vec![column.name],
                path: path(nested),
                random: (format!("Array(Tuple({element}))"), "x".to_owned()),
            }),
        }
    }
    fields
}

/// An object of JSON whose values are texts of JSON.
#[derive(Default)]
struct Object(BTreeMap<String, Member>);

enum Member {
    Value(String),
    Object(Object),
}

impl Object {
    /// Puts a value to a path. Where another column has the value around it, the value is lost.
    fn put(&mut self, path: &str, value: &str) {
        match path.split_once('.') {
            None => {
                self.0
                    .entry(path.to_owned())
                    .or_insert_with(|| Member::Value(value.to_owned()));
            }
            Some((first, rest)) => {
                let member = self.0.entry(first.to_owned());
                if let Member::Object(object) = member.or_insert_with(|| Member::Object(Self::default())) {
                    object.put(rest, value);
                }
            }
        }
    }

    fn text(&self) -> String {
        let members = self.0.iter().map(|(key, member)| match member {
            Member::Value(value) => format!("\"{key}\":{value}"),
            Member::Object(object) => format!("\"{key}\":{}", object.text()),
        });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

/// Returns events and the same rows for ClickHouse, one on each line.
fn rows(database: &Database, fields: &[Field], rows: usize, seed: usize) -> (Vec<String>, Vec<String>) {
    let structure: Vec<String> = fields
        .iter()
        .enumerate()
        .map(|(n, field)| format!("r{n} {}", field.random.0))
        .collect();
    let mut values = Vec::new();
    for (n, field) in fields.iter().enumerate() {
        let value = format!(
            "ifNull(toJSONString(arrayMap(x -> ({}), [r{n}])[1]), 'null')",
            field.random.1
        );
        values.push(value);
        if field.columns.len() > 1 || field.columns[0].contains('.') {
            let elements = 1..=field.columns.len();
            values.extend(elements.map(|element| format!("toJSONString(arrayMap(x -> x.{element}, r{n}))")));
        }
    }
    let random = database.query(&format!(
        "SELECT {} FROM generateRandom('{}', {seed}, 12, 4) LIMIT {rows} FORMAT TSVRaw \
         SETTINGS output_format_json_quote_64bit_integers = 0, output_format_json_quote_decimals = 0",
        values.join(", "),
        structure.join(", ").replace('\\', "\\\\").replace('\'', "\\'")
    ));
    random
        .lines()
        .map(|line| {
            let (mut event, mut row) = (Object::default(), String::new());
            let mut values = line.split('\t');
            let mut next = || values.next().unwrap();
            for field in fields {
                let value = next();
                event.put(&field.path, value);
                let is_nested = field.columns[0].contains('.');
                for column in &field.columns {
                    let value = if is_nested { next() } else { value };
                    write!(row, "{}\"{column}\":{value}", if row.is_empty() { "" } else { "," }).unwrap();
                }
            }
            (event.text(), format!("{{{row}}}"))
        })
        .unzip()
}

/// Sends a request again while its route takes no more events.
fn send(served: &Served, path: &str, content_type: &str, body: &str) {
    loop {
        let answer = http::send(
            served.address,
            "POST",
            path,
            &[("Content-Type", content_type)],
            body.as_bytes(),
        );
        if answer.status != 429 {
            let is_taken = answer.status == 200 && !answer.text().contains(r#""refused":1"#);
            assert!(is_taken, "{path}: {} {}: {body}", answer.status, answer.text());
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// A table that is compared with its twin.
struct Compared {
    name: &'static str,
    /// The columns with values of events, as a list of SQL.
    columns: String,
    rows: usize,
}

/// Sends random events to a route, and gives the same values to a twin of its table.
fn fill(
    database: &Database,
    served: &Served,
    path: &str,
    table: &'static Table,
    fields: &[Field],
    rows: usize,
) -> Compared {
    let name = table.name;
    let columns: Vec<String> = fields
        .iter()
        .flat_map(|field| &field.columns)
        .map(|column| format!("`{column}`"))
        .collect();
    let columns = columns.join(", ");
    database.query(&format!("CREATE TABLE twin_{name} AS {name} ENGINE = Memory"));
    let (events, twins) = self::rows(database, fields, rows, name.len());
    let (single, bulk) = events.split_at(rows / SINGLE);
    for event in single {
        send(served, &format!("/{path}"), "application/json", event);
    }
    for lines in bulk.chunks(if rows == FEW_ROWS { 5 } else { 100 }) {
        send(served, &format!("/{path}"), "application/x-ndjson", &lines.join("\n"));
    }
    let twins = twins.join("\n");
    database.query(&format!(
        "INSERT INTO twin_{name} ({columns}) FORMAT JSONEachRow\n{twins}"
    ));
    Compared { name, columns, rows }
}

/// Asserts that a table and its twin have the same rows.
fn assert_equal(database: &Database, Compared { name, columns, rows }: &Compared) {
    let twin = format!("twin_{name}");
    for table in [*name, &twin] {
        assert_eq!(database.count(table), u64::try_from(*rows).unwrap(), "{table}");
    }
    let select = |from: &str| format!("SELECT toString(tuple({columns})) AS row FROM {from}");
    for (ours, theirs) in [(*name, twin.as_str()), (&twin, name)] {
        let difference = format!("{} EXCEPT {}", select(ours), select(theirs));
        let differing = database.query(&format!("SELECT count(), any(row) FROM ({difference})"));
        assert!(
            differing.starts_with("0\t"),
            "{ours} has rows that {theirs} lacks: {differing}"
        );
    }
}

/// Returns the table of a schema with this name.
fn table(schema: &'static Schema, name: &str) -> &'static Table {
    schema.tables.iter().find(|table| table.name == name).unwrap()
}

#[test]
fn generated_rows_of_the_gallery_are_stored_as_clickhouse_stores_them() {
    let database = Database::create("generated_rows");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/gallery");
    let mut compared = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "yml") {
            continue;
        }
        let schema = fs::read_to_string(&file).unwrap();
        let key = |line: &&str| line.starts_with("    ") && !line.starts_with("     ") && !line.trim().starts_with('#');
        let keys: Vec<&str> = schema
            .lines()
            .filter(key)
            .filter_map(|line| line.trim().split_once(':'))
            .map(|(key, _)| key)
            .collect();
        let path = keys.iter().find(|key| key.starts_with("wh/")).unwrap();
        let name = keys.iter().find(|key| !key.contains('/')).unwrap();
        let table = table(&tables::SCHEMA, name);
        let fields = fields(table, &schema, &OF_COLLECTOR);
        // Random times are old, and a table removes old rows.
        if schema.contains(" ttl:") {
            database.query(&format!("ALTER TABLE {name} REMOVE TTL"));
        }
        let rows = if schema.contains("rate_limit: 10/s") {
            FEW_ROWS
        } else {
            ROWS
        };
        compared.push(fill(&database, &served, path, table, &fields, rows));
    }
    served.drain();
    assert_eq!(compared.len(), 12);
    for compared in &compared {
        assert_equal(&database, compared);
    }
    assert_eq!(database.count("rejected"), 0);
}

/// Compares the tables of public projects with their twins, each with this number of rows.
fn compare_public_tables(database: &str, rows: usize) {
    let database = Database::create(database);
    let served = Served::start(&database, &public_tables::SCHEMA, |writer| {
        public_tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let compared = public_tables::SCHEMA.tables.iter().map(|table| {
        // Every column is the event's own, under its own name.
        let fields = fields(table, "", &[]);
        fill(&database, &served, &format!("wh/{}", table.name), table, &fields, rows)
    });
    let compared: Vec<_> = compared.collect();
    served.drain();
    assert_eq!(compared.len(), PUBLIC_TABLES);
    for compared in &compared {
        assert_equal(&database, compared);
    }
    assert_eq!(database.count("rejected"), 0);
}

#[test]
fn generated_rows_of_public_tables_are_stored_as_clickhouse_stores_them() {
    compare_public_tables("generated_public_rows", PUBLIC_ROWS);
}

#[test]
#[ignore = "takes minutes"]
fn many_generated_rows_of_public_tables_are_stored_as_clickhouse_stores_them() {
    compare_public_tables("many_generated_public_rows", MANY_PUBLIC_ROWS);
}
