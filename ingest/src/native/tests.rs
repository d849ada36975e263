#![allow(clippy::unwrap_used, clippy::panic)]

use std::borrow::Cow;

use super::*;
use crate::{
    block::{content::BlockRows, layout::InsertTarget},
    table::{Column, ColumnKind, Format, Table, shape::Shape},
    value::{Encode, FixedString, Map},
};

fn layout(columns: Vec<Column>) -> std::sync::Arc<InsertTarget> {
    InsertTarget::of(&Table {
        columns: columns.leak(),
        ..Table::new("t", 0, &[], "", Format::RowBinary)
    })
}

fn native(columns: Vec<Column>) -> Native {
    let columns = layout(columns);
    let columns = columns.columns.iter().map(|column| NativeColumn {
        name: Some(column.name.clone()),
        data_type: column.sent_type.clone(),
        shape: column.shape.clone().unwrap(),
    });
    Native::of(columns.collect()).unwrap()
}

const fn column(name: &'static str, data_type: &'static str, shape: Shape) -> Column {
    Column::new(name, data_type, "", ColumnKind::Plain).shaped(shape)
}

fn rows<const N: usize>(rows: [Vec<u8>; N]) -> BlockRows {
    let mut end = 0;
    let ends = rows.iter().map(|row| {
        end += row.len() as u32;
        end
    });
    BlockRows {
        ends: ends.collect(),
        bytes: rows.concat().into(),
    }
}

fn row(values: &[&dyn Encode]) -> Vec<u8> {
    let mut row = Vec::new();
    values.iter().for_each(|value| value.put(&mut row));
    row
}

/// Returns three rows with a column of each kind of shape.
fn all_kinds() -> (Native, BlockRows) {
    let native = native(vec![
        column("n", "UInt16", Shape::Fixed(2)),
        column("s", "String", Shape::String),
        column("u", "Nullable(UInt8)", Shape::Nullable(&Shape::Fixed(1))),
        column("w", "Nullable(String)", Shape::Nullable(&Shape::String)),
        column("f", "FixedString(3)", Shape::Fixed(3)),
        column("a", "Array(Array(String))", Shape::Array(&Shape::Array(&Shape::String))),
        column(
            "m",
            "Map(UInt8, Nullable(String))",
            Shape::Array(&Shape::Tuple(&[Shape::Fixed(1), Shape::Nullable(&Shape::String)])),
        ),
        column(
            "t",
            "Tuple(UInt8, String)",
            Shape::Tuple(&[Shape::Fixed(1), Shape::String]),
        ),
        Column::new("no", "UInt8", "", ColumnKind::Materialized),
    ]);
    let text = |text: &'static str| Cow::Borrowed(text);
    let content = rows([
        row(&[
            &0x0102_u16,
            &text("one"),
            &Some(7_u8),
            &None::<Cow<'_, str>>,
            &FixedString(*b"abc"),
            &vec![vec![text("x"), text("yy")], vec![]],
            &Map(vec![(1_u8, Some(text("v"))), (2, None)]),
            &(9_u8, text("t")),
        ]),
        row(&[
            &0x0304_u16,
            &text(""),
            &None::<u8>,
            &Some(text("w")),
            &FixedString(*b"def"),
            &Vec::<Vec<Cow<'_, str>>>::new(),
            &Map(Vec::<(u8, Option<Cow<'_, str>>)>::new()),
            &(8_u8, text("")),
        ]),
        row(&[
            &0_u16,
            &text("three"),
            &Some(1_u8),
            &Some(text("")),
            &FixedString(*b"ghi"),
            &vec![vec![text("z")]],
            &Map(vec![(3_u8, Some(text("")))]),
            &(0_u8, text("uu")),
        ]),
    ]);
    (native, content)
}

fn ends(ends: &[u64]) -> Vec<u8> {
    ends.iter().flat_map(|end| end.to_le_bytes()).collect()
}

/// Calls [`Native::block`] with a buffer that another block used.
fn block_of(native: &Native, rows: &BlockRows) -> Result<Vec<u8>, NotColumnar> {
    let mut buffer = vec![0xaa; 10_000];
    native
        .block(rows.as_rows(), MAX_GROWTH, &mut buffer, &mut TimeSlice::begin())
        .map(<[u8]>::to_vec)
}

#[test]
fn rows_become_columns() {
    let (native, rows) = all_kinds();
    let expected = [
        &b"\x08\x03"[..],        // columns, rows
        b"\x01n\x06UInt16",      // name, type
        b"\x02\x01\x04\x03\0\0", // values
        b"\x01s\x06String",
        b"\x03one\0\x05three",
        b"\x01u\x0fNullable(UInt8)",
        b"\0\x01\0",   // NULLs
        b"\x07\0\x01", // values, a default in the place of NULL
        b"\x01w\x10Nullable(String)",
        b"\x01\0\0",
        b"\0\x01w\0",
        b"\x01a\x14Array(Array(String))",
        &ends(&[2, 2, 3]), // of the outer arrays, counted in inner ones
        &ends(&[2, 2, 3]), // of the inner arrays, counted in texts
        b"\x01x\x02yy\x01z",
        b"\x01m\x1cMap(UInt8, Nullable(String))",
        &ends(&[2, 2, 3]),
        b"\x01\x02\x03", // keys
        b"\0\x01\0",     // NULLs among the values
        b"\x01v\0\0",    // values
        b"\x01t\x14Tuple(UInt8, String)",
        b"\x09\x08\0",
        b"\x01t\0\x02uu",
        // A plain column comes last.
        b"\x01f\x0eFixedString(3)",
        b"abcdefghi",
    ]
    .concat();
    let block = block_of(&native, &rows).unwrap();
    assert_eq!(block.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn values_of_many_rows_stay_in_order() {
    let native = native(vec![
        column("n", "UInt64", Shape::Fixed(8)),
        column("s", "String", Shape::String),
        column("d", "Decimal(76, 0)", Shape::Fixed(32)),
    ]);
    let count = 3 * ROWS_AT_A_TIME.end() + 5;
    // The lengths are on both sides of a fixed-length copy, and of a length of one byte.
    let text = |index: usize| "ж".repeat(index % 90);
    let (mut bytes, mut row_ends) = (Vec::new(), Vec::new());
    let (mut numbers, mut texts, mut decimals) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..count {
        let decimal = [index as u8; 32];
        for out in [&mut bytes, &mut numbers] {
            (index as u64).put(out);
        }
        for out in [&mut bytes, &mut texts] {
            Cow::Owned::<str>(text(index)).put(out);
        }
        for out in [&mut bytes, &mut decimals] {
            out.extend_from_slice(&decimal);
        }
        row_ends.push(bytes.len() as u32);
    }
    let block = block_of(
        &native,
        &BlockRows {
            bytes: bytes.into(),
            ends: row_ends.into(),
        },
    );
    let mut expected = vec![3];
    put_length(&mut expected, count);
    for (head, values) in [
        (&b"\x01n\x06UInt64"[..], numbers),
        (b"\x01s\x06String", texts),
        (b"\x01d\x0eDecimal(76, 0)", decimals),
    ] {
        expected.extend_from_slice(head);
        expected.extend(values);
    }
    assert!(block.unwrap() == expected);
}

#[test]
fn many_columns_stay_in_order() {
    const COLUMNS: usize = 1_000;
    const ROWS: usize = 100;
    let name = |index: usize| &*Box::leak(format!("c{index:03}").into_boxed_str());
    let native = native(
        (0..COLUMNS)
            .map(|index| column(name(index), "UInt8", Shape::Fixed(1)))
            .collect(),
    );
    let value = |row: usize, column: usize| (row * 7 + column) as u8;
    let bytes: Vec<_> = (0..ROWS * COLUMNS)
        .map(|at| value(at / COLUMNS, at % COLUMNS))
        .collect();
    let block = block_of(
        &native,
        &BlockRows {
            bytes: bytes.into(),
            ends: (1..=ROWS).map(|row| (row * COLUMNS) as u32).collect(),
        },
    );
    let mut expected = Vec::new();
    put_length(&mut expected, COLUMNS);
    put_length(&mut expected, ROWS);
    for index in 0..COLUMNS {
        expected.push(4);
        expected.extend_from_slice(name(index).as_bytes());
        expected.extend_from_slice(b"\x05UInt8");
        expected.extend((0..ROWS).map(|row| value(row, index)));
    }
    assert!(block.unwrap() == expected);
}

#[test]
fn an_array_column_is_last_only_without_a_plain_column() {
    let array = || column("a", "Array(UInt8)", Shape::Array(&Shape::Fixed(1)));
    let number = || column("n", "UInt8", Shape::Fixed(1));
    let orders = [
        (vec![number(), array()], vec![1, 0], true),
        (vec![number(), array(), number()], vec![0, 1, 2], true),
        (vec![array(), number(), array()], vec![0, 2, 1], true),
        (vec![array()], vec![0], false),
    ];
    for (columns, order, detects_truncation) in orders {
        let native = native(columns);
        assert_eq!(native.order().collect::<Vec<_>>(), order);
        assert_eq!(native.detects_truncation(), detects_truncation);
    }
}

#[test]
fn default_marks_become_nulls() {
    let native = native(vec![
        column("a", "UInt8", Shape::WithDefaultFlag(&Shape::Fixed(1))),
        column("b", "UInt16", Shape::Nullable(&Shape::Fixed(2))).sent_as("Nullable(UInt16)"),
        column(
            "c",
            "Array(String)",
            Shape::WithDefaultFlag(&Shape::Array(&Shape::String)),
        ),
    ]);
    let block = block_of(
        &native,
        &rows([b"\0\x05\x01\0\x01\x01x".to_vec(), b"\0\x06\0\x34\x12\0\0".to_vec()]),
    );
    let expected = [
        &b"\x03\x02\x01a\x05UInt8\x05\x06\x01b\x10Nullable(UInt16)\x01\0\0\0\x34\x12\x01c\x0dArray(String)"[..],
        &ends(&[1, 1]),
        b"\x01x",
    ]
    .concat();
    assert_eq!(block.unwrap(), expected);
    // A mark that requests the computed default, in a column without a default.
    assert_eq!(
        block_of(&native, &rows([b"\x01\x05\x01\0\0".to_vec()])),
        Err(NotColumnar::Malformed)
    );
}

#[test]
fn a_type_without_a_shape_prevents_columns() {
    static COLUMNS: [Column; 2] = [
        column("a", "UInt8", Shape::Fixed(1)),
        Column::new("b", "Dynamic", "", ColumnKind::Plain),
    ];
    assert_eq!(
        InsertTarget::of(&Table::new("t", 0, &COLUMNS, "", Format::RowBinary)).columnar,
        None
    );
}

#[test]
fn malformed_rows_give_no_columns_and_no_panic() {
    let (native, whole) = all_kinds();
    let row_ends = whole.ends.to_vec();
    for cut in 0..whole.bytes.len() {
        let ends = row_ends.iter().map(|&end| end.min(cut as u32));
        let cut = BlockRows {
            bytes: whole.bytes.slice(..cut),
            ends: ends.collect(),
        };
        assert_eq!(block_of(&native, &cut), Err(NotColumnar::Malformed));
        // Bytes after the last row are not a row, either.
        let few = BlockRows {
            bytes: whole.bytes.clone(),
            ends: [row_ends[0]].into(),
        };
        assert_eq!(block_of(&native, &few), Err(NotColumnar::Malformed));
    }
    // A changed byte is another value, or invalid: any block that is returned has all rows.
    for at in 0..whole.bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut bytes = whole.bytes.to_vec();
            bytes[at] ^= change;
            let changed = BlockRows {
                bytes: bytes.into(),
                ends: whole.ends.clone(),
            };
            if let Ok(block) = block_of(&native, &changed) {
                assert_eq!(block[..2], *b"\x08\x03");
            }
        }
    }
    for row_ends in [
        vec![row_ends[1], row_ends[0], row_ends[2]],
        vec![row_ends[0] + 1, row_ends[1], row_ends[2]],
        vec![u32::MAX, row_ends[1], row_ends[2]],
        vec![],
    ] {
        let odd = BlockRows {
            bytes: whole.bytes.clone(),
            ends: row_ends.into(),
        };
        assert_eq!(block_of(&native, &odd), Err(NotColumnar::Malformed));
    }
}

#[test]
fn columns_far_larger_than_their_rows_are_not_built() {
    let native = native(vec![column("a", "Nullable(UUID)", Shape::Nullable(&Shape::Fixed(16)))]);
    let block = |nulls: usize| {
        let mut all = vec![row(&[&None::<u128>]); nulls];
        all.resize(2_000, row(&[&Some(1_u128)]));
        let ends = all.iter().scan(0, |end, row| {
            *end += row.len() as u32;
            Some(*end)
        });
        block_of(
            &native,
            &BlockRows {
                ends: ends.collect(),
                bytes: all.concat().into(),
            },
        )
    };
    assert_eq!(block(2_000), Err(NotColumnar::TooLarge));
    let columns = block(1_000).unwrap();
    assert!(columns.len() > 2_000 * 17 && columns.len() < 2_000 * 17 + 100);
}
