//! Partition keys: the checker warns of exactly those that events can give many values.

use rowmill_codegen::generate_texts;

use super::quoted;
use crate::support::engine::Database;

/// A key of at most this many values has no warning.
const FEW: u64 = 256;

/// Values that give the keys without a limit more partitions than [`FEW`].
const MANY: u64 = 600;

/// The number of values that are inserted, to see that a key's values are the partitions.
const INSERTED: u64 = 30;

/// A column's type, an expression of `number` for its values, and partition keys over the column.
const CASES: [(&str, &str, &[&str]); 7] = [
    (
        "String",
        "toString(number)",
        &[
            "c",
            "lower(c)",
            "(empty(c), c)",
            "cityHash64(c)",
            "cityHash64(c) % 16",
            "modulo(cityHash64(c), 256)",
            "cityHash64(c) % 1000",
            "toString(cityHash64(c) % 16)",
            "(cityHash64(c) % 16, c)",
            "empty(c)",
            "length(c) % 5",
        ],
    ),
    (
        "DateTime64(3)",
        "toDateTime64(number * 1000000, 3)",
        &[
            "toDate(c)",
            "toYYYYMMDD(c)",
            "toMonday(c)",
            "toMonth(c)",
            "toDayOfWeek(c)",
            "toYear(c)",
            "toHour(c)",
        ],
    ),
    (
        "UInt64",
        "number",
        &[
            "c",
            "intDiv(c, 2)",
            "c % 16",
            "(c + 1) % 16",
            "c + 1 % 16",
            "bitXor(c, 1)",
        ],
    ),
    ("UInt8", "number", &["c", "toString(c)", "(c, c)"]),
    ("Bool", "number % 2", &["c"]),
    ("Enum8('a' = 0, 'b' = 1)", "number % 2", &["c", "toString(c)"]),
    ("LowCardinality(String)", "toString(number)", &["c"]),
];

#[test]
fn the_checker_warns_of_partition_keys_with_many_values() {
    let database = Database::create("partitions");
    for (ty, values, keys) in CASES {
        for key in keys {
            let yaml = format!(
                "clickhouse:\n  destinations: {{ a/b: t }}\n  tables:\n    t:\n      id: UInt64\n      c: {}\n      \
                 _options: {{ engine: MergeTree, order_by: id, partition_by: {} }}\n",
                quoted(ty),
                quoted(key)
            );
            let generated = generate_texts([("t.yml", yaml)]);
            let problems = &generated.problems;
            assert!(problems.errors.is_empty(), "{key} of {ty}: {problems:?}");
            let is_warned = problems
                .warnings
                .iter()
                .any(|warning| warning.code == "client-partition");

            database.query("DROP TABLE IF EXISTS t");
            database.query(&generated.statements[0]);
            // A partition of its own is a folder of files, so only few values are inserted.
            let values = |rows: u64| format!("SELECT number AS id, CAST({values} AS {ty}) AS c FROM numbers({rows})");
            let count = |query: &str| database.query(query).trim().parse::<u64>().unwrap();
            let partitions_of = |rows: u64| count(&format!("SELECT uniqExact({key}) FROM ({})", values(rows)));
            database.query(&format!("INSERT INTO t (id, c) {}", values(INSERTED)));
            let inserted = count(
                "SELECT uniqExact(partition) FROM system.parts \
                 WHERE database = currentDatabase() AND table = 't' AND active",
            );
            assert_eq!(inserted, partitions_of(INSERTED), "{key} of {ty}");
            let partitions = partitions_of(MANY);
            assert_eq!(
                is_warned,
                partitions > FEW,
                "{key} of {ty} makes {partitions} partitions"
            );
        }
    }
}

/// A client does not choose the columns that the collector fills. A column that ClickHouse computes
/// counts like the columns that it is computed from.
#[test]
fn the_checker_warns_only_of_partitions_that_clients_choose() {
    for (key, is_warned) in [
        ("toDate(c)", true),
        ("computed", true),
        ("arrived", false),
        ("date", false),
        ("toYYYYMM(dateTime)", false),
        ("intDiv(timestamp, 86400000)", false),
        ("channel", false),
        ("uid", true),
        ("projectId", true),
        ("service", true),
        ("td_ip", true),
    ] {
        let yaml = format!(
            "clickhouse:\n  destinations: {{ a/b: t }}\n  tables:\n    base:\n      id: UInt64\n      uid: UInt64\n      \
             date: Date\n      dateTime: DateTime\n      timestamp: UInt64\n      channel: String\n      \
             projectId: UInt32\n      service: String\n      td_ip: String\n      c: DateTime\n      \
             computed: Date MATERIALIZED toDate(c)\n      arrived: Date MATERIALIZED toMonday(date)\n      \
             _options: {{ abstract: true }}\n    t:\n      \
             _options: {{ extend: base, engine: MergeTree, order_by: id, partition_by: {} }}\n",
            quoted(key)
        );
        let problems = generate_texts([("t.yml", yaml)]).problems;
        assert!(problems.errors.is_empty(), "{key}: {problems:?}");
        let codes: Vec<_> = problems.warnings.iter().map(|warning| warning.code).collect();
        assert_eq!(codes.contains(&"client-partition"), is_warned, "{key}: {codes:?}");
    }
}

/// In a table without `base`, the collector chooses only the values that a column asks for, and of
/// these a client chooses headers and fields of the query.
#[test]
fn the_checker_knows_the_values_that_columns_ask_for() {
    for (column, key, is_warned) in [
        ("{ type: DateTime, from: $received_at }", "toYYYYMM(c)", false),
        ("{ type: UInt64, from: $id }", "c", false),
        ("{ type: String, from: $channel }", "c", false),
        ("{ type: UInt64, from: $uid }", "c", true),
        ("{ type: String, from: $header.X-Event }", "c", true),
        ("{ type: Date, from: $query.day }", "c", true),
        (
            "{ type: Date, from: $query.day, max_age: 2 days, max_ahead: 2 days }",
            "c",
            false,
        ),
        ("UInt64", "date", true),
    ] {
        let yaml = format!(
            "clickhouse:\n  destinations: {{ a/b: t }}\n  tables:\n    t:\n      date: Date\n      c: {column}\n      \
             _options: {{ engine: MergeTree, order_by: date, partition_by: {key} }}\n"
        );
        let problems = generate_texts([("t.yml", yaml)]).problems;
        assert!(problems.errors.is_empty(), "{key}: {problems:?}");
        let is_found = problems
            .warnings
            .iter()
            .any(|warning| warning.code == "client-partition");
        assert_eq!(is_found, is_warned, "{key} of {column}");
    }
}
