//! Leases a node number for the ids of this process, which no other process with the same tables
//! has.
//!
//! Each process has a row for its number in the table `rowmill_nodes`, and writes it again every
//! ten seconds: a beat. A number is free if its last beat is a day old. The lease survives restarts
//! and outages up to that time: without ClickHouse, a process keeps its number, and after a restart
//! it continues with the number in its id file. Shortly before the lease ends, a process that
//! cannot reach ClickHouse gives its number up. Its ids then use the places of processes without a
//! number until it claims a number again.
//!
//! A claim needs no transactions. The process writes that it asks for a number, and then reads the
//! other processes that have the number or ask for it. If there are any, it withdraws and tries
//! another number. If two processes ask for one number at the same time, the process with the later
//! row reads the other's row, so at most one of them keeps the number.
//!
//! A process with a number that the operator has chosen writes its row without asking. A process
//! that reads another process's beats under its own number logs an error, and moves to another
//! number unless the operator has chosen this one.
//!
//! ```text
//! nodes      the table `rowmill_nodes`
//! claim      asks for a number, and withdraws if another process has it
//! beat       keeps the number, and notices other processes with it
//! last_beat  the time of the last beat, by two clocks
//! servers    the servers that the process writes to
//! report     what the log gets of clashes and failures
//! ```

mod beat;
mod claim;
mod last_beat;
pub(crate) mod nodes;
mod report;
mod servers;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

use self::{
    last_beat::LastBeat,
    servers::{Server, ready},
};
use crate::{
    ids::{IdGenerator, base::Base, id_file::Record},
    lease::nodes::{Claim, LEASE, Process, unix_ms},
    store::{ClickHouseError, backoff::Backoff},
    sync::state::State,
};

/// The interval between two beats, which keep a process's number.
const BEAT_INTERVAL: Duration = Duration::from_secs(10);

/// The age of the last beat at which a process gives its number up: before other processes can take
/// it, with time for the requests in progress.
const RELEASE_AFTER: Duration = LEASE
    .checked_sub(Duration::from_secs(5 * 60))
    .expect("a lease is longer");

/// The interval at which the id file covers the ids of the next seconds.
const COVER_INTERVAL: Duration = Duration::from_secs(3);

/// The waits after a round that reached no server.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: BEAT_INTERVAL,
};

/// The state of the node number in a writer's ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// The number, or `None` while the ids use the places of processes without a number.
    pub node: Option<u16>,
    /// The number of times that another process had the same number.
    pub clashes: u64,
}

/// The progress of a lease.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Whether the first round has ended, so that a wait for it is over.
    pub(crate) is_settled: bool,
    pub(crate) clashes: u64,
}

/// Returns the record with which a process begins its ids, which continue after those of an
/// `earlier` process. The base is `node`, or the earlier base unless the lease of its number
/// has ended, or a new base without a number.
pub(crate) fn first_record(node: Option<Base>, earlier: Option<Record>) -> Record {
    let fresh = Record {
        base: Base::spare(fastrand::u64(..)),
        holder: Uuid::nil(),
        held_ms: 0,
        until_ms: 0,
    };
    let mut record = earlier.unwrap_or(fresh);
    let now_ms = unix_ms();
    if record.until_ms > now_ms + 60_000 {
        let ahead_s = (record.until_ms - now_ms) / 1000;
        tracing::warn!(
            ahead_s,
            "the clock is earlier than the last ids of the previous process: new ids continue from those"
        );
    }
    let is_leased = (record.held_ms..record.held_ms + LEASE.as_millis() as u64).contains(&now_ms);
    record.base = match node {
        Some(base) => base,
        None if is_leased || record.base.node().is_none() => record.base,
        None => fresh.base,
    };
    record
}

/// Starts to keep a number for `ids` at the ready servers, and to cover the ids of the next
/// seconds. The tasks end once the receiver is dropped.
pub(crate) fn start(
    ids: Arc<IdGenerator>,
    chosen: Option<Base>,
    record: Record,
    states: watch::Receiver<Vec<State>>,
    tasks: &mut JoinSet<()>,
) -> watch::Receiver<Progress> {
    let (progress, receiver) = watch::channel(Progress::default());
    let progress = Arc::new(progress);
    if ids.has_file() {
        let (ids, progress) = (Arc::clone(&ids), Arc::clone(&progress));
        tasks.spawn(async move {
            tokio::select! {
                () = progress.closed() => {}
                () = cover(ids) => {}
            }
        });
    }
    tasks.spawn(async move {
        let lease = Lease {
            process: Process::new(),
            predecessor: record.holder,
            last_beat: LastBeat::of_record(record.held_ms),
            chosen: chosen.and_then(Base::node),
            held: None,
            asking: None,
            since_ms: HashMap::new(),
            last_logged: None,
            progress: &progress,
            ids,
        };
        tokio::select! {
            () = progress.closed() => {}
            () = lease.keep(states) => {}
        }
    });
    receiver
}

/// Returns the progress of a process that needs no number, since it creates no ids.
pub(crate) fn none() -> watch::Receiver<Progress> {
    let settled = Progress {
        is_settled: true,
        ..Progress::default()
    };
    watch::channel(settled).1
}

/// Covers the ids of the next seconds in the file, in an endless loop.
async fn cover(ids: Arc<IdGenerator>) {
    loop {
        let covered = Arc::clone(&ids);
        // The runtime reports a panic in the task. `IdGenerator::next` then covers the ids itself.
        _ = tokio::task::spawn_blocking(move || covered.cover_ahead(unix_ms())).await;
        sleep(COVER_INTERVAL).await;
    }
}

/// A process and its number.
struct Lease<'a> {
    ids: Arc<IdGenerator>,
    process: Process,
    /// The process that wrote the id file before this one, and has ended.
    predecessor: Uuid,
    /// The last beat that ClickHouse received from this process or its predecessor.
    last_beat: LastBeat,
    /// The operator's number, which never changes.
    chosen: Option<u16>,
    /// The claimed number.
    held: Option<u16>,
    /// A number whose claim failed midway. The process asks for it again, so that failures do not
    /// use up numbers.
    asking: Option<u16>,
    /// For each server, by position: the server's time of the first beat under the number.
    since_ms: HashMap<usize, i64>,
    last_logged: Option<Instant>,
    progress: &'a watch::Sender<Progress>,
}

impl Lease<'_> {
    async fn keep(mut self, mut states: watch::Receiver<Vec<State>>) {
        let mut failures = 0;
        loop {
            self.release_lapsed_number();
            let is_any = |states: &Vec<State>| states.iter().any(|state| matches!(state, State::Ready(_)));
            let is_over = tokio::select! {
                found = states.wait_for(is_any) => found.is_err(),
                () = sleep(BEAT_INTERVAL) => continue,
            };
            if is_over {
                // The sync tasks have ended: the writer is about to end.
                pending().await
            }
            let servers = ready(&states);
            let result = match self.held.or(self.chosen) {
                Some(node) => self.beat(&servers, node).await,
                None => self.claim(&servers).await,
            };
            match result {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    self.log_failure(&error, failures);
                }
            }
            // If a ready server does not answer, rows wait for it, but the start does not.
            self.progress.send_modify(|progress| progress.is_settled = true);
            let wait = if failures == 0 {
                BEAT_INTERVAL
            } else {
                RETRY.wait(failures)
            };
            sleep(wait).await;
        }
    }

    /// Gives up a number that other processes are about to take, since ClickHouse has received no
    /// beat for almost the whole lease. A number that the operator has chosen stays.
    fn release_lapsed_number(&mut self) {
        let leased = self.ids.base().node().filter(|_| self.chosen.is_none());
        let Some(node) = leased.filter(|_| self.last_beat.age() >= RELEASE_AFTER) else {
            return;
        };
        tracing::warn!(
            node,
            "the process could not renew its node number for nearly a day and gives it up: ids use the places of \
             processes without a number until ClickHouse is back"
        );
        self.asking = None;
        self.release_number();
    }

    /// Gives up a number that another process has or may take.
    fn release_number(&mut self) {
        self.held = None;
        self.since_ms.clear();
        self.ids.move_to(Base::spare(fastrand::u64(..)), Uuid::nil(), 0);
    }

    fn start_after(&self, node: u16, until_ms: Option<u64>) {
        let until_ms = until_ms.unwrap_or(0);
        let now_ms = unix_ms();
        if until_ms > now_ms + 60_000 {
            let ahead_s = (until_ms - now_ms) / 1000;
            tracing::warn!(
                node,
                ahead_s,
                "the clock is earlier than the last ids of an earlier process with this node number: new ids continue from those"
            );
        }
        self.ids.start_after(until_ms);
    }

    async fn write(&mut self, server: &Server, node: u16, state: &str) -> Result<(), ClickHouseError> {
        let until_ms = self.covered_until_ms();
        self.process.write(&server.client, node, state, until_ms).await
    }

    /// Returns a time that covers the ids until the next beat, even if that is one interval late.
    fn covered_until_ms(&self) -> u64 {
        self.ids.last_ms().max(unix_ms()) + 2 * BEAT_INTERVAL.as_millis() as u64
    }

    fn is_foreign(&self, claim: &Claim) -> bool {
        !claim.is_of(self.process.id) && !claim.is_of(self.predecessor)
    }
}
