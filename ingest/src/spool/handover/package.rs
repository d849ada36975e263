//! The bytes of blocks on their way to another collector.
//!
//! A package is a segment of the spool's log, so both ends have one format with one version and its
//! checksums. It contains whole blocks, each with these frames: open, rows, split for each cut,
//! done for each range of rows that is not in the package, and seal. It has no idempotency keys:
//! their hashes mean something only in the folder that they come from.

use std::{collections::HashMap, fmt, sync::Arc};

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    block::{
        content::BlockRows,
        frame_format::{FrameFormat, VERSION_1},
        layout::InsertTarget,
        parts::{RowRange, others},
        random,
        sealed::SealedBlock,
    },
    spool::{
        frame::{self, Frame, Header, Kind, SegmentHeader},
        recover::copy::BlockCopy,
        scan::scan,
    },
};

/// The longest rows of one frame, in bytes; a single row may be longer.
const MAX_FRAME_BYTES: u32 = 1 << 20;

/// Blocks that another collector is to take over, and their bytes.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) bytes: Bytes,
    /// The blocks in the package, each with the number of its rows there.
    pub(crate) blocks: Vec<(Arc<SealedBlock>, usize)>,
    /// Blocks of which the disk has lost every row.
    pub(crate) lost: Vec<Arc<SealedBlock>>,
}

impl Package {
    /// Returns a package of nothing but the blocks of which the disk has lost every row.
    pub(crate) fn only_lost(&self) -> Self {
        Self {
            bytes: Bytes::new(),
            blocks: Vec::new(),
            lost: self.lost.clone(),
        }
    }
}

/// Builds the bytes of a package.
#[derive(Debug)]
pub(in crate::spool) struct Packer {
    format: FrameFormat,
    bytes: Vec<u8>,
}

impl Packer {
    pub(in crate::spool) fn new() -> Self {
        let format = FrameFormat::new(random::salt());
        Self {
            format,
            bytes: frame::segment_header(format).to_vec(),
        }
    }

    pub(in crate::spool) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(in crate::spool) fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }

    /// Appends a block. `rows` are its rows in the sorted `ranges`, which are all that the other
    /// collector has to store.
    pub(in crate::spool) fn put(&mut self, block: &SealedBlock, cuts: &[u32], ranges: &[RowRange], rows: &BlockRows) {
        self.frame(block.id, Kind::Open, 0..0, |out| frame::put_layout(out, &block.layout));
        let mut first = 0;
        for range in ranges {
            let mut at = range.start;
            while at < range.end {
                let most = (range.end - at) as usize;
                let count = frame_rows(&rows.ends[first..first + most], start_of(rows, first));
                let within = first as u32..(first + count) as u32;
                self.frame(block.id, Kind::Rows, at..at + count as u32, |out| {
                    frame::put_rows(out, &rows.bytes, &rows.ends, &within);
                });
                at += count as u32;
                first += count;
            }
        }
        for cut in cuts {
            self.frame(block.id, Kind::Split, cut.saturating_sub(1)..cut + 1, |_| {});
        }
        for done in others(ranges, block.rows) {
            self.frame(block.id, Kind::Done, done, |_| {});
        }
        self.frame(block.id, Kind::Seal, 0..block.rows, |_| {});
        if let Some(server) = block.state().sent_to.clone() {
            self.frame(block.id, Kind::Seal, 0..block.rows, |out| {
                out.extend_from_slice(server.as_bytes());
            });
        }
    }

    fn frame(&mut self, block: Uuid, kind: Kind, rows: RowRange, body: impl FnOnce(&mut Vec<u8>)) {
        let header = Header {
            kind,
            batch: 0,
            block,
            rows,
        };
        frame::put(&mut self.bytes, self.format, &header, body);
    }
}

/// Returns the number of rows for one frame, at least one. The rows end at `ends` and begin at
/// `start`.
fn frame_rows(ends: &[u32], start: u32) -> usize {
    ends.partition_point(|&end| end - start <= MAX_FRAME_BYTES).max(1)
}

fn start_of(rows: &BlockRows, row: usize) -> u32 {
    row.checked_sub(1).map_or(0, |before| rows.ends[before])
}

/// A block of a package.
#[derive(Debug)]
pub(in crate::spool) struct PackedBlock<'p> {
    pub(in crate::spool) id: Uuid,
    /// The insert target, with a statement of this build.
    pub(in crate::spool) layout: InsertTarget,
    /// The frames, in the order of the package.
    pub(in crate::spool) frames: Vec<Frame<'p>>,
}

/// The reason why a package cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::spool) enum PackageError {
    /// The package has a version that this build does not read.
    Version(u32),
    /// The bytes are not those of a package, or they have changed on their way.
    Malformed(&'static str),
    /// The rows of this table have no types, or a format that this build does not know.
    UnknownRows(String),
}

impl fmt::Display for PackageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "the blocks have version {version}, which this build does not read"),
            Self::Malformed(reason) => write!(f, "the blocks are malformed: {reason}"),
            Self::UnknownRows(table) => write!(
                f,
                "rows of the table `{table}` have a format that this build does not know, or no types"
            ),
        }
    }
}

/// Reads a package, all of it or nothing.
pub(in crate::spool) fn unpack(package: &[u8]) -> Result<Vec<PackedBlock<'_>>, PackageError> {
    let format = match frame::read_segment_header(package) {
        SegmentHeader::Known(format) if format.version == VERSION_1 => return Err(PackageError::Version(VERSION_1)),
        SegmentHeader::Known(format) => format,
        SegmentHeader::Version(version) => return Err(PackageError::Version(version)),
        SegmentHeader::Torn | SegmentHeader::Foreign => return Err(PackageError::Malformed("no package begins so")),
    };
    let length = package.len() as u64;
    let scan = scan(package, format, length);
    if !scan.damage.is_empty() || !scan.torn.is_empty() || scan.end != length {
        return Err(PackageError::Malformed("bytes fail their checksums"));
    }
    let mut order = Vec::new();
    let mut frames: HashMap<Uuid, Vec<Frame<'_>>> = HashMap::new();
    for frame in scan.frames {
        let id = frame.header.block;
        let of_block = frames.entry(id).or_default();
        if of_block.is_empty() {
            order.push(id);
        }
        of_block.push(frame);
    }
    let block = |id: Uuid| block_of(id, frames.remove(&id).unwrap_or_default());
    order.into_iter().map(block).collect()
}

/// Returns the block that the frames make up.
fn block_of(id: Uuid, frames: Vec<Frame<'_>>) -> Result<PackedBlock<'_>, PackageError> {
    let mut copy = BlockCopy::default();
    let mut next_row = 0;
    for frame in &frames {
        match frame.header.kind {
            Kind::Rows if frame.header.rows.start < next_row => {
                return Err(PackageError::Malformed("rows of a block repeat"));
            }
            Kind::Rows => next_row = frame.header.rows.end,
            Kind::Open | Kind::Split | Kind::Done | Kind::Seal => {}
            Kind::Moved | Kind::Synced | Kind::KeyedRows => {
                return Err(PackageError::Malformed("a frame has a kind that no package has"));
            }
        }
        copy.add(frame);
    }
    if !copy.is_complete() {
        return Err(PackageError::Malformed("a block lacks rows, or its end"));
    }
    let layout = copy
        .layout()
        .ok_or(PackageError::Malformed("a block has no insert target"))?;
    let table = layout.table.to_string();
    let layout = layout.clone().with_own_statement();
    Ok(PackedBlock {
        id,
        layout: layout.ok_or(PackageError::UnknownRows(table))?,
        frames,
    })
}
