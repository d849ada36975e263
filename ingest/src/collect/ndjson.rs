//! NDJSON: a request of many events, one per line.
//!
//! The path and the query of the request decide the destination of all lines; a line may have its
//! own `projectId` and `uid`. The rows go into one block together, so a request that the spool has
//! no space for has stored nothing and can be sent again unchanged. An invalid line becomes a dead
//! letter and does not affect the others.
//!
//! Lines are decoded in time slices: the first slice runs on the event loop, as for any event, and
//! the others on the delivery runtime, which yields to event loops. The memory of the rows is
//! booked as they grow; a request that exceeds its limit is rejected at once.

use std::sync::Arc;

use http::request::Parts;
use tokio::{sync::OwnedSemaphorePermit, task::yield_now};

use crate::{
    ack::{Ack, UnknownAck},
    answer::{Answer, NdjsonReport, PendingAck, ResponseDraft},
    arena::{self, Arena},
    block::rows::RowBatch,
    budget::{Booking, SpoolFull},
    collect::{
        Collector, Processed, Response,
        head::{Arrival, RequestHead},
        offload::unavailable,
        rejected_lines::RejectedLines,
        resolve::VisitorUid,
        response::{accepted, redirect},
        route::{Route, Routes},
        throttle::too_many_requests,
    },
    identify::{Address, claimed_uid},
    intake::{
        event::{Event, Sink},
        event_meta::EventMeta,
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

/// The fixed cost of a line, expressed in bytes.
const WORK_OF_LINE: usize = 64;

/// The length of a row in addition to its line and to the query; few rows are longer.
const LONG_ROW: usize = 512;

/// `Ok` if all lines are decoded; otherwise the answer with the reason.
type Decoded = Result<(), Answer<'static>>;

/// An NDJSON request between its text and its rows.
pub(super) struct NdjsonRequest {
    text: String,
    /// The start of the next line; past the end of the text after the last line.
    at: usize,
    /// The number of lines read so far.
    number: usize,
    route: Route,
    requested: Option<Ack>,
    ack: Ack,
    uid: VisitorUid,
    has_senders: bool,
    rows: RowBatch,
    rejected: RejectedLines,
    booking: Booking,
    /// The bytes booked for the text and the request around it.
    booked_for_text: usize,
    /// The bytes of the query, counted once per line.
    query_bytes: usize,
    /// Whether the path names a declared destination.
    is_declared: bool,
}

impl NdjsonRequest {
    /// Returns the address of all lines, by the rules that found their route.
    fn address<'a>(&self, head: &'a RequestHead<'_>) -> Option<Address<'a>> {
        let (query, no_claims) = (head.claims(), Claims::default());
        if self.is_declared {
            Some(Address::of_path(&head.target, &query, &no_claims))
        } else {
            Address::resolve(&head.target, &query, &no_claims)
        }
    }
}

impl Collector {
    /// Checks and prepares everything that applies to all lines.
    pub(super) fn begin_ndjson<R: Routes>(
        &self,
        head: &RequestHead<'_>,
        text: String,
        booking: Option<Booking>,
    ) -> Processed {
        let no_claims = Claims::default();
        let uid = self.visitor(head, &no_claims);
        let respond = |answer: Answer<'_>| Processed::from(self.draft(answer, head, Some(uid)));
        let Some((address, route)) = self.route::<R>(head, &no_claims) else {
            return respond(Answer::NOT_FOUND);
        };
        if let Err(retry_after) = self.check_rate_of_route(&address) {
            return respond(match address.service {
                "redir" => redirect(head.query.text("to")),
                _ => too_many_requests(retry_after),
            });
        }
        let requested = match self.requested_ack(route.acks, head) {
            Ok(requested) => requested,
            Err(UnknownAck) => return respond(Answer::UNKNOWN_ACK),
        };
        let mut booking = booking.unwrap_or_else(|| self.writer.request_memory().booking());
        if booking.grow_to(text.capacity()).is_err() {
            return respond(Answer::FULL);
        }
        Processed::NdJson(NdjsonRequest {
            at: 0,
            number: 0,
            is_declared: head.route.is_some(),
            route,
            requested,
            ack: requested.unwrap_or(self.ack),
            uid,
            has_senders: may_contain_sender_keys(&text),
            rows: RowBatch::with_capacity_for(text.len()),
            rejected: RejectedLines::of_request(&text, head),
            booked_for_text: booking.bytes(),
            booking,
            query_bytes: 0,
            text,
        })
    }

    /// Answers for all lines: directly if a permit is free and one time slice decodes them,
    /// otherwise from a task.
    pub(super) fn respond_to_ndjson(
        self: Arc<Self>,
        parts: Parts,
        mut lines: NdjsonRequest,
        mut arrival: Arrival,
    ) -> Response {
        if let Ok(permit) = Arc::clone(&self.ndjson_permits).try_acquire_owned()
            && let Some(decoded) = self.decode_with_permit(permit, &parts, &mut lines, arrival)
        {
            let draft = self.record_ndjson(&parts, lines, decoded, arrival);
            return self.respond(parts, draft, arrival);
        }
        arrival.mark_delayed();
        Response::Waiting(Box::pin(async move {
            let collector = Arc::clone(&self);
            let decoding = async move {
                let decoded = collector.decode_lines(&parts, &mut lines, arrival).await;
                (parts, lines, decoded)
            };
            // Without the runtime, no row is accepted.
            let Some((parts, lines, decoded)) = self.offload(decoding).await else {
                return unavailable();
            };
            let draft = self.record_ndjson(&parts, lines, decoded, arrival);
            match self.respond(parts, draft, arrival) {
                Response::Ready(response) => response,
                Response::Waiting(response) => response.await,
            }
        }))
    }

    /// Decodes lines, one time slice per permit. Waiting requests get their permits in order of
    /// arrival.
    async fn decode_lines(&self, parts: &Parts, lines: &mut NdjsonRequest, arrival: Arrival) -> Decoded {
        loop {
            // The semaphore is never closed.
            if let Ok(permit) = Arc::clone(&self.ndjson_permits).acquire_owned().await
                && let Some(decoded) = self.decode_with_permit(permit, parts, lines, arrival)
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
        lines: &mut NdjsonRequest,
        arrival: Arrival,
    ) -> Option<Decoded> {
        let decoded = arena::with(|arena| {
            let head = RequestHead::read(parts, arrival, &self.trusted_proxies, arena);
            self.decode_slice(&head, lines, arena)
        });
        if let Some(Err(_)) = &decoded {
            // Free the rows under the permit: nothing needs them, and freeing them may take long.
            lines.rows = RowBatch::default();
        }
        decoded
    }

    /// Decodes lines into rows for one time slice. Returns `None` if lines remain, otherwise the
    /// result.
    fn decode_slice(&self, head: &RequestHead<'_>, lines: &mut NdjsonRequest, arena: &Arena) -> Option<Decoded> {
        let uid = lines.uid;
        let Some(address) = lines.address(head) else {
            return Some(Err(Answer::NOT_FOUND));
        };
        let shared_meta = self.event_meta(head, &address, uid);
        let query_bytes = head.parts.uri.query().unwrap_or_default().len();
        let slice = TimeSlice::begin();
        let mut work = 0;
        while let Some(line) = next_line(&lines.text, &mut lines.at) {
            lines.number += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            // Rejected lines count, too.
            if lines.rows.count() + lines.rejected.count == RowBatch::MAX {
                return Some(Err(Answer::TOO_MANY_LINES));
            }
            let mut meta = EventMeta {
                id: self.writer.ids().next(head.unix_ms),
                ..shared_meta
            };
            // A malformed line has no claims here; intake rejects it.
            let envelope = lines
                .has_senders
                .then(|| Envelope::open_line(line, arena).unwrap_or_default());
            if let Some(envelope) = &envelope {
                let claims = Claims {
                    service: None,
                    name: None,
                    ..envelope.claims()
                };
                if claims.project.is_some() {
                    meta.project = Address::of_path(&head.target, &head.claims(), &claims).project;
                }
                meta.uid = claimed_uid(&head.claims(), &claims).unwrap_or(uid.of_event);
            }
            let event = Event {
                meta,
                query: &head.query,
                payload: &Payload::Json(line),
                ack: lines.ack,
                arena,
            };
            let written = lines.rows.bytes().len();
            let booked_for_others = lines.booked_for_text + lines.rejected.dead_letters.memory();
            let is_booked = lines.rows.reserve_for_row(LONG_ROW + line.len() + query_bytes, |rows| {
                lines.booking.grow_to(booked_for_others + rows)
            });
            if is_booked.is_err() {
                return Some(Err(Answer::FULL));
            }
            if let Err(rejection) = (lines.route.handler)(&event, Sink::Rows(&mut lines.rows)) {
                lines
                    .rejected
                    .push(lines.number, line, &meta, &rejection, head, &self.writer);
            }
            lines.query_bytes += query_bytes;
            if lines.rows.bytes().len().max(lines.query_bytes) > self.max_rows_bytes {
                return Some(Err(Answer::TOO_LONG_ROWS));
            }
            let made = lines.rows.memory() + lines.rejected.dead_letters.memory();
            if lines.booking.grow_to(lines.booked_for_text + made).is_err() {
                return Some(Err(Answer::FULL));
            }
            work += WORK_OF_LINE + line.len() + query_bytes + (lines.rows.bytes().len() - written);
            if work >= WORK_BETWEEN_CLOCK_READS {
                if slice.is_spent() {
                    return None;
                }
                work = 0;
            }
        }
        Some(Ok(()))
    }

    /// Appends all rows to their block, and answers.
    fn record_ndjson(&self, parts: &Parts, lines: NdjsonRequest, decoded: Decoded, arrival: Arrival) -> ResponseDraft {
        arena::with(|arena| {
            let head = RequestHead::read(parts, arrival, &self.trusted_proxies, arena);
            let address = lines.address(&head).ok_or(Answer::NOT_FOUND);
            match decoded.and(address) {
                Ok(address) => self.record_rows(&head, &address, lines),
                Err(answer) => self.draft(answer, &head, Some(lines.uid)),
            }
        })
    }

    fn record_rows(&self, head: &RequestHead<'_>, address: &Address<'_>, lines: NdjsonRequest) -> ResponseDraft {
        let NdjsonRequest {
            mut rows,
            mut rejected,
            mut booking,
            booked_for_text,
            requested,
            ack,
            uid,
            ..
        } = lines;
        let recorded = rows.count();
        // The block books the rows' memory from here on.
        booking.shrink_to(booked_for_text + rejected.dead_letters.memory());
        let receipt = match self.writer.append_rows(ack, &mut rows) {
            Ok(receipt) => receipt,
            Err(SpoolFull) => return self.draft(Answer::FULL, head, Some(uid)),
        };
        if rejected.count > 0 {
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
        let report = NdjsonReport {
            service: address.service,
            name: address.name,
            recorded,
            rejected: rejected.count,
            errors: rejected.errors,
        };
        // A visitor is redirected no matter how many events the request contains.
        let answer = match address.service {
            "redir" => redirect(head.query.text("to")),
            _ => Answer::NdJson(&report),
        };
        let draft = self.draft(answer, head, Some(uid));
        match recorded {
            0 => draft,
            _ if receipt.is_pending() => draft.waiting_for(PendingAck {
                receipt,
                ack,
                best_effort: false,
            }),
            _ => accepted(draft, requested, ack),
        }
    }
}

/// Returns the line that begins at `at`, and moves `at` to the next one. An empty line may follow
/// the last line end. `str::lines` takes some 25 ns per line, a twentieth of the time from an event
/// to its block.
fn next_line<'t>(text: &'t str, at: &mut usize) -> Option<&'t str> {
    let rest = text.get(*at..)?;
    let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
    *at += end + 1;
    let line = &rest[..end];
    Some(line.strip_suffix('\r').unwrap_or(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_as_by_the_standard_library() {
        for text in ["", "a", "a\n", "a\r\nb\n\n\nc", "\n", "\r\n", "a\rb\r\n", "é\né\r"] {
            let mut at = 0;
            let mut found: Vec<_> = std::iter::from_fn(|| next_line(text, &mut at)).collect();
            if found.last() == Some(&"") {
                found.pop();
            }
            let mut expected: Vec<_> = text.lines().collect();
            // `next_line` strips a final `\r` without `\n`, which `str::lines` keeps; JSON ignores
            // it.
            if let Some(last) = expected.last_mut() {
                *last = last.trim_end_matches('\r');
            }
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
