//! Shapes: `Point`, `Ring`, `Polygon`, …
//! ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/geo)). They are other names
//! of tuples and arrays, and are read and written as those: `[1, 2]` is a point, `[[1, 2], [3, 4]]`
//! a line.

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

crate::variant! {
    /// Any of the shapes.
    ///
    /// An array may fit several shapes, and becomes the one that ClickHouse tries first: a line
    /// before a ring, lines before a polygon. A column of the shape itself is unambiguous.
    pub enum Geometry {
        /// A line.
        LineString(LineString) = 0,
        /// Several lines.
        MultiLineString(MultiLineString) = 1,
        /// Several polygons.
        MultiPolygon(MultiPolygon) = 2,
        /// A point.
        Point(Point) = 3,
        /// A polygon; no array becomes one.
        Polygon(Polygon) = 4,
        /// A ring; no array becomes one.
        Ring(Ring) = 5,
    }
    json: [MultiPolygon, MultiLineString, LineString, Point];
    text: [];
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};
    use crate::table::refusal::ValueError;

    #[test]
    fn shapes_are_arrays_in_arrays() {
        assert_eq!(json::<Point>("[1,\"2.5\"]"), Ok((1.0, 2.5)));
        assert_eq!(json::<Ring>("[[1,2],null]"), Ok(vec![(1.0, 2.0), (0.0, 0.0)]));
        assert_eq!(
            json::<MultiPolygon>("[[[[1,2]],[]],[]]"),
            Ok(vec![vec![vec![(1.0, 2.0)], vec![]], vec![]])
        );
        assert_eq!(text::<LineString>("[[1,2]]"), Ok(vec![(1.0, 2.0)]));
        assert_eq!(json::<Point>("[1]"), Err(ValueError::WrongLength));
        assert_eq!(json::<Point>(r#"{"x":1,"y":2}"#), Err(ValueError::WrongKind));
        assert_eq!(json::<Polygon>("[[1,2]]"), Err(ValueError::WrongKind));
        assert_eq!(json::<Ring>("[[1e400,0]]"), Err(ValueError::OutOfRange));
    }

    #[test]
    fn an_array_is_the_first_shape_that_fits() {
        for (event, expected) in [
            ("[1,2]", Geometry::Point((1.0, 2.0))),
            ("[[1,2],[3,4]]", Geometry::LineString(vec![(1.0, 2.0), (3.0, 4.0)])),
            (
                "[[[1,2]],[]]",
                Geometry::MultiLineString(vec![vec![(1.0, 2.0)], vec![]]),
            ),
            ("[[[[1,2]]]]", Geometry::MultiPolygon(vec![vec![vec![(1.0, 2.0)]]])),
            ("[]", Geometry::MultiPolygon(vec![])),
            ("null", Geometry::Null),
        ] {
            assert_eq!(json(event), Ok(expected), "{event}");
        }
        assert_eq!(text("[1,2]"), Ok(Geometry::Point((1.0, 2.0))));
        assert_eq!(json::<Geometry>("5"), Err(ValueError::NoneOfTheTypes));
        assert_eq!(text::<Geometry>("5"), Err(ValueError::NoneOfTheTypes));
        assert_eq!(bytes(&Geometry::LineString(vec![])), [0, 0]);
    }

    #[test]
    fn counts_are_encoded_before_coordinates() {
        let mut expected = vec![1, 1];
        expected.extend(1.0_f64.to_le_bytes());
        expected.extend(2.0_f64.to_le_bytes());
        assert_eq!(bytes(&vec![vec![(1.0_f64, 2.0_f64)]]), expected);
    }
}
