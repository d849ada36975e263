//! Compact: moves the last blocks of a mostly finished segment to another one, so that the log
//! can remove the segment.

use std::sync::Arc;

use crate::{
    block::{parts::Part, sealed::SealedBlock},
    spool::{
        log::Log,
        queue::{LockedQueue, TableQueue},
        read::read_rows,
        shared::Shared,
        state::LogState,
    },
};

/// Schedules a block of a mostly finished segment to be written again.
pub(super) fn compact(shared: &Shared, state: &LogState, log: &Log) {
    // A block that waits to move is in memory. While the disk has no space for it, read no other.
    let mut candidates = log.compaction_candidates().peekable();
    let is_moving = |queue: &TableQueue| queue.lock().unlogged.iter().any(|block| block.state().logged.is_sealed);
    if candidates.peek().is_none() || shared.queues().any(is_moving) {
        return;
    }
    // A block that cannot move must not keep others from moving.
    let found = candidates.find_map(|(segment, ids)| {
        shared.queues().find_map(|queue| {
            let blocks = queue.lock();
            let block = blocks.sealed.iter().find(|block| {
                let state = block.state();
                // A divided or damaged block stays with its history.
                let is_whole = state.parts.is_whole(block.rows) && state.logged.readable() == block.rows as usize;
                let is_here = state.logged.segment == Some(segment) && ids.contains(&block.id);
                is_whole && is_here && !blocks.is_unlogged(block)
            });
            block.map(|block| (queue, Arc::clone(block)))
        })
    });
    let Some((queue, block)) = found else { return };
    // Only this thread moves blocks, so the block is still there when it is read.
    let logged = block.state().logged.clone();
    // If the rows cannot be read, delivery finds and reports the error.
    let Ok(content) = read_rows(&*state.disk, block.id, &logged, &Part::from(0..block.rows)) else {
        return;
    };
    let mut blocks = queue.lock();
    if blocks.sealed.iter().any(|other| other.id == block.id) {
        blocks.load(&block, content);
        blocks.schedule(block);
    }
}

/// Keeps blocks in their segment that were divided, or partly done, while they waited to be moved:
/// only that segment has the marks.
pub(super) fn keep_divided(blocks: &mut LockedQueue<'_>) {
    let is_divided = |block: &&Arc<SealedBlock>| {
        let state = block.state();
        state.logged.is_sealed && !state.parts.is_whole(block.rows)
    };
    for block in blocks.unlogged.iter().filter(is_divided).cloned().collect::<Vec<_>>() {
        blocks.unlogged.retain(|other| other.id != block.id);
        blocks.evict(&block);
    }
}
