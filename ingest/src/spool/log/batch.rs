//! Batch: frames that the log writes and syncs together.

use uuid::Uuid;

use crate::{
    block::{frame_format::FrameFormat, logged::FrameAt, parts::RowRange},
    spool::frame::{self, Header, Kind},
};

/// Frames that are synced together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) segment: u64,
    pub(crate) format: FrameFormat,
    /// The offset at which the bytes will begin.
    pub(super) at: u64,
    /// The length of the segment that was synced before the batch.
    pub(super) synced: u64,
    pub(super) bytes: Vec<u8>,
    /// A batch of this length is full.
    pub(super) max_bytes: usize,
    pub(crate) admits: Admits,
}

/// The frames that a batch accepts. Beyond the bound of the disk, these are only frames that free
/// space. Without them, segments with little left in them could never be removed, and a refused row
/// would block its table permanently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admits {
    All,
    /// Up to one segment beyond the bound: blocks that move to another segment, and dead letters.
    MovesAndDeadLetters,
    /// Further beyond the bound: dead letters alone. There are few at a time: one per table, and as
    /// many as the bound on waiting bytes allows.
    DeadLetters,
}

impl Batch {
    /// Appends a frame and returns where it will be.
    pub(crate) fn put(&mut self, kind: Kind, block: Uuid, rows: RowRange, body: impl FnOnce(&mut Vec<u8>)) -> FrameAt {
        let start = self.bytes.len();
        let header = Header {
            kind,
            batch: self.synced,
            block,
            rows: rows.clone(),
        };
        frame::put(&mut self.bytes, self.format, &header, body);
        FrameAt {
            offset: self.at + start as u64,
            length: self.bytes.len() - start,
            rows,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= self.max_bytes
    }
}
