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

pub(crate) mod nodes;

use std::{collections::HashMap, future::pending, sync::Arc, time::Duration};

use clickhouse::Client;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    ids::{IdGenerator, base::Base, id_file::Record},
    lease::nodes::{ASKS, Claim, HOLDS, LEASE, LEFT, Process, choose, unix_ms},
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

/// A process without a beat for this long is not running, or cannot reach ClickHouse.
const MAX_SILENCE: Duration = Duration::from_secs(35);

/// The interval at which the id file covers the ids of the next seconds.
const COVER_INTERVAL: Duration = Duration::from_secs(3);

/// The waits after a round that reached no server.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: BEAT_INTERVAL,
};

/// After this many failures in a row, about five minutes, the lease logs a failure of any kind.
const LASTING_FAILURES: u32 = 30;

/// The interval between two messages about a clash that lasts.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The maximum number of node numbers to try in one round. More than a few of them are in use
/// only if as many processes start at the same moment.
const MAX_TRIES: u32 = 16;

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

/// Covers the ids of the next seconds in the file, in an endless loop.
async fn cover(ids: Arc<IdGenerator>) {
    loop {
        let covered = Arc::clone(&ids);
        // The runtime reports a panic in the task. `IdGenerator::next` then covers the ids itself.
        _ = tokio::task::spawn_blocking(move || covered.cover_ahead(unix_ms())).await;
        sleep(COVER_INTERVAL).await;
    }
}

/// The time at which ClickHouse received a process's last beat, by two clocks: the first stops
/// while the machine sleeps, and the second can be set.
#[derive(Debug, Clone, Copy)]
struct LastBeat {
    at: Instant,
    at_ms: u64,
    /// The time from the beat to `at`.
    before: Duration,
}

impl LastBeat {
    /// Returns a beat at the present time.
    fn now() -> Self {
        Self::of_record(unix_ms())
    }

    /// Returns the beat of an earlier process, at `held_ms` milliseconds since 1970.
    fn of_record(held_ms: u64) -> Self {
        Self {
            at: Instant::now(),
            at_ms: held_ms,
            before: since(held_ms),
        }
    }

    /// Returns the longest time that may have passed since the beat.
    fn age(&self) -> Duration {
        (self.before + self.at.elapsed()).max(since(self.at_ms))
    }
}

/// Returns the time since `ms`, in milliseconds since 1970.
fn since(ms: u64) -> Duration {
    Duration::from_millis(unix_ms().saturating_sub(ms))
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

    /// Claims a number: the one that the ids already have, otherwise a free one.
    async fn claim(&mut self, servers: &[Server]) -> Result<(), ClickHouseError> {
        let mut kept = self.ids.base().node();
        for _ in 0..MAX_TRIES {
            let began = LastBeat::now();
            let claims = all_claims(servers).await?;
            let Some(node) = kept.or(self.asking).or_else(|| choose(&claims, fastrand::u64(..))) else {
                if self.should_log() {
                    tracing::error!("all node numbers are in use: ids use the places of processes without a number");
                }
                return Ok(());
            };
            self.asking = Some(node);
            let used_until_ms = self.used_until_ms(node, &claims);
            let is_alone = self.ask_for(servers, node, used_until_ms).await?;
            self.asking = None;
            if is_alone {
                self.last_beat = began;
                self.hold(node, &claims);
                return self.beat(servers, node).await;
            }
            if kept.take().is_some() {
                // Since the start, the other process may have made the same ids.
                self.report_clash(node, None);
                self.release_number();
            }
            sleep(Duration::from_millis(fastrand::u64(..50))).await;
        }
        Ok(())
    }

    /// Returns a time that is not before any id that this process has made with `node`.
    fn used_until_ms(&self, node: u16, claims: &[Claim]) -> u64 {
        if self.ids.base().node() == Some(node) {
            return self.covered_until_ms();
        }
        let own = claims
            .iter()
            .filter(|claim| claim.node == node && claim.is_of(self.process.id));
        own.map(Claim::until_ms).max().unwrap_or(0)
    }

    /// Asks each server for a number, and withdraws if another process has it. Returns whether this
    /// process is alone with the number. `used_until_ms` is the time of this process's last id with
    /// the number, or 0.
    async fn ask_for(&mut self, servers: &[Server], node: u16, used_until_ms: u64) -> Result<bool, ClickHouseError> {
        let mut last_error = None;
        let mut asked = Vec::new();
        let mut is_alone = true;
        for server in servers {
            match self.ask_one(server, node).await {
                Ok(is_free) => {
                    asked.push(server);
                    is_alone &= is_free;
                }
                Err(error) => last_error = Some(error),
            }
        }
        if asked.is_empty() {
            return last_error.map_or(Ok(false), Err);
        }
        if !is_alone {
            for server in asked {
                // Without this, the row would count until its lease ends. A time in the future
                // would keep the number from others.
                _ = self.process.write(&server.client, node, LEFT, used_until_ms).await;
            }
        }
        Ok(is_alone)
    }

    async fn ask_one(&mut self, server: &Server, node: u16) -> Result<bool, ClickHouseError> {
        self.write(server, node, ASKS).await?;
        let claims = self.process.read(&server.client, node).await?;
        Ok(!claims.iter().any(|claim| self.is_foreign(claim) && claim.is_alive()))
    }

    /// Moves the ids to a number that has just been claimed, after all ids that others have made
    /// with it.
    fn hold(&mut self, node: u16, claims: &[Claim]) {
        self.held = Some(node);
        self.since_ms.clear();
        let foreign = claims
            .iter()
            .filter(|claim| claim.node == node && self.is_foreign(claim));
        self.start_after(node, foreign.map(Claim::until_ms).max());
        let base = Base::of_node(node).expect("a number that is chosen is in range");
        if self.ids.base() != base {
            tracing::info!(node, "the process has a node number for its ids");
        }
        self.ids.move_to(base, self.process.id, unix_ms());
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

    /// Writes that this process still has its number, and checks for other processes with the
    /// number.
    async fn beat(&mut self, servers: &[Server], node: u16) -> Result<(), ClickHouseError> {
        let began = LastBeat::now();
        let mut last_error = None;
        let mut has_beaten = false;
        let mut other = None;
        for server in servers {
            match self.beat_one(server, node).await {
                Ok(found) => {
                    has_beaten = true;
                    other = other.or(found);
                }
                Err(error) => last_error = Some(error),
            }
        }
        if let Some(error) = last_error.filter(|_| !has_beaten) {
            return Err(error);
        }
        self.last_beat = began;
        self.ids.confirm(self.process.id, began.at_ms);
        let Some(other) = other else { return Ok(()) };
        self.report_clash(node, Some(&other));
        if self.chosen.is_some() {
            return Ok(());
        }
        self.release_number();
        for server in servers {
            _ = self.write(server, node, LEFT).await;
        }
        // Boxed, since a claim ends with a beat.
        Box::pin(self.claim(servers)).await
    }

    /// Returns another process that beats under the same number.
    async fn beat_one(&mut self, server: &Server, node: u16) -> Result<Option<Claim>, ClickHouseError> {
        self.write(server, node, HOLDS).await?;
        let claims = self.process.read(&server.client, node).await?;
        let now_ms = claims.first().map_or(0, |claim| claim.now_ms);
        if !self.since_ms.contains_key(&server.index) {
            // Earlier processes may have had a different clock.
            let before = claims.iter().filter(|claim| self.is_foreign(claim));
            self.start_after(node, before.map(Claim::until_ms).max());
        }
        let since_ms = *self.since_ms.entry(server.index).or_insert(now_ms);
        let is_running = |claim: &Claim| {
            claim.last_state == HOLDS
                && claim.last_beat_ms > since_ms
                && claim.silence_ms() < MAX_SILENCE.as_millis() as i64
        };
        // The predecessor counts as well: if it is running, this process's folder is a copy of its
        // folder.
        let mut others = claims.into_iter().filter(|claim| !claim.is_of(self.process.id));
        Ok(others.find(is_running))
    }

    fn is_foreign(&self, claim: &Claim) -> bool {
        !claim.is_of(self.process.id) && !claim.is_of(self.predecessor)
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

    /// Counts and logs that another process has the same number.
    fn report_clash(&mut self, node: u16, other: Option<&Claim>) {
        self.progress.send_modify(|progress| progress.clashes += 1);
        if !self.should_log() {
            return;
        }
        let host = other.map(|other| &*other.on_host);
        let process = other.map(|other| &*other.claimant);
        if self.chosen.is_some() {
            tracing::error!(
                node,
                host,
                process,
                "another process has the same node number, and both make the same ids: give one of them another number, or none"
            );
        } else {
            tracing::error!(
                node,
                host,
                process,
                "another process has the same node number: this process takes another, and some ids since its start may be duplicates"
            );
        }
    }

    /// Returns whether a message about a lasting problem is due.
    fn should_log(&mut self) -> bool {
        let now = Instant::now();
        let is_recent = |last| now.duration_since(last) < LOG_INTERVAL;
        let is_due = !self.last_logged.is_some_and(is_recent);
        if is_due {
            self.last_logged = Some(now);
        }
        is_due
    }

    fn log_failure(&self, error: &ClickHouseError, failures: u32) {
        // While ClickHouse is unreachable, other tasks log the outage.
        let is_due = failures == LASTING_FAILURES || (failures == 1 && !error.is_transient());
        if !is_due {
            tracing::debug!(%error, failures, "the node number could not be renewed");
        } else {
            let cure = error.hint();
            tracing::warn!(
                %error, cure,
                "the table `rowmill_nodes` cannot be used: a second process with the same node number would not be noticed"
            );
        }
    }
}

/// A ready server, and its position among all servers.
struct Server {
    index: usize,
    client: Client,
}

fn ready(states: &watch::Receiver<Vec<State>>) -> Vec<Server> {
    let states = states.borrow();
    let servers = states.iter().enumerate().filter_map(|(index, state)| match state {
        State::Ready(connection) => Some(Server {
            index,
            client: connection.queries.clone(),
        }),
        _ => None,
    });
    servers.collect()
}

/// Returns the claims of all servers that answer.
async fn all_claims(servers: &[Server]) -> Result<Vec<Claim>, ClickHouseError> {
    let mut all = Vec::new();
    let mut last_error = None;
    let mut has_read = false;
    for server in servers {
        match nodes::all_claims(&server.client).await {
            Ok(claims) => {
                has_read = true;
                all.extend(claims);
            }
            Err(error) => last_error = Some(error),
        }
    }
    match last_error {
        Some(error) if !has_read => Err(error),
        _ => Ok(all),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    const HOUR: Duration = Duration::from_secs(60 * 60);

    /// Starts a lease of number 7 without a server. The last beat is an hour old.
    fn cut_off(chosen: Option<Base>, tasks: &mut JoinSet<()>) -> (Arc<IdGenerator>, watch::Receiver<Progress>) {
        let node = Base::of_node(7).unwrap();
        let record = Record {
            base: node,
            holder: Uuid::now_v7(),
            held_ms: unix_ms() - HOUR.as_millis() as u64,
            until_ms: 0,
        };
        let ids = Arc::new(IdGenerator::new(node));
        let (servers, states) = watch::channel(vec![State::Unreachable]);
        // Keeps the states' sender alive as long as the test runs.
        tasks.spawn(async move { servers.closed().await });
        let progress = start(Arc::clone(&ids), chosen, record, states, tasks);
        (ids, progress)
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_cut_off_for_a_day_leaves_its_number_before_others_take_it() {
        let mut tasks = JoinSet::new();
        let (ids, _progress) = cut_off(None, &mut tasks);
        let id = ids.next(unix_ms());
        sleep(RELEASE_AFTER - HOUR - BEAT_INTERVAL).await;
        assert_eq!(ids.base().node(), Some(7), "it is leased");
        sleep(3 * BEAT_INTERVAL).await;
        assert_eq!(ids.base().node(), None);
        let later = ids.next(unix_ms());
        assert!(later > id && later & (1 << 21) != 0, "{later:x}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_number_stays_during_any_outage() {
        let mut tasks = JoinSet::new();
        let (ids, _progress) = cut_off(Base::of_node(7), &mut tasks);
        sleep(3 * LEASE).await;
        assert_eq!(ids.base().node(), Some(7));
    }

    #[test]
    fn a_process_continues_with_its_predecessors_number_while_it_is_leased() {
        let now_ms = unix_ms();
        let node = Base::of_node(7).unwrap();
        let earlier = |held_ms| Record {
            base: node,
            holder: Uuid::now_v7(),
            held_ms,
            until_ms: now_ms,
        };
        let lease_ms = DAY_MS as u64;
        for (held_ms, is_kept) in [
            (now_ms - 1_000, true),
            (now_ms - lease_ms + 60_000, true),
            (now_ms - lease_ms - 1, false),
            // The clock was set back, so the age of the beat is unknown.
            (now_ms + 60_000, false),
            (0, false),
        ] {
            let earlier = earlier(held_ms);
            let record = first_record(None, Some(earlier));
            assert_eq!(record.base == node, is_kept, "{held_ms} {now_ms}");
            assert_eq!(record.base.node().is_some(), is_kept);
            assert_eq!((record.until_ms, record.holder), (earlier.until_ms, earlier.holder));
            // The operator's number takes precedence, and used ids stay used.
            let chosen = first_record(Base::of_node(9), Some(earlier));
            assert_eq!((chosen.base.node(), chosen.until_ms), (Some(9), earlier.until_ms));
        }
        let spare = Record {
            base: Base::spare(5),
            ..earlier(0)
        };
        assert_eq!(first_record(None, Some(spare)).base, spare.base);
        assert_ne!(first_record(None, None).base, first_record(None, None).base);
    }
}
