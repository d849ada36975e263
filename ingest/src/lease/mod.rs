//! Lease: a node number for the ids of this process, which no other process with the same tables has.
//!
//! Each process has a row for its number in the table `rowmill_nodes`, and writes it again every ten seconds, a beat. A number whose
//! last beat is a day old is free. The lease outlives every stop and outage up to that: without ClickHouse a process goes on
//! with its number, and after a restart with the one in its file of ids. Shortly before the lease ends, a process that cannot
//! reach ClickHouse gives its number up, and its ids are from the places of processes without a number until it claims one again.
//!
//! A claim needs no transactions. The process writes that it asks for a number, and reads then who else has it or asks for it; if it
//! is not alone, it withdraws and tries another number. Of two that ask for one number at the same time, the one whose row was
//! written later reads the other's, so at most one of them keeps it.
//!
//! A process whose number the operator has chosen writes its row without asking. A process that sees another one's beats under its
//! own number logs an error, and moves to another number unless the operator has chosen this one.

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
    store::{
        ClickHouseError,
        backoff::{Backoff, dice},
    },
    sync::state::State,
};

/// How often a process says that it still has its number.
const BEAT: Duration = Duration::from_secs(10);

/// A process whose last beat is so old gives its number up: before others take it, with time for requests that are on their way.
const LEAVES_AFTER: Duration = LEASE
    .checked_sub(Duration::from_secs(5 * 60))
    .expect("a lease is longer");

/// A process without a beat for so long is not running, or far from ClickHouse.
const SILENCE: Duration = Duration::from_secs(35);

/// How often the ids of the next seconds are noted in the file.
const COVER: Duration = Duration::from_secs(3);

/// Waits after a round that has reached no server.
const RETRY: Backoff = Backoff {
    first: Duration::from_millis(200),
    cap: BEAT,
};

/// After so many failures in a row, some five minutes, an error is a person's whatever its kind.
const LASTING_FAILURES: u32 = 30;

/// A clash that lasts is told this often.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// So many numbers are tried in one round. More than a few are taken only if as many processes start in the same moment.
const TRIES: u32 = 16;

/// What is known of the node number of a writer's ids.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// The number; none as long as ids are from the places of those that have none.
    pub node: Option<u16>,
    /// How often another process was seen with the same number.
    pub clashes: u64,
}

/// How far a lease is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    /// Nothing is gained by waiting for the first round any more.
    pub(crate) is_settled: bool,
    pub(crate) clashes: u64,
}

/// Returns the record that a process begins its ids with: those of an `earlier` one go on with `node`, or else with the
/// number that the earlier one had, as long as that is leased.
pub(crate) fn first_record(node: Option<Base>, earlier: Option<Record>) -> Record {
    let fresh = Record {
        base: Base::spare(dice()),
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
            "the clock is behind the ids of the process before: new ids go on from those"
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

/// Begins to keep a number for `ids` at the servers that are ready, and to cover the ids of the next seconds. The tasks end when
/// nobody has the receiver any more.
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
            last_alarm: None,
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

/// Notes the ids of the next seconds, again and again.
async fn cover(ids: Arc<IdGenerator>) {
    loop {
        let covered = Arc::clone(&ids);
        // A panic there is told by the runtime; ids are covered one by one then.
        _ = tokio::task::spawn_blocking(move || covered.cover_ahead(unix_ms())).await;
        sleep(COVER).await;
    }
}

/// When ClickHouse has last had a process's beat, by two clocks: one of them stands still while the machine sleeps, and
/// the other can be set.
#[derive(Debug, Clone, Copy)]
struct LastBeat {
    at: Instant,
    at_ms: u64,
    /// What had passed since then at the time `at`.
    before: Duration,
}

impl LastBeat {
    /// Returns a beat that is sent now.
    fn now() -> Self {
        Self::of_record(unix_ms())
    }

    /// Returns the beat of an earlier process, at so many milliseconds since 1970.
    fn of_record(held_ms: u64) -> Self {
        Self {
            at: Instant::now(),
            at_ms: held_ms,
            before: since(held_ms),
        }
    }

    /// Returns the longest time that may have passed since then.
    fn age(&self) -> Duration {
        (self.before + self.at.elapsed()).max(since(self.at_ms))
    }
}

/// Returns the time since a moment in milliseconds since 1970.
fn since(ms: u64) -> Duration {
    Duration::from_millis(unix_ms().saturating_sub(ms))
}

/// A process and its number.
struct Lease<'a> {
    ids: Arc<IdGenerator>,
    process: Process,
    /// The process whose file this one has gone on with, and which has ended.
    predecessor: Uuid,
    /// When ClickHouse has last had the number as this process's, or its predecessor's.
    last_beat: LastBeat,
    /// The operator's number, which is not changed.
    chosen: Option<u16>,
    /// The number that has been claimed.
    held: Option<u16>,
    /// A number whose claim failed on its way. It is asked for again, so that failures do not use up numbers.
    asking: Option<u16>,
    /// For each server the time, by its clock, since which it has had this process under the number.
    since_ms: HashMap<usize, i64>,
    last_alarm: Option<Instant>,
    progress: &'a watch::Sender<Progress>,
}

impl Lease<'_> {
    async fn keep(mut self, mut states: watch::Receiver<Vec<State>>) {
        let mut failures = 0;
        loop {
            self.leave_lapsed_number();
            let is_any = |states: &Vec<State>| states.iter().any(|state| matches!(state, State::Ready(_)));
            let is_over = tokio::select! {
                found = states.wait_for(is_any) => found.is_err(),
                () = sleep(BEAT) => continue,
            };
            if is_over {
                // Nobody looks for servers any more: the writer is about to end.
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
                    self.tell(&error, failures);
                }
            }
            // A server that is ready and does not answer is waited for by rows, not by the start.
            self.progress.send_modify(|progress| progress.is_settled = true);
            sleep(if failures == 0 {
                BEAT
            } else {
                RETRY.wait(failures, dice())
            })
            .await;
        }
    }

    /// Claims a number: the one that ids have already, or else a free one.
    async fn claim(&mut self, servers: &[Server]) -> Result<(), ClickHouseError> {
        let mut kept = self.ids.base().node();
        for _ in 0..TRIES {
            let began = LastBeat::now();
            let claims = all_claims(servers).await?;
            let Some(node) = kept.or(self.asking).or_else(|| choose(&claims, dice())) else {
                if self.is_alarm_due() {
                    tracing::error!(
                        "all node numbers are taken: ids are from the places of processes without a number"
                    );
                }
                return Ok(());
            };
            self.asking = Some(node);
            let is_alone = self.ask_for(servers, node).await?;
            self.asking = None;
            if is_alone {
                self.last_beat = began;
                self.hold(node, &claims);
                return self.beat(servers, node).await;
            }
            if kept.take().is_some() {
                // Since the start, ids may have been the other's, too.
                self.tell_clash(node, None);
                self.leave_number();
            }
            sleep(Duration::from_millis(dice() % 50)).await;
        }
        Ok(())
    }

    /// Asks each server for a number; returns whether this process is alone with it. Where it is not, it withdraws.
    async fn ask_for(&mut self, servers: &[Server], node: u16) -> Result<bool, ClickHouseError> {
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
                // Else the row counts until its lease is over.
                _ = self.write(server, node, LEFT).await;
            }
        }
        Ok(is_alone)
    }

    async fn ask_one(&mut self, server: &Server, node: u16) -> Result<bool, ClickHouseError> {
        self.write(server, node, ASKS).await?;
        let claims = self.process.read(&server.client, node).await?;
        Ok(!claims.iter().any(|claim| self.is_foreign(claim) && claim.is_alive()))
    }

    /// Lets ids be those of a number that has just been claimed, behind all that others have made with it.
    fn hold(&mut self, node: u16, claims: &[Claim]) {
        self.held = Some(node);
        self.since_ms.clear();
        let foreign = claims
            .iter()
            .filter(|claim| claim.node == node && self.is_foreign(claim));
        self.raise(node, foreign.map(Claim::until_ms).max());
        let base = Base::of_node(node).expect("a number that is chosen is in range");
        if self.ids.base() != base {
            tracing::info!(node, "ids have a node number of their own");
        }
        self.ids.move_to(base, self.process.id, unix_ms());
    }

    /// Gives up a number that others are about to take, since no beat has reached ClickHouse for as long as it is leased. The
    /// operator's stays.
    fn leave_lapsed_number(&mut self) {
        let leased = self.ids.base().node().filter(|_| self.chosen.is_none());
        let Some(node) = leased.filter(|_| self.last_beat.age() >= LEAVES_AFTER) else {
            return;
        };
        tracing::warn!(
            node,
            "ClickHouse has had no sign of this process for nearly a day, and its node number becomes free: ids are from \
             the places of processes without a number until ClickHouse is back"
        );
        self.asking = None;
        self.leave_number();
    }

    /// Gives up a number that another process has, too, or may take.
    fn leave_number(&mut self) {
        self.held = None;
        self.since_ms.clear();
        self.ids.move_to(Base::spare(dice()), Uuid::nil(), 0);
    }

    /// Says that this process still has its number, and looks for others under it.
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
        self.tell_clash(node, Some(&other));
        if self.chosen.is_some() {
            return Ok(());
        }
        self.leave_number();
        for server in servers {
            _ = self.write(server, node, LEFT).await;
        }
        // Boxed: a claim ends with a beat.
        Box::pin(self.claim(servers)).await
    }

    /// Returns another process that beats under the same number.
    async fn beat_one(&mut self, server: &Server, node: u16) -> Result<Option<Claim>, ClickHouseError> {
        self.write(server, node, HOLDS).await?;
        let claims = self.process.read(&server.client, node).await?;
        let now_ms = claims.first().map_or(0, |claim| claim.now_ms);
        if !self.since_ms.contains_key(&server.place) {
            // Those before may have had another clock.
            let before = claims.iter().filter(|claim| self.is_foreign(claim));
            self.raise(node, before.map(Claim::until_ms).max());
        }
        let since_ms = *self.since_ms.entry(server.place).or_insert(now_ms);
        let is_running = |claim: &Claim| {
            claim.last_state == HOLDS
                && claim.last_beat_ms > since_ms
                && claim.silence_ms() < SILENCE.as_millis() as i64
        };
        // The predecessor, too: it runs where this process's folder is a copy of another's.
        let mut others = claims.into_iter().filter(|claim| !claim.is_of(self.process.id));
        Ok(others.find(is_running))
    }

    fn is_foreign(&self, claim: &Claim) -> bool {
        !claim.is_of(self.process.id) && !claim.is_of(self.predecessor)
    }

    fn raise(&self, node: u16, until_ms: Option<u64>) {
        let until_ms = until_ms.unwrap_or(0);
        let now_ms = unix_ms();
        if until_ms > now_ms + 60_000 {
            let ahead_s = (until_ms - now_ms) / 1000;
            tracing::warn!(
                node,
                ahead_s,
                "the clock is behind the ids of an earlier process with this node number: new ids go on from those"
            );
        }
        self.ids.raise(until_ms);
    }

    async fn write(&mut self, server: &Server, node: u16, state: &str) -> Result<(), ClickHouseError> {
        // Ids until the next beat, and one that is late.
        let until_ms = self.ids.last_ms().max(unix_ms()) + 2 * BEAT.as_millis() as u64;
        self.process.write(&server.client, node, state, until_ms).await
    }

    /// Tells that another process has the same number.
    fn tell_clash(&mut self, node: u16, other: Option<&Claim>) {
        self.progress.send_modify(|progress| progress.clashes += 1);
        if !self.is_alarm_due() {
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
                "another process has the same node number: this one takes another, and some ids since its start may be the other's, too"
            );
        }
    }

    /// Returns whether it is time to tell of what may last.
    fn is_alarm_due(&mut self) -> bool {
        let now = Instant::now();
        let is_recent = |last| now.duration_since(last) < ALARM_INTERVAL;
        let is_due = !self.last_alarm.is_some_and(is_recent);
        if is_due {
            self.last_alarm = Some(now);
        }
        is_due
    }

    fn tell(&self, error: &ClickHouseError, failures: u32) {
        // While ClickHouse is away, others say so.
        let is_due = failures == LASTING_FAILURES || (failures == 1 && !error.is_passing());
        if !is_due {
            tracing::debug!(%error, failures, "the node number cannot be looked after");
        } else {
            let cure = error.cure();
            tracing::warn!(
                %error, cure,
                "the table `rowmill_nodes` cannot be used: nobody sees whether another process has the same node number"
            );
        }
    }
}

/// A server that is ready, and its place among all.
struct Server {
    place: usize,
    client: Client,
}

fn ready(states: &watch::Receiver<Vec<State>>) -> Vec<Server> {
    let states = states.borrow();
    let servers = states.iter().enumerate().filter_map(|(place, state)| match state {
        State::Ready(connection) => Some(Server {
            place,
            client: connection.queries.clone(),
        }),
        _ => None,
    });
    servers.collect()
}

/// Returns what all servers that answer have.
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

    /// Starts to look after number 7, whose last beat is an hour old, without a server.
    fn cut_off(chosen: Option<Base>, tasks: &mut JoinSet<()>) -> (Arc<IdGenerator>, watch::Receiver<Progress>) {
        let node = Base::of_node(7).unwrap();
        let record = Record {
            base: node,
            holder: Uuid::now_v7(),
            held_ms: unix_ms() - HOUR.as_millis() as u64,
            until_ms: 0,
        };
        let ids = Arc::new(IdGenerator::new(node));
        let (servers, states) = watch::channel(vec![State::Away]);
        // As a server that is looked for as long as the test runs.
        tasks.spawn(async move { servers.closed().await });
        let progress = start(Arc::clone(&ids), chosen, record, states, tasks);
        (ids, progress)
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_cut_off_for_a_day_leaves_its_number_before_others_take_it() {
        let mut tasks = JoinSet::new();
        let (ids, _progress) = cut_off(None, &mut tasks);
        let id = ids.next(unix_ms());
        sleep(LEAVES_AFTER - HOUR - BEAT).await;
        assert_eq!(ids.base().node(), Some(7), "it is leased");
        sleep(3 * BEAT).await;
        assert_eq!(ids.base().node(), None);
        let later = ids.next(unix_ms());
        assert!(later > id && later & (1 << 21) != 0, "{later:x}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_number_stays_however_long_clickhouse_is_away() {
        let mut tasks = JoinSet::new();
        let (ids, _progress) = cut_off(Base::of_node(7), &mut tasks);
        sleep(3 * LEASE).await;
        assert_eq!(ids.base().node(), Some(7));
    }

    #[test]
    fn a_process_goes_on_with_the_number_of_the_one_before_as_long_as_it_is_leased() {
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
            // The clock was set back: nobody knows how long ago that was.
            (now_ms + 60_000, false),
            (0, false),
        ] {
            let earlier = earlier(held_ms);
            let record = first_record(None, Some(earlier));
            assert_eq!(record.base == node, is_kept, "{held_ms} {now_ms}");
            assert_eq!(record.base.node().is_some(), is_kept);
            assert_eq!((record.until_ms, record.holder), (earlier.until_ms, earlier.holder));
            // The operator's goes before, and what was used stays so.
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
