//! NDJSON: a request of many events, one per line.
//!
//! The path and the query of the request decide the destination of all lines; a line may have its
//! own `projectId` and `uid`. The rows go into one block together, so a request that finds no room
//! has stored nothing and can be sent again unchanged. An invalid line becomes a dead letter and
//! does not affect the others.
//!
//! Lines are decoded in time slices: the first slice runs on the event loop, as for any event, and
//! the others on the delivery runtime, which yields to event loops. The memory of the rows is
//! booked as they grow; a request that exceeds its limit is refused at once.

use std::{panic::resume_unwind, sync::Arc};

use bytes::Bytes;
use http::{Response, StatusCode, request::Parts};
use http_body_util::Full;
use tokio::{
    sync::OwnedSemaphorePermit,
    task::{JoinSet, yield_now},
};

use crate::{
    ack::{Ack, UnknownAck},
    answer::{Answer, LineError, LinesReport},
    arena::{self, Arena},
    block::rows::RowBatch,
    budget::{Booking, SpoolFull},
    collect::{
        Collector, Look, Recorded, Reply, declared,
        head::{Arrival, RequestHead},
        redirect,
        reject::Refused,
        route::{Route, Routes},
        too_many_requests,
    },
    identify::{Address, resolve_uid},
    intake::{
        event::{Event, Rejection, Sink},
        stamp::EventMeta,
    },
    native::time_slice::TimeSlice,
    request::{
        body::Payload,
        claims::Claims,
        envelope::{Envelope, may_contain_sender_keys},
    },
    table::dead_letter::{DeadLetter, REJECTED},
};

/// The maximum number of rejected lines whose reasons a response contains.
const MAX_ERRORS: usize = 10;

/// The maximum number of dead letters for single lines of a request; one more dead letter counts
/// the remaining lines. More dead letters would add no information.
const MAX_LETTERS: usize = 1_000;

/// The maximum size of a request's dead letters, as a multiple of its text and query, in addition
/// to [`LETTERS_BYTES`].
const LETTERS_EXPANSION: usize = 4;

/// The size that the dead letters of any request may have.
const LETTERS_BYTES: usize = 64 << 10;

/// The number of bytes read and written between two reads of the clock; they take some fifty
/// microseconds.
const WORK_BETWEEN_LOOKS: usize = 16 << 10;

/// The fixed cost of a line, expressed in bytes.
const WORK_OF_LINE: usize = 64;

/// `Ok` if all lines are decoded; otherwise the answer with the reason.
type Decoded = Result<(), Answer<'static>>;

/// An NDJSON request between its text and its rows.
pub(super) struct Lines {
    text: String,
    /// The start of the next line; past the end of the text after the last line.
    at: usize,
    /// The number of lines read so far.
    number: usize,
    route: Route,
    asked: Option<Ack>,
    ack: Ack,
    uid: u64,
    has_senders: bool,
    rows: RowBatch,
    refused: RefusedLines,
    booking: Booking,
    /// The bytes booked for the text and the request around it.
    booked_for_text: usize,
    /// The bytes of the query, counted once per line.
    query_bytes: usize,
    /// Whether the path names a declared destination.
    is_declared: bool,
}

impl Collector {
    /// Checks and prepares everything that applies to all lines.
    pub(super) fn look_at_lines<R: Routes>(
        &self,
        head: &RequestHead<'_>,
        text: String,
        booking: Option<Booking>,
    ) -> Look {
        let nothing = Claims::default();
        let uid = self.visitor(head, &nothing);
        let finish = |answer: Answer<'_>| Look::from(self.finish(answer, head, Some(uid)));
        let Some((address, route)) = self.route::<R>(head, &nothing) else {
            return finish(Answer::NOT_FOUND);
        };
        if let Err(early) = self.check_rate_of_route(&address) {
            return finish(match address.service {
                "redir" => redirect(head.query.text("to")),
                _ => too_many_requests(early),
            });
        }
        let asked = match self.asked_ack(route.acks, head) {
            Ok(asked) => asked,
            Err(UnknownAck) => return finish(Answer::UNKNOWN_ACK),
        };
        let mut booking = booking.unwrap_or_else(|| self.writer.request_memory().booking());
        if booking.grow_to(text.capacity()).is_err() {
            return finish(Answer::NO_ROOM);
        }
        Look::Lines(Lines {
            at: 0,
            number: 0,
            is_declared: declared::<R>(&head.target).is_some(),
            route,
            asked,
            ack: asked.unwrap_or(self.ack),
            uid,
            has_senders: may_contain_sender_keys(&text),
            rows: RowBatch::with_capacity_for(text.len()),
            refused: RefusedLines::of_request(&text, head, self.writer.rejected_payload_bytes()),
            booked_for_text: booking.bytes(),
            booking,
            query_bytes: 0,
            text,
        })
    }

    /// Answers for all lines: directly if a turn is free and one time slice decodes them, otherwise
    /// from a task.
    pub(super) fn answer_lines(self: Arc<Self>, parts: Parts, mut lines: Lines, mut arrival: Arrival) -> Reply {
        if let Ok(turn) = Arc::clone(&self.bulk_turns).try_acquire_owned()
            && let Some(decoded) = self.take_turn(turn, &parts, &mut lines, arrival)
        {
            let recorded = self.record_lines(&parts, lines, decoded, arrival);
            return self.respond(parts, recorded, arrival);
        }
        arrival.wait();
        Reply::Waiting(Box::pin(async move {
            // A `JoinSet` aborts its task when it is dropped, so decoding stops when the client
            // disconnects.
            let mut decoding = JoinSet::new();
            let collector = Arc::clone(&self);
            decoding.spawn_on(
                async move {
                    let decoded = collector.decode_lines(&parts, &mut lines, arrival).await;
                    (parts, lines, decoded)
                },
                self.writer.runtime(),
            );
            let (parts, lines, decoded) = match decoding.join_next().await {
                Some(Ok(decoded)) => decoded,
                Some(Err(error)) if error.is_panic() => resume_unwind(error.into_panic()),
                // The delivery runtime has shut down; no row was accepted.
                _ => return unavailable(),
            };
            let recorded = self.record_lines(&parts, lines, decoded, arrival);
            match self.respond(parts, recorded, arrival) {
                Reply::Ready(response) => response,
                Reply::Waiting(response) => response.await,
            }
        }))
    }

    /// Decodes lines, one turn after the other. Waiting requests get their turns in order of
    /// arrival.
    async fn decode_lines(&self, parts: &Parts, lines: &mut Lines, arrival: Arrival) -> Decoded {
        loop {
            // The semaphore is never closed.
            if let Ok(turn) = Arc::clone(&self.bulk_turns).acquire_owned().await
                && let Some(decoded) = self.take_turn(turn, parts, lines, arrival)
            {
                return decoded;
            }
            yield_now().await;
        }
    }

    fn take_turn(
        &self,
        _turn: OwnedSemaphorePermit,
        parts: &Parts,
        lines: &mut Lines,
        arrival: Arrival,
    ) -> Option<Decoded> {
        let decoded = arena::with(|arena| {
            let head = RequestHead::read(parts, arrival, &self.trusted_proxies, arena);
            self.take_lines(&head, lines, arena)
        });
        if let Some(Err(_)) = &decoded {
            // Free the rows within the turn: nothing needs them, and freeing them may take long.
            lines.rows = RowBatch::default();
        }
        decoded
    }

    /// Decodes lines into rows for one time slice. Returns `None` if lines remain, otherwise the
    /// result.
    fn take_lines(&self, head: &RequestHead<'_>, lines: &mut Lines, arena: &Arena) -> Option<Decoded> {
        let uid = lines.uid;
        let (query, nothing) = (head.claims(), Claims::default());
        let address = match lines.is_declared {
            true => Some(Address::of_path(&head.target, &query, &nothing)),
            false => Address::resolve(&head.target, &query, &nothing),
        };
        let Some(address) = address else {
            return Some(Err(Answer::NOT_FOUND));
        };
        let of_all = self.stamp(head, &address, uid);
        let query_bytes = head.parts.uri.query().unwrap_or_default().len();
        let slice = TimeSlice::begin();
        let mut work = 0;
        while let Some(line) = next_line(&lines.text, &mut lines.at) {
            lines.number += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            // Rejected lines count, too.
            if lines.rows.count() + lines.refused.count == RowBatch::MAX {
                return Some(Err(Answer::TOO_MANY_LINES));
            }
            let mut stamp = EventMeta {
                id: self.writer.ids().next(head.unix_ms),
                ..of_all
            };
            // A malformed line claims nothing here; intake rejects it.
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
                    stamp.project = Address::of_path(&head.target, &head.claims(), &claims).project;
                }
                stamp.uid = resolve_uid(&head.claims(), &claims, None).unwrap_or(uid);
            }
            let event = Event {
                stamp,
                query: &head.query,
                payload: &Payload::Json(line),
                ack: lines.ack,
                arena,
            };
            let written = lines.rows.bytes().len();
            if let Err(rejection) = (lines.route.intake)(&event, Sink::Rows(&mut lines.rows)) {
                lines.refused.push(lines.number, line, &stamp, rejection, head);
            }
            lines.query_bytes += query_bytes;
            if lines.rows.bytes().len().max(lines.query_bytes) > self.max_rows_bytes {
                return Some(Err(Answer::TOO_LONG_ROWS));
            }
            let made = lines.rows.memory() + lines.refused.letters.memory();
            if lines.booking.grow_to(lines.booked_for_text + made).is_err() {
                return Some(Err(Answer::NO_ROOM));
            }
            work += WORK_OF_LINE + line.len() + query_bytes + (lines.rows.bytes().len() - written);
            if work >= WORK_BETWEEN_LOOKS {
                if slice.is_spent() {
                    return None;
                }
                work = 0;
            }
        }
        Some(Ok(()))
    }

    /// Appends all rows to their block, and answers.
    fn record_lines(&self, parts: &Parts, lines: Lines, decoded: Decoded, arrival: Arrival) -> Recorded {
        arena::with(|arena| {
            let head = RequestHead::read(parts, arrival, &self.trusted_proxies, arena);
            let address = Address::resolve(&head.target, &head.claims(), &Claims::default());
            match decoded.and(address.ok_or(Answer::NOT_FOUND)) {
                Ok(address) => self.record_rows(&head, &address, lines),
                Err(answer) => self.finish(answer, &head, Some(lines.uid)).into(),
            }
        })
    }

    fn record_rows(&self, head: &RequestHead<'_>, address: &Address<'_>, lines: Lines) -> Recorded {
        let Lines {
            mut rows,
            mut refused,
            mut booking,
            booked_for_text,
            asked,
            ack,
            uid,
            ..
        } = lines;
        let recorded = rows.count();
        // The block books the rows' memory from here on.
        booking.shrink_to(booked_for_text + refused.letters.memory());
        let receipt = match self.writer.append_rows(ack, &mut rows) {
            Ok(receipt) => receipt,
            Err(SpoolFull) => return self.finish(Answer::NO_ROOM, head, Some(uid)).into(),
        };
        if refused.count > 0 {
            refused.count_others(head);
            for (code, count) in &refused.codes {
                self.writer.tally().refused_events(code, *count);
            }
            if self.writer.append_rows(Ack::Accepted, &mut refused.letters).is_err() {
                tracing::debug!(
                    letters = refused.letters.count(),
                    "dead letters are dropped: the spool has no space for them"
                );
            }
        }
        let report = LinesReport {
            service: address.service,
            name: address.name,
            recorded,
            refused: refused.count,
            errors: refused.errors,
        };
        // A visitor is redirected no matter how many events the request contains.
        let answer = match address.service {
            "redir" => redirect(head.query.text("to")),
            _ => Answer::Lines(&report),
        };
        let draft = self.finish(answer, head, Some(uid));
        match recorded {
            0 => draft.into(),
            _ if receipt.is_pending() => Recorded::pending(draft, receipt, ack, false),
            _ => Recorded::taken(draft, asked, ack),
        }
    }
}

/// Returns the response to a request that the shutdown interrupts.
fn unavailable() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
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

/// The lines of one request that did not become rows.
struct RefusedLines {
    count: usize,
    /// The reasons of the first rejected lines.
    errors: Vec<LineError>,
    /// The number of rejected lines for each code.
    codes: Vec<(&'static str, u64)>,
    /// Dead letters, as rows of their table. Only the first one contains the query.
    letters: RowBatch,
    /// The maximum size of `letters`, in bytes.
    max_bytes: usize,
    /// The maximum number of payload bytes that a dead letter keeps: of the line, or of query and
    /// line.
    max_payload_bytes: usize,
    /// The number of the first rejected line without a dead letter.
    first_without_letter: Option<usize>,
}

impl RefusedLines {
    /// Returns an empty value for a request with this text.
    fn of_request(text: &str, head: &RequestHead<'_>, max_payload_bytes: usize) -> Self {
        let query = head.parts.uri.query().unwrap_or_default();
        Self {
            count: 0,
            errors: Vec::new(),
            codes: Vec::new(),
            letters: RowBatch::default(),
            max_bytes: LETTERS_BYTES + LETTERS_EXPANSION * (text.len() + query.len()),
            max_payload_bytes,
            first_without_letter: None,
        }
    }

    #[cold]
    fn push(&mut self, number: usize, text: &str, stamp: &EventMeta<'_>, rejection: Rejection, head: &RequestHead<'_>) {
        self.count += 1;
        let refused = Refused::event(rejection, &Payload::Json(text));
        let code = refused.code();
        match self.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.codes.push((code, 1)),
        }
        let has_letter = self.letters.count() < MAX_LETTERS && self.letters.bytes().len() < self.max_bytes;
        if !has_letter {
            self.first_without_letter.get_or_insert(number);
        }
        if !has_letter && self.errors.len() == MAX_ERRORS {
            return;
        }
        let reason = refused.reason();
        if has_letter && let Some(letter) = refused.letter(head, stamp, &reason) {
            let payload = match self.letters.count() {
                0 => head.payload_with_query(text.as_bytes()),
                _ => text.as_bytes().into(),
            };
            self.write(&DeadLetter {
                payload: &payload,
                ..letter
            });
        }
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(LineError { line: number, reason });
        }
    }

    /// Adds a dead letter that counts the lines without one.
    fn count_others(&mut self, head: &RequestHead<'_>) {
        if let Some(first) = self.first_without_letter {
            let others = self.count - self.letters.count();
            let reason = format!("{others} more lines of the request were refused, the first of them is line {first}");
            self.write(&head.letter("more-lines", &reason));
        }
    }

    fn write(&mut self, letter: &DeadLetter<'_>) {
        // Cannot fail: the dead letters are fewer than a block's rows, and all are of one table.
        _ = self
            .letters
            .push(&REJECTED, |out| letter.encode(self.max_payload_bytes, out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_those_of_the_standard_library() {
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
