//! Reclaim: frees memory under pressure. Drops the in-memory copy of blocks that are on disk, then
//! seals open blocks so that they can follow.
//!
//! Without reclaiming, a table whose oldest block waits would fill memory with its open block,
//! although the disk has space for it.

use crate::{budget::Budget, spool::shared::Shared};

/// The pressure begins at a quarter of the bound: one table may have half of it, and keeps growing
/// while its rows are written.
const SHARE: usize = 4;

/// Returns whether rows take so much memory that only those that need to be in memory may stay
/// there.
pub(super) fn under_memory_pressure(memory: &Budget) -> bool {
    memory.used() > memory.max / SHARE
}

/// Under memory pressure, drops the in-memory copy of each queue's oldest block. If that is not
/// enough, also seals open blocks for the coming commit, the largest first, until the other open
/// blocks take at most half of the threshold. Blocks stay as large as memory allows, since each is
/// an insert.
pub(super) fn reclaim_memory(shared: &Shared) {
    let memory = &shared.memory;
    // A failing disk stores no blocks.
    if !under_memory_pressure(memory) || shared.is_failing() {
        return;
    }
    let mut open = Vec::new();
    for queue in shared.queues() {
        let mut blocks = queue.lock();
        if let Some(first) = blocks.sealed.front().cloned() {
            blocks.evict(&first);
        }
        open.push((blocks.open.cost(), queue));
    }
    if !under_memory_pressure(memory) {
        return;
    }
    open.sort_unstable_by_key(|(cost, _)| std::cmp::Reverse(*cost));
    let mut left: usize = open.iter().map(|(cost, _)| cost).sum();
    for (cost, queue) in open {
        if left <= memory.max / SHARE / 2 {
            break;
        }
        queue.lock().seal();
        left -= cost;
    }
}
