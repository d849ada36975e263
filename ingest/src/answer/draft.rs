//! Drafts of responses: an answer in HTTP, apart from its header map.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::{
    ack::{ACK_HEADER, Ack},
    answer::{
        Answer, RETRY_AFTER_S,
        content::{self, content},
        context::Context,
        header_set::HeaderSet,
        headers::{self, Kind},
    },
    block::receipt::Receipt,
    request::body::{ACCEPTED_CODINGS, ACCEPTED_TYPES},
};

/// The acknowledgement that a response waits for.
#[derive(Debug)]
pub(crate) struct PendingAck {
    pub(crate) receipt: Receipt,
    /// The requested level.
    pub(crate) ack: Ack,
    /// Whether the response stays the same if the level is not reached.
    pub(crate) best_effort: bool,
}

/// A response without its header map; it borrows nothing from its request.
#[derive(Debug)]
pub(crate) struct ResponseDraft {
    /// The acknowledgement that the response waits for, if any.
    pub(crate) pending_ack: Option<PendingAck>,
    status: StatusCode,
    set: HeaderSet,
    kind: Kind,
    /// The page that may read the response.
    origin: Option<HeaderValue>,
    /// Whether this page may send the cookie.
    allows_credentials: bool,
    cookie: Option<HeaderValue>,
    /// A header for this answer alone, such as `Location` or `Retry-After`.
    special: Option<(HeaderName, HeaderValue)>,
    media_type: Option<HeaderValue>,
    body: Bytes,
    is_head: bool,
    /// The level that the event's row has reached.
    ack: Option<Ack>,
}

impl ResponseDraft {
    /// Returns the response to a request with this answer, without an acknowledgement to wait for.
    pub(crate) fn new(answer: Answer<'_>, context: &Context<'_>) -> Self {
        let status = answer.status();
        let (media_type, body) = content(&answer, status, context);
        let kind = match answer {
            Answer::Preflight(methods) => Kind::Preflight(methods),
            Answer::Teapot => Kind::Teapot,
            Answer::Pixel if !context.native => Kind::Embedded,
            Answer::Library(_) => Kind::Embedded,
            Answer::Redirect(_) if !context.native => Kind::Redirect,
            _ => Kind::Plain,
        };
        let (media_type, origin, has_cookie) = match context.headers {
            // A redirect has no content with a type, and browsers ignore cookies in a preflight.
            HeaderSet::Modern => (
                media_type.filter(|_| kind != Kind::Redirect),
                readers(context),
                !matches!(kind, Kind::Preflight(_)),
            ),
            HeaderSet::Rockstat => (media_type, Some(context.origin.to_value()), true),
        };
        let special = match answer {
            Answer::Redirect(location) if !context.native => Some((header::LOCATION, location.into_value())),
            Answer::Failed {
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                ..
            } => Some((header::ACCEPT, HeaderValue::from_static(ACCEPTED_TYPES))),
            Answer::MethodNotAllowed { allowed } => {
                let allowed = format!("{}, HEAD, OPTIONS", allowed.join(", "));
                HeaderValue::try_from(allowed)
                    .ok()
                    .map(|allowed| (header::ALLOW, allowed))
            }
            Answer::UnknownCoding(_) => Some((header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED_CODINGS))),
            Answer::TooManyRequests { retry_after_s } | Answer::Unavailable { retry_after_s } => {
                Some((header::RETRY_AFTER, retry_after_s.into()))
            }
            Answer::Batch(report)
                if report
                    .failure
                    .as_ref()
                    .is_some_and(|failure| failure.status == StatusCode::SERVICE_UNAVAILABLE) =>
            {
                Some((header::RETRY_AFTER, RETRY_AFTER_S.into()))
            }
            Answer::Unauthorized(Some(challenge)) => Some((header::WWW_AUTHENTICATE, challenge.to_value())),
            Answer::Preflight(_) if context.headers == HeaderSet::Modern => {
                headers::allowed_headers(context.requested_headers)
                    .map(|names| (header::ACCESS_CONTROL_ALLOW_HEADERS, names))
            }
            // The remaining body may still arrive and must not be parsed as the next request.
            Answer::Failed {
                status: StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE,
                ..
            } => Some((header::CONNECTION, HeaderValue::from_static("close"))),
            _ => None,
        };
        Self {
            pending_ack: None,
            status,
            set: context.headers,
            kind,
            origin,
            allows_credentials: context.allows_credentials,
            cookie: match (context.cookie, context.cookie_uid) {
                (Some(cookie), Some(uid)) if has_cookie => cookie.value(uid, context.host, context.is_secure),
                _ => None,
            },
            special,
            media_type,
            body,
            is_head: context.is_head,
            ack: None,
        }
    }

    /// Returns the response with one more header, unless its answer has one of its own.
    #[cold]
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.special = self.special.or(Some((name, value)));
        self
    }

    /// Returns the status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// Makes the response wait for the acknowledgement of its rows.
    pub(crate) fn waiting_for(mut self, ack: PendingAck) -> Self {
        self.pending_ack = Some(ack);
        self
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

    /// Returns the response to a request with a row that the shared log does not accept, since it
    /// has this many bytes. The log has the other rows.
    #[cold]
    pub(crate) fn too_long(mut self, bytes: usize) -> Self {
        self.status = StatusCode::PAYLOAD_TOO_LARGE;
        self.media_type = self.media_type.and(Some(content::JSON));
        self.body = format!(
            r#"{{"message":"Payload Too Large","reason":"a row has {bytes} bytes, more than the shared log accepts, and is in the dead letters; all other rows of the request are recorded; do not send it again"}}"#
        )
        .into();
        self.special = None;
        self
    }

    /// Returns the response, `elapsed_ms` after the request arrived; its headers replace those in
    /// `headers`.
    pub(crate) fn into_response(self, mut headers: HeaderMap, elapsed_ms: u64) -> Response<Full<Bytes>> {
        headers.clear();
        headers::put(self.set, self.kind, &mut headers, self.origin, self.allows_credentials);
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

/// Returns the pages that may read the response: the page that sent the request, if it may send the
/// cookie, or all pages. Without an `Origin`, CORS does not apply.
fn readers(context: &Context<'_>) -> Option<HeaderValue> {
    let origin = context.origin.given()?;
    Some(match context.allows_credentials {
        true => origin,
        false => HeaderValue::from_static("*"),
    })
}
