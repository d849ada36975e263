#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    block::layout::TargetColumn,
    leb128::put_length,
    table::{Column, ColumnKind, Table},
};

/// Returns the value of a column of a type in JSON.
fn json(data_type: &str, value: &[u8]) -> Result<String, MalformedRow> {
    let rows = rows_of(&[("c", data_type)]);
    let mut out = Vec::new();
    rows.put(value, &mut out)?;
    let text = String::from_utf8(out).unwrap();
    Ok(text
        .strip_prefix("{\"c\":")
        .and_then(|text| text.strip_suffix('}'))
        .unwrap()
        .to_owned())
}

fn rows_of(columns: &[(&str, &str)]) -> JsonRows {
    let columns = columns.iter().map(|(name, data_type)| TargetColumn {
        name: (*name).into(),
        data_type: (*data_type).into(),
        sent_type: "".into(),
        shape: None,
    });
    let statement = "INSERT INTO t FORMAT RowBinary";
    JsonRows::of(&InsertTarget::new(
        "t".into(),
        statement.into(),
        columns.collect(),
        None,
    ))
    .unwrap()
}

/// Returns the bytes of texts, each after its length.
fn texts(texts: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for text in texts {
        put_length(&mut out, text.len());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

#[test]
fn each_family_has_its_form() {
    let uuid = [
        0xe7, 0x11, 0xb3, 0x5c, 0x04, 0xc4, 0xf0, 0x61, 0xa0, 0xdb, 0xd3, 0x6a, 0x00, 0xa6, 0x7b, 0x90,
    ];
    let point = [1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat();
    let ip6 = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    for (data_type, bytes, expected) in [
        ("Bool", &[1][..], "true"),
        ("UInt8", &[255], "255"),
        ("Int32", &(-5_i32).to_le_bytes(), "-5"),
        ("UInt64", &u64::MAX.to_le_bytes(), "\"18446744073709551615\""),
        ("IntervalDay", &(-7_i64).to_le_bytes(), "\"-7\""),
        ("Decimal(9, 2)", &(-150_i32).to_le_bytes(), "\"-1.50\""),
        ("Float32", &0.1_f32.to_le_bytes(), "0.1"),
        ("Float64", &f64::NAN.to_le_bytes(), "\"nan\""),
        ("BFloat16", &[0xc0, 0x3f], "1.5"),
        ("Date", &[1, 0], "\"1970-01-02\""),
        ("Date32", &(-1_i32).to_le_bytes(), "\"1969-12-31\""),
        ("DateTime('Asia/Tokyo')", &[7, 0, 0, 0], "\"1970-01-01T00:00:07Z\""),
        ("DateTime64(3)", &1_i64.to_le_bytes(), "\"1970-01-01T00:00:00.001Z\""),
        ("Time", &(-61_i32).to_le_bytes(), "\"-00:01:01\""),
        ("Time64(3)", &61_001_i64.to_le_bytes(), "\"00:01:01.001\""),
        ("String", &texts(&["a\"é"]), "\"a\\\"é\""),
        ("FixedString(3)", b"ab\0", "\"ab\\u0000\""),
        ("UUID", &uuid, "\"61f0c404-5cb3-11e7-907b-a6006ad3dba0\""),
        ("IPv4", &[1, 2, 0, 10], "\"10.0.2.1\""),
        ("IPv6", &ip6, "\"2001:db8::1\""),
        ("Enum8('it\\'s' = -3, 'b' = 1)", &[0xfd], "\"it's\""),
        ("Enum16('a' = 1000)", &1000_i16.to_le_bytes(), "\"a\""),
        ("Nullable(UInt8)", &[1], "null"),
        ("Nullable(UInt8)", &[0, 9], "9"),
        ("LowCardinality(Nullable(String))", &[1], "null"),
        ("SimpleAggregateFunction(sum, UInt8)", &[4], "4"),
        ("Array(Nullable(UInt8))", &[3, 0, 1, 1, 0, 2], "[1,null,2]"),
        ("Array(String)", &[0], "[]"),
        ("Map(UInt8, UInt8)", &[2, 1, 2, 3, 4], "{\"1\":2,\"3\":4}"),
        ("Tuple(UInt8, UInt8)", &[1, 2], "[1,2]"),
        ("Tuple(a UInt8, `b c` UInt8)", &[1, 2], "{\"a\":1,\"b c\":2}"),
        ("Nested(a UInt8, b UInt8)", &[1, 1, 2], "[{\"a\":1,\"b\":2}]"),
        ("Point", &point, "[1.5,-2.0]"),
        ("Geometry", &[&[3], &*point].concat(), "[1.5,-2.0]"),
        ("QBit(Int8, 2)", &[2, 1, 255], "[1,-1]"),
        ("JSON(a UInt8)", &texts(&["{\"a\" : 1}"]), "{\"a\" : 1}"),
        ("Variant(String, UInt64)", &[255], "null"),
        // A string would be the other type.
        (
            "Variant(String, UInt64)",
            &[&[1][..], &5_u64.to_le_bytes()].concat(),
            "5",
        ),
        ("Dynamic", &[0], "null"),
        ("Dynamic", &[&[0x0a][..], &(-1_i64).to_le_bytes()].concat(), "-1"),
        ("Dynamic", &[&[0x0e][..], &1_f64.to_le_bytes()].concat(), "1.0"),
        ("Dynamic", &[0x11, 7, 0, 0, 0], "\"1970-01-01T00:00:07Z\""),
        ("Dynamic", &[0x1e, 0x23, 0x2d, 2, 0, 1, 1], "[true,null]"),
        ("Dynamic", &[0x20, 1, 1, b'a', 0x15, 1, b'x'], "{\"a\":\"x\"}"),
        ("Dynamic", &[0x1e, 0x2b, 32, 2, 0x2d, 1, 0], "[true,null]"),
    ] {
        assert_eq!(json(data_type, bytes).as_deref(), Ok(expected), "{data_type}");
        for length in 0..bytes.len() {
            assert_eq!(
                json(data_type, &bytes[..length]),
                Err(MalformedRow),
                "{data_type} {length}"
            );
        }
        assert_eq!(
            json(data_type, &[bytes, &[0]].concat()),
            Err(MalformedRow),
            "{data_type}"
        );
    }
}

#[test]
fn a_column_that_clickhouse_computes_is_not_in_the_object() {
    const TABLE: Table = Table {
        name: "t",
        index: 0,
        columns: &[
            Column::new("a", "UInt8", "", ColumnKind::Default),
            Column::new("path.x", "UInt8", "", ColumnKind::Plain),
        ],
        create: "",
        format: Format::RowBinaryWithDefaults,
        row_id: None,
        partition_key: None,
    };
    let rows = JsonRows::of(&InsertTarget::of(&TABLE)).unwrap();
    for (bytes, expected) in [
        (&[1, 0, 7][..], "{\"path.x\":7}"),
        (&[0, 5, 0, 7], "{\"a\":5,\"path.x\":7}"),
    ] {
        let mut out = Vec::new();
        rows.put(bytes, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

#[test]
fn a_value_that_is_nested_without_end_is_malformed() {
    let bytes = [0x1e, 0x2b, 32, 1].repeat(2000);
    assert_eq!(json("Dynamic", &bytes), Err(MalformedRow));
    assert_eq!(json("Dynamic", &[0x1e; 2000]), Err(MalformedRow));
    // A length beyond the row takes no memory.
    assert_eq!(
        json("Array(Tuple(String))", &[255, 255, 255, 255, 15]),
        Err(MalformedRow)
    );
}
