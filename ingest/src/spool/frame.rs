//! Frames: the bytes of a segment of the spool.
//!
//! All numbers are little-endian. A segment begins with 24 bytes, and frames follow back to back:
//!
//! ```text
//! segment   0  8  magic            "ROWMILL\0"
//!           8  4  version          4
//!          12  4  salt             any number
//!          16  4  checksum         CRC-32C of bytes 0..16
//!          20  4  zero
//!
//! frame     0  4  magic            "RWFM"
//!           4  4  header checksum  CRC-32C of bytes 8..52, begun with the salt
//!           8  4  body checksum    CRC-32C of the body, begun with the salt
//!          12  4  length           of the body, in bytes
//!          16  1  kind             1 open, 2 rows, 3 seal, 4 split, 5 done, 6 moved, 7 synced,
//!                                  8 keyed rows
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
//! | keyed rows | the rows in the body | [the idempotency keys](super::keyed_rows) of the rows, then as for rows |
//! | seal | all rows of the block | none; in each later one, the server that the block goes to next |
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
//! A block has one seal frame, and a further one each time that it goes to another one of several
//! servers without a cluster. Builds that know one server do not read their bodies.
//!
//! Version 3 has no shards in open frames. Version 2 has no keyed rows either. Version 1 has one
//! checksum for header and body, in the place of the header's, and no body checksum: all later
//! fields are 4 bytes earlier. Rowmill reads the segments of all three and appends marks to them; new
//! segments have version 4.

use std::ops::Range;

use uuid::Uuid;

use crate::block::{
    frame_format::{FRAME_HEADER, FrameFormat, Salt, VERSION, VERSION_1, VERSION_2, VERSION_3},
    layout::{InsertTarget, put_columns, take_columns},
    parts::RowRange,
};

pub(crate) const SEGMENT_HEADER: usize = 24;

const SEGMENT_MAGIC: &[u8; 8] = b"ROWMILL\0";
pub(super) const FRAME_MAGIC: &[u8; 4] = b"RWFM";

/// The byte between an open frame's statement and its columns. No statement contains it.
const STATEMENT_END: u8 = 0;

/// The offset of the first byte that a frame's first checksum covers.
pub(super) const CHECKED_FROM: usize = 8;

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
    /// Rows, some of which have idempotency keys.
    KeyedRows = 8,
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
            Self::KeyedRows,
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
    // with any bytes.
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
        version @ (VERSION_1 | VERSION_2 | VERSION_3 | VERSION)
            if u32_at(header, 16) == crc32c::crc32c(&header[..16]) =>
        {
            SegmentHeader::Known(FrameFormat {
                version,
                salt: Salt(u32_at(header, 12)),
            })
        }
        VERSION_1 | VERSION_2 | VERSION_3 | VERSION => broken,
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
    let (columns, row_id, shard) = match end {
        Some(_) => take_columns(&columns[1..])?,
        None => Default::default(),
    };
    let text = |bytes| str::from_utf8(bytes).ok();
    Some(InsertTarget {
        shard,
        ..InsertTarget::new(text(table)?.into(), text(statement)?.into(), columns, row_id)
    })
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

    /// Returns the lengths of these rows, numbered within the frame.
    pub(crate) fn lengths_of(self, rows: &RowRange) -> impl Iterator<Item = u32> + 'a {
        self.lengths().skip(rows.start as usize).take(rows.len())
    }

    /// Returns the bytes of these rows, numbered within the frame.
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
    pub(crate) is_after_tear: bool,
}

/// Reads the frame at the beginning of `bytes`; returns `None` if it is incomplete or fails its
/// checksums.
pub(crate) fn read(bytes: &[u8], format: FrameFormat, offset: u64) -> Option<Frame<'_>> {
    let outline = Outline::read(bytes, format)?;
    let checked = bytes.get(outline.checked(format))?;
    (format.checksum(checked) == outline.checksum).then_some(())?;
    outline.frame(bytes, format, offset)
}

/// The length of the fields after a header's checksums, the same in all versions.
pub(super) const FIELDS: usize = 40;

/// A frame whose header passes its checks and whose body has not been read.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) header: Header,
    /// The length of the whole frame.
    pub(super) length: usize,
    /// The expected checksum of the [`checked`](Self::checked) bytes.
    pub(super) checksum: u32,
}

impl Outline {
    /// Reads a header; returns `None` if it is invalid. Version 1 has no separate header checksum.
    pub(super) fn read(bytes: &[u8], format: FrameFormat) -> Option<Self> {
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
    pub(super) fn checked(&self, format: FrameFormat) -> Range<usize> {
        let from = if format.version == VERSION_1 {
            CHECKED_FROM
        } else {
            FRAME_HEADER
        };
        from..self.length
    }

    pub(super) fn frame(self, bytes: &[u8], format: FrameFormat, offset: u64) -> Option<Frame<'_>> {
        Some(Frame {
            body: bytes.get(format.header_len()..self.length)?,
            header: self.header,
            offset,
            length: self.length,
            is_after_tear: false,
        })
    }
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
