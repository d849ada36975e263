//! Arrays: many events in one message, which have one answer.
//!
//! The events are recorded in time slices. Those of a short array are recorded on the event loop.
//! A longer one is recorded on the delivery runtime, under the permits of batches: thousands of
//! sessions that send arrays at the same time then delay other requests by one slice, and not by as
//! many slices as there are sessions.

use std::{sync::Arc, vec};

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::{sync::Semaphore, task::yield_now};

use super::{
    message::{Answer, Marks, PendingAnswer, Sender, answer_of, answer_to, ready},
    reply::{self, Refusal},
};
use crate::{
    arena,
    budget::Booking,
    collect::{
        Collector,
        head::RequestHead,
        response::{PendingResponse, Response},
        route::Routes,
    },
    intake::rejection::Rejection,
    native::time_slice::TimeSlice,
    request::body::Payload,
};

/// The most events of an array. Longer ones are for HTTP, where they need less memory.
const MAX_EVENTS: usize = 1_000;

/// The length of an array, in bytes, from which on it is recorded on the delivery runtime. Shorter
/// ones have few events, so a thousand of them delay others little.
const LONG_ARRAY: usize = 1 << 10;

/// The memory of an event of an array until its answer is sent, in bytes: its response, and the
/// text of a usual answer.
const EVENT_BYTES: usize = 1 << 10;

/// The space of a header in the map of a request, in bytes.
const HEADER_BYTES: usize = 128;

/// An event of an array.
enum Element {
    /// The event has its answer.
    Answered(String),
    /// The event is recorded, and the answer waits for its acknowledgement.
    Pending(Option<Box<RawValue>>, PendingResponse),
}

/// The events of an array that is being recorded.
struct Events {
    remaining: vec::IntoIter<Bytes>,
    begun: Vec<Element>,
    /// The memory of all events and their answers.
    booking: Booking,
}

impl Collector {
    /// Begins the handling of an array: of events, or of calls. `array` is UTF-8.
    pub(super) fn begin_array<R: Routes>(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        array: Bytes,
        booking: Option<Booking>,
    ) -> PendingAnswer {
        if array.len() < LONG_ARRAY {
            return self.begin_elements::<R>(sender, array, booking, None);
        }
        let (collector, sender) = (Arc::clone(self), Arc::clone(sender));
        Box::pin(async move {
            let of_work = Arc::clone(&collector);
            let work = async move {
                let permits = Arc::clone(&of_work.batch_permits);
                of_work
                    .begin_elements::<R>(&sender, array, booking, Some(permits))
                    .await
            };
            match collector.offload(work).await {
                Some(answer) => answer,
                None => collector.booked(collector.refuse(Refusal::OutOfMemory, None), None),
            }
        })
    }

    /// Begins the handling of the elements; each time slice takes one of the `permits`.
    fn begin_elements<R: Routes>(
        self: &Arc<Self>,
        sender: &Arc<Sender>,
        array: Bytes,
        booking: Option<Booking>,
        permits: Option<Arc<Semaphore>>,
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
        let events = Events {
            begun: Vec::with_capacity(events.len()),
            remaining: events.into_iter(),
            booking,
        };
        let (collector, sender) = (Arc::clone(self), Arc::clone(sender));
        Box::pin(async move { collector.record_events::<R>(&sender, events, permits).await })
    }

    /// Records all events, and answers them.
    async fn record_events<R: Routes>(
        self: Arc<Self>,
        sender: &Sender,
        mut events: Events,
        permits: Option<Arc<Semaphore>>,
    ) -> Answer {
        loop {
            // The semaphore is never closed.
            let permit = match &permits {
                Some(permits) => permits.acquire().await.ok(),
                None => None,
            };
            self.record_slice::<R>(sender, &mut events);
            drop(permit);
            if events.remaining.as_slice().is_empty() {
                break;
            }
            yield_now().await;
        }
        let mut answers = Vec::with_capacity(events.begun.len());
        for element in events.begun {
            answers.push(match element {
                Element::Answered(text) => text,
                Element::Pending(id, response) => answer_to(Response::Waiting(response), id.as_deref()).await,
            });
        }
        self.booked(reply::of_array(&answers), Some(events.booking))
    }

    /// Records events for one time slice.
    fn record_slice<R: Routes>(self: &Arc<Self>, sender: &Sender, events: &mut Events) {
        let slice = TimeSlice::begin();
        for event in events.remaining.by_ref() {
            let element = self.record_element::<R>(sender, event);
            events.begun.push(element);
            if slice.is_spent() {
                break;
            }
        }
    }

    fn record_element<R: Routes>(self: &Arc<Self>, sender: &Sender, event: Bytes) -> Element {
        let id = Marks::read(str::from_utf8(&event).unwrap_or_default())
            .id
            .map(ToOwned::to_owned);
        if event.len() > self.body_limits.max_bytes {
            return Element::Answered(self.refuse(Refusal::TooLong, id.as_deref()));
        }
        match self.begin_event::<R>(sender, event, None) {
            Response::Waiting(response) => Element::Pending(id, response),
            Response::Ready(response) => Element::Answered(answer_of(response, id.as_deref())),
        }
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
}
