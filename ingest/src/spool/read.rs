//! Read: reads rows of a block from disk, and leaves out those that the disk has damaged or lost.

use std::{io, sync::atomic::Ordering};

use uuid::Uuid;

use crate::{
    block::{
        content::BlockRows,
        logged::{FrameAt, Logged},
        parts::{Part, overlap},
        sealed::SealedBlock,
    },
    spool::{disk::Disk, frame, keyed_rows, state::LogState},
};

/// Reads rows of a block from disk.
///
/// # Errors
/// The file system's, or [`ReadError::Damaged`] with the frame that fails its checks.
pub(crate) fn read_rows(disk: &dyn Disk, id: Uuid, logged: &Logged, part: &Part) -> Result<BlockRows, ReadError> {
    let Some(segment) = logged.segment else {
        return Err(ReadError::Io(io::ErrorKind::NotFound.into()));
    };
    read_rows_from(|offset, length| disk.read_at(segment, offset, length), id, logged, part)
}

/// Reads rows of a block from the file of its segment, of which `read_at` returns bytes.
///
/// # Errors
/// As [`read_rows`].
pub(crate) fn read_rows_from(
    mut read_at: impl FnMut(u64, usize) -> io::Result<Vec<u8>>,
    id: Uuid,
    logged: &Logged,
    part: &Part,
) -> Result<BlockRows, ReadError> {
    let Some(format) = logged.format else {
        return Err(ReadError::Io(io::ErrorKind::NotFound.into()));
    };
    let (mut out, mut ends) = (Vec::new(), Vec::with_capacity(part.len()));
    for at in &logged.frames {
        let shared: Vec<_> = part
            .ranges()
            .iter()
            .filter_map(|rows| overlap(&at.rows, rows))
            .collect();
        if shared.is_empty() {
            continue;
        }
        let bytes = read_at(at.offset, at.length).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Damaged(at.clone()),
            _ => ReadError::Io(error),
        })?;
        let rows = frame::read(&bytes, format, at.offset)
            .filter(|frame| frame.header.block == id && frame.header.rows == at.rows)
            .and_then(|frame| Some(keyed_rows::read_rows(frame.header.kind, frame.body, at.rows.len() as u32)?.1))
            .ok_or_else(|| ReadError::Damaged(at.clone()))?;
        for shared in shared {
            let within = shared.start - at.rows.start..shared.end - at.rows.start;
            let mut end = out.len() as u32;
            ends.extend(rows.lengths_of(&within).map(|length| {
                end += length;
                end
            }));
            out.extend_from_slice(rows.slice(within));
        }
    }
    Ok(BlockRows {
        bytes: out.into(),
        ends: ends.into(),
    })
}

/// The reason why rows could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file system failed.
    Io(io::Error),
    /// This frame fails its checks.
    Damaged(FrameAt),
}

/// Reads rows of a block that may move to another segment in the meantime. Rows that are damaged,
/// or whose segment was deleted, are missing from the result. Logs the damage.
///
/// # Errors
/// The file system's.
pub(super) fn read_block(log: &LogState, block: &SealedBlock, part: &Part) -> io::Result<BlockRows> {
    loop {
        let logged = {
            let state = block.state();
            // A block that is about to move is in memory again.
            if let Some(content) = &state.content {
                return Ok(content.select(part));
            }
            state.logged.clone()
        };
        match read_rows(&*log.disk, block.id, &logged, part) {
            Ok(rows) => return Ok(rows),
            Err(ReadError::Damaged(frame)) => {
                tracing::error!(
                    table = %block.layout.table, block = %block.id, segment = logged.segment, rows = ?frame.rows,
                    "rows were damaged on disk and are lost; the segment is kept as a `.damaged` file"
                );
                log.damaged.fetch_add(1, Ordering::Relaxed);
                if let Some(segment) = logged.segment {
                    log.disk.quarantine(segment)?;
                }
                block.state().logged.frames.retain(|candidate| *candidate != frame);
            }
            Err(ReadError::Io(error))
                if error.kind() == io::ErrorKind::NotFound && forget_deleted(log, block, &logged)? =>
            {
                tracing::error!(
                    table = %block.layout.table, block = %block.id, segment = logged.segment, rows = part.len(),
                    "a segment was deleted, and rows that were only in it are lost"
                );
            }
            // The block may just have been moved to another segment.
            Err(ReadError::Io(error)) if block.state().logged.segment == logged.segment => return Err(error),
            Err(ReadError::Io(_)) => {}
        }
    }
}

/// Forgets the frames of a block whose only segment has been deleted; returns whether it did. If
/// the folder is missing as well, returns an error, since the folder may come back.
fn forget_deleted(log: &LogState, block: &SealedBlock, logged: &Logged) -> io::Result<bool> {
    let segments = log.disk.segments()?;
    let is_there = logged.segment.is_none_or(|segment| segments.contains(&segment));
    let mut state = block.state();
    let is_gone = !is_there && state.content.is_none() && state.logged.segment == logged.segment;
    if is_gone {
        state.logged.frames.clear();
    }
    Ok(is_gone)
}
