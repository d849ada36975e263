//! The blocks that wait for their topic, and how far each has been sent.
//!
//! Each table has a queue of blocks, oldest first, without their rows, which stay on disk. A queue that
//! is full leaves further blocks in their links, and finds them there again when it is empty.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    fs, io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use uuid::Uuid;

use super::{
    message::{ReadRows, opened},
    status::Counts,
};
use crate::{
    archive::journal::Journal,
    kafka::client::now,
    spool::{
        Spool,
        archive::{ArchiveBlock, LinkedBlocks, read_rows},
        links::{LinkName, SegmentLinks},
    },
};

/// The largest number of blocks whose rows are read at once.
const READ_BLOCKS: usize = 1_000;

/// The number of blocks at which a search in the links ends.
const SEARCH_BLOCKS: usize = 10_000;

/// The cursor of a block whose rows are all sent.
const END: u32 = u32::MAX;

/// The blocks that wait, and the journal of those that do not.
#[derive(Debug)]
pub(super) struct Backlog {
    journal: Journal,
    blocks: LinkedBlocks,
    /// The queues of the tables that have a topic.
    queues: HashMap<Arc<str>, Queue>,
    /// The blocks in the queues.
    waiting: HashSet<Uuid>,
    /// The links that have blocks of the queues again, and these blocks.
    met: HashMap<Uuid, Vec<LinkName>>,
    /// For each link that has ended, and whose segment is gone, the links that may have its blocks
    /// again.
    leaving: HashMap<LinkName, Vec<LinkName>>,
    spool: Spool,
    /// The largest number of blocks in a queue.
    most: usize,
    /// The bytes of rows that do not reach their topics, and that are not counted yet.
    lost_bytes: u64,
}

/// The blocks of a table.
#[derive(Debug, Default)]
struct Queue {
    blocks: VecDeque<Waiting>,
    /// The links with further blocks, for which the queue had no place.
    left: BTreeSet<LinkName>,
}

/// A block that waits.
#[derive(Debug)]
struct Waiting {
    found: ArchiveBlock,
    /// The first row that has not been sent; [`END`] if there is none.
    next: u32,
}

/// Rows that are to be sent, and the cursors of their blocks afterwards.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: Vec<ReadRows>,
    pub(super) cursors: Vec<(Uuid, u32)>,
}

impl Backlog {
    /// Reads the journal and finds the links. A queue has at most `most` blocks.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn open(
        links: Arc<SegmentLinks>,
        spool: Spool,
        tables: impl Iterator<Item = Arc<str>>,
        most: usize,
    ) -> io::Result<Self> {
        let journal = Journal::open(links.folder())?;
        let blocks = LinkedBlocks::new(links, |link| journal.has_ended(link));
        Ok(Self {
            journal,
            blocks,
            queues: tables.map(|table| (table, Queue::default())).collect(),
            waiting: HashSet::new(),
            met: HashMap::new(),
            leaving: HashMap::new(),
            spool,
            most,
            lost_bytes: 0,
        })
    }

    /// Returns whether no block of a table waits, as far as the links have been read.
    pub(super) fn is_empty(&self, table: &str) -> bool {
        let queue = self.queues.get(table);
        queue.is_none_or(|queue| queue.blocks.is_empty() && queue.left.is_empty())
    }

    /// Adds the blocks that are new in the links to the queues. Returns whether there were any.
    ///
    /// # Errors
    /// The file system's. The queues nevertheless have the blocks of the links that can be read.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let is_hungry = |queue: &Queue| !queue.left.is_empty() && queue.blocks.is_empty();
        if self.queues.values().any(is_hungry) {
            self.read_again();
        }
        let (journal, waiting, spool) = (&self.journal, &self.waiting, &self.spool);
        let is_known = |id| journal.knows(id) || waiting.contains(&id) || spool.is_received(id);
        let mut found = Vec::new();
        let read = self.blocks.next(SEARCH_BLOCKS, is_known, &mut found);
        let is_any = !found.is_empty();
        found.into_iter().for_each(|found| self.add(found));
        let met = self.blocks.take_met();
        for (link, id) in met.iter().filter(|(_, id)| self.waiting.contains(id)) {
            let links = self.met.entry(*id).or_default();
            if !links.contains(link) {
                links.push(*link);
            }
        }
        self.journal.met(&met)?;
        read?;
        Ok(is_any)
    }

    /// Reads all links from their beginning.
    fn read_again(&mut self) {
        self.lost_bytes += self.blocks.failures.take_lost_bytes();
        let (links, journal) = (Arc::clone(&self.blocks.links), &self.journal);
        self.blocks = LinkedBlocks::new(links, |link| journal.has_ended(link));
        self.queues.values_mut().for_each(|queue| queue.left.clear());
    }

    fn add(&mut self, found: ArchiveBlock) {
        let layout = &found.block.layout;
        let Some(queue) = self.queues.get_mut(layout.schema_table()) else {
            return;
        };
        if layout.columns.is_empty() {
            self.lost_bytes += found.block.bytes as u64;
            tracing::error!(
                table = %layout.table, block = %found.block.id, rows = found.block.rows,
                "rows of an earlier version do not reach their topic: the spool has no names of their columns"
            );
            return;
        }
        // Younger blocks wait for the older ones that had no place.
        if queue.blocks.len() >= self.most || !queue.left.is_empty() {
            queue.left.insert(found.link);
            return;
        }
        self.waiting.insert(found.block.id);
        queue.blocks.push_back(Waiting { found, next: 0 });
    }

    /// Reads the next rows of a table, about `most` bytes of them; `None` if none wait.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn take(&mut self, table: &str, most: usize) -> io::Result<Option<Batch>> {
        let Some(queue) = self.queues.get_mut(table) else {
            return Ok(None);
        };
        let mut batch = Batch {
            rows: Vec::new(),
            cursors: Vec::new(),
        };
        let mut bytes = 0;
        for waiting in queue.blocks.iter().take(READ_BLOCKS) {
            if bytes >= most {
                break;
            }
            let block = &waiting.found.block;
            let (end, length) = waiting.frames_within(most - bytes);
            let within = waiting.next..end;
            let (numbers, content) = read_rows(&self.blocks.links, &waiting.found, &within, &mut self.blocks.failures)?;
            batch.rows.push(ReadRows {
                layout: Arc::clone(&block.layout),
                block: block.id,
                numbers,
                content,
            });
            batch.cursors.push((block.id, end));
            bytes += length;
            if end != END {
                break;
            }
        }
        Ok((!batch.cursors.is_empty()).then_some(batch))
    }

    /// Records that the rows of blocks before these cursors are sent, and removes the links that are
    /// done.
    ///
    /// # Errors
    /// The file system's. This process knows the blocks, and the next record contains them.
    pub(super) fn sent(&mut self, table: &str, cursors: &[(Uuid, u32)]) -> io::Result<()> {
        let mut done = Vec::new();
        if let Some(queue) = self.queues.get_mut(table) {
            for (id, next) in cursors {
                // A block may have been given up meanwhile.
                let at = queue.blocks.iter().position(|waiting| waiting.found.block.id == *id);
                match at {
                    Some(at) if *next == END => done.extend(queue.blocks.remove(at)),
                    Some(at) => queue.blocks[at].next = *next,
                    None => {}
                }
            }
        }
        let mut known = Vec::new();
        for waiting in &done {
            let id = waiting.found.block.id;
            self.waiting.remove(&id);
            known.push((waiting.found.link, id));
            let met = self.met.remove(&id).unwrap_or_default();
            known.extend(met.into_iter().map(|link| (link, id)));
        }
        if known.is_empty() {
            return Ok(());
        }
        self.journal.know(&known)?;
        self.remove_links()
    }

    /// Removes the links whose blocks are all sent.
    ///
    /// # Errors
    /// The file system's. Other links are removed nevertheless.
    pub(super) fn remove_links(&mut self) -> io::Result<()> {
        let waiting = self.queues.values().flat_map(|queue| &queue.blocks);
        let mut needed: HashSet<_> = waiting.map(|waiting| waiting.found.link).collect();
        needed.extend(self.queues.values().flat_map(|queue| &queue.left));
        // A process that is started again learns from these links where else a block is.
        needed.extend(self.met.values().flatten());
        let mut result = Ok(());
        for name in self.blocks.links.names()? {
            if self.blocks.is_read(name) && !needed.contains(&name) {
                result = result.and(self.end(name));
            }
        }
        result
    }

    /// Removes a link, and records it afterwards: on a full disk, only the removal makes space for the
    /// record. Without the record, the next process reads the segment again and knows its blocks.
    fn end(&mut self, name: LinkName) -> io::Result<()> {
        self.blocks.remove(name)?;
        self.journal.end(name)
    }

    /// Links segments whose link has failed, and forgets the blocks of links whose segments are gone.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        let journal = &self.journal;
        let segments = self.blocks.links.link_missing(|link| journal.has_ended(link))?;
        let links = self.blocks.links.names()?;
        // A process that ended after it had removed a link did not record that.
        self.journal.end_missing(&links);
        let gone: Vec<_> = self
            .journal
            .ended()
            .filter(|link| !segments.contains(&link.segment))
            .collect();
        for link in gone {
            // The spool has moved its blocks, if at all, to segments that exist now.
            let others = self.leaving.entry(link).or_insert_with(|| links.clone());
            others.retain(|other| links.contains(other));
            if others.is_empty() {
                self.leaving.remove(&link);
                self.journal.forget(link)?;
            }
        }
        Ok(())
    }

    /// Gives up the oldest rows that ClickHouse has, beyond `max_bytes`, and at least one segment of them
    /// if the disk is full. Counts what waits, and what was given up.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn limit(&mut self, max_bytes: u64, counts: &Counts) -> io::Result<()> {
        let (mut pending, mut only, mut left) = (0, 0, Vec::new());
        for name in self.blocks.links.names()? {
            let Ok(metadata) = fs::metadata(self.blocks.links.path(name)) else {
                continue;
            };
            pending += metadata.len();
            if self.blocks.links.is_left(name, &metadata) {
                only += metadata.len();
                // The spool counts its segments from 1 again, so the time tells which are older.
                left.push((metadata.modified()?, name, metadata.len()));
            }
        }
        left.sort_unstable();
        let (mut is_full, mut result) = (self.blocks.links.take_full(), Ok(()));
        for (_, name, bytes) in left {
            let reason = match is_full {
                true => "the disk is full",
                false if only <= max_bytes => break,
                false => "a topic has been away for longer than the disk space of the fan-out lasts",
            };
            is_full = false;
            let rows = self.give_up(name);
            let ended = self.end(name);
            (only, pending) = (only - bytes, pending - bytes);
            self.lost_bytes += bytes;
            tracing::error!(
                segment = name.segment,
                bytes,
                rows,
                "rows do not reach their topics: {reason}"
            );
            result = result.and(ended);
        }
        let unlinked = self.blocks.links.take_lost_bytes();
        if unlinked > 0 {
            tracing::error!(
                bytes = unlinked,
                "rows do not reach their topics: the spool has removed their segments, whose links had failed"
            );
        }
        let lost = std::mem::take(&mut self.lost_bytes) + unlinked + self.blocks.failures.take_lost_bytes();
        counts.dropped_bytes.fetch_add(lost, Ordering::Relaxed);
        counts.pending_bytes.store(pending, Ordering::Relaxed);
        counts.only_bytes.store(only, Ordering::Relaxed);
        for table in &counts.tables {
            table
                .oldest_seconds
                .store(self.oldest(&table.table).as_secs(), Ordering::Relaxed);
        }
        result
    }

    /// Removes the blocks of a link from the queues, and returns the number of their rows.
    fn give_up(&mut self, link: LinkName) -> u64 {
        let mut rows = 0;
        for queue in self.queues.values_mut() {
            queue.left.remove(&link);
            queue.blocks.retain(|waiting| {
                let block = &waiting.found.block;
                let is_kept = waiting.found.link != link;
                if !is_kept {
                    rows += u64::from(block.rows);
                    self.waiting.remove(&block.id);
                    self.met.remove(&block.id);
                }
                is_kept
            });
        }
        rows
    }

    /// Returns the age of the oldest block of a table.
    fn oldest(&self, table: &str) -> Duration {
        let oldest = self.queues.get(table).and_then(|queue| queue.blocks.front());
        let age = oldest.map(|oldest| now() - opened(oldest.found.block.id));
        age.and_then(|age| age.to_std().ok()).unwrap_or_default()
    }
}

impl Waiting {
    /// Returns the end of the rows that frames of about `bytes` have, at least one frame, and the length
    /// of these frames. The end is [`END`] if no frame follows.
    fn frames_within(&self, bytes: usize) -> (u32, usize) {
        let state = self.found.block.state();
        let mut length = 0;
        for frame in state.logged.frames.iter().filter(|frame| frame.rows.end > self.next) {
            if length >= bytes {
                return (frame.rows.start, length);
            }
            length += frame.length;
        }
        (END, length)
    }
}
