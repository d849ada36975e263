//! The age at which blocks are sealed, so that ClickHouse gets no more parts than it can merge.
//!
//! Each writer of a table seals a block per second, so the parts per second grow with the number of
//! writers. The writers need not know each other: at an interval, each reads from `system.parts` how
//! many parts the inserts of all writers have created, and lets its blocks wait longer or shorter in
//! proportion. With twice the permitted rate, blocks of twice the age bring it back to the limit.

use std::{collections::HashMap, sync::Arc, time::Duration};

use clickhouse::Row;
use serde::Deserialize;
use tokio::{sync::watch, time::sleep};

use crate::{
    spool::Spool,
    store::{ClickHouseError, Connection, within},
    sync::state::State,
};

/// The shortest interval at which parts are counted, and the time whose parts are counted: several
/// blocks of the usual age, and short against the time in which too many parts slow inserts down.
const INTERVAL: Duration = Duration::from_secs(20);

/// The number of blocks of the longest age in an interval: with fewer, a single block more or less
/// would double or halve the age. Parts that a merge has replaced stay in `system.parts` for
/// `old_parts_lifetime`, eight minutes by default.
const BLOCKS_OF_INTERVAL: u32 = 2;

/// The number of failed counts after which blocks have their least age again.
const MAX_FAILURES: u32 = 3;

/// The timeout of the query; it is small.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest age of a block. Longer ones would gain little, and rows would be visible later.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The largest factor by which one step may change the age.
const MAX_STEP: f64 = 8.0;

/// A table and the parts that inserts have created in it within an interval. A merge creates a part
/// of a higher level, and a mutation one with a later data version.
#[derive(Debug, Row, Deserialize)]
struct NewParts {
    name: String,
    parts: u64,
}

/// Keeps the new parts of each table on each server within `limit` per second, as long as blocks
/// are not full. Blocks have at least the age `least`.
pub(crate) async fn keep_pace(spool: Spool, states: watch::Receiver<Vec<State>>, limit: f64, least: Duration) {
    let mut failures = 0;
    loop {
        let interval = interval(spool.longest_block_age());
        // Writers that start at once do not ask at once. All parts of the interval have the age that
        // is set now.
        sleep(interval.mul_f64(1.0 + fastrand::f64() / 5.0)).await;
        match count_all(&states, interval).await {
            Ok(parts) => {
                failures = 0;
                set_ages(&spool, |table| {
                    let parts = parts.get(table).copied().unwrap_or(0);
                    let rate = parts as f64 / interval.as_secs_f64();
                    move |age| next_age(age, rate, limit, least)
                });
            }
            // The rows wait for a server anyway.
            Err(None) => {}
            Err(Some(error)) => {
                failures += 1;
                if failures == 1 {
                    tracing::warn!(
                        %error,
                        "the parts per second have no limit, since the collector cannot read system.parts"
                    );
                }
                if failures >= MAX_FAILURES {
                    set_ages(&spool, |_| move |_| least);
                }
            }
        }
    }
}

/// Returns the interval after which the parts are counted that blocks of an age have made.
fn interval(longest_age: Duration) -> Duration {
    // An age that the options choose may be a day.
    let age = longest_age.min(MAX_AGE);
    INTERVAL.max(age * BLOCKS_OF_INTERVAL)
}

/// Returns the new parts of each table, on the server where it has the most.
///
/// # Errors
///
/// No server has answered. `None`: no server is ready.
async fn count_all(
    states: &watch::Receiver<Vec<State>>,
    interval: Duration,
) -> Result<HashMap<String, u64>, Option<ClickHouseError>> {
    let connections: Vec<Arc<Connection>> = {
        let states = states.borrow();
        let ready = states.iter().filter_map(|state| match state {
            State::Ready(connection) => Some(Arc::clone(connection)),
            _ => None,
        });
        ready.collect()
    };
    let (mut most, mut answers, mut last_error) = (HashMap::new(), 0, None);
    for connection in connections {
        match count(&connection, interval).await {
            Ok(counts) => {
                answers += 1;
                for NewParts { name, parts } in counts {
                    let known = most.entry(name).or_default();
                    *known = parts.max(*known);
                }
            }
            Err(error) => last_error = Some(error),
        }
    }
    if answers > 0 { Ok(most) } else { Err(last_error) }
}

async fn count(connection: &Connection, interval: Duration) -> Result<Vec<NewParts>, ClickHouseError> {
    let query = format!(
        "SELECT table AS name, count() AS parts FROM system.parts WHERE database = currentDatabase() AND level = 0 \
         AND data_version = min_block_number AND modification_time > now() - {} GROUP BY table",
        interval.as_secs()
    );
    within(QUERY_TIMEOUT, connection.queries.query_raw(&query).fetch_all()).await
}

/// Sets the age of each table's blocks to what the function that `of_table` returns makes of it.
fn set_ages<F: FnOnce(Duration) -> Duration>(spool: &Spool, of_table: impl Fn(&str) -> F) {
    for reader in spool.readers() {
        let table = Arc::clone(&reader.layout().table);
        let (age, (old, full)) = (reader.block_age(), reader.take_sealed());
        let mut next = of_table(&table)(age);
        // Full blocks do not become longer by waiting.
        if full > old {
            next = next.min(age);
        }
        if next != age {
            tracing::debug!(%table, age_seconds = next.as_secs_f64(), "blocks of another age");
            reader.set_block_age(next);
        }
    }
}

/// Returns the age of the next blocks, given the age until now and the new parts per second.
fn next_age(age: Duration, rate: f64, limit: f64, least: Duration) -> Duration {
    let step = (rate / limit).min(MAX_STEP);
    age.mul_f64(step).clamp(least, MAX_AGE.max(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the age and the rate after some steps, for writers that seal a block of each age.
    fn settle(writers: f64, limit: f64, parts_of_block: f64, steps: usize) -> (Duration, f64) {
        let rate = |age: Duration| writers * parts_of_block / age.as_secs_f64();
        let step = |age, _| next_age(age, rate(age), limit, SECOND);
        let age = (0..steps).fold(SECOND, step);
        (age, rate(age))
    }

    #[test]
    fn a_fleet_of_any_size_keeps_the_limit_after_one_step() {
        for (writers, parts_of_block, age) in [(1.0, 1.0, 1.0), (10.0, 1.0, 1.0), (20.0, 1.0, 2.0), (20.0, 3.0, 6.0)] {
            for steps in [1, 2, 10] {
                let (found, rate) = settle(writers, 10.0, parts_of_block, steps);
                assert_eq!(found.as_secs_f64(), age, "{writers} writers after {steps} steps");
                assert!(rate <= 10.0, "{rate}");
            }
        }
    }

    /// Blocks are counted as a whole, so a window has one more or one fewer than their rate.
    #[test]
    fn an_age_is_stable_although_only_few_blocks_are_counted() {
        for (writers, limit, age) in [(1, 0.1, 10.0), (2, 0.05, 40.0), (3, 0.05, 60.0), (1, 1.0 / 60.0, 60.0)] {
            let (mut found, mut now) = (SECOND, 0.0);
            for step in 0..20 {
                let (before, window) = (now, interval(found).as_secs_f64());
                now += window;
                let blocks = (now / found.as_secs_f64()).floor() - (before / found.as_secs_f64()).floor();
                found = next_age(found, writers as f64 * blocks / window, limit, SECOND);
                let near = age / 2.0..=age * 2.0;
                assert!(
                    step < 4 || near.contains(&found.as_secs_f64()),
                    "{writers} writers: {found:?}"
                );
            }
        }
    }

    #[test]
    fn an_age_has_a_limit_and_becomes_shorter_when_events_pause() {
        assert_eq!(settle(100_000.0, 10.0, 1.0, 10).0, MAX_AGE);
        assert_eq!(next_age(MAX_AGE, 1.0, 10.0, SECOND), MAX_AGE / 10);
        assert_eq!(next_age(MAX_AGE, 0.0, 10.0, SECOND), SECOND);
    }

    #[test]
    fn an_age_that_the_options_choose_is_the_shortest() {
        let long = 2 * MAX_AGE;
        assert_eq!(next_age(long, 0.0, 10.0, long), long);
        assert_eq!(next_age(long, 1000.0, 10.0, long), long);
    }
}
