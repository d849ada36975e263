//! Recover: turns what an earlier process has left on disk into blocks again.
//!
//! Reads every segment, changes nothing but torn and damaged ends, and returns the blocks that are
//! not done, oldest first. Promises: a segment of another version, or a file that is not a segment,
//! is an error and stays as it is. Damage costs only the rows that it hit; recovery keeps the
//! damaged segment for inspection, and logs the damage.
//!
//! ```text
//! copy   the frames of one block in one segment, and the block that they make up
//! error  the reasons why a spool cannot be opened
//! ```

pub(super) mod copy;
mod error;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    path::Path,
    sync::Arc,
};

use uuid::Uuid;

pub use crate::spool::recover::error::SpoolError;
use crate::{
    block::{
        parts::RowRange,
        row_key::RowKey,
        sealed::{SealedBlock, is_dead_letter},
    },
    idempotency::{KeyIndex, PendingRows},
    spool::{
        disk::Disk,
        frame::{self, Kind, SegmentHeader},
        log::{Mark, SegmentUse},
        recover::copy::{BlockCopy, assemble, best_of, sound},
        scan::scan,
    },
};

/// Damage to a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) segment: u64,
    /// Bytes that fail their checksums.
    pub(crate) bytes: u64,
}

/// The result of a recovery.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    /// The blocks that are not done, oldest first.
    pub(crate) blocks: Vec<SealedBlock>,
    pub(crate) segments: BTreeMap<u64, SegmentUse>,
    pub(crate) damage: Vec<Damage>,
    /// Marks that one segment has and another one with the same block lacks.
    pub(crate) unmarked: Vec<Mark>,
    /// Blocks that had not been sealed.
    pub(crate) open: HashSet<Uuid>,
    /// Blocks that have moved or have rows that are done, each with the segment that records it.
    ended: HashMap<Uuid, u64>,
    /// Bytes of incomplete writes.
    pub(crate) torn_bytes: u64,
    /// The idempotency keys of rows in the segments, each with its block, the latest block last.
    pub(crate) keys: Vec<(Uuid, RowKey)>,
}

impl Recovered {
    /// Adds the keys whose rows are all in a copy.
    fn add_keys(&mut self, block: Uuid, copy: &BlockCopy) {
        self.keys.extend(copy.complete_keys().map(|key| (block, key.clone())));
    }

    /// Removes rows whose dead letters are on disk from their blocks: the process ended before it
    /// had marked the rows.
    fn remove_rows_with_dead_letters(&mut self) {
        let mut segment_of = std::mem::take(&mut self.ended);
        let blocks = self.blocks.iter();
        segment_of.extend(blocks.filter_map(|block| Some((block.id, block.state().logged.segment?))));
        if !segment_of.keys().any(|id| is_dead_letter(*id)) {
            return;
        }
        for block in &self.blocks {
            let mut state = block.state();
            // The row may not be alone in its part: the marks that its neighbours are stored may
            // not have been written yet.
            let left: Vec<_> = state
                .parts
                .iter()
                .flat_map(|part| part.rows().collect::<Vec<_>>())
                .collect();
            let with_dead_letter = |row: u32| {
                let dead_letter = segment_of.get(&block.dead_letter_id(row)?)?;
                Some((row..row + 1, *dead_letter))
            };
            let refused: Vec<_> = left.into_iter().filter_map(with_dead_letter).collect();
            for (rows, dead_letter) in refused {
                state.parts.remove(&rows);
                let segments_of = self
                    .segments
                    .iter()
                    .filter(|(_, segment)| segment.live.contains_key(&block.id));
                self.unmarked.extend(segments_of.map(|(segment, _)| Mark {
                    segment: *segment,
                    kind: Kind::Done,
                    block: block.id,
                    rows: rows.clone(),
                    durable: true,
                    depends_on: Some(dead_letter),
                }));
            }
        }
        let segments = &mut self.segments;
        self.blocks.retain(|block| {
            let is_over = block.state().parts.is_empty();
            if is_over {
                segments
                    .values_mut()
                    .for_each(|segment| _ = segment.live.remove(&block.id));
            }
            !is_over
        });
    }

    /// Adds the keys of rows in the segments to the index.
    pub(crate) fn restore_keys(&self, index: &KeyIndex, now_s: u32) {
        let progress: HashMap<_, _> = self.blocks.iter().map(|block| (block.id, &block.progress)).collect();
        for (block, key) in &self.keys {
            let pending = progress.get(block).map(|progress| PendingRows {
                progress: Arc::clone(progress),
                rows: key.rows.clone(),
            });
            index.restore(key.record, pending, now_s);
        }
    }

    /// Logs the blocks and the damage that recovery found.
    pub(crate) fn log_summary(&self) {
        for Damage { segment, bytes } in &self.damage {
            tracing::error!(
                segment,
                bytes,
                "a part of the spool was damaged on disk and its rows are lost; the segment is kept as a `.damaged` file"
            );
        }
        if self.torn_bytes > 0 {
            tracing::warn!(
                bytes = self.torn_bytes,
                "bytes at the end of segments fail their checksums: a crash interrupted the last writes, or the disk damaged them"
            );
        }
        if !self.blocks.is_empty() {
            let rows: u64 = self.blocks.iter().map(|block| u64::from(block.rows)).sum();
            tracing::info!(
                blocks = self.blocks.len(),
                rows,
                "the spool has rows of an earlier run, which go to ClickHouse"
            );
        }
    }
}

/// Reads all segments, and at least the newest `max_keys` of their idempotency keys.
///
/// # Errors
/// See [`SpoolError`]; its messages name the spool by `path`.
pub(crate) fn recover(disk: &dyn Disk, path: &Path, max_keys: usize) -> Result<Recovered, SpoolError> {
    let io_error = |error| SpoolError::Io(path.to_owned(), error);
    let mut recovered = Recovered::default();
    let mut blocks: BTreeMap<Uuid, Vec<(u64, BlockCopy)>> = BTreeMap::new();
    let mut done: HashMap<Uuid, Vec<RowRange>> = HashMap::new();
    let mut synced: HashMap<u64, u64> = HashMap::new();
    let mut keys = 0;
    // Newest first: each segment records how much of the one before it is on disk.
    for segment in disk.segments().map_err(io_error)?.into_iter().rev() {
        let bytes = disk.read(segment).map_err(io_error)?;
        let format = match frame::read_segment_header(&bytes) {
            SegmentHeader::Known(format) => format,
            SegmentHeader::Version(version) => return Err(SpoolError::Version { segment, version }),
            SegmentHeader::Foreign => return Err(SpoolError::Foreign { segment }),
            SegmentHeader::Torn => {
                recovered.torn_bytes += bytes.len() as u64;
                disk.remove(segment).map_err(io_error)?;
                continue;
            }
        };
        let scan = scan(&bytes, format, synced.get(&segment).copied().unwrap_or(0));
        recovered.torn_bytes += scan.torn.iter().map(|tear| tear.end - tear.start).sum::<u64>();
        if !scan.damage.is_empty() {
            // Keep a copy before the damaged end is cut off.
            disk.quarantine(segment).map_err(io_error)?;
        }
        let mut file = disk.open(segment).map_err(io_error)?;
        if scan.end < bytes.len() as u64 {
            let is_damage = |damage: &Range<u64>| damage.start == scan.end;
            if !scan.damage.iter().any(is_damage) {
                recovered.torn_bytes += bytes.len() as u64 - scan.end;
            }
            file.truncate(scan.end).map_err(io_error)?;
        }
        // A killed process may have written bytes without syncing them. Sync them now: rows must
        // not change any more once they are sent.
        file.sync().map_err(io_error)?;
        for damage in scan.damage {
            recovered.damage.push(Damage {
                segment,
                bytes: damage.end - damage.start,
            });
        }
        let mut copies: HashMap<Uuid, BlockCopy> = HashMap::new();
        for frame in scan.frames {
            if frame.header.kind == Kind::Synced {
                synced.extend(frame::read_synced(frame.body));
                continue;
            }
            copies.entry(frame.header.block).or_default().add(&frame);
        }
        let mut state = SegmentUse {
            format,
            length: scan.end,
            synced: scan.end,
            uncut: 0,
            tear: scan.torn.first().map(|tear| tear.start),
            live: HashMap::new(),
        };
        let is_enough = keys >= max_keys;
        for (block, mut copy) in copies {
            if is_enough {
                // Older keys than the index has space for must not fill the memory.
                copy.keys.retain(|key| key.rows.len() > 1);
            }
            keys += copy.keys.len();
            if copy.is_moved {
                recovered.add_keys(block, &copy);
            }
            if copy.is_moved || !copy.done.is_empty() {
                recovered.ended.insert(block, segment);
            }
            done.entry(block).or_default().extend(copy.done.iter().cloned());
            if !copy.is_moved {
                state.live.insert(block, copy.frame_bytes);
                blocks.entry(block).or_default().push((segment, copy));
            }
        }
        recovered.segments.insert(segment, state);
    }

    let mut layouts = HashSet::new();
    for (id, copies) in blocks {
        let mut done = done.remove(&id).unwrap_or_default();
        let copies = sound(copies);
        for (_, copy) in &copies {
            recovered.add_keys(id, copy);
        }
        let Some((segment, copy, others)) = best_of(copies) else {
            continue;
        };
        let mark = |segment, kind, rows, depends_on| Mark {
            segment,
            kind,
            block: id,
            rows,
            durable: true,
            depends_on: Some(depends_on),
        };
        // Copy over the `done` marks that only other copies have, and mark every other copy as
        // moved here.
        for rows in done.iter().filter(|rows| !copy.done.contains(rows)) {
            let marks = others
                .iter()
                .map(|other| mark(segment, Kind::Done, rows.clone(), *other));
            recovered.unmarked.extend(marks.take(1));
        }
        for other in others {
            recovered.unmarked.push(mark(other, Kind::Moved, 0..0, segment));
            if let Some(other) = recovered.segments.get_mut(&other) {
                other.live.remove(&id);
            }
        }
        let is_sealed = copy.is_sealed;
        // Rows that the disk has lost from a block that was complete had been acknowledged.
        if !is_sealed && !recovered.damage.iter().any(|damage| damage.segment == segment) {
            done.extend(copy.incomplete_rows());
        }
        let format = recovered.segments.get(&segment).map(|segment| segment.format);
        match assemble(format, id, segment, copy, &done, &mut layouts) {
            Some(block) => {
                if !is_sealed {
                    recovered.open.insert(id);
                }
                recovered.blocks.push(block);
            }
            None => {
                for segment in recovered.segments.values_mut() {
                    segment.live.remove(&id);
                }
            }
        }
    }
    recovered.remove_rows_with_dead_letters();
    recovered.keys.sort_by_key(|(block, key)| (*block, key.rows.start));
    Ok(recovered)
}
