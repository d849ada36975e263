//! Invalid values: each reason why a column cannot hold a value, declared once.

use std::{fmt, ptr};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{json, table::Column};

/// The maximum length of the value in an error, in bytes: enough to recognize it. The dead letters
/// have the whole event.
const MAX_GOT_BYTES: usize = 200;

/// The reason why a column cannot hold a value.
///
/// ```
/// use rowmill_ingest::{json::Reader, refusal::ValueError, value::Decode};
///
/// assert_eq!(u8::from_json(&mut Reader::new("300")), Err(ValueError::OutOfRange));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueError {
    /// The text is not JSON; the event as a whole is rejected.
    Syntax(json::Error),
    /// The column's type cannot hold the number, date or time.
    OutOfRange,
    /// The number has a fraction or an exponent, but the type only has integers.
    NotAnInteger,
    /// The value is of another kind: text for a boolean, an object for a date, ….
    WrongKind,
    /// The text is not a value of the type.
    Malformed,
    /// The name or number is not among the column's enum values.
    UnknownName,
    /// The text has more bytes than the FixedString can hold.
    TooLong,
    /// The array has more or fewer elements than the tuple.
    WrongLength,
    /// The arrays of one Nested differ in length.
    UnequalLengths,
    /// An object that becomes JSON or Dynamic contains a path, or a key of one object, twice.
    PathTwice,
    /// None of a Variant's types accepts the value.
    NoneOfTheTypes,
    /// The value is a local time in a time zone that this machine does not know.
    UnknownZone,
    /// The column is required, and the event has no value at this path.
    Missing(&'static str),
    /// The value takes more than this many bytes, the `max_bytes` of its column.
    OverMaxBytes(usize),
    /// The date is earlier than the event's arrival by more than the column's `max_age`, or later
    /// by more than its `max_ahead`.
    FarOffDate,
}

impl ValueError {
    /// Returns the message, which follows the name and the type of the column.
    ///
    /// ```
    /// use rowmill_ingest::refusal::ValueError;
    ///
    /// assert_eq!(ValueError::OutOfRange.text(), "the value is outside the type's range");
    /// ```
    pub const fn text(self) -> &'static str {
        match self {
            Self::Syntax(error) => error.kind.text(),
            Self::OutOfRange => "the value is outside the type's range",
            Self::NotAnInteger => "the number has a fraction or an exponent",
            Self::WrongKind => "the type does not accept this kind of value",
            Self::Malformed => "the text is not a value of the type",
            Self::UnknownName => "the enum does not have this value",
            Self::TooLong => "the text is too long for the column",
            Self::WrongLength => "the array and the tuple differ in length",
            Self::PathTwice => "the object has a path twice",
            Self::NoneOfTheTypes => "none of the types accepts the value",
            Self::UnequalLengths => "the arrays of one Nested differ in length",
            Self::UnknownZone => "this machine does not know the column's time zone",
            Self::Missing(_) => "the event does not have the value",
            Self::OverMaxBytes(_) => "the value takes more bytes than its column allows",
            Self::FarOffDate => "the date is too far from the event's arrival",
        }
    }
}

impl ValueError {
    /// Returns the error's short name, for programs and for counting.
    ///
    /// ```
    /// use rowmill_ingest::refusal::ValueError;
    ///
    /// assert_eq!(ValueError::OutOfRange.code(), "out-of-range");
    /// ```
    pub const fn code(self) -> &'static str {
        match self {
            Self::Syntax(_) => "json",
            Self::OutOfRange => "out-of-range",
            Self::NotAnInteger => "not-an-integer",
            Self::WrongKind => "wrong-kind",
            Self::Malformed => "malformed",
            Self::UnknownName => "unknown-name",
            Self::TooLong => "too-long",
            Self::WrongLength => "wrong-length",
            Self::PathTwice => "path-twice",
            Self::NoneOfTheTypes => "none-of-the-types",
            Self::UnequalLengths => "unequal-lengths",
            Self::UnknownZone => "unknown-zone",
            Self::Missing(_) => "missing",
            Self::OverMaxBytes(_) => "over-max-bytes",
            Self::FarOffDate => "far-off-date",
        }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => error.fmt(f),
            Self::Missing(path) => write!(f, "the event has no `{path}`"),
            Self::OverMaxBytes(max_bytes) => write!(f, "the value takes more than {max_bytes} bytes"),
            _ => f.write_str(self.text()),
        }
    }
}

impl std::error::Error for ValueError {}

impl From<json::Error> for ValueError {
    fn from(error: json::Error) -> Self {
        Self::Syntax(error)
    }
}

/// The maximum number of invalid values to collect per event; more of them add no information.
const MAX_INVALID_COLUMNS: usize = 100;

/// A column with an invalid value.
///
/// ```
/// use rowmill_ingest::{refusal::{InvalidColumns, ValueError}, table::{Column, ColumnKind}};
///
/// static CLICKS: Column = Column::new("clicks", "UInt8", "`clicks` UInt8", ColumnKind::Plain);
/// let mut invalid = InvalidColumns::default();
/// invalid.push(&CLICKS, ValueError::OutOfRange, "300");
/// let text = invalid.into_vec()[0].to_string();
/// assert_eq!(text, "column `clicks` (UInt8): the value is outside the type's range: 300");
/// ```
#[derive(Debug, Clone)]
pub struct InvalidColumn {
    /// The column that the value was for.
    pub column: &'static Column,
    /// The reason why the value is invalid.
    pub problem: ValueError,
    /// The value as it was sent, truncated; empty if there is none, and for personal data.
    pub got: String,
}

impl fmt::Display for InvalidColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, problem, got } = self;
        write!(f, "column `{}` ({}): {problem}", column.name, column.data_type)?;
        match problem {
            ValueError::Missing(_) => Ok(()),
            _ if column.is_personal => Ok(()),
            _ => write!(f, ": {got}"),
        }
    }
}

/// The form for clients: `column`, `code`, `expected`, `got`. If the value is missing, `path` takes
/// the place of `got`.
impl Serialize for InvalidColumn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Refusal", 4)?;
        fields.serialize_field("column", self.column.name)?;
        fields.serialize_field("code", self.problem.code())?;
        match self.problem {
            ValueError::OverMaxBytes(max_bytes) => {
                let expected = format!("{} of at most {max_bytes} bytes", self.column.data_type);
                fields.serialize_field("expected", &expected)?;
            }
            _ => fields.serialize_field("expected", self.column.data_type)?,
        }
        match self.problem {
            ValueError::Missing(path) => fields.serialize_field("path", path)?,
            _ => fields.serialize_field("got", &self.got)?,
        }
        fields.end()
    }
}

/// All invalid columns of one event, in the order in which they were found.
///
/// ```
/// use rowmill_ingest::refusal::InvalidColumns;
///
/// assert!(InvalidColumns::default().is_empty());
/// ```
#[derive(Debug, Default)]
pub struct InvalidColumns(Vec<InvalidColumn>);

impl InvalidColumns {
    /// Adds an invalid column, unless the maximum is reached.
    ///
    /// ```
    /// use rowmill_ingest::{refusal::{InvalidColumns, ValueError}, table::{Column, ColumnKind}};
    ///
    /// static CLICKS: Column = Column::new("clicks", "UInt8", "`clicks` UInt8", ColumnKind::Plain);
    /// let mut invalid = InvalidColumns::default();
    /// invalid.push(&CLICKS, ValueError::OutOfRange, "300");
    /// assert!(!invalid.is_empty());
    /// ```
    #[cold]
    pub fn push(&mut self, column: &'static Column, problem: ValueError, got: &str) {
        if self.0.len() == MAX_INVALID_COLUMNS {
            return;
        }
        // No message quotes personal data.
        let got = if column.is_personal { "" } else { got };
        let mut end = got.len().min(MAX_GOT_BYTES);
        while !got.is_char_boundary(end) {
            end -= 1;
        }
        self.0.push(InvalidColumn {
            column,
            problem,
            got: got[..end].to_owned(),
        });
    }

    /// Returns whether a column is among them.
    pub(crate) fn has(&self, column: &'static Column) -> bool {
        self.0.iter().any(|invalid| ptr::eq(invalid.column, column))
    }

    /// Removes the entries of a column, whose value is no longer used.
    #[cold]
    pub(crate) fn remove(&mut self, column: &'static Column) {
        self.0.retain(|invalid| !ptr::eq(invalid.column, column));
    }

    /// Returns whether there are no invalid columns.
    ///
    /// ```
    /// use rowmill_ingest::refusal::InvalidColumns;
    ///
    /// assert!(InvalidColumns::default().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the invalid columns as a list.
    ///
    /// ```
    /// use rowmill_ingest::{refusal::{InvalidColumns, ValueError}, table::{Column, ColumnKind}};
    ///
    /// static CLICKS: Column = Column::new("clicks", "UInt8", "`clicks` UInt8", ColumnKind::Plain);
    /// let mut invalid = InvalidColumns::default();
    /// invalid.push(&CLICKS, ValueError::OutOfRange, "300");
    /// assert_eq!(invalid.into_vec()[0].got, "300");
    /// ```
    pub fn into_vec(self) -> Vec<InvalidColumn> {
        self.0
    }
}
