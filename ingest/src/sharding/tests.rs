//! Sharding keys, with the hashes that ClickHouse returns.

#![allow(clippy::unwrap_used)]

use super::{ShardingKey, UnknownKey};
use crate::{
    block::layout::{InsertTarget, TargetColumn},
    store::quoted,
    table::shape::ShapeBuf,
    value::put_length,
};

fn fixed(width: usize) -> ShapeBuf {
    ShapeBuf::Fixed(width)
}

/// Returns the target of a table with columns of these names, types and shapes.
fn target(columns: &[(&str, &str, ShapeBuf)]) -> InsertTarget {
    let columns = columns.iter().map(|(name, data_type, shape)| TargetColumn {
        name: (*name).into(),
        data_type: (*data_type).into(),
        sent_type: (*data_type).into(),
        shape: Some(shape.clone()),
    });
    InsertTarget::new("t".into(), "".into(), columns.collect(), None)
}

fn types(target: &InsertTarget) -> Vec<(String, String)> {
    let columns = target.columns.iter();
    columns
        .map(|column| (column.name.to_string(), column.data_type.to_string()))
        .collect()
}

fn parse(text: &str, target: &InsertTarget) -> Result<ShardingKey, UnknownKey> {
    ShardingKey::parse(text, target, &types(target))
}

fn text(value: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_length(&mut out, value.len());
    out.extend_from_slice(value.as_bytes());
    out
}

#[test]
fn hashes_are_those_of_clickhouse() {
    let two_texts = [text("a"), text("b")].concat();
    let time = 1_704_067_200_123_i64.to_le_bytes().to_vec();
    let (string, low) = (ShapeBuf::String, "LowCardinality(String)");
    // The hashes are what ClickHouse 26.7 returns for these values.
    for (key, data_type, shape, row, hash) in [
        ("a", "UInt8", fixed(1), vec![0xff], 255),
        ("a", "Int8", fixed(1), vec![0xff], 0xffff_ffff),
        ("a", "Int16", fixed(2), vec![0xfe, 0xff], 0xffff_fffe),
        ("a", "Int32", fixed(4), vec![0xff; 4], 0xffff_ffff),
        ("a", "UInt16", fixed(2), vec![1, 2], 0x0201),
        (
            "cityHash64(a)",
            "String",
            string.clone(),
            text("abc"),
            4_220_206_313_085_259_313,
        ),
        (
            "cityHash64(a)",
            low,
            string.clone(),
            text("abc"),
            4_220_206_313_085_259_313,
        ),
        ("cityHash64(a)", "UInt8", fixed(1), vec![7], 13_365_811_232_860_260_488),
        ("cityHash64(a)", "Int8", fixed(1), vec![0xff], 8_055_013_221_972_926_055),
        (
            "cityHash64(a)",
            "DateTime64(3, 'UTC')",
            fixed(8),
            time,
            16_846_517_200_981_846_867,
        ),
        ("intHash64(a)", "UInt8", fixed(1), vec![7], 13_365_811_232_860_260_488),
        ("intHash64(a)", "Int8", fixed(1), vec![0xff], 14_600_443_904_207_254_319),
        (
            "xxHash64(a)",
            "String",
            string.clone(),
            text("abc"),
            4_952_883_123_889_572_249,
        ),
        (
            "xxHash64(a)",
            "UInt64",
            fixed(8),
            7_u64.to_le_bytes().to_vec(),
            609_900_476_111_905_877,
        ),
        (
            "sipHash64(a)",
            "String",
            string.clone(),
            text("abc"),
            4_596_069_200_710_135_518,
        ),
        (
            "sipHash64(a)",
            "UInt64",
            fixed(8),
            7_u64.to_le_bytes().to_vec(),
            13_180_436_571_133_193_200,
        ),
    ] {
        let target = target(&[("a", data_type, shape)]);
        assert_eq!(parse(key, &target).unwrap().of(&row), Some(hash), "{key} {data_type}");
    }
    let target = target(&[("a", "String", string.clone()), ("b c", "String", string)]);
    for (function, hash) in [
        ("cityHash64", 7_468_329_322_676_821_011),
        ("sipHash64", 1_193_743_241_355_087_095),
        ("xxHash64", 14_756_808_377_901_732_262),
    ] {
        let key = format!("{function}(a, {})", quoted("b c"));
        assert_eq!(parse(&key, &target).unwrap().of(&two_texts), Some(hash), "{key}");
        // The order of the arguments counts, and not that of the columns.
        let swapped = parse(&format!("{function}(`b c`, a)"), &target).unwrap();
        let row = [text("b"), text("a")].concat();
        assert_eq!(swapped.of(&row), Some(hash), "{function}");
    }
}

#[test]
fn values_before_the_key_are_skipped() {
    let boxed = |shape| Box::new(shape);
    let target = target(&[
        ("one", "UInt8", fixed(1)),
        ("two", "UInt16", fixed(2)),
        ("tags", "Array(String)", ShapeBuf::Array(boxed(ShapeBuf::String))),
        (
            "pairs",
            "Array(Tuple(UInt8, UInt8))",
            ShapeBuf::Array(boxed(ShapeBuf::Tuple([fixed(1), fixed(1)].into()))),
        ),
        ("maybe", "Nullable(UInt32)", ShapeBuf::Nullable(boxed(fixed(4)))),
        ("flagged", "String", ShapeBuf::WithDefaultFlag(boxed(ShapeBuf::String))),
        ("a", "UInt8", ShapeBuf::WithDefaultFlag(boxed(fixed(1)))),
        ("rest", "String", ShapeBuf::String),
    ]);
    let key = parse("a", &target).unwrap();
    let row = |maybe: &[u8], flag: u8| {
        let tags = [&[2][..], &text("x"), &text(&"long".repeat(50))].concat();
        [
            &[1, 2, 2][..],
            &tags,
            &[2, 1, 1, 2, 2],
            maybe,
            &[0],
            &text("y"),
            &[flag, 9],
            &text("z"),
        ]
        .concat()
    };
    assert_eq!(key.of(&row(&[1], 0)), Some(9));
    assert_eq!(key.of(&row(&[0, 1, 2, 3, 4], 0)), Some(9));
    assert_eq!(key.of(&row(&[1], 1)), None, "only ClickHouse knows the default");
    let row = row(&[1], 0);
    for length in 0..row.len() - text("z").len() {
        assert_eq!(key.of(&row[..length]), None, "{length}");
    }
}

#[test]
fn other_keys_are_left_to_clickhouse() {
    let nullable = ShapeBuf::Nullable(Box::new(fixed(8)));
    let table = target(&[
        ("a", "UInt8", fixed(1)),
        ("f", "Float64", fixed(8)),
        ("n", "Nullable(UInt64)", nullable),
        ("s", "String", ShapeBuf::String),
    ]);
    for key in [
        "rand()",
        "a % 4",
        "cityHash64()",
        "cityHash64(a",
        "cityHash64(a) + 1",
        "cityHash64(a, 1)",
        "cityHash64(lower(s))",
        "murmurHash3_64(s)",
        "cityHash64(a, a)",
        "intHash64(a, s)",
        "s",
        "intHash64(s)",
        "1",
        "",
    ] {
        assert_eq!(parse(key, &table), Err(UnknownKey::Expression), "{key}");
    }
    assert_eq!(parse("b", &table), Err(UnknownKey::Column("b".to_owned())));
    for (key, data_type) in [("cityHash64(f)", "Float64"), ("cityHash64(n)", "Nullable(UInt64)")] {
        assert_eq!(parse(key, &table), Err(UnknownKey::Type(data_type.to_owned())), "{key}");
    }
    // The table has been changed since this build.
    let changed = [("a".to_owned(), "UInt16".to_owned())];
    let key = ShardingKey::parse("a", &table, &changed);
    assert_eq!(key, Err(UnknownKey::Column("a".to_owned())));
}
