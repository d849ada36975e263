//! Once: the requests of a route with idempotency keys. A repeat makes no row, and gets the answer
//! of the first request.
//!
//! A request is decoded before its key is looked up for the last time, so the key and the row enter
//! the index and the block together. A repeat that arrives meanwhile waits for the first request's
//! row, as the first request does. A request that is rejected, or that the spool has no space for,
//! leaves its key unused.

use std::sync::atomic::Ordering;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::{
    ack::Ack,
    answer::{Answer, PendingAck, ResponseDraft},
    block::{
        receipt::Receipt,
        row_key::{KeyHash, KeyRecord},
        rows::RowBatch,
    },
    budget::SpoolFull,
    collect::{
        Collector,
        head::RequestHead,
        idempotency::{Idempotency, KeySource},
        resolve::VisitorUid,
        response::accepted,
        route::Route,
    },
    idempotency::now_s,
    intake::{
        event::{Event, Sink, TableHandler},
        rejection::Rejection,
    },
    table::row_value::value_in,
    writer::once::{Once, Repeat},
};

/// The header of an answer to a repeat.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The part of a request's answer that does not depend on its key.
pub(super) struct Reply<'a> {
    pub(super) answer: Answer<'a>,
    pub(super) requested: Option<Ack>,
    pub(super) best_effort: bool,
    pub(super) uid: VisitorUid,
}

/// The outcome of a batch on a route with keys.
pub(super) struct BatchOnce {
    pub(super) receipt: Receipt,
    /// The level that the rows have reached, as far as is known without a wait.
    pub(super) reached: Ack,
    /// The number of events that were recorded before.
    pub(super) duplicates: usize,
    /// Whether the request as a whole was recorded before.
    pub(super) is_repeat: bool,
}

/// Returns the idempotency keys of a route that has them.
#[inline]
pub(super) fn idempotency_of(route: &Route) -> Option<&'static Idempotency> {
    route.options?.idempotency.as_ref()
}

/// Returns the draft of a response that waits for no row. The row has `reached` a level, and `ack` was
/// promised.
pub(super) fn reached_already(draft: ResponseDraft, requested: Option<Ack>, ack: Ack, reached: Ack) -> ResponseDraft {
    match reached.min(ack) {
        Ack::Accepted => accepted(draft, requested, ack),
        reached => draft.acknowledged(reached),
    }
}

impl Collector {
    /// Records one event unless it is a repeat, and answers.
    ///
    /// # Errors
    /// The [`Rejection`] of the event.
    #[cold]
    #[inline(never)]
    pub(super) fn record_once(
        &self,
        once: &Idempotency,
        handler: TableHandler,
        head: &RequestHead<'_>,
        body: &[u8],
        event: &Event<'_>,
        reply: Reply<'_>,
    ) -> Result<ResponseDraft, Rejection> {
        let (now_s, ack) = (now_s(), event.ack);
        let mut rows = RowBatch::default();
        let KeySource::Header(name) = once.key else {
            handler(event, Sink::Rows(&mut rows))?;
            let records = self.records_of_rows(once, &rows, event.meta.id, now_s);
            let [record] = records.as_deref().unwrap_or_default() else {
                return Err(Rejection::SpoolFull);
            };
            let outcome = match record {
                Some(record) => self.writer.append_once(ack, &mut rows, *record, now_s),
                None => self.writer.append_rows(ack, &mut rows).map(Once::Recorded),
            };
            return self.reply_once(head, reply, outcome, ack, None);
        };
        let record = match self.record_of_request(once, name, head, body, event.meta.id, now_s) {
            Ok(Some(record)) => record,
            Ok(None) => {
                let receipt = handler(event, Sink::Block(&self.writer))?;
                return Ok(self.reply_with(head, reply, receipt, ack, Ack::Accepted));
            }
            Err(answer) => return Ok(self.draft(reply.answer.for_visitor_or(answer), head, Some(reply.uid))),
        };
        let outcome = match self.writer.find_key(record.hash, ack, now_s) {
            Some(repeat) => Ok(Once::Repeat(repeat)),
            None => {
                handler(event, Sink::Rows(&mut rows))?;
                self.writer.append_once(ack, &mut rows, record, now_s)
            }
        };
        self.reply_once(head, reply, outcome, ack, Some(record.fingerprint))
    }

    /// Appends the rows of a request of many events, without those that are repeats.
    ///
    /// # Errors
    /// The answer to the request.
    #[cold]
    #[inline(never)]
    pub(super) fn append_batch_once(
        &self,
        once: &Idempotency,
        head: &RequestHead<'_>,
        body: &[u8],
        ack: Ack,
        rows: &mut RowBatch,
    ) -> Result<BatchOnce, Answer<'static>> {
        let now_s = now_s();
        let recorded = |receipt| BatchOnce {
            receipt,
            reached: Ack::Accepted,
            duplicates: 0,
            is_repeat: false,
        };
        let KeySource::Header(name) = once.key else {
            let records = self.records_of_rows(once, rows, 0, now_s).ok_or(Answer::FULL)?;
            let appended = self.writer.append_each_once(ack, rows, &records, now_s);
            let appended = appended.map_err(|SpoolFull| Answer::FULL)?;
            self.count_repeats(appended.repeated);
            return Ok(BatchOnce {
                reached: appended.reached,
                duplicates: appended.repeated,
                ..recorded(appended.receipt)
            });
        };
        let outcome = match self.record_of_request(once, name, head, body, 0, now_s)? {
            Some(record) => self
                .writer
                .append_once(ack, rows, record, now_s)
                .map(|once| (once, record)),
            None => {
                return self
                    .writer
                    .append_rows(ack, rows)
                    .map(recorded)
                    .map_err(|SpoolFull| Answer::FULL);
            }
        };
        match outcome.map_err(|SpoolFull| Answer::FULL)? {
            (Once::Recorded(receipt), _) => Ok(recorded(receipt)),
            (Once::Repeat(repeat), record) if repeat.record.fingerprint == record.fingerprint => {
                self.count_repeats(1);
                Ok(BatchOnce {
                    reached: repeat.reached,
                    is_repeat: true,
                    ..recorded(repeat.receipt)
                })
            }
            (Once::Repeat(_), _) => Err(self.conflict()),
        }
    }

    /// Returns the record for the key in the request's header; `None` if the request has no key and
    /// needs none.
    ///
    /// # Errors
    /// The answer to the request.
    fn record_of_request(
        &self,
        once: &Idempotency,
        header: &str,
        head: &RequestHead<'_>,
        body: &[u8],
        id: u64,
        now_s: u32,
    ) -> Result<Option<KeyRecord>, Answer<'static>> {
        let mut values = head.parts.headers.get_all(header).iter();
        let value = values.next().map_or(&[][..], HeaderValue::as_bytes).trim_ascii();
        if values.next().is_some() {
            return Err(Answer::SEVERAL_KEYS);
        }
        if value.is_empty() {
            return if once.required {
                Err(Answer::KEY_MISSING)
            } else {
                Ok(None)
            };
        }
        let hash = self.hash(once, header, value).ok_or(Answer::FULL)?;
        let query = head.parts.uri.query().unwrap_or_default();
        let content = self.writer.keys().hash(&[query.as_bytes(), body]);
        let KeyHash(content) = content.map_err(|_| Answer::FULL)?;
        Ok(Some(KeyRecord {
            hash,
            id,
            expires_s: now_s.saturating_add(once.window_s),
            fingerprint: content as u32,
        }))
    }

    /// Returns the record of each row whose column has a key; `None` if the disk fails.
    fn records_of_rows(
        &self,
        once: &Idempotency,
        rows: &RowBatch,
        id: u64,
        now_s: u32,
    ) -> Option<Vec<Option<KeyRecord>>> {
        let (KeySource::Column(column), Some(table)) = (once.key, rows.table()) else {
            return Some(Vec::new());
        };
        let (bytes, ends) = rows.content();
        let mut start = 0;
        ends.iter()
            .map(|end| {
                let row = &bytes[start..*end as usize];
                start = *end as usize;
                let Some(value) = value_in(table.columns, column, row) else {
                    return Some(None);
                };
                let record = KeyRecord {
                    hash: self.hash(once, column, value)?,
                    id,
                    expires_s: now_s.saturating_add(once.window_s),
                    fingerprint: 0,
                };
                Some(Some(record))
            })
            .collect()
    }

    /// Returns the hash of a key; `None` if the disk fails, which is logged.
    fn hash(&self, once: &Idempotency, place: &str, value: &[u8]) -> Option<KeyHash> {
        let parts = [once.scope.as_bytes(), place.as_bytes(), value];
        match self.writer.keys().hash(&parts) {
            Ok(hash) => Some(hash),
            Err(error) => {
                tracing::error!(%error, "the folder of idempotency keys cannot be written: requests with a key are answered 503");
                None
            }
        }
    }

    /// Answers a request whose content is `fingerprint`, if content is compared.
    fn reply_once(
        &self,
        head: &RequestHead<'_>,
        reply: Reply<'_>,
        outcome: Result<Once, SpoolFull>,
        ack: Ack,
        fingerprint: Option<u32>,
    ) -> Result<ResponseDraft, Rejection> {
        let Repeat {
            record,
            receipt,
            reached,
        } = match outcome.map_err(|SpoolFull| Rejection::SpoolFull)? {
            Once::Recorded(receipt) => return Ok(self.reply_with(head, reply, receipt, ack, Ack::Accepted)),
            Once::Repeat(repeat) => repeat,
        };
        if fingerprint.is_some_and(|content| content != record.fingerprint) {
            let answer = reply.answer.for_visitor_or(self.conflict());
            return Ok(self.draft(answer, head, Some(reply.uid)));
        }
        self.count_repeats(1);
        let answer = reply.answer.with_id(record.id);
        Ok(self
            .reply_with(head, Reply { answer, ..reply }, receipt, ack, reached)
            .replayed())
    }

    /// Answers with a receipt, or with the level that the row has `reached` without a wait.
    fn reply_with(
        &self,
        head: &RequestHead<'_>,
        reply: Reply<'_>,
        receipt: Receipt,
        ack: Ack,
        reached: Ack,
    ) -> ResponseDraft {
        let draft = self.draft(reply.answer, head, Some(reply.uid));
        if receipt.is_pending() {
            draft.waiting_for(PendingAck {
                receipt,
                ack,
                best_effort: reply.best_effort,
            })
        } else {
            reached_already(draft, reply.requested, ack, reached)
        }
    }

    fn count_repeats(&self, count: usize) {
        self.writer.keys().repeats.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn conflict(&self) -> Answer<'static> {
        self.writer.keys().conflicts.fetch_add(1, Ordering::Relaxed);
        Answer::KEY_REUSED
    }
}

impl Answer<'static> {
    const KEY_MISSING: Self = Self::Failed {
        status: StatusCode::BAD_REQUEST,
        reason: Some("this route needs a header with an idempotency key"),
    };
    const SEVERAL_KEYS: Self = Self::Failed {
        status: StatusCode::BAD_REQUEST,
        reason: Some("the request has more than one idempotency key"),
    };
    const KEY_REUSED: Self = Self::Failed {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        reason: Some("an earlier request with this idempotency key had another content"),
    };
}

impl<'a> Answer<'a> {
    /// Returns the image or the redirect that a visitor gets in any case, or else `other`.
    fn for_visitor_or(self, other: Answer<'a>) -> Self {
        match self {
            Self::Pixel | Self::Redirect(_) => self,
            _ => other,
        }
    }

    /// Returns the answer about the event with this id.
    fn with_id(self, id: u64) -> Self {
        match self {
            Self::Recorded { service, name, .. } => Self::Recorded { service, name, id },
            Self::Tracked { .. } => Self::Tracked { id },
            other => other,
        }
    }
}

impl ResponseDraft {
    /// Returns the response as one to a repeat.
    pub(super) fn replayed(self) -> Self {
        self.with_header(REPLAYED, HeaderValue::from_static("true"))
    }
}
