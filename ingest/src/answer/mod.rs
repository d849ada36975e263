//! Answers: all responses that the collector can send, as one enum, and their form in HTTP.
//!
//! An [`Answer`] and the [`Context`] of its request make a [`ResponseDraft`], which borrows nothing
//! and may wait for an acknowledgement. The draft becomes the response: it puts the headers of the
//! chosen [`HeaderSet`](header_set::HeaderSet) into the request's header map, which is no longer
//! needed and has the capacity. This cannot fail: if a cookie domain is not valid in a header, the
//! response has no cookie. hyper adds `Content-Length`, `Date`, `Connection` and `Keep-Alive`.
//!
//! The answer to an event allocates nothing: each thread keeps a buffer for texts, and all fixed
//! parts are static.

mod batch_report;
mod content;
mod context;
pub(crate) mod cookie;
pub(crate) mod cors;
mod draft;
mod fixed;
pub(crate) mod header_set;
mod headers;
mod private_host;
pub(crate) mod redirect;
mod text;
pub(crate) mod visitor_cookie;

use http::StatusCode;

pub use self::fixed::FixedAnswer;
pub(crate) use self::{
    batch_report::{BatchFailure, BatchReport, ItemError, ItemNumber},
    content::PIXEL,
    context::Context,
    draft::{PendingAck, ResponseDraft},
    fixed::EchoedField,
};
use crate::{
    answer::redirect::{Location, RedirectError},
    request::body::BodyError,
    table::refusal::InvalidColumn,
};

/// The time after which a client should retry an event that the spool has no space for, or that
/// is not on disk, in seconds: about the time that a block takes to be stored.
const RETRY_AFTER_S: u32 = 2;

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
    /// A recorded event of a route whose answer the schema sets.
    Fixed(&'static FixedAnswer),
    /// A field of the request, which is not an event.
    Echo(EchoedField<'a>),
    /// The outcome of a request of many events.
    Batch(&'a BatchReport<'a>),
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
    InvalidRedirect(RedirectError),
    /// The answer to `/hello/ping`.
    Pong,
    /// The answer to `/hello/hello`.
    Hi,
    /// `/lib.js`: passes the visitor's uid to the browser library, and has the library itself if the
    /// collector has one.
    Library(&'a str),
    /// `/coffee`.
    Teapot,
    /// The answer to HEAD on a route whose events are neither images nor redirects.
    Reachable,
    /// The answer to OPTIONS: the methods of the route's events; empty for GET and POST.
    Preflight(&'static [&'static str]),
    /// The replies to the calls of a JSON-RPC request, as JSON; empty if none expects one.
    Replies(&'a str),
    /// A failure: its status, and a reason if the status does not explain it.
    Failed {
        /// The status; its standard phrase is the message.
        status: StatusCode,
        /// The advice to the client.
        reason: Option<&'a str>,
    },
    /// The request is not from the sender of its route.
    Unauthorized(Option<Challenge>),
    /// The method is not one of the route's.
    MethodNotAllowed {
        /// The methods of the route's events.
        allowed: &'static [&'static str],
    },
    /// The body has a coding that is not accepted: the advice to the client.
    UnknownCoding(&'a str),
    /// The event does not fit the table.
    InvalidColumns(&'a [InvalidColumn]),
    /// The address or the route has exceeded its rate limit.
    TooManyRequests {
        /// The time until another request is allowed, in seconds.
        retry_after_s: u32,
    },
    /// The spool or its memory budget is full; the client should retry.
    Unavailable {
        /// The time until a retry, in seconds.
        retry_after_s: u32,
    },
}

/// The scheme that a 401 names in `WWW-Authenticate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token.
    Bearer,
}

impl<'a> Answer<'a> {
    /// Returns the answer to a request of many events, on a route whose answer may be `fixed`.
    ///
    /// A sender that expects the fixed answer takes any other one for a failure and repeats the
    /// request, with the events that are recorded already. So a refused event does not change the
    /// answer, unless no event is recorded.
    pub(crate) fn of_batch(report: &'a BatchReport<'a>, fixed: Option<&'static FixedAnswer>) -> Self {
        let answer = Answer::Batch(report);
        match fixed {
            Some(fixed) if answer.status() == StatusCode::OK => Answer::Fixed(fixed),
            _ => answer,
        }
    }
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
    /// The token of a request for an echo is absent or wrong.
    pub(crate) const WRONG_TOKEN: Self = Self::Failed {
        status: StatusCode::FORBIDDEN,
        reason: Some("the token is wrong"),
    };
    /// The environment variable with the expected token is not set.
    pub(crate) const NO_TOKEN: Self = Self::Failed {
        status: StatusCode::SERVICE_UNAVAILABLE,
        reason: Some("the collector has no token to compare with"),
    };
    /// The body is too large; Rockstat answers 400.
    pub(crate) const TOO_LARGE: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: None,
    };
    /// The request has more events than fit in a block.
    pub(crate) const TOO_MANY_ITEMS: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: Some("a request may have at most 100000 lines or items"),
    };
    /// The rows of the request take more bytes than allowed.
    pub(crate) const TOO_LONG_ROWS: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: Some(
            "each row has the whole query and the headers, which take too many bytes in total: send fewer lines or items",
        ),
    };
    /// The spool or its memory budget is full.
    pub(crate) const FULL: Self = Self::Unavailable {
        retry_after_s: RETRY_AFTER_S,
    };
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

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Redirect(_) => StatusCode::FOUND,
            Self::InvalidRedirect(error) => error.status(),
            Self::InvalidColumns(_) => StatusCode::BAD_REQUEST,
            Self::Fixed(answer) => answer.status(),
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Batch(BatchReport {
                failure: Some(failure), ..
            }) => failure.status,
            Self::Batch(report) if report.recorded == 0 && report.rejected > 0 => StatusCode::BAD_REQUEST,
            Self::Teapot => StatusCode::IM_A_TEAPOT,
            Self::UnknownCoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Replies("") => StatusCode::NO_CONTENT,
            Self::Failed { status, .. } => *status,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    }
}

/// Rockstat's answer to a malformed body has none of the headers for browsers. This one has all of
/// them, so that a page can read the reason.
impl From<BodyError> for Answer<'_> {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::UnknownCoding => Self::UnknownCoding(error.reason()),
            _ => Self::Failed {
                status: error.status(),
                reason: Some(error.reason()),
            },
        }
    }
}

impl From<Result<Location, RedirectError>> for Answer<'_> {
    fn from(target: Result<Location, RedirectError>) -> Self {
        target.map_or_else(Self::InvalidRedirect, Self::Redirect)
    }
}

#[cfg(test)]
mod tests;
