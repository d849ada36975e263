//! State: shared by the queues, the deliveries, and the thread that writes the log.

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

/// The log as all threads see it.
#[derive(Debug)]
pub(super) struct LogState {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) signal: Signal,
    pub(super) ops: Mutex<Vec<Op>>,
    /// Whether the last attempt to write failed.
    pub(super) is_failing: AtomicBool,
    /// Parts of segments that were found damaged since the start.
    pub(super) damaged: AtomicU64,
    /// Disk space of blocks that are not stored.
    pub(super) waiting: Budget,
    /// Bytes beyond that bound for the dead letters of rows that ClickHouse refuses.
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

    /// Applies the pending operations to the log, after retrying the marks that failed.
    pub(super) fn note(&self, log: &mut Log) {
        log.mark_again();
        let ops = std::mem::take(&mut *self.ops.lock().unwrap_or_else(PoisonError::into_inner));
        for op in ops {
            match op {
                Op::Done {
                    block,
                    rows,
                    is_all,
                    durable,
                } => log.done(block, rows, is_all, durable),
                Op::Cut { block, row, reply } => {
                    // Even if the caller no longer waits for the reply, the block is divided.
                    _ = reply.send(Self::cut(log, &block, row));
                }
            }
        }
    }
}

impl LogState {
    /// Divides a block at `row`, on disk and in memory. Only the thread that writes the log does
    /// so: it also moves blocks from one segment to another, and knows where a block is now.
    pub(super) fn cut(log: &mut Log, block: &SealedBlock, row: u32) -> io::Result<()> {
        let logged = block.state().logged.clone();
        let segment = logged.segment.filter(|_| logged.is_sealed);
        // The frame names rows with the cut in their middle.
        let rows = row.saturating_sub(1)..row + 1;
        log.split(segment.ok_or(io::ErrorKind::NotFound)?, block.id, rows)?;
        block.state().parts.cut(row);
        Ok(())
    }
}

/// An operation on the log other than writing rows.
#[derive(Debug)]
pub(super) enum Op {
    /// Rows are done: stored, refused or lost.
    Done {
        block: Uuid,
        rows: RowRange,
        is_all: bool,
        durable: bool,
    },
    /// A block is divided at a row; the reply reports whether that is on disk.
    Cut {
        block: Arc<SealedBlock>,
        row: u32,
        reply: oneshot::Sender<io::Result<()>>,
    },
}
