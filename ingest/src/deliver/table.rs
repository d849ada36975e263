//! The delivery of one table: reads its blocks, oldest first, tries to insert each part, and
//! handles failures.

use std::{io, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Delivery,
    backend::Backend,
    compress::Form,
    failure::{Failure, RefusedRow},
    guard::Guard,
    prefetch::Prefetched,
    target::Target,
    waiting::Waiting,
};
use crate::{
    block::{layout::InsertTarget, parts::Part, sealed::SealedBlock},
    budget::SpoolFull,
    spool::{Counters, Next, Outcome, Parked, TableReader},
    store::{
        Class,
        backoff::{Backoff, RETRY},
        failure_log::FailureLog,
    },
};

/// After this many timeouts, delivery sends fewer rows at a time.
pub(super) const MAX_TIMEOUTS: u32 = 2;

/// The delivery of one table's blocks.
#[derive(Debug)]
pub(super) struct TableDelivery<'a, B> {
    pub(super) delivery: &'a Delivery<B>,
    pub(super) reader: &'a TableReader,
    pub(super) target: Target<'a, B>,
    pub(super) guard: Guard,
    /// Blocks whose server does not answer.
    pub(super) waiting: Waiting,
    pub(super) failure_log: FailureLog,
    /// The forms of the insert targets that were compared with the table a moment ago.
    pub(super) forms: Vec<KnownForm>,
    /// The maximum number of bytes of rows in one insert; timeouts lower it.
    pub(super) max_bytes: usize,
    /// Whether delivery throttles the inserts while it works off a backlog.
    pub(super) is_throttled: bool,
    /// The next rows, which are compressed early.
    pub(super) prefetched: Option<Prefetched<'a>>,
}

/// The form in which rows of an insert target fit the table.
#[derive(Debug)]
pub(super) struct KnownForm {
    pub(super) layout: Arc<InsertTarget>,
    pub(super) form: Form,
    /// The URL of the server with the table.
    pub(super) server: String,
    /// The time before the columns were read.
    pub(super) since: Instant,
}

impl KnownForm {
    /// Returns whether this is the form for a server's table.
    pub(super) fn is_of(&self, layout: &Arc<InsertTarget>, server: &str) -> bool {
        Arc::ptr_eq(&self.layout, layout) && self.server == server
    }
}

/// The history of the tries of a part.
#[derive(Debug, Default)]
pub(super) struct Tries {
    /// The number of tries that timed out.
    pub(super) timeouts: u32,
    /// The number of times that ClickHouse has confirmed rows that the table does not have. Each
    /// time changes the token.
    pub(super) generation: u32,
    /// Whether ClickHouse has confirmed rows under their token that their table, which has views,
    /// does not have.
    pub(super) is_missing: bool,
    /// The number of times that delivery has attached rows that the table does not show.
    pub(super) attached: u32,
    /// The number of refused attachments with an error that may be transient.
    pub(super) attach_errors: u32,
}

/// The parameters of one insert.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending<'a> {
    pub(super) token: &'a str,
    /// Whether the table and the other views get the rows even if a view throws.
    pub(super) ignores_views: bool,
    /// The timeout of the insert.
    pub(super) within: Duration,
    /// Another table for the rows, with the same columns.
    pub(super) into: Option<&'a str>,
}

/// The outcome of a try that has not failed.
pub(super) enum Tried {
    /// All rows are stored.
    Stored,
    /// All rows are lost on disk; the log has an error about it already.
    Lost,
    /// Some of the rows are stored, or the part is now two parts.
    Divided,
}

impl<B: Backend> TableDelivery<'_, B> {
    pub(super) async fn run(mut self) {
        let reader = self.reader;
        loop {
            let (guard, waiting) = (&self.guard, &self.waiting);
            let parked = Parked {
                is_parked: &|block, part| waiting.has(block) || guard.is_parked(block, part),
                is_all: guard.parks_all(reader.layout()),
                retry_at: guard.retry_at().into_iter().chain(waiting.until()).min(),
            };
            match reader.next_block(parked).await {
                Next::Rows(block, first) => {
                    let part = self.guard.choose(&block, first);
                    self.deliver(&block, &part).await;
                    let counters = reader.counters();
                    let is_held = self.guard.has_parked() || self.waiting.has_any();
                    Counters::set(&counters.is_held, u64::from(is_held));
                    Counters::set(&counters.failures, 0);
                }
                Next::Retry => {
                    let now = Instant::now();
                    self.waiting.release(now);
                    let is_due = |at: Instant| at <= now || self.delivery.spool.is_closed();
                    if self.guard.retry_at().is_some_and(is_due) {
                        self.retry_parked().await;
                    }
                }
                Next::End => return,
            }
        }
    }

    /// Returns once the part is stored, refused, parked, lost or divided.
    pub(super) async fn deliver(&mut self, block: &Arc<SealedBlock>, part: &Part) {
        let reader = self.reader;
        if self.target.none_ready() {
            reader.evict(block);
        }
        let mut failures = 0;
        let mut tries = Tries::default();
        loop {
            let started = Instant::now();
            let failure = match self.attempt(block, part, &mut tries).await {
                Ok(Tried::Stored) => {
                    self.settle_stored(block, part).await;
                    self.record_stored(block, part, failures, started.elapsed());
                    if tries.timeouts >= MAX_TIMEOUTS {
                        // The insert took more than the usual time.
                        self.max_bytes = bytes_of(block, part) / 2;
                    }
                    return self.throttle(started.elapsed()).await;
                }
                Ok(Tried::Lost) => return reader.settle(block, part, Outcome::Lost),
                Ok(Tried::Divided) => return,
                Err(Failure::Away(server)) => {
                    reader.evict(block);
                    return self.waiting.wait(block, &server);
                }
                Err(failure) => failure,
            };
            failures += 1;
            tries.timeouts += u32::from(failure.is_timeout());
            // Prefetched frames must not use memory while rows wait.
            self.prefetched = None;
            // The table may be another one when it accepts rows again.
            self.forms.clear();
            Counters::add(&reader.counters().retries, 1);
            Counters::set(&reader.counters().failures, failures.into());
            self.is_throttled = true;
            match self.handle(block, part, failure, failures, &tries).await {
                Some(backoff) => self.delivery.wait(backoff.wait(failures)).await,
                None => return,
            }
        }
    }

    /// Returns the backoff before the next try, or `None` if there is no next try for now.
    pub(super) async fn handle(
        &mut self,
        block: &Arc<SealedBlock>,
        part: &Part,
        failure: Failure,
        failures: u32,
        tries: &Tries,
    ) -> Option<Backoff> {
        let failure = match failure.class() {
            Class::Hold if failure.is_view_error() => {
                let token = token_of(block, part, tries.generation);
                match self.finish_without_refused(block, part, &token, failure).await {
                    Ok(()) => return None,
                    Err(failure) => failure,
                }
            }
            Class::Refused if self.reader.is_of_dead_letters() => failure,
            Class::Refused => match self.refuse(block, part, failure).await {
                Ok(()) => return None,
                Err(failure) => failure,
            },
            Class::TooLarge if part.len() > 1 => match self.send_less(block, part).await {
                Ok(()) => return None,
                Err(failure) => failure,
            },
            Class::TooLarge => match self.refuse(block, part, failure).await {
                Ok(()) => return None,
                Err(failure) => failure,
            },
            Class::Retry | Class::Hold => failure,
        };
        self.failure_log.report(block, part, failures, &failure);
        if failure.class() == Class::Hold {
            // Delivery continues with the rows of other insert targets.
            self.guard.park_layout(&block.layout);
            return None;
        }
        Some(RETRY)
    }

    /// Handles rows that ClickHouse refuses: halves several rows, turns a single row into a dead
    /// letter, or parks the block if the table refuses every row.
    pub(super) async fn refuse(
        &mut self,
        block: &Arc<SealedBlock>,
        part: &Part,
        refusal: Failure,
    ) -> Result<(), Failure> {
        let reader = self.reader;
        if !self.guard.may_refuse() {
            self.failure_log.report(block, part, 1, &refusal);
            self.guard.park_block(block);
            return Ok(());
        }
        if part.len() > 1 {
            tracing::warn!(table = %block.layout.table, block = %block.id, rows = part.len(), "ClickHouse refuses rows: the delivery searches for the invalid ones");
            return self.halve(block, part).await.map(drop);
        }
        let row = reader.rows(block, part).await.map_err(Failure::Disk)?.bytes;
        let dead_letter = RefusedRow::of(block, part, &refusal);
        // If the spool has no space for the dead letter, the row stays in its block.
        let kept = reader.move_to_dead_letters(block, part, |out| dead_letter.encode(&row, out));
        kept.await
            .map_err(|SpoolFull| Failure::Disk(io::ErrorKind::StorageFull.into()))?;
        self.guard.spend_credit();
        tracing::error!(
            table = %block.layout.table, block = %block.id, row = part.bounds().start, server = refusal.server(),
            error = refusal.without_values(),
            "ClickHouse refuses a row, which becomes a dead letter"
        );
        Ok(())
    }

    /// Divides a part of more than one row.
    pub(super) async fn halve(&self, block: &Arc<SealedBlock>, part: &Part) -> Result<(), Failure> {
        let Some(middle) = part.middle() else { return Ok(()) };
        self.reader.cut(block, middle).await.map_err(Failure::Disk)
    }

    /// Divides a part of more than one row, and from now on every later part that is as large.
    pub(super) async fn send_less(&mut self, block: &Arc<SealedBlock>, part: &Part) -> Result<(), Failure> {
        self.halve(block, part).await?;
        self.max_bytes = bytes_of(block, part) / 2;
        tracing::debug!(table = %block.layout.table, block = %block.id, max_bytes = self.max_bytes, "inserts are limited to fewer rows");
        Ok(())
    }

    /// Returns whether a part must be divided before the next try.
    pub(super) fn is_too_large(&self, block: &SealedBlock, part: &Part, tries: &Tries) -> bool {
        part.len() > 1 && (tries.timeouts >= MAX_TIMEOUTS || bytes_of(block, part) > self.max_bytes)
    }

    /// Tries rows again after the table has refused all of them: newer rows, or one of the parked
    /// rows.
    pub(super) async fn retry_parked(&mut self) {
        let Some(id) = self.guard.retry() else { return };
        let reader = self.reader;
        let guard = &self.guard;
        if guard.prefers_others() && reader.has_rows(&|block, part| guard.is_parked(block, part)) {
            return;
        }
        let Some(block) = reader.block(id) else {
            return self.guard.forget(id);
        };
        let left: Vec<_> = block.state().parts.iter().collect();
        let rows: Vec<_> = left.iter().flat_map(Part::rows).collect();
        let Some(&row) = fastrand::choice(&rows) else {
            return self.guard.forget(id);
        };
        let within = |part: &&Part| part.bounds().contains(&row);
        for part in left.iter().filter(within) {
            // Halves of stored rows would have other tokens.
            if reader.is_in_doubt(&block, part) {
                return self.guard.probe(id, part.clone());
            }
            for cut in [row, row + 1] {
                let is_inside = part.bounds().start < cut && cut < part.bounds().end;
                if is_inside && reader.cut(&block, cut).await.is_err() {
                    return;
                }
            }
        }
        self.guard.probe(id, Part::from(row..row + 1));
    }

    pub(super) fn record_stored(&mut self, block: &SealedBlock, part: &Part, failures: u32, took: Duration) {
        tracing::debug!(table = %block.layout.table, block = %block.id, rows = part.len(), failures, "stored");
        if failures > 0 {
            tracing::info!(table = %block.layout.table, block = %block.id, failures, "stored after failures");
        }
        self.guard.accept();
        self.failure_log = FailureLog::default();
        self.waiting.forget_failures();
        self.max_bytes = self.max_bytes.max(bytes_of(block, part));
        if took < self.delivery.timeout / 2 {
            // The next insert may be twice as large.
            self.max_bytes = self.max_bytes.saturating_mul(2);
        }
    }

    /// After an outage, pauses as long as the insert took, so that ClickHouse has time for new rows
    /// as well.
    pub(super) async fn throttle(&mut self, took: Duration) {
        let spool = &self.delivery.spool;
        self.is_throttled = self.is_throttled && self.reader.has_backlog();
        if self.is_throttled && !spool.is_closed() && !spool.is_nearly_full() {
            self.delivery.wait(took).await;
        }
    }
}

/// Returns the token of a part. The token changes each time that ClickHouse confirms rows that the
/// table does not have.
pub(super) fn token_of(block: &SealedBlock, part: &Part, generation: u32) -> String {
    match generation {
        0 => block.token(part),
        generation => format!("{}@{generation}", block.token(part)),
    }
}

/// Returns the approximate number of bytes of a part's rows.
pub(super) fn bytes_of(block: &SealedBlock, part: &Part) -> usize {
    block.bytes / block.rows.max(1) as usize * part.len()
}
