//! Where a block is on disk.

use crate::block::{frame_format::FrameFormat, parts::RowRange};

/// Where a rows frame is in its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameAt {
    pub(crate) offset: u64,
    /// The length of the whole frame.
    pub(crate) length: usize,
    pub(crate) rows: RowRange,
}

/// Where a block is on disk, and how much of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logged {
    /// None while nothing of it is there.
    pub(crate) segment: Option<u64>,
    pub(crate) format: Option<FrameFormat>,
    /// The frames that hold its rows.
    pub(crate) frames: Vec<FrameAt>,
    /// This many rows, from the first on, are there.
    pub(crate) rows: u32,
    /// What all of its frames take.
    pub(crate) bytes: usize,
    /// Whether the block is there as a whole.
    pub(crate) is_sealed: bool,
}

impl Logged {
    /// Returns whether all of it that is on disk is in this segment.
    pub(crate) fn is_in(&self, segment: u64) -> bool {
        self.segment.is_none_or(|own| own == segment)
    }

    /// Returns how many rows its frames have.
    pub(crate) fn readable(&self) -> usize {
        self.frames.iter().map(|frame| frame.rows.len()).sum()
    }
}
