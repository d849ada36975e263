//! Refusals: each reason why a value cannot stand in its column, declared once.

use crate::json;

/// Why a value cannot stand in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The text is not JSON at all; the event as a whole is refused.
    Syntax(json::Error),
    /// A number that the column's type cannot hold.
    OutOfRange,
    /// The value is of another kind: text for a number, an object for a date, ….
    WrongKind,
    /// Text that is no value of the type.
    Malformed,
    /// A name or number that is not among the column's enum values.
    UnknownName,
    /// More bytes than a FixedString has.
    TooLong,
    /// Arrays of one Nested differ in length.
    UnequalLengths,
}
