//! The bytes of archived blocks: a package as another collector would get it.
//!
//! A package has the ids and the insert targets of its blocks, so a replay sends the rows as the
//! first delivery did.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use bytes::Bytes;
use uuid::Uuid;

use super::{blocks::ArchiveBlock, read_failures::ReadFailures};
use crate::{
    block::{
        content::BlockRows,
        layout::InsertTarget,
        parts::{Part, RowRange, overlap},
        sealed::SealedBlock,
    },
    spool::{
        frame::{Kind, Rows},
        handover::package::{PackedBlock, Packer, unpack},
        links::{LinkName, SegmentLinks},
        read::{ReadError, read_rows_from},
    },
};

/// The bytes of blocks that are being packed.
#[derive(Debug)]
pub(crate) struct BlockPacker(Packer);

impl BlockPacker {
    pub(crate) fn new() -> Self {
        Self(Packer::new())
    }

    /// Appends a block. `rows` are its rows in the sorted `ranges`.
    pub(crate) fn put(&mut self, block: &SealedBlock, ranges: &[RowRange], rows: &BlockRows) {
        self.0.put(block, &[], ranges, rows);
    }

    /// Returns the package.
    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.into_bytes()
    }
}

/// Packs blocks with all rows that the disk has. Returns the bytes and the number of rows. Rows that
/// the disk cannot read again and again count as lost in `failures`.
///
/// # Errors
/// The file system's.
pub(crate) fn pack(
    links: &SegmentLinks,
    blocks: &[&ArchiveBlock],
    failures: &mut ReadFailures,
) -> io::Result<(Bytes, u64)> {
    let mut packer = BlockPacker::new();
    let count = read_blocks(links, blocks, failures, |block, ranges, rows| {
        packer.put(block, ranges, rows);
        Ok(())
    })?;
    Ok((packer.into_bytes(), count))
}

/// Calls `each` with each block of which the disk has rows, the ranges of these rows, and the rows.
/// Returns the number of rows. Rows that the disk cannot read again and again count as lost in
/// `failures`.
///
/// # Errors
/// The file system's, and those of `each`.
pub(crate) fn read_blocks(
    links: &SegmentLinks,
    blocks: &[&ArchiveBlock],
    failures: &mut ReadFailures,
    mut each: impl FnMut(&SealedBlock, &[RowRange], &BlockRows) -> io::Result<()>,
) -> io::Result<u64> {
    let mut count = 0;
    for found in blocks {
        let (ranges, rows) = read_rows(links, found, &(0..u32::MAX), failures)?;
        if !ranges.is_empty() {
            each(&found.block, &ranges, &rows)?;
            count += rows.ends.len() as u64;
        }
    }
    Ok(count)
}

/// Reads the rows of a block whose numbers are in a range, and returns them with their numbers; none if
/// the link was given up. Rows that the disk cannot read again and again count as lost in `failures`.
///
/// # Errors
/// The file system's.
pub(crate) fn read_rows(
    links: &SegmentLinks,
    found: &ArchiveBlock,
    within: &RowRange,
    failures: &mut ReadFailures,
) -> io::Result<(Vec<RowRange>, BlockRows)> {
    let ArchiveBlock { link, block } = found;
    match File::open(links.path(*link)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Default::default()),
        opened => rows_of(&mut opened?, links, *link, block, within, failures),
    }
}

/// Returns the rows of a block within a range that can be read, and their numbers.
fn rows_of(
    file: &mut File,
    links: &SegmentLinks,
    link: LinkName,
    block: &SealedBlock,
    within: &RowRange,
    failures: &mut ReadFailures,
) -> io::Result<(Vec<RowRange>, BlockRows)> {
    let last_offset = Cell::new(0);
    let mut read_at = |offset, length| {
        last_offset.set(offset);
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    loop {
        let (logged, ranges) = {
            let state = block.state();
            let all = state.parts.iter().flat_map(|part| part.ranges().to_vec());
            let all: Vec<_> = all.filter_map(|rows| overlap(&rows, within)).collect();
            let frames = state.logged.frames.iter();
            let readable = frames.flat_map(|frame| all.iter().filter_map(|rows| overlap(&frame.rows, rows)));
            let ranges: Vec<_> = readable.collect();
            (state.logged.clone(), ranges)
        };
        let result = read_rows_from(&mut read_at, block.id, &logged, &Part::of(ranges.clone()));
        let damaged = match result {
            Ok(rows) => return Ok((ranges, rows)),
            Err(ReadError::Io(error)) => {
                let frame = logged
                    .frames
                    .into_iter()
                    .find(|frame| frame.offset == last_offset.get());
                match frame {
                    Some(frame) if failures.is_lasting(link, &error) => frame,
                    _ => return Err(error),
                }
            }
            Err(ReadError::Damaged(frame)) => frame,
        };
        tracing::error!(
            table = %block.layout.table, block = %block.id, rows = ?damaged.rows,
            "rows were damaged on disk before {} had them, and it lacks them",
            links.consumer()
        );
        failures.add_lost(damaged.length as u64);
        block.state().logged.frames.retain(|candidate| *candidate != damaged);
    }
}

/// A block that comes back from the archive.
#[derive(Debug)]
pub(crate) struct ReplayedBlock {
    pub(crate) id: Uuid,
    pub(crate) layout: InsertTarget,
    pub(crate) rows: BlockRows,
}

impl ReplayedBlock {
    /// Returns the block for a delivery, which looks its rows up before it sends them.
    pub(crate) fn into_sealed(self) -> SealedBlock {
        SealedBlock::from_shared_log(Arc::new(self.layout), self.id, self.rows, true)
    }
}

/// Reads the blocks of a package. Rows of a shard go to the Distributed table: the shards may be
/// others by now.
///
/// # Errors
/// The reason why this build cannot read the package.
pub(crate) fn unpack_blocks(package: &[u8]) -> Result<Vec<ReplayedBlock>, String> {
    let blocks = unpack(package).map_err(|error| error.to_string())?;
    blocks.into_iter().map(replayed).collect()
}

fn replayed(block: PackedBlock<'_>) -> Result<ReplayedBlock, String> {
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for frame in block.frames.iter().filter(|frame| frame.header.kind == Kind::Rows) {
        let count = frame.header.rows.len() as u32;
        let rows = Rows::read(frame.body, count).ok_or("the lengths of rows do not add up")?;
        let mut end = bytes.len() as u32;
        ends.extend(rows.lengths().map(|length| {
            end += length;
            end
        }));
        bytes.extend_from_slice(rows.slice(0..count));
    }
    let layout = block.layout;
    let layout = match layout.shard {
        None => layout,
        Some(_) => InsertTarget::from_json(layout.schema_table(), layout.format(), &layout.columns_as_json())
            .ok_or("the columns of a shard's rows are not known")?,
    };
    Ok(ReplayedBlock {
        id: block.id,
        layout,
        rows: BlockRows {
            bytes: bytes.into(),
            ends: ends.into(),
        },
    })
}
