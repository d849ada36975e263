//! The location of a block on disk.

use crate::block::{frame_format::FrameFormat, parts::RowRange};

/// The location of a rows frame in its segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrameAt {
    pub(crate) offset: u64,
    /// The length of the whole frame.
    pub(crate) length: usize,
    pub(crate) rows: RowRange,
}

/// The location of a block on disk, and how much of the block is there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Logged {
    /// The segment that holds the block; `None` while no part of it is on disk.
    pub(crate) segment: Option<u64>,
    pub(crate) format: Option<FrameFormat>,
    /// The frames that hold the block's rows.
    pub(crate) frames: Vec<FrameAt>,
    /// The number of rows, from the first on, that are on disk.
    pub(crate) rows: u32,
    /// The length of all of the block's frames.
    pub(crate) bytes: usize,
    /// Whether the whole block is on disk.
    pub(crate) is_sealed: bool,
}

impl Logged {
    /// Returns whether no segment other than `segment` has rows of the block.
    pub(crate) fn is_in(&self, segment: u64) -> bool {
        self.segment.is_none_or(|own| own == segment)
    }

    /// Returns the number of rows in the frames.
    pub(crate) fn readable(&self) -> usize {
        self.frames.iter().map(|frame| frame.rows.len()).sum()
    }
}
