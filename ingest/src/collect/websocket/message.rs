//! Messages: what a text of a session is, and the handling of each kind.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Uri, header, request::Parts};
use http_body_util::{BodyExt, Collected, Full};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::reply::{self, Refusal};
use crate::{
    arena,
    budget::Booking,
    collect::{
        Collector,
        head::{Arrival, SessionUid},
        idempotency::KeySource,
        json_rpc,
        response::Response,
        route::{Destination, Routes},
    },
    identify::claimed_uid,
    request::read_body::ReadyBody,
};

/// The length of an answer, in bytes, from which on its memory is booked.
const LONG_ANSWER: usize = 1 << 10;

/// An answer that is not complete yet.
pub(super) type PendingAnswer = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// An answer of a session.
#[derive(Debug)]
pub(super) struct Answer {
    /// The text; empty if the sender expects no answer.
    pub(super) text: String,
    /// The memory of a long text, until it is sent.
    pub(super) _booking: Option<Booking>,
}

/// The fields of a message that the session itself reads.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Marks<'m> {
    /// The id that the answer repeats.
    #[serde(borrow, default, rename = "id__")]
    pub(super) id: Option<&'m RawValue>,
    #[serde(borrow, default)]
    jsonrpc: Option<&'m RawValue>,
}

impl<'m> Marks<'m> {
    /// Reads a message; no marks if it is not an object, or has one of the fields twice.
    pub(super) fn read(message: &'m str) -> Self {
        serde_json::from_str(message).unwrap_or_default()
    }

    pub(super) fn is_call(&self) -> bool {
        self.jsonrpc.is_some_and(|version| version.get() == r#""2.0""#)
    }
}

/// The sender of a session's messages, as its handshake describes it.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) parts: Parts,
    arrival: Arrival,
}

impl Sender {
    /// Returns the sender for a handshake; `uid` is that of its visitor.
    pub(super) fn new<R: Routes>(mut parts: Parts, arrival: Arrival, uid: u64) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let has_own_uid = arena::with(|arena| {
            let query = crate::fields::Fields::from_query(query, arena);
            claimed_uid(query.text("uid"), None).is_some()
        });
        for name in json_rpc::BODY_HEADERS.iter().chain(&[
            header::CONNECTION,
            header::UPGRADE,
            header::SEC_WEBSOCKET_ACCEPT,
            header::SEC_WEBSOCKET_EXTENSIONS,
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_PROTOCOL,
            header::SEC_WEBSOCKET_VERSION,
        ]) {
            parts.headers.remove(name);
        }
        // A key of the handshake would make each message a repeat of the first one.
        for name in R::DESTINATIONS.iter().filter_map(key_header) {
            parts.headers.remove(name);
        }
        if has_own_uid {
            parts.headers.remove(header::COOKIE);
        }
        let json = HeaderValue::from_static("application/json");
        parts.headers.insert(header::CONTENT_TYPE, json);
        parts.method = Method::POST;
        parts.uri = Uri::from_static("/");
        parts.extensions.insert(SessionUid(uid));
        Self {
            parts,
            arrival: arrival.of_session(),
        }
    }

    pub(super) fn arrival(&self) -> Arrival {
        self.arrival.renewed()
    }
}

/// Returns the header with the idempotency key of a destination's events.
fn key_header(destination: &Destination) -> Option<&'static str> {
    match destination.options?.idempotency?.key {
        KeySource::Header(name) => Some(name),
        KeySource::Column(_) => None,
    }
}

impl Collector {
    /// Begins the handling of a message, and returns its answer. `message` is UTF-8.
    pub(super) fn begin_message<R: Routes>(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        message: Bytes,
        booking: Option<Booking>,
    ) -> PendingAnswer {
        let text = str::from_utf8(&message).unwrap_or_default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_ascii_start().starts_with('[') {
            return self.begin_array::<R>(sender, message.slice_ref(text.as_bytes()), booking);
        }
        let marks = Marks::read(text);
        if message.len() > self.body_limits.max_bytes {
            return ready(self.refuse(Refusal::TooLong, marks.id));
        }
        if marks.is_call() {
            return self.begin_calls::<R>(sender, message.clone(), booking);
        }
        let id = marks.id.map(ToOwned::to_owned);
        let response = self.begin_event::<R>(sender, message.clone(), booking);
        let collector = Arc::clone(self);
        Box::pin(async move {
            let text = answer_to(response, id.as_deref()).await;
            collector.booked(text, None)
        })
    }

    /// Begins the handling of one event.
    pub(super) fn begin_event<R: Routes>(
        self: &Arc<Self>,
        sender: &Sender,
        event: Bytes,
        booking: Option<Booking>,
    ) -> Response {
        let body = ReadyBody {
            bytes: event,
            booking,
            turn: Default::default(),
        };
        Arc::clone(self).answer::<R>(sender.parts.clone(), Ok(body), sender.arrival())
    }

    /// Begins the handling of calls of JSON-RPC.
    pub(super) fn begin_calls<R: Routes>(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        calls: Bytes,
        booking: Option<Booking>,
    ) -> PendingAnswer {
        let (collector, sender) = (Arc::clone(self), Arc::clone(sender));
        Box::pin(async move {
            let _booking = booking;
            let text = collector
                .reply_to_calls::<R>(&sender.parts, &calls, sender.arrival())
                .await;
            collector.booked(text, None)
        })
    }

    /// Returns the answer to a message that is refused before it is an event.
    #[cold]
    pub(super) fn refuse(&self, refusal: Refusal, id: Option<&RawValue>) -> String {
        self.writer.rejections().count_response(refusal.status());
        reply::of_refusal(refusal, id)
    }

    /// Books the memory of an answer until it is sent.
    pub(super) fn booked(&self, text: String, booking: Option<Booking>) -> Answer {
        if text.len() < LONG_ANSWER {
            return Answer {
                text,
                _booking: booking,
            };
        }
        let mut booking = booking.unwrap_or_else(|| self.writer.request_memory().booking());
        match booking.grow_to(text.len()) {
            Ok(()) => Answer {
                text,
                _booking: Some(booking),
            },
            Err(_) => Answer {
                text: self.refuse(Refusal::OutOfMemory, None),
                _booking: None,
            },
        }
    }
}

/// Waits for the response of an event's POST, and returns the answer to the event.
pub(super) async fn answer_to(response: Response, id: Option<&RawValue>) -> String {
    match response {
        Response::Ready(response) => answer_of(response, id),
        Response::Waiting(response) => answer_of(response.await, id),
    }
}

/// Returns the answer to an event whose POST has this response.
pub(super) fn answer_of(response: http::Response<Full<Bytes>>, id: Option<&RawValue>) -> String {
    let (parts, body) = response.into_parts();
    // A body in memory is complete and cannot fail.
    let body = body.collect().now_or_never().and_then(Result::ok);
    reply::of_response(&parts, &body.map(Collected::to_bytes).unwrap_or_default(), id)
}

pub(super) fn ready(text: String) -> PendingAnswer {
    Box::pin(std::future::ready(Answer { text, _booking: None }))
}
