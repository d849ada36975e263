//! Refusals: each reason why a value cannot stand in its column, declared once.

use std::{fmt, ptr};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::{json, table::Column};

/// How much of a refused value a refusal keeps, in bytes: enough to recognise it. The whole event is in the dead letters.
const MAX_GOT_BYTES: usize = 200;

/// Why a value cannot stand in its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueError {
    /// The text is not JSON at all; the event as a whole is refused.
    Syntax(json::Error),
    /// A number, date or time that the column's type cannot hold.
    OutOfRange,
    /// A number with a fraction or an exponent, where only integers stand.
    NotAnInteger,
    /// The value is of another kind: text for a boolean, an object for a date, ….
    WrongKind,
    /// Text that is no value of the type.
    Malformed,
    /// A name or number that is not among the column's enum values.
    UnknownName,
    /// More bytes than a FixedString has.
    TooLong,
    /// An array with more or fewer elements than the tuple has.
    WrongLength,
    /// Arrays of one Nested differ in length.
    UnequalLengths,
    /// A path, or a key of one object, comes twice in an object that becomes JSON or Dynamic.
    PathTwice,
    /// None of a Variant's types takes the value.
    NoneOfTheTypes,
    /// A local time in a time zone that this machine does not know.
    UnknownZone,
    /// The column is required, and the event has nothing at this path.
    Missing(&'static str),
    /// The value takes more than these bytes, the `max_bytes` of its column.
    OverMaxBytes(usize),
    /// The date is further before the event's arrival than the `max_age` of its column, or further after it than `max_ahead`.
    FarOffDate,
}

impl ValueError {
    /// Returns the words for it, to stand after the name and the type of the column.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Syntax(error) => error.kind.text(),
            Self::OutOfRange => "the value is outside of the type's range",
            Self::NotAnInteger => "the number has a fraction or an exponent",
            Self::WrongKind => "a value of this kind cannot stand here",
            Self::Malformed => "the text is not a value of the type",
            Self::UnknownName => "the value is not among those of the enum",
            Self::TooLong => "the text is longer than the column",
            Self::WrongLength => "the array and the tuple differ in length",
            Self::PathTwice => "a path comes twice in the object",
            Self::NoneOfTheTypes => "none of the types takes the value",
            Self::UnequalLengths => "the arrays of one Nested differ in length",
            Self::UnknownZone => "the time zone of the column is not known here",
            Self::Missing(_) => "the event does not have it",
            Self::OverMaxBytes(_) => "the value takes more bytes than its column allows",
            Self::FarOffDate => "the date is too far from the event's arrival",
        }
    }
}

impl ValueError {
    /// Returns its short name, for programs and for counting.
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

/// The most refusals that one event collects; more of them tell nothing new.
const MAX_REFUSALS: usize = 100;

/// One value that could not stand in its column.
#[derive(Debug, Clone)]
pub struct InvalidColumn {
    /// The column that it was for.
    pub column: &'static Column,
    /// Why it could not.
    pub problem: ValueError,
    /// The value as it was sent, cut to a bound; empty where there was none.
    pub got: String,
}

impl fmt::Display for InvalidColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, problem, got } = self;
        write!(f, "column `{}` ({}): {problem}", column.name, column.data_type)?;
        match problem {
            ValueError::Missing(_) => Ok(()),
            _ => write!(f, ": {got}"),
        }
    }
}

/// As the client is told: `column`, `code`, `expected`, `got`; where nothing was got, `path` says what it was looked for under.
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

/// All refusals of one event, in the order in which they were found.
#[derive(Debug, Default)]
pub struct InvalidColumns(Vec<InvalidColumn>);

impl InvalidColumns {
    /// Adds one.
    #[cold]
    pub fn push(&mut self, column: &'static Column, problem: ValueError, got: &str) {
        if self.0.len() == MAX_REFUSALS {
            return;
        }
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

    /// Returns whether there is one of a column.
    pub(crate) fn has(&self, column: &'static Column) -> bool {
        self.0.iter().any(|refusal| ptr::eq(refusal.column, column))
    }

    /// Takes back those of a column, whose value is no longer what counts.
    #[cold]
    pub(crate) fn retract(&mut self, column: &'static Column) {
        self.0.retain(|refusal| !ptr::eq(refusal.column, column));
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns them as a list.
    pub fn into_vec(self) -> Vec<InvalidColumn> {
        self.0
    }
}
