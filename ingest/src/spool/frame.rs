//! Frames: what a segment of the spool consists of, byte for byte.
//!
//! All numbers are little-endian. A segment begins with 24 bytes, and frames follow back to back:
//!
//! ```text
//! segment   0  8  magic            "ROWMILL\0"
//!           8  4  version          1
//!          12  4  salt             any number
//!          16  4  checksum         CRC-32C of bytes 0..16
//!          20  4  zero
//!
//! frame     0  4  magic            "RWFM"
//!           4  4  checksum         CRC-32C of everything behind it, bytes 8..48 and the body, begun with the salt
//!           8  4  length           of the body, in bytes
//!          12  1  kind             1 open, 2 rows, 3 seal, 4 split, 5 done, 6 moved
//!          13  3  zero
//!          16  8  batch            where in the segment the batch of this frame begins
//!          24 16  block            the block's id, a UUID as it is written
//!          40  4  first            the first row that the frame speaks of
//!          44  4  count            how many rows it speaks of
//!          48  …  body
//! ```
//!
//! | kind | rows `first..first + count` | body |
//! |---|---|---|
//! | open | none | length of the table's name (4 bytes), the name, the INSERT statement; from a version that knows them, a byte 0 and [the columns](put_columns) |
//! | rows | are these | the length of each row (4 bytes), then the rows, as they are inserted |
//! | seal | are all that the block has | |
//! | split | were refused together, and go on as two halves | |
//! | done | are stored | |
//! | moved | none: the block is in a later segment now | |
//!
//! A batch is what one `fdatasync` covers. Before a batch is written, everything in front of it is on disk; bytes that do not
//! check are therefore a torn write if no later batch follows, and damage if one does. A block's frames are all in one segment;
//! where a block was written again, in another one too, its copies agree as far as they go.
//!
//! The salt keeps a frame that a client has sent as the text of an event from ever being taken for one of ours.

use std::ops::Range;

use uuid::Uuid;

use crate::layout::{Layout, put_columns, take_columns};

/// The version that this build writes and reads.
pub(crate) const VERSION: u32 = 1;

pub(crate) const SEGMENT_HEADER: usize = 24;
pub(crate) const FRAME_HEADER: usize = 48;

const SEGMENT_MAGIC: &[u8; 8] = b"ROWMILL\0";
const FRAME_MAGIC: &[u8; 4] = b"RWFM";

/// What no statement has in it stands between the statement of an open frame and its columns.
const STATEMENT_END: u8 = 0;

/// Where a frame's own bytes begin, behind magic and checksum.
const CHECKED_FROM: usize = 8;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Open = 1,
    Rows = 2,
    Seal = 3,
    Split = 4,
    Done = 5,
    Moved = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Open, Self::Rows, Self::Seal, Self::Split, Self::Done, Self::Moved]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

/// Rows of a block, by their numbers.
pub(crate) type RowRange = Range<u32>;

/// A frame's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Where in the segment the frame's batch begins.
    pub(crate) batch: u64,
    pub(crate) block: Uuid,
    pub(crate) rows: RowRange,
}

/// What the checksums of a segment's frames begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) u32);

/// Returns the first bytes of a segment.
pub(crate) fn segment_header(salt: Salt) -> [u8; SEGMENT_HEADER] {
    let mut header = [0; SEGMENT_HEADER];
    header[..8].copy_from_slice(SEGMENT_MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&salt.0.to_le_bytes());
    let checksum = crc32c::crc32c(&header[..16]);
    header[16..20].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// What the first bytes of a segment say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SegmentHeader {
    /// It is of this build's version.
    Known(Salt),
    /// It is of another one.
    Version(u32),
    /// The write that made the segment did not come to its end.
    Torn,
    /// It is no segment.
    Foreign,
}

/// Reads the first bytes of a segment.
pub(crate) fn read_segment_header(segment: &[u8]) -> SegmentHeader {
    let Some(header) = segment.get(..SEGMENT_HEADER) else {
        return SegmentHeader::Torn;
    };
    // Nothing follows a header before it is synced, whatever a loss of power has made of it.
    let broken = if segment.len() == SEGMENT_HEADER {
        SegmentHeader::Torn
    } else {
        SegmentHeader::Foreign
    };
    if &header[..8] != SEGMENT_MAGIC {
        return broken;
    }
    // The version is believed before the checksum: another version may have another one.
    match u32_at(header, 8) {
        VERSION if u32_at(header, 16) == crc32c::crc32c(&header[..16]) => {
            SegmentHeader::Known(Salt(u32_at(header, 12)))
        }
        VERSION => broken,
        version => SegmentHeader::Version(version),
    }
}

/// Appends a frame whose body `write` appends.
pub(crate) fn put(out: &mut Vec<u8>, salt: Salt, header: &Header, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(FRAME_MAGIC);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[header.kind as u8, 0, 0, 0]);
    out.extend_from_slice(&header.batch.to_le_bytes());
    out.extend_from_slice(header.block.as_bytes());
    out.extend_from_slice(&header.rows.start.to_le_bytes());
    out.extend_from_slice(&(header.rows.end - header.rows.start).to_le_bytes());
    write(out);
    let length = u32::try_from(out.len() - start - FRAME_HEADER).unwrap_or(u32::MAX);
    out[start + 8..start + 12].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c_append(salt.0, &out[start + CHECKED_FROM..]);
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends the body of an open frame.
pub(crate) fn put_layout(out: &mut Vec<u8>, layout: &Layout) {
    out.extend_from_slice(&u32::try_from(layout.table.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(layout.table.as_bytes());
    out.extend_from_slice(layout.statement.as_bytes());
    if !layout.columns.is_empty() {
        out.push(STATEMENT_END);
        put_columns(out, layout);
    }
}

/// Reads the body of an open frame.
pub(crate) fn read_layout(body: &[u8]) -> Option<Layout> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    let (table, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let end = memchr::memchr(STATEMENT_END, rest);
    let (statement, columns) = rest.split_at(end.unwrap_or(rest.len()));
    let (columns, row_id) = match end {
        Some(_) => take_columns(&columns[1..])?,
        None => Default::default(),
    };
    let text = |bytes| str::from_utf8(bytes).ok();
    Some(Layout::new(
        text(table)?.into(),
        text(statement)?.into(),
        columns,
        row_id,
    ))
}

/// Appends the body of a rows frame: the rows in `rows` of a block whose rows lie back to back in `bytes` and end at `ends`.
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
    /// Reads the body of a rows frame of `count` rows; none if its lengths do not add up.
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

    /// Returns the length of each of the rows with these numbers, counted within the frame.
    pub(crate) fn lengths_of(self, rows: &RowRange) -> impl Iterator<Item = u32> + 'a {
        self.lengths().skip(rows.start as usize).take(rows.len())
    }

    /// Returns the rows with these numbers, counted within the frame.
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
    /// Where in the segment it begins.
    pub(crate) offset: u64,
    pub(crate) body: &'a [u8],
}

impl Frame<'_> {
    /// Returns the length of the whole frame.
    pub(crate) fn len(&self) -> usize {
        FRAME_HEADER + self.body.len()
    }
}

/// Reads the frame at the beginning of `bytes`; none if it is not whole or does not check.
pub(crate) fn read(bytes: &[u8], salt: Salt, offset: u64) -> Option<Frame<'_>> {
    let header = bytes.get(..FRAME_HEADER)?;
    if &header[..4] != FRAME_MAGIC || header[13..16] != [0; 3] {
        return None;
    }
    let end = FRAME_HEADER.checked_add(u32_at(header, 8) as usize)?;
    let frame = bytes.get(..end)?;
    if crc32c::crc32c_append(salt.0, &frame[CHECKED_FROM..]) != u32_at(header, 4) {
        return None;
    }
    let first = u32_at(header, 40);
    Some(Frame {
        header: Header {
            kind: Kind::from_byte(header[12])?,
            batch: u64::from_le_bytes(*header[16..].first_chunk()?),
            block: Uuid::from_bytes(*header[24..].first_chunk()?),
            rows: first..first.checked_add(u32_at(header, 44))?,
        },
        offset,
        body: &frame[FRAME_HEADER..],
    })
}

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    /// The frames that check, in their order.
    pub(crate) frames: Vec<Frame<'a>>,
    /// What had been synced and does not check any more.
    pub(crate) damage: Vec<Range<u64>>,
    /// Where the segment's good part ends; a torn write may follow.
    pub(crate) end: u64,
}

/// Reads all frames of a segment, whose header is known.
pub(crate) fn scan(segment: &[u8], salt: Salt) -> Scan<'_> {
    let mut scan = Scan {
        frames: Vec::new(),
        damage: Vec::new(),
        end: SEGMENT_HEADER as u64,
    };
    let mut at = SEGMENT_HEADER;
    loop {
        while let Some(frame) = read(&segment[at..], salt, at as u64) {
            at += frame.len();
            scan.end = at as u64;
            scan.frames.push(frame);
        }
        // What does not check is torn, unless a later batch says that it had been synced.
        let next = (at..segment.len())
            .skip(1)
            .filter(|&next| segment[next..].starts_with(FRAME_MAGIC))
            .find_map(|next| read(&segment[next..], salt, next as u64).filter(|frame| frame.header.batch > at as u64));
        let Some(next) = next else { return scan };
        scan.damage.push(at as u64..next.offset);
        at = next.offset as usize;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    const SALT: Salt = Salt(0x0102_0304);
    const BLOCK: Uuid = Uuid::from_bytes(*b"block-of-16bytes");

    /// A segment of version 1 with a frame of each kind, as it was when that version was fixed.
    const GOLDEN: &[u8] = include_bytes!("golden/version1.spool");

    fn header(kind: Kind, batch: usize, rows: RowRange) -> Header {
        Header {
            kind,
            batch: batch as u64,
            block: BLOCK,
            rows,
        }
    }

    fn layout() -> Layout {
        let statement = "INSERT INTO `table` (`a`) FORMAT RowBinary";
        Layout::new("table".into(), statement.into(), [].into(), None)
    }

    fn segment() -> Vec<u8> {
        let mut out = segment_header(SALT).to_vec();
        let first = out.len();
        put(&mut out, SALT, &header(Kind::Open, first, 0..0), |out| {
            put_layout(out, &layout());
        });
        put(&mut out, SALT, &header(Kind::Rows, first, 0..3), |out| {
            put_rows(out, b"onethree", &[3, 3, 8], &(0..3))
        });
        let second = out.len();
        put(&mut out, SALT, &header(Kind::Rows, second, 3..4), |out| {
            put_rows(out, b"onethreefour", &[3, 3, 8, 12], &(3..4))
        });
        put(&mut out, SALT, &header(Kind::Seal, second, 0..4), |_| {});
        for (kind, rows) in [(Kind::Split, 0..4), (Kind::Done, 2..4), (Kind::Moved, 0..0)] {
            let at = out.len();
            put(&mut out, SALT, &header(kind, at, rows), |_| {});
        }
        out
    }

    #[test]
    fn the_format_is_what_it_was() {
        assert!(segment() == GOLDEN, "a change of the format needs a new version");
    }

    #[test]
    fn a_segment_is_read_as_it_was_written() {
        assert_eq!(read_segment_header(GOLDEN), SegmentHeader::Known(SALT));
        let scan = scan(GOLDEN, SALT);
        assert!(scan.damage.is_empty() && scan.end == GOLDEN.len() as u64);
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

    #[test]
    fn another_version_is_not_read_and_no_segment_is_none() {
        let mut newer = GOLDEN.to_vec();
        newer[8] = 2;
        assert_eq!(read_segment_header(&newer), SegmentHeader::Version(2));
        let mut damaged = GOLDEN.to_vec();
        damaged[13] ^= 1;
        assert_eq!(read_segment_header(&damaged), SegmentHeader::Foreign);
        assert_eq!(
            read_segment_header(b"another file, which happens to be here"),
            SegmentHeader::Foreign
        );
        // What power has made of a header that nothing follows is worth nothing.
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
    fn any_bit_that_is_another_is_noticed() {
        let whole = scan(GOLDEN, SALT).frames.len();
        for at in SEGMENT_HEADER..GOLDEN.len() {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] ^= 0x10;
            assert!(scan(&bytes, SALT).frames.len() < whole, "byte {at}");
        }
    }

    #[test]
    fn what_was_synced_is_damaged_and_what_was_not_is_torn() {
        let second = scan(GOLDEN, SALT).frames[2].offset as usize;
        // In the first batch, which the second one says is on disk.
        let mut damaged = GOLDEN.to_vec();
        damaged[SEGMENT_HEADER + FRAME_HEADER] ^= 1;
        let found = scan(&damaged, SALT);
        assert_eq!(found.damage.len(), 1);
        assert_eq!(found.damage[0], SEGMENT_HEADER as u64..second as u64);
        assert_eq!(found.end, GOLDEN.len() as u64);

        // In the last batch of all.
        let end = GOLDEN.len() - FRAME_HEADER;
        for torn in [&GOLDEN[..GOLDEN.len() - 1], &GOLDEN[..end + 3], &GOLDEN[..end]] {
            let found = scan(torn, SALT);
            assert_eq!((found.damage.len(), found.end), (0, end as u64));
        }
        // The second batch lacks its beginning, and has a whole frame behind it that is of the same batch.
        let seal = scan(GOLDEN, SALT).frames[4].offset as usize;
        let mut torn = GOLDEN[..seal].to_vec();
        torn[second + FRAME_HEADER] ^= 1;
        let found = scan(&torn, SALT);
        assert_eq!((found.damage.len(), found.end), (0, second as u64));
    }

    #[test]
    fn a_frame_that_a_client_has_made_is_none() {
        let mut forged = Vec::new();
        put(&mut forged, Salt(0), &header(Kind::Open, 1 << 40, 0..0), |out| {
            put_layout(out, &layout())
        });
        let mut segment = segment_header(SALT).to_vec();
        put(&mut segment, SALT, &header(Kind::Rows, SEGMENT_HEADER, 0..1), |out| {
            put_rows(out, &forged, &[forged.len() as u32], &(0..1));
        });
        // The frame around it is torn.
        segment[SEGMENT_HEADER + 8] ^= 1;
        assert!(scan(&segment, SALT).frames.is_empty());
    }
}
