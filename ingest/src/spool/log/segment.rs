//! Segments: the files of the log, and the blocks in each.

use std::collections::HashMap;

use uuid::Uuid;

use crate::block::{frame_format::FrameFormat, sealed::SealedBlock};

/// An existing segment.
#[derive(Debug)]
pub(crate) struct SegmentUse {
    pub(crate) format: FrameFormat,
    /// The segment's length.
    pub(crate) length: u64,
    /// The length that is known to survive a loss of power.
    pub(crate) synced: u64,
    /// Bytes of a failed write that may follow `length` and that the log could not cut off. The log
    /// appends no frame before it has.
    pub(crate) uncut: u64,
    /// The beginning of a torn write that frames of the same batch follow. No mark may claim that
    /// it had been synced.
    pub(crate) tear: Option<u64>,
    /// The blocks in the segment that are not done, and the bytes of each.
    pub(crate) live: HashMap<Uuid, u64>,
}

impl SegmentUse {
    /// Returns the offset up to which everything had certainly been synced.
    pub(super) fn known_synced(&self) -> u64 {
        self.tear.unwrap_or(self.synced)
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live.values().sum()
    }
}

/// A complete file with blocks of another collector, which is no segment yet.
#[derive(Debug)]
pub(crate) struct StagedSegment {
    /// The file's number among the staged ones.
    pub(crate) file: u64,
    pub(crate) state: SegmentUse,
    /// The blocks in the file. They do not know their segment yet.
    pub(crate) blocks: Vec<SealedBlock>,
}
