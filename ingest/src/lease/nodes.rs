//! The table of the processes and their node numbers, and the choice of a free number.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clickhouse::{Client, Row};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    ids::base::MAX_NODE,
    store::{ClickHouseError, within},
};

/// The time for which a process keeps its number without a beat.
pub(crate) const LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// The timeout of one statement; all of them are small.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum number of candidates. One of the numbers that have been free for longest is drawn at
/// random, so that two processes rarely ask for the same one.
const MAX_CANDIDATES: usize = 16;

/// The states in the table.
pub(crate) const ASKS: &str = "asks";
pub(crate) const HOLDS: &str = "holds";
pub(crate) const LEFT: &str = "left";

/// The table's data about one process and one number.
#[derive(Debug, Clone, Row, Deserialize)]
pub(crate) struct Claim {
    pub(crate) node: u16,
    pub(crate) claimant: String,
    pub(crate) on_host: String,
    pub(crate) last_state: String,
    pub(crate) last_beat_ms: i64,
    pub(crate) until_ms: i64,
    /// The server's time; beats use the same clock.
    pub(crate) now_ms: i64,
}

impl Claim {
    /// Returns whether the process may still have the number.
    pub(crate) fn is_alive(&self) -> bool {
        self.last_state != LEFT && self.silence_ms() < LEASE.as_millis() as i64
    }

    /// Returns the time since the last beat, in milliseconds.
    pub(crate) fn silence_ms(&self) -> i64 {
        self.now_ms.saturating_sub(self.last_beat_ms)
    }

    /// Returns a time in milliseconds that is not before any id of the process.
    pub(crate) fn until_ms(&self) -> u64 {
        self.until_ms.try_into().unwrap_or(0)
    }

    /// Returns whether the claim is that of `process`.
    pub(crate) fn is_of(&self, process: Uuid) -> bool {
        self.claimant.parse() == Ok(process)
    }
}

/// A process in the table.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) id: Uuid,
    started_ms: u64,
    host: String,
    /// The number of rows that the process has written. The last row for a number counts.
    beats: u64,
}

impl Process {
    /// Returns this process, under a new unique id.
    pub(crate) fn new() -> Self {
        Self {
            id: Uuid::now_v7(),
            started_ms: unix_ms(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            beats: 0,
        }
    }

    /// Writes the process's row for a number. No id with the number is later than `until_ms`.
    pub(crate) async fn write(
        &mut self,
        client: &Client,
        node: u16,
        state: &str,
        until_ms: u64,
    ) -> Result<(), ClickHouseError> {
        self.beats += 1;
        let query = client
            .query(
                "INSERT INTO rowmill_nodes (node, process, state, beats, beat, started, host, ids_until) \
                 SELECT toUInt16(?), toUUID(?), ?, toUInt64(?), now64(3), fromUnixTimestamp64Milli(toInt64(?)), ?, \
                 fromUnixTimestamp64Milli(toInt64(?))",
            )
            .bind(node)
            .bind(self.id.to_string())
            .bind(state)
            .bind(self.beats)
            .bind(self.started_ms)
            .bind(&*self.host)
            .bind(until_ms);
        within(STATEMENT_TIMEOUT, query.execute()).await
    }

    /// Returns all rows of a number, including this process's row.
    pub(crate) async fn read(&self, client: &Client, node: u16) -> Result<Vec<Claim>, ClickHouseError> {
        let claims = claims(client, &format!("WHERE node = {node}")).await?;
        // A read that misses this process's earlier row may miss the rows of other processes as
        // well.
        if claims.iter().any(|claim| claim.is_of(self.id)) {
            Ok(claims)
        } else {
            Err(ClickHouseError::unconfirmed("a later read does not have the row"))
        }
    }
}

/// Returns the rows of all numbers.
pub(crate) async fn all_claims(client: &Client) -> Result<Vec<Claim>, ClickHouseError> {
    claims(client, "").await
}

async fn claims(client: &Client, condition: &str) -> Result<Vec<Claim>, ClickHouseError> {
    let select = format!(
        "SELECT node, toString(process) AS claimant, argMax(host, beats) AS on_host, \
         toString(argMax(state, beats)) AS last_state, toUnixTimestamp64Milli(max(beat)) AS last_beat_ms, \
         toUnixTimestamp64Milli(argMax(ids_until, beats)) AS until_ms, toUnixTimestamp64Milli(now64(3)) AS now_ms \
         FROM rowmill_nodes {condition} GROUP BY node, process SETTINGS select_sequential_consistency = 1"
    );
    within(STATEMENT_TIMEOUT, client.query_raw(&select).fetch_all()).await
}

/// Returns a free number: one that no process has ever had, otherwise one that has been free for
/// long. A number with ids in the future is not free, since the next process would have to continue
/// after them.
pub(crate) fn choose(claims: &[Claim], random: u64) -> Option<u16> {
    // For each used number, whether it is taken, and the time of the last beat.
    let mut used: HashMap<u16, (bool, i64)> = HashMap::new();
    for claim in claims {
        let (is_taken, last_beat_ms) = used.entry(claim.node).or_insert((false, i64::MIN));
        *is_taken |= claim.is_alive() || claim.until_ms > claim.now_ms;
        *last_beat_ms = claim.last_beat_ms.max(*last_beat_ms);
    }
    let mut free: Vec<u16> = (0..=MAX_NODE).filter(|node| !used.contains_key(node)).collect();
    if free.is_empty() {
        free = (0..=MAX_NODE).filter(|node| !used[node].0).collect();
        free.sort_by_key(|node| used[node].1);
        free.truncate(MAX_CANDIDATES);
    }
    let index = random.checked_rem(free.len() as u64)?;
    Some(free[index as usize])
}

/// Returns the time of this machine's clock, in milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::table::node_leases::NODES;

    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    const NOW_MS: i64 = 100 * DAY_MS;

    fn claim(node: u16, last_state: &str, silence_ms: i64) -> Claim {
        Claim {
            node,
            claimant: Uuid::now_v7().to_string(),
            on_host: String::new(),
            last_state: last_state.to_owned(),
            last_beat_ms: NOW_MS - silence_ms,
            until_ms: 0,
            now_ms: NOW_MS,
        }
    }

    #[test]
    fn the_statement_declares_each_column() {
        for column in NODES.columns {
            assert!(NODES.create.contains(column.declaration), "{}", column.name);
        }
    }

    #[test]
    fn an_unused_number_is_chosen_first() {
        // All numbers but one were used; some of them are free again.
        let claims: Vec<_> = (0..=MAX_NODE)
            .filter(|node| *node != 77)
            .map(|node| claim(node, if node % 2 == 0 { HOLDS } else { LEFT }, 2 * DAY_MS))
            .collect();
        for random in 0..100 {
            assert_eq!(choose(&claims, random), Some(77));
        }
        assert_eq!(choose(&[], 0), Some(0));
        assert_eq!(choose(&[], 511), Some(511));
    }

    #[test]
    fn used_numbers_that_are_free_for_longest_are_chosen() {
        let mut claims: Vec<_> = (0..=MAX_NODE).map(|node| claim(node, HOLDS, 10_000)).collect();
        assert_eq!(choose(&claims, 5), None, "all are held");
        claims[300].last_beat_ms = NOW_MS - DAY_MS;
        claims[301].last_beat_ms = NOW_MS - DAY_MS + 1;
        claims[302].last_state = LEFT.to_owned();
        claims[303].last_beat_ms = NOW_MS - 2 * DAY_MS;
        claims[303].until_ms = NOW_MS + 1;
        let chosen = |claims: &[Claim]| {
            let mut chosen: Vec<_> = (0..64).map(|random| choose(claims, random).unwrap()).collect();
            chosen.sort_unstable();
            chosen.dedup();
            chosen
        };
        assert_eq!(chosen(&claims), [300, 302], "a lease lasts a day, or until it is left");
        // Another process has claimed the number in the meantime.
        claims.push(claim(302, ASKS, 5));
        assert_eq!(chosen(&claims), [300]);
        claims[303].until_ms = 0;
        for (node, claim) in claims.iter_mut().enumerate() {
            claim.last_beat_ms = NOW_MS - DAY_MS - i64::try_from(node).unwrap();
        }
        assert_eq!(chosen(&claims[..512]), (496..512).collect::<Vec<_>>());
    }
}
