//! Reclaim: frees memory under pressure. Drops the in-memory copy of blocks that are on disk, then
//! seals open blocks so that they can follow.
//!
//! Without it, a table whose oldest block waits would fill memory with its open block, although the
//! disk has space for it.

use crate::spool::Spool;

/// The pressure begins at a quarter of the bound: one table may have half of it, and keeps growing
/// while its rows are written.
const SHARE: usize = 4;

impl Spool {
    /// Returns whether rows take so much memory that only those that need to be in memory may stay
    /// there.
    pub(super) fn under_memory_pressure(&self) -> bool {
        self.memory.used() > self.memory.max / SHARE
    }

    /// Under memory pressure, drops the in-memory copy of each queue's oldest block. If that is not
    /// enough, also seals open blocks for the coming round, the largest first, until the other open
    /// blocks take at most half of the threshold. Blocks stay as large as memory allows, since each
    /// is an insert.
    pub(super) fn reclaim_memory(&self) {
        // A failing disk takes no blocks.
        if !self.under_memory_pressure() || self.is_failing() {
            return;
        }
        let mut open = Vec::new();
        for lane in &self.lanes {
            let mut queue = lane.lock();
            if let Some(first) = queue.sealed.front().cloned() {
                queue.evict(&first, &self.memory);
            }
            open.push((queue.open.cost(), lane));
        }
        if !self.under_memory_pressure() {
            return;
        }
        open.sort_unstable_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        let mut left: usize = open.iter().map(|(cost, _)| cost).sum();
        for (cost, lane) in open {
            if left <= self.memory.max / SHARE / 2 {
                break;
            }
            lane.seal(&mut lane.lock(), self.log.as_ref());
            left -= cost;
        }
    }
}
