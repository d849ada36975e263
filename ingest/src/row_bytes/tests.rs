//! The JSON of each type, from the bytes that the collector writes.

#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use super::{Cursor, DataType, InvalidValue, put_json};
use crate::{
    json::Reader,
    value::{Decode, Dynamic, Encode, Geometry, QBit},
};

/// Returns the bytes of a value from its JSON, as the collector writes them.
fn bytes<T: for<'a> Decode<'a> + Encode>(json: &str) -> Vec<u8> {
    encoded(&T::from_json(&mut Reader::new(json)).unwrap())
}

fn encoded(value: &impl Encode) -> Vec<u8> {
    let mut out = Vec::new();
    value.put(&mut out);
    out
}

fn json(data_type: &str, bytes: &[u8]) -> Result<String, InvalidValue> {
    let (mut cursor, mut out) = (Cursor::new(bytes), String::new());
    put_json(&DataType::parse(data_type).unwrap(), &mut cursor, &mut out)?;
    cursor.end()?;
    Ok(out)
}

#[test]
fn each_type_has_the_json_of_its_value() {
    let text = |text: &'static str| encoded(&Cow::Borrowed(text));
    for (data_type, bytes, expected) in [
        ("Bool", vec![1], "true"),
        ("UInt8", vec![255], "255"),
        ("Int8", vec![255], "-1"),
        ("UInt64", encoded(&u64::MAX), "18446744073709551615"),
        (
            "Int128",
            encoded(&i128::MIN),
            "-170141183460469231731687303715884105728",
        ),
        (
            "UInt256",
            vec![1; 32],
            "454086624460063511464984254936031011189294057512315937409637584344757371137",
        ),
        ("Int256", vec![255; 32], "-1"),
        ("IntervalSecond", encoded(&-5_i64), "-5"),
        ("Float32", encoded(&0.1_f32), "0.1"),
        ("Float64", encoded(&2.0_f64), "2.0"),
        ("Float64", encoded(&f64::NAN), "null"),
        ("BFloat16", vec![0xc0, 0x3f], "1.5"),
        ("Decimal(9, 2)", encoded(&-5_i32), "-0.05"),
        ("Decimal(18, 0)", encoded(&1_250_i64), "1250"),
        ("Decimal(38, 10)", encoded(&15_000_000_000_i128), "1.5"),
        ("Decimal(76, 1)", vec![255; 32], "-0.1"),
        ("Date", encoded(&19_782_u16), "\"2024-02-29\""),
        ("Date32", encoded(&-25_567_i32), "\"1900-01-01\""),
        (
            "DateTime('Europe/Berlin')",
            encoded(&1_709_208_794_u32),
            "\"2024-02-29T12:13:14Z\"",
        ),
        ("DateTime64(3)", encoded(&-1_i64), "\"1969-12-31T23:59:59.999Z\""),
        ("DateTime64(0)", encoded(&0_i64), "\"1970-01-01T00:00:00Z\""),
        ("Time", encoded(&-3_599_999_i32), "\"-999:59:59\""),
        ("Time64(3)", encoded(&43_994_050_i64), "\"12:13:14.050\""),
        ("String", text("a\"\n"), "\"a\\\"\\n\""),
        ("FixedString(3)", b"ab\0".to_vec(), "\"ab\\u0000\""),
        (
            "UUID",
            bytes::<crate::value::Uuid>("\"61f0c404-5cb3-11e7-907b-a6006ad3dba0\""),
            "\"61f0c404-5cb3-11e7-907b-a6006ad3dba0\"",
        ),
        ("IPv4", bytes::<crate::value::Ipv4>("\"1.2.3.4\""), "\"1.2.3.4\""),
        ("IPv6", bytes::<crate::value::Ipv6>("\"::1\""), "\"::1\""),
        ("Enum8('a' = -1, 'b\"' = 2)", vec![2], "\"b\\\"\""),
        ("Enum16('a' = 1000)", encoded(&1000_i16), "\"a\""),
        ("JSON", text("{\"a\": [1]}"), "{\"a\": [1]}"),
        ("Nullable(UInt8)", vec![1], "null"),
        ("Nullable(UInt8)", vec![0, 7], "7"),
        (
            "LowCardinality(Nullable(String))",
            [vec![0], text("x")].concat(),
            "\"x\"",
        ),
        ("Array(Array(UInt8))", vec![2, 1, 7, 0], "[[7],[]]"),
        ("Map(UInt8, Bool)", vec![2, 7, 1, 8, 0], "{\"7\":true,\"8\":false}"),
        ("Map(Date, UInt8)", vec![1, 0, 0, 5], "{\"1970-01-01\":5}"),
        ("Tuple(UInt8, String)", [vec![7], text("x")].concat(), "[7,\"x\"]"),
        (
            "Tuple(a UInt8, `b c` Tuple(UInt8))",
            vec![7, 8],
            "{\"a\":7,\"b c\":[8]}",
        ),
        ("Nested(a UInt8, b UInt8)", vec![1, 7, 8], "[{\"a\":7,\"b\":8}]"),
        ("Point", [encoded(&1.0_f64), encoded(&2.5_f64)].concat(), "[1.0,2.5]"),
        ("Geometry", bytes::<Geometry>("[[1,2]]"), "[[1.0,2.0]]"),
        ("Geometry", bytes::<Geometry>("[[[[1,2]]]]"), "[[[[1.0,2.0]]]]"),
        ("Geometry", bytes::<Geometry>("null"), "null"),
        ("Variant(Bool, String)", vec![255], "null"),
        ("Variant(Bool, String)", [vec![1], text("x")].concat(), "\"x\""),
        ("QBit(Float32, 2)", bytes::<QBit<f32, 2>>("[0.5, 1]"), "[0.5,1.0]"),
    ] {
        assert_eq!(json(data_type, &bytes).as_deref(), Ok(expected), "{data_type}");
        for length in 0..bytes.len() {
            assert_eq!(
                json(data_type, &bytes[..length]),
                Err(InvalidValue::Malformed),
                "{data_type}: {length} of {bytes:?}"
            );
        }
    }
}

#[test]
fn a_dynamic_has_the_json_of_the_event() {
    for (event, expected) in [
        ("null", "null"),
        ("true", "true"),
        ("-1", "-1"),
        ("18446744073709551615", "18446744073709551615"),
        ("0.5", "0.5"),
        ("1.0", "1.0"),
        ("\"a\\u0041\"", "\"aA\""),
        ("\"2024-02-29\"", "\"2024-02-29\""),
        ("\"2024-02-29 12:13:14\"", "\"2024-02-29T12:13:14Z\""),
        (
            "\"1970-01-01T00:00:00.000000007Z\"",
            "\"1970-01-01T00:00:00.000000007Z\"",
        ),
        ("[]", "[]"),
        ("[true,null]", "[true,null]"),
        ("[1,\"x\",[2]]", "[1,\"x\",[2]]"),
        ("{\"b\":1,\"a\":{\"c\":\"x\"}}", "{\"a\":{\"c\":\"x\"},\"b\":1}"),
    ] {
        let mut reader = Reader::new(event);
        let bytes = encoded(&Dynamic::from_json(&mut reader).unwrap());
        assert_eq!(json("Dynamic", &bytes).as_deref(), Ok(expected), "{event}");
    }
    assert_eq!(json("Dynamic", &[0x1d]), Err(InvalidValue::UnknownType(0x1d)));
    assert_eq!(json("Dynamic", &[0x1e; 200]), Err(InvalidValue::Malformed));
}

#[test]
fn bytes_of_another_type_are_malformed() {
    for (data_type, bytes) in [
        ("Bool", &[2][..]),
        ("Nullable(UInt8)", &[2, 0]),
        ("Enum8('a' = 1)", &[2]),
        ("Variant(Bool)", &[1, 0]),
        ("Geometry", &[6]),
        ("Array(UInt8)", &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ("UInt8", &[1, 2]),
    ] {
        assert_eq!(json(data_type, bytes), Err(InvalidValue::Malformed), "{data_type}");
    }
}
