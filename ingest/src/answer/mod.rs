//! Answers: everything that a client of the collector can be told, as one enum, and how each of them looks as HTTP.
//!
//! Takes an [`Answer`] and the [`Context`] of its request, gives a [`Draft`] that borrows nothing,
//! and of that the response: the headers of the chosen [`HeaderSet`], put into the request's own
//! map of headers, which is of no more use by then and has the room. It cannot fail; a cookie
//! domain that no header can carry only costs the cookie. `Content-Length`, `Date`, `Connection`
//! and `Keep-Alive` are hyper's.
//!
//! Nothing is allocated for an answer to an event: texts stand in a buffer that each thread keeps, and all that is fixed is static.

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

/// What a request is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Answer<'a> {
    /// An event of any service without a handler of its own: its full key and its id.
    Recorded {
        /// The service of the event.
        service: &'a str,
        /// Its name, as it was sent.
        name: &'a str,
        /// Its id.
        id: u64,
    },
    /// Many events of one request: what has become of them.
    Lines(&'a LinesReport<'a>),
    /// An event of `track`: its id.
    Tracked {
        /// The id of the event.
        id: u64,
    },
    /// The image of 43 bytes; also good for `/favicon.ico`.
    Pixel,
    /// Away to another page.
    Redirect(Location),
    /// There is nowhere to redirect to.
    RedirectRefused(RedirectError),
    /// The answer to `/hello/ping`.
    Pong,
    /// The answer to `/hello/hello`.
    Hi,
    /// `/lib.js`: tells the browser library its visitor's uid. The library itself is not ours to send.
    Library,
    /// `/coffee`.
    Teapot,
    /// The answer to OPTIONS.
    Preflight,
    /// Any failure that its status says all about, with a reason where there is more to say.
    Failed {
        /// The status; its standard phrase is the message.
        status: StatusCode,
        /// What the client can do about it.
        reason: Option<&'a str>,
    },
    /// The event does not fit the table.
    Refused(&'a [InvalidColumn]),
    /// One request too many of an address, or to a route.
    TooManyRequests {
        /// When the next one is not, in seconds.
        retry_after_s: u32,
    },
    /// There is no room for events; worth trying again.
    Unavailable {
        /// When to try, in seconds.
        retry_after_s: u32,
    },
}

impl Answer<'_> {
    /// No service or no name, or nothing under them.
    pub(crate) const NOT_FOUND: Self = Self::Failed {
        status: StatusCode::NOT_FOUND,
        reason: None,
    };
    /// A method that the collector does not take, and whatever else has no reason of its own.
    pub(crate) const BAD_REQUEST: Self = Self::Failed {
        status: StatusCode::BAD_REQUEST,
        reason: None,
    };
    /// A body that is too long; the original says 400.
    pub(crate) const TOO_LARGE: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: None,
    };
    /// More events in one request than go into a block.
    pub(crate) const TOO_MANY_LINES: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: Some("a request takes 100000 lines at the most"),
    };
    /// Rows of one request that take more bytes than one may make.
    pub(crate) const TOO_LONG_ROWS: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: Some(
            "each line becomes a row with the whole query and the headers in it, and these take too many bytes: send fewer lines",
        ),
    };
    /// No room for events. The client comes again after about the time that a block takes to be stored.
    pub(crate) const NO_ROOM: Self = Self::Unavailable { retry_after_s: 2 };
    /// A header that asks for an acknowledgement that there is none of.
    pub(crate) const UNKNOWN_ACK: Self = Self::Failed {
        status: StatusCode::BAD_REQUEST,
        reason: Some("X-Rowmill-Ack is `accepted`, `spooled` or `stored`"),
    };
    /// A body that did not come in time.
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

/// What has become of the lines of one request.
#[derive(Debug)]
pub(crate) struct LinesReport<'a> {
    /// The service of the events.
    pub(crate) service: &'a str,
    /// Their name, as it was sent.
    pub(crate) name: &'a str,
    /// Lines that became rows.
    pub(crate) recorded: usize,
    /// Lines that became dead letters.
    pub(crate) refused: usize,
    /// Why the first of those did.
    pub(crate) errors: Vec<LineError>,
}

/// Why a line did not become a row.
#[derive(Debug, serde::Serialize)]
pub(crate) struct LineError {
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// The original answers a body that it cannot read without any header for browsers; here it has all of them, as otherwise
/// a page could not read the reason.
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

/// What an answer takes from its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The visitor, known or new.
    pub(crate) uid: u64,
    /// The page that may read the answer.
    pub(crate) origin: CorsOrigin<'a>,
    /// The host that a trusted proxy names; the cookie is for it, then.
    pub(crate) host: Option<&'a str>,
    /// Whether the answer is the native structure, which has neither `Content-Type` nor `Location`.
    pub(crate) native: bool,
    /// Whether the method is HEAD: everything as for GET, but no body.
    pub(crate) is_head: bool,
}

/// What all answers of a process have in common; made once.
#[derive(Debug)]
pub(crate) struct Answers {
    cookie: Cookie,
    set: HeaderSet,
}

impl Answers {
    /// Returns the answers of a process that started at `started`. The uid cookie is for `cookie_domain`
    /// (see [`auto_domain`](crate::identify::auto_domain)), without one for the host alone.
    pub(crate) fn new(cookie_domain: Option<&str>, started: SystemTime, set: HeaderSet) -> Self {
        Self {
            cookie: Cookie::new(cookie_domain, started),
            set,
        }
    }

    /// Returns `answer` with all that the response takes from its request.
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
            // There is nothing in a redirect to be of a type, and browsers let no preflight set a
            // cookie.
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
            // The rest of the body may still come, and must not be taken for the next request.
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

/// A response but for its map of headers; borrows nothing of its request.
#[derive(Debug)]
pub(crate) struct Draft {
    status: StatusCode,
    set: HeaderSet,
    kind: Kind,
    /// The page that may read the answer.
    origin: Option<HeaderValue>,
    cookie: Option<HeaderValue>,
    /// The header that only such an answer has.
    special: Option<(HeaderName, HeaderValue)>,
    media_type: Option<HeaderValue>,
    body: Bytes,
    is_head: bool,
    /// How far the event's row has come.
    ack: Option<Ack>,
}

/// When to come again with an event whose row did not reach the disk, in seconds.
const RETRY_AFTER_S: u32 = 2;

impl Draft {
    /// Returns the status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the answer to an event whose row is as far as was asked for.
    pub(crate) fn acknowledged(mut self, reached: Ack) -> Self {
        self.ack = Some(reached);
        self
    }

    /// Returns the answer to an event whose row did not come as far as was asked for. What is on disk will be stored, or is a dead
    /// letter, and is not to be sent again; what is in memory alone may be lost, and is.
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

    /// Returns the response, `elapsed_ms` after its request came; its headers take the place of those in `headers`.
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
            // Where the body is left out, hyper does not know its length.
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
