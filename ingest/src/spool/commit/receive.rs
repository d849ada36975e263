//! Receive: makes the blocks of another collector a segment of this log, and releases them to their
//! deliveries.

use std::io;

use crate::spool::{
    counters::Counters,
    log::{Log, StagedSegment},
    shared::Shared,
};

/// Makes a staged file a segment, and releases its blocks. Returns `false` and discards the file if
/// the spool is closed: nothing would deliver the blocks, or hand them over.
///
/// # Errors
/// The disk's. This collector then does not have the blocks.
pub(super) fn receive(shared: &Shared, log: &mut Log, staged: StagedSegment) -> io::Result<bool> {
    let StagedSegment { file, state, blocks } = staged;
    if shared.is_closed() {
        log.discard(file);
        return Ok(false);
    }
    let ids: Vec<_> = blocks.iter().map(|block| block.id).collect();
    let segment = log.add_segment(file, state)?;
    // The blocks are on disk: a list of ids that cannot be written does not undo that.
    if let Err(error) = shared.received.confirm(&ids) {
        tracing::error!(%error, "the ids of received blocks cannot be written; the collector tries again with the next ones");
    }
    for block in blocks {
        let Some(table) = shared.find_delivering(&block.layout) else {
            continue;
        };
        let queue = shared.queue(table);
        let rows = {
            let mut state = block.state();
            state.logged.segment = Some(segment);
            state.parts.rows() as u64
        };
        Counters::add(&queue.counters.rows_received, rows);
        queue.lock().restore(block);
        queue.wake_delivery();
    }
    Ok(true)
}
