//! Descriptors: the limit of the process, and the part of it that connections may take.

use std::{num::NonZero, thread};

use rustix::process::{Resource, getrlimit, setrlimit};

/// For the spool's files, ClickHouse's connections, the log and the embedded engine, with some to
/// spare.
const RESERVE: u64 = 128;

/// For each core's event loop and listener.
const RESERVE_PER_CORE: u64 = 8;

/// For each table's connections to ClickHouse, and the segments that its rows are read from.
const RESERVE_PER_TABLE: u64 = 4;

/// The most connections unless more are wanted. Each takes some ten kilobytes of memory, these
/// together half a gigabyte.
const MOST_CONNECTIONS: usize = 50_000;

/// Raises the process's soft limit to its hard one. Returns how many connections the collector may
/// have open: as many as `wanted`, or as the limit has room for beside `tables` tables.
pub(crate) fn connections(wanted: Option<usize>, tables: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let room = room(raise(), cores as u64, tables as u64);
    let connections = within(room, wanted);
    if let Some(wanted) = wanted
        && wanted > connections
    {
        tracing::warn!(
            wanted,
            connections,
            "the limit of descriptors has no room for so many connections"
        );
    }
    connections
}

/// Returns the soft limit afterwards; no limit is `None`.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let mut raised = limit;
    raised.current = limit.maximum;
    // Elsewhere than on Linux the hard limit may be more than the system allows.
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::debug!(%error, "the limit of descriptors stays as it is");
            limit.current
        }
    }
}

/// Returns how many connections a limit has room for.
fn room(limit: Option<u64>, cores: u64, tables: u64) -> usize {
    let limit = limit.unwrap_or(u64::MAX);
    let reserve = RESERVE + RESERVE_PER_CORE * cores + RESERVE_PER_TABLE * tables;
    // Of very few, half: the rest has to do.
    let connections = limit.saturating_sub(reserve).max(limit / 2);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Returns how many connections there may be: `wanted` or [`MOST_CONNECTIONS`], and no more than `room`.
fn within(room: usize, wanted: Option<usize>) -> usize {
    wanted.unwrap_or(MOST_CONNECTIONS).min(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_a_reserve() {
        assert_eq!(room(Some(1024), 2, 0), 880);
        assert_eq!(room(Some(1024), 2, 10), 840);
        assert_eq!(room(Some(100), 64, 10), 50);
    }

    #[test]
    fn no_option_takes_the_reserve() {
        assert_eq!(within(840, None), 840);
        assert_eq!(within(840, Some(10)), 10);
        assert_eq!(within(840, Some(100_000)), 840);
        assert_eq!(within(1 << 20, None), 50_000);
        assert_eq!(within(1 << 20, Some(100_000)), 100_000);
    }
}
