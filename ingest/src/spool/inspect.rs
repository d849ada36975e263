//! Inspect: what is in a spool's folder, for a person. Changes nothing, and may be used beside a running collector.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::block::sealed::SealedBlock;
use {
    super::{
        SpoolError,
        disk::{ASIDE_EXTENSION, Disk, Folder, Segment},
        recover::{ReadError, read_rows, recover},
    },
    crate::block::parts::{Part, RowRange, overlap},
};

/// What is in a spool's folder.
#[derive(Debug)]
pub struct SpoolReport {
    /// The blocks that are not stored, oldest first.
    pub blocks: Vec<BlockReport>,
    /// The number of segments.
    pub segments: usize,
    /// The length of all segments, in bytes.
    pub bytes: u64,
    /// Bytes of writes that did not come to their end; nobody was told of what they had.
    pub torn_bytes: u64,
    /// Bytes that had been on disk and do not check any more.
    pub damaged_bytes: u64,
    /// Damaged segments that were set aside.
    pub aside: Vec<PathBuf>,
}

/// A block that is not stored.
#[derive(Debug)]
pub struct BlockReport {
    /// The table that it is for.
    pub table: String,
    /// Its id.
    pub id: String,
    /// When it was opened.
    pub opened: SystemTime,
    /// How many of its rows are not stored, and can be read.
    pub rows: u64,
    /// How many more there are that cannot be read: the disk has lost them.
    pub rows_missing: u64,
    /// Whether it still took rows when the process ended.
    pub is_open: bool,
    /// The length of all its rows, in bytes.
    pub bytes: u64,
    /// The tokens and the rows of what is left of it.
    pub parts: Vec<PartReport>,
    /// The statement that its rows are inserted by.
    pub statement: String,
    block: SealedBlock,
}

/// Rows of a block that are inserted together.
#[derive(Debug)]
pub struct PartReport {
    /// The `insert_deduplication_token`.
    pub token: String,
    /// The first of the rows.
    pub first: u32,
    /// How many they are.
    pub rows: u32,
    part: Part,
}

/// Looks at the spool in `folder`.
///
/// # Errors
/// The folder cannot be read, or has something that this program does not know.
pub fn inspect(folder: &Path) -> Result<SpoolReport, SpoolError> {
    let disk = ReadOnly(Folder::unlocked(folder));
    let io_error = |error| SpoolError::Io(folder.to_owned(), error);
    let recovered = recover(&disk, folder)?;
    let aside = std::fs::read_dir(folder)
        .map_err(io_error)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == ASIDE_EXTENSION))
        .collect();
    Ok(SpoolReport {
        segments: recovered.segments.len(),
        bytes: recovered.segments.values().map(|segment| segment.length).sum(),
        torn_bytes: recovered.torn_bytes,
        damaged_bytes: recovered.damage.iter().map(|damage| damage.bytes).sum(),
        blocks: recovered
            .blocks
            .into_iter()
            .map(|block| BlockReport::new(recovered.open.contains(&block.id), block))
            .collect(),
        aside,
    })
}

impl BlockReport {
    fn new(is_open: bool, block: SealedBlock) -> Self {
        let parts: Vec<_> = block
            .state()
            .parts
            .iter()
            .map(|part| PartReport {
                token: block.token(&part),
                first: part.bounds().start,
                rows: part.len() as u32,
                part,
            })
            .collect();
        let rows: u64 = parts.iter().map(|part| u64::from(part.rows)).sum();
        let readable: usize = {
            let state = block.state();
            let of_rows = |rows: &RowRange| -> usize {
                let frames = state.logged.frames.iter();
                frames
                    .filter_map(|frame| overlap(&frame.rows, rows))
                    .map(|rows| rows.len())
                    .sum()
            };
            parts.iter().flat_map(|part| part.part.ranges()).map(of_rows).sum()
        };
        // Of an id of version 7, and of a letter's, too.
        let opened_ms = (block.id.as_u128() >> 80) as u64;
        Self {
            table: block.layout.table.to_string(),
            id: block.id.to_string(),
            opened: UNIX_EPOCH + Duration::from_millis(opened_ms),
            rows: readable as u64,
            rows_missing: rows.saturating_sub(readable as u64),
            is_open,
            bytes: block.bytes as u64,
            parts,
            statement: block.layout.statement.to_string(),
            block,
        }
    }

    /// Reads the rows of a part, in the format that the statement names.
    ///
    /// # Errors
    /// The file system's, or `InvalidData` where a row does not check any more.
    pub fn read(&self, folder: &Path, part: &PartReport) -> io::Result<Vec<u8>> {
        let disk = Folder::unlocked(folder);
        let logged = self.block.state().logged.clone();
        let rows = read_rows(&disk, self.block.id, &logged, &part.part);
        rows.map(|rows| rows.bytes.into()).map_err(|error| match error {
            ReadError::Io(error) => error,
            ReadError::Damaged(_) => io::Error::new(io::ErrorKind::InvalidData, "the rows were damaged on disk"),
        })
    }
}

/// A folder in which nothing changes.
#[derive(Debug)]
struct ReadOnly(Folder);

impl Disk for ReadOnly {
    fn segments(&self) -> io::Result<Vec<u64>> {
        self.0.segments()
    }

    fn create(&self, _: u64) -> io::Result<Box<dyn Segment>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, _: u64) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(Untouched))
    }

    fn read(&self, segment: u64) -> io::Result<Vec<u8>> {
        match self.0.read(segment) {
            // The collector was done with it just now; nothing waits in it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result,
        }
    }

    fn read_at(&self, segment: u64, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.0.read_at(segment, offset, length)
    }

    fn remove(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn set_aside(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A segment that stays as it is.
#[derive(Debug)]
struct Untouched;

impl Segment for Untouched {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(true)
    }
}
