//! Inserts sealed blocks into their tables, oldest first, until ClickHouse confirms each one.
//!
//! Each table has one task, so a table that ClickHouse refuses delays no other table. The task
//! compresses the table's next block while ClickHouse inserts the current one. Promises: each try
//! sends the same rows under the same token with the same settings, and ClickHouse stores them
//! once; delivery never drops a row; no more inserts run at a time than the options allow.
//!
//! ```text
//! lookup    checks whether the table has the rows of a try without a clear outcome
//! adapt     fits the rows of another build to the table as it is now
//! guard     decides whether refused rows become dead letters or wait, without blocking other rows
//! views     leaves out the rows on which a materialized view throws, for that view only
//! failure   the reasons why a try fails
//! audit     compares the number of confirmed rows with the table's, if enabled
//! ```
//!
//! Delivery bisects rows that ClickHouse refuses until only the bad row is left, which becomes a
//! dead letter. The spool records each cut before delivery sends the halves. Delivery also halves
//! rows that time out or that ClickHouse finds too many.

mod adapt;
mod audit;
pub(crate) mod compress;
mod failure;
mod guard;
mod lookup;
pub(crate) mod prefetch;
pub(crate) mod run;
pub(crate) mod servers;
mod views;

use std::{future::pending, io, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

pub use self::adapt::ColumnChanges;
pub(crate) use self::{
    adapt::{Changes, adapt},
    audit::Audit,
    failure::Failure,
    lookup::keeps_each_row,
};
use self::{
    failure::RefusedRow,
    guard::Guard,
    lookup::{Found, Lookup, query_prefix},
};
use crate::{
    block::{layout::InsertTarget, parts::Part, sealed::SealedBlock},
    budget::SpoolFull,
    deliver::{
        compress::{Compressed, Compressor, Form},
        prefetch::Prefetched,
        servers::ActiveServer,
    },
    spool::{Counters, Next, Outcome, Parked, Spool},
    store::{
        Class, ClickHouseError, Connection, InsertRequest,
        alarm::FailureLog,
        backoff::{Backoff, RETRY, dice},
    },
};

/// The maximum number of rows in a block. It is less than the `max_insert_block_size` that every
/// insert sets (ClickHouse's default), so ClickHouse takes a block as one unit: atomicity and
/// deduplication apply to such units.
pub(crate) const MAX_BLOCK_ROWS: usize = 1_000_000;

/// The longest wait while the process is shutting down.
const CLOSING_WAIT: Duration = Duration::from_millis(200);

/// After this many timeouts, delivery sends fewer rows at a time.
const MAX_TIMEOUTS: u32 = 2;

/// The longest time of a try, as a multiple of the usual timeout.
const MAX_TIME_FACTOR: u32 = 8;

/// The maximum number of times that delivery sends rows under another token because ClickHouse has
/// confirmed them and their table does not have them.
const MAX_GENERATIONS: u32 = 3;

/// The state that the deliveries of all tables share.
#[derive(Debug)]
pub(crate) struct Delivery {
    servers: ActiveServer,
    spool: Arc<Spool>,
    /// The queue of the dead letters.
    dead_letters: usize,
    /// One permit for each insert that may run at a time.
    permits: Semaphore,
    /// The same number of permits for prefetched rows.
    ahead_permits: Semaphore,
    compressor: Arc<Compressor>,
    timeout: Duration,
    changes: Changes,
    /// `None` unless the audit is enabled.
    audit: Option<Arc<Audit>>,
}

impl Delivery {
    /// Returns a delivery from `spool` to `servers`, with at most `inserts_in_flight` inserts at a
    /// time.
    pub(crate) fn new(
        servers: ActiveServer,
        spool: Arc<Spool>,
        dead_letters: usize,
        inserts_in_flight: usize,
        timeout: Duration,
        changes: Changes,
        audit: Option<Arc<Audit>>,
    ) -> Self {
        let permits = inserts_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            servers,
            spool,
            dead_letters,
            permits: Semaphore::new(permits),
            ahead_permits: Semaphore::new(permits),
            compressor: Arc::default(),
            timeout,
            changes,
            audit,
        }
    }

    /// Returns how many more tables may prefetch rows.
    #[cfg(test)]
    pub(crate) fn free_ahead(&self) -> usize {
        self.ahead_permits.available_permits()
    }

    /// Delivers a queue's blocks until the spool is closed and the queue is empty.
    pub(crate) async fn run(&self, lane: usize) {
        let table = TableDelivery {
            delivery: self,
            lane,
            guard: Guard::new(self.spool.has_divided(lane)),
            alarm: FailureLog::default(),
            forms: Vec::new(),
            max_bytes: usize::MAX,
            // A backlog at the start consists of rows that an earlier process could not deliver.
            is_throttled: self.spool.has_backlog(lane),
            ahead: None,
        };
        table.run().await;
        self.spool.ends();
    }

    /// Waits for `wait`, but only briefly while the process is shutting down.
    async fn wait(&self, wait: Duration) {
        if !self.spool.is_closed() {
            tokio::select! {
                () = sleep(wait) => return,
                () = self.spool.closed() => {}
            }
        }
        sleep(wait.min(CLOSING_WAIT)).await;
    }
}

/// The delivery of one table's blocks.
#[derive(Debug)]
struct TableDelivery<'a> {
    delivery: &'a Delivery,
    lane: usize,
    guard: Guard,
    alarm: FailureLog,
    /// The forms of rows whose insert targets come from another build.
    forms: Vec<(Arc<InsertTarget>, Form)>,
    /// The maximum number of bytes of rows in one insert; timeouts lower it.
    max_bytes: usize,
    /// Whether delivery throttles the inserts while it works off a backlog.
    is_throttled: bool,
    /// The next rows, while they are compressed ahead of their turn.
    ahead: Option<Prefetched<'a>>,
}

/// The history of the tries of a part.
#[derive(Debug, Default)]
struct Tries {
    /// The number of tries that timed out.
    timeouts: u32,
    /// How often ClickHouse has confirmed rows that the table does not have. Each time changes the
    /// token.
    generation: u32,
}

/// The parameters of one insert.
#[derive(Debug, Clone, Copy)]
struct Sending<'a> {
    token: &'a str,
    /// Whether the table and the other views get the rows even if a view throws.
    ignores_views: bool,
    /// The timeout of the insert.
    within: Duration,
}

/// The outcome of a try that has not failed.
enum Tried {
    /// All rows are stored.
    Stored,
    /// All rows are lost on disk; the log has an error about it already.
    Lost,
    /// Some of the rows are stored, or the part is now two parts.
    Divided,
}

impl<'a> TableDelivery<'a> {
    async fn run(mut self) {
        let Delivery {
            spool, dead_letters, ..
        } = self.delivery;
        let is_last = self.lane == *dead_letters;
        loop {
            let guard = &self.guard;
            let parked = Parked {
                is_parked: &|block, part| guard.is_parked(block, part),
                is_all: guard.parks_all(spool.layout(self.lane)),
                retry_at: guard.retry_at(),
            };
            match spool.next(self.lane, is_last, parked).await {
                Next::Rows(block, first) => {
                    let part = self.guard.choose(&block, first);
                    self.deliver(&block, &part).await;
                    let counters = spool.counters(self.lane);
                    Counters::set(&counters.is_held, u64::from(self.guard.is_holding()));
                    Counters::set(&counters.failures, 0);
                }
                Next::Retry => self.retry_parked().await,
                Next::End => return,
            }
        }
    }

    /// Returns once the part is stored, refused, parked, lost or divided.
    async fn deliver(&mut self, block: &Arc<SealedBlock>, part: &Part) {
        let Delivery { spool, servers, .. } = self.delivery;
        if servers.are_awaited() {
            spool.evict(self.lane, block);
        }
        let mut failures = 0;
        let mut tries = Tries::default();
        loop {
            let started = Instant::now();
            let failure = match self.attempt(block, part, &mut tries).await {
                Ok(Tried::Stored) => {
                    self.settle_stored(block, part).await;
                    self.note_stored(block, part, failures, started.elapsed());
                    if tries.timeouts >= MAX_TIMEOUTS {
                        // The insert took more than the usual time.
                        self.max_bytes = bytes_of(block, part) / 2;
                    }
                    return self.pace(started.elapsed()).await;
                }
                Ok(Tried::Lost) => return spool.settle(self.lane, block, part, Outcome::Lost),
                Ok(Tried::Divided) => return,
                Err(failure) => failure,
            };
            failures += 1;
            tries.timeouts += u32::from(failure.is_timeout());
            // Prefetched frames must not take memory while rows wait.
            self.ahead = None;
            Counters::add(&spool.counters(self.lane).retries, 1);
            Counters::set(&spool.counters(self.lane).failures, failures.into());
            self.is_throttled = true;
            match self.handle(block, part, failure, failures, &tries).await {
                Some(backoff) => self.delivery.wait(backoff.wait(failures, dice())).await,
                None => return,
            }
        }
    }

    /// Returns the backoff before the next try, or `None` if there is no next try for now.
    async fn handle(
        &mut self,
        block: &Arc<SealedBlock>,
        part: &Part,
        failure: Failure,
        failures: u32,
        tries: &Tries,
    ) -> Option<Backoff> {
        let failure = match failure.class() {
            Class::Hold if failure.is_of_view() => {
                let token = token_of(block, part, tries.generation);
                match self.finish_without_refused(block, part, &token, failure).await {
                    Ok(()) => return None,
                    Err(failure) => failure,
                }
            }
            Class::Refused if self.lane == self.delivery.dead_letters => failure,
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
        self.alarm.report(block, part, failures, &failure);
        if failure.class() == Class::Hold {
            // Rows of other insert targets may continue meanwhile.
            self.forms.clear();
            self.guard.park_layout(&block.layout);
            return None;
        }
        Some(RETRY)
    }

    /// Handles rows that ClickHouse refuses: halves several rows, turns a single row into a dead
    /// letter, or parks the block if the table refuses every row.
    async fn refuse(&mut self, block: &Arc<SealedBlock>, part: &Part, refusal: Failure) -> Result<(), Failure> {
        let Delivery {
            spool, dead_letters, ..
        } = self.delivery;
        if !self.guard.may_refuse() {
            self.alarm.report(block, part, 1, &refusal);
            self.guard.park_block(block);
            return Ok(());
        }
        if part.len() > 1 {
            tracing::warn!(table = %block.layout.table, block = %block.id, rows = part.len(), "ClickHouse refuses rows: the delivery searches for the invalid ones");
            return self.halve(block, part).await.map(drop);
        }
        let row = spool.rows(block, part).await.map_err(Failure::Disk)?.bytes;
        let letter = RefusedRow::of(block, part, &refusal);
        // If the spool has no space for the dead letter, the row stays in its block.
        let kept = spool.refuse(self.lane, block, part, *dead_letters, |out| letter.encode(&row, out));
        kept.await
            .map_err(|SpoolFull| Failure::Disk(io::ErrorKind::StorageFull.into()))?;
        self.guard.spend();
        tracing::error!(
            table = %block.layout.table, block = %block.id, row = part.bounds().start, error = refusal.without_values(),
            "ClickHouse refuses a row, which becomes a dead letter"
        );
        Ok(())
    }

    /// Divides a part of more than one row.
    async fn halve(&self, block: &Arc<SealedBlock>, part: &Part) -> Result<(), Failure> {
        let Some(middle) = part.middle() else { return Ok(()) };
        self.delivery.spool.cut(block, middle).await.map_err(Failure::Disk)
    }

    /// Divides a part of more than one row, and from now on every later part that is as large.
    async fn send_less(&mut self, block: &Arc<SealedBlock>, part: &Part) -> Result<(), Failure> {
        self.halve(block, part).await?;
        self.max_bytes = bytes_of(block, part) / 2;
        tracing::debug!(table = %block.layout.table, block = %block.id, max_bytes = self.max_bytes, "inserts are limited to fewer rows");
        Ok(())
    }

    /// Returns whether a part must be divided before the next try.
    fn is_too_large(&self, block: &SealedBlock, part: &Part, tries: &Tries) -> bool {
        part.len() > 1 && (tries.timeouts >= MAX_TIMEOUTS || bytes_of(block, part) > self.max_bytes)
    }

    /// Tries rows again after the table has refused all of them: newer rows, or one of the parked
    /// rows.
    async fn retry_parked(&mut self) {
        let Some(id) = self.guard.retry() else { return };
        let Delivery { spool, .. } = self.delivery;
        let guard = &self.guard;
        if guard.prefers_others() && spool.has_rows(self.lane, &|block, part| guard.is_parked(block, part)) {
            return;
        }
        let Some(block) = spool.block(self.lane, id) else {
            return self.guard.forget(id);
        };
        let left: Vec<_> = block.state().parts.iter().collect();
        let rows: Vec<_> = left.iter().flat_map(Part::rows).collect();
        let Some(&row) = rows.get((dice() % rows.len().max(1) as u64) as usize) else {
            return self.guard.forget(id);
        };
        let within = |part: &&Part| part.bounds().contains(&row);
        for part in left.iter().filter(within) {
            // Halves of stored rows would have other tokens.
            if spool.is_in_doubt(&block, part) {
                return self.guard.probe(id, part.clone());
            }
            for cut in [row, row + 1] {
                let is_inside = part.bounds().start < cut && cut < part.bounds().end;
                if is_inside && spool.cut(&block, cut).await.is_err() {
                    return;
                }
            }
        }
        self.guard.probe(id, Part::from(row..row + 1));
    }

    /// Sends rows once, after a lookup if they may be stored already.
    async fn attempt(&mut self, block: &Arc<SealedBlock>, part: &Part, tries: &mut Tries) -> Result<Tried, Failure> {
        let Delivery {
            servers,
            spool,
            permits,
            ..
        } = self.delivery;
        // The wait for a server with the tables does not count as a failure.
        servers.wait().await;
        // Held during the try only, not during the wait for the next one. This cannot fail, since
        // delivery never closes the semaphore.
        let _permit = permits.acquire().await;
        let Some((place, connection)) = servers.used() else {
            return Err(Failure::Server(ClickHouseError::no_server()));
        };
        let result = self.look_and_send(&connection, block, part, tries).await;
        if let Err(Failure::Server(error)) = &result {
            if error.may_be_stored() {
                spool.doubt(block, part);
            }
            if error.is_absence() {
                servers.leave(place);
            }
        }
        result
    }

    async fn look_and_send(
        &mut self,
        connection: &Connection,
        block: &Arc<SealedBlock>,
        part: &Part,
        tries: &mut Tries,
    ) -> Result<Tried, Failure> {
        let Delivery { spool, timeout, .. } = self.delivery;
        let is_too_large = self.is_too_large(block, part, tries);
        if !spool.is_in_doubt(block, part) {
            if is_too_large {
                return self.send_less(block, part).await.map(|()| Tried::Divided);
            }
            return self.send(connection, block, part, tries.generation).await;
        }
        let lookup = self.look_up(connection, block, part).await?;
        let counters = spool.counters(self.lane);
        Counters::add(&counters.lookups, 1);
        let may_be_missed = lookup.has_views || connection.has_quorum;
        match lookup.found {
            Found::Running => return Err(Failure::Running),
            Found::Unknowable => {
                // Halves would have other tokens, so ClickHouse could store the rows twice.
                let within = time_for(*timeout, tries.timeouts);
                if within > *timeout {
                    tracing::warn!(
                        table = %block.layout.table, block = %block.id, rows = part.len(), timeouts = tries.timeouts,
                        seconds = within.as_secs_f64(),
                        "an insert timed out, and its table cannot be queried for the rows it has: the next \
                         attempt has the same rows and more time"
                    );
                }
                let token = token_of(block, part, 0);
                return self
                    .send_as(
                        connection,
                        block,
                        part,
                        Sending {
                            token: &token,
                            ignores_views: false,
                            within,
                        },
                    )
                    .await;
            }
            // Views or other replicas may have missed the rows; the token keeps the table from
            // storing them twice.
            Found::All if may_be_missed && lookup.is_remembered => {
                return self.send(connection, block, part, 0).await;
            }
            Found::Some(_) if may_be_missed && lookup.is_remembered && tries.generation == 0 => {
                self.send(connection, block, part, 0).await?;
                tries.generation = 1;
                return Err(Failure::Missing);
            }
            Found::All | Found::Some(_) if lookup.has_views => {
                Counters::add(&counters.views_in_doubt, 1);
                tracing::warn!(
                    table = %block.layout.table, block = %block.id,
                    "rows are stored, but a materialized view over their table may have missed them: \
                     the table had too many inserts since, or the view fills a table without a deduplication window"
                );
            }
            Found::None if tries.generation > MAX_GENERATIONS => {
                Counters::add(&counters.rows_missing, part.len() as u64);
                tracing::error!(
                    table = %block.layout.table, block = %block.id, rows = part.len(),
                    "ClickHouse confirms these rows on every insert, but they are not in the table"
                );
                return Ok(Tried::Stored);
            }
            Found::None => {
                spool.trust(block, part);
                if is_too_large {
                    return self.send_less(block, part).await.map(|()| Tried::Divided);
                }
                let tried = self.send(connection, block, part, tries.generation).await?;
                // A ClickHouse that was killed may remember a token whose rows are gone.
                spool.doubt(block, part);
                let lookup = self.look_up(connection, block, part).await?;
                if lookup.found == Found::All || lookup.found == Found::Unknowable {
                    return Ok(tried);
                }
                if lookup.has_views {
                    Counters::add(&counters.views_in_doubt, 1);
                    tracing::warn!(
                        table = %block.layout.table, block = %block.id,
                        "ClickHouse knows the token of rows that are not stored: they are sent under another \
                         token, and a materialized view over their table may have them twice"
                    );
                }
                tries.generation += 1;
                return Err(Failure::Missing);
            }
            Found::All | Found::Some(_) => {}
        }
        match lookup.found {
            Found::Some(rows) => {
                Counters::add(&counters.rows_found, rows.iter().map(|rows| rows.len() as u64).sum());
                self.settle_stored(block, &Part::of(rows)).await;
                Ok(Tried::Divided)
            }
            _ => {
                Counters::add(&counters.rows_found, part.len() as u64);
                Ok(Tried::Stored)
            }
        }
    }

    /// Marks rows as stored in the spool, and confirms them to the audit.
    async fn settle_stored(&self, block: &Arc<SealedBlock>, part: &Part) {
        let Delivery { spool, audit, .. } = self.delivery;
        let Some(audit) = audit else {
            return spool.settle(self.lane, block, part, Outcome::Stored);
        };
        // Read before the spool forgets the rows. Rows that cannot be read are stored all the same,
        // but the audit does not compare them.
        let rows = spool.rows(block, part).await;
        spool.settle(self.lane, block, part, Outcome::Stored);
        if let Some(ids) = rows.ok().and_then(|rows| block.layout.row_ids(&rows.bytes, &rows.ends)) {
            audit.confirm(self.lane, &ids);
        }
    }

    async fn look_up(&self, connection: &Connection, block: &Arc<SealedBlock>, part: &Part) -> Result<Lookup, Failure> {
        let Delivery { spool, timeout, .. } = self.delivery;
        let rows = spool.rows(block, part).await.map_err(Failure::Disk)?;
        let lookup = Lookup::of(connection, block, part, &rows, *timeout).await;
        lookup.map_err(|error| Failure::Server(error.of_question()))
    }

    async fn send(
        &mut self,
        connection: &Connection,
        block: &Arc<SealedBlock>,
        part: &Part,
        generation: u32,
    ) -> Result<Tried, Failure> {
        let token = token_of(block, part, generation);
        let within = self.delivery.timeout;
        self.send_as(
            connection,
            block,
            part,
            Sending {
                token: &token,
                ignores_views: false,
                within,
            },
        )
        .await
    }

    /// Sends rows under a token, which may be the token of more rows.
    async fn send_as(
        &mut self,
        connection: &Connection,
        block: &Arc<SealedBlock>,
        part: &Part,
        sending: Sending<'_>,
    ) -> Result<Tried, Failure> {
        let Delivery { spool, .. } = self.delivery;
        let form = self.form_of(connection, block).await?;
        let Some(compressed) = self.compressed(block, part, form).await? else {
            return Ok(Tried::Lost);
        };
        // Rows on disk need no memory any more: another try would read them from disk.
        spool.evict(self.lane, block);
        let query_id = format!("{}{:x}", query_prefix(block), dice());
        let request = InsertRequest {
            statement: compressed.statement(block),
            token: sending.token,
            query_id: &query_id,
            rows: part.len(),
            ignores_views: sending.ignores_views,
            frames: compressed.frames.clone(),
        };
        let mut insert = pin!(connection.inserts.insert(request, sending.within));
        let result = tokio::select! {
            result = &mut insert => result,
            ahead = self.next_ahead() => {
                self.ahead = Some(ahead);
                insert.await
            }
        };
        result.map(|()| Tried::Stored).map_err(Failure::Server)
    }

    /// Returns the form in which a block's rows fit the table as it is now.
    async fn form_of(&mut self, connection: &Connection, block: &SealedBlock) -> Result<Form, Failure> {
        let Delivery {
            spool,
            timeout,
            changes,
            ..
        } = self.delivery;
        let layout = &block.layout;
        // The sync has already compared the schema's own insert target with the table.
        if Arc::ptr_eq(layout, spool.layout(self.lane)) {
            return Ok(Form::Own);
        }
        if let Some((_, form)) = self.forms.iter().find(|(known, _)| Arc::ptr_eq(known, layout)) {
            return Ok(form.clone());
        }
        let form = adapt(&connection.queries, layout, changes, *timeout).await?;
        self.forms.push((Arc::clone(layout), form.clone()));
        Ok(form)
    }

    /// Returns the compressed rows, or `None` if all of them are lost.
    async fn compressed(
        &mut self,
        block: &Arc<SealedBlock>,
        part: &Part,
        form: Form,
    ) -> Result<Option<Compressed>, Failure> {
        let Delivery { spool, compressor, .. } = self.delivery;
        let compressing = match Prefetched::take_if(&mut self.ahead, block, part) {
            Some(compressing) if matches!(form, Form::Own) => compressing,
            _ => {
                let rows = spool.rows(block, part).await.map_err(Failure::Disk)?;
                if rows.ends.is_empty() {
                    return Ok(None);
                }
                compressor.compress(block, rows, form)
            }
        };
        let compressed = compressing.done().await;
        compressed.map(Some).map_err(|error| Failure::Server(error.into()))
    }

    /// Starts to compress the next rows as soon as there are some. The future never completes if
    /// prefetching is not useful now.
    async fn next_ahead(&self) -> Prefetched<'a> {
        let Delivery {
            spool,
            compressor,
            ahead_permits,
            ..
        } = self.delivery;
        // The pause of a throttled delivery is longer than the compression.
        if self.is_throttled || self.ahead.is_some() || self.guard.has_parked() {
            return pending().await;
        }
        let next = spool.upcoming(self.lane).await;
        match ahead_permits.try_acquire() {
            Ok(permit) => Prefetched::start(next, compressor, permit),
            Err(_) => pending().await,
        }
    }

    fn note_stored(&mut self, block: &SealedBlock, part: &Part, failures: u32, took: Duration) {
        tracing::debug!(table = %block.layout.table, block = %block.id, rows = part.len(), failures, "stored");
        if failures > 0 {
            tracing::info!(table = %block.layout.table, block = %block.id, failures, "stored after failures");
        }
        self.guard.accept();
        self.alarm = FailureLog::default();
        self.max_bytes = self.max_bytes.max(bytes_of(block, part));
        if took < self.delivery.timeout / 2 {
            // The next insert may be twice as large.
            self.max_bytes = self.max_bytes.saturating_mul(2);
        }
    }

    /// After an outage, pauses as long as the insert took, so that ClickHouse has time for new rows
    /// as well.
    async fn pace(&mut self, took: Duration) {
        let spool = &self.delivery.spool;
        self.is_throttled = self.is_throttled && spool.has_backlog(self.lane);
        if self.is_throttled && !spool.is_closed() && !spool.is_nearly_full() {
            self.delivery.wait(took).await;
        }
    }
}

/// Returns the token of a part. The token changes each time that ClickHouse confirms rows that the
/// table does not have.
fn token_of(block: &SealedBlock, part: &Part, generation: u32) -> String {
    match generation {
        0 => block.token(part),
        generation => format!("{}@{generation}", block.token(part)),
    }
}

/// Returns the timeout of the next try after `timeouts` timeouts of rows that cannot be divided.
fn time_for(timeout: Duration, timeouts: u32) -> Duration {
    let doublings = (timeouts + 1).saturating_sub(MAX_TIMEOUTS);
    timeout.saturating_mul(2_u32.saturating_pow(doublings).min(MAX_TIME_FACTOR))
}

/// Returns the approximate number of bytes of a part's rows.
fn bytes_of(block: &SealedBlock, part: &Part) -> usize {
    block.bytes / block.rows.max(1) as usize * part.len()
}
