//! State: what the lanes, the deliveries and the thread that writes the log share.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
};

use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{
    block::sealed::SealedBlock,
    spool::signal::{Signal, Urgency},
};
use {
    super::{disk::Disk, log::Log},
    crate::{block::parts::RowRange, budget::Budget},
};

/// What all threads see of the log.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) signal: Signal,
    pub(super) ops: Mutex<Vec<Op>>,
    /// The last try to write has failed.
    pub(super) is_failing: AtomicBool,
    /// Parts of segments that were found damaged since the start.
    pub(super) damaged: AtomicU64,
    /// What blocks that are not stored take on disk.
    pub(super) waiting: Budget,
    /// Beyond that bound, so many bytes are for letters of rows that ClickHouse refuses.
    pub(super) letter_reserve: usize,
    /// Bytes of all segments.
    pub(super) bytes: AtomicU64,
    pub(super) stopped: AtomicBool,
}

impl LogState {
    pub(super) fn push(&self, op: Op) {
        let urgency = match op {
            Op::Done { .. } => Urgency::Soon,
            Op::Cut { .. } => Urgency::Now,
        };
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op);
        self.signal.raise(urgency);
    }

    /// Notes what is no row.
    pub(super) fn note(&self, log: &mut Log) {
        log.mark_again();
        let ops = std::mem::take(&mut *self.ops.lock().unwrap_or_else(PoisonError::into_inner));
        for op in ops {
            match op {
                Op::Done {
                    block,
                    rows,
                    is_all,
                    for_good,
                } => log.done(block, rows, is_all, for_good),
                Op::Cut { block, row, reply } => {
                    // If nobody waits for the reply any more, the block is divided all the same.
                    _ = reply.send(Self::cut(log, &block, row));
                }
            }
        }
    }
}

impl LogState {
    /// Lets a part of a block begin at `row`, on disk and in memory. Only the thread that writes the log does so: it also moves
    /// blocks from one segment to another, and knows where a block is now.
    pub(super) fn cut(log: &mut Log, block: &SealedBlock, row: u32) -> io::Result<()> {
        let logged = block.state().logged.clone();
        let segment = logged.segment.filter(|_| logged.is_sealed);
        // The frame speaks of rows in whose middle the cut is.
        let rows = row.saturating_sub(1)..row + 1;
        log.split(segment.ok_or(io::ErrorKind::NotFound)?, block.id, rows)?;
        block.state().parts.cut(row);
        Ok(())
    }
}

/// Something to note in the log that is no row.
#[derive(Debug)]
pub(super) enum Op {
    /// Rows are where they belong.
    Done {
        block: Uuid,
        rows: RowRange,
        is_all: bool,
        for_good: bool,
    },
    /// A part of a block begins at a row; the reply says whether that is on disk.
    Cut {
        block: Arc<SealedBlock>,
        row: u32,
        reply: oneshot::Sender<io::Result<()>>,
    },
}
