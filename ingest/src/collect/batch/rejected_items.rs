//! The rejected items of a batch: their reasons and their dead letters, up to limits.

use crate::{
    answer::{ItemError, ItemNumber},
    block::rows::RowBatch,
    collect::head::RequestHead,
    intake::{event_meta::EventMeta, rejection::Rejection},
    table::dead_letter::{DeadLetter, REJECTED},
    writer::Writer,
};

/// The maximum number of rejected items whose reasons a response contains.
const MAX_ERRORS: usize = 10;

/// The maximum number of dead letters for single items of a request; one more dead letter counts
/// the remaining items. More dead letters would add no information.
const MAX_DEAD_LETTERS: usize = 1_000;

/// The maximum size of a request's dead letters, as a multiple of its text and query, in addition
/// to [`DEAD_LETTERS_BYTES`].
const DEAD_LETTERS_EXPANSION: usize = 4;

/// The size that the dead letters of any request may have.
const DEAD_LETTERS_BYTES: usize = 64 << 10;

/// An item that did not become a row.
#[derive(Debug)]
pub(super) struct RejectedItem<'t> {
    pub(super) number: ItemNumber,
    /// The item as sent.
    pub(super) payload: &'t str,
    /// The text in which a syntax error has its position.
    pub(super) json: &'t str,
    /// Whether the item has a dead letter: the options of a route may leave it out.
    pub(super) has_dead_letter: bool,
}

/// The items of one request that did not become rows.
pub(super) struct RejectedItems {
    pub(super) count: usize,
    /// The reasons of the first rejected items.
    pub(super) errors: Vec<ItemError>,
    /// The number of rejected items for each code.
    pub(super) codes: Vec<(&'static str, u64)>,
    /// Dead letters, as rows of their table. Only the first one contains the query.
    pub(super) dead_letters: RowBatch,
    /// The maximum size of `dead_letters`, in bytes.
    max_bytes: usize,
    /// The maximum number of `dead_letters`.
    max_dead_letters: usize,
    /// The maximum number of `errors`.
    max_errors: usize,
    /// The number of the first rejected item for which there was no room.
    first_without_dead_letter: Option<ItemNumber>,
    /// The number of the rejected items that the options of the route leave out.
    left_out: usize,
    /// Whether the route has privacy options: no dead letter has the query then, and that of other
    /// items no address.
    pub(super) is_private: bool,
}

impl RejectedItems {
    /// Returns an empty value for a request with this text.
    pub(super) fn of_request(text: &str, head: &RequestHead<'_>) -> Self {
        let query = head.parts.uri.query().unwrap_or_default();
        Self {
            count: 0,
            errors: Vec::new(),
            codes: Vec::new(),
            dead_letters: RowBatch::default(),
            max_bytes: DEAD_LETTERS_BYTES + DEAD_LETTERS_EXPANSION * (text.len() + query.len()),
            max_dead_letters: MAX_DEAD_LETTERS,
            max_errors: MAX_ERRORS,
            first_without_dead_letter: None,
            left_out: 0,
            is_private: false,
        }
    }

    /// Returns an empty value for a part of a request, all of whose rejected items get a dead letter.
    pub(super) fn of_part(max_errors: usize, is_private: bool) -> Self {
        Self {
            count: 0,
            errors: Vec::new(),
            codes: Vec::new(),
            dead_letters: RowBatch::default(),
            max_bytes: usize::MAX,
            max_dead_letters: usize::MAX,
            max_errors,
            first_without_dead_letter: None,
            left_out: 0,
            is_private,
        }
    }

    #[cold]
    pub(super) fn push(
        &mut self,
        item: &RejectedItem<'_>,
        meta: &EventMeta<'_>,
        rejection: &Rejection,
        head: &RequestHead<'_>,
        writer: &Writer,
    ) {
        self.count += 1;
        let code = rejection.code();
        match self.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.codes.push((code, 1)),
        }
        let has_room =
            self.dead_letters.count() < self.max_dead_letters && self.dead_letters.bytes().len() < self.max_bytes;
        let has_dead_letter = item.has_dead_letter && has_room;
        if !item.has_dead_letter {
            self.left_out += 1;
        } else if !has_room {
            self.first_without_dead_letter.get_or_insert(item.number);
        }
        if !has_dead_letter && self.errors.len() >= self.max_errors {
            return;
        }
        let message = rejection.message(item.json);
        if has_dead_letter && let Some(dead_letter) = rejection.dead_letter(head, meta, &message) {
            let payload = match self.dead_letters.count() {
                0 if !self.is_private => head.payload_with_query(item.payload.as_bytes()),
                _ => item.payload.as_bytes().into(),
            };
            let dead_letter = DeadLetter {
                payload: &payload,
                ..dead_letter
            };
            self.write(&dead_letter, writer.payload_bytes_to_keep(payload.len()));
        }
        if self.errors.len() < self.max_errors {
            self.errors
                .push(ItemError::new(item.number, rejection.column(), message.into_owned()));
        }
    }

    /// Adds a dead letter that counts the items without one.
    pub(super) fn count_others(&mut self, head: &RequestHead<'_>) {
        if let Some(first) = self.first_without_dead_letter {
            let others = self.count - self.left_out - self.dead_letters.count();
            let (items, first) = match first {
                ItemNumber::Line(line) => ("lines", format!("line {line}")),
                ItemNumber::Index(index) => ("items", format!("item {index}")),
            };
            let reason = format!("{others} more {items} of the request were refused, the first of them is {first}");
            let dead_letter = head.dead_letter("more-lines", &reason);
            let ip = if self.is_private { "" } else { dead_letter.ip };
            self.write(&DeadLetter { ip, ..dead_letter }, 0);
        }
    }

    fn write(&mut self, dead_letter: &DeadLetter<'_>, max_payload_bytes: usize) {
        // Cannot fail: the dead letters are fewer than a block's rows, and all are of one table.
        _ = self
            .dead_letters
            .push(&REJECTED, |out| dead_letter.encode(max_payload_bytes, out));
    }
}
