//! Reject: why an event did not become a row, worded for the client and for dead letters.

use http::StatusCode;

use crate::{
    answer::Answer,
    collect::head::RequestHead,
    intake::{
        event::{Reason, Rejection},
        stamp::EventMeta,
    },
    json::{self, Kind},
    request::body::Payload,
    table::{dead_letter::DeadLetter, refusal::InvalidColumn},
};

/// The reason for a rejection.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The body is not JSON.
    Syntax(String),
    /// The body is JSON but not an object.
    NotAnObject(Kind),
    /// Values do not fit their columns.
    Columns {
        table: &'static str,
        refusals: Vec<InvalidColumn>,
    },
    /// There is no room for more rows.
    SpoolFull,
}

impl Refused {
    /// Returns the rejection of a body that is not JSON.
    pub(crate) fn syntax(error: json::Error, payload: &Payload<'_>) -> Self {
        let text = match payload {
            Payload::Json(text) => text,
            _ => "",
        };
        let (line, column) = error.line_and_column(text);
        let what = match error.kind {
            json::ErrorKind::PathsTooLong => "the body is refused",
            _ => "the body is not JSON",
        };
        Self::Syntax(format!("{what}: {} (line {line}, column {column})", error.kind.text()))
    }

    /// Returns the rejection of an event by its table.
    pub(crate) fn event(rejection: Rejection, payload: &Payload<'_>) -> Self {
        match rejection.reason {
            Reason::Syntax(error) => Self::syntax(error, payload),
            Reason::NotAnObject(kind) => Self::NotAnObject(kind),
            Reason::Refused(refusals) => Self::Columns {
                table: rejection.table.name,
                refusals,
            },
            Reason::SpoolFull => Self::SpoolFull,
        }
    }

    /// Returns the code of the first reason, for counting.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "json",
            Self::NotAnObject(_) => "not-an-object",
            Self::Columns { refusals, .. } => refusals.first().map_or("", |refusal| refusal.problem.code()),
            Self::SpoolFull => "no-room",
        }
    }

    /// Returns all reasons as one text.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Syntax(reason) => reason.clone(),
            Self::NotAnObject(kind) => not_an_object(*kind).to_owned(),
            Self::Columns { refusals, .. } => refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Self::SpoolFull => "the spool has no space for more events".to_owned(),
        }
    }

    /// Returns the answer for the client.
    pub(crate) fn answer(&self) -> Answer<'_> {
        match self {
            Self::Syntax(reason) => Answer::Failed {
                status: StatusCode::BAD_REQUEST,
                reason: Some(reason),
            },
            Self::NotAnObject(kind) => Answer::Failed {
                status: StatusCode::BAD_REQUEST,
                reason: Some(not_an_object(*kind)),
            },
            Self::Columns { refusals, .. } => Answer::Refused(refusals),
            Self::SpoolFull => Answer::NO_ROOM,
        }
    }

    /// Returns a dead letter for the event, without its payload; `None` if a dead letter would find
    /// no room either.
    pub(crate) fn letter<'l>(
        &self,
        head: &'l RequestHead<'_>,
        stamp: &EventMeta<'l>,
        reason: &'l str,
    ) -> Option<DeadLetter<'l>> {
        let letter = DeadLetter {
            id: stamp.id,
            service: stamp.service,
            name: stamp.name,
            ..head.letter(self.code(), reason)
        };
        match self {
            Self::Syntax(_) | Self::NotAnObject(_) => Some(letter),
            Self::Columns { table, refusals } => {
                let column = refusals.first().map_or("", |refusal| refusal.column.name);
                Some(DeadLetter {
                    table,
                    column,
                    ..letter
                })
            }
            Self::SpoolFull => None,
        }
    }
}

/// Returns the message for a JSON document that is not an object.
const fn not_an_object(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "expected a JSON object, got null",
        Kind::Bool => "expected a JSON object, got a boolean",
        Kind::Number => "expected a JSON object, got a number",
        Kind::String => "expected a JSON object, got a string",
        Kind::Array => "expected a JSON object, got an array",
        Kind::Object => "expected a JSON object",
    }
}
