//! Rejections: the reasons why an event did not become a row.

use std::{borrow::Cow, fmt};

use crate::{
    json::{self, ErrorKind, Kind},
    table::{Table, refusal::InvalidColumn},
};

/// The reason why an event did not become a row.
#[derive(Debug)]
pub enum Rejection {
    /// The body is not JSON, or its paths are too long
    /// ([`PathsTooLong`](json::ErrorKind::PathsTooLong)).
    Syntax(json::Error),
    /// The body is JSON but not an object, so it has no fields.
    NotAnObject(Kind),
    /// The body is JSON, and has no events where the route's events are.
    NoItems {
        /// The path of the events in the body.
        path: String,
        /// The kind of the value there, if there is one.
        got: Option<Kind>,
    },
    /// The event or its request does not follow the protocol of its route's adapter.
    Protocol {
        /// The reason, for the sender.
        reason: String,
    },
    /// A record of CSV, or its header, is invalid.
    Csv(CsvError),
    /// Values do not fit their columns, or a required value is missing.
    InvalidColumns {
        /// The table of the event's destination.
        table: &'static Table,
        /// The columns, in the order in which the event has their values; at least one.
        columns: Vec<InvalidColumn>,
    },
    /// The event has keys that no column of its table reads, and the schema rejects them.
    UnknownKeys {
        /// The table of the event's destination.
        table: &'static Table,
        /// The first of the keys, each with the keys above it, joined by `_`; at least one.
        keys: Vec<String>,
    },
    /// The event is one of a streamed body, and longer than this number of bytes.
    TooLong(usize),
    /// The spool has no space for more rows.
    SpoolFull,
}

/// The reason why CSV, or a record of it, is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CsvError {
    /// A record has another number of fields than the header.
    Ragged {
        /// The number of fields of the header.
        expected: usize,
        /// The number of fields of the record.
        got: usize,
    },
    /// A quoted field has no end.
    OpenQuote,
    /// The header has this name twice.
    ColumnTwice(String),
    /// The column with this number, counted from 1, has no name.
    UnnamedColumn(usize),
    /// The header has more columns than this number.
    TooManyColumns(usize),
}

impl fmt::Display for CsvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ragged { expected, got } => write!(f, "the record has {got} fields, and the header has {expected}"),
            Self::OpenQuote => f.write_str("a quoted field has no end"),
            Self::ColumnTwice(name) => write!(f, "the header has `{name}` twice"),
            Self::UnnamedColumn(number) => write!(f, "column {number} of the header has no name"),
            Self::TooManyColumns(max) => write!(f, "the header has more than {max} columns"),
        }
    }
}

impl std::error::Error for CsvError {}

impl Rejection {
    /// Returns the short name of the first reason, for programs and for counting.
    ///
    /// ```
    /// use rowmill_ingest::route::Rejection;
    ///
    /// assert_eq!(Rejection::SpoolFull.code(), "no-room");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "json",
            Self::NotAnObject(_) => "not-an-object",
            Self::NoItems { .. } => "no-items",
            Self::Protocol { .. } => "protocol",
            Self::Csv(_) => "csv",
            Self::InvalidColumns { columns, .. } => columns.first().map_or("", |column| column.problem.code()),
            Self::UnknownKeys { .. } => "unknown-key",
            Self::TooLong(_) => "too-large",
            Self::SpoolFull => "no-room",
        }
    }

    /// Returns the name of the first column whose value is invalid; empty if the reason is another
    /// one.
    pub fn column(&self) -> &'static str {
        match self {
            Self::InvalidColumns { columns, .. } => columns.first().map_or("", |column| column.column.name),
            _ => "",
        }
    }

    /// Returns all reasons as one text. `json` is the event's JSON, in which a syntax error has its
    /// line and column; empty for a form.
    ///
    /// ```
    /// use rowmill_ingest::{json::Kind, route::Rejection};
    ///
    /// println!("{}", Rejection::NotAnObject(Kind::Array).message("[]"));
    /// ```
    pub fn message(&self, json: &str) -> Cow<'static, str> {
        match self {
            Self::Syntax(error) => {
                let (line, column) = error.line_and_column(json);
                let what = match error.kind {
                    ErrorKind::PathsTooLong => "the body is refused",
                    _ => "the body is not JSON",
                };
                Cow::Owned(format!("{what}: {} (line {line}, column {column})", error.kind.text()))
            }
            Self::NotAnObject(kind) => Cow::Owned(format!("expected a JSON object, got {}", name_of(*kind))),
            Self::Protocol { reason } => Cow::Owned(reason.clone()),
            Self::Csv(error) => Cow::Owned(error.to_string()),
            Self::NoItems { path, got: None } => {
                Cow::Owned(format!("the body has no `{path}`, where the events should be"))
            }
            Self::NoItems { path, got: Some(kind) } => {
                Cow::Owned(format!("`{path}` is {}, not an array of events", name_of(*kind)))
            }
            Self::InvalidColumns { columns, .. } => {
                let columns: Vec<_> = columns.iter().map(ToString::to_string).collect();
                Cow::Owned(columns.join("; "))
            }
            Self::UnknownKeys { table, keys } => Cow::Owned(format!(
                "table `{}` has no column for `{}`",
                table.name,
                keys.join("`, `")
            )),
            Self::TooLong(max) => Cow::Owned(format!("the event is longer than {max} bytes")),
            Self::SpoolFull => Cow::Borrowed("the spool has no space for more events"),
        }
    }
}

/// Returns the kind of a value, with its article.
const fn name_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Bool => "a boolean",
        Kind::Number => "a number",
        Kind::String => "a string",
        Kind::Array => "an array",
        Kind::Object => "an object",
    }
}
