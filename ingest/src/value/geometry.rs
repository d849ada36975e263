//! Shapes: `Point`, `Ring`, `Polygon`, … ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/geo)), which are
//! other names of tuples and arrays, and are read and written as those: `[1, 2]` is a point, `[[1, 2], [3, 4]]` a line.

/// Two coordinates, x and y.
pub type Point = (f64, f64);

/// A polygon without holes, by its corners.
pub type Ring = Vec<Point>;

/// A line, by its points.
pub type LineString = Vec<Point>;

/// Several lines.
pub type MultiLineString = Vec<LineString>;

/// A polygon: its outer ring, then its holes.
pub type Polygon = Vec<Ring>;

/// Several polygons.
pub type MultiPolygon = Vec<Polygon>;

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::refusal::Problem;

    #[test]
    fn shapes_are_arrays_in_arrays() {
        assert_eq!(json::<Point>("[1,\"2.5\"]"), Ok((1.0, 2.5)));
        assert_eq!(json::<Ring>("[[1,2],null]"), Ok(vec![(1.0, 2.0), (0.0, 0.0)]));
        assert_eq!(
            json::<MultiPolygon>("[[[[1,2]],[]],[]]"),
            Ok(vec![vec![vec![(1.0, 2.0)], vec![]], vec![]])
        );
        assert_eq!(text::<LineString>("[[1,2]]"), Ok(vec![(1.0, 2.0)]));
        assert_eq!(json::<Point>("[1]"), Err(Problem::WrongLength));
        assert_eq!(json::<Point>(r#"{"x":1,"y":2}"#), Err(Problem::WrongKind));
        assert_eq!(json::<Polygon>("[[1,2]]"), Err(Problem::WrongKind));
        assert_eq!(json::<Ring>("[[1e400,0]]"), Err(Problem::OutOfRange));
    }

    #[test]
    fn counts_go_before_coordinates() {
        let mut expected = vec![1, 1];
        expected.extend(1.0_f64.to_le_bytes());
        expected.extend(2.0_f64.to_le_bytes());
        assert_eq!(bytes(&vec![vec![(1.0_f64, 2.0_f64)]]), expected);
    }
}
