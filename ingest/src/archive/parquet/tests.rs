//! The file of rows, read back by the same crate; `tests/it/archive/parquet` has ClickHouse read it.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use bytes::Bytes;
use parquet::{
    column::reader::ColumnReader,
    file::reader::{FileReader, SerializedFileReader},
    schema::printer::print_schema,
};
use uuid::Uuid;

use super::{
    ParquetObject,
    file::{File, InvalidRow},
};
use crate::{
    block::{content::BlockRows, layout::InsertTarget, logged::Logged, parts::Parts, sealed::SealedBlock},
    row_bytes::InvalidValue,
    spool::archive::unpack_blocks,
};

/// Returns a target with columns of these types, each with the name of its index.
fn target(format: &str, types: &[&str]) -> InsertTarget {
    let column =
        |(index, data_type)| serde_json::json!({"name": format!("c{index}"), "type": data_type, "sent_type": ""});
    let columns: Vec<_> = types.iter().enumerate().map(column).collect();
    let columns = serde_json::json!({ "columns": columns }).to_string();
    InsertTarget::from_json("t", format, &columns).unwrap()
}

/// Returns a file with these rows.
fn file(target: &InsertTarget, rows: &[&[u8]]) -> SerializedFileReader<Bytes> {
    let mut file = File::new(target).unwrap();
    for row in rows {
        file.push(row).unwrap();
    }
    SerializedFileReader::new(file.finish(Vec::new()).unwrap().into()).unwrap()
}

/// Returns the values of each leaf of a file: its path, and each value with its definition and
/// repetition level.
fn leaves(file: &SerializedFileReader<Bytes>) -> Vec<String> {
    let mut texts: Vec<String> = file
        .metadata()
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .map(|column| column.path().string())
        .collect();
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).unwrap();
        for (index, text) in texts.iter_mut().enumerate() {
            macro_rules! read {
                ($reader:ident, |$value:ident| $text:expr) => {{
                    let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
                    let most = usize::MAX;
                    $reader
                        .read_records(most, Some(&mut definitions), Some(&mut repetitions), &mut values)
                        .unwrap();
                    let levels = definitions.len().max(values.len());
                    let most = definitions.iter().max().copied().unwrap_or_default();
                    let mut values = values.into_iter();
                    for at in 0..levels {
                        let definition = definitions.get(at).copied().unwrap_or_default();
                        let repetition = repetitions.get(at).copied().unwrap_or_default();
                        let is_present = values.len() > 0 && definition == most;
                        let value = values.next_if_present(is_present);
                        let value = value.map_or_else(|| "-".to_owned(), |$value| $text);
                        write!(text, " {value}@{definition}{repetition}").unwrap();
                    }
                }};
            }
            match group.get_column_reader(index).unwrap() {
                ColumnReader::BoolColumnReader(mut reader) => read!(reader, |value| value.to_string()),
                ColumnReader::Int32ColumnReader(mut reader) => read!(reader, |value| value.to_string()),
                ColumnReader::Int64ColumnReader(mut reader) => read!(reader, |value| value.to_string()),
                ColumnReader::FloatColumnReader(mut reader) => read!(reader, |value| value.to_string()),
                ColumnReader::DoubleColumnReader(mut reader) => read!(reader, |value| value.to_string()),
                ColumnReader::ByteArrayColumnReader(mut reader) => {
                    read!(reader, |value| String::from_utf8_lossy(value.data()).into_owned())
                }
                ColumnReader::FixedLenByteArrayColumnReader(mut reader) => {
                    read!(reader, |value| value
                        .data()
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect())
                }
                ColumnReader::Int96ColumnReader(_) => unreachable!("the file has none"),
            }
        }
    }
    texts
}

/// Takes the next value if there is one at this place.
trait NextIfPresent: Iterator {
    fn next_if_present(&mut self, is_present: bool) -> Option<Self::Item> {
        is_present.then(|| self.next()).flatten()
    }
}

impl<I: Iterator> NextIfPresent for I {}

#[test]
fn each_type_has_its_type_in_the_file() {
    let types = [
        "UInt8",
        "Int16",
        "UInt32",
        "Int32",
        "Int64",
        "UInt64",
        "UInt128",
        "Int256",
        "Bool",
        "Float32",
        "Float64",
        "BFloat16",
        "Decimal(9, 2)",
        "Decimal(76, 2)",
        "Date",
        "Date32",
        "DateTime('Europe/Berlin')",
        "DateTime64(3)",
        "DateTime64(5)",
        "DateTime64(9)",
        "Time",
        "Time64(3)",
        "IntervalSecond",
        "LowCardinality(Nullable(String))",
        "FixedString(3)",
        "UUID",
        "IPv4",
        "IPv6",
        "Enum8('a' = 1)",
        "JSON(a UInt32)",
        "Array(Nullable(UInt8))",
        "Map(String, Array(UInt8))",
        "Tuple(a UInt8, b Tuple(UInt8))",
        "Point",
        "Geometry",
        "Variant(Bool, String)",
        "Nullable(QBit(Float32, 2))",
        "Dynamic",
    ];
    let file = File::new(&target("RowBinary", &types)).unwrap();
    let mut text = Vec::new();
    print_schema(&mut text, file.schema());
    assert_eq!(String::from_utf8(text).unwrap(), include_str!("testdata/schema.txt"));
}

#[test]
fn nested_values_have_their_levels() {
    let types = [
        "Array(Array(UInt8))",
        "Array(Nullable(UInt8))",
        "Map(UInt8, UInt8)",
        "Nullable(Bool)",
    ];
    let rows: [&[u8]; 3] = [
        // [[1, 2], []], [NULL, 3], {}, NULL
        &[2, 2, 1, 2, 0, 2, 1, 0, 3, 0, 1],
        // [], [], {4: 5, 6: 7}, true
        &[0, 0, 2, 4, 5, 6, 7, 0, 1],
        // [[8]], [9], {10: 11}, false
        &[1, 1, 8, 1, 0, 9, 1, 10, 11, 0, 0],
    ];
    let file = file(&target("RowBinary", &types), &rows);
    assert_eq!(file.metadata().file_metadata().num_rows(), 3);
    assert_eq!(
        leaves(&file),
        [
            "c0.list.element.list.element 1@20 2@22 -@11 -@00 8@20",
            "c1.list.element -@10 3@21 -@00 9@20",
            "c2.key_value.key -@00 4@10 6@11 10@10",
            "c2.key_value.value -@00 5@10 7@11 11@10",
            "c3 -@00 true@10 false@10",
        ]
    );
}

#[test]
fn values_are_those_of_the_row() {
    for (data_type, bytes, expected) in [
        ("UInt32", vec![255; 4], "-1@00"),
        ("Int8", vec![255], "-1@00"),
        ("Decimal(9, 2)", vec![1, 0, 0, 0], "00000001@00"),
        ("Date", vec![1, 0], "1@00"),
        ("DateTime", vec![1, 0, 0, 0], "1000@00"),
        ("DateTime64(2)", (-1_i64).to_le_bytes().to_vec(), "-10@00"),
        ("DateTime64(7)", 5_i64.to_le_bytes().to_vec(), "500@00"),
        ("BFloat16", vec![0xc0, 0x3f], "1.5@00"),
        ("UUID", (0..16).collect(), "07060504030201000f0e0d0c0b0a0908@00"),
        ("IPv6", (0..16).collect(), "000102030405060708090a0b0c0d0e0f@00"),
        ("UInt128", (0..16).collect(), "000102030405060708090a0b0c0d0e0f@00"),
        ("Enum16('a' = 2)", vec![2, 0], "a@00"),
        ("Time", (-43_994_i32).to_le_bytes().to_vec(), "-12:13:14@00"),
        ("Variant(Bool, String)", vec![0, 1], "true@00"),
        ("Variant(Bool, String)", vec![255], "null@00"),
        ("Dynamic", vec![0], "null@00"),
        ("Geometry", vec![255], "-@00"),
        ("Nullable(JSON)", [&[0, 2], &b"{}"[..]].concat(), "{}@10"),
        ("QBit(Int8, 2)", vec![2, 1, 255], "[1,-1]@00"),
    ] {
        let file = file(&target("RowBinary", &[data_type]), &[&bytes]);
        assert_eq!(leaves(&file), [format!("c0 {expected}")], "{data_type}");
    }
}

#[test]
fn what_clickhouse_computes_is_missing() {
    let types = ["UInt8", "Array(UInt8)", "Nullable(UInt8)"];
    let rows: [&[u8]; 2] = [&[1, 1, 1], &[0, 7, 0, 1, 8, 0, 0, 9]];
    let file = file(&target("RowBinaryWithDefaults", &types), &rows);
    assert_eq!(
        leaves(&file),
        ["c0 -@00 7@10", "c1.list.element -@00 8@20", "c2 -@00 9@10"]
    );
}

#[test]
fn a_row_that_the_file_cannot_have_leaves_it_as_it_was() {
    let target = target("RowBinary", &["Array(String)", "DateTime64(8)", "UInt8"]);
    let row = |text: &[u8], ticks: i64, last: &[u8]| {
        [&[2, 1, b'x', text.len() as u8], text, &ticks.to_le_bytes(), last].concat()
    };
    let mut file = File::new(&target).unwrap().with_group_bytes(1);
    let reason = |column: Option<&str>, reason| {
        Err(InvalidRow {
            column: column.map(Into::into),
            reason,
        })
    };
    for number in 0..4 {
        file.push(&row(b"y", number, &[7])).unwrap();
        assert_eq!(
            file.push(&row(b"z", i64::MAX, &[7])),
            reason(Some("c1"), InvalidValue::OutOfRange)
        );
        assert_eq!(
            file.push(&row(b"z", 1, &[])),
            reason(Some("c2"), InvalidValue::Malformed)
        );
        assert_eq!(file.push(&row(b"z", 1, &[7, 7])), reason(None, InvalidValue::Malformed));
        file.write_if_large().unwrap();
    }
    assert_eq!(file.rows(), 4);
    let file = SerializedFileReader::new(Bytes::from(file.finish(Vec::new()).unwrap())).unwrap();
    assert_eq!(file.num_row_groups(), 4, "each row takes more memory than a group may");
    assert_eq!(
        leaves(&file),
        [
            format!("c0.list.element{}", " x@10 y@11".repeat(4)),
            "c1 0@00 10@00 20@00 30@00".to_owned(),
            format!("c2{}", " 7@00".repeat(4)),
        ]
    );
}

/// Returns a block with rows of one byte each.
fn block(id: Uuid, target: &InsertTarget, rows: u32) -> SealedBlock {
    let (layout, parts) = (target.clone().into(), Parts::whole(rows));
    SealedBlock::on_disk(layout, id, rows, rows as usize, Logged::default(), parts)
}

#[test]
fn rows_that_the_file_cannot_have_are_kept_as_blocks() {
    let id = Uuid::from_u128(7 << 76 | 5);
    let rows = BlockRows {
        bytes: Bytes::from_static(&[0, 1, 2, 1, 3]),
        ends: (1..=5).collect(),
    };
    for (data_type, written, kept, reason) in [
        (
            "Bool",
            3,
            &[2, 3][..],
            Some("column `c0`: its bytes do not match its type"),
        ),
        ("UInt8", 5, &[], None),
        (
            "Later(UInt8)",
            0,
            &[0, 1, 2, 1, 3],
            Some("column `c0` has the type Later(UInt8), whose values this build does not know"),
        ),
    ] {
        let target = target("RowBinary", &[data_type]);
        let block = block(id, &target, 9);
        let mut object = ParquetObject::new(&target);
        // The disk has lost the rows 0 and 1, and those after 6.
        object.add(&block, &[2..7], &rows).unwrap();
        let parts = object.finish(&[id]).unwrap();
        assert_eq!(
            (parts.rows, parts.kept_rows),
            (written, kept.len() as u64),
            "{data_type}"
        );
        assert_eq!(parts.reason.as_deref(), reason);
        assert_eq!(parts.file.is_empty(), written == 0);
        if !kept.is_empty() {
            let (description, package) = crate::archive::object::decode(&parts.kept).unwrap();
            assert_eq!(description.rows, kept.len() as u64);
            let blocks = unpack_blocks(&package).unwrap();
            assert_eq!((blocks.len(), blocks[0].id, &*blocks[0].rows.bytes), (1, id, kept));
        }
        if written > 0 {
            let file = SerializedFileReader::new(parts.file).unwrap();
            let metadata = file.metadata().file_metadata().key_value_metadata().unwrap();
            let value = |key: &str| {
                metadata
                    .iter()
                    .find(|pair| pair.key == key)
                    .unwrap()
                    .value
                    .clone()
                    .unwrap()
            };
            assert_eq!(value("rowmill.table"), "t");
            assert_eq!(value("rowmill.columns"), format!("[[\"c0\",\"{data_type}\"]]"));
            assert_eq!(value("rowmill.fingerprint").len(), 16);
            let blocks = value("rowmill.blocks");
            let token = match data_type {
                "Bool" => format!("t:{id}:2-6:"),
                _ => format!("t:{id}:2-7\",\"rows\":5"),
            };
            assert!(blocks.starts_with(&format!("[{{\"token\":\"{token}")), "{blocks}");
        }
    }
}
