//! Decode: from the body of an upload to rows in their blocks.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use encoding_rs::Decoder;
use http::request::Parts;
use http_body_util::Full;
use tokio::{sync::OwnedSemaphorePermit, task::yield_now, time::sleep};

use crate::{
    ack::Ack,
    answer::{Answer, BatchReport, FixedAnswer, ItemError},
    arena,
    block::{receipt::Receipt, rows::RowBatch},
    budget::{Booking, SpoolFull},
    collect::{
        Collector,
        batch::{StreamedBatch, Taken},
        head::{Arrival, RequestHead},
        once::idempotency_of,
        resolve::VisitorUid,
        response::accepted,
        route::Route,
        upload::{chain::Chain, input::Input, stop::Stop},
    },
    idempotency::now_s,
    identify::Address,
    request::{batch_format::BatchFormat, body::BodyError, claims::Claims},
    writer::once::Once,
};

/// The number of bytes read at a time.
const PIECE: usize = 32 << 10;

/// The length of the text from which on its items are decoded, unless the body pauses.
const TEXT_BYTES: usize = 96 << 10;

/// The length of rows and dead letters that go into their blocks together, in bytes.
const PART_BYTES: usize = 512 << 10;

/// The number of rows and dead letters that go into their blocks together.
const PART_ITEMS: usize = 50_000;

/// The number of parts that may be on their way to the disk while the next one is decoded.
const MAX_UNWRITTEN: usize = 2;

/// The number of parts that may be on their way to ClickHouse, if the answer waits for ClickHouse.
const MAX_UNSTORED: usize = 256;

/// The longest time that an upload waits for space in the spool.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// The first and the longest wait between two attempts to append rows.
const RETRY_WAITS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// The part of the memory budget above which an upload waits for rows to leave the memory.
const MEMORY_SHARE: usize = 8;

/// The longest wait for rows to leave the memory, and the time without such a wait if none left.
const MEMORY_WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// The time between two lines of the log about the progress of an upload.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// An upload between its head and its answer.
pub(super) struct Upload {
    pub(super) collector: Arc<Collector>,
    pub(super) parts: Parts,
    pub(super) arrival: Arrival,
    pub(super) route: Route,
    pub(super) requested: Option<Ack>,
    pub(super) ack: Ack,
    /// The answer if an event is recorded; `None` for the report.
    pub(super) answer: Option<&'static FixedAnswer>,
    pub(super) uid: VisitorUid,
    pub(super) has_declared_path: bool,
    /// The format that the type declares; otherwise, the first character of the text decides.
    pub(super) format: Option<BatchFormat>,
    pub(super) text_decoder: Decoder,
    pub(super) booking: Option<Booking>,
    /// The recorded parts; `None` if the upload is decoded only once.
    pub(super) chain: Option<Chain>,
    pub(super) _permit: OwnedSemaphorePermit,
}

/// The outcome of an upload so far.
#[derive(Debug)]
struct Totals {
    recorded: usize,
    duplicates: usize,
    rejected: usize,
    errors: Vec<ItemError>,
    /// The lowest level of the parts whose wait is over; `None` if there is none.
    reached: Option<Ack>,
    /// The length of the longest row that a shared log does not accept, in bytes.
    too_long_bytes: Option<usize>,
    pending: VecDeque<Receipt>,
    /// The time from which on the upload waits for memory again.
    next_memory_wait: Instant,
    next_log: Instant,
    since: Instant,
}

impl Upload {
    /// Decodes a body to its end, and answers.
    pub(super) async fn run(mut self, input: Result<Input, Stop>) -> http::Response<Full<Bytes>> {
        let now = Instant::now();
        let mut totals = Totals {
            recorded: 0,
            duplicates: 0,
            rejected: 0,
            errors: Vec::new(),
            reached: None,
            too_long_bytes: None,
            pending: VecDeque::new(),
            next_memory_wait: now,
            next_log: now + LOG_INTERVAL,
            since: now,
        };
        if let Some(chain) = &self.chain {
            totals.recorded = usize::try_from(chain.rows).unwrap_or(usize::MAX);
            totals.rejected = usize::try_from(chain.items - chain.rows).unwrap_or(usize::MAX);
            totals.reached = chain.reached;
        }
        let ended = match input {
            Ok(mut input) => {
                let ended = self.take_all(&mut input, &mut totals).await;
                log_end(&totals, &input, ended.is_ok());
                ended
            }
            Err(stop) => Err(stop),
        };
        self.wait_for_receipts(&mut totals, 0).await;
        self.respond(totals, ended.err())
    }

    /// Decodes the body to its end, or as far as it is complete.
    async fn take_all(&mut self, input: &mut Input, totals: &mut Totals) -> Result<(), Stop> {
        let mut text = String::new();
        let mut piece = vec![0; PIECE];
        // The first character of a text without a type decides its format.
        let (mut batch, mut is_final) = loop {
            let is_final = self.read_text(input, &mut piece, &mut text).await?;
            if let Some(format) = self.format_of(&text, is_final)? {
                break (self.batch(format, text), is_final);
            }
            if text.len() > TEXT_BYTES {
                text.clear();
            }
        };
        loop {
            let taken = self.take_items(&mut batch, is_final, totals).await;
            if is_final || batch.is_over() || taken.is_err() {
                // The complete items before the end stay, whatever the end is.
                let appended = self.append(&mut batch, totals).await;
                return taken.and(appended);
            }
            is_final = match self.fill(input, &mut piece, &mut batch, totals).await {
                Ok(is_final) => is_final,
                Err(stop) => {
                    let taken = self.take_items(&mut batch, false, totals).await;
                    self.append(&mut batch, totals).await.and(taken)?;
                    return Err(stop);
                }
            };
            log_progress(totals, input);
        }
    }

    /// Reads until there is enough text for its items to be decoded, or the body pauses. Returns whether
    /// the body is complete.
    async fn fill(
        &mut self,
        input: &mut Input,
        piece: &mut [u8],
        batch: &mut StreamedBatch,
        totals: &mut Totals,
    ) -> Result<bool, Stop> {
        let start = batch.text().len();
        loop {
            match input.read(piece)? {
                None if batch.text().len() > start => return Ok(false),
                None => {
                    self.append(batch, totals).await?;
                    input.readable().await;
                }
                Some(count) => {
                    self.push_text(&piece[..count], count == 0, batch.text());
                    if count == 0 || batch.text().len() >= TEXT_BYTES.max(start + PIECE) {
                        return Ok(count == 0);
                    }
                }
            }
        }
    }

    /// Reads one piece, and returns whether it is the end.
    async fn read_text(&mut self, input: &mut Input, piece: &mut [u8], text: &mut String) -> Result<bool, Stop> {
        loop {
            if let Some(count) = input.read(piece)? {
                self.push_text(&piece[..count], count == 0, text);
                return Ok(count == 0);
            }
            input.readable().await;
        }
    }

    /// Appends bytes as text; invalid ones become U+FFFD.
    fn push_text(&mut self, mut bytes: &[u8], is_final: bool, text: &mut String) {
        loop {
            let length = self.text_decoder.max_utf8_buffer_length(bytes.len());
            text.reserve(length.unwrap_or(4 * bytes.len()).max(16));
            let (result, read, _) = self.text_decoder.decode_to_string(bytes, text, is_final);
            bytes = &bytes[read..];
            if result == encoding_rs::CoderResult::InputEmpty {
                return;
            }
        }
    }

    /// Returns the format of a text; `None` if it has only white space so far.
    fn format_of(&self, text: &str, is_final: bool) -> Result<Option<BatchFormat>, Stop> {
        if self.format.is_some() {
            return Ok(self.format);
        }
        match text.trim_ascii_start().bytes().next() {
            Some(b'[') => Ok(Some(BatchFormat::Array)),
            Some(b'{') => Ok(Some(BatchFormat::Lines)),
            Some(_) => Err(BodyError::MediaType.into()),
            None => Ok(is_final.then_some(BatchFormat::Lines)),
        }
    }

    fn batch(&mut self, format: BatchFormat, text: String) -> StreamedBatch {
        let booking = self.booking.take();
        let booking = booking.unwrap_or_else(|| self.collector.writer.request_memory().booking());
        let mut batch = StreamedBatch::new(
            self.route,
            format,
            (self.requested, self.ack),
            self.uid,
            booking,
            self.collector.body_limits.max_bytes,
            self.has_declared_path,
        );
        *batch.text() = text;
        if let Some(chain) = &self.chain {
            batch.pass_over(chain.items);
        }
        batch
    }

    /// Decodes the complete items of the text, one time slice per permit.
    async fn take_items(&mut self, batch: &mut StreamedBatch, is_final: bool, totals: &mut Totals) -> Result<(), Stop> {
        while batch.prepare(is_final).map_err(Stop::Header)? {
            loop {
                let permits = Arc::clone(&self.collector.batch_permits);
                // The semaphore is never closed.
                let Ok(permit) = permits.acquire_owned().await else {
                    return Err(Stop::Full);
                };
                let decoded = batch.decode(&self.collector, permit, &self.parts, self.arrival);
                if batch.pending_bytes() >= PART_BYTES || batch.pending_items() >= PART_ITEMS {
                    self.append(batch, totals).await?;
                }
                match decoded {
                    None => yield_now().await,
                    Some(Ok(())) => break,
                    // The memory booked for the upload is used up.
                    Some(Err(_)) => return Err(Stop::Full),
                }
            }
            if !batch.remove_decoded(&self.collector, &self.parts, self.arrival) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Appends the rows and the dead letters so far to their blocks, and waits until few of them are not
    /// on disk.
    async fn append(&mut self, batch: &mut StreamedBatch, totals: &mut Totals) -> Result<(), Stop> {
        if batch.pending_items() == 0 {
            return Ok(());
        }
        let Taken {
            mut rows,
            rejected,
            left_out,
            errors,
            codes,
            mut dead_letters,
        } = batch.take();
        self.wait_for_memory(totals).await;
        let recorded = rows.count();
        let collector = Arc::clone(&self.collector);
        let ack = self.ack.max(Ack::Spooled);
        // Dead letters first: a part that has its key is passed over from now on.
        if dead_letters.count() > 0 {
            self.retry(|| collector.writer.append_rows(Ack::Accepted, &mut dead_letters))
                .await?;
        }
        let (receipt, duplicates) = match self.chain.clone() {
            None => self.retry(|| self.append_rows(ack, &mut rows)).await?,
            Some(chain) => (
                self.append_chained(chain, ack, &mut rows, rejected + left_out).await?,
                0,
            ),
        };
        collector.writer.seal_long_blocks();
        totals.recorded += recorded;
        totals.duplicates += duplicates;
        totals.rejected += rejected;
        totals.errors.extend(errors);
        for (code, count) in codes {
            collector.writer.rejections().count_events(code, count);
        }
        if receipt.is_pending() {
            totals.pending.push_back(receipt);
        }
        let max_pending = if ack == Ack::Stored {
            MAX_UNSTORED
        } else {
            MAX_UNWRITTEN
        };
        self.wait_for_receipts(totals, max_pending).await;
        Ok(())
    }

    /// Appends rows; returns the number of those that were recorded before, too.
    fn append_rows(&self, ack: Ack, rows: &mut RowBatch) -> Result<(Receipt, usize), SpoolFull> {
        let Some(once) = idempotency_of(&self.route) else {
            return self.collector.writer.append_rows(ack, rows).map(|receipt| (receipt, 0));
        };
        arena::with(|arena| {
            let head = RequestHead::read(&self.parts, self.arrival, &self.collector.proxies, arena);
            // Without a key in its header, which an upload does not have, the body does not matter.
            let appended = self.collector.append_batch_once(once, &head, &[], ack, rows);
            appended
                .map(|once| (once.receipt, once.duplicates))
                .map_err(|_| SpoolFull)
        })
    }

    /// Appends rows with the key of their part, and waits until both are on disk: the key of the next
    /// part must not be there without this one.
    async fn append_chained(
        &mut self,
        mut chain: Chain,
        ack: Ack,
        rows: &mut RowBatch,
        rejected: usize,
    ) -> Result<Receipt, Stop> {
        if rows.count() == 0 {
            chain.without_rows += rejected as u64;
            self.chain = Some(chain);
            return Ok(Receipt::NONE);
        }
        let writer = &self.collector.writer;
        let items = rows.count() + rejected;
        let record = chain.record(&self.collector, items as u64, rows.count())?;
        let appended = self.retry(|| writer.append_once(ack, rows, record, now_s())).await?;
        let receipt = match appended {
            Once::Recorded(receipt) => receipt,
            // Another request decodes the same upload, which the store prevents.
            Once::Repeat(repeat) => repeat.receipt,
        };
        let on_disk = writer.find_key(record.hash, Ack::Spooled, now_s());
        if let Some(repeat) = on_disk
            && repeat.receipt.is_pending()
            && repeat.receipt.reached_within(self.collector.ack_timeout).await < Ack::Spooled
        {
            return Err(Stop::Full);
        }
        chain.advance(&record);
        self.chain = Some(chain);
        Ok(receipt)
    }

    /// Waits while much of the memory has rows that ClickHouse is about to get. If ClickHouse takes none
    /// of them, the rows go to the disk, and memory is freed otherwise.
    async fn wait_for_memory(&self, totals: &mut Totals) {
        let writer = &self.collector.writer;
        let max_bytes = writer.request_memory().max() / MEMORY_SHARE;
        let start = Instant::now();
        if start < totals.next_memory_wait {
            return;
        }
        while writer.memory_bytes() > max_bytes {
            if start.elapsed() >= MEMORY_WAITS.0 {
                totals.next_memory_wait = Instant::now() + MEMORY_WAITS.1;
                return;
            }
            sleep(RETRY_WAITS.0).await;
        }
    }

    /// Tries to append until the spool has space.
    async fn retry<T>(&self, mut append: impl FnMut() -> Result<T, SpoolFull>) -> Result<T, Stop> {
        let writer = &self.collector.writer;
        let (mut wait, longest) = RETRY_WAITS;
        let deadline = Instant::now() + MAX_PAUSE;
        loop {
            // The last part of the spool is for requests that cannot wait.
            if !writer.is_nearly_full()
                && let Ok(appended) = append()
            {
                return Ok(appended);
            }
            if writer.is_closed() || Instant::now() >= deadline {
                return Err(Stop::Full);
            }
            sleep(wait).await;
            wait = (2 * wait).min(longest);
        }
    }

    /// Waits for the oldest parts, until at most `max_pending` are left.
    async fn wait_for_receipts(&mut self, totals: &mut Totals, max_pending: usize) {
        while totals.pending.len() > max_pending {
            let Some(mut receipt) = totals.pending.pop_front() else {
                return;
            };
            // Once one part was late, the others have to be on disk only.
            receipt.lower(self.ack.max(Ack::Spooled));
            let end = receipt.end_within(self.collector.ack_timeout).await;
            totals.too_long_bytes = totals.too_long_bytes.max(end.too_long_bytes);
            // The log has the other rows of the part.
            let reached = match end.too_long_bytes {
                Some(_) => self.ack,
                None => end.level,
            };
            if reached < self.ack {
                // The answer cannot promise the level any more, so nothing else waits for it.
                self.ack = reached;
            }
            totals.reached = Some(totals.reached.map_or(reached, |lowest| lowest.min(reached)));
        }
    }

    /// Answers with the counts of the items.
    fn respond(self, totals: Totals, stop: Option<Stop>) -> http::Response<Full<Bytes>> {
        let collector = &self.collector;
        arena::with(|arena| {
            let head = RequestHead::read(&self.parts, self.arrival, &collector.proxies, arena);
            if let Some(Stop::Header(rejection)) = &stop {
                let message = rejection.message("");
                collector.writer.rejections().count_event(rejection.code());
                collector.write_unread_dead_letter(&head, &[], rejection.code(), &message);
            }
            let (query, no_claims) = (head.claims(), Claims::default());
            let address = Address::of_path(&head.target, &query, &no_claims);
            let report = BatchReport {
                service: address.service,
                name: address.name,
                recorded: totals.recorded,
                duplicates: totals.duplicates,
                rejected: totals.rejected,
                errors: totals.errors,
                failure: stop.as_ref().map(Stop::to_failure),
            };
            let promised = self.requested.unwrap_or(collector.ack);
            let draft = collector.draft(Answer::of_batch(&report, self.answer), &head, Some(self.uid));
            let draft = match (totals.reached, report.recorded) {
                (_, 0) => draft,
                (None, _) => accepted(draft, self.requested, promised),
                (Some(reached), _) if reached >= promised || report.failure.is_some() => {
                    match totals.too_long_bytes.filter(|_| report.failure.is_none()) {
                        Some(bytes) => draft.too_long(bytes),
                        None => draft.acknowledged(reached.min(promised)),
                    }
                }
                (Some(reached), _) => draft.unacknowledged(reached),
            };
            collector.writer.rejections().count_response(draft.status());
            draft.into_response(http::HeaderMap::new(), self.arrival.elapsed_ms())
        })
    }
}

/// Logs the progress of a long upload now and then.
fn log_progress(totals: &mut Totals, input: &Input) {
    let now = Instant::now();
    if now >= totals.next_log {
        totals.next_log = now + LOG_INTERVAL;
        tracing::info!(
            bytes = input.received(),
            recorded = totals.recorded,
            refused = totals.rejected,
            "an upload is in progress"
        );
    }
}

/// Logs the end of a long upload.
fn log_end(totals: &Totals, input: &Input, is_complete: bool) {
    let elapsed = totals.since.elapsed();
    if elapsed >= LOG_INTERVAL {
        tracing::info!(
            bytes = input.received(),
            recorded = totals.recorded,
            refused = totals.rejected,
            seconds = elapsed.as_secs(),
            is_complete,
            "an upload has ended"
        );
    }
}
