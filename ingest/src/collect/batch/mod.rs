//! Batch: a request of many events: lines, the elements of an array, the documents of a sequence.
//!
//! Each item is an event as the body of a single event is: the same decoder, the same reasons to
//! refuse it. The path and the query of the request decide the destination of all items; an item
//! may have its own `projectId` and `uid`. The rows go into one block together, so a request that
//! the spool has no space for has stored nothing and can be sent again unchanged. An invalid item
//! becomes a dead letter and does not affect the others.
//!
//! Items are decoded in time slices: the first slice runs on the event loop, as for any event, and
//! the others on the delivery runtime, which yields to event loops. The memory of the rows is
//! booked as they grow; a request that exceeds its limit is rejected at once.
//!
//! ```text
//! items           the splitters of each format
//! document        the events inside a document
//! shared          the fields that these events share
//! rejected_items  the items that did not become rows
//! streamed        a batch whose text arrives in pieces
//! text            the text of a batch, and its format
//! ```

mod document;
mod items;
mod rejected_items;
mod shared;
mod streamed;
mod text;

pub(super) use self::{
    items::is_lines,
    streamed::{StreamedBatch, Taken},
    text::{AsBatch, BatchText, Place},
};
use std::sync::Arc;

use http::request::Parts;
use tokio::{sync::OwnedSemaphorePermit, task::yield_now};

use crate::{
    ack::{Ack, UnknownAck},
    answer::{Answer, BatchReport, ItemNumber, PendingAck, ResponseDraft},
    arena::{self, Arena},
    block::{receipt::Receipt, rows::RowBatch},
    budget::Booking,
    collect::{
        Collector, Processed, Response,
        batch::{
            document::Document,
            items::{Break, Items},
            rejected_items::{RejectedItem, RejectedItems},
            shared::SharedFields,
        },
        head::{Arrival, RequestHead},
        offload::unavailable,
        once::{idempotency_of, reached_already},
        resolve::VisitorUid,
        response::{answer_of, redirect},
        route::{Route, Routes},
        throttle::too_many_requests,
    },
    identify::{Address, claimed_uid},
    intake::{
        event::{Event, Sink},
        event_meta::EventMeta,
        rejection::Rejection,
    },
    native::time_slice::TimeSlice,
    request::{
        body::Payload,
        claims::Claims,
        envelope::{Envelope, may_contain_sender_keys},
    },
};

/// The number of bytes read and written between two reads of the clock; they take some fifty
/// microseconds.
const WORK_BETWEEN_CLOCK_READS: usize = 16 << 10;

/// The fixed cost of an item, expressed in bytes.
const WORK_OF_ITEM: usize = 64;

/// The length of a row in addition to its item and to the query; few rows are longer.
const LONG_ROW: usize = 512;

/// `Ok` if all items are decoded; otherwise the answer with the reason.
type Decoded = Result<(), Answer<'static>>;

/// A batch between its text and its rows.
pub(super) struct BatchRequest {
    text: String,
    items: Items,
    shared: SharedFields,
    /// The items that an adapter refuses: their indexes, in descending order, and the reasons.
    refused: Vec<(usize, String)>,
    /// See [`AsBatch::is_declared`].
    is_declared: bool,
    route: Route,
    requested: Option<Ack>,
    ack: Ack,
    uid: VisitorUid,
    has_senders: bool,
    rows: RowBatch,
    rejected: RejectedItems,
    /// The number of items that the route's options leave out.
    left_out: usize,
    booking: Booking,
    /// The bytes booked for the text and the request around it.
    booked_for_text: usize,
    /// The bytes of the query, counted once per item; 0 for a streamed text.
    query_bytes: usize,
    /// Whether the path names a declared destination.
    has_declared_path: bool,
}

impl BatchRequest {
    /// Returns the address of all items, by the rules that found their route.
    fn address<'a>(&self, head: &'a RequestHead<'_>) -> Option<Address<'a>> {
        let (query, no_claims) = (head.claims(), Claims::default());
        if self.has_declared_path {
            Some(Address::of_path(&head.target, &query, &no_claims))
        } else {
            Address::resolve(&head.target, &query, &no_claims)
        }
    }
}

impl Collector {
    /// Checks and prepares everything that applies to all items.
    #[cold]
    pub(super) fn begin_batch<R: Routes>(
        &self,
        head: &RequestHead<'_>,
        BatchText {
            text,
            start,
            items,
            refused,
        }: BatchText,
        as_batch: AsBatch,
        booking: Option<Booking>,
    ) -> Processed {
        let AsBatch {
            format,
            is_declared,
            is_counted,
        } = as_batch;
        let no_claims = Claims::default();
        let uid = self.visitor_without_event(head);
        let respond = |answer: Answer<'_>| Processed::from(self.draft(answer, head, Some(uid)));
        let Some((address, route)) = self.route::<R>(head, &no_claims) else {
            return respond(Answer::NOT_FOUND);
        };
        if let Some(echo) = route.options.and_then(|options| options.echo)
            && let Some(answer) = echo.answer_to_query(&head.query)
        {
            return respond(answer);
        }
        if !is_counted && let Err(retry_after) = self.check_rate_of_route(&address) {
            return respond(match address.service {
                "redir" => redirect(head.query.text("to")),
                "pixel" if !is_declared => Answer::Pixel,
                _ => too_many_requests(retry_after),
            });
        }
        let requested = match self.requested_ack(route.acks, head) {
            Ok(requested) => requested,
            Err(UnknownAck) => return respond(Answer::UNKNOWN_ACK),
        };
        let document = match items.or_else(|| route.options?.items) {
            Some(path) => document::open(&text, start, &path),
            None => Items::new(format, &text, start).map(|items| Document {
                items,
                shared: SharedFields::default(),
            }),
        };
        let Document { items, shared } = match document {
            Ok(document) => document,
            Err(rejection) => {
                let payload = Payload::Json(&text);
                let body = text.as_bytes();
                return self
                    .reject_malformed::<R>(&rejection, head, body, &payload, Some(uid))
                    .into();
            }
        };
        let mut booking = booking.unwrap_or_else(|| self.writer.request_memory().booking());
        // A table keeps the fields of a record besides.
        let copies = if format.is_json() { 1 } else { 2 };
        if booking.grow_to(copies * text.capacity()).is_err() {
            return respond(Answer::FULL);
        }
        let mut rejected = RejectedItems::of_request(&text, head);
        rejected.is_private = route.is_private();
        Processed::Batch(Box::new(BatchRequest {
            items,
            shared,
            refused,
            is_declared,
            has_declared_path: head.route.is_some(),
            route,
            requested,
            ack: requested.unwrap_or(self.ack),
            uid,
            has_senders: !format.is_json() || may_contain_sender_keys(&text),
            rows: RowBatch::with_capacity_for(text.len()),
            rejected,
            left_out: 0,
            booked_for_text: booking.bytes(),
            booking,
            query_bytes: 0,
            text,
        }))
    }

    /// Answers for all items: directly if a permit is free and one time slice decodes them,
    /// otherwise from a task.
    pub(super) fn respond_to_batch(
        self: Arc<Self>,
        parts: Parts,
        mut batch: Box<BatchRequest>,
        mut arrival: Arrival,
    ) -> Response {
        if let Ok(permit) = Arc::clone(&self.batch_permits).try_acquire_owned()
            && let Some(decoded) = self.decode_with_permit(permit, &parts, &mut batch, arrival)
        {
            let draft = self.record_batch(&parts, *batch, decoded, arrival);
            return self.respond(parts, draft, arrival);
        }
        arrival.mark_delayed();
        Response::Waiting(Box::pin(async move {
            let collector = Arc::clone(&self);
            let decoding = async move {
                let decoded = collector.decode_items(&parts, &mut batch, arrival).await;
                (parts, batch, decoded)
            };
            // Without the runtime, no row is accepted.
            let Some((parts, batch, decoded)) = self.offload(decoding).await else {
                return unavailable();
            };
            let draft = self.record_batch(&parts, *batch, decoded, arrival);
            match self.respond(parts, draft, arrival) {
                Response::Ready(response) => response,
                Response::Waiting(response) => response.await,
            }
        }))
    }

    /// Decodes items, one time slice per permit. Waiting requests get their permits in order of
    /// arrival.
    async fn decode_items(&self, parts: &Parts, batch: &mut BatchRequest, arrival: Arrival) -> Decoded {
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = Arc::clone(&self.batch_permits).acquire_owned().await
                && let Some(decoded) = self.decode_with_permit(permit, parts, batch, arrival)
            {
                return decoded;
            }
            yield_now().await;
        }
    }

    fn decode_with_permit(
        &self,
        _permit: OwnedSemaphorePermit,
        parts: &Parts,
        batch: &mut BatchRequest,
        arrival: Arrival,
    ) -> Option<Decoded> {
        let decoded = arena::with(|arena| {
            let head = RequestHead::read(parts, arrival, &self.proxies, arena);
            self.decode_slice(&head, batch, arena)
        });
        if let Some(Err(_)) = &decoded {
            // Free the rows under the permit: nothing needs them, and freeing them may take long.
            batch.rows = RowBatch::default();
        }
        decoded
    }

    /// Decodes items into rows for one time slice. Returns `None` if items remain, otherwise the
    /// result.
    fn decode_slice(&self, head: &RequestHead<'_>, batch: &mut BatchRequest, arena: &Arena) -> Option<Decoded> {
        let uid = batch.uid;
        let Some(address) = batch.address(head) else {
            return Some(Err(Answer::NOT_FOUND));
        };
        let shared_meta = self.event_meta(head, &address, uid);
        let query_bytes = head.parts.uri.query().unwrap_or_default().len();
        // The rows of a streamed text leave in parts, however many there are.
        let is_streamed = matches!(batch.items, Items::Streamed(_));
        let counted_query_bytes = if is_streamed { 0 } else { query_bytes };
        let shared = batch.shared.values(&batch.text, arena);
        let shared_sender = shared::sender(shared, arena);
        let slice = TimeSlice::begin();
        let mut work = 0;
        loop {
            let next = batch.items.next(&batch.text);
            let (number, item) = match &next {
                Ok(None) => return Some(Ok(())),
                Ok(Some(item)) => (item.number, item.text),
                Err(found) => (found.number, found.rest),
            };
            // Rejected items count, too.
            if batch.rows.count() + batch.rejected.count == RowBatch::MAX {
                return Some(Err(Answer::TOO_MANY_ITEMS));
            }
            let mut meta = EventMeta {
                id: self.writer.ids().next(head.unix_ms),
                ..shared_meta
            };
            if let Err(Break { error, .. }) = next {
                let has_dead_letter = self.protect_unread(&batch.route, &mut meta, head, arena);
                let kept = self.kept_item(&batch.route, &meta, item, arena);
                let rejected = RejectedItem {
                    number,
                    payload: kept,
                    json: &batch.text,
                    has_dead_letter,
                };
                let rejection = Rejection::from(error);
                batch.rejected.push(&rejected, &meta, &rejection, head, &self.writer);
                return Some(Ok(()));
            }
            let written = batch.rows.bytes().len();
            let booked_for_others = batch.booked_for_text + batch.rejected.dead_letters.memory();
            let is_booked = batch.rows.reserve_for_row(LONG_ROW + item.len() + query_bytes, |rows| {
                batch.booking.grow_to(booked_for_others + rows)
            });
            if is_booked.is_err() {
                return Some(Err(Answer::FULL));
            }
            let refused = batch.refused.pop_if(|(index, _)| number == ItemNumber::Index(*index));
            let is_refused = refused.is_some();
            let mut has_dead_letter = true;
            let payload = batch.items.payload(item, shared, arena);
            let recorded = match (refused, payload) {
                (Some((_, reason)), payload) => {
                    let payload = payload.unwrap_or(Payload::Empty);
                    match self.protect_refused(&batch.route, &mut meta, head, &payload, arena) {
                        true => Err(Rejection::Protocol { reason }),
                        false => Ok(Receipt::NONE),
                    }
                }
                (None, Err(rejection)) => {
                    has_dead_letter = self.protect_unread(&batch.route, &mut meta, head, arena);
                    Err(rejection)
                }
                (None, Ok(payload)) => {
                    // A malformed item has no claims here; intake rejects it.
                    let envelope = batch
                        .has_senders
                        .then(|| Envelope::open_item(&payload, arena).unwrap_or_default());
                    if let Some(envelope) = &envelope {
                        let own = envelope.claims();
                        let claims = Claims {
                            service: None,
                            name: None,
                            project: own.project.or(shared_sender.project),
                            uid: own.uid.or(shared_sender.uid),
                        };
                        if claims.project.is_some() {
                            meta.project = Address::of_path(&head.target, &head.claims(), &claims).project;
                        }
                        meta.uid = claimed_uid(head.query.text("uid"), claims.uid).unwrap_or(uid.of_event);
                    }
                    let mut item_uid = uid;
                    if let Some(options) = batch.route.options
                        && options.is_selective()
                        && !self.select(options, &mut meta, &mut item_uid, head, &payload, arena)
                    {
                        batch.left_out += 1;
                        Ok(Receipt::NONE)
                    } else {
                        let event = Event {
                            meta,
                            query: &head.query,
                            payload: &payload,
                            ack: batch.ack,
                            hiding: batch.route.options.map_or(&[], |options| options.hiding),
                            arena,
                        };
                        (batch.route.handler)(&event, Sink::Rows(&mut batch.rows))
                    }
                }
            };
            if let Err(rejection) = recorded {
                let kept = match is_refused {
                    true => self.kept_refused(&batch.route, &meta, item, arena),
                    false => self.kept_item(&batch.route, &meta, item, arena),
                };
                let rejected = RejectedItem {
                    number,
                    payload: kept,
                    json: item,
                    has_dead_letter,
                };
                batch.rejected.push(&rejected, &meta, &rejection, head, &self.writer);
            }
            batch.query_bytes += counted_query_bytes;
            if batch.rows.bytes().len().max(batch.query_bytes) > self.max_rows_bytes {
                return Some(Err(Answer::TOO_LONG_ROWS));
            }
            let made = batch.rows.memory() + batch.rejected.dead_letters.memory();
            if batch.booking.grow_to(batch.booked_for_text + made).is_err() {
                return Some(Err(Answer::FULL));
            }
            work += WORK_OF_ITEM + item.len() + query_bytes + (batch.rows.bytes().len() - written);
            if work >= WORK_BETWEEN_CLOCK_READS {
                if slice.is_spent() {
                    return None;
                }
                work = 0;
            }
        }
    }

    /// Appends all rows to their block, and answers.
    fn record_batch(&self, parts: &Parts, batch: BatchRequest, decoded: Decoded, arrival: Arrival) -> ResponseDraft {
        arena::with(|arena| {
            let head = RequestHead::read(parts, arrival, &self.proxies, arena);
            let address = batch.address(&head).ok_or(Answer::NOT_FOUND);
            match decoded.and(address) {
                Ok(address) => self.record_rows(&head, &address, batch),
                Err(answer) => self.draft(answer, &head, Some(batch.uid)),
            }
        })
    }

    fn record_rows(&self, head: &RequestHead<'_>, address: &Address<'_>, batch: BatchRequest) -> ResponseDraft {
        let BatchRequest {
            mut rows,
            mut rejected,
            mut booking,
            booked_for_text,
            requested,
            ack,
            uid,
            is_declared,
            route,
            text,
            ..
        } = batch;
        let recorded = rows.count();
        // The block books the rows' memory from here on.
        booking.shrink_to(booked_for_text + rejected.dead_letters.memory());
        let appended = match idempotency_of(&route) {
            None => self
                .writer
                .append_rows(ack, &mut rows)
                .map_or(Err(Answer::FULL), |receipt| Ok((receipt, Ack::Accepted, 0, false))),
            Some(once) => self
                .append_batch_once(once, head, text.as_bytes(), ack, &mut rows)
                .map(|once| (once.receipt, once.reached, once.duplicates, once.is_repeat)),
        };
        let (receipt, reached, duplicates, is_repeat) = match appended {
            Ok(appended) => appended,
            Err(answer) => return self.draft(answer, head, Some(uid)),
        };
        // The first request has recorded its rejected items.
        if rejected.count > 0 && !is_repeat {
            rejected.count_others(head);
            for (code, count) in &rejected.codes {
                self.writer.rejections().count_events(code, *count);
            }
            if self
                .writer
                .append_rows(Ack::Accepted, &mut rejected.dead_letters)
                .is_err()
            {
                tracing::debug!(
                    letters = rejected.dead_letters.count(),
                    "dead letters are dropped: the spool has no space for them"
                );
            }
        }
        let report = BatchReport {
            service: address.service,
            name: address.name,
            recorded,
            duplicates,
            rejected: rejected.count,
            errors: rejected.errors,
            failure: None,
        };
        // A visitor is redirected no matter how many events the request contains.
        let answer = match address.service {
            "redir" => redirect(head.query.text("to")),
            _ if is_declared => Answer::of_batch(&report, route.answer()),
            _ => match answer_of(&self.event_meta(head, address, uid), None) {
                Answer::Pixel => Answer::Pixel,
                _ => Answer::of_batch(&report, route.answer()),
            },
        };
        let draft = self.draft(answer, head, Some(uid));
        let draft = if is_repeat { draft.replayed() } else { draft };
        match recorded {
            0 => draft,
            _ if receipt.is_pending() => draft.waiting_for(PendingAck {
                receipt,
                ack,
                best_effort: false,
            }),
            _ => reached_already(draft, requested, ack, reached),
        }
    }
}
