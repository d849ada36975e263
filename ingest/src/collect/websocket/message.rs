//! Messages: what a text of a session is, and the handling of each kind.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Method, Uri, header, request::Parts};
use http_body_util::{BodyExt, Collected};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::task::yield_now;

use super::reply::{self, Refusal};
use crate::{
    arena,
    budget::Booking,
    collect::{
        Collector,
        head::{Arrival, RequestHead, SessionUid},
        idempotency::KeySource,
        json_rpc,
        offload::LONG_BODY,
        response::Response,
        route::{Destination, Routes},
    },
    identify::claimed_uid,
    intake::rejection::Rejection,
    request::{body::Payload, read_body::ReadyBody},
};

/// The most events of an array. Longer ones are for HTTP, where they are decoded in time slices.
const MAX_EVENTS: usize = 1_000;

/// The number of events that are recorded before other requests have their turn.
const EVENTS_BETWEEN_YIELDS: usize = 32;

/// The memory of an event of an array until its answer is sent, in bytes: its response, and the
/// text of a usual answer.
const EVENT_BYTES: usize = 1 << 10;

/// The space of a header in the map of a request, in bytes.
const HEADER_BYTES: usize = 128;

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
struct Marks<'m> {
    /// The id that the answer repeats.
    #[serde(borrow, default, rename = "id__")]
    id: Option<&'m RawValue>,
    #[serde(borrow, default)]
    jsonrpc: Option<&'m RawValue>,
}

impl<'m> Marks<'m> {
    /// Reads a message; no marks if it is not an object, or has one of the fields twice.
    fn read(message: &'m str) -> Self {
        serde_json::from_str(message).unwrap_or_default()
    }

    fn is_call(&self) -> bool {
        self.jsonrpc.is_some_and(|version| version.get() == r#""2.0""#)
    }
}

/// The sender of a session's messages, as its handshake describes it.
#[derive(Debug)]
pub(super) struct Sender {
    parts: Parts,
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

    fn arrival(&self) -> Arrival {
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
            let array = message.slice_ref(text.as_bytes());
            return match array.len() < LONG_BODY {
                true => self.begin_array::<R>(sender, array, booking),
                false => self.begin_long_array::<R>(sender, array, booking),
            };
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
    fn begin_event<R: Routes>(self: &Arc<Self>, sender: &Sender, event: Bytes, booking: Option<Booking>) -> Response {
        let body = ReadyBody {
            bytes: event,
            booking,
            turn: Default::default(),
        };
        Arc::clone(self).answer::<R>(sender.parts.clone(), Ok(body), sender.arrival())
    }

    /// Begins the handling of calls of JSON-RPC.
    fn begin_calls<R: Routes>(
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

    /// Begins the handling of an array: of events, or of calls.
    fn begin_array<R: Routes>(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        array: Bytes,
        booking: Option<Booking>,
    ) -> PendingAnswer {
        let text = str::from_utf8(&array).unwrap_or_default();
        let Ok(events) = serde_json::from_str::<Vec<&RawValue>>(text) else {
            return self.reject_array::<R>(sender, text);
        };
        if events.first().is_some_and(|first| Marks::read(first.get()).is_call()) {
            return self.begin_calls::<R>(sender, array.clone(), booking);
        }
        if events.len() > MAX_EVENTS {
            return ready(self.refuse(Refusal::TooManyEvents, None));
        }
        let mut booking = booking.unwrap_or_else(|| self.writer.request_memory().booking());
        // Each response keeps the space of its request's headers.
        let of_event = EVENT_BYTES + sender.parts.headers.len() * HEADER_BYTES;
        let needed = booking.bytes() + events.len() * of_event;
        if booking.grow_to(needed).is_err() {
            return ready(self.refuse(Refusal::OutOfMemory, None));
        }
        let events: Vec<Bytes> = events
            .iter()
            .map(|event| array.slice_ref(event.get().as_bytes()))
            .collect();
        let (collector, sender) = (Arc::clone(self), Arc::clone(sender));
        Box::pin(async move {
            let mut begun = Vec::with_capacity(events.len());
            for (at, event) in events.into_iter().enumerate() {
                if at > 0 && at % EVENTS_BETWEEN_YIELDS == 0 {
                    yield_now().await;
                }
                let id = Marks::read(str::from_utf8(&event).unwrap_or_default())
                    .id
                    .map(ToOwned::to_owned);
                begun.push(match event.len() > collector.body_limits.max_bytes {
                    true => Err(collector.refuse(Refusal::TooLong, id.as_deref())),
                    false => Ok((id, collector.begin_event::<R>(&sender, event, None))),
                });
            }
            let mut answers = Vec::with_capacity(begun.len());
            for event in begun {
                answers.push(match event {
                    Ok((id, response)) => answer_to(response, id.as_deref()).await,
                    Err(refusal) => refusal,
                });
            }
            collector.booked(reply::of_array(&answers), Some(booking))
        })
    }

    /// Begins the handling of an array on the delivery runtime.
    fn begin_long_array<R: Routes>(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        array: Bytes,
        booking: Option<Booking>,
    ) -> PendingAnswer {
        let (collector, sender) = (Arc::clone(self), Arc::clone(sender));
        Box::pin(async move {
            let of_work = Arc::clone(&collector);
            let work = async move { of_work.begin_array::<R>(&sender, array, booking).await };
            match collector.offload(work).await {
                Some(answer) => answer,
                None => collector.booked(collector.refuse(Refusal::OutOfMemory, None), None),
            }
        })
    }

    /// Rejects an array that is not JSON.
    #[cold]
    fn reject_array<R: Routes>(self: &Arc<Self>, sender: &Sender, text: &str) -> PendingAnswer {
        let payload = Payload::Json(text);
        let arrival = sender.arrival();
        let draft = arena::with(|arena| {
            let head = RequestHead::read(&sender.parts, arrival, &self.proxies, arena);
            match payload.check() {
                Err(error) => {
                    let rejection = Rejection::Syntax(error);
                    self.reject_malformed::<R>(&rejection, &head, text.as_bytes(), &payload, None)
                }
                Ok(()) => self.draft(crate::answer::Answer::BAD_REQUEST, &head, None),
            }
        });
        let response = Arc::clone(self).respond(sender.parts.clone(), draft, arrival);
        let collector = Arc::clone(self);
        Box::pin(async move {
            let text = answer_to(response, None).await;
            collector.booked(text, None)
        })
    }

    /// Returns the answer to a message that is refused before it is an event.
    #[cold]
    fn refuse(&self, refusal: Refusal, id: Option<&RawValue>) -> String {
        self.writer.rejections().count_response(refusal.status());
        reply::of_refusal(refusal, id)
    }

    /// Books the memory of an answer until it is sent.
    fn booked(&self, text: String, booking: Option<Booking>) -> Answer {
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

/// Returns the answer to an event whose POST has this response.
async fn answer_to(response: Response, id: Option<&RawValue>) -> String {
    let response = match response {
        Response::Ready(response) => response,
        Response::Waiting(response) => response.await,
    };
    let (parts, body) = response.into_parts();
    // A body in memory is complete and cannot fail.
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    reply::of_response(&parts, &body, id)
}

fn ready(text: String) -> PendingAnswer {
    Box::pin(std::future::ready(Answer { text, _booking: None }))
}
