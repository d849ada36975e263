//! Log: the segments of the spool, as their one writer sees them.
//!
//! A batch of frames is appended to the active segment and synced as one. A segment that is large enough is left for a new one;
//! one whose blocks are all done is removed. After a write or a sync has failed nothing is known of what follows the last sync,
//! so that the segment is left as it is, and everything behind that point is written again into another one.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use uuid::Uuid;

use crate::block::{frame_format::FRAME_HEADER, logged::FrameAt, sealed::letter_id};
use {
    super::{
        disk::{Disk, Segment},
        frame::{self, Header, Kind, SEGMENT_HEADER},
    },
    crate::block::{frame_format::FrameFormat, parts::RowRange, random},
};

/// How much the log may write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    /// A segment that has reached this length is left for a new one.
    pub(crate) segment_bytes: u64,
    /// All segments together are no longer than this and one frame, but for what makes room again, see [`Admits`].
    pub(crate) max_bytes: u64,
}

/// A segment that exists.
#[derive(Debug)]
pub(crate) struct SegmentUse {
    pub(crate) format: FrameFormat,
    /// How long it is.
    pub(crate) length: u64,
    /// What is known to outlive a loss of power.
    pub(crate) synced: u64,
    /// Bytes of a write that failed, which may stand behind `length` and could not be cut off: nothing may be appended before they are.
    pub(crate) uncut: u64,
    /// The beginning of a torn write that frames of the same batch follow: no mark may claim that it had been synced.
    pub(crate) tear: Option<u64>,
    /// The blocks in it that are not done, and the bytes of each.
    pub(crate) live: HashMap<Uuid, u64>,
}

impl SegmentUse {
    /// Returns up to where everything had been synced for certain.
    fn known_synced(&self) -> u64 {
        self.tear.unwrap_or(self.synced)
    }

    fn live_bytes(&self) -> u64 {
        self.live.values().sum()
    }
}

/// A frame without a body, which says what has become of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) segment: u64,
    pub(crate) kind: Kind,
    pub(crate) block: Uuid,
    pub(crate) rows: RowRange,
    /// It has to outlive a loss of power.
    pub(crate) for_good: bool,
    /// The segment that has what makes it so, which stays until the mark is written.
    pub(crate) witness: Option<u64>,
}

/// The segments.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    limits: LogLimits,
    segments: BTreeMap<u64, SegmentUse>,
    /// Marks that are to be written yet: a block that nothing marks comes back with the next start, which may be so late that
    /// ClickHouse has forgotten its token.
    unmarked: Vec<Mark>,
    active: Option<Active>,
    next_segment: u64,
}

#[derive(Debug)]
struct Active {
    segment: u64,
    file: Box<dyn Segment>,
    /// Marks behind the last sync, which are cut off if the next one fails.
    loose: Vec<Mark>,
}

/// Frames that are to be synced together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) segment: u64,
    pub(crate) format: FrameFormat,
    /// Where the bytes will begin.
    at: u64,
    /// What everything before the batch that is synced ends at.
    synced: u64,
    bytes: Vec<u8>,
    /// As soon as it is this long, nothing more is to be put into it.
    max_bytes: usize,
    pub(crate) admits: Admits,
}

/// What may be put into a batch. Beyond the bound of the disk, only what makes room again: without it, segments of which little is
/// left could never be removed, and a refused row would hold its table for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admits {
    All,
    /// Up to one segment beyond the bound: blocks that move to another segment, and dead letters.
    MovesAndLetters,
    /// Further beyond it. There are few at a time: one of each table, and as many as the bound of what waits allows.
    Letters,
}

impl Batch {
    /// Appends a frame, and returns where it will be.
    pub(crate) fn put(&mut self, kind: Kind, block: Uuid, rows: RowRange, body: impl FnOnce(&mut Vec<u8>)) -> FrameAt {
        let start = self.bytes.len();
        let header = Header {
            kind,
            batch: self.synced,
            block,
            rows: rows.clone(),
        };
        frame::put(&mut self.bytes, self.format, &header, body);
        FrameAt {
            offset: self.at + start as u64,
            length: self.bytes.len() - start,
            rows,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= self.max_bytes
    }
}

/// A batch is not made larger than this, so that nobody waits for too much.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// A buffer of a batch that was unusually large is not kept.
const KEPT_CAPACITY: usize = 1 << 20;

impl Log {
    /// Returns the log of the segments that a recovery has found.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        limits: LogLimits,
        segments: BTreeMap<u64, SegmentUse>,
        unmarked: Vec<Mark>,
    ) -> Self {
        let next_segment = segments.last_key_value().map_or(1, |(last, _)| last + 1);
        Self {
            disk,
            limits,
            segments,
            unmarked,
            active: None,
            next_segment,
        }
    }

    /// Returns the length of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments
            .values()
            .map(|segment| segment.length + segment.uncut)
            .sum()
    }

    /// Returns the active segment's number, and whether it is to be left.
    pub(crate) fn active(&self) -> Option<(u64, bool)> {
        let active = self.active.as_ref()?;
        let length = self.segments.get(&active.segment).map_or(0, |segment| segment.length);
        Some((active.segment, length >= self.limits.segment_bytes))
    }

    /// Begins a batch in the active segment, and makes one if there is none. `buffer` is what the batch is gathered in.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn begin(&mut self, mut buffer: Vec<u8>) -> io::Result<Batch> {
        let room = |bound: u64| bound.saturating_sub(self.bytes());
        let LogLimits {
            max_bytes,
            segment_bytes,
        } = self.limits;
        let (room, admits) = match (room(max_bytes), room(max_bytes.saturating_add(segment_bytes))) {
            (0, 0) => (segment_bytes, Admits::Letters),
            (0, reserve) => (reserve, Admits::MovesAndLetters),
            (room, _) => (room, Admits::All),
        };
        let (segment, is_new) = match &self.active {
            Some(active) => (active.segment, false),
            None => (self.make_segment()?, true),
        };
        let state = &self.segments[&segment];
        buffer.clear();
        buffer.shrink_to(KEPT_CAPACITY);
        let mut batch = Batch {
            segment,
            format: state.format,
            at: state.length,
            synced: state.synced,
            bytes: buffer,
            max_bytes: usize::try_from(room).map_or(MAX_BATCH_BYTES, |room| room.min(MAX_BATCH_BYTES)),
            admits,
        };
        if let Some((before, state)) = self.segments.range(..segment).next_back()
            && is_new
        {
            // Nothing else would tell that the segment before this one lacks its end.
            batch.put(Kind::Synced, Uuid::nil(), 0..0, |out| {
                frame::put_synced(out, *before, state.known_synced());
            });
            // The frame takes no room from rows: a batch that it filled would be followed by another such batch.
            batch.max_bytes += batch.len();
        }
        Ok(batch)
    }

    fn make_segment(&mut self) -> io::Result<u64> {
        let segment = self.next_segment;
        self.next_segment += 1;
        let mut file = self.disk.create(segment)?;
        let format = FrameFormat::new(random::salt());
        // Synced by itself: what follows in a segment is worth nothing without its header.
        if let Err(error) = file.append(&frame::segment_header(format)).and_then(|()| file.sync()) {
            // What is left of it would be found as torn.
            _ = self.disk.remove(segment);
            return Err(error);
        }
        let length = SEGMENT_HEADER as u64;
        self.segments.insert(
            segment,
            SegmentUse {
                format,
                length,
                synced: length,
                uncut: 0,
                tear: None,
                live: HashMap::new(),
            },
        );
        self.active = Some(Active {
            segment,
            file,
            loose: Vec::new(),
        });
        Ok(segment)
    }

    /// Writes a batch and returns once it would outlive a loss of power. Gives the buffer back.
    ///
    /// # Errors
    /// What was not synced before is as good as not written, in the whole segment, and the segment is no longer active.
    pub(crate) fn commit(&mut self, batch: Batch) -> Result<Vec<u8>, (io::Error, Vec<u8>)> {
        let Some(active) = self.active.as_mut().filter(|active| active.segment == batch.segment) else {
            return Err((io::ErrorKind::NotFound.into(), batch.bytes));
        };
        let written = active
            .file
            .append(&batch.bytes)
            .and_then(|()| active.file.sync())
            .and_then(|()| match active.file.has_name()? {
                true => Ok(()),
                false => Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the segment's file has been deleted",
                )),
            });
        if written.is_ok() {
            active.loose.clear();
        }
        let Some(state) = self.segments.get_mut(&batch.segment) else {
            return Err((io::ErrorKind::NotFound.into(), batch.bytes));
        };
        match written {
            Ok(()) => {
                state.length = batch.at + batch.bytes.len() as u64;
                state.synced = state.length;
                Ok(batch.bytes)
            }
            Err(error) => {
                self.abandon(batch.bytes.len() as u64);
                Err((error, batch.bytes))
            }
        }
    }

    /// Leaves the active segment after a failure, of a write of so many bytes at most.
    fn abandon(&mut self, written: u64) {
        let Some(mut active) = self.active.take() else { return };
        self.unmarked.append(&mut active.loose);
        let Some(state) = self.segments.get_mut(&active.segment) else {
            return;
        };
        // If this fails, too, what is behind is found as a torn write.
        state.uncut = match active.file.truncate(state.synced) {
            Ok(()) => 0,
            Err(_) => state.length - state.synced + written,
        };
        state.length = state.synced;
        self.drop_deleted();
        self.remove_if_done(active.segment);
    }

    /// Forgets segments that somebody has deleted, and with them the marks that would go there.
    fn drop_deleted(&mut self) {
        let left = match self.disk.segments() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(_) => return,
            Ok(segments) => segments,
        };
        self.segments.retain(|number, _| left.contains(number));
    }

    /// Returns whether a segment is there.
    pub(crate) fn has(&self, segment: u64) -> bool {
        self.segments.contains_key(&segment)
    }

    /// Leaves the active segment if it is full and nothing in it is needed. Without room for a batch nothing else would remove it.
    pub(crate) fn rotate_if_done(&mut self) {
        let is_done = |segment: u64| self.segments.get(&segment).is_some_and(|state| state.live.is_empty());
        if self
            .active()
            .is_some_and(|(segment, is_full)| is_full && is_done(segment))
        {
            self.rotate();
        }
    }

    /// Leaves the active segment for a new one.
    pub(crate) fn rotate(&mut self) {
        if let Some(active) = self.active.take() {
            self.remove_if_done(active.segment);
        }
    }

    /// Notes that a block has `bytes` in a segment.
    pub(crate) fn keep(&mut self, segment: u64, block: Uuid, bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            *segment.live.entry(block).or_default() += bytes;
        }
    }

    /// Notes that rows of a block are where they belong; `is_all` if it were the last ones.
    ///
    /// Of rows that are stored it need not outlive a loss of power: they are recognized by their token when they are sent again. Of a
    /// row that was refused it has to, and until it does, its letter says so.
    pub(crate) fn done(&mut self, block: Uuid, rows: RowRange, is_all: bool, for_good: bool) {
        let letter = letter_id(block, rows.start).filter(|_| for_good);
        let witness = letter.and_then(|letter| self.homes(letter, None).pop());
        for segment in self.homes(block, None) {
            if !(is_all && self.forget(segment, block)) {
                let rows = rows.clone();
                self.mark(Mark {
                    segment,
                    kind: Kind::Done,
                    block,
                    rows,
                    for_good,
                    witness,
                });
            }
        }
    }

    /// Notes, for good, that a block is in `segment` now, and in no other.
    pub(crate) fn moved(&mut self, block: Uuid, segment: u64) {
        for old in self.homes(block, Some(segment)) {
            if !self.forget(old, block) {
                self.mark(Mark {
                    segment: old,
                    kind: Kind::Moved,
                    block,
                    rows: 0..0,
                    for_good: true,
                    witness: Some(segment),
                });
            }
        }
    }

    /// Tries again what the disk has refused: marks that could not be written, and failed writes that could not be cut off. Those may
    /// hold whole blocks, which the next start would find although they have been stored from memory meanwhile.
    pub(crate) fn mark_again(&mut self) {
        for (number, segment) in self.segments.iter_mut().filter(|(_, segment)| segment.uncut > 0) {
            let cut = self
                .disk
                .open(*number)
                .and_then(|mut file| file.truncate(segment.length));
            if cut.is_ok() {
                segment.uncut = 0;
            }
        }
        let unmarked = std::mem::take(&mut self.unmarked);
        let witnesses: Vec<_> = unmarked.iter().filter_map(|mark| mark.witness).collect();
        for mark in unmarked {
            if self.segments.contains_key(&mark.segment) {
                self.mark(mark);
            }
        }
        for witness in witnesses {
            self.remove_if_done(witness);
        }
    }

    fn mark(&mut self, mark: Mark) {
        let rows = mark.rows.clone();
        if let Err(error) = self.append(mark.segment, mark.kind, mark.block, rows, mark.for_good) {
            tracing::debug!(?mark, %error, "a block could not be marked, which is tried again");
            self.unmarked.push(mark);
        } else if let Some(active) = self.active.as_mut().filter(|active| active.segment == mark.segment) {
            active.loose.push(mark);
        }
    }

    /// Notes, for good, that rows of a block go on as two halves.
    ///
    /// # Errors
    /// It could not be written down, so that it must not be done.
    pub(crate) fn split(&mut self, segment: u64, block: Uuid, rows: RowRange) -> io::Result<()> {
        self.append(segment, Kind::Split, block, rows, true)
    }

    /// Returns the segments that are worth the trouble of writing their blocks again, and the blocks of each; the one that wastes the
    /// most comes first.
    pub(crate) fn sparse(&self) -> impl Iterator<Item = (u64, Vec<Uuid>)> {
        let active = self.active().map(|(segment, _)| segment);
        let is_full = self.bytes() >= self.limits.max_bytes / 2;
        let mut sparse: Vec<_> = self
            .segments
            .iter()
            .filter(|(number, _)| is_full && Some(**number) != active)
            .map(|(number, segment)| (segment.length.saturating_sub(segment.live_bytes()), *number, segment))
            .filter(|(wasted, _, segment)| wasted * 4 > segment.length)
            .collect();
        sparse.sort_unstable_by_key(|(wasted, number, _)| std::cmp::Reverse((*wasted, *number)));
        sparse
            .into_iter()
            .map(|(_, number, segment)| (number, segment.live.keys().copied().collect()))
    }

    /// Returns the segments that have a block, but for one.
    fn homes(&self, block: Uuid, but: Option<u64>) -> Vec<u64> {
        self.segments
            .iter()
            .filter(|(number, segment)| Some(**number) != but && segment.live.contains_key(&block))
            .map(|(number, _)| *number)
            .collect()
    }

    /// Takes a block out of a segment; returns whether that was the last one, and the segment is gone.
    fn forget(&mut self, segment: u64, block: Uuid) -> bool {
        if let Some(state) = self.segments.get_mut(&segment) {
            state.live.remove(&block);
        }
        self.remove_if_done(segment)
    }

    /// Removes a segment that nobody needs; returns whether it is gone.
    fn remove_if_done(&mut self, segment: u64) -> bool {
        let is_active = self.active.as_ref().is_some_and(|active| active.segment == segment);
        let is_done = self
            .segments
            .get(&segment)
            .is_some_and(|segment| segment.live.is_empty());
        let is_witness = self.unmarked.iter().any(|mark| mark.witness == Some(segment));
        if is_active || !is_done || is_witness {
            return false;
        }
        match self.disk.remove(segment) {
            Ok(()) => {
                self.segments.remove(&segment);
                true
            }
            Err(error) => {
                tracing::warn!(segment, %error, "a segment that is done could not be removed");
                false
            }
        }
    }

    /// Removes every segment that nobody needs, the active one too.
    pub(crate) fn tidy(&mut self) {
        self.active = None;
        let all: Vec<_> = self.segments.keys().copied().collect();
        for segment in all {
            self.remove_if_done(segment);
        }
    }

    /// Appends one frame without a body to any segment.
    fn append(&mut self, segment: u64, kind: Kind, block: Uuid, rows: RowRange, for_good: bool) -> io::Result<()> {
        let state = self.segments.get_mut(&segment).ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = Vec::with_capacity(FRAME_HEADER);
        let header = Header {
            kind,
            batch: state.known_synced(),
            block,
            rows,
        };
        frame::put(&mut bytes, state.format, &header, |_| {});
        let mut opened;
        let file = match self.active.as_mut().filter(|active| active.segment == segment) {
            Some(active) => &mut active.file,
            None => {
                opened = self.disk.open(segment)?;
                &mut opened
            }
        };
        if state.uncut > 0 {
            return Err(io::Error::other("a failed write stands at the end of the segment"));
        }
        let written = file
            .append(&bytes)
            .and_then(|()| if for_good { file.sync() } else { Ok(()) });
        match written {
            Ok(()) => {
                state.length += bytes.len() as u64;
                if for_good {
                    state.synced = state.length;
                }
                Ok(())
            }
            Err(error) => {
                // Half a frame must not stand before those to come.
                if file.truncate(state.length).is_err() {
                    state.uncut = bytes.len() as u64;
                    if self.active.as_ref().is_some_and(|active| active.segment == segment) {
                        self.abandon(bytes.len() as u64);
                    }
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;
    use crate::spool::tests::disk::SimulatedDisk;

    #[test]
    fn a_letter_stays_until_its_row_is_marked() {
        let disk = Arc::new(SimulatedDisk::default());
        let limits = LogLimits {
            segment_bytes: 1 << 10,
            max_bytes: 1 << 20,
        };
        let mut log = Log::new(Arc::clone(&disk) as Arc<dyn Disk>, limits, BTreeMap::new(), Vec::new());
        let block = Uuid::from_u128(0x7000 << 64);
        let letter = letter_id(block, 3).unwrap();
        for id in [block, letter] {
            let batch = log.begin(Vec::new()).unwrap();
            let segment = batch.segment;
            log.commit(batch).unwrap();
            log.keep(segment, id, 100);
            log.rotate();
        }
        disk.0.lock().unwrap().is_full = true;
        log.done(block, 3..4, false, true);
        log.done(letter, 0..1, true, false);
        log.mark_again();
        assert_eq!(disk.segments().unwrap(), [1, 2]);
        disk.0.lock().unwrap().is_full = false;
        log.mark_again();
        assert_eq!(disk.segments().unwrap(), [1]);
    }

    #[test]
    fn a_segment_stays_until_what_it_says_is_written_in_another() {
        let disk = Arc::new(SimulatedDisk::default());
        let limits = LogLimits {
            segment_bytes: 1 << 10,
            max_bytes: 1 << 20,
        };
        let mut log = Log::new(Arc::clone(&disk) as Arc<dyn Disk>, limits, BTreeMap::new(), Vec::new());
        let (block, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for segment in 1..=2 {
            let batch = log.begin(Vec::new()).unwrap();
            log.commit(batch).unwrap();
            log.keep(segment, block, 100);
            log.keep(1, other, 100);
            log.rotate();
        }
        disk.0.lock().unwrap().is_full = true;
        log.moved(block, 2);
        log.done(block, 0..1, true, false);
        log.mark_again();
        assert_eq!(disk.segments().unwrap(), [1, 2]);
        disk.0.lock().unwrap().is_full = false;
        log.mark_again();
        assert_eq!(disk.segments().unwrap(), [1]);
    }
}
