//! Adapted: a request in the protocol of a route's sender.
//!
//! The [adapter](crate::adapters) makes a document of the request's body, once it is verified and
//! decompressed. The document is a batch as any other. The response becomes the sender's at last,
//! whatever it reports.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use http_body_util::{BodyExt, Full};

use crate::{
    adapters::{Adapted, Adapter, AdapterError, ReplyForm, Request},
    answer::{Answer, ResponseDraft},
    arena::{self, Arena},
    collect::{
        Collector, Processed, Response,
        batch::{AsBatch, BatchText},
        head::{Arrival, RequestHead},
        item_path::ItemPath,
        offload,
        route::{Destination, Route, Routes},
    },
    intake::rejection::Rejection,
    request::{
        body::Payload,
        read_body::{ReadBodyError, ReadyBody},
    },
};

/// Asks whether a sender of CloudEvents may send here
/// ([Web Hooks for Event Delivery](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md), 4).
const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// The paths of OTLP/HTTP for the signals other than logs.
const OTHER_SIGNALS: [&str; 3] = ["/v1/traces", "/v1/metrics", "/v1development/profiles"];

/// Returns whether a route has this adapter.
pub(super) fn speaks(adapter: Adapter, destinations: &[Destination]) -> bool {
    let mut adapters = destinations.iter().filter_map(|route| route.options?.adapter);
    adapters.any(|other| other == adapter)
}

/// Returns whether a request exports another signal of OpenTelemetry than logs. Exporters send all
/// signals to one address, each to a path of its own.
pub(super) fn is_other_signal(parts: &Parts) -> bool {
    parts.method == Method::POST && OTHER_SIGNALS.contains(&parts.uri.path())
}

/// Returns the protocol of a route's sender, if the route has an adapter.
#[inline]
pub(super) fn adapter_of(route: Option<&Route>) -> Option<Adapter> {
    route?.options?.adapter
}

impl Collector {
    /// Answers a request in the protocol of its sender.
    #[cold]
    #[inline(never)]
    pub(super) fn answer_adapted<R: Routes>(
        self: Arc<Self>,
        adapter: Adapter,
        mut parts: Parts,
        mut body: Result<ReadyBody, ReadBodyError>,
        arrival: Arrival,
    ) -> Response {
        let form = ReplyForm::of(adapter, &parts);
        let asking = allowed_origin(adapter, &parts);
        if adapter.reads_query(&parts.method)
            && let Ok(body) = &mut body
        {
            move_query(&mut parts, body);
        }
        let response = match offload::is_long(&body) {
            true => self.answer_offloaded::<R>(parts, body, arrival),
            false => self.answer_here::<R>(parts, body, arrival),
        };
        Response::Waiting(Box::pin(async move {
            let mut response = with_content(form, response).await;
            if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
                let accepted = HeaderValue::from_static(adapter.accepted_types());
                response.headers_mut().insert(header::ACCEPT, accepted);
            }
            if let Some(origin) = asking {
                response.headers_mut().insert(ALLOWED_ORIGIN, origin);
                let any = HeaderValue::from_static("*");
                response.headers_mut().insert(ALLOWED_RATE, any);
            }
            response
        }))
    }

    /// Refuses a signal of OpenTelemetry other than logs, in the form that its exporter reads.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse_signal(self: Arc<Self>, parts: Parts, arrival: Arrival) -> Response {
        let form = ReplyForm::of(Adapter::OtlpLogs, &parts);
        let draft = arena::with(|arena| {
            let head = RequestHead::read(&parts, arrival, &self.proxies, arena);
            self.draft(Answer::LOGS_ONLY, &head, None)
        });
        let response = self.respond(parts, draft, arrival);
        Response::Waiting(Box::pin(with_content(form, response)))
    }

    /// Makes a batch of a request's body.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_adapted<R: Routes>(
        &self,
        adapter: Adapter,
        head: &RequestHead<'_>,
        body: ReadyBody,
        arena: &Arena,
    ) -> Processed {
        if is_encoded(head) && !body.bytes.is_empty() {
            return Processed::Encoded(Box::new(body));
        }
        let ReadyBody { bytes, booking, .. } = body;
        let mut booking = booking.unwrap_or_else(|| self.writer.request_memory().booking());
        let request = Request {
            method: &head.parts.method,
            path: head.parts.uri.path(),
            headers: &head.parts.headers,
            body: &bytes,
            arena,
        };
        let adapted = adapter.read(&request, &mut |length| {
            if length > self.max_rows_bytes {
                return Err(AdapterError::TooLong);
            }
            let both = bytes.len().saturating_add(length);
            booking.grow_to(both).map_err(|_| AdapterError::OutOfMemory)
        });
        match adapted {
            Ok(Adapted {
                text,
                keys,
                shared,
                refused,
            }) => {
                drop(bytes);
                let text = BatchText {
                    text,
                    start: 0,
                    items: Some(ItemPath { keys, shared }),
                    // The next one is taken from the end.
                    refused: refused.into_iter().rev().collect(),
                };
                self.begin_batch::<R>(head, text, AsBatch::DOCUMENT, Some(booking))
            }
            Err(error) => self.reject_adapted::<R>(adapter, error, head, &bytes).into(),
        }
    }

    /// Rejects a request that is not one of the protocol.
    fn reject_adapted<R: Routes>(
        &self,
        adapter: Adapter,
        error: AdapterError,
        head: &RequestHead<'_>,
        body: &[u8],
    ) -> ResponseDraft {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let payload = Payload::Json(text.strip_prefix('\u{feff}').unwrap_or(text));
        let rejection = match error {
            AdapterError::Json(error) => Rejection::Syntax(error),
            AdapterError::Protocol(reason) => Rejection::Protocol { reason },
            AdapterError::MediaType => {
                let accepted = adapter.accepted_types();
                let reason = format!("bodies of this Content-Type are not accepted; send {accepted}");
                self.writer.rejections().count_event("body");
                self.write_unread_dead_letter(head, body, "body", &reason);
                let answer = Answer::Failed {
                    status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    reason: Some(&reason),
                };
                return self.draft(answer, head, None);
            }
            AdapterError::TooLong => return self.draft(Answer::TOO_LONG_EVENTS, head, None),
            AdapterError::OutOfMemory => return self.draft(Answer::FULL, head, None),
        };
        self.reject_malformed::<R>(&rejection, head, body, &payload, None)
    }
}

impl Answer<'static> {
    const LOGS_ONLY: Self = Self::Failed {
        status: StatusCode::NOT_FOUND,
        reason: Some("this collector takes OpenTelemetry logs only: turn the exporter of this signal off"),
    };
    const TOO_LONG_EVENTS: Self = Self::Failed {
        status: StatusCode::PAYLOAD_TOO_LARGE,
        reason: Some("the events of the request take too many bytes: send fewer of them"),
    };
}

/// Makes the query of a request its body, so that the query is not part of each event besides.
fn move_query(parts: &mut Parts, body: &mut ReadyBody) {
    let query = parts.uri.query().unwrap_or_default();
    body.bytes = Bytes::copy_from_slice(query.as_bytes());
    // A path of a request is a valid URI by itself.
    if let Ok(uri) = Uri::try_from(parts.uri.path()) {
        parts.uri = uri;
    }
    parts.headers.remove(header::CONTENT_ENCODING);
}

fn is_encoded(head: &RequestHead<'_>) -> bool {
    let encoding = head.headers.content_encoding.map(HeaderValue::as_bytes);
    encoding.is_some_and(|encoding| {
        let encoding = encoding.trim_ascii();
        !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity")
    })
}

/// Returns the origin that asks whether it may send CloudEvents.
fn allowed_origin(adapter: Adapter, parts: &Parts) -> Option<HeaderValue> {
    let asks = adapter == Adapter::CloudEvents && parts.method == Method::OPTIONS;
    asks.then(|| parts.headers.get(REQUEST_ORIGIN).cloned()).flatten()
}

/// Returns a response with the content that the sender expects.
async fn with_content(form: ReplyForm, response: Response) -> http::Response<Full<Bytes>> {
    let response = match response {
        Response::Ready(response) => response,
        Response::Waiting(response) => response.await,
    };
    if form == ReplyForm::Own {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // A body in memory is complete and cannot fail.
    let own = body.collect().await.map(http_body_util::Collected::to_bytes);
    let own = own.unwrap_or_default();
    let body = match form.content(parts.status, &own) {
        None => own,
        Some((media_type, body)) => {
            parts.headers.insert(header::CONTENT_TYPE, media_type);
            body
        }
    };
    http::Response::from_parts(parts, Full::new(body))
}
