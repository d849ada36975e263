//! Streamed: a batch whose text arrives in pieces. Its items are decoded as those of any other batch,
//! and its rows are appended in parts.

use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    ack::Ack,
    answer::ItemError,
    arena,
    block::rows::RowBatch,
    budget::Booking,
    collect::{
        Collector,
        batch::{
            BatchRequest, Decoded,
            items::{Items, Streamed},
            rejected_items::{RejectedItem, RejectedItems},
            shared::SharedFields,
        },
        head::{Arrival, RequestHead},
        resolve::VisitorUid,
        route::Route,
    },
    intake::rejection::Rejection,
    request::{batch_format::BatchFormat, envelope::may_contain_sender_keys},
};
/// The maximum number of rejected items whose reasons a response contains.
const MAX_ERRORS: usize = 100;

/// The bytes that an incomplete item may have beyond the longest item: its line end, or the comma and
/// the space before it.
const AROUND_ITEM: usize = 64;

/// The memory booked for the text of a streamed batch and for its dead letters, in bytes.
const TEXT_BYTES: usize = 1 << 20;

/// A batch whose text arrives in pieces.
pub(in crate::collect) struct StreamedBatch {
    request: Box<BatchRequest>,
    format: BatchFormat,
    max_item_bytes: usize,
    /// Whether the text begins in an item that is too long.
    is_skipping: bool,
    /// The number of items to pass over, since an earlier attempt has recorded them.
    items_to_pass: u64,
    /// The number of reasons that the response may still contain.
    errors_left: usize,
}

/// The rows and the rejected items of a part of the batch.
pub(in crate::collect) struct Taken {
    pub(in crate::collect) rows: RowBatch,
    /// The number of rejected items.
    pub(in crate::collect) rejected: usize,
    /// The number of items that the route's options leave out.
    pub(in crate::collect) left_out: usize,
    pub(in crate::collect) errors: Vec<ItemError>,
    pub(in crate::collect) codes: Vec<(&'static str, u64)>,
    pub(in crate::collect) dead_letters: RowBatch,
}

impl StreamedBatch {
    /// Returns a batch without text. `booking` has the memory of the whole batch.
    pub(in crate::collect) fn new(
        route: Route,
        format: BatchFormat,
        ack: (Option<Ack>, Ack),
        uid: VisitorUid,
        booking: Booking,
        max_item_bytes: usize,
        has_declared_path: bool,
    ) -> Self {
        Self {
            request: Box::new(BatchRequest {
                text: String::new(),
                items: Items::End,
                shared: SharedFields::default(),
                is_declared: true,
                route,
                requested: ack.0,
                ack: ack.1,
                uid,
                has_senders: true,
                rows: RowBatch::default(),
                rejected: RejectedItems::of_part(MAX_ERRORS, route.is_private()),
                left_out: 0,
                booking,
                booked_for_text: TEXT_BYTES,
                query_bytes: 0,
                refused: Vec::new(),
                has_declared_path,
            }),
            format,
            max_item_bytes,
            is_skipping: false,
            items_to_pass: 0,
            errors_left: MAX_ERRORS,
        }
    }

    /// Passes over the first items without a row or a dead letter.
    pub(in crate::collect) fn pass_over(&mut self, items: u64) {
        self.items_to_pass = items;
    }

    /// Returns the text that is not decoded yet; the next piece goes to its end.
    pub(in crate::collect) fn text(&mut self) -> &mut String {
        &mut self.request.text
    }

    /// Returns whether no further item follows, whatever the rest of the body is.
    pub(in crate::collect) fn is_over(&self) -> bool {
        matches!(&self.request.items, Items::Streamed(items) if items.is_over())
    }

    /// Prepares the items of the text. Returns false if more text is needed. `is_final` is whether the
    /// text ends with the body.
    ///
    /// # Errors
    ///
    /// The text has an invalid header.
    pub(in crate::collect) fn prepare(&mut self, is_final: bool) -> Result<bool, Rejection> {
        let BatchRequest {
            text,
            items,
            has_senders,
            ..
        } = &mut *self.request;
        if let Items::End = items {
            match Streamed::open(self.format, text, is_final, self.max_item_bytes)? {
                Some(streamed) => *items = Items::Streamed(Box::new(streamed)),
                None if text.len() > self.max_item_bytes => return Err(Rejection::TooLong(self.max_item_bytes)),
                None => return Ok(false),
            }
        }
        let Items::Streamed(items) = items else {
            return Ok(false);
        };
        items.set_text(text, is_final);
        if self.is_skipping {
            self.is_skipping = !items.skip_long(text);
            let consumed = items.take_consumed(text);
            text.drain(..consumed);
            items.set_text(text, is_final);
            if self.is_skipping {
                return Ok(false);
            }
        }
        while self.items_to_pass > 0 {
            match items.next(text) {
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => self.items_to_pass -= 1,
            }
        }
        *has_senders = !self.format.is_json() || may_contain_sender_keys(text);
        Ok(true)
    }

    /// Decodes items for one time slice, as those of any batch. Returns `None` if items remain.
    pub(in crate::collect) fn decode(
        &mut self,
        collector: &Collector,
        permit: OwnedSemaphorePermit,
        parts: &Parts,
        arrival: Arrival,
    ) -> Option<Decoded> {
        collector.decode_with_permit(permit, parts, &mut self.request, arrival)
    }

    /// Removes the text of the decoded items. An item that is too long is rejected, and skipped from
    /// now on; returns whether there is one.
    pub(in crate::collect) fn remove_decoded(
        &mut self,
        collector: &Collector,
        parts: &Parts,
        arrival: Arrival,
    ) -> bool {
        let batch = &mut *self.request;
        let Items::Streamed(items) = &mut batch.items else {
            return false;
        };
        let consumed = items.take_consumed(&batch.text);
        batch.text.drain(..consumed);
        if items.is_over() || batch.text.len() <= self.max_item_bytes + AROUND_ITEM {
            return false;
        }
        // Only white space may follow an array.
        if self.format == BatchFormat::Array && batch.text.trim_ascii() == "]" {
            "]".clone_into(&mut batch.text);
            return false;
        }
        self.is_skipping = true;
        if self.items_to_pass > 0 {
            self.items_to_pass -= 1;
            return true;
        }
        let (number, rejection) = (items.next_number(), Rejection::TooLong(self.max_item_bytes));
        arena::with(|arena| {
            let head = RequestHead::read(parts, arrival, &collector.proxies, arena);
            let Some(address) = batch.address(&head) else { return };
            let mut meta = collector.event_meta(&head, &address, batch.uid);
            let has_dead_letter = collector.protect_unread(&batch.route, &mut meta, &head, arena);
            let item = RejectedItem {
                number,
                payload: collector.kept_item(&batch.route, &meta, &batch.text, arena),
                json: "",
                has_dead_letter,
            };
            batch.rejected.push(&item, &meta, &rejection, &head, &collector.writer);
        });
        true
    }

    /// Returns the memory of the rows and the dead letters that are not taken yet, in bytes.
    pub(in crate::collect) fn pending_bytes(&self) -> usize {
        self.request.rows.bytes().len() + self.request.rejected.dead_letters.bytes().len()
    }

    /// Returns the number of rows and rejected items that are not taken yet.
    pub(in crate::collect) fn pending_items(&self) -> usize {
        self.request.rows.count() + self.request.rejected.count + self.request.left_out
    }

    /// Returns the rows and the rejected items since the last call.
    pub(in crate::collect) fn take(&mut self) -> Taken {
        let batch = &mut *self.request;
        batch.query_bytes = 0;
        self.errors_left -= batch.rejected.errors.len();
        let rejected = std::mem::replace(
            &mut batch.rejected,
            RejectedItems::of_part(self.errors_left, batch.route.is_private()),
        );
        Taken {
            rows: std::mem::take(&mut batch.rows),
            rejected: rejected.count,
            left_out: std::mem::take(&mut batch.left_out),
            errors: rejected.errors,
            codes: rejected.codes,
            dead_letters: rejected.dead_letters,
        }
    }
}
