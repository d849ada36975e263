//! The codecs of columns: the checker and ClickHouse accept the same codecs for each type.

use super::Both;

/// Types of each way to store values.
const TYPES: [&str; 47] = [
    "String",
    "FixedString(4)",
    "FixedString(3)",
    "UInt16",
    "Int128",
    "Float32",
    "Float64",
    "BFloat16",
    "Bool",
    "Date32",
    "DateTime64(3)",
    "Time",
    "Time64(3)",
    "Decimal(18, 2)",
    "Decimal(38, 2)",
    "UUID",
    "IPv4",
    "IPv6",
    "Enum8('a' = 1)",
    "LowCardinality(String)",
    "Nullable(UInt32)",
    "Nullable(String)",
    "Array(Float64)",
    "Array(Nullable(UInt8))",
    "Map(String, UInt8)",
    "Map(UInt32, UInt64)",
    "Map(Float32, Float64)",
    "Tuple(Float64, Float32)",
    "Tuple(Float64, UInt8)",
    "Tuple(UInt8, Float64)",
    "Tuple(UInt8, String)",
    "Nested(a UInt8, b UInt32)",
    "Nested(a Float64)",
    "Point",
    "MultiPolygon",
    "Geometry",
    "JSON",
    "JSON(a UInt8)",
    "JSON(a String)",
    "JSON(a Float64)",
    "Variant(UInt8, String)",
    "Dynamic",
    "QBit(Float32, 8)",
    "QBit(Float32, 24)",
    "IntervalDay",
    "SimpleAggregateFunction(max, UInt64)",
    "SimpleAggregateFunction(anyLast, String)",
];

/// Lists of codecs; each codec of `system.codecs` that needs no setting is in one.
const CODECS: [&str; 28] = [
    "Delta, LZ4",
    "Delta(4), LZ4",
    "DoubleDelta, ZSTD(1)",
    "DoubleDelta",
    "Gorilla, LZ4",
    "Gorilla(8)",
    "FPC, LZ4HC",
    "FPC(12)",
    "T64, ZSTD(1)",
    "T64('bit')",
    "GCD, LZ4",
    "LZ4",
    "ZSTD(22)",
    "NONE",
    "Default",
    "Delta",
    "GCD",
    "LZ4, ZSTD",
    "ZSTD, Delta",
    "Delta, Delta, LZ4",
    "Delta, Gorilla",
    "Gorilla, Delta",
    "DoubleDelta, FPC",
    "NONE, LZ4",
    "Delta, NONE",
    "GCD, T64",
    "AES_128_GCM_SIV",
    "LZ4, AES_256_GCM_SIV",
];

#[test]
fn the_checker_and_clickhouse_accept_the_same_codecs() {
    let mut both = Both::start("checker_codecs");
    for ty in TYPES {
        for codecs in CODECS {
            both.column(&format!("{ty} CODEC({codecs})"));
        }
    }
    both.finish_without_exceptions();
}
