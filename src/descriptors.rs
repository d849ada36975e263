//! File descriptors: raises the limit of the process and returns how many connections it allows.

use std::{num::NonZero, thread};

use rustix::process::{Resource, getrlimit, setrlimit};

/// Descriptors for the spool's files, ClickHouse connections, the log and the embedded engine, with
/// a margin.
const RESERVE: u64 = 128;

/// Descriptors for each core's event loop and listener.
const RESERVE_PER_CORE: u64 = 8;

/// Descriptors for each table: its ClickHouse connections and the segments of its rows.
const RESERVE_PER_TABLE: u64 = 4;

/// The default maximum of connections. Each uses about ten kilobytes of memory, all of them about
/// half a gigabyte.
const DEFAULT_MAX_CONNECTIONS: usize = 50_000;

/// Raises the soft limit of the process to its hard limit. Returns how many connections the
/// collector may have open: `wanted`, or fewer if the limit minus the reserve for `tables` tables
/// is lower.
pub(crate) fn connections(wanted: Option<usize>, tables: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let available = available(raise(), cores as u64, tables as u64);
    let connections = limited(available, wanted);
    if let Some(wanted) = wanted
        && wanted > connections
    {
        tracing::warn!(
            wanted,
            connections,
            "the limit of file descriptors is too low for so many connections"
        );
    }
    connections
}

/// Raises the soft limit and returns it; `None` means unlimited.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let mut raised = limit;
    raised.current = limit.maximum;
    // On systems other than Linux, the hard limit may exceed what the system allows.
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::debug!(%error, "cannot raise the limit of file descriptors");
            limit.current
        }
    }
}

/// Returns how many connections a limit allows after the reserve.
fn available(limit: Option<u64>, cores: u64, tables: u64) -> usize {
    let limit = limit.unwrap_or(u64::MAX);
    let reserve = RESERVE + RESERVE_PER_CORE * cores + RESERVE_PER_TABLE * tables;
    // If the limit is very low, connections get half of it, and all other uses share the other
    // half.
    let connections = limit.saturating_sub(reserve).max(limit / 2);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// Returns how many connections to allow: `wanted` or [`DEFAULT_MAX_CONNECTIONS`], but at most
/// `available`.
fn limited(available: usize, wanted: Option<usize>) -> usize {
    wanted.unwrap_or(DEFAULT_MAX_CONNECTIONS).min(available)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_a_reserve() {
        assert_eq!(available(Some(1024), 2, 0), 880);
        assert_eq!(available(Some(1024), 2, 10), 840);
        assert_eq!(available(Some(100), 64, 10), 50);
    }

    #[test]
    fn no_option_uses_the_reserve() {
        assert_eq!(limited(840, None), 840);
        assert_eq!(limited(840, Some(10)), 10);
        assert_eq!(limited(840, Some(100_000)), 840);
        assert_eq!(limited(1 << 20, None), 50_000);
        assert_eq!(limited(1 << 20, Some(100_000)), 100_000);
    }
}
