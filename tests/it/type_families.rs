//! Every type family of the engine: a column of the family accepts the values that ClickHouse
//! accepts, or the build refuses it with a reason.
//!
//! The list of families is the engine's `system.data_type_families`. The embedder's table
//! `families` has a column for each supported family, with the family's name. A thousand random
//! rows go to the collector and to an INSERT in ClickHouse, and the two tables must be equal.

mod page;
mod variants;

use std::collections::{BTreeMap, BTreeSet};

use embedder::tables;
use rowmill_codegen::{Generated, generate_texts};
use rowmill_ingest::{server::not_found, table::Table};
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, proxy::Proxy, service::Served};

/// The number of random rows.
pub const ROWS: usize = 1_000;

/// The families whose tables are sent row by row.
const SENT_IN_ROWS: [&str; 5] = ["Dynamic", "Geometry", "JSON", "QBit", "Variant"];

/// The families that the build refuses: a type of the family, the code of the report, and a part of
/// its text.
const REFUSED: [(&str, &str, &str, &str); 2] = [
    (
        "AggregateFunction",
        "AggregateFunction(sum, UInt64)",
        "aggregate-state",
        "only ClickHouse can create its values, which are states",
    ),
    (
        "Nothing",
        "Nothing",
        "type-not-storable",
        "a table cannot contain the type `Nothing`",
    ),
];

/// Random values of the types that `generateRandom` does not support, or for which it returns bytes
/// that are not UTF-8. `{k}` is a different number in each row and column, from all of `UInt64`.
const RANDOM: &[(&str, &str)] = &[
    ("BFloat16", "toBFloat16(toInt64({k}) / 1e9)"),
    (
        "Dynamic",
        "multiIf({k} % 12 = 0, {k}::Dynamic, {k} % 12 = 1, toInt64({k})::Dynamic, {k} % 12 = 2, ({k} / 7)::Dynamic, \
         {k} % 12 = 3, hex({k})::Dynamic, {k} % 12 = 4, toDate({k} % 65536)::Dynamic, {k} % 12 = 5, toDateTime({k} % 4294967296)::Dynamic, \
         {k} % 12 = 6, fromUnixTimestamp64Nano(toInt64({k}) % 9000000000000000000)::Dynamic, {k} % 12 = 7, ({k} % 24 = 7)::Bool::Dynamic, \
         {k} % 12 = 8, [toInt64({k}), NULL, 5]::Dynamic, {k} % 12 = 9, [[{k} / 7], []]::Dynamic, \
         {k} % 12 = 10, [toInt64({k})::Dynamic, hex({k})::Dynamic, [true]::Dynamic]::Dynamic, \
         CAST((toInt64({k}), ['x']), 'Tuple(b Int64, a Array(String))')::Dynamic)",
    ),
    ("FixedString", "toFixedString(substring(hex({k}), 1, 9), 9)"),
    (
        "Geometry",
        "multiIf({k} % 5 = 0, NULL::Geometry, {k} % 5 = 1, ({k} / 7, {k} / 3)::Point::Geometry, \
         {k} % 5 = 2, [({k} / 7, 1.5)]::LineString::Geometry, {k} % 5 = 3, [[({k} / 7, 1.5)], []]::Polygon::Geometry, \
         [[[({k} / 7, 1.5)]]]::MultiPolygon::Geometry)",
    ),
    (
        "JSON",
        r#"CAST(concat('{"a":', toUInt32({k}), ',"b":{"c":[', {k}, ',null,"', hex({k}), '"],"d":', {k} / 7, '}}') AS JSON(a UInt32))"#,
    ),
    ("QBit", "CAST([{k} / 7, -1.5, 0, {k} / 3]::Array(Float32) AS {type})"),
    ("Time", "CAST(toInt32({k} % 7199999) - 3599999 AS Time)"),
    (
        "Time64",
        "CAST((toInt64({k} % 7199999999) - 3599999999) / 1000 AS Time64(3))",
    ),
    (
        "Variant",
        "multiIf({k} % 9 = 0, NULL::{type}, {k} % 9 = 1, [{k} / 7]::{type}, {k} % 9 = 2, ({k} % 2 = 0)::Bool::{type}, \
         {k} % 9 = 3, toDate({k} % 65536)::{type}, {k} % 9 = 4, toIPv6(concat('::', hex({k} % 65536)))::{type}, \
         {k} % 9 = 5, map(hex({k}), ({k} % 256)::UInt8)::{type}, {k} % 9 = 6, hex({k})::{type}, {k} % 9 = 7, {k}::{type}, \
         generateUUIDv4(n)::{type})",
    ),
];
/// The expression for all families whose names begin with `Interval`.
const RANDOM_INTERVAL: &str = "CAST(toInt64({k}) AS {type})";

/// A row of `system.data_type_families`.
struct Family {
    name: String,
    is_case_insensitive: bool,
    /// Empty for a family that is not an alias.
    alias_to: String,
}

fn families(database: &Database) -> Vec<Family> {
    let rows = database.query("SELECT name, case_insensitive, alias_to FROM system.data_type_families ORDER BY name");
    let family = |row: &str| {
        let mut cells = row.split('\t').map(str::to_owned);
        Family {
            name: cells.next().unwrap(),
            is_case_insensitive: cells.next().unwrap() == "1",
            alias_to: cells.next().unwrap(),
        }
    };
    rows.lines().map(family).collect()
}

/// Returns the supported families, each with its type in the embedder's schema.
fn supported() -> BTreeMap<String, String> {
    let schema = include_str!("../embedder/schemas/families.yml");
    let columns = schema.lines().skip_while(|line| line.trim() != "n: UInt64").skip(1);
    let columns = columns.filter_map(|line| line.trim().split_once(": "));
    columns
        .filter(|(name, _)| *name != "_options")
        .map(|(name, ty)| (name.to_owned(), ty.to_owned()))
        .collect()
}

/// Generates the code for a table with a column of a type.
fn generated(ty: &str) -> Generated {
    let schema = format!(
        "clickhouse:\n  destinations: {{ a/b: t }}\n  tables:\n    t:\n      n: UInt8\n      c: {}\n      _options: {{ engine: Memory }}\n",
        serde_json::Value::from(ty)
    );
    generate_texts([("schema.yml", schema)])
}

/// Returns the statement that creates a table with a column of a type.
///
/// # Errors
/// The report of the build.
fn built(ty: &str) -> Result<String, String> {
    let mut generated = generated(ty);
    match generated.problems.errors.as_slice() {
        [] => Ok(generated.statements.remove(0)),
        [problem, ..] => Err(problem.text.clone()),
    }
}

/// Returns the text after the family's name in a type.
fn arguments<'t>(family: &str, ty: &'t str) -> &'t str {
    match ty.strip_prefix(family) {
        Some(arguments) if arguments.is_empty() || arguments.starts_with('(') => arguments,
        _ => panic!("`{ty}` is not a type of the family {family}"),
    }
}

#[test]
fn each_family_is_supported_or_refused_with_a_reason() {
    let database = Database::create("families_known");
    let supported = supported();
    let mut unknown = Vec::new();
    let mut names = BTreeSet::new();
    for family in families(&database) {
        let name = if family.alias_to.is_empty() {
            &family.name
        } else {
            &family.alias_to
        };
        names.insert(name.clone());
        let mut spellings = vec![family.name.clone()];
        if family.is_case_insensitive {
            spellings.extend([family.name.to_lowercase(), family.name.to_uppercase()]);
        }
        if let Some(ty) = supported.get(name) {
            let arguments = arguments(name, ty);
            let expected = built(ty).unwrap();
            for spelling in spellings {
                let is = built(&format!("{spelling}{arguments}"));
                if is.as_ref() != Ok(&expected) {
                    unknown.push(format!("{spelling}: {is:?}"));
                }
            }
        } else if let Some((_, ty, code, reason)) = REFUSED.iter().find(|(refused, ..)| refused == name) {
            let arguments = arguments(name, ty);
            for spelling in spellings {
                let report = built(&format!("{spelling}{arguments}")).unwrap_err();
                if !report.contains(&format!("error[{code}]")) || !report.contains(reason) {
                    unknown.push(format!("{spelling}: {report}"));
                }
            }
        } else {
            unknown.push(format!("{name}: neither supported nor refused"));
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    let listed = supported.into_keys().chain(REFUSED.map(|(name, ..)| name.to_owned()));
    let gone: Vec<String> = listed.filter(|name| !names.contains(name)).collect();
    assert!(gone.is_empty(), "the engine no longer has them: {gone:?}");
}

/// Returns the events, one row per line as ClickHouse writes it.
pub fn random_events(database: &Database) -> String {
    let (mut structure, mut computed) = (Vec::new(), Vec::new());
    for (index, (name, ty)) in supported().iter().enumerate() {
        let own = RANDOM
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, expression)| *expression);
        match own.or_else(|| name.starts_with("Interval").then_some(RANDOM_INTERVAL)) {
            None => structure.push(format!("`{name}` {ty}")),
            Some(expression) => {
                let expression = expression
                    .replace("{k}", &format!("sipHash64(n, {index})"))
                    .replace("{type}", ty);
                computed.push(format!("{expression} AS `{name}`"));
            }
        }
    }
    let structure = structure.join(", ").replace('\'', "\\'");
    database.query(&format!(
        "CREATE TABLE random ENGINE = Memory AS \
         SELECT toUInt64(rowNumberInAllBlocks()) AS n, *, {} FROM (SELECT * FROM generateRandom('{structure}', 1, 20, 4) LIMIT {ROWS}) \
         SETTINGS max_threads = 1",
        computed.join(", "),
    ));
    database.query("SELECT * FROM random ORDER BY n FORMAT JSONEachRow SETTINGS output_format_json_quote_denormals = 1")
}

#[test]
fn random_values_of_each_family_are_what_clickhouse_stores() {
    let database = Database::create("families");
    let proxy = Proxy::start(database.engine);
    let served = Served::start_through(&proxy, &database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let events = random_events(&database);
    database.query("CREATE TABLE twin AS families");
    let inserted = database.try_query(&format!("INSERT INTO twin FORMAT JSONEachRow {events}"));
    inserted.unwrap_or_else(|error| panic!("{error}"));
    for event in events.lines() {
        // The same values are sent once by row and once by column.
        for path in ["/wh/families", "/wh/columns"] {
            let answer = http::post_json(served.address, path, event);
            assert_eq!(answer.status, 200, "{}: {event}", answer.text());
        }
    }
    served.drain();
    for (table, format) in [
        (&tables::families::TABLE, "RowBinary"),
        (&tables::families_in_columns::TABLE, "Native"),
    ] {
        assert_equals_twin(&database, table, "twin", ROWS);
        assert!(
            proxy.formats(table.name).iter().eq([format]),
            "{:?}",
            proxy.formats(table.name)
        );
    }
}

/// Checks that a table has this many rows, each with the values of the row with the same number in
/// `twin`.
pub fn assert_equals_twin(database: &Database, table: &Table, twin: &str, rows: usize) {
    assert_eq!(database.count(table.name), rows as u64);
    // Values are compared bit by bit, because their texts may hide differences. The bytes of a JSON
    // depend on its neighbours in the block.
    for column in table.columns {
        let name = column.name;
        let compared = |table: &str| match name {
            "JSON" => format!("({table}.JSON::String, JSONAllPathsWithTypes({table}.JSON))"),
            "Dynamic" => format!("(toString({table}.Dynamic), dynamicType({table}.Dynamic))"),
            "Geometry" | "Variant" => format!("(toString({table}.{name}), variantType({table}.{name}))"),
            "QBit" => format!("toString({table}.QBit)"),
            _ => format!("{table}.`{name}`"),
        };
        let (ours, theirs) = (compared("ours"), compared("theirs"));
        let differing = database.query(&format!(
            "SELECT count(), any(toString({ours})), any(toString({theirs})) FROM {} AS ours JOIN {twin} AS theirs USING n \
             WHERE sipHash128({ours}) != sipHash128({theirs})",
            table.name
        ));
        assert!(differing.starts_with("0\t"), "{} {name}: {differing}", table.name);
        let distinct = database.query(&format!("SELECT uniqExact({ours}) FROM {} AS ours", table.name));
        assert!(
            distinct.trim().parse::<usize>().unwrap() > 1,
            "{name} has one value only"
        );
    }
}

#[test]
fn all_families_except_some_are_sent_in_columns() {
    let columns = tables::families::TABLE.columns.iter();
    let in_rows: Vec<&str> = columns
        .filter(|column| column.shape.is_none())
        .map(|column| column.name)
        .collect();
    assert_eq!(in_rows, SENT_IN_ROWS);
    let columns = tables::families_in_columns::TABLE.columns;
    assert!(columns.iter().all(|column| column.shape.is_some()));
    // A Nested becomes two columns.
    assert_eq!(columns.len() + SENT_IN_ROWS.len(), supported().len() + 2);
}
