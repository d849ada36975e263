//! Commit: one thread writes what is new in all queues to disk, with one `fdatasync` for all of it.
//!
//! A round collects what was appended since the last round as one batch, writes and syncs it, and
//! wakes the tasks that wait for it. Rounds follow one another while a task waits for the disk;
//! rows that no task waits for are collected for a moment first. A round that fails wakes the
//! waiting tasks with the failure, and is retried soon; its rows are still in memory.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use uuid::Uuid;

use crate::block::{
    content::BlockRows,
    layout::InsertTarget,
    sealed::{SealedBlock, is_letter},
};
use {
    super::{
        Spool,
        frame::{self, Kind},
        log::{Admits, Batch, Log},
        state::LogState,
    },
    crate::{
        block::{
            frame_format::FrameFormat,
            logged::{FrameAt, Logged},
            parts::RowRange,
        },
        spool::{
            queue::{Queue, TableQueue},
            signal::Urgency,
        },
    },
};

/// The maximum length of the rows in one frame; a single row may be longer.
const MAX_FRAME_BYTES: u32 = 1 << 20;

/// How long the commit thread waits after the disk has failed.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// The frames of one block in a batch.
#[derive(Debug)]
struct Entry {
    lane: usize,
    block: Uuid,
    frames: Vec<FrameAt>,
    /// The number of the block's rows on disk with this batch.
    rows: u32,
    bytes: u64,
    is_sealed: bool,
}

impl Spool {
    /// Writes the log until the spool is stopped.
    pub(super) fn write_until_stopped(&self, mut log: Log) {
        let Some(state) = &self.log else { return };
        // There is only one such thread.
        _ = state.signal.thread.set(thread::current());
        let mut buffer = Vec::new();
        loop {
            if !state.stopped.load(Ordering::SeqCst) {
                state.signal.wait();
            }
            let is_last = state.stopped.load(Ordering::SeqCst);
            state.signal.lower();
            match self.round(state, &mut log, &mut buffer) {
                Ok(Round::More) => state.signal.raise(Urgency::Now),
                Ok(Round::Idle) if is_last => break,
                Ok(Round::Idle) => {}
                Err(_) if is_last => break,
                Err(_) => {
                    thread::sleep(RETRY_WAIT);
                    // The retry cannot rely on an append: while the disk fails, the spool does not
                    // accept rows that ask for it.
                    state.signal.raise(Urgency::Now);
                }
            }
        }
        log.remove_finished();
    }

    /// Writes what is new to disk. On an error, `fail` has woken the waiting tasks.
    pub(super) fn round(&self, state: &LogState, log: &mut Log, buffer: &mut Vec<u8>) -> io::Result<Round> {
        state.note(log);
        log.rotate_if_done();
        self.compact(state, log);
        self.reclaim_memory();
        let is_dirty = self.lanes.iter().any(TableQueue::is_dirty);
        let result = if is_dirty {
            self.write(log, buffer)
        } else {
            Ok(Round::Idle)
        };
        state.bytes.store(log.bytes(), Ordering::Relaxed);
        match &result {
            // A failure is over only once something has been written.
            Ok(_) if !is_dirty => {}
            Ok(_) => {
                if state.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the spool can be written again");
                }
            }
            Err(error) => self.fail(state, error),
        }
        result
    }

    /// Writes one batch.
    fn write(&self, log: &mut Log, buffer: &mut Vec<u8>) -> io::Result<Round> {
        // Blocks end with their segment: seal the open ones in it, and begin no other block there.
        let leaving = log.active().filter(|(_, is_long)| *is_long).map(|(segment, _)| segment);
        if let Some(segment) = leaving {
            self.seal_all_in(segment);
        }
        let mut batch = log.begin(std::mem::take(buffer))?;
        let mut entries = Vec::new();
        let mut is_whole = leaving.is_none();
        for (index, lane) in self.lanes.iter().enumerate() {
            if lane.take_dirty() {
                let mut queue = lane.lock();
                self.keep_halved(&mut queue);
                let is_done = gather(&mut queue, &lane.layout, index, leaving, &mut batch, &mut entries);
                if !is_done || leaving.is_some() {
                    lane.mark_unlogged(self.log.as_ref(), Urgency::Now);
                }
                drop(queue);
                is_whole = is_whole && is_done;
                if batch.is_full() {
                    is_whole = false;
                    break;
                }
            }
        }
        let (segment, format, admits) = (batch.segment, batch.format, batch.admits);
        if batch.len() > 0 {
            match log.commit(batch) {
                Ok(used) => *buffer = used,
                Err((error, used)) => {
                    *buffer = used;
                    self.rewrite_from_start(log, &entries);
                    return Err(error);
                }
            }
        }
        for entry in entries {
            log.keep(segment, entry.block, entry.bytes);
            let is_sealed = entry.is_sealed;
            let block = entry.block;
            let settled = self.publish(entry, segment, format);
            // Rows that were settled before their block was in any segment have no mark yet. One of
            // them may be a row that ClickHouse has refused, which has no other proof once its dead
            // letter is stored.
            for rows in settled {
                log.done(block, rows, false, true);
            }
            if is_sealed {
                log.moved(block, segment);
            }
        }
        if leaving.is_some() {
            log.rotate();
        }
        if admits != Admits::All && !is_whole {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(if is_whole { Round::Idle } else { Round::More })
    }

    /// Keeps blocks in their segment that were divided, or partly done, while they waited to be
    /// moved: only that segment has the marks.
    fn keep_halved(&self, queue: &mut Queue) {
        let is_halved = |block: &&Arc<SealedBlock>| {
            let state = block.state();
            state.logged.is_sealed && !state.parts.is_whole(block.rows)
        };
        for block in queue.unlogged.iter().filter(is_halved).cloned().collect::<Vec<_>>() {
            queue.unlogged.retain(|other| other.id != block.id);
            queue.evict(&block, &self.memory);
        }
    }

    fn seal_all_in(&self, segment: u64) {
        for lane in &self.lanes {
            let mut queue = lane.lock();
            if queue
                .open
                .opened()
                .is_some_and(|opened| opened.logged.segment == Some(segment))
            {
                lane.seal(&mut queue, self.log.as_ref());
            }
        }
    }

    /// Records what is on disk now, and wakes the tasks that wait for it. Returns the rows of a
    /// block that are already settled, if the block is complete on disk.
    fn publish(&self, entry: Entry, segment: u64, format: FrameFormat) -> Vec<RowRange> {
        let lane = &self.lanes[entry.lane];
        let mut queue = lane.lock();
        let add = |logged: &mut Logged| {
            if logged.segment != Some(segment) {
                *logged = Logged {
                    segment: Some(segment),
                    format: Some(format),
                    ..Logged::default()
                };
            }
            logged.frames.extend(entry.frames);
            logged.rows = entry.rows;
            logged.bytes += usize::try_from(entry.bytes).unwrap_or(0);
        };
        let mut settled = Vec::new();
        let open = queue.open.opened_mut().filter(|opened| opened.id == entry.block);
        let progress = if let Some(opened) = open {
            add(&mut opened.logged);
            Arc::clone(&opened.progress)
        } else if let Some(at) = queue.unlogged.iter().position(|block| block.id == entry.block) {
            let block = Arc::clone(&queue.unlogged[at]);
            let (before, bytes) = {
                let mut state = block.state();
                let before = state.logged.is_sealed.then_some(state.logged.bytes);
                add(&mut state.logged);
                state.logged.is_sealed = entry.is_sealed;
                if entry.is_sealed {
                    settled = state.parts.settled(block.rows);
                }
                (before, state.logged.bytes)
            };
            if let Some(before) = before {
                queue.uncount_on_disk(before, self.log.as_ref());
            }
            if entry.is_sealed {
                queue.unlogged.remove(at);
                queue.count_on_disk(bytes, self.log.as_ref());
                // A block that is not next waits on disk.
                let is_next = queue.sealed.front().is_some_and(|first| first.id == block.id);
                if before.is_some() || !is_next || self.under_memory_pressure() {
                    queue.evict(&block, &self.memory);
                }
            }
            Arc::clone(&block.progress)
        } else {
            // The block has been settled in the meantime.
            return settled;
        };
        drop(queue);
        progress.change(|progress| {
            progress.on_disk = progress.on_disk.max(entry.rows);
            progress.is_failing = false;
        });
        if entry.is_sealed {
            lane.changed.notify_one();
        }
        settled
    }

    /// Schedules the blocks of a failed batch to be written again. A block that was begun in the
    /// abandoned segment is written from its first row, since all of a block is in one segment. So
    /// is a block whose segment has been deleted, if the block is in memory.
    fn rewrite_from_start(&self, log: &Log, entries: &[Entry]) {
        let is_gone = |logged: &Logged| logged.segment.is_some_and(|segment| !log.has(segment));
        for lane in &self.lanes {
            let mut queue = lane.lock();
            if queue.open.opened().is_some_and(|opened| is_gone(&opened.logged)) {
                lane.mark_unlogged(self.log.as_ref(), Urgency::Now);
            }
            let gone = queue.sealed.iter().filter(|block| {
                let state = block.state();
                state.content.is_some() && state.logged.is_sealed && is_gone(&state.logged)
            });
            for block in gone.cloned().collect::<Vec<_>>() {
                let logged = std::mem::take(&mut block.state().logged);
                queue.uncount_on_disk(logged.bytes, self.log.as_ref());
                queue.unlogged.retain(|other| other.id != block.id);
                lane.log(&mut queue, block, self.log.as_ref());
            }
        }
        for entry in entries {
            self.lanes[entry.lane].mark_unlogged(self.log.as_ref(), Urgency::Now);
        }
    }

    /// Marks the disk as failing, and wakes all tasks that wait for it.
    fn fail(&self, state: &LogState, error: &io::Error) {
        if !state.is_failing.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "the spool cannot be written: rows stay in memory and are not acknowledged as spooled");
        }
        for lane in &self.lanes {
            let queue = lane.lock();
            let open = queue.open.opened().map(|opened| &opened.progress);
            for progress in open
                .into_iter()
                .chain(queue.unlogged.iter().map(|block| &block.progress))
            {
                progress.change(|progress| progress.is_failing = true);
            }
            drop(queue);
            lane.changed.notify_one();
        }
    }

    /// Schedules a block of a mostly finished segment to be written again, so that the segment can
    /// be removed in the end.
    fn compact(&self, state: &LogState, log: &Log) {
        // A block that waits to move is in memory. While the disk has no space for it, read no
        // other.
        let mut sparse = log.sparse().peekable();
        let is_moving = |lane: &TableQueue| lane.lock().unlogged.iter().any(|block| block.state().logged.is_sealed);
        if sparse.peek().is_none() || self.lanes.iter().any(is_moving) {
            return;
        }
        // A block that cannot move must not keep others from moving.
        let found = sparse.find_map(|(segment, blocks)| {
            self.lanes.iter().find_map(|lane| {
                let queue = lane.lock();
                let block = queue.sealed.iter().find(|block| {
                    let state = block.state();
                    // A divided or damaged block stays with its history.
                    let is_whole = state.parts.is_whole(block.rows) && state.logged.readable() == block.rows as usize;
                    let is_here = state.logged.segment == Some(segment) && blocks.contains(&block.id);
                    is_whole && is_here && !queue.unlogged.iter().any(|other| other.id == block.id)
                });
                block.map(|block| (lane, Arc::clone(block)))
            })
        });
        let Some((lane, block)) = found else { return };
        // Only this thread moves blocks, so the block is still there when it is read.
        let logged = block.state().logged.clone();
        let Some(content) = content_of(state, &block, &logged) else {
            return;
        };
        let mut queue = lane.lock();
        if !queue.sealed.iter().any(|other| other.id == block.id) {
            return;
        }
        queue.restore(&block, content, &self.memory);
        lane.log(&mut queue, block, self.log.as_ref());
    }
}

/// Whether a round has left anything to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Round {
    Idle,
    More,
}

/// Reads a block's rows and their lengths from disk. Returns `None` if they cannot be read;
/// delivery then finds and reports the error.
fn content_of(state: &LogState, block: &SealedBlock, logged: &Logged) -> Option<BlockRows> {
    let mut bytes = Vec::with_capacity(block.bytes);
    let mut ends = Vec::with_capacity(block.rows as usize);
    for at in &logged.frames {
        let frame = state.disk.read_at(logged.segment?, at.offset, at.length).ok()?;
        let frame = frame::read(&frame, logged.format?, at.offset)?;
        let rows = frame::Rows::read(frame.body, at.rows.len() as u32)?;
        let mut end = u32::try_from(bytes.len()).ok()?;
        for length in rows.lengths() {
            end += length;
            ends.push(end);
        }
        bytes.extend_from_slice(rows.slice(0..at.rows.len() as u32));
    }
    Some(BlockRows {
        bytes: bytes.into(),
        ends: ends.into(),
    })
}

/// Adds what is new in a queue to the batch; returns whether that was all. While the log is leaving
/// a segment, blocks outside it wait for the next one.
fn gather(
    queue: &mut Queue,
    layout: &InsertTarget,
    lane: usize,
    leaving: Option<u64>,
    batch: &mut Batch,
    entries: &mut Vec<Entry>,
) -> bool {
    let mut is_all = true;
    for block in &queue.unlogged {
        let is_admitted = is_letter(block.id)
            || match batch.admits {
                Admits::All => true,
                Admits::MovesAndLetters => block.progress.look(|progress| progress.on_disk >= block.rows),
                Admits::Letters => false,
            };
        if !is_admitted {
            is_all = false;
            continue;
        }
        let state = block.state();
        if leaving.is_some_and(|leaving| state.logged.segment != Some(leaving) || state.logged.is_sealed) {
            continue;
        }
        let Some(content) = &state.content else { continue };
        // A sealed block that is complete on disk is here to move to this segment.
        let anew = Logged::default();
        let logged = match &state.logged {
            logged if logged.is_sealed || !logged.is_in(batch.segment) => &anew,
            logged => logged,
        };
        let mut source = Source {
            layout: &block.layout,
            lane,
            block: block.id,
            bytes: &content.bytes,
            ends: &content.ends,
        };
        if !source.put(logged, true, batch, entries) {
            return false;
        }
    }
    if let (Some(opened), None) = (queue.open.opened(), leaving) {
        let (bytes, ends) = queue.open.content();
        let mut source = Source {
            layout,
            lane,
            block: opened.id,
            bytes,
            ends,
        };
        let anew = Logged::default();
        let logged = match &opened.logged {
            logged if logged.is_in(batch.segment) => logged,
            _ => &anew,
        };
        if batch.admits != Admits::All && logged.rows as usize != ends.len() {
            return false;
        }
        return source.put(logged, false, batch, entries) && is_all;
    }
    is_all
}

/// A block whose rows go into a batch.
struct Source<'a> {
    layout: &'a InsertTarget,
    lane: usize,
    block: Uuid,
    bytes: &'a [u8],
    ends: &'a [u32],
}

impl Source<'_> {
    /// Adds the rows that are not logged to the batch, as far as it takes them. Returns whether it
    /// took all.
    fn put(&mut self, logged: &Logged, is_sealed: bool, batch: &mut Batch, entries: &mut Vec<Entry>) -> bool {
        let rows = self.ends.len() as u32;
        if logged.rows == rows && !is_sealed {
            return true;
        }
        // A block begins with at least one frame of rows: if its open frame filled the batch,
        // another such batch would follow.
        if batch.is_full() {
            return false;
        }
        let before = batch.len();
        let (layout, block) = (self.layout, self.block);
        let open = |batch: &mut Batch| {
            batch.put(Kind::Open, block, 0..0, |out| {
                frame::put_layout(out, layout);
            })
        };
        if logged.rows == 0 {
            open(batch);
        }
        let mut entry = Entry {
            lane: self.lane,
            block: self.block,
            frames: Vec::new(),
            rows: logged.rows,
            bytes: 0,
            is_sealed: false,
        };
        while entry.rows < rows && (entry.frames.is_empty() || !batch.is_full()) {
            let range = entry.rows..self.frame_end(entry.rows);
            let (bytes, ends) = (self.bytes, self.ends);
            let frame = batch.put(Kind::Rows, self.block, range.clone(), |out| {
                frame::put_rows(out, bytes, ends, &range)
            });
            entry.frames.push(frame);
            entry.rows = range.end;
        }
        if logged.rows == 0 {
            // A second copy, away from the first one: without an open frame, the rows are
            // worthless.
            open(batch);
        }
        let is_all = entry.rows == rows;
        if is_all && is_sealed {
            batch.put(Kind::Seal, self.block, 0..rows, |_| {});
            entry.is_sealed = true;
        }
        entry.bytes = (batch.len() - before) as u64;
        entries.push(entry);
        is_all
    }

    /// Returns the end of the frame that begins with row `first`.
    fn frame_end(&self, first: u32) -> u32 {
        let start = if first == 0 { 0 } else { self.ends[first as usize - 1] };
        let fitting = self.ends[first as usize..].partition_point(|&end| end - start <= MAX_FRAME_BYTES);
        first + fitting.max(1) as u32
    }
}
