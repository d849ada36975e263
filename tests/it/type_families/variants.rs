//! Compares with ClickHouse which pairs of types a Variant may contain.

use rowmill_codegen::generate_texts;

use crate::support::engine::Database;

/// One type of each kind, and two of some kinds that are much alike.
const TYPES: &[&str] = &[
    "UInt8",
    "UInt64",
    "Int8",
    "Int64",
    "Float32",
    "Bool",
    "Decimal(9, 2)",
    "String",
    "FixedString(3)",
    "FixedString(4)",
    "LowCardinality(String)",
    "Enum8('a' = 1)",
    "Date",
    "DateTime",
    "DateTime64(3)",
    "Time",
    "IntervalDay",
    "UUID",
    "IPv4",
    "IPv6",
    "JSON",
    "JSON(a UInt8)",
    "QBit(Float32, 8)",
    "SimpleAggregateFunction(sum, UInt64)",
    "Array(UInt8)",
    "Array(Bool)",
    "Array(Nullable(UInt8))",
    "Array(String)",
    "Array(Dynamic)",
    "Array(Array(UInt8))",
    "Map(String, UInt8)",
    "Map(String, Int64)",
    "Tuple(UInt8, String)",
    "Tuple(a UInt8)",
    "Tuple(b Int64)",
    "Nested(a UInt8)",
    "Point",
    "Ring",
    "Polygon",
    "Nullable(UInt8)",
    "Dynamic",
    "Geometry",
    "Variant(UInt8, UUID)",
];

/// Returns the problem of each column of a table with all of the types.
fn problems(types: &[String]) -> Vec<Option<String>> {
    let columns: String = (types.iter().enumerate())
        .map(|(index, ty)| format!("      c{index}_: {}\n", serde_json::Value::from(ty.as_str())))
        .collect();
    let schema = format!(
        "clickhouse:\n  destinations: {{ a/b: t }}\n  tables:\n    t:\n{columns}      _options: {{ engine: Memory }}\n"
    );
    let problems = generate_texts([("schema.yml", schema)]).problems.errors;
    let of_column = |index: usize| {
        let mut texts = problems.iter().map(|problem| &problem.text);
        texts.find(|text| text.contains(&format!(" c{index}_: "))).cloned()
    };
    (0..types.len()).map(of_column).collect()
}

#[test]
fn a_variant_accepts_the_pairs_of_types_that_clickhouse_accepts() {
    let database = Database::create("variants");
    let pairs = TYPES
        .iter()
        .enumerate()
        .flat_map(|(index, a)| TYPES[index..].iter().map(move |b| format!("Variant({a}, {b})")));
    let types: Vec<String> = pairs.collect();
    let ours = problems(&types);
    let mut disagreed = Vec::new();
    for (ty, ours) in types.iter().zip(&ours) {
        let structure = format!("v {ty}").replace('\'', "\\'");
        let theirs = database.try_query(&format!("SELECT count() FROM null('{structure}')"));
        if ours.is_none() != theirs.is_ok() {
            disagreed.push(format!("{ty}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }
    assert!(disagreed.is_empty(), "{}", disagreed.join("\n"));
    let accepted = ours.iter().filter(|ours| ours.is_none()).count();
    assert!(
        accepted > TYPES.len() && accepted < types.len(),
        "{accepted} of {}",
        types.len()
    );
}
