//! Shapes: what the bytes of a value are, as far as moving them from a row to its column needs to know.

/// How a value of a type lies in a row, and thereby in its column.
///
/// The build step knows the shapes of a table's columns. A type that has none (JSON, Variant, Dynamic, QBit) keeps its table in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// So many bytes, the same ones in a row and in a column.
    Fixed(usize),
    /// A length and as many bytes, the same ones in a row and in a column.
    String,
    /// In a row: a byte, 1 for NULL, 0 before a value. In a column: those bytes, then the values, with the type's default where
    /// there is NULL.
    Nullable(&'static Self),
    /// In a row: their number, and the elements. In a column: the number of elements up to the end of each row (8 bytes), then all elements.
    ///
    /// A Map is an array of tuples.
    Array(&'static Self),
    /// In a row: the elements. In a column: a column of each.
    Tuple(&'static [Self]),
    /// In a row of [`RowBinaryWithDefaults`](crate::table::Format::RowBinaryWithDefaults): a byte 0 before the value. In a column: the value.
    ///
    /// A value that may be left to its default has the shape of a [`Nullable`](Self::Nullable), byte for byte.
    Marked(&'static Self),
}
