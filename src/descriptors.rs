//! Descriptors: the limit of the process, and the part of it that connections may take.

use std::{num::NonZero, thread};

use rustix::process::{Resource, getrlimit, setrlimit};

/// For the spool's files, ClickHouse's connections, the log and the embedded engine, with some to
/// spare.
const RESERVE: u64 = 128;

/// For each core's event loop and listener.
const RESERVE_PER_CORE: u64 = 8;

/// Each connection takes some ten kilobytes of memory, these together half a gigabyte.
const MOST_CONNECTIONS: u64 = 50_000;

/// Raises the process's soft limit to its hard one, and returns how many connections it may have
/// open.
pub(crate) fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let mut raised = limit;
    raised.current = limit.maximum;
    // Elsewhere than on Linux the hard limit may be more than the system allows.
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            tracing::debug!(%error, "the limit of descriptors stays as it is");
            limit.current
        }
    };
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    connections(now, cores)
}

/// Returns how many connections a limit has room for; no limit is `None`.
fn connections(limit: Option<u64>, cores: u64) -> usize {
    let limit = limit.unwrap_or(u64::MAX);
    let reserve = RESERVE + RESERVE_PER_CORE * cores;
    // Of very few, half: the rest has to do.
    let connections = limit.saturating_sub(reserve).max(limit / 2);
    connections.min(MOST_CONNECTIONS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_a_reserve() {
        assert_eq!(connections(Some(1024), 2), 880);
        assert_eq!(connections(Some(100), 64), 50);
        assert_eq!(connections(Some(1 << 20), 2), 50_000);
        assert_eq!(connections(None, 2), 50_000);
    }
}
