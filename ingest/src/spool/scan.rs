//! Finds the frames of a segment, and the next frame after bytes that are damaged or torn.

use std::{cell::OnceCell, ops::Range};

use memchr::memmem;

use super::frame::{FRAME_MAGIC, Frame, Outline, SEGMENT_HEADER, read};
use crate::block::frame_format::{FrameFormat, Salt, VERSION_1};

/// The contents of a segment.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// The frames that pass their checksums, in order.
    pub(crate) frames: Vec<Frame<'a>>,
    /// Ranges that had been synced and fail their checksums now.
    pub(crate) damage: Vec<Range<u64>>,
    /// Torn writes with frames after them.
    pub(crate) torn: Vec<Range<u64>>,
    /// The end of the last frame; a torn write may follow.
    pub(crate) end: u64,
}

/// Reads all frames of a segment, of which at least the first `synced` bytes had been synced. The
/// time this takes depends only on the segment's length, not on its contents.
pub(crate) fn scan(segment: &[u8], format: FrameFormat, synced: u64) -> Scan<'_> {
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut gaps = Vec::new();
    let mut at = SEGMENT_HEADER;
    let search = Search::new(segment, format);
    loop {
        while let Some(frame) = read(&segment[at..], format, at as u64) {
            at += frame.length;
            frames.push(frame);
        }
        let Some(next) = search.next_after(at) else { break };
        gaps.push(at as u64..next as u64);
        at = next;
    }
    // Everything before a batch had been synced when the batch was written.
    let synced = frames.iter().map(|frame| frame.header.batch).fold(synced, u64::max);
    if (at as u64) < synced {
        gaps.push(at as u64..synced.max(segment.len() as u64));
    }
    let (damage, torn): (Vec<_>, Vec<_>) = gaps.into_iter().partition(|gap| gap.start < synced);
    if let Some(tear) = torn.first() {
        for frame in frames.iter_mut().filter(|frame| frame.offset > tear.start) {
            frame.is_after_tear = true;
        }
    }
    Scan {
        frames,
        damage,
        torn,
        end: at as u64,
    }
}

/// Finds the next frame after bytes that are not a frame.
pub(super) struct Search<'a> {
    segment: &'a [u8],
    format: FrameFormat,
    /// Computed on first use.
    checksums: OnceCell<PrefixChecksums<'a>>,
}

impl<'a> Search<'a> {
    fn new(segment: &'a [u8], format: FrameFormat) -> Self {
        Self {
            segment,
            format,
            checksums: OnceCell::new(),
        }
    }

    /// Returns the offset of the next frame after the bytes at `at`, which are not a frame.
    fn next_after(&self, at: usize) -> Option<usize> {
        // If the header passes its checksum, it states the end of the damaged body, and the search
        // skips the text of events.
        let has_header_checksum = self.format.version != VERSION_1;
        let outline = Outline::read(&self.segment[at..], self.format).filter(|_| has_header_checksum);
        if let Some(end) = outline.and_then(|outline| at.checked_add(outline.length))
            && end < self.segment.len()
            && self.is_frame(end)
        {
            return Some(end);
        }
        let from = at + 1;
        memmem::find_iter(self.segment.get(from..)?, FRAME_MAGIC)
            .map(|found| from + found)
            .find(|&found| self.is_frame(found))
    }

    fn is_frame(&self, at: usize) -> bool {
        let bytes = &self.segment[at..];
        if self.format.version != VERSION_1 {
            return read(bytes, self.format, at as u64).is_some();
        }
        // In version 1, a text can claim a long body, and many texts together more bytes than the
        // segment has.
        let Some(outline) = Outline::read(bytes, self.format).filter(|outline| outline.length <= bytes.len()) else {
            return false;
        };
        let checked = outline.checked(self.format);
        let checksums = self.checksums.get_or_init(|| PrefixChecksums::of(self.segment));
        checksums.of_range(self.format.salt, at + checked.start..at + checked.end) == outline.checksum
    }
}

/// Computes the checksum of any range in constant time, from the checksums of the bytes before its
/// two ends.
pub(super) struct PrefixChecksums<'a> {
    bytes: &'a [u8],
    /// The checksums of the first `index * STEP` bytes.
    known: Vec<u32>,
    /// The value of each bit of a checksum after `1 << index` more zero bytes.
    shifts: Vec<[u32; 32]>,
}

impl<'a> PrefixChecksums<'a> {
    const STEP: usize = 1 << 10;

    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let steps = bytes.chunks_exact(Self::STEP).scan(0, |checksum, step| {
            *checksum = crc32c::crc32c_append(*checksum, step);
            Some(*checksum)
        });
        let shift = |zeros| std::array::from_fn(|bit| crc32c::crc32c_combine(1 << bit, 0, zeros));
        Self {
            bytes,
            known: std::iter::once(0).chain(steps).collect(),
            shifts: (0..usize::BITS - bytes.len().leading_zeros())
                .map(|power| shift(1 << power))
                .collect(),
        }
    }

    fn up_to(&self, end: usize) -> u32 {
        let step = end / Self::STEP;
        crc32c::crc32c_append(self.known[step], &self.bytes[step * Self::STEP..end])
    }

    /// Returns the checksum of a range, begun with the salt.
    pub(super) fn of_range(&self, salt: Salt, range: Range<usize>) -> u32 {
        // Checksums are linear. Shifting the first one by the range's length cancels the bytes
        // before the range, and the salt takes their place.
        let before = self.up_to(range.start) ^ salt.0;
        self.up_to(range.end) ^ self.shifted(before, range.len())
    }

    /// Returns a checksum after `zeros` more zero bytes, like [`crc32c::crc32c_combine`] at a
    /// hundredth of its cost.
    fn shifted(&self, checksum: u32, zeros: usize) -> u32 {
        let powers = self
            .shifts
            .iter()
            .enumerate()
            .filter(|(power, _)| zeros >> power & 1 == 1);
        powers.fold(checksum, |checksum, (_, shift)| {
            let bits = shift.iter().enumerate().filter(|(bit, _)| checksum >> bit & 1 == 1);
            bits.fold(0, |sum, (_, bit)| sum ^ bit)
        })
    }
}
