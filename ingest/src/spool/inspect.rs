//! Inspect: reports the contents of a spool's folder. Changes nothing, and may be used while a
//! collector runs.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    block::{
        parts::{Part, RowRange, overlap},
        sealed::SealedBlock,
    },
    spool::{
        disk::{Disk, Folder, QUARANTINE_EXTENSION, Segment},
        links::{self, ArchiveReport, Consumer},
        read::{ReadError, read_rows},
        recover::{SpoolError, recover},
    },
};

/// The contents of a spool's folder.
#[derive(Debug)]
pub struct SpoolReport {
    /// The blocks that are not stored, oldest first.
    pub blocks: Vec<BlockReport>,
    /// The number of segments.
    pub segments: usize,
    /// The length of all segments, in bytes.
    pub bytes: u64,
    /// Bytes of incomplete writes, which were never acknowledged as on disk.
    pub torn_bytes: u64,
    /// Bytes that had been on disk and fail their checksums now.
    pub damaged_bytes: u64,
    /// Damaged segments that are kept for inspection.
    pub quarantined: Vec<PathBuf>,
    /// What waits for the archive; `None` if nothing was ever to be archived.
    pub archive: Option<ArchiveReport>,
    /// What waits for its topic; `None` if no row was ever to go to one.
    pub topics: Option<ArchiveReport>,
}

/// A block that is not stored.
#[derive(Debug)]
pub struct BlockReport {
    /// The table of its rows.
    pub table: String,
    /// The block's id.
    pub id: String,
    /// The time at which it was opened.
    pub opened: SystemTime,
    /// The number of rows that are not stored and can be read.
    pub rows: u64,
    /// The number of further rows that cannot be read, because the disk has lost them.
    pub rows_missing: u64,
    /// Whether the block still accepted rows when the process ended.
    pub is_open: bool,
    /// The length of all rows of the block, in bytes.
    pub bytes: u64,
    /// The parts that are left of the block.
    pub parts: Vec<PartReport>,
    /// The statement that inserts the rows.
    pub statement: String,
    block: SealedBlock,
}

/// Rows of a block that are inserted together.
#[derive(Debug)]
pub struct PartReport {
    /// The `insert_deduplication_token`.
    pub token: String,
    /// The number of the first row.
    pub first: u32,
    /// The number of rows.
    pub rows: u32,
    part: Part,
}

/// Reads the spool in `folder`.
///
/// # Errors
/// The folder cannot be read, or has a file that this program does not know.
///
/// # Examples
///
/// ```no_run
/// use std::path::Path;
///
/// use rowmill_ingest::spool::inspect;
///
/// # fn main() -> Result<(), rowmill_ingest::spool::SpoolError> {
/// println!("{:#?}", inspect(Path::new("data/spool"))?);
/// # Ok(())
/// # }
/// ```
pub fn inspect(folder: &Path) -> Result<SpoolReport, SpoolError> {
    let disk = ReadOnly(Folder::unlocked(folder));
    let io_error = |error| SpoolError::Io(folder.to_owned(), error);
    let recovered = recover(&disk, folder, 0)?;
    let quarantined = std::fs::read_dir(folder)
        .map_err(io_error)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == QUARANTINE_EXTENSION)
        })
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
        quarantined,
        archive: links::report(folder, Consumer::Archive).map_err(io_error)?,
        topics: links::report(folder, Consumer::FanOut).map_err(io_error)?,
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
        // An id of version 7 begins with the time, and so does a dead letter's id.
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
    /// The file system's, or `InvalidData` if a row fails its checks.
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

/// A folder that stays unchanged.
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
        Ok(Box::new(ReadOnlySegment))
    }

    fn read(&self, segment: u64) -> io::Result<Vec<u8>> {
        match self.0.read(segment) {
            // The collector has just removed the segment; no row in it is pending.
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

    fn quarantine(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A segment that stays unchanged.
#[derive(Debug)]
struct ReadOnlySegment;

impl Segment for ReadOnlySegment {
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
