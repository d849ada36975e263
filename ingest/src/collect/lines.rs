//! Lines: a request of many events, one a line.
//!
//! All of them go where the request goes, by its path and its query; a line may name its own `projectId` and `uid`. Their rows go
//! into one block together, so that a request that finds no room has left nothing behind and can be sent again as it is. A line
//! that is no row is a dead letter, and costs the others nothing.

use crate::{
    ack::UnknownAck,
    answer::{Answer, LineError, LinesReport},
    arena::Arena,
    body::Payload,
    envelope::{Envelope, may_name_sender},
    head::Head,
    identify::{Address, Claims, known_uid},
    intake::{Event, Rejection, Sink},
    layer::Routes,
    reject::Refused,
    rows::EncodedRows,
    spool::NoRoom,
    stamp::Stamp,
};

use super::{Collector, Recorded, redirect};

/// How many refused lines an answer gives the reasons of.
const MAX_ERRORS: usize = 10;

/// A line that did not become a row.
struct RefusedLine<'a> {
    line: usize,
    text: &'a str,
    stamp: Stamp<'a>,
    refused: Refused,
}

impl Collector {
    /// Takes each line in as an event, and answers for all of them.
    pub(super) fn record_lines<R: Routes>(&self, head: &Head<'_>, text: &str, arena: &Arena) -> Recorded {
        let nothing = Claims::default();
        let uid = self.visitor(head, &nothing);
        let finish = |answer: Answer<'_>| Recorded::from(self.finish(answer, head, Some(uid)));
        let address = Address::resolve(&head.target, &head.claims(), &nothing);
        let Some((address, route)) = address.and_then(|address| Some((address, self.route::<R>(&address)?))) else {
            return finish(Answer::NOT_FOUND);
        };
        let asked = match self.asked_ack(route.acks, head) {
            Ok(asked) => asked,
            Err(UnknownAck) => return finish(Answer::UNKNOWN_ACK),
        };
        let ack = asked.unwrap_or(self.ack);

        let of_all = self.stamp(head, &address, uid);
        let has_senders = may_name_sender(text);
        let mut rows = EncodedRows::for_text(text.len());
        let mut refused = Vec::new();
        for (at, line) in lines(text).enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            // Refused ones count, too: each takes more memory than its bytes, until it is known whether the others find room.
            if rows.count() + refused.len() == EncodedRows::MAX {
                return finish(Answer::TOO_MANY_LINES);
            }
            let mut stamp = Stamp {
                id: self.writer.ids().next(head.unix_ms),
                ..of_all
            };
            // A line that is broken says nothing of itself, and intake finds out.
            let envelope = has_senders.then(|| Envelope::open_line(line, arena).unwrap_or_default());
            if let Some(envelope) = &envelope {
                let claims = Claims {
                    service: None,
                    name: None,
                    ..envelope.claims()
                };
                if claims.project.is_some()
                    && let Some(address) = Address::resolve(&head.target, &head.claims(), &claims)
                {
                    stamp.project = address.project;
                }
                stamp.uid = known_uid(&head.claims(), &claims, None).unwrap_or(uid);
            }
            let event = Event {
                stamp,
                query: &head.query,
                payload: &Payload::Json(line),
                ack,
                arena,
            };
            if let Err(rejection) = (route.intake)(&event, Sink::Rows(&mut rows)) {
                refused.push(RefusedLine::new(at + 1, line, stamp, rejection));
            }
        }

        let receipt = match self.writer.append_rows(ack, &rows) {
            Ok(receipt) => receipt,
            Err(NoRoom) => return finish(Refused::NoRoom.answer()),
        };
        for line in &refused {
            self.writer.tally().refused_event(line.refused.code());
            if let Some(letter) = line.refused.letter(head, &line.stamp, &line.refused.reason()) {
                self.bury(head, line.text.as_bytes(), &letter);
            }
        }
        let report = LinesReport {
            service: address.service,
            name: address.name,
            recorded: rows.count(),
            refused: refused.len(),
            errors: refused.iter().take(MAX_ERRORS).map(RefusedLine::error).collect(),
        };
        // A reader gets where he wanted to go, however many events he brings.
        let answer = match address.service {
            "redir" => redirect(head.query.text("to")),
            _ => Answer::Lines(&report),
        };
        let draft = self.finish(answer, head, Some(uid));
        match rows.count() {
            0 => draft.into(),
            _ if receipt.is_pending() => Recorded::pending(draft, receipt, ack, false),
            _ => Recorded::taken(draft, asked, ack),
        }
    }
}

/// Returns the lines of a text; behind its last end of a line there may be an empty one. The standard library's take some 25 ns each,
/// which is a twentieth of what an event takes up to its block.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let ends = memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]);
    ends.scan(0, |start, end| Some(&text[std::mem::replace(start, end + 1)..end]))
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
}

impl<'a> RefusedLine<'a> {
    #[cold]
    fn new(line: usize, text: &'a str, stamp: Stamp<'a>, rejection: Rejection) -> Self {
        Self {
            line,
            text,
            stamp,
            refused: Refused::event(rejection, &Payload::Json(text)),
        }
    }

    fn error(&self) -> LineError {
        LineError {
            line: self.line,
            reason: self.refused.reason(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_as_those_of_the_standard_library() {
        for text in ["", "a", "a\n", "a\r\nb\n\n\nc", "\n", "\r\n", "a\rb\r\n", "é\né\r"] {
            let mut found: Vec<_> = lines(text).collect();
            if found.last() == Some(&"") {
                found.pop();
            }
            let mut expected: Vec<_> = text.lines().collect();
            // A return that no end of a line follows is white space all the same.
            if let Some(last) = expected.last_mut() {
                *last = last.trim_end_matches('\r');
            }
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
