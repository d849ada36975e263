//! One value in an encoded row.

use crate::table::{Column, shape::Shape};

/// Returns the bytes of a column's value in an encoded row. Returns `None` if the value is NULL, the
/// type's empty value (0, an empty text), or left to the column's default, or if a column before it
/// has no shape.
pub(crate) fn value_in<'r>(columns: &[Column], column: &str, row: &'r [u8]) -> Option<&'r [u8]> {
    let mut rest = row;
    for candidate in columns.iter().filter(|column| column.kind.is_inserted()) {
        let shape = candidate.shape?;
        if candidate.name != column {
            skip(&shape, &mut rest)?;
            continue;
        }
        let mut inner = shape;
        while let Shape::Nullable(values) | Shape::WithDefaultFlag(values) = inner {
            let (flag, after) = rest.split_first()?;
            if *flag != 0 {
                return None;
            }
            (inner, rest) = (*values, after);
        }
        let start = rest;
        skip(&inner, &mut rest)?;
        let value = &start[..start.len() - rest.len()];
        return value.iter().any(|byte| *byte != 0).then_some(value);
    }
    None
}

/// Advances `row` past a value; `None` if the row ends within it.
fn skip(shape: &Shape, row: &mut &[u8]) -> Option<()> {
    match shape {
        Shape::Fixed(width) => *row = row.get(*width..)?,
        Shape::String => {
            let length = take_length(row)?;
            *row = row.get(length..)?;
        }
        Shape::Nullable(values) | Shape::WithDefaultFlag(values) => {
            let (flag, after) = row.split_first()?;
            *row = after;
            if *flag == 0 {
                skip(values, row)?;
            }
        }
        Shape::Array(elements) => {
            for _ in 0..take_length(row)? {
                skip(elements, row)?;
            }
        }
        Shape::Tuple(elements) => elements.iter().try_for_each(|element| skip(element, row))?,
    }
    Some(())
}

/// Takes a length in LEB128.
fn take_length(row: &mut &[u8]) -> Option<usize> {
    let mut length = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = row.split_first()?;
        *row = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{leb128::put_length, table::ColumnKind};

    const fn column(name: &'static str, shape: Shape) -> Column {
        Column::new(name, "", "", ColumnKind::Plain).shaped(shape)
    }

    const COLUMNS: [Column; 6] = [
        column(
            "numbers",
            Shape::Array(&Shape::Tuple(&[Shape::Fixed(2), Shape::String])),
        ),
        Column::new("computed", "", "", ColumnKind::Materialized),
        column("maybe", Shape::Nullable(&Shape::Fixed(4))),
        column("flagged", Shape::WithDefaultFlag(&Shape::String)),
        Column::new("json", "JSON", "", ColumnKind::Plain),
        column("last", Shape::String),
    ];

    fn row(maybe: &[u8], flagged: &str) -> Vec<u8> {
        let mut row = vec![2, 1, 1, 1, b'a', 2, 2];
        put_length(&mut row, 200);
        row.extend([b'b'; 200]);
        row.extend_from_slice(maybe);
        row.push(0);
        put_length(&mut row, flagged.len());
        row.extend_from_slice(flagged.as_bytes());
        row
    }

    #[test]
    fn a_value_is_found_after_values_of_all_shapes() {
        let full = row(&[0, 7, 0, 0, 0], "key");
        assert_eq!(value_in(&COLUMNS, "maybe", &full), Some(&[7, 0, 0, 0][..]));
        assert_eq!(value_in(&COLUMNS, "flagged", &full), Some(&b"\x03key"[..]));
        let null = row(&[1], "key");
        assert_eq!(value_in(&COLUMNS, "maybe", &null), None);
        assert_eq!(value_in(&COLUMNS, "flagged", &null), Some(&b"\x03key"[..]));
        assert_eq!(
            value_in(&COLUMNS, "maybe", &row(&[0, 0, 0, 0, 0], "")),
            None,
            "zero is the empty value"
        );
        assert_eq!(value_in(&COLUMNS, "flagged", &row(&[1], "")), None, "an empty text");
        assert_eq!(value_in(&COLUMNS, "computed", &full), None);
        assert_eq!(value_in(&COLUMNS, "last", &full), None, "JSON has no shape");
        for end in 0..full.len() {
            assert_eq!(value_in(&COLUMNS, "flagged", &full[..end]), None, "{end}");
        }
    }
}
