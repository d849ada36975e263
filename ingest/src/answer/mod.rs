//! Answers: everything that the collector can tell a client, as one enum, and its form in HTTP.
//!
//! Takes an [`Answer`] and the [`Context`] of its request, and returns a [`Draft`] that borrows
//! nothing. The draft becomes the response: it puts the headers of the chosen [`HeaderSet`] into
//! the request's header map, which is no longer needed and has the capacity. This cannot fail; a
//! cookie domain that is not valid in a header only costs the cookie. hyper adds `Content-Length`,
//! `Date`, `Connection` and `Keep-Alive`.
//!
//! The answer to an event allocates nothing: each thread keeps a buffer for texts, and all fixed
//! parts are static.

mod content;
mod cookie;
pub(crate) mod header_set;
mod headers;
pub(crate) mod redirect;
mod text;

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use self::{content::content, cookie::Cookie, headers::Kind};
use crate::{
    ack::{ACK_HEADER, Ack},
    answer::{
        header_set::HeaderSet,
        redirect::{Location, RedirectError},
    },
    identify::CorsOrigin,
    request::body::{BodyError, TAKEN_TYPES},
    table::refusal::InvalidColumn,
};

/// The answer to a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer<'a> {
    /// A recorded event of a service without a special answer: its full key and its id.
    Recorded {
        /// The service of the event.
        service: &'a str,
        /// The name of the event as sent.
        name: &'a str,
        /// The id of the event.
        id: u64,
    },
    /// The outcome of an NDJSON request.
    Lines(&'a LinesReport<'a>),
    /// A recorded event of `track`: its id.
    Tracked {
        /// The id of the event.
        id: u64,
    },
    /// The image of 43 bytes; also suits `/favicon.ico`.
    Pixel,
    /// A redirect to another page.
    Redirect(Location),
    /// The redirect has no valid target.
    RedirectRefused(RedirectError),
    /// The answer to `/hello/ping`.
    Pong,
    /// The answer to `/hello/hello`.
    Hi,
    /// `/lib.js`: passes the visitor's uid to the browser library; the collector does not serve the
    /// library itself.
    Library,
    /// `/coffee`.
    Teapot,
    /// The answer to OPTIONS.
    Preflight,
    /// A failure that its status describes, with a reason if there is more to say.
    Failed {
        /// The status; its standard phrase is the message.
        status: StatusCode,
        /// The advice to the client.
        reason: Option<&'a str>,
    },
    /// The event does not fit the table.
    Refused(&'a [InvalidColumn]),
    /// The address or the route has exceeded its rate limit.
    TooManyRequests {
        /// The time until another request is allowed, in seconds.
        retry_after_s: u32,
    },
    /// There is no room for events; the client should retry.
    Unavailable {
        /// The time until a retry, in seconds.
        retry_after_s: u32,
    },
}

impl Answer<'_> {
    /// The service or the name is missing, or no destination has them.
    pub(crate) const NOT_FOUND: Self = Self::Failed {
        status: StatusCode::NOT_FOUND,
        reason: None,
    };
    /// The method is not supported, or the request has another error without a reason.
    pub(crate) const BAD_REQUEST: Self = Self::Failed {
        status: StatusCode::BAD_REQUEST,
        reason: None,
    };
    /// The body is too large; Rockstat answers 400.
    pub(crate) const TOO_LARGE: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: None,
    };
    /// The request has more events than a block can take.
    pub(crate) const TOO_MANY_LINES: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: Some("a request may have at most 100000 lines"),
    };
    /// The rows of the request take more bytes than allowed.
    pub(crate) const TOO_LONG_ROWS: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: Some(
            "each line's row has the whole query and the headers, which take too many bytes in total: send fewer lines",
        ),
    };
    /// There is no room for events. The client is to retry after about the time that a block takes
    /// to be stored.
    pub(crate) const NO_ROOM: Self = Self::Unavailable { retry_after_s: 2 };
    /// `X-Rowmill-Ack` has an unknown value.
    pub(crate) const UNKNOWN_ACK: Self = Self::Failed {
        status: StatusCode::BAD_REQUEST,
        reason: Some("X-Rowmill-Ack must be `accepted`, `spooled` or `stored`"),
    };
    /// The body did not arrive in time.
    pub(crate) const TIMED_OUT: Self = Self::Failed {
        status: StatusCode::REQUEST_TIMEOUT,
        reason: None,
    };

    fn status(&self) -> StatusCode {
        match self {
            Self::Redirect(_) => StatusCode::FOUND,
            Self::RedirectRefused(_) | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Lines(report) if report.recorded == 0 && report.refused > 0 => StatusCode::BAD_REQUEST,
            Self::Teapot => StatusCode::IM_A_TEAPOT,
            Self::Failed { status, .. } => *status,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    }
}

/// The outcome of an NDJSON request.
#[derive(Debug)]
pub(crate) struct LinesReport<'a> {
    /// The service of the events.
    pub(crate) service: &'a str,
    /// The name of the events as sent.
    pub(crate) name: &'a str,
    /// The number of lines that became rows.
    pub(crate) recorded: usize,
    /// The number of rejected lines.
    pub(crate) refused: usize,
    /// The reasons of the first rejected lines.
    pub(crate) errors: Vec<LineError>,
}

/// The reason why a line did not become a row.
#[derive(Debug, serde::Serialize)]
pub(crate) struct LineError {
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// The reason.
    pub(crate) reason: String,
}

/// Rockstat's answer to a malformed body has none of the headers for browsers. This one has all of
/// them, so that a page can read the reason.
impl From<BodyError> for Answer<'_> {
    fn from(error: BodyError) -> Self {
        Self::Failed {
            status: error.status(),
            reason: Some(error.reason()),
        }
    }
}

impl From<Result<Location, RedirectError>> for Answer<'_> {
    fn from(target: Result<Location, RedirectError>) -> Self {
        target.map_or_else(Self::RedirectRefused, Self::Redirect)
    }
}

/// The parts of a request that its answer depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The visitor, known or new.
    pub(crate) uid: u64,
    /// The page that may read the response.
    pub(crate) origin: CorsOrigin<'a>,
    /// The host that a trusted proxy reports; if present, it is the cookie's domain.
    pub(crate) host: Option<&'a str>,
    /// Whether the response has the native structure, which has neither `Content-Type` nor
    /// `Location`.
    pub(crate) native: bool,
    /// Whether the method is HEAD: the response is that of GET, without a body.
    pub(crate) is_head: bool,
}

/// The state that all answers of a process share; created once.
#[derive(Debug)]
pub(crate) struct Answers {
    cookie: Cookie,
    set: HeaderSet,
}

impl Answers {
    /// Returns the answers of a process that started at `started`. `cookie_domain` is the domain of
    /// the uid cookie (see [`auto_domain`](crate::identify::auto_domain)); without it, the cookie
    /// is for the host alone.
    pub(crate) fn new(cookie_domain: Option<&str>, started: SystemTime, set: HeaderSet) -> Self {
        Self {
            cookie: Cookie::new(cookie_domain, started),
            set,
        }
    }

    /// Returns the response to `answer`, apart from its header map.
    pub(crate) fn draft(&self, answer: Answer<'_>, context: &Context<'_>) -> Draft {
        let status = answer.status();
        let (media_type, body) = content(&answer, status, context);
        let kind = match answer {
            Answer::Preflight => Kind::Preflight,
            Answer::Teapot => Kind::Teapot,
            Answer::Pixel if !context.native => Kind::Embedded,
            Answer::Library => Kind::Embedded,
            Answer::Redirect(_) if !context.native => Kind::Redirect,
            _ => Kind::Plain,
        };
        let (media_type, origin, has_cookie) = match self.set {
            // A redirect has no content with a type, and browsers ignore cookies in a preflight.
            HeaderSet::Modern => (
                media_type.filter(|_| kind != Kind::Redirect),
                context.origin.given(),
                kind != Kind::Preflight,
            ),
            HeaderSet::Rockstat => (media_type, Some(context.origin.to_value()), true),
        };
        let special = match answer {
            Answer::Redirect(location) if !context.native => Some((header::LOCATION, location.into_value())),
            Answer::Failed {
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ..
            } => Some((header::ACCEPT, HeaderValue::from_static(TAKEN_TYPES))),
            Answer::TooManyRequests { retry_after_s } | Answer::Unavailable { retry_after_s } => {
                Some((header::RETRY_AFTER, retry_after_s.into()))
            }
            // The remaining body may still arrive and must not be parsed as the next request.
            Answer::Failed {
                status: StatusCode::REQUEST_TIMEOUT,
                ..
            } => Some((header::CONNECTION, HeaderValue::from_static("close"))),
            _ => None,
        };
        Draft {
            status,
            set: self.set,
            kind,
            origin,
            cookie: has_cookie
                .then(|| self.cookie.value(context.uid, context.host))
                .flatten(),
            special,
            media_type,
            body,
            is_head: context.is_head,
            ack: None,
        }
    }
}

/// A response without its header map; it borrows nothing from its request.
#[derive(Debug)]
pub(crate) struct Draft {
    status: StatusCode,
    set: HeaderSet,
    kind: Kind,
    /// The page that may read the response.
    origin: Option<HeaderValue>,
    cookie: Option<HeaderValue>,
    /// The header that only such a response has.
    special: Option<(HeaderName, HeaderValue)>,
    media_type: Option<HeaderValue>,
    body: Bytes,
    is_head: bool,
    /// The level that the event's row has reached.
    ack: Option<Ack>,
}

/// The time until the client should retry an event whose row is not on disk, in seconds.
const RETRY_AFTER_S: u32 = 2;

impl Draft {
    /// Returns the status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the response to an event whose row has reached the requested level.
    pub(crate) fn acknowledged(mut self, reached: Ack) -> Self {
        self.ack = Some(reached);
        self
    }

    /// Returns the response to an event whose row has not reached the requested level. A row on
    /// disk will be stored or become a dead letter, so the client must not send it again. A row in
    /// memory alone may be lost, so the client should.
    pub(crate) fn unacknowledged(mut self, reached: Ack) -> Self {
        self.status = StatusCode::SERVICE_UNAVAILABLE;
        self.media_type = self.media_type.and(Some(content::JSON));
        self.body = Bytes::from_static(match reached {
            Ack::Accepted => br#"{"message":"Service Unavailable","reason":"the event is not on disk; send it again"}"#,
            _ => br#"{"message":"Service Unavailable","reason":"the event is kept and is not in its table yet; do not send it again"}"#,
        });
        self.special = (reached == Ack::Accepted).then(|| (header::RETRY_AFTER, RETRY_AFTER_S.into()));
        self.ack = Some(reached);
        self
    }

    /// Returns the response, `elapsed_ms` after the request arrived; its headers replace those in
    /// `headers`.
    pub(crate) fn into_response(self, mut headers: HeaderMap, elapsed_ms: u64) -> Response<Full<Bytes>> {
        headers.clear();
        headers::put(self.set, self.kind, &mut headers, self.origin);
        if let Some(cookie) = self.cookie {
            headers.insert(header::SET_COOKIE, cookie);
        }
        if self.set == HeaderSet::Rockstat {
            headers.insert(headers::X_RESPONSE_TIME, headers::time(elapsed_ms));
        }
        if let Some(ack) = self.ack {
            headers.insert(ACK_HEADER, HeaderValue::from_static(ack.name()));
        }
        if let Some((name, value)) = self.special {
            headers.insert(name, value);
        }
        if let Some(media_type) = self.media_type {
            headers.insert(header::CONTENT_TYPE, media_type);
        }
        if self.is_head {
            // hyper does not know the length of an omitted body.
            headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        }
        let mut response = Response::new(Full::new(if self.is_head { Bytes::new() } else { self.body }));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response
    }
}

#[cfg(test)]
mod tests;
