//! Counters of rejected requests and events, by reason.
//!
//! Only rejections have counters. A count is a search in a short list and an atomic addition: no
//! lock, no allocation.

use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// The response statuses that are counted as rejections.
const STATUSES: [u16; 9] = [400, 401, 403, 404, 408, 413, 415, 429, 503];

/// The reasons for the rejection of an event: the `code`s in responses and dead letters, and
/// `other` for unlisted ones.
const CODES: [&str; 25] = [
    "body",
    "json",
    "not-an-object",
    "no-items",
    "csv",
    "too-large",
    "protocol",
    "no-room",
    "rate-limited",
    "out-of-range",
    "not-an-integer",
    "wrong-kind",
    "malformed",
    "unknown-name",
    "too-long",
    "wrong-length",
    "path-twice",
    "none-of-the-types",
    "unequal-lengths",
    "unknown-zone",
    "missing",
    "over-max-bytes",
    "far-off-date",
    "unknown-key",
    "other",
];

/// Counters of rejections.
#[derive(Debug, Default)]
pub(crate) struct RejectionCounters {
    requests: [AtomicU64; STATUSES.len()],
    events: [AtomicU64; CODES.len()],
}

/// The rejections of all layers of one writer since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionCounts {
    /// Rejected requests, by response status.
    pub requests: Vec<(u16, u64)>,
    /// Events that did not become rows, by their (first) reason, whatever the response was: a pixel
    /// request still gets its image.
    pub events: Vec<(&'static str, u64)>,
}

impl RejectionCounters {
    /// Counts a response, if it is a rejection.
    pub(crate) fn count_response(&self, status: StatusCode) {
        if status.is_client_error() || status.is_server_error() {
            self.count_status(status);
        }
    }

    #[cold]
    fn count_status(&self, status: StatusCode) {
        if let Some(at) = STATUSES.iter().position(|known| *known == status.as_u16()) {
            self.requests[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a rejected event.
    #[cold]
    pub(crate) fn count_event(&self, code: &str) {
        self.count_events(code, 1);
    }

    /// Counts events that were rejected for one reason.
    #[cold]
    pub(crate) fn count_events(&self, code: &str, count: u64) {
        let at = CODES.iter().position(|known| *known == code).unwrap_or(CODES.len() - 1);
        self.events[at].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> RejectionCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RejectionCounts {
            requests: STATUSES.into_iter().zip(self.requests.iter().map(read)).collect(),
            events: CODES.into_iter().zip(self.events.iter().map(read)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        json::{Error, ErrorKind},
        table::refusal::ValueError,
    };

    #[test]
    fn each_reason_has_a_counter() {
        use ValueError as P;
        let syntax = Error {
            at: 0,
            kind: ErrorKind::PathsTooLong,
        };
        for error in [
            P::Syntax(syntax),
            P::OutOfRange,
            P::NotAnInteger,
            P::WrongKind,
            P::Malformed,
            P::UnknownName,
            P::TooLong,
            P::WrongLength,
            P::UnequalLengths,
            P::PathTwice,
            P::NoneOfTheTypes,
            P::UnknownZone,
            P::Missing("x"),
            P::OverMaxBytes(1),
            P::FarOffDate,
        ] {
            assert!(CODES.contains(&error.code()), "{error:?}");
        }
    }

    #[test]
    fn rejections_are_counted_by_reason() {
        let rejections = RejectionCounters::default();
        for status in [200, 302, 404, 404, 418, 503] {
            rejections.count_response(StatusCode::from_u16(status).unwrap_or_default());
        }
        for code in ["json", "wrong-kind", "new-one"] {
            rejections.count_event(code);
        }
        let RejectionCounts { requests, events } = rejections.counts();
        assert_eq!(
            requests,
            [
                (400, 0),
                (401, 0),
                (403, 0),
                (404, 2),
                (408, 0),
                (413, 0),
                (415, 0),
                (429, 0),
                (503, 1)
            ]
        );
        let counted: Vec<_> = events.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("json", 1), ("wrong-kind", 1), ("other", 1)]);
    }
}
