//! JSON-RPC 2.0 ([specification](https://www.jsonrpc.org/specification)) at `POST /rpc`: each call is
//! an event.
//!
//! A call of the method `service.name` is handled as a POST of its parameters to `/service/name`, so
//! routes, rate limits, verification and acknowledgements are those of that path. All calls of a
//! batch are recorded before the first of them is waited for.

mod call;
mod discover;
mod reply;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt, Full};
use tokio::task::yield_now;

use self::{
    call::{Call, Calls, MAX_CALLS},
    reply::{Failure, Reply},
};
use crate::{
    answer::Answer,
    arena,
    collect::{
        Collector,
        head::{Arrival, RequestHead},
        idempotency::KeySource,
        offload,
        once::idempotency_of,
        response::Response,
        route::{Route, Routes},
    },
    request::read_body::{ReadBodyError, ReadyBody},
};

/// The path of calls.
const PATH: &str = "/rpc";

/// The method that describes all others, by the [OpenRPC](https://spec.open-rpc.org)
/// specification.
const DISCOVER: &str = "rpc.discover";

/// The number of calls that are recorded before other requests have their turn.
const CALLS_BETWEEN_YIELDS: usize = 32;

/// Headers of the request that describe its own body, which is not the body of a call.
pub(super) const BODY_HEADERS: [header::HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::EXPECT,
];

/// A call that is recorded, and whose outcome may still be unknown.
enum Begun {
    /// The reply is complete.
    Done(Reply),
    /// The call has the id, and its event has this response.
    Waiting { id: String, response: Response },
    /// A notification: its sender expects no reply.
    Notified(Response),
}

/// Returns whether a request is one of calls.
pub(super) fn is_call(parts: &Parts) -> bool {
    parts.uri.path() == PATH && parts.method == Method::POST
}

impl Collector {
    /// Answers a request of one call or of a batch.
    #[cold]
    #[inline(never)]
    pub(super) fn answer_calls<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        body: Result<ReadyBody, ReadBodyError>,
        mut arrival: Arrival,
    ) -> Response {
        let is_long = offload::is_long(&body);
        let body = body.map_err(Answer::from).and_then(|body| match is_coded(&parts) {
            true => Err(Answer::CODED_CALLS),
            false => Ok(body),
        });
        let body = match body {
            Ok(body) => body,
            Err(answer) => {
                let draft = arena::with(|arena| {
                    let head = RequestHead::read(&parts, arrival, &self.proxies, arena);
                    self.draft(answer, &head, None)
                });
                return self.respond(parts, draft, arrival);
            }
        };
        arrival.mark_delayed();
        Response::Waiting(Box::pin(async move {
            let collector = Arc::clone(&self);
            let calls = async move { collector.run_calls::<R>(parts, &body.bytes, arrival).await };
            match is_long {
                true => self.offload(calls).await.unwrap_or_else(offload::unavailable),
                false => calls.await,
            }
        }))
    }

    async fn run_calls<R: Routes>(
        self: Arc<Self>,
        parts: Parts,
        body: &Bytes,
        arrival: Arrival,
    ) -> http::Response<Full<Bytes>> {
        let text = self.reply_to_calls::<R>(&parts, body, arrival).await;
        let draft = arena::with(|arena| {
            let head = RequestHead::read(&parts, arrival, &self.proxies, arena);
            self.draft(Answer::Replies(&text), &head, None)
        });
        draft.into_response(parts.headers, arrival.elapsed_ms())
    }

    /// Records the events of one call or of a batch, and returns the text of the reply; empty if
    /// there is none.
    pub(super) async fn reply_to_calls<R: Routes>(
        self: &Arc<Self>,
        parts: &Parts,
        body: &Bytes,
        arrival: Arrival,
    ) -> String {
        let (replies, is_batch) = match Calls::parse(body) {
            Err(failure) => (vec![Reply::failed(None, failure)], false),
            Ok(Calls::One(call)) => (self.replies::<R>(parts, body, arrival, &[call], false).await, false),
            Ok(Calls::Batch(calls)) if calls.is_empty() || calls.len() > MAX_CALLS => {
                (vec![Reply::failed(None, Failure::INVALID_REQUEST)], false)
            }
            Ok(Calls::Batch(calls)) => (self.replies::<R>(parts, body, arrival, &calls, true).await, true),
        };
        reply::text(&replies, is_batch)
    }

    /// Records the events of all calls, and returns the replies to those that have an id, in their
    /// order.
    async fn replies<R: Routes>(
        self: &Arc<Self>,
        parts: &Parts,
        body: &Bytes,
        arrival: Arrival,
        calls: &[Result<Call<'_>, Failure>],
        is_batch: bool,
    ) -> Vec<Reply> {
        let mut begun = Vec::with_capacity(calls.len());
        for (at, call) in calls.iter().enumerate() {
            if at > 0 && at % CALLS_BETWEEN_YIELDS == 0 {
                yield_now().await;
            }
            begun.push(match call {
                Ok(call) => self.begin_call::<R>(parts, body, arrival, call, is_batch.then_some(at)),
                Err(failure) => Begun::Done(Reply::failed(None, *failure)),
            });
        }
        let mut replies = Vec::with_capacity(begun.len());
        for call in begun {
            match call {
                Begun::Done(reply) => replies.push(reply),
                Begun::Waiting { id, response } => replies.push(reply_of(id, response).await),
                Begun::Notified(Response::Ready(_)) => {}
                Begun::Notified(Response::Waiting(response)) => _ = response.await,
            }
        }
        replies
    }

    /// Records the event of a call; `number` is that of the call in its batch.
    fn begin_call<R: Routes>(
        self: &Arc<Self>,
        parts: &Parts,
        body: &Bytes,
        arrival: Arrival,
        call: &Call<'_>,
        number: Option<usize>,
    ) -> Begun {
        let failed = |failure| match call.id {
            Some(id) => Begun::Done(Reply::failed(Some(id), failure)),
            // A notification has no reply, not even if it fails.
            None => Begun::Notified(Response::Ready(http::Response::default())),
        };
        if call.method == DISCOVER {
            return match call.id {
                Some(id) => Begun::Done(Reply::result(id, discover::document::<R>())),
                None => failed(Failure::METHOD_NOT_FOUND),
            };
        }
        let Some(uri) = uri_of(&call.method) else {
            return failed(Failure::METHOD_NOT_FOUND);
        };
        let params = match call.params {
            None => Bytes::from_static(b"{}"),
            // Only parameters with names can be the fields of an event.
            Some(params) if params.starts_with('{') => body.slice_ref(params.as_bytes()),
            Some(_) => return failed(Failure::INVALID_PARAMS),
        };
        let mut parts = parts.clone();
        for name in BODY_HEADERS {
            parts.headers.remove(name);
        }
        let json = HeaderValue::from_static("application/json");
        parts.headers.insert(header::CONTENT_TYPE, json);
        let route = super::declared::<R>(&super::Target::parse(uri.path()));
        parts.uri = uri;
        if let (Some(number), Some(route)) = (number, &route) {
            complete_key(&mut parts, route, number);
        }
        let event = ReadyBody {
            bytes: params,
            booking: None,
            turn: Default::default(),
        };
        let response = Arc::clone(self).answer::<R>(parts, Ok(event), arrival.with_route(route));
        match call.id {
            Some(id) => Begun::Waiting {
                id: id.to_owned(),
                response,
            },
            None => Begun::Notified(response),
        }
    }
}

/// Completes the idempotency key of a batch with the number of one of its calls: each call of a
/// repeated batch is a repeat then, and no call is one of another call.
fn complete_key(parts: &mut Parts, route: &Route, number: usize) {
    let Some(KeySource::Header(name)) = idempotency_of(route).map(|keys| keys.key) else {
        return;
    };
    if let Some(key) = parts.headers.get_mut(name)
        && let Ok(completed) = HeaderValue::from_bytes(&[key.as_bytes(), b"#", number.to_string().as_bytes()].concat())
    {
        *key = completed;
    }
}

/// Returns whether the body of a request is compressed.
fn is_coded(parts: &Parts) -> bool {
    let coding = parts.headers.get(header::CONTENT_ENCODING);
    coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

impl Answer<'static> {
    const CODED_CALLS: Self = Self::Failed {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        reason: Some("calls of JSON-RPC must not be compressed"),
    };
}

/// Returns the URI of the path that a method stands for; `None` if it stands for none.
fn uri_of(method: &str) -> Option<Uri> {
    let (service, name) = method.split_once('.')?;
    let is_segment = |text: &str| !text.is_empty() && !text.contains(['/', '?', '#', '\\']);
    // The specification reserves the methods of `rpc`.
    if service == "rpc" || !is_segment(service) || !is_segment(name) {
        return None;
    }
    // The last `/` keeps a dot of the name from being an extension.
    Uri::try_from(format!("/{service}/{name}/")).ok()
}

async fn reply_of(id: String, response: Response) -> Reply {
    let response = match response {
        Response::Ready(response) => response,
        Response::Waiting(response) => response.await,
    };
    let (parts, body) = response.into_parts();
    // A body in memory is complete and cannot fail.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes);
    Reply::of(id, &parts, &body.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::{
        ack::AckPolicy,
        collect::{idempotency::Idempotency, route::RouteOptions},
        intake::{intake, testing::TestRow},
    };

    const ROUTE: Route = Route {
        handler: intake::<TestRow<'_, false>>,
        acks: AckPolicy::NONE,
        options: Some(&RouteOptions {
            idempotency: Some(Idempotency {
                scope: "wh/mail",
                key: KeySource::Header("idempotency-key"),
                window_s: 60,
                required: false,
            }),
            ..RouteOptions::NONE
        }),
    };

    #[test]
    fn each_call_of_a_batch_has_an_idempotency_key_of_its_own() {
        let mut parts = Request::new(()).into_parts().0;
        complete_key(&mut parts, &ROUTE, 1);
        assert_eq!(parts.headers.get("idempotency-key"), None);
        let key = HeaderValue::from_static("k");
        for number in [0, 12] {
            parts.headers.insert("idempotency-key", key.clone());
            complete_key(&mut parts, &ROUTE, number);
            assert_eq!(parts.headers["idempotency-key"], format!("k#{number}"));
        }
    }
}
