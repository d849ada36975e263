//! Reject: an event that could not become a row is answered with the reason and kept among the dead letters.

use http::request::Parts;
use jiff::Timestamp;

use crate::{
    answer::Answer,
    body::Payload,
    dead_letter::DeadLetter,
    intake::{Reason, Rejection},
    json,
    refusal::Refusal,
    stamp::Stamp,
    target::Target,
    writer::Writer,
};

/// When to try again, for a client whose event there was no room for: about the time that a block takes to be stored.
const RETRY_AFTER_S: u32 = 2;

/// What was received, as far as a dead letter wants it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) target: Target<'a>,
    pub(crate) body: &'a [u8],
    pub(crate) ip: &'a str,
    pub(crate) unix_ms: u64,
}

/// Why an event was refused, in the words for whoever sent it.
#[derive(Debug)]
pub(crate) enum Refused {
    Syntax(String),
    Columns {
        table: &'static str,
        refusals: Vec<Refusal>,
    },
    Full,
}

impl Refused {
    /// A body that is not JSON.
    pub(crate) fn syntax(error: json::Error, payload: &Payload<'_>) -> Self {
        let text = match payload {
            Payload::Json(text) => text,
            _ => "",
        };
        let (line, column) = error.line_and_column(text);
        Self::Syntax(format!(
            "the body is not JSON: {} (line {line}, column {column})",
            error.kind.text()
        ))
    }

    /// An event that the table did not take.
    pub(crate) fn event(rejection: Rejection, payload: &Payload<'_>) -> Self {
        match rejection.reason {
            Reason::Syntax(error) => Self::syntax(error, payload),
            Reason::Refused(refusals) => Self::Columns {
                table: rejection.table.name,
                refusals,
            },
            Reason::Full => Self::Full,
        }
    }

    /// Returns the short name of the (first) reason, for counting.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "json",
            Self::Columns { refusals, .. } => refusals.first().map_or("", |refusal| refusal.problem.code()),
            Self::Full => "full",
        }
    }

    /// Returns all reasons in one text.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Syntax(reason) => reason.clone(),
            Self::Columns { refusals, .. } => refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            Self::Full => "there is no room".to_owned(),
        }
    }

    /// Returns the answer for the client.
    pub(crate) fn answer(&self) -> Answer<'_> {
        match self {
            Self::Syntax(reason) => Answer::Failed {
                status: http::StatusCode::BAD_REQUEST,
                reason: Some(reason),
            },
            Self::Columns { refusals, .. } => Answer::Refused(refusals),
            Self::Full => Answer::Unavailable {
                retry_after_s: RETRY_AFTER_S,
            },
        }
    }
}

impl Received<'_> {
    /// Keeps a request that did not become an event.
    pub(crate) fn bury(&self, writer: &Writer, code: &str, reason: &str) {
        let letter = self.letter(0, self.target.service, self.target.name);
        self.send(writer, &DeadLetter { code, reason, ..letter });
    }

    /// Keeps an event that did not become a row; one that there was no room for is counted by the writer alone.
    pub(crate) fn bury_event(&self, writer: &Writer, stamp: &Stamp<'_>, refused: &Refused) {
        if matches!(refused, Refused::Full) {
            return;
        }
        let letter = self.letter(stamp.id, stamp.service, stamp.name);
        let (table, column) = match refused {
            Refused::Columns { table, refusals } => {
                (*table, refusals.first().map_or("", |refusal| refusal.column.name))
            }
            _ => ("", ""),
        };
        self.send(
            writer,
            &DeadLetter {
                table,
                column,
                code: refused.code(),
                reason: &refused.reason(),
                ..letter
            },
        );
    }

    fn letter<'l>(&'l self, id: u64, service: &'l str, name: &'l str) -> DeadLetter<'l> {
        let ms = i64::try_from(self.unix_ms).unwrap_or(i64::MAX);
        DeadLetter {
            time: Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX),
            id,
            service,
            name,
            table: "",
            column: "",
            code: "",
            reason: "",
            payload: &[],
            ip: self.ip,
        }
    }

    /// The payload is the body; a query goes before it, behind a `?`, as it does in the request.
    fn send(&self, writer: &Writer, letter: &DeadLetter<'_>) {
        let mut payload = Vec::with_capacity(self.body.len());
        if let Some(query) = self.parts.uri.query() {
            payload.push(b'?');
            payload.extend_from_slice(query.as_bytes());
            if !self.body.is_empty() {
                payload.push(b'\n');
            }
        }
        payload.extend_from_slice(self.body);
        if writer
            .reject(&DeadLetter {
                payload: &payload,
                ..*letter
            })
            .is_err()
        {
            tracing::debug!(code = letter.code, "no room for a dead letter");
        }
    }
}
