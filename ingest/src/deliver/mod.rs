//! Delivery: takes sealed blocks, oldest first, and inserts each into its table until ClickHouse has confirmed it.
//!
//! One task per table, so that a table that ClickHouse refuses delays no other; a table's next block is compressed while the one before it is
//! inserted. Promises: each try sends the same rows under the same token with the same settings, and ClickHouse takes them once; no row is
//! ever dropped here; no more inserts run at a time than are allowed.
//!
//! ```text
//! lookup    rows whose try had no clear outcome are looked for in the table before they are sent again
//! adapt     rows of another build go into the table as it is now
//! guard     rows that are refused become dead letters, or wait without holding the others
//! views     rows on which a materialized view throws are left out there
//! failure   why a try has failed
//! audit     the number of confirmed rows is compared with the table's, if that is asked for
//! ```
//!
//! Rows that ClickHouse refuses are narrowed down by halves until the bad one stands alone, which becomes a dead letter; each
//! cut is in the spool before the halves are sent. Rows that it does not take in time, or finds too many, are halved as well.

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

/// The most rows of a block. ClickHouse is told that an insert of this many is one unit, which it is by default: atomicity and
/// deduplication go by such units.
pub(crate) const MAX_BLOCK_ROWS: usize = 1_000_000;

/// The longest wait while the process is waiting to end.
const CLOSING_WAIT: Duration = Duration::from_millis(200);

/// After so many tries that took too long, fewer rows are sent at a time.
const MAX_TIMEOUTS: u32 = 2;

/// A try may take so many times the usual time at most.
const MAX_TIME_FACTOR: u32 = 8;

/// So many times rows that ClickHouse has confirmed and that are not in their table are sent under another token.
const MAX_GENERATIONS: u32 = 3;

/// What the deliveries of all tables share.
#[derive(Debug)]
pub(crate) struct Delivery {
    servers: ActiveServer,
    spool: Arc<Spool>,
    /// The lane of the dead letters.
    dead_letters: usize,
    /// One permit for each insert that may run at a time.
    permits: Semaphore,
    /// As many for what is made ready meanwhile.
    ahead_permits: Semaphore,
    compressor: Arc<Compressor>,
    timeout: Duration,
    changes: Changes,
    /// None unless it is asked for.
    audit: Option<Arc<Audit>>,
}

impl Delivery {
    /// Returns a delivery from `spool` to `servers`, with at most `inserts_in_flight` inserts at a time.
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

    /// Returns how many more tables may have something made ready.
    #[cfg(test)]
    pub(crate) fn free_ahead(&self) -> usize {
        self.ahead_permits.available_permits()
    }

    /// Delivers a lane's blocks until the spool is closed and the lane empty.
    pub(crate) async fn run(&self, lane: usize) {
        let table = TableDelivery {
            delivery: self,
            lane,
            guard: Guard::new(self.spool.has_divided(lane)),
            alarm: FailureLog::default(),
            forms: Vec::new(),
            max_bytes: usize::MAX,
            // What is there at the start is what an earlier process could not deliver.
            is_paced: self.spool.has_backlog(lane),
            ahead: None,
        };
        table.run().await;
        self.spool.ends();
    }

    /// Waits, but not for long while the process is waiting to end.
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
    /// How the rows of layouts that are not this build's are sent.
    forms: Vec<(Arc<InsertTarget>, Form)>,
    /// So many bytes of rows are sent at a time: fewer after tries that took too long.
    max_bytes: usize,
    /// A backlog is worked off, beside what comes in.
    is_paced: bool,
    /// What comes next, if it is being made ready.
    ahead: Option<Prefetched<'a>>,
}

/// What is known of the tries of a part.
#[derive(Debug, Default)]
struct Tries {
    /// Those that took too long.
    timeouts: u32,
    /// How often rows were confirmed that are not in the table; each time they get another token.
    generation: u32,
}

/// How rows are sent.
#[derive(Debug, Clone, Copy)]
struct Sending<'a> {
    token: &'a str,
    /// A view that throws keeps the rows from no other.
    ignores_views: bool,
    /// How long ClickHouse may take.
    within: Duration,
}

/// What a try has come to, where it has not failed.
enum Tried {
    /// All rows are stored.
    Stored,
    /// All rows are lost on disk, which has been told.
    Lost,
    /// Some rows are stored, or the part is two now.
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

    /// Returns when the part is stored, refused, parked or divided.
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
                        // It has taken more than the usual time.
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
            // Frames must not take memory while rows wait.
            self.ahead = None;
            Counters::add(&spool.counters(self.lane).retries, 1);
            Counters::set(&spool.counters(self.lane).failures, failures.into());
            self.is_paced = true;
            match self.handle(block, part, failure, failures, &tries).await {
                Some(backoff) => self.delivery.wait(backoff.wait(failures, dice())).await,
                None => return,
            }
        }
    }

    /// Returns how long to wait before the next try; none if there is none for now.
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
            // Rows of other columns may go on meanwhile.
            self.forms.clear();
            self.guard.park_layout(&block.layout);
            return None;
        }
        Some(RETRY)
    }

    /// Sends rows that ClickHouse refuses as halves, makes a refused row a dead letter, or lets both wait where every row is refused.
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
            tracing::warn!(table = %block.layout.table, block = %block.id, rows = part.len(), "ClickHouse refuses rows: looking for the bad ones");
            return self.halve(block, part).await.map(drop);
        }
        let row = spool.rows(block, part).await.map_err(Failure::Disk)?.bytes;
        let letter = RefusedRow::of(block, part, &refusal);
        // A row that could not be kept as a letter stays where it is.
        let kept = spool.refuse(self.lane, block, part, *dead_letters, |out| letter.encode(&row, out));
        kept.await
            .map_err(|SpoolFull| Failure::Disk(io::ErrorKind::StorageFull.into()))?;
        self.guard.spend();
        tracing::error!(
            table = %block.layout.table, block = %block.id, row = part.bounds().start, error = refusal.without_values(),
            "ClickHouse refuses a row, which is a dead letter now"
        );
        Ok(())
    }

    /// Divides a part of more than one row.
    async fn halve(&self, block: &Arc<SealedBlock>, part: &Part) -> Result<(), Failure> {
        let Some(middle) = part.middle() else { return Ok(()) };
        self.delivery.spool.cut(block, middle).await.map_err(Failure::Disk)
    }

    /// Divides a part of more than one row, and those after it that are as large.
    async fn send_less(&mut self, block: &Arc<SealedBlock>, part: &Part) -> Result<(), Failure> {
        self.halve(block, part).await?;
        self.max_bytes = bytes_of(block, part) / 2;
        tracing::debug!(table = %block.layout.table, block = %block.id, max_bytes = self.max_bytes, "fewer rows are sent at a time");
        Ok(())
    }

    /// Returns whether a part has to be divided before it is sent again.
    fn is_too_large(&self, block: &SealedBlock, part: &Part, tries: &Tries) -> bool {
        part.len() > 1 && (tries.timeouts >= MAX_TIMEOUTS || bytes_of(block, part) > self.max_bytes)
    }

    /// Lets rows be tried although the table has refused all: those that came since, or one of the parked ones.
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
            // Halves of what is stored would have other tokens.
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

    /// Sends rows once, after those that may be stored were looked for.
    async fn attempt(&mut self, block: &Arc<SealedBlock>, part: &Part, tries: &mut Tries) -> Result<Tried, Failure> {
        let Delivery {
            servers,
            spool,
            permits,
            ..
        } = self.delivery;
        // Waiting for tables to be there is no failure.
        servers.wait().await;
        // Held for the try only, not while waiting for the next one. It cannot fail: nobody closes the semaphore.
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
                // Halves would have other tokens, and might come twice.
                let within = time_for(*timeout, tries.timeouts);
                if within > *timeout {
                    tracing::warn!(
                        table = %block.layout.table, block = %block.id, rows = part.len(), timeouts = tries.timeouts,
                        seconds = within.as_secs_f64(),
                        "an insert does not end in time, and its table cannot be asked which rows it has: \
                         the next try has the same rows and more time"
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
            // Views or other replicas may have missed them; the token keeps the table from taking them twice.
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
                    "rows are stored, and a materialized view over their table may have missed them: \
                     the table had too many inserts since, or the view fills a table without a deduplication window"
                );
            }
            Found::None if tries.generation > MAX_GENERATIONS => {
                Counters::add(&counters.rows_missing, part.len() as u64);
                tracing::error!(
                    table = %block.layout.table, block = %block.id, rows = part.len(),
                    "ClickHouse confirms these rows each time they are sent, and does not show them in the table"
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
                        "ClickHouse knows the token of rows that are not stored: they go under another token, \
                         and a materialized view over their table may have them twice"
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

    /// Notes that rows are stored, for the spool and for the audit.
    async fn settle_stored(&self, block: &Arc<SealedBlock>, part: &Part) {
        let Delivery { spool, audit, .. } = self.delivery;
        let Some(audit) = audit else {
            return spool.settle(self.lane, block, part, Outcome::Stored);
        };
        // Read before the spool forgets them. Rows that cannot be read are stored all the same, and are not compared.
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

    /// Sends rows under a token, which may be that of more rows.
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
        // What is on disk is needed in memory no longer: another try would read it there.
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

    /// Returns how the rows of a block go into the table as it is now.
    async fn form_of(&mut self, connection: &Connection, block: &SealedBlock) -> Result<Form, Failure> {
        let Delivery {
            spool,
            timeout,
            changes,
            ..
        } = self.delivery;
        let layout = &block.layout;
        // The schema's own has been compared with the table.
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

    /// Returns what is sent of rows; none where all of them are lost.
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

    /// Starts to make the next rows ready as soon as there are some. It waits for ever where that is not wanted.
    async fn next_ahead(&self) -> Prefetched<'a> {
        let Delivery {
            spool,
            compressor,
            ahead_permits,
            ..
        } = self.delivery;
        // What is paced waits longer than that takes.
        if self.is_paced || self.ahead.is_some() || self.guard.has_parked() {
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
            // Twice as much may go the next time.
            self.max_bytes = self.max_bytes.saturating_mul(2);
        }
    }

    /// After an outage, lets ClickHouse rest as long as each insert took: what comes in has to get through as well.
    async fn pace(&mut self, took: Duration) {
        let spool = &self.delivery.spool;
        self.is_paced = self.is_paced && spool.has_backlog(self.lane);
        if self.is_paced && !spool.is_closed() && !spool.is_nearly_full() {
            self.delivery.wait(took).await;
        }
    }
}

/// Returns the token of a part, which is another one for each time that ClickHouse has confirmed rows without having them.
fn token_of(block: &SealedBlock, part: &Part, generation: u32) -> String {
    match generation {
        0 => block.token(part),
        generation => format!("{}@{generation}", block.token(part)),
    }
}

/// Returns how long a try may take after so many that took too long, and that could not be divided.
fn time_for(timeout: Duration, timeouts: u32) -> Duration {
    let doublings = (timeouts + 1).saturating_sub(MAX_TIMEOUTS);
    timeout.saturating_mul(2_u32.saturating_pow(doublings).min(MAX_TIME_FACTOR))
}

/// Returns about how long the rows of a part are, in bytes.
fn bytes_of(block: &SealedBlock, part: &Part) -> usize {
    block.bytes / block.rows.max(1) as usize * part.len()
}
