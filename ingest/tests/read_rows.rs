//! Rows that the events of a test have become, read back as typed rows.

#![allow(clippy::unwrap_used)]

use embedder::tables::{
    self, FamiliesInColumnsOwned, FamiliesOwned, Orders, OrdersOwned, Routes, Visits, VisitsOwned, orders::State,
};
use rowmill_ingest::{
    Ack,
    test::{self, TestCollector},
    value::DateTime,
};

/// A value of each family that the collector sends as columns, without the braces of the object.
const COLUMNS: &str = r#"
    "n": 1, "Array": [1, -2], "BFloat16": 1.5, "Bool": true, "Date": "2024-02-29", "Date32": "1900-01-01",
    "DateTime": "2024-02-29 12:13:14", "DateTime32": "2106-02-07 06:28:15",
    "DateTime64": "1969-12-31 23:59:59.999999", "Decimal": "-12345678901234567.125",
    "Decimal128": "123456789012345678901234567890.00001", "Decimal256": "-1234567890123456789012345678901234567890.5",
    "Decimal32": "-0.001", "Decimal64": "12.5", "Enum": "b", "Enum16": "b", "Enum8": "b", "FixedString": "a text",
    "Float32": -0.5, "Float64": 1e300, "IPv4": "192.0.2.1", "IPv6": "2001:db8::1",
    "Int128": -170141183460469231731687303715884105728, "Int16": -2, "Int256": -170141183460469231731687303715884105729,
    "Int32": -3, "Int64": -9223372036854775808, "Int8": -1, "IntervalSecond": -9,
    "LineString": [[1, 2], [3, 4]], "LowCardinality": "low", "Map": {"k": 1, "l": 2},
    "MultiPolygon": [[[[0, 0], [1, 0], [0, 1]]]], "Nested": {"a": [1, 2], "b": ["x", "\u00e9"]},
    "Nullable": -7, "Point": [0.5, -0.5], "SimpleAggregateFunction": -8, "String": "it's 'a' text",
    "Time": "-12:13:14", "Time64": "123:00:00.125", "Tuple": [1, "two"],
    "UInt128": 340282366920938463463374607431768211455, "UInt256": 340282366920938463463374607431768211456,
    "UInt64": 18446744073709551615, "UUID": "01234567-89ab-cdef-0123-456789abcdef"
"#;

#[test]
fn a_value_of_each_family_is_read_back() {
    let collector = TestCollector::<Routes>::start().unwrap();
    let response = collector.post("/wh/columns", format!("{{{COLUMNS}}}"));
    assert_eq!(response.status(), 200, "{:?}", response.body());
    let rows: Vec<FamiliesInColumnsOwned> = collector.read_rows();
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    assert_eq!(row.Array, [1, -2]);
    assert_eq!(row.Date, "2024-02-29".parse().unwrap());
    assert_eq!(row.DateTime64.to_string(), "1969-12-31 23:59:59.999999");
    assert_eq!(
        row.Decimal256.to_string(),
        "-1234567890123456789012345678901234567890.5"
    );
    assert_eq!(row.Enum16.to_string(), "b");
    assert_eq!(&row.FixedString.0, b"a text\0\0\0");
    assert_eq!((row.Float32, row.Float64), (-0.5, 1e300));
    assert_eq!((row.Int128, row.Int64), (i128::MIN, i64::MIN));
    assert_eq!(row.Int256.0.to_string(), "-170141183460469231731687303715884105729");
    assert_eq!(row.IPv6.0.to_string(), "2001:db8::1");
    assert_eq!(row.LowCardinality.as_deref(), Some("low"));
    assert_eq!(row.Map.0, [("k".into(), 1), ("l".into(), 2)]);
    assert_eq!(row.Nested_a, [1, 2]);
    assert_eq!(row.Nested_b, ["x", "\u{e9}"]);
    assert_eq!(row.Nullable, Some(-7));
    assert_eq!(row.Point, (0.5, -0.5));
    assert_eq!(row.Tuple, (1, "two".into()));
    assert_eq!(row.UInt256.0.to_string(), "340282366920938463463374607431768211456");
    assert_eq!(row.UUID.0.to_string(), "01234567-89ab-cdef-0123-456789abcdef");

    // The row that was read is inserted as the same row.
    let runtime = runtime();
    let _entered = runtime.enter();
    let writer = test::writer(&tables::SCHEMA);
    assert!(writer.insert(row, Ack::Accepted).is_ok());
    assert_eq!(test::read_rows::<FamiliesInColumnsOwned>(&writer), rows);
}

#[test]
fn values_that_are_sent_as_rows_are_read_back() {
    let collector = TestCollector::<Routes>::start().unwrap();
    let families =
        r#""Geometry": [[1,2],[3,4]], "JSON": {"a":1,"b":{"c":"x"}}, "QBit": [1,-2.5,0,4], "Variant": {"k":3}"#;
    let response = collector.post("/wh/families", format!("{{{COLUMNS}, {families}}}"));
    assert_eq!(response.status(), 200, "{:?}", response.body());
    let rows: Vec<FamiliesOwned> = collector.read_rows();
    assert_eq!(rows[0].JSON.as_str(), r#"{"a":1,"b":{"c":"x"}}"#);
    assert_eq!(rows[0].QBit.0, [1.0, -2.5, 0.0, 4.0]);
    assert_eq!(rows[0].Dynamic.as_str(), "null");
    let runtime = runtime();
    let _entered = runtime.enter();
    let writer = test::writer(&tables::SCHEMA);
    assert!(writer.insert(&rows[0], Ack::Accepted).is_ok());
    assert_eq!(test::read_rows::<FamiliesOwned>(&writer), rows);
}

#[test]
#[should_panic = "a row of `families` cannot be read back: column `Dynamic`: a value of a Dynamic cannot be read back"]
fn a_dynamic_is_not_read_back() {
    let collector = TestCollector::<Routes>::start().unwrap();
    assert_eq!(collector.post("/wh/families", r#"{"Dynamic":1}"#).status(), 200);
    let _: Vec<FamiliesOwned> = collector.read_rows();
}

#[test]
fn columns_without_a_value_have_their_defaults() {
    let collector = TestCollector::<Routes>::start().unwrap();
    let first = r#"{"number":"A-1","amount":"12.50","state":"new"}"#;
    let second = r#"{"number":"A-2","created":"2024-02-29 12:13:14"}"#;
    for event in [first, second] {
        assert_eq!(collector.post("/wh/order", event).status(), 200);
    }
    let rows: Vec<OrdersOwned> = collector.read_rows();
    assert_eq!(rows.len(), 2);
    assert_eq!((&*rows[0].number, rows[0].state), ("A-1", State::New));
    assert_eq!(rows[0].amount.to_string(), "12.5");
    // ClickHouse computes these.
    assert_eq!((rows[0].created, rows[0].raw_length), (DateTime::default(), 0));
    // The collector writes constant defaults.
    assert_eq!((&*rows[1].currency, rows[1].items), ("EUR", -1));
    assert_eq!(rows[1].created.to_string(), "2024-02-29 12:13:14");
    assert!(rows[0].id > 0 && rows[1].id > rows[0].id);
}

#[test]
fn a_wrong_value_is_readable() {
    let row = Orders {
        amount: "12.50".parse().unwrap(),
        created: "2024-02-29 12:13:14".parse().unwrap(),
        ..Orders::default()
    };
    let text = format!("{:?}", row.into_owned());
    assert!(text.contains("amount: Decimal64(12.5), "), "{text}");
    assert!(text.contains("created: DateTime(2024-02-29 12:13:14), "), "{text}");
}

#[test]
fn rows_of_several_blocks_are_read_in_order() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let writer = test::writer(&tables::SCHEMA);
    assert_eq!(test::read_rows::<VisitsOwned>(&writer), []);
    let count = 250_000;
    for uid in 1..=count {
        let visit = Visits {
            uid,
            ..Visits::default()
        };
        assert!(writer.insert(&visit, Ack::Accepted).is_ok());
    }
    let blocks = writer.status().table("visits").map(|table| table.blocks_pending);
    assert!(blocks > Some(1), "{blocks:?}");
    let rows: Vec<VisitsOwned> = test::read_rows(&writer);
    assert!(rows.iter().map(|row| row.uid).eq(1..=count));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}
