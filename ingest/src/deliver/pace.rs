//! The age at which blocks are sealed, so that ClickHouse gets no more parts than it can merge.
//!
//! Each writer of a table seals a block per second, so the parts per second grow with the number of
//! writers. The writers need not know each other: every [`INTERVAL`], each reads from
//! `system.parts` how many parts the inserts of all writers have created, and lets its blocks wait
//! longer or shorter in proportion. With twice the permitted rate, blocks of twice the age bring it
//! back to the limit.

use std::{collections::HashMap, sync::Arc, time::Duration};

use clickhouse::Row;
use serde::Deserialize;
use tokio::{sync::watch, time::sleep};

use crate::{
    spool::Spool,
    store::{ClickHouseError, Connection, within},
    sync::state::State,
};

/// The interval at which parts are counted: several blocks of the longest age that is usual, and
/// short against the time in which too many parts slow inserts down.
const INTERVAL: Duration = Duration::from_secs(20);

/// The timeout of the query; it is small.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest age of a block. Longer ones would gain little, and rows would be visible later.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The factors by which one step may change the age. A pause of the events is no reason to forget
/// the age of a fleet at once.
const MIN_STEP: f64 = 0.25;
const MAX_STEP: f64 = 8.0;

/// A table and the parts that inserts have created in it within [`INTERVAL`]. A merge creates a part
/// of a higher level, and a mutation one with a later data version.
#[derive(Debug, Row, Deserialize)]
struct NewParts {
    name: String,
    parts: u64,
}

/// Keeps the new parts of each table on each server within `limit` per second, as long as blocks
/// are not full. Blocks have at least the age `least`.
pub(crate) async fn keep_pace(spool: Spool, states: watch::Receiver<Vec<State>>, limit: f64, least: Duration) {
    let mut is_failing = false;
    loop {
        // Writers that start at once do not ask at once.
        sleep(INTERVAL.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
        let counted = count_all(&states).await;
        match &counted {
            Ok(parts) => set_ages(&spool, parts, limit, least),
            Err(Some(error)) if !is_failing => tracing::warn!(
                %error,
                "the parts per second have no limit, since the collector cannot read system.parts"
            ),
            // The rows wait for a server anyway.
            Err(_) => {}
        }
        is_failing = matches!(counted, Err(Some(_)));
    }
}

/// Returns the new parts of each table, on the server where it has the most.
///
/// # Errors
///
/// No server has answered. `None`: no server is ready.
async fn count_all(states: &watch::Receiver<Vec<State>>) -> Result<HashMap<String, u64>, Option<ClickHouseError>> {
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
        match count(&connection).await {
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

async fn count(connection: &Connection) -> Result<Vec<NewParts>, ClickHouseError> {
    let query = format!(
        "SELECT table AS name, count() AS parts FROM system.parts WHERE database = currentDatabase() AND level = 0 \
         AND data_version = min_block_number AND modification_time > now() - {} GROUP BY table",
        INTERVAL.as_secs()
    );
    within(QUERY_TIMEOUT, connection.queries.query_raw(&query).fetch_all()).await
}

fn set_ages(spool: &Spool, parts: &HashMap<String, u64>, limit: f64, least: Duration) {
    for reader in spool.readers() {
        let table = Arc::clone(&reader.layout().table);
        let rate = parts.get(&*table).copied().unwrap_or(0) as f64 / INTERVAL.as_secs_f64();
        let age = reader.block_age();
        let next = next_age(age, rate, limit, least);
        if next != age {
            tracing::debug!(%table, parts_per_second = rate, age_seconds = next.as_secs_f64(), "blocks of another age");
            reader.set_block_age(next);
        }
    }
}

/// Returns the age of the next blocks, given the age until now and the new parts per second.
fn next_age(age: Duration, rate: f64, limit: f64, least: Duration) -> Duration {
    let step = (rate / limit).clamp(MIN_STEP, MAX_STEP);
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

    #[test]
    fn an_age_has_a_limit_and_becomes_shorter_when_events_pause() {
        assert_eq!(settle(100_000.0, 10.0, 1.0, 10).0, MAX_AGE);
        let pause = |age, _| next_age(age, 0.0, 10.0, SECOND);
        assert_eq!((0..3).fold(MAX_AGE, pause), SECOND);
        assert_eq!(next_age(MAX_AGE, 0.0, 10.0, SECOND), MAX_AGE / 4);
    }

    #[test]
    fn an_age_that_the_options_choose_is_the_shortest() {
        let long = 2 * MAX_AGE;
        assert_eq!(next_age(long, 0.0, 10.0, long), long);
        assert_eq!(next_age(long, 1000.0, 10.0, long), long);
    }
}
