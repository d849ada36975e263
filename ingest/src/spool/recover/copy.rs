//! Copies: the frames of one block in one segment. A block that was written again has several
//! copies.

use std::{collections::HashSet, sync::Arc};

use uuid::Uuid;

use crate::{
    block::{
        frame_format::FrameFormat,
        layout::InsertTarget,
        logged::{FrameAt, Logged},
        parts::{Part, Parts, RowRange, overlap},
        row_key::RowKey,
        sealed::SealedBlock,
    },
    spool::{
        frame::{self, Frame, Kind},
        keyed_rows::read_rows,
    },
};

/// A block's frames in one segment.
#[derive(Debug, Clone, Default)]
pub(in crate::spool) struct BlockCopy {
    layout: Option<InsertTarget>,
    frames: Vec<FrameAt>,
    /// The end of the block's rows.
    rows: u32,
    bytes: usize,
    pub(in crate::spool) frame_bytes: u64,
    pub(super) is_sealed: bool,
    /// The idempotency keys of the rows; one whose rows are in several frames is there as often.
    pub(super) keys: Vec<RowKey>,
    splits: Vec<RowRange>,
    pub(in crate::spool) done: Vec<RowRange>,
    pub(super) is_moved: bool,
    /// The server that the block has gone to last.
    sent_to: Option<Arc<str>>,
    /// The copy without the frames after a torn write, which were never acknowledged as on disk;
    /// `None` if there are no such frames.
    sound: Option<Box<Self>>,
}

impl BlockCopy {
    /// Returns the keys whose rows are all in the copy.
    pub(super) fn complete_keys(&self) -> impl Iterator<Item = &RowKey> {
        self.keys.iter().filter(|key| {
            let found = self.frames.iter().filter_map(|frame| overlap(&frame.rows, &key.rows));
            let is_single = key.rows.len() == 1;
            // The frame of a key contains at least one of its rows.
            is_single || found.map(|rows| rows.len()).sum::<usize>() >= key.rows.len()
        })
    }

    /// Returns the rows of requests that a torn write has cut. No request was acknowledged that has
    /// not all its rows in the copy, so a repeat of it records all of them.
    pub(in crate::spool) fn incomplete_rows(&self) -> Vec<RowRange> {
        let complete: HashSet<_> = self.complete_keys().map(|key| key.record.hash).collect();
        let is_incomplete = |key: &&RowKey| !complete.contains(&key.record.hash);
        self.keys
            .iter()
            .filter(is_incomplete)
            .map(|key| key.rows.clone())
            .collect()
    }

    /// Returns the copy's insert target, if its open frame has been read.
    pub(in crate::spool) fn layout(&self) -> Option<&InsertTarget> {
        self.layout.as_ref()
    }

    /// Returns whether the copy has a sealed block with at least one row that is not done, and all
    /// such rows.
    pub(in crate::spool) fn is_complete(&self) -> bool {
        let mut left = Parts::whole(self.rows);
        self.done.iter().for_each(|rows| left.remove(rows));
        let ranges: Vec<_> = left.iter().flat_map(|part| part.ranges().to_vec()).collect();
        let in_frame = |frame: &FrameAt| -> usize {
            let shared = ranges.iter().filter_map(|rows| overlap(&frame.rows, rows));
            shared.map(|rows| rows.len()).sum()
        };
        let readable: usize = self.frames.iter().map(in_frame).sum();
        self.is_sealed && readable > 0 && readable == left.rows()
    }

    /// Adds a frame of the block.
    pub(in crate::spool) fn add(&mut self, frame: &Frame<'_>) {
        if frame.is_after_tear && self.sound.is_none() {
            self.sound = Some(Box::new(self.clone()));
        }
        let rows = frame.header.rows.clone();
        self.frame_bytes += frame.length as u64;
        match frame.header.kind {
            Kind::Open if self.layout.is_some() => {}
            Kind::Open => {
                self.layout = frame::read_layout(frame.body);
            }
            Kind::Rows | Kind::KeyedRows => {
                let Some((keys, content)) = read_rows(frame.header.kind, frame.body, rows.len() as u32) else {
                    return;
                };
                self.keys.extend(keys);
                self.bytes += content.lengths().map(|length| length as usize).sum::<usize>();
                self.rows = self.rows.max(rows.end);
                self.frames.push(FrameAt {
                    offset: frame.offset,
                    length: frame.length,
                    rows,
                });
            }
            Kind::Seal if frame.body.is_empty() => {
                self.is_sealed = true;
                self.rows = self.rows.max(rows.end);
            }
            // A block that was never sealed goes to a server as well, without its incomplete rows.
            Kind::Seal => {
                if let Ok(server) = str::from_utf8(frame.body) {
                    self.sent_to = Some(server.into());
                }
            }
            Kind::Split => self.splits.push(rows),
            Kind::Moved => self.is_moved = true,
            Kind::Synced => {}
            Kind::Done => self.done.push(rows),
        }
    }
}

/// Returns the copies of a block; if there are several, without the rows that were never acknowledged
/// from their copy.
pub(in crate::spool) fn sound(mut copies: Vec<(u64, BlockCopy)>) -> Vec<(u64, BlockCopy)> {
    if copies.len() > 1 {
        // A copy with a torn write may lack rows that another copy has, and that were acknowledged
        // from there.
        for (_, copy) in &mut copies {
            if let Some(sound) = copy.sound.take() {
                // Marks about rows are true in every copy.
                *copy = BlockCopy {
                    splits: std::mem::take(&mut copy.splits),
                    done: std::mem::take(&mut copy.done),
                    sent_to: copy.sent_to.take(),
                    ..*sound
                };
            }
        }
    }
    copies
}

/// Returns the best of the [`sound`] copies, its segment, and the segments of the other copies.
pub(in crate::spool) fn best_of(mut copies: Vec<(u64, BlockCopy)>) -> Option<(u64, BlockCopy, Vec<u64>)> {
    // Copies agree as far as they go. A sealed copy has every row that was ever acknowledged,
    // except for damage. Without a sealed copy, the longest one has them: the log has
    // continued it.
    let rank = |(segment, copy): &(u64, BlockCopy)| {
        let readable: usize = copy.frames.iter().map(|frame| frame.rows.len()).sum();
        (copy.layout.is_some(), copy.is_sealed, readable, *segment)
    };
    copies.sort_by_key(rank);
    let (segment, copy) = copies.pop()?;
    Some((segment, copy, copies.into_iter().map(|(segment, _)| segment).collect()))
}

/// Turns the best copy, whose segment has this format, into a block. Returns `None` if all of it is done, or none of it can be
/// read.
pub(in crate::spool) fn assemble(
    format: Option<FrameFormat>,
    id: Uuid,
    segment: u64,
    copy: BlockCopy,
    done: &[RowRange],
    layouts: &mut HashSet<Arc<InsertTarget>>,
) -> Option<SealedBlock> {
    let layout = Arc::new(copy.layout?);
    let mut parts = Parts::whole(copy.rows);
    for split in &copy.splits {
        parts.cut(split.start + (split.end - split.start) / 2);
    }
    for done in done {
        parts.remove(done);
    }
    // Drop the parts whose rows are all damaged; recovery reports the damage itself.
    parts.keep_within(copy.frames.iter().map(|frame| &frame.rows));
    if parts.is_empty() {
        return None;
    }
    // The process that left the block may have sent it.
    parts.doubt(&Part::from(0..copy.rows));
    let layout = layouts.get(&layout).cloned().unwrap_or(layout);
    layouts.insert(Arc::clone(&layout));
    let logged = Logged {
        segment: Some(segment),
        format,
        frames: copy.frames,
        rows: copy.rows,
        bytes: usize::try_from(copy.frame_bytes).unwrap_or(usize::MAX),
        // No row is added to a recovered block.
        is_sealed: true,
    };
    let block = SealedBlock::on_disk(layout, id, copy.rows, copy.bytes, logged, parts);
    block.state().sent_to = copy.sent_to;
    Some(block)
}
