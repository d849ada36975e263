//! Log: the segments of the spool, as their only writer sees them.
//!
//! The log appends a batch of frames to the active segment and syncs it as one. When the active
//! segment is long enough, the log begins a new one. It removes a segment whose blocks are all
//! done. After a failed write or sync, the bytes after the last sync are unknown. The log then
//! abandons the segment, and the committer writes everything after that point again to another one.
//!
//! ```text
//! segment   a file, and the blocks in it
//! batch     frames that are written and synced together
//! mark      records that rows are done, or that a block has moved
//! ```

mod batch;
mod mark;
mod segment;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

use uuid::Uuid;

pub(crate) use crate::spool::log::{
    batch::{Admits, Batch},
    mark::Mark,
    segment::{SegmentUse, StagedSegment},
};
use crate::{
    block::{frame_format::FrameFormat, random},
    idempotency::KeyIndex,
    spool::{
        disk::{Disk, Segment},
        frame::{self, Kind, SEGMENT_HEADER},
        links::SegmentLinks,
    },
};

/// The size limits of the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    /// The log begins a new segment when the active one has this length.
    pub(crate) segment_bytes: u64,
    /// All segments together are at most this long plus one frame, except for frames that free
    /// space, see [`Admits`].
    pub(crate) max_bytes: u64,
}

/// The segments.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    limits: LogLimits,
    segments: BTreeMap<u64, SegmentUse>,
    /// Marks that the log still has to write. A block without its mark comes back at the next
    /// start, which may be so late that ClickHouse has forgotten its token.
    unmarked: Vec<Mark>,
    active: Option<Active>,
    /// The last segment that this log has begun; after a start, the first one that was found.
    begun: Option<u64>,
    next_segment: u64,
    /// The idempotency keys, whose index outlives the segments.
    pub(super) keys: Arc<KeyIndex>,
    /// The second names of the segments, for each consumer of the rows beside ClickHouse.
    links: Vec<Arc<SegmentLinks>>,
}

#[derive(Debug)]
struct Active {
    segment: u64,
    file: Box<dyn Segment>,
    /// Marks after the last sync. A failure of the next sync cuts them off.
    unsynced_marks: Vec<Mark>,
}

/// A batch of this length is full, so that no client waits too long.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// The buffer capacity that the log keeps after an unusually large batch.
const KEPT_CAPACITY: usize = 1 << 20;

impl Log {
    /// Returns the log of the segments that recovery has found.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        limits: LogLimits,
        segments: BTreeMap<u64, SegmentUse>,
        unmarked: Vec<Mark>,
        keys: Arc<KeyIndex>,
    ) -> Self {
        let next_segment = segments.last_key_value().map_or(1, |(last, _)| last + 1);
        // Received segments may follow the last one of the process before, or come before this
        // process begins one.
        let begun = segments.first_key_value().map(|(first, _)| *first);
        Self {
            disk,
            limits,
            segments,
            unmarked,
            active: None,
            begun,
            next_segment,
            keys,
            links: Vec::new(),
        }
    }

    /// Gives each segment that is begun from now on a second name for each consumer.
    pub(crate) fn set_links(&mut self, links: Vec<Arc<SegmentLinks>>) {
        self.links = links;
    }

    /// Returns the total length of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments
            .values()
            .map(|segment| segment.length + segment.uncut)
            .sum()
    }

    /// Returns the active segment's number, and whether it is full.
    pub(crate) fn active(&self) -> Option<(u64, bool)> {
        let active = self.active.as_ref()?;
        let length = self.segments.get(&active.segment).map_or(0, |segment| segment.length);
        Some((active.segment, length >= self.limits.segment_bytes))
    }

    /// Begins a batch in the active segment, and creates a segment if none is active. The batch
    /// collects its bytes in `buffer`.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn begin(&mut self, mut buffer: Vec<u8>) -> io::Result<Batch> {
        let space = |bound: u64| bound.saturating_sub(self.bytes());
        let LogLimits {
            max_bytes,
            segment_bytes,
        } = self.limits;
        let (space, admits) = match (space(max_bytes), space(max_bytes.saturating_add(segment_bytes))) {
            (0, 0) => (segment_bytes, Admits::DeadLetters),
            (0, reserve) => (reserve, Admits::MovesAndDeadLetters),
            (space, _) => (space, Admits::All),
        };
        let begun_before = self.begun;
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
            max_bytes: usize::try_from(space).map_or(MAX_BATCH_BYTES, |space| space.min(MAX_BATCH_BYTES)),
            admits,
        };
        if let Some((last, _)) = self.segments.range(..segment).next_back()
            && is_new
        {
            // Received segments may have come between the one that was active and this one. Only
            // these frames show that a segment lacks its end.
            let first = begun_before.map_or(*last, |begun| begun.min(*last));
            for (before, state) in self.segments.range(first..segment) {
                batch.put(Kind::Synced, Uuid::nil(), 0..0, |out| {
                    frame::put_synced(out, *before, state.known_synced());
                });
            }
            // They do not count toward the batch's length: a batch that they filled would
            // accept no rows, and another such batch would follow.
            batch.max_bytes += batch.len();
        }
        Ok(batch)
    }

    fn make_segment(&mut self) -> io::Result<u64> {
        let segment = self.next_segment;
        self.next_segment += 1;
        let format = FrameFormat::new(random::salt());
        for links in &self.links {
            links.begin(segment, format);
        }
        let file = self.create(segment, format).inspect_err(|error| {
            for links in &self.links {
                links.not_begun();
                links.write_failed(error);
            }
        })?;
        for links in &self.links {
            links.link_active();
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
            unsynced_marks: Vec::new(),
        });
        self.begun = Some(segment);
        Ok(segment)
    }

    fn create(&self, segment: u64, format: FrameFormat) -> io::Result<Box<dyn Segment>> {
        let mut file = self.disk.create(segment)?;
        // Synced separately: without its header, the rest of a segment is unreadable.
        if let Err(error) = file.append(&frame::segment_header(format)).and_then(|()| file.sync()) {
            // Recovery would report the remains as torn.
            _ = self.disk.remove(segment);
            return Err(error);
        }
        Ok(file)
    }

    /// Makes a staged file a segment, and returns its number.
    ///
    /// # Errors
    /// The disk's. The file is then no segment.
    pub(crate) fn add_segment(&mut self, staged: u64, state: SegmentUse) -> io::Result<u64> {
        let segment = self.next_segment;
        self.next_segment += 1;
        if let Err(error) = self.disk.promote(staged, segment) {
            // Whichever name the file has now.
            _ = self.disk.discard(staged);
            if error.kind() != io::ErrorKind::AlreadyExists {
                _ = self.disk.remove(segment);
            }
            return Err(error);
        }
        self.segments.insert(segment, state);
        Ok(segment)
    }

    /// Removes a staged file that is to be no segment.
    pub(crate) fn discard(&self, staged: u64) {
        // The next start removes what stays.
        _ = self.disk.discard(staged);
    }

    /// Writes a batch and returns once it survives a loss of power. Also returns the buffer.
    ///
    /// # Errors
    /// The disk's. Everything in the segment that was not synced before then counts as not written,
    /// and the segment is no longer active.
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
            active.unsynced_marks.clear();
        }
        let Some(state) = self.segments.get_mut(&batch.segment) else {
            return Err((io::ErrorKind::NotFound.into(), batch.bytes));
        };
        match written {
            Ok(()) => {
                state.length = batch.at + batch.bytes.len() as u64;
                state.synced = state.length;
                for links in &self.links {
                    links.synced(state.length);
                }
                Ok(batch.bytes)
            }
            Err(error) => {
                for links in &self.links {
                    links.write_failed(&error);
                }
                self.abandon_active(batch.bytes.len() as u64);
                Err((error, batch.bytes))
            }
        }
    }

    /// Abandons the active segment after a failure to write at most `written` bytes.
    fn abandon_active(&mut self, written: u64) {
        let Some(mut active) = self.active.take() else { return };
        for links in &self.links {
            links.ended();
        }
        self.unmarked.append(&mut active.unsynced_marks);
        let Some(state) = self.segments.get_mut(&active.segment) else {
            return;
        };
        // If this fails too, recovery finds the remaining bytes as a torn write.
        state.uncut = match active.file.truncate(state.synced) {
            Ok(()) => 0,
            Err(_) => state.length - state.synced + written,
        };
        state.length = state.synced;
        self.drop_deleted();
        self.remove_if_done(active.segment);
    }

    /// Forgets segments whose files were deleted from outside, and with them the marks for them.
    fn drop_deleted(&mut self) {
        let left = match self.disk.segments() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(_) => return,
            Ok(segments) => segments,
        };
        // The keys of deleted segments are still in memory.
        _ = self.keys.save();
        self.segments.retain(|number, _| left.contains(number));
    }

    /// Returns whether the log has a segment.
    pub(crate) fn has(&self, segment: u64) -> bool {
        self.segments.contains_key(&segment)
    }

    /// Ends the active segment if it is full and all of its blocks are done. Without space for a
    /// batch, only this function removes it.
    pub(crate) fn rotate_if_done(&mut self) {
        let is_done = |segment: u64| self.segments.get(&segment).is_some_and(|state| state.live.is_empty());
        if self
            .active()
            .is_some_and(|(segment, is_full)| is_full && is_done(segment))
        {
            self.rotate();
        }
    }

    /// Ends the active segment; the next batch begins a new one.
    pub(crate) fn rotate(&mut self) {
        if let Some(active) = self.active.take() {
            for links in &self.links {
                links.ended();
            }
            self.remove_if_done(active.segment);
        }
    }

    /// Records that a block has `bytes` more in a segment.
    pub(crate) fn keep(&mut self, segment: u64, block: Uuid, bytes: u64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            *segment.live.entry(block).or_default() += bytes;
        }
    }

    /// Returns the segments that are worth compacting, each with its blocks. The segment that
    /// wastes the most comes first.
    pub(crate) fn compaction_candidates(&self) -> impl Iterator<Item = (u64, Vec<Uuid>)> {
        let active = self.active().map(|(segment, _)| segment);
        let is_full = self.bytes() >= self.limits.max_bytes / 2;
        let mut candidates: Vec<_> = self
            .segments
            .iter()
            .filter(|(number, _)| is_full && Some(**number) != active)
            .map(|(number, segment)| (segment.length.saturating_sub(segment.live_bytes()), *number, segment))
            .filter(|(wasted, _, segment)| wasted * 4 > segment.length)
            .collect();
        candidates.sort_unstable_by_key(|(wasted, number, _)| std::cmp::Reverse((*wasted, *number)));
        candidates
            .into_iter()
            .map(|(_, number, segment)| (number, segment.live.keys().copied().collect()))
    }

    /// Returns the segments that have a block, except `except`.
    fn segments_of(&self, block: Uuid, except: Option<u64>) -> Vec<u64> {
        self.segments
            .iter()
            .filter(|(number, segment)| Some(**number) != except && segment.live.contains_key(&block))
            .map(|(number, _)| *number)
            .collect()
    }

    /// Removes a block from a segment. Returns whether the block was the last one and the
    /// log has removed the segment.
    fn forget(&mut self, segment: u64, block: Uuid) -> bool {
        if let Some(state) = self.segments.get_mut(&segment) {
            state.live.remove(&block);
        }
        self.remove_if_done(segment)
    }

    /// Removes a segment that is no longer needed. Returns whether the log has removed it.
    fn remove_if_done(&mut self, segment: u64) -> bool {
        let is_active = self.active.as_ref().is_some_and(|active| active.segment == segment);
        let is_done = self
            .segments
            .get(&segment)
            .is_some_and(|segment| segment.live.is_empty());
        let is_needed = self.unmarked.iter().any(|mark| mark.depends_on == Some(segment));
        if is_active || !is_done || is_needed {
            return false;
        }
        if let Err(error) = self.keys.save() {
            tracing::warn!(segment, %error, "a finished segment stays: its idempotency keys could not be written elsewhere");
            return false;
        }
        match self.disk.remove(segment) {
            Ok(()) => {
                self.segments.remove(&segment);
                true
            }
            Err(error) => {
                tracing::warn!(segment, %error, "a finished segment could not be removed");
                false
            }
        }
    }

    /// Removes every segment that is no longer needed, including the active one.
    pub(crate) fn remove_finished(&mut self) {
        self.active = None;
        for links in &self.links {
            links.ended();
        }
        let all: Vec<_> = self.segments.keys().copied().collect();
        for segment in all {
            self.remove_if_done(segment);
        }
    }
}
