//! Publish: records the outcome of a batch in the queues, and wakes the tasks that wait for it.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    block::{frame_format::FrameFormat, logged::Logged, parts::RowRange},
    spool::{
        commit::collect::Entry, log::Log, reclaim::under_memory_pressure, shared::Shared, signal::Urgency,
        state::LogState,
    },
};

/// Records what is on disk now, and wakes the tasks that wait for it. Returns the rows of a block
/// that are already settled, if the block is complete on disk.
pub(super) fn publish(shared: &Shared, entry: Entry, segment: u64, format: FrameFormat) -> Vec<RowRange> {
    let queue = shared.queue(entry.table);
    let mut blocks = queue.lock();
    let add = |logged: &mut Logged| {
        if logged.segment != Some(segment) {
            *logged = Logged {
                segment: Some(segment),
                format: Some(format),
                ..Logged::default()
            };
        }
        logged.frames.extend(entry.frames);
        logged.rows = entry.rows;
        logged.bytes += usize::try_from(entry.bytes).unwrap_or(0);
    };
    let mut settled = Vec::new();
    let open = blocks.open.opened_mut().filter(|opened| opened.id == entry.block);
    let progress = if let Some(opened) = open {
        add(&mut opened.logged);
        Arc::clone(&opened.progress)
    } else if let Some(at) = blocks.unlogged.iter().position(|block| block.id == entry.block) {
        let block = Arc::clone(&blocks.unlogged[at]);
        let has_moved = blocks.recount(&block, |state| {
            let has_moved = state.logged.is_sealed;
            add(&mut state.logged);
            state.logged.is_sealed = entry.is_sealed;
            if entry.is_sealed {
                settled = state.parts.settled(block.rows);
                state.keys = Box::default();
            }
            has_moved
        });
        if entry.is_sealed {
            blocks.unlogged.remove(at);
            // A block that is not next waits on disk.
            let is_next = blocks.sealed.front().is_some_and(|first| first.id == block.id);
            if has_moved || !is_next || under_memory_pressure(&shared.memory) {
                blocks.evict(&block);
            }
        }
        Arc::clone(&block.progress)
    } else {
        // The block has been settled in the meantime.
        return settled;
    };
    drop(blocks);
    progress.update(|progress| {
        progress.on_disk = progress.on_disk.max(entry.rows);
        progress.is_failing = false;
    });
    if entry.is_sealed {
        queue.wake_delivery();
    }
    settled
}

/// Schedules the blocks of a failed batch to be written again. A block that was begun in the
/// abandoned segment is written from its first row, since all of a block is in one segment. So is a
/// block whose segment has been deleted, if the block is in memory.
pub(super) fn rewrite_from_start(shared: &Shared, log: &Log, entries: &[Entry]) {
    let is_gone = |logged: &Logged| logged.segment.is_some_and(|segment| !log.has(segment));
    for queue in shared.queues() {
        let mut blocks = queue.lock();
        if blocks.open.opened().is_some_and(|opened| is_gone(&opened.logged)) {
            queue.mark_dirty(Urgency::Now);
        }
        let gone = blocks.sealed.iter().filter(|block| {
            let state = block.state();
            state.content.is_some() && state.logged.is_sealed && is_gone(&state.logged)
        });
        for block in gone.cloned().collect::<Vec<_>>() {
            blocks.recount(&block, |state| state.logged = Logged::default());
            blocks.unlogged.retain(|other| other.id != block.id);
            blocks.schedule(block);
        }
    }
    for entry in entries {
        shared.queue(entry.table).mark_dirty(Urgency::Now);
    }
}

/// Marks the disk as failing, and wakes all tasks that wait for it.
pub(super) fn fail(shared: &Shared, state: &LogState, error: &io::Error) {
    if !state.is_failing.swap(true, Ordering::Relaxed) {
        tracing::error!(%error, "the spool cannot be written: rows stay in memory and are not acknowledged as spooled");
    }
    for queue in shared.queues() {
        let blocks = queue.lock();
        let open = blocks.open.opened().map(|opened| &opened.progress);
        for progress in open
            .into_iter()
            .chain(blocks.unlogged.iter().map(|block| &block.progress))
        {
            progress.update(|progress| progress.is_failing = true);
        }
        drop(blocks);
        queue.wake_delivery();
    }
}
