//! Shapes in [well-known binary](https://www.ogc.org/standards/sfa/), in which ClickHouse writes a
//! Geometry.
//!
//! A shape is a byte 1 for little-endian numbers, its code and its contents. The points of a row are
//! those of a shape, byte for byte.

use crate::row_bytes::{Cursor, InvalidValue};

/// The byte in front of shapes with little-endian numbers.
const LITTLE_ENDIAN: u8 = 1;

/// The bytes of a point: two floats.
const POINT_BYTES: usize = 16;

/// A shape of well-known binary, with its code.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Point = 1,
    LineString = 2,
    Polygon = 3,
    MultiLineString = 5,
    MultiPolygon = 6,
}

/// Takes the shape with this number in a Geometry from a row, and appends it. A ring becomes a line, as
/// in ClickHouse: the format has no rings.
pub(super) fn put_shape(number: u8, cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    match number {
        0 | 5 => put_line(cursor, out),
        1 => put_several(Shape::MultiLineString, put_line, cursor, out),
        2 => put_several(Shape::MultiPolygon, put_polygon, cursor, out),
        3 => {
            put_head(Shape::Point, out);
            out.extend_from_slice(cursor.take(POINT_BYTES)?);
            Ok(())
        }
        4 => put_polygon(cursor, out),
        _ => Err(InvalidValue::Malformed),
    }
}

fn put_line(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    put_head(Shape::LineString, out);
    put_points(cursor, out)
}

fn put_polygon(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    put_several(Shape::Polygon, put_points, cursor, out)
}

/// Takes a number of parts, and each of them.
fn put_several(
    shape: Shape,
    put: fn(&mut Cursor<'_>, &mut Vec<u8>) -> Result<(), InvalidValue>,
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
) -> Result<(), InvalidValue> {
    put_head(shape, out);
    let count = cursor.count()?;
    put_count(count, out)?;
    (0..count).try_for_each(|_| put(cursor, out))
}

fn put_points(cursor: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let count = cursor.count()?;
    put_count(count, out)?;
    let bytes = count.checked_mul(POINT_BYTES).ok_or(InvalidValue::Malformed)?;
    out.extend_from_slice(cursor.take(bytes)?);
    Ok(())
}

fn put_head(shape: Shape, out: &mut Vec<u8>) {
    out.push(LITTLE_ENDIAN);
    out.extend_from_slice(&(shape as u32).to_le_bytes());
}

fn put_count(count: usize, out: &mut Vec<u8>) -> Result<(), InvalidValue> {
    let count = u32::try_from(count).map_err(|_| InvalidValue::OutOfRange)?;
    out.extend_from_slice(&count.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{
        json::Reader,
        value::{Decode, Encode, Geometry},
    };

    /// Returns the shape of an event in hexadecimal.
    fn hex(geometry: &Geometry) -> String {
        let (mut row, mut out) = (Vec::new(), Vec::new());
        geometry.put(&mut row);
        let mut cursor = Cursor::new(&row);
        put_shape(cursor.byte().unwrap(), &mut cursor, &mut out).unwrap();
        cursor.end().unwrap();
        for length in 1..row.len() {
            assert!(put_shape(row[0], &mut Cursor::new(&row[1..length]), &mut Vec::new()).is_err());
        }
        out.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn shapes_have_the_bytes_that_clickhouse_writes() {
        const POINT: &str = "000000000000f03f0000000000000040";
        for (event, expected) in [
            ("[1,2]", format!("0101000000{POINT}")),
            ("[[1,2]]", format!("010200000001000000{POINT}")),
            ("[]", "010600000000000000".to_owned()),
            ("[[[1,2]]]", format!("010500000001000000010200000001000000{POINT}")),
            (
                "[[[[1,2]]]]",
                format!("01060000000100000001030000000100000001000000{POINT}"),
            ),
        ] {
            let geometry = Geometry::from_json(&mut Reader::new(event)).unwrap();
            assert_eq!(hex(&geometry), expected, "{event}");
        }
        let ring = Geometry::Ring(vec![(1.0, 2.0)]);
        assert_eq!(hex(&ring), hex(&Geometry::LineString(vec![(1.0, 2.0)])));
        let polygon = Geometry::Polygon(vec![vec![(1.0, 2.0)]]);
        assert_eq!(hex(&polygon), format!("01030000000100000001000000{POINT}"));
    }
}
