//! Frames: the bytes of a segment of the spool.
//!
//! All numbers are little-endian. A segment begins with 24 bytes, and frames follow back to back:
//!
//! ```text
//! segment   0  8  magic            "ROWMILL\0"
//!           8  4  version          2
//!          12  4  salt             any number
//!          16  4  checksum         CRC-32C of bytes 0..16
//!          20  4  zero
//!
//! frame     0  4  magic            "RWFM"
//!           4  4  header checksum  CRC-32C of bytes 8..52, begun with the salt
//!           8  4  body checksum    CRC-32C of the body, begun with the salt
//!          12  4  length           of the body, in bytes
//!          16  1  kind             1 open, 2 rows, 3 seal, 4 split, 5 done, 6 moved, 7 synced
//!          17  3  zero
//!          20  8  batch            everything before this offset is on disk
//!          28 16  block            the block's id, a UUID in its own byte order
//!          44  4  first            the first row that the frame is about
//!          48  4  count            the number of those rows
//!          52  …  body
//! ```
//!
//! | kind | rows `first..first + count` | body |
//! |---|---|---|
//! | open | none | length of the table's name (4 bytes), the name, the INSERT statement; if the writer knows the columns, a byte 0 and [the columns](put_columns) |
//! | rows | the rows in the body | the length of each row (4 bytes), then the rows, as they are inserted |
//! | seal | all rows of the block | |
//! | split | rows that continue as two halves, because ClickHouse refused some | |
//! | done | rows that are stored, refused or lost | |
//! | moved | none: the block is in a later segment now | |
//! | synced | none, and no block | the number of the segment before this one, and how much of it is on disk (8 bytes each) |
//!
//! One `fdatasync` covers a batch. Everything before a batch is on disk before the batch is
//! written. A gap of bytes that fail their checksum is therefore damage if the `batch` of any frame
//! is greater than the gap's offset, and a torn write otherwise. A block's frames are all in one
//! segment. If a block was rewritten to another segment, its copies agree as far as they go.
//!
//! The header has a separate checksum, which exposes a text that looks like a frame without reading
//! its body. The search after a gap is therefore linear. A block's open frame is written twice,
//! before and after the rows of its first batch, so that damage to one costs no row. The salt keeps
//! a text that a client has sent from passing for a frame.
//!
//! Version 1 has one checksum for header and body, in the place of the header's, and no body
//! checksum: all later fields are 4 bytes earlier. Rowmill reads its segments and appends marks to
//! them; new segments have version 2.

use std::{cell::OnceCell, ops::Range};

use memchr::memmem;
use uuid::Uuid;

use crate::block::{
    frame_format::{FRAME_HEADER, FrameFormat, Salt, VERSION, VERSION_1},
    layout::{InsertTarget, put_columns, take_columns},
    parts::RowRange,
};

pub(crate) const SEGMENT_HEADER: usize = 24;

const SEGMENT_MAGIC: &[u8; 8] = b"ROWMILL\0";
const FRAME_MAGIC: &[u8; 4] = b"RWFM";

/// The byte between an open frame's statement and its columns. No statement contains it.
const STATEMENT_END: u8 = 0;

/// The offset of the first byte that a frame's first checksum covers.
const CHECKED_FROM: usize = 8;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Open = 1,
    Rows = 2,
    Seal = 3,
    Split = 4,
    Done = 5,
    Moved = 6,
    Synced = 7,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Open,
            Self::Rows,
            Self::Seal,
            Self::Split,
            Self::Done,
            Self::Moved,
            Self::Synced,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// A frame's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Everything before this offset in the segment was on disk when the frame was written.
    pub(crate) batch: u64,
    pub(crate) block: Uuid,
    pub(crate) rows: RowRange,
}

/// Returns the first bytes of a segment.
pub(crate) fn segment_header(format: FrameFormat) -> [u8; SEGMENT_HEADER] {
    let mut header = [0; SEGMENT_HEADER];
    header[..8].copy_from_slice(SEGMENT_MAGIC);
    header[8..12].copy_from_slice(&format.version.to_le_bytes());
    header[12..16].copy_from_slice(&format.salt.0.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..16]);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The result of reading the first bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentHeader {
    /// The segment has a version that this build reads.
    Known(FrameFormat),
    /// The segment has another version.
    Version(u32),
    /// The write that created the segment did not complete.
    Torn,
    /// The file is not a segment.
    Foreign,
}

/// Reads the first bytes of a segment.
pub(crate) fn read_segment_header(segment: &[u8]) -> SegmentHeader {
    let Some(header) = segment.get(..SEGMENT_HEADER) else {
        return SegmentHeader::Torn;
    };
    // The log syncs a header before it appends a frame. A header alone may therefore be torn,
    // whatever a loss of power has made of it.
    let broken = if segment.len() == SEGMENT_HEADER {
        SegmentHeader::Torn
    } else {
        SegmentHeader::Foreign
    };
    if &header[..8] != SEGMENT_MAGIC {
        return broken;
    }
    // Check the version before the checksum: another version may have another checksum.
    match u32_at(header, 8) {
        version @ (VERSION_1 | VERSION) if u32_at(header, 16) == crc32c::crc32c(&header[..16]) => {
            SegmentHeader::Known(FrameFormat {
                version,
                salt: Salt(u32_at(header, 12)),
            })
        }
        VERSION_1 | VERSION => broken,
        version => SegmentHeader::Version(version),
    }
}

/// Appends a frame, whose body `write` appends.
pub(crate) fn put(out: &mut Vec<u8>, format: FrameFormat, header: &Header, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let fields = start + format.header_len() - FIELDS;
    out.extend_from_slice(FRAME_MAGIC);
    // The checksums are filled in below.
    out.resize(fields, 0);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[header.kind as u8, 0, 0, 0]);
    out.extend_from_slice(&header.batch.to_le_bytes());
    out.extend_from_slice(header.block.as_bytes());
    out.extend_from_slice(&header.rows.start.to_le_bytes());
    out.extend_from_slice(&(header.rows.end - header.rows.start).to_le_bytes());
    let body = out.len();
    write(out);
    let length = u32::try_from(out.len() - body).unwrap_or(u32::MAX);
    out[fields..fields + 4].copy_from_slice(&length.to_le_bytes());
    let checked = if format.version == VERSION_1 {
        start + CHECKED_FROM..out.len()
    } else {
        let checksum = format.checksum(&out[body..]);
        out[start + 8..start + 12].copy_from_slice(&checksum.to_le_bytes());
        start + CHECKED_FROM..body
    };
    let checksum = format.checksum(&out[checked]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends the body of an open frame.
pub(crate) fn put_layout(out: &mut Vec<u8>, layout: &InsertTarget) {
    out.extend_from_slice(&u32::try_from(layout.table.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(layout.table.as_bytes());
    out.extend_from_slice(layout.statement.as_bytes());
    if !layout.columns.is_empty() {
        out.push(STATEMENT_END);
        put_columns(out, layout);
    }
}

/// Reads the body of an open frame.
pub(crate) fn read_layout(body: &[u8]) -> Option<InsertTarget> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (table, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let end = memchr::memchr(STATEMENT_END, rest);
    let (statement, columns) = rest.split_at(end.unwrap_or(rest.len()));
    let (columns, row_id) = match end {
        Some(_) => take_columns(&columns[1..])?,
        None => Default::default(),
    };
    let text = |bytes| str::from_utf8(bytes).ok();
    Some(InsertTarget::new(
        text(table)?.into(),
        text(statement)?.into(),
        columns,
        row_id,
    ))
}

/// Appends the body of a synced frame: a segment and how much of it is on disk.
pub(crate) fn put_synced(out: &mut Vec<u8>, segment: u64, synced: u64) {
    out.extend_from_slice(&segment.to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
}

/// Reads the body of a synced frame.
pub(crate) fn read_synced(body: &[u8]) -> Option<(u64, u64)> {
    let (segment, rest) = body.split_first_chunk::<8>()?;
    let synced = rest.first_chunk::<8>()?;
    Some((u64::from_le_bytes(*segment), u64::from_le_bytes(*synced)))
}

/// Appends the body of a rows frame: the rows numbered `rows` of a block. The block's rows are back
/// to back in `bytes` and end at `ends`.
pub(crate) fn put_rows(out: &mut Vec<u8>, bytes: &[u8], ends: &[u32], rows: &RowRange) {
    let (first, last) = (rows.start as usize, rows.end as usize);
    let start = if first == 0 { 0 } else { ends[first - 1] };
    let mut before = start;
    for &end in &ends[first..last] {
        out.extend_from_slice(&(end - before).to_le_bytes());
        before = end;
    }
    out.extend_from_slice(&bytes[start as usize..before as usize]);
}

/// The rows of a rows frame.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    lengths: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Rows<'a> {
    /// Reads the body of a rows frame of `count` rows; returns `None` if its lengths do not add up.
    pub(crate) fn read(body: &'a [u8], count: u32) -> Option<Self> {
        let (lengths, bytes) = body.split_at_checked((count as usize).checked_mul(4)?)?;
        let rows = Self { lengths, bytes };
        let total: u64 = rows.lengths().map(u64::from).sum();
        (total == bytes.len() as u64).then_some(rows)
    }

    /// Returns the length of each row.
    pub(crate) fn lengths(self) -> impl Iterator<Item = u32> + 'a {
        self.lengths.chunks_exact(4).map(|length| u32_at(length, 0))
    }

    /// Returns the lengths of these rows, which are counted within the frame.
    pub(crate) fn lengths_of(self, rows: &RowRange) -> impl Iterator<Item = u32> + 'a {
        self.lengths().skip(rows.start as usize).take(rows.len())
    }

    /// Returns the bytes of these rows, which are counted within the frame.
    pub(crate) fn slice(self, rows: RowRange) -> &'a [u8] {
        let before: u32 = self.lengths().take(rows.start as usize).sum();
        let length: u32 = self.lengths_of(&rows).sum();
        &self.bytes[before as usize..(before + length) as usize]
    }
}

/// A frame within a segment.
#[derive(Debug, Clone)]
pub(crate) struct Frame<'a> {
    pub(crate) header: Header,
    /// The frame's offset in the segment.
    pub(crate) offset: u64,
    /// The length of the whole frame.
    pub(crate) length: usize,
    pub(crate) body: &'a [u8],
    /// Whether a torn write comes before the frame: the frame was never acknowledged as on disk.
    pub(crate) is_behind_tear: bool,
}

/// Reads the frame at the beginning of `bytes`; returns `None` if it is incomplete or fails its
/// checksums.
pub(crate) fn read(bytes: &[u8], format: FrameFormat, offset: u64) -> Option<Frame<'_>> {
    let outline = Outline::read(bytes, format)?;
    let checked = bytes.get(outline.checked(format))?;
    (format.checksum(checked) == outline.checksum).then_some(())?;
    outline.frame(bytes, format, offset)
}

/// The length of the fields after a header's checksums, the same in both versions.
const FIELDS: usize = 40;

/// A frame whose header passes its checks and whose body has not been read.
#[derive(Debug)]
struct Outline {
    header: Header,
    /// The length of the whole frame.
    length: usize,
    /// The expected checksum of the [`checked`](Self::checked) bytes.
    checksum: u32,
}

impl Outline {
    /// Reads a header; returns `None` if it is invalid. Version 1 has no separate header checksum.
    fn read(bytes: &[u8], format: FrameFormat) -> Option<Self> {
        let header = bytes.get(..format.header_len())?;
        let fields = &header[header.len() - FIELDS..];
        if &header[..4] != FRAME_MAGIC || fields[5..8] != [0; 3] {
            return None;
        }
        let is_checked = format.version != VERSION_1;
        if is_checked && format.checksum(&header[CHECKED_FROM..]) != u32_at(header, 4) {
            return None;
        }
        let first = u32_at(fields, 32);
        Some(Self {
            header: Header {
                kind: Kind::from_byte(fields[4])?,
                batch: u64::from_le_bytes(*fields[8..].first_chunk()?),
                block: Uuid::from_bytes(*fields[16..].first_chunk()?),
                rows: first..first.checked_add(u32_at(fields, 36))?,
            },
            length: header.len().checked_add(u32_at(fields, 0) as usize)?,
            checksum: u32_at(header, if is_checked { 8 } else { 4 }),
        })
    }

    /// Returns the bytes of the frame that its checksum covers and that are not checked yet.
    fn checked(&self, format: FrameFormat) -> Range<usize> {
        let from = if format.version == VERSION_1 {
            CHECKED_FROM
        } else {
            FRAME_HEADER
        };
        from..self.length
    }

    fn frame(self, bytes: &[u8], format: FrameFormat, offset: u64) -> Option<Frame<'_>> {
        Some(Frame {
            body: bytes.get(format.header_len()..self.length)?,
            header: self.header,
            offset,
            length: self.length,
            is_behind_tear: false,
        })
    }
}

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
        let Some(next) = search.behind(at) else { break };
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
            frame.is_behind_tear = true;
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
struct Search<'a> {
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
    fn behind(&self, at: usize) -> Option<usize> {
        // If the header passes its checksum, it gives the end of the damaged body, and the search
        // skips the text of events.
        let is_versed = self.format.version != VERSION_1;
        let outline = Outline::read(&self.segment[at..], self.format).filter(|_| is_versed);
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
        // In version 1, a text can claim a long body, and many texts together more bytes than there
        // are.
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
struct PrefixChecksums<'a> {
    bytes: &'a [u8],
    /// The checksums of the first `index * STEP` bytes.
    known: Vec<u32>,
    /// The value of each bit of a checksum after `1 << index` more zero bytes.
    shifts: Vec<[u32; 32]>,
}

impl<'a> PrefixChecksums<'a> {
    const STEP: usize = 1 << 10;

    fn of(bytes: &'a [u8]) -> Self {
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
    fn of_range(&self, salt: Salt, range: Range<usize>) -> u32 {
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

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::single_range_in_vec_init)]

    use super::*;

    const SALT: Salt = Salt(0x0102_0304);
    const BLOCK: Uuid = Uuid::from_bytes(*b"block-of-16bytes");

    const FORMAT: FrameFormat = FrameFormat {
        version: VERSION,
        salt: SALT,
    };
    const FORMAT_1: FrameFormat = FrameFormat {
        version: VERSION_1,
        salt: SALT,
    };

    /// A segment of each version with a frame of each kind but `Synced`, as it was when that
    /// version was fixed.
    const GOLDEN: &[u8] = include_bytes!("golden/version2.spool");
    const GOLDEN_1: &[u8] = include_bytes!("golden/version1.spool");
    const BOTH: [(FrameFormat, &[u8]); 2] = [(FORMAT_1, GOLDEN_1), (FORMAT, GOLDEN)];

    fn header(kind: Kind, batch: usize, rows: RowRange) -> Header {
        Header {
            kind,
            batch: batch as u64,
            block: BLOCK,
            rows,
        }
    }

    fn layout() -> InsertTarget {
        let statement = "INSERT INTO `table` (`a`) FORMAT RowBinary";
        InsertTarget::new("table".into(), statement.into(), [].into(), None)
    }

    fn segment(format: FrameFormat) -> Vec<u8> {
        let mut out = segment_header(format).to_vec();
        let first = out.len();
        put(&mut out, format, &header(Kind::Open, first, 0..0), |out| {
            put_layout(out, &layout());
        });
        put(&mut out, format, &header(Kind::Rows, first, 0..3), |out| {
            put_rows(out, b"onethree", &[3, 3, 8], &(0..3))
        });
        let second = out.len();
        put(&mut out, format, &header(Kind::Rows, second, 3..4), |out| {
            put_rows(out, b"onethreefour", &[3, 3, 8, 12], &(3..4))
        });
        put(&mut out, format, &header(Kind::Seal, second, 0..4), |_| {});
        for (kind, rows) in [(Kind::Split, 0..4), (Kind::Done, 2..4), (Kind::Moved, 0..0)] {
            let at = out.len();
            put(&mut out, format, &header(kind, at, rows), |_| {});
        }
        out
    }

    fn frame_at(format: FrameFormat, segment: &[u8], index: usize) -> usize {
        scan(segment, format, 0).frames[index].offset as usize
    }

    #[test]
    fn the_format_is_what_it_was() {
        for (format, golden) in BOTH {
            assert!(segment(format) == golden, "a change of the format needs a new version");
        }
    }

    #[test]
    fn a_segment_of_each_version_is_read_as_it_was_written() {
        for (format, golden) in BOTH {
            assert_eq!(read_segment_header(golden), SegmentHeader::Known(format));
            let scan = scan(golden, format, 0);
            assert!(scan.damage.is_empty() && scan.torn.is_empty() && scan.end == golden.len() as u64);
            let kinds: Vec<_> = scan
                .frames
                .iter()
                .map(|frame| (frame.header.kind, frame.header.rows.clone()))
                .collect();
            assert_eq!(
                kinds,
                [
                    (Kind::Open, 0..0),
                    (Kind::Rows, 0..3),
                    (Kind::Rows, 3..4),
                    (Kind::Seal, 0..4),
                    (Kind::Split, 0..4),
                    (Kind::Done, 2..4),
                    (Kind::Moved, 0..0)
                ]
            );
            assert_eq!(read_layout(scan.frames[0].body), Some(layout()));
            let rows = Rows::read(scan.frames[1].body, 3).unwrap();
            assert_eq!(rows.lengths().collect::<Vec<_>>(), [3, 0, 5]);
            assert_eq!((rows.slice(0..1), rows.slice(1..3)), (&b"one"[..], &b"three"[..]));
            assert_eq!(Rows::read(scan.frames[2].body, 1).unwrap().slice(0..1), b"four");
            assert!(Rows::read(scan.frames[1].body, 2).is_none());
        }
    }

    #[test]
    fn another_version_is_not_read_and_no_segment_is_none() {
        let mut newer = GOLDEN.to_vec();
        newer[8] = 3;
        assert_eq!(read_segment_header(&newer), SegmentHeader::Version(3));
        let mut damaged = GOLDEN.to_vec();
        damaged[13] ^= 1;
        assert_eq!(read_segment_header(&damaged), SegmentHeader::Foreign);
        assert_eq!(
            read_segment_header(b"another file, which happens to be here"),
            SegmentHeader::Foreign
        );
        // A header with nothing after it is torn, whatever bytes a loss of power has left in it.
        for torn in [
            &b""[..],
            &GOLDEN[..SEGMENT_HEADER - 1],
            &[0; SEGMENT_HEADER],
            &damaged[..SEGMENT_HEADER],
        ] {
            assert_eq!(read_segment_header(torn), SegmentHeader::Torn);
        }
    }

    #[test]
    fn one_flipped_bit_costs_one_frame() {
        for (format, golden) in BOTH {
            let whole = scan(golden, format, 0);
            for at in SEGMENT_HEADER..golden.len() {
                let mut bytes = golden.to_vec();
                bytes[at] ^= 0x10;
                let found = scan(&bytes, format, 0);
                let hit = whole
                    .frames
                    .iter()
                    .rposition(|frame| frame.offset <= at as u64)
                    .unwrap();
                let left = whole.frames.iter().enumerate().filter(|(index, _)| *index != hit);
                assert!(
                    left.map(|(_, frame)| frame.offset)
                        .eq(found.frames.iter().map(|frame| frame.offset)),
                    "byte {at}"
                );
            }
        }
    }

    #[test]
    fn what_was_synced_is_damaged_and_what_was_not_is_torn() {
        for (format, golden) in BOTH {
            let [rows, second] = [1, 2].map(|index| frame_at(format, golden, index));
            // Damage in the first batch, which the second one confirms to be on disk.
            let mut damaged = golden.to_vec();
            damaged[rows - 1] ^= 1;
            let found = scan(&damaged, format, 0);
            assert_eq!(found.damage, [SEGMENT_HEADER as u64..rows as u64]);
            assert_eq!(found.end, golden.len() as u64);
            assert!(found.frames.iter().all(|frame| !frame.is_behind_tear));

            // Damage in the last batch.
            let end = golden.len() - format.header_len();
            for torn in [&golden[..golden.len() - 1], &golden[..end + 3], &golden[..end]] {
                let found = scan(torn, format, 0);
                assert_eq!((found.damage.len(), found.end), (0, end as u64));
            }
            // The second batch lacks its beginning, and a whole frame of the same batch follows.
            let [seal, split] = [3, 4].map(|index| frame_at(format, golden, index));
            let mut torn = golden[..split].to_vec();
            torn[seal - 1] ^= 1;
            let found = scan(&torn, format, 0);
            assert!(found.damage.is_empty());
            assert_eq!(
                (found.torn, found.end),
                (vec![second as u64..seal as u64], split as u64)
            );
            let behind: Vec<_> = found.frames.iter().map(|frame| frame.is_behind_tear).collect();
            assert_eq!(behind, [false, false, true]);
        }
    }

    #[test]
    fn a_frame_that_a_client_has_made_is_none() {
        let guessed = FrameFormat::new(Salt(0));
        let mut forged = Vec::new();
        put(&mut forged, guessed, &header(Kind::Open, 1 << 40, 0..0), |out| {
            put_layout(out, &layout());
        });
        let mut segment = segment_header(FORMAT).to_vec();
        put(&mut segment, FORMAT, &header(Kind::Rows, SEGMENT_HEADER, 0..1), |out| {
            put_rows(out, &forged, &[forged.len() as u32], &(0..1));
        });
        // Damage the frame around it.
        segment[SEGMENT_HEADER + 12] ^= 1;
        assert!(scan(&segment, FORMAT, 0).frames.is_empty());
    }

    #[test]
    fn a_checksum_of_a_range_is_that_of_its_bytes() {
        let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i * i % 251) as u8).collect();
        let checksums = PrefixChecksums::of(&bytes);
        for (start, end) in [(0, 0), (0, 10_000), (1, 5), (1023, 1024), (1024, 4096), (777, 9_999)] {
            let expected = crc32c::crc32c_append(SALT.0, &bytes[start..end]);
            assert_eq!(checksums.of_range(SALT, start..end), expected, "{start}..{end}");
        }
    }

    /// Returns texts that look like headers, each of which claims all bytes to the end of the
    /// segment.
    fn lookalikes(format: FrameFormat, bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while out.len() < bytes {
            let start = out.len();
            put(&mut out, format, &header(Kind::Rows, 1 << 20, 0..1), |_| {});
            let length = (bytes - start) as u32;
            let fields = out.len() - FIELDS;
            out[fields..fields + 4].copy_from_slice(&length.to_le_bytes());
        }
        out
    }

    #[test]
    fn the_search_behind_damage_takes_time_by_the_length_alone() {
        for format in [FORMAT_1, FORMAT] {
            let mut segment = segment_header(format).to_vec();
            let text = lookalikes(format, 7 << 20);
            put(&mut segment, format, &header(Kind::Rows, SEGMENT_HEADER, 0..1), |out| {
                put_rows(out, &text, &[text.len() as u32], &(0..1));
            });
            let end = segment.len();
            put(&mut segment, format, &header(Kind::Seal, end, 0..1), |_| {});
            // A damaged header does not give the end of its body.
            segment[SEGMENT_HEADER + 4] ^= 1;
            let started = std::time::Instant::now();
            let found = scan(&segment, format, 0);
            let took = started.elapsed();
            assert_eq!(found.frames.len(), 1);
            assert_eq!(found.damage, [SEGMENT_HEADER as u64..end as u64]);
            // The search took half a minute when it trusted the length in each text.
            assert!(took < std::time::Duration::from_secs(20), "{took:?}");
        }
    }
}
