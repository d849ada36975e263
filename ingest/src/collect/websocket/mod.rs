//! WebSocket ([RFC 6455](https://www.rfc-editor.org/rfc/rfc6455)) at `/wss`: each message is an event.
//!
//! A message is handled as a POST of its JSON with the headers of the handshake, so that decoding,
//! rejections, rate limits, verification and acknowledgements are those of HTTP. The session of a
//! connection is a task of its own; a server that counts and stops its connections takes the session
//! over with its [`SessionHandle`].
//!
//! ```text
//! handshake  checks the request that opens a session
//! handle     the server's access to a session
//! metered    bounds the memory and the time of a message that arrives
//! message    the event or the calls of a message
//! array      the events of a message that is an array
//! reply      the text of an answer
//! session    reads messages and writes answers
//! ```

mod array;
mod handle;
mod handshake;
mod message;
mod metered;
mod reply;
mod session;

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;

pub(crate) use self::handle::SessionHandle;
use self::{message::Sender, session::Session};
use crate::{
    answer::{Answer, ResponseDraft, header_set::HeaderSet},
    arena,
    collect::{
        Collector,
        head::{Arrival, RequestHead},
        resolve::VisitorUid,
        response::{Response, requested_host},
        route::Routes,
    },
    identify::CorsOrigin,
};

/// The path of sessions.
const PATH: &str = "/wss";

/// Returns whether a request opens a session, or tries to.
pub(super) fn is_handshake(parts: &Parts) -> bool {
    // Without an upgrade, the path can be that of an event whose query has the service.
    let has_service = || parts.uri.query().is_some_and(|query| query.contains("service="));
    parts.uri.path() == PATH
        && parts.method == Method::GET
        && (parts.headers.contains_key(header::UPGRADE) || !has_service())
}

impl Answer<'static> {
    const UNKNOWN_ORIGIN: Self = Self::Failed {
        status: StatusCode::FORBIDDEN,
        reason: Some("pages of this origin may not open a WebSocket; see --allow-origin"),
    };
    const NO_UPGRADE: Self = Self::Failed {
        status: StatusCode::NOT_IMPLEMENTED,
        reason: Some("the server of this layer does not upgrade connections"),
    };
}

impl Collector {
    /// Opens a session, or answers why not.
    #[cold]
    #[inline(never)]
    pub(super) fn open_session<R: Routes>(self: Arc<Self>, mut parts: Parts, arrival: Arrival) -> Response {
        let opened = arena::with(|arena| {
            let head = RequestHead::read(&parts, arrival, &self.proxies, arena);
            self.check_handshake(&head).map(|accept| {
                let uid = self.visitor_without_event(&head);
                (accept, uid, self.cookie_of_session(&head, uid))
            })
        });
        let (accept, uid, cookie) = match opened {
            Ok(opened) => opened,
            Err(draft) => return self.refuse_session(parts, *draft, arrival),
        };
        let (Some(upgrade), Ok(runtime)) = (parts.extensions.remove::<OnUpgrade>(), Handle::try_current()) else {
            let draft = arena::with(|arena| {
                let head = RequestHead::read(&parts, arrival, &self.proxies, arena);
                self.draft(Answer::NO_UPGRADE, &head, Some(uid))
            });
            return self.respond(parts, draft, arrival);
        };
        let mut response = http::Response::new(Full::default());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        if let Some(protocol) = handshake::protocol(&parts.headers) {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        if let Some(cookie) = cookie {
            headers.insert(header::SET_COOKIE, cookie);
        }
        let handle = SessionHandle::new();
        let sender = Sender::new::<R>(parts, arrival, uid.of_event);
        let of_task = handle.clone();
        handle.set_task(runtime.spawn(async move {
            match upgrade.await {
                Ok(stream) => {
                    let session = Session::<R, _>::new(self, sender, TokioIo::new(stream), of_task).await;
                    session.run().await;
                }
                Err(error) => tracing::debug!(%error, "a connection ended before its WebSocket began"),
            }
        }));
        response.extensions_mut().insert(handle);
        Response::Ready(response)
    }

    /// Checks the request that opens a session, and returns the value of `Sec-WebSocket-Accept`.
    ///
    /// # Errors
    ///
    /// The answer to a request that opens none.
    fn check_handshake(&self, head: &RequestHead<'_>) -> Result<HeaderValue, Box<ResponseDraft>> {
        let checked = handshake::check(head.parts).map_err(|error| {
            let draft = self.draft(error.answer(), head, None);
            match error.header() {
                Some((name, value)) => draft.with_header(name, value),
                None => draft,
            }
        });
        let accept = checked.map_err(Box::new)?;
        self.check_rate_of_address(head)
            .and_then(|()| match self.may_open_session(head) {
                true => Ok(accept),
                false => Err(Answer::UNKNOWN_ORIGIN),
            })
            .map_err(|answer| Box::new(self.draft(answer, head, None)))
    }

    /// Returns whether a page may open a session. A session always has the visitor's cookie, so the
    /// page must be one that may send it. Clients other than browsers send no `Origin`.
    fn may_open_session(&self, head: &RequestHead<'_>) -> bool {
        let CorsOrigin::Given(origin) = CorsOrigin::of(&head.headers) else {
            return true;
        };
        let is_secure = head.client.is_secure || head.is_tls;
        self.headers == HeaderSet::Rockstat || self.cors.allows_credentials(origin, requested_host(head), is_secure)
    }

    fn cookie_of_session(&self, head: &RequestHead<'_>, uid: VisitorUid) -> Option<HeaderValue> {
        let is_secure = head.client.is_secure || head.is_tls;
        self.cookie.as_ref()?.value(uid.of_cookie?, head.client.host, is_secure)
    }

    /// Responds to a request that opens no session.
    fn refuse_session(self: Arc<Self>, parts: Parts, draft: ResponseDraft, arrival: Arrival) -> Response {
        let needs_upgrade = draft.status() == StatusCode::UPGRADE_REQUIRED;
        match self.respond(parts, draft, arrival) {
            Response::Ready(mut response) if needs_upgrade => {
                let headers = response.headers_mut();
                headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                Response::Ready(response)
            }
            response => response,
        }
    }
}

#[cfg(test)]
impl Collector {
    /// Runs the session of a handshake on `stream`, until it ends.
    pub(super) async fn run_session<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        arrival: Arrival,
        stream: tokio::io::DuplexStream,
        handle: SessionHandle,
    ) {
        let uid = arena::with(|arena| {
            let head = RequestHead::read(&parts, arrival, &self.proxies, arena);
            self.visitor_without_event(&head)
        });
        let sender = Sender::new::<R>(parts, arrival, uid.of_event);
        Session::<R, _>::new(self, sender, stream, handle).await.run().await;
    }
}
