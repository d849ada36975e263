//! The response to a request: at once, or when its rows have reached the promised level.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, header, request::Parts};
use http_body_util::Full;

use crate::{
    ack::Ack,
    answer::{
        Answer, Context, ResponseDraft,
        redirect::{Location, RedirectError},
    },
    collect::{
        Collector,
        head::{Arrival, IMAGE_CHANNEL, RequestHead},
        own_paths::Methods,
        resolve::VisitorUid,
        route::Routes,
    },
    identify::CorsOrigin,
    intake::event_meta::{EventMeta, WEBSOCKET_CHANNEL},
    request::{claims::Claims, read_body::ReadBodyError},
};

/// The response to a request.
pub(crate) enum Response {
    /// The response is complete.
    Ready(http::Response<Full<Bytes>>),
    /// The response waits for the request's rows: for their acknowledgement, or until NDJSON is
    /// decoded.
    Waiting(PendingResponse),
}

pub(crate) type PendingResponse = Pin<Box<dyn Future<Output = http::Response<Full<Bytes>>> + Send>>;

impl Collector {
    /// Responds at once, or when the rows have reached the level that the draft waits for.
    pub(super) fn respond(
        self: Arc<Self>,
        mut parts: Parts,
        mut draft: ResponseDraft,
        mut arrival: Arrival,
    ) -> Response {
        self.writer.rejections().count_response(draft.status());
        match draft.pending_ack.take() {
            None => Response::Ready(draft.into_response(parts.headers, arrival.elapsed_ms())),
            Some(pending) => {
                arrival.mark_delayed();
                // Drop the header values during the wait; the response reuses the map's capacity.
                parts.headers.clear();
                Response::Waiting(Box::pin(async move {
                    let end = pending.receipt.end_within(self.ack_timeout).await;
                    let draft = if end.level >= pending.ack || pending.best_effort {
                        draft.acknowledged(end.level)
                    } else {
                        let draft = match end.too_long_bytes {
                            Some(bytes) => draft.too_long(bytes),
                            None => draft.unacknowledged(end.level),
                        };
                        self.writer.rejections().count_response(draft.status());
                        draft
                    };
                    draft.into_response(parts.headers, arrival.elapsed_ms())
                }))
            }
        }
    }

    /// Drafts the response. Without `uid`, the query or the cookie determines the visitor.
    pub(super) fn draft(&self, answer: Answer<'_>, head: &RequestHead<'_>, uid: Option<VisitorUid>) -> ResponseDraft {
        let answer = match &self.redirects {
            Some(redirects) => self.restricted(redirects, answer, head),
            None => answer,
        };
        let uid = uid.unwrap_or_else(|| self.visitor_without_event(head));
        let origin = CorsOrigin::of(&head.headers);
        let is_secure = head.client.is_secure || head.is_tls;
        let context = Context {
            cookie: self.cookie.as_ref(),
            headers: self.headers,
            uid: uid.of_event,
            cookie_uid: uid.of_cookie,
            origin,
            allows_credentials: match origin {
                CorsOrigin::Given(origin) => self.cors.allows_credentials(origin, requested_host(head), is_secure),
                CorsOrigin::Referer(_) | CorsOrigin::Any => false,
            },
            requested_headers: match answer {
                Answer::Preflight(_) => head.parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS),
                _ => None,
            },
            host: head.client.host,
            is_secure,
            native: head.target.native,
            is_head: head.parts.method == Method::HEAD,
        };
        ResponseDraft::new(answer, &context)
    }

    /// Returns the answer to a request that is not an event, whatever its body contains.
    pub(super) fn answer_without_event<R: Routes>(&self, head: &RequestHead<'_>) -> Option<Answer<'_>> {
        match head.parts.method {
            Method::OPTIONS => {
                let methods = head.route.map_or(Methods(&[]), |route| route.methods());
                return Some(Answer::Preflight(methods.0));
            }
            Method::HEAD => return Some(self.answer_to_head::<R>(head)),
            Method::GET | Method::POST if head.route.is_none_or(|route| route.options.is_none()) => {}
            _ => return answer_to_method(head),
        }
        match head.parts.uri.path() {
            "/lib.js" if self.catch_all => Some(Answer::Library(&self.library)),
            "/coffee" if self.catch_all => Some(Answer::Teapot),
            _ => None,
        }
    }
}

impl Collector {
    /// Returns the answer to HEAD, which is not an event: mail and chat scanners send it before
    /// people open a link, and senders of webhooks before they use an address.
    #[cold]
    fn answer_to_head<R: Routes>(&self, head: &RequestHead<'_>) -> Answer<'static> {
        let service = match head.route {
            Some(_) => head.target.service,
            None => head.query.text("service").unwrap_or(head.target.service),
        };
        match branch(service) {
            "pixel" => Answer::Pixel,
            "redir" => redirect(head.query.text("to")),
            _ if self.route::<R>(head, &Claims::default()).is_some() => Answer::Reachable,
            _ => Answer::BAD_REQUEST,
        }
    }
}

/// Returns the answer to a method that is not one of the route's.
#[cold]
fn answer_to_method(head: &RequestHead<'_>) -> Option<Answer<'static>> {
    let method = &head.parts.method;
    let methods = head.route.map_or(Methods(&[]), |route| route.methods());
    match methods {
        Methods([]) if matches!(*method, Method::GET | Method::POST) => None,
        Methods([]) => Some(Answer::BAD_REQUEST),
        _ if methods.accept(method) => None,
        Methods(allowed) => Some(Answer::MethodNotAllowed { allowed }),
    }
}

/// Returns the host that the client requested, with its port if it has one.
pub(super) fn requested_host<'h>(head: &'h RequestHead<'_>) -> Option<&'h str> {
    let host = || head.parts.headers.get(header::HOST).map(HeaderValue::to_str);
    let authority = || head.parts.uri.authority().map(|authority| authority.as_str());
    head.client.host.or_else(|| host()?.ok()).or_else(authority)
}

/// Returns the draft of a response that waits for no row, with `X-Rowmill-Ack: accepted` if an
/// acknowledgement was requested.
pub(super) fn accepted(draft: ResponseDraft, requested: Option<Ack>, ack: Ack) -> ResponseDraft {
    if requested.is_some() || ack > Ack::Accepted {
        draft.acknowledged(Ack::Accepted)
    } else {
        draft
    }
}

/// Returns the answer to a recorded event; `to` is the redirect's target.
pub(super) fn answer_of<'a>(meta: &EventMeta<'a>, to: Option<&str>) -> Answer<'a> {
    match (branch(meta.service), meta.name) {
        ("pixel", _) => Answer::Pixel,
        ("redir", _) => redirect(to),
        ("track", _) if meta.channel == IMAGE_CHANNEL => Answer::Pixel,
        ("track", "ping") if meta.channel == WEBSOCKET_CHANNEL => Answer::Pong,
        ("track", "hello") if meta.channel == WEBSOCKET_CHANNEL => Answer::Hi,
        ("track", _) => Answer::Tracked { id: meta.id },
        ("hello", "ping") => Answer::Pong,
        ("hello", "hello") => Answer::Hi,
        ("hello", _) => Answer::NOT_FOUND,
        (_, name) => Answer::Recorded {
            service: meta.service,
            name,
            id: meta.id,
        },
    }
}

/// Returns the part of a service that determines its answers: `track.shop` is a branch of `track`.
fn branch(service: &str) -> &str {
    match service.bytes().position(|byte| byte == b'.') {
        Some(end) => &service[..end],
        None => service,
    }
}

pub(super) fn redirect<'a>(to: Option<&str>) -> Answer<'a> {
    to.map_or(Err(RedirectError::Missing), Location::parse).into()
}

impl From<ReadBodyError> for Answer<'_> {
    fn from(error: ReadBodyError) -> Self {
        match error {
            ReadBodyError::TooLarge => Self::TOO_LARGE,
            ReadBodyError::TimedOut => Self::TIMED_OUT,
            ReadBodyError::Broken => Self::BAD_REQUEST,
            ReadBodyError::OutOfMemory => Self::FULL,
        }
    }
}
