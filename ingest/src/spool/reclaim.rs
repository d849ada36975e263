//! Relief: when rows take much of the memory's bound, what is on disk is let go of in memory, and open blocks follow there.
//!
//! Without it a table whose oldest block waits would fill memory with its open one, while the disk has room for it.

use crate::spool::Spool;

/// A quarter of the bound: one table may have half of it, and goes on growing while its rows are written.
const SHARE: usize = 4;

impl Spool {
    /// Returns whether rows take so much memory that only what has to be there may be.
    pub(super) fn is_short_of_memory(&self) -> bool {
        self.memory.used() > self.memory.max / SHARE
    }

    /// Lets the blocks that are next be on disk alone, and seals open blocks for the round to come, if memory is short: the largest
    /// first, until those that are left take half of what there may be. They are as large as memory allows, since each is an insert.
    pub(super) fn relieve(&self) {
        // A disk that fails takes nothing over.
        if !self.is_short_of_memory() || self.is_failing() {
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
        if !self.is_short_of_memory() {
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
