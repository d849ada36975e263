//! Commit: one thread writes the new rows of all queues to disk, with one `fdatasync` for all.
//!
//! The committer collects the rows since the last commit as one batch, writes and syncs it, and
//! wakes the tasks that wait for it. Commits follow one another while a task waits for the disk.
//! Otherwise the committer collects rows for a moment first. A commit that fails wakes the waiting
//! tasks with the failure, and the committer retries it soon; its rows are still in memory.
//!
//! ```text
//! collect   adds the new rows of a queue to a batch
//! publish   records the outcome of a batch in the queues, and wakes the waiting tasks
//! receive   takes blocks of another collector
//! compact   moves the last blocks of a segment to another one
//! ```

mod collect;
mod compact;
mod publish;
mod receive;

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use crate::{
    block::sealed::SealedBlock,
    idempotency::now_s,
    spool::{
        commit::{
            collect::collect_rows,
            compact::{compact, keep_divided},
            publish::{fail, publish, rewrite_from_start},
            receive::receive,
        },
        log::{Admits, Log},
        queue::TableQueue,
        reclaim::reclaim_memory,
        shared::Shared,
        signal::Urgency,
        state::{LogState, Op},
    },
};

/// The wait of the committer after the disk has failed.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// Whether a commit has left rows to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remaining {
    Nothing,
    More,
}

/// The only writer of the log.
#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    state: Arc<LogState>,
    pub(super) log: Log,
    /// Collects the bytes of a batch; kept for the next one.
    buffer: Vec<u8>,
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>, state: Arc<LogState>, log: Log) -> Self {
        Self {
            shared,
            state,
            log,
            buffer: Vec::new(),
        }
    }

    /// Writes the log until the spool is stopped.
    pub(super) fn run(mut self) {
        let state = Arc::clone(&self.state);
        // Only one thread runs the committer.
        _ = state.signal.thread.set(thread::current());
        loop {
            if !state.is_stopped() {
                state.signal.wait();
            }
            let is_last = state.is_stopped();
            state.signal.reset();
            match self.commit_once() {
                Ok(Remaining::More) => state.signal.raise(Urgency::Now),
                Ok(Remaining::Nothing) if is_last => break,
                Ok(Remaining::Nothing) => {}
                Err(_) if is_last => break,
                Err(_) => {
                    thread::sleep(RETRY_WAIT);
                    // The retry cannot rely on an append: while the disk fails, the spool does not
                    // accept rows that require it.
                    state.signal.raise(Urgency::Now);
                }
            }
        }
        self.log.remove_finished();
    }

    /// Writes new rows to disk. An error wakes the waiting tasks.
    pub(super) fn commit_once(&mut self) -> io::Result<Remaining> {
        self.apply_ops();
        self.log.rotate_if_done();
        compact(&self.shared, &self.state, &self.log);
        reclaim_memory(&self.shared);
        let is_dirty = self.shared.queues().any(TableQueue::is_dirty);
        let result = if is_dirty { self.write() } else { Ok(Remaining::Nothing) };
        self.state.bytes.store(self.log.bytes(), Ordering::Relaxed);
        match &result {
            // A failure is over only once something has been written.
            Ok(_) if !is_dirty => {}
            Ok(_) => {
                if self.state.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the spool can be written again");
                }
            }
            Err(error) => fail(&self.shared, &self.state, error),
        }
        result
    }

    /// Applies the scheduled operations to the log, after retrying the marks that failed.
    fn apply_ops(&mut self) {
        self.log.mark_again();
        for op in self.state.take_ops() {
            match op {
                Op::Done {
                    block,
                    rows,
                    is_all,
                    durable,
                } => self.log.done(block, rows, is_all, durable),
                Op::Cut { block, row, reply } => {
                    // Even if the caller no longer waits for the reply, the block is divided.
                    _ = reply.send(self.cut(&block, row));
                }
                Op::SendTo { block, server, reply } => {
                    _ = reply.send(self.send_to(&block, server));
                }
                Op::HandedOver(block) => self.log.handed_over(block),
                Op::Receive { staged, reply } => {
                    // Even if nobody waits for the reply, this collector has the blocks.
                    _ = reply.send(receive(&self.shared, &mut self.log, *staged));
                }
            }
        }
    }

    /// Divides a block at `row`, on disk and in memory. Only the committer does so: it also moves
    /// blocks from one segment to another, and knows where a block is now.
    ///
    /// # Errors
    /// The disk's. The block is then not divided.
    pub(super) fn cut(&mut self, block: &SealedBlock, row: u32) -> io::Result<()> {
        let logged = block.state().logged.clone();
        let segment = logged.segment.filter(|_| logged.is_sealed);
        // The frame names rows with the cut in their middle.
        let rows = row.saturating_sub(1)..row + 1;
        self.log
            .split(segment.ok_or(io::ErrorKind::NotFound)?, block.id, rows)?;
        block.state().parts.cut(row);
        Ok(())
    }

    /// Records the server of a block, on disk and in memory, as [`cut`](Self::cut) does.
    ///
    /// # Errors
    /// The disk's. The block then has the server that it had before.
    fn send_to(&mut self, block: &SealedBlock, server: Arc<str>) -> io::Result<()> {
        let logged = block.state().logged.clone();
        let segment = logged.segment.filter(|_| logged.is_sealed);
        self.log
            .send_to(segment.ok_or(io::ErrorKind::NotFound)?, block.id, block.rows, &server)?;
        block.state().sent_to = Some(server);
        Ok(())
    }

    /// Writes one batch.
    fn write(&mut self) -> io::Result<Remaining> {
        // Blocks end with their segment: seal the open ones in it, and begin no other block there.
        let active = self.log.active();
        let leaving = active.filter(|(_, is_full)| *is_full).map(|(segment, _)| segment);
        if let Some(segment) = leaving {
            self.seal_all_in(segment);
        }
        let mut batch = self.log.begin(std::mem::take(&mut self.buffer))?;
        let mut entries = Vec::new();
        let mut is_whole = leaving.is_none();
        for table in self.shared.tables() {
            let queue = self.shared.queue(table);
            if !queue.take_dirty() {
                continue;
            }
            let mut blocks = queue.lock();
            keep_divided(&mut blocks);
            let is_done = collect_rows(&blocks, table, &queue.layout, leaving, &mut batch, &mut entries);
            if !is_done || leaving.is_some() {
                queue.mark_dirty(Urgency::Now);
            }
            drop(blocks);
            is_whole = is_whole && is_done;
            if batch.is_full() {
                is_whole = false;
                break;
            }
        }
        let (segment, format, admits) = (batch.segment, batch.format, batch.admits);
        if batch.len() > 0 {
            match self.log.commit(batch) {
                Ok(used) => self.buffer = used,
                Err((error, used)) => {
                    self.buffer = used;
                    rewrite_from_start(&self.shared, &self.log, &entries);
                    return Err(error);
                }
            }
        }
        for entry in entries {
            self.log.keep(segment, entry.block, entry.bytes);
            let is_sealed = entry.is_sealed;
            let block = entry.block;
            if !entry.keys.is_empty() {
                self.log.keys.logged(&entry.keys, now_s());
            }
            let settled = publish(&self.shared, entry, segment, format);
            // Rows that were settled before their block was in any segment have no mark yet. One of
            // them may be a row that ClickHouse has refused, which has no other proof once its dead
            // letter is stored.
            for rows in settled {
                self.log.done(block, rows, false, true);
            }
            if is_sealed {
                self.log.relocated(block, segment);
            }
        }
        if leaving.is_some() {
            self.log.rotate();
        }
        if admits != Admits::All && !is_whole {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        Ok(if is_whole { Remaining::Nothing } else { Remaining::More })
    }

    fn seal_all_in(&self, segment: u64) {
        for queue in self.shared.queues() {
            let mut blocks = queue.lock();
            let opened = blocks.open.opened();
            if opened.is_some_and(|opened| opened.logged.segment == Some(segment)) {
                blocks.seal();
            }
        }
    }
}
