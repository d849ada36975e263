//! Delivery: takes sealed blocks, oldest first, and inserts each into its table until ClickHouse has confirmed it.
//!
//! One task per table, so that a table that ClickHouse refuses delays no other; a table's next block is compressed while the one before it is
//! inserted. Promises: each try sends the same rows under the same token with the same settings, and ClickHouse takes them once; no row is
//! ever dropped here; no more inserts run at a time than are allowed. Rows that ClickHouse refuses are narrowed down by halves until the bad
//! one stands alone, which becomes a dead letter; each halving is in the spool before the halves are sent, so that a restart goes on where
//! this one stopped.

use std::{future::pending, io, pin::pin, sync::Arc, time::Duration};

use clickhouse::{Client, Compression};
use jiff::Timestamp;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{
    ahead::Ahead,
    alarm::Alarm,
    backoff::{HOLD, RETRY, dice},
    block::SealedBlock,
    compressed::{Compressed, Compressor},
    dead_letter::DeadLetter,
    spool::{Counters, NoRoom, Outcome, RowRange, Spool},
    store::{Class, StoreError},
    stores::Servers,
};

/// The most rows of a block. ClickHouse is told that an insert of this many is one unit, which it is by default: atomicity and
/// deduplication go by such units.
pub(crate) const MAX_BLOCK_ROWS: usize = 1_000_000;

/// Settings of each insert. All of them are the defaults of some version, and each default has changed or can be changed by a
/// user's profile; what delivery rests on is therefore never inherited.
const SETTINGS: [(&str, &str); 8] = [
    // The token decides what is a duplicate, for synchronous inserts into tables that keep a deduplication window.
    ("insert_deduplicate", "1"),
    // A view whose table has missed a block gets it by the next try, and one that has it does not get it again.
    ("deduplicate_blocks_in_dependent_materialized_views", "1"),
    // An answer means that the rows are in the table.
    ("async_insert", "0"),
    ("wait_for_async_insert", "1"),
    ("max_insert_block_size", "1048449"),
    // A guard against mistaken partition keys, whose error (252, as for too many parts) no retry would ever overcome: late
    // events of many months would stop their table. With 0 ClickHouse warns in its log and takes them.
    ("throw_on_max_partitions_per_insert_block", "0"),
    // What a row leaves to a default is computed, be it said in a row or by a NULL in a column.
    ("input_format_defaults_for_omitted_fields", "1"),
    ("input_format_null_as_default", "1"),
];

/// The longest wait while the process is waiting to end.
const CLOSING_WAIT: Duration = Duration::from_millis(200);

/// After so many refused rows without one that was taken between them, it is not the rows: the table waits for a person.
const MAX_REFUSED_IN_A_ROW: u32 = 100;

/// What the deliveries of all tables share.
#[derive(Debug)]
pub(crate) struct Delivery {
    servers: Servers,
    spool: Arc<Spool>,
    /// The lane of the dead letters.
    dead_letters: usize,
    /// One permit for each insert that may run at a time.
    permits: Semaphore,
    /// As many for what is made ready meanwhile.
    ahead_permits: Semaphore,
    compressor: Arc<Compressor>,
    timeout: Duration,
}

impl Delivery {
    /// Returns a delivery from `spool` to `servers`, with at most `inserts_in_flight` inserts at a time.
    pub(crate) fn new(
        servers: Servers,
        spool: Arc<Spool>,
        dead_letters: usize,
        inserts_in_flight: usize,
        timeout: Duration,
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
        }
    }

    /// Returns how many more tables may have something made ready.
    #[cfg(test)]
    pub(crate) fn free_ahead(&self) -> usize {
        self.ahead_permits.available_permits()
    }

    /// Delivers a lane's blocks until the spool is closed and the lane empty.
    pub(crate) async fn run(&self, lane: usize) {
        let mut table = LaneDelivery {
            delivery: self,
            lane,
            refused_in_a_row: 0,
            // What is there at the start is what an earlier process could not deliver.
            is_paced: self.spool.has_backlog(lane),
            ahead: None,
        };
        while let Some(block) = self.spool.next(lane, lane == self.dead_letters).await {
            while let Some(part) = block.next_part() {
                table.deliver(&block, &part).await;
            }
        }
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

/// Returns a client whose requests are as deliveries want them.
pub(crate) fn with_settings(client: Client) -> Client {
    let settings = SETTINGS.iter();
    settings
        .fold(client, |client, &(name, value)| client.with_setting(name, value))
        // What is sent are compressed frames already.
        .with_compression(Compression::None)
        .with_setting("decompress", "1")
}

async fn insert(
    client: &Client,
    block: &SealedBlock,
    part: &RowRange,
    compressed: Compressed,
    timeout: Duration,
) -> Result<(), StoreError> {
    let mut insert = client
        .insert_formatted_with(compressed.statement(block))
        .with_setting("insert_deduplication_token", block.token(part))
        .with_timeouts(Some(timeout), Some(timeout));
    insert.send(compressed.frames).await?;
    insert.end().await?;
    Ok(())
}

/// Why a try has failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// ClickHouse, or the way to it.
    Store(StoreError),
    /// The spool's disk.
    Disk(io::Error),
}

impl Failure {
    /// Returns its text for the log, without what it quotes of rows.
    fn without_values(&self) -> String {
        match self {
            Self::Store(error) => error.without_values(),
            Self::Disk(error) => error.to_string(),
        }
    }

    /// Returns what can be done about it.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Store(error) => error.class(),
            Self::Disk(_) => Class::Retry,
        }
    }
}

/// The delivery of one table's blocks.
#[derive(Debug)]
struct LaneDelivery<'a> {
    delivery: &'a Delivery,
    lane: usize,
    /// Refused rows since the last one that was taken.
    refused_in_a_row: u32,
    /// A backlog is worked off, beside what comes in.
    is_paced: bool,
    /// What comes next, if it is being made ready.
    ahead: Option<Ahead<'a>>,
}

impl<'a> LaneDelivery<'a> {
    /// Returns when the part is stored, or refused, or has become two.
    async fn deliver(&mut self, block: &Arc<SealedBlock>, part: &RowRange) {
        let Delivery { spool, .. } = self.delivery;
        let mut alarm = Alarm::default();
        let mut failures = 0;
        if self.delivery.servers.are_awaited() {
            spool.evict(self.lane, block);
        }
        loop {
            let started = Instant::now();
            let failure = match self.try_insert(block, part).await {
                Ok(outcome) => {
                    spool.settle(self.lane, block, part, outcome);
                    self.refused_in_a_row = 0;
                    tracing::debug!(table = %block.layout.table, block = %block.id, rows = part.len(), failures, "stored");
                    if failures > 0 {
                        tracing::info!(table = %block.layout.table, block = %block.id, failures, "stored after failures");
                    }
                    self.pace(started.elapsed()).await;
                    return;
                }
                Err(failure) => failure,
            };
            failures += 1;
            // Frames must not take memory while rows wait.
            self.ahead = None;
            Counters::add(&spool.counters(self.lane).retries, 1);
            let backoff = match failure.class() {
                Class::Refused if self.may_narrow() => match self.narrow(block, part, &failure).await {
                    Ok(()) => return,
                    Err(failure) => {
                        alarm.report(block, part, failures, &failure);
                        RETRY
                    }
                },
                class => {
                    alarm.report(block, part, failures, &failure);
                    if class == Class::Retry { RETRY } else { HOLD }
                }
            };
            self.is_paced = true;
            self.delivery.wait(backoff.wait(failures, dice())).await;
        }
    }

    async fn try_insert(&mut self, block: &Arc<SealedBlock>, part: &RowRange) -> Result<Outcome, Failure> {
        let Delivery {
            servers,
            spool,
            permits,
            timeout,
            ..
        } = self.delivery;
        // Waiting for tables to be there is no failure.
        servers.wait().await;
        // Held for the try only, not while waiting for the next one. It cannot fail: nobody closes the semaphore.
        let _permit = permits.acquire().await;
        let Some(compressed) = self.compressed(block, part).await? else {
            return Ok(Outcome::Lost);
        };
        // What is on disk is needed in memory no longer: another try would read it there.
        spool.evict(self.lane, block);
        let Some((place, client)) = servers.used() else {
            return Err(Failure::Store(
                clickhouse::error::Error::Unsupported("no ClickHouse is named".to_owned()).into(),
            ));
        };
        let mut insert = pin!(insert(&client, block, part, compressed, *timeout));
        let result = tokio::select! {
            result = &mut insert => result,
            ahead = self.next_ahead() => {
                self.ahead = Some(ahead);
                insert.await
            }
        };
        if result.as_ref().is_err_and(StoreError::is_absence) {
            servers.leave(place);
        }
        result.map(|()| Outcome::Stored).map_err(Failure::Store)
    }

    /// Returns what is sent of rows; none where all of them are lost.
    async fn compressed(&mut self, block: &Arc<SealedBlock>, part: &RowRange) -> Result<Option<Compressed>, Failure> {
        let Delivery { spool, compressor, .. } = self.delivery;
        let compressing = match Ahead::take_if(&mut self.ahead, block, part) {
            Some(compressing) => compressing,
            None => {
                let rows = spool.rows(block, part).await.map_err(Failure::Disk)?;
                if rows.ends.is_empty() {
                    return Ok(None);
                }
                compressor.compress(block, rows)
            }
        };
        let compressed = compressing.done().await;
        compressed.map(Some).map_err(|error| Failure::Store(error.into()))
    }

    /// Starts to make the next rows ready as soon as there are some. It waits for ever where that is not wanted.
    async fn next_ahead(&self) -> Ahead<'a> {
        let Delivery {
            spool,
            compressor,
            ahead_permits,
            ..
        } = self.delivery;
        // What is paced waits longer than that takes.
        if self.is_paced || self.ahead.is_some() {
            return pending().await;
        }
        let next = spool.upcoming(self.lane).await;
        match ahead_permits.try_acquire() {
            Ok(permit) => Ahead::start(next, compressor, permit),
            Err(_) => pending().await,
        }
    }

    /// Returns whether refused rows are to be looked for one by one: not where every row is refused, and not for dead letters,
    /// which have nowhere else to go.
    fn may_narrow(&self) -> bool {
        self.lane != self.delivery.dead_letters && self.refused_in_a_row < MAX_REFUSED_IN_A_ROW
    }

    /// Puts two halves in the place of refused rows, and a dead letter in the place of a refused row.
    async fn narrow(&mut self, block: &Arc<SealedBlock>, part: &RowRange, refusal: &Failure) -> Result<(), Failure> {
        let Delivery {
            spool, dead_letters, ..
        } = self.delivery;
        if part.len() > 1 {
            tracing::warn!(table = %block.layout.table, block = %block.id, rows = part.len(), "ClickHouse refuses rows: looking for the bad ones");
            return spool.split(block, part).await.map_err(Failure::Disk);
        }
        let row = spool.rows(block, part).await.map_err(Failure::Disk)?.bytes;
        let letter = letter(block, part, refusal);
        // A row that could not be kept as a letter stays where it is.
        let kept = spool.refuse(self.lane, block, part, *dead_letters, |out| {
            // The row was acknowledged, and is nowhere else: no part of it is cut off.
            letter.as_dead_letter(&row).encode(usize::MAX, out);
        });
        kept.await
            .map_err(|NoRoom| Failure::Disk(io::ErrorKind::StorageFull.into()))?;
        self.refused_in_a_row += 1;
        tracing::error!(
            table = %block.layout.table, block = %block.id, row = part.start, error = refusal.without_values(),
            "ClickHouse refuses a row, which is a dead letter now"
        );
        Ok(())
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

/// What ClickHouse says of a row that it refuses.
#[derive(Debug)]
struct RefusedRow {
    table: Arc<str>,
    code: String,
    reason: String,
    id: u64,
}

fn letter(block: &SealedBlock, part: &RowRange, refusal: &Failure) -> RefusedRow {
    let (code, reason) = match refusal {
        Failure::Store(error) => (error.code(), error.to_string()),
        Failure::Disk(error) => (None, error.to_string()),
    };
    RefusedRow {
        table: Arc::clone(&block.layout.table),
        code: code.map_or_else(|| "clickhouse".to_owned(), |code| format!("clickhouse-{code}")),
        reason,
        // The same row gives the same number, should it be refused a second time after a crash.
        id: block.id.as_u64_pair().1 ^ u64::from(part.start),
    }
}

impl RefusedRow {
    fn as_dead_letter<'a>(&'a self, row: &'a [u8]) -> DeadLetter<'a> {
        DeadLetter {
            time: Timestamp::now(),
            id: self.id,
            service: "",
            name: "",
            table: &self.table,
            column: "",
            code: &self.code,
            reason: &self.reason,
            payload: row,
            ip: "",
        }
    }
}
