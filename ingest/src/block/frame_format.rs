//! The format of a segment's frames: its version, and the salt of its checksums.

/// The version of new segments.
pub(crate) const VERSION: u32 = 4;

/// The version before blocks could belong to a shard; otherwise the same.
pub(crate) const VERSION_3: u32 = 3;

/// The version before rows could have keys; otherwise the same.
pub(crate) const VERSION_2: u32 = 2;

/// The first version: one checksum for header and body.
pub(crate) const VERSION_1: u32 = 1;

/// The length of a frame's header, in bytes.
pub(crate) const FRAME_HEADER: usize = 52;

/// The same in the first version.
pub(crate) const FRAME_HEADER_1: usize = 48;

/// The initial value of the checksums of a segment's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) u32);

/// The format of a segment's frames, which the segment's first bytes state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameFormat {
    pub(crate) version: u32,
    pub(crate) salt: Salt,
}

impl FrameFormat {
    /// Returns the format of a new segment.
    pub(crate) fn new(salt: Salt) -> Self {
        Self { version: VERSION, salt }
    }

    /// Returns the length of a frame's header.
    pub(crate) fn header_len(self) -> usize {
        if self.version == VERSION_1 {
            FRAME_HEADER_1
        } else {
            FRAME_HEADER
        }
    }

    /// Returns the CRC-32C of bytes in a segment, begun with the salt.
    pub(crate) fn checksum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.salt.0, bytes)
    }
}
