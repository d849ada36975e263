//! The blocks that wait for the archive, and the objects that they become.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    format::ArchiveFormat,
    journal::{Journal, Plan},
    object::{self, Description},
    parquet::{ParquetObject, ParquetParts},
    status::Counts,
};
use crate::{
    block::layout::InsertTarget,
    spool::{
        Spool,
        archive::{ArchiveBlock, LinkedBlocks, pack, read_blocks},
        links::{LinkName, SegmentLinks},
    },
};

/// The length of the rows at which an object gets no further block, before the compression.
const OBJECT_BYTES: usize = 32 << 20;

/// The largest number of blocks in memory that wait. Further ones stay in their links unread.
const MAX_BLOCKS: usize = 10_000;

/// The objects of a plan, which are to be uploaded.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    /// The name of the plan's object, without the archive's prefix.
    pub(super) name: String,
    /// The object, and beside one of Parquet that of the rows that it cannot have. Empty if no row of
    /// the blocks can be read.
    pub(super) objects: Vec<Object>,
    /// The number of blocks of the plan that the disk does not have any more.
    pub(super) missing_blocks: usize,
}

/// An object that is to be uploaded.
#[derive(Debug, Clone)]
pub(super) struct Object {
    /// The object's name, without the archive's prefix.
    pub(super) name: String,
    pub(super) bytes: Bytes,
    pub(super) rows: u64,
    /// The reason why Parquet cannot have a row of the object, whose rows are archived as blocks
    /// therefore.
    pub(super) kept: Option<String>,
}

impl Upload {
    /// Returns the number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.objects.iter().map(|object| object.rows).sum()
    }
}

/// The blocks that wait, and the journal of those that do not.
#[derive(Debug)]
pub(super) struct Index {
    journal: Journal,
    blocks: LinkedBlocks,
    groups: Vec<Group>,
    /// The blocks in the groups.
    waiting: HashSet<Uuid>,
    /// The links that have blocks of the groups again, and these blocks.
    met: HashMap<Uuid, Vec<LinkName>>,
    /// For each link that has ended, and whose segment is gone, the links that may have its blocks
    /// again.
    leaving: HashMap<LinkName, Vec<LinkName>>,
    spool: Spool,
    /// The tables whose rows are archived.
    tables: HashSet<String>,
    /// The format of new objects.
    format: ArchiveFormat,
    /// The bytes of rows that the archive will not get, and that are not counted yet.
    lost_bytes: u64,
}

/// The blocks that go into objects together: those with one insert target.
#[derive(Debug)]
struct Group {
    layout: Arc<InsertTarget>,
    blocks: Vec<ArchiveBlock>,
    bytes: usize,
    /// The time at which the oldest of the blocks was found.
    since: Instant,
}

impl Index {
    /// Reads the journal and finds the links.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn open(
        links: Arc<SegmentLinks>,
        spool: Spool,
        tables: HashSet<String>,
        format: ArchiveFormat,
    ) -> io::Result<Self> {
        let journal = Journal::open(links.folder())?;
        let blocks = LinkedBlocks::new(links, |link| journal.has_ended(link));
        Ok(Self {
            journal,
            blocks,
            groups: Vec::new(),
            waiting: HashSet::new(),
            met: HashMap::new(),
            leaving: HashMap::new(),
            spool,
            tables,
            format,
            lost_bytes: 0,
        })
    }

    /// Adds the blocks that are new in the links. Returns whether there were any.
    ///
    /// # Errors
    /// The file system's. The index nevertheless has the blocks of the links that can be read.
    pub(super) fn read(&mut self) -> io::Result<bool> {
        let mut most = MAX_BLOCKS.saturating_sub(self.waiting.len());
        if let Some(plan) = self.journal.plan()
            && !self.is_found(plan)?
        {
            most = MAX_BLOCKS;
        }
        let (journal, waiting, spool) = (&self.journal, &self.waiting, &self.spool);
        let is_known = |id| journal.knows(id) || waiting.contains(&id) || spool.is_received(id);
        let mut found = Vec::new();
        let read = self.blocks.next(most, is_known, &mut found);
        let is_any = !found.is_empty();
        found.into_iter().for_each(|found| self.add(found));
        let met = self.blocks.take_met();
        for (link, id) in met.iter().filter(|(_, id)| self.waiting.contains(id)) {
            self.met.entry(*id).or_default().push(*link);
        }
        self.journal.met(&met)?;
        read?;
        Ok(is_any)
    }

    /// Adds a block to those that wait, if it is one of the archive.
    pub(super) fn add(&mut self, found: ArchiveBlock) {
        let layout = &found.block.layout;
        if !self.tables.contains(&**layout.schema_table()) {
            return;
        }
        let bytes = found.block.bytes;
        if layout.columns.is_empty() {
            self.lost_bytes += bytes as u64;
            tracing::error!(
                table = %layout.table, block = %found.block.id, rows = found.block.rows,
                "rows of an earlier version are not archived: the spool has no names of their columns"
            );
            return;
        }
        self.waiting.insert(found.block.id);
        match self.groups.iter_mut().find(|group| group.layout == *layout) {
            Some(group) => {
                group.bytes += bytes;
                group.blocks.push(found);
            }
            None => self.groups.push(Group {
                layout: Arc::clone(layout),
                bytes,
                since: Instant::now(),
                blocks: vec![found],
            }),
        }
    }

    /// Returns the object that is to be uploaded now: the one of the plan, or one with enough rows or
    /// with a row of this age.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn next_upload(&mut self, age: Duration) -> io::Result<Option<Upload>> {
        if self.journal.plan().is_none() {
            let is_full = self.waiting.len() >= MAX_BLOCKS;
            let due = self.groups.iter_mut().filter(|group| group.is_due(age, is_full));
            // The largest one first frees the most.
            let Some(group) = due.max_by_key(|group| group.bytes) else {
                return Ok(None);
            };
            let plan = group.plan(self.format);
            self.journal.set_plan(plan)?;
        }
        let Some(plan) = self.journal.plan() else {
            return Ok(None);
        };
        // An earlier process may have uploaded the object: this one must not have fewer rows.
        if !self.is_found(plan)? {
            return Ok(None);
        }
        let ids: Vec<_> = plan.blocks.iter().map(|(_, id)| *id).collect();
        let group = self.groups.iter().find(|group| group.has_any(&ids));
        let by_id: HashMap<_, _> = group
            .iter()
            .flat_map(|group| &group.blocks)
            .map(|found| (found.block.id, found))
            .collect();
        let blocks: Vec<_> = ids.iter().filter_map(|id| by_id.get(id).copied()).collect();
        let missing_blocks = ids.len() - blocks.len();
        let name = plan.object.clone();
        let (links, failures) = (&self.blocks.links, &mut self.blocks.failures);
        let objects = match (group, ArchiveFormat::of_object(&name)) {
            (None, _) => Vec::new(),
            (Some(group), Some((ArchiveFormat::Parquet, _))) => {
                let mut object = ParquetObject::new(&group.layout);
                read_blocks(links, &blocks, failures, |block, ranges, rows| {
                    object.add(block, ranges, rows)
                })?;
                parquet_objects(&name, object.finish(&ids)?)
            }
            (Some(group), _) => {
                let (package, rows) = pack(links, &blocks, failures)?;
                let bytes = object::encode(&Description::new(&group.layout, &ids, rows), &package)?;
                let name = name.clone();
                vec![Object {
                    name,
                    bytes: bytes.into(),
                    rows,
                    kept: None,
                }]
            }
        };
        Ok(Some(Upload {
            name,
            objects: objects.into_iter().filter(|object| object.rows > 0).collect(),
            missing_blocks,
        }))
    }

    /// Returns whether the blocks of a plan were found, except those that are lost.
    fn is_found(&self, plan: &Plan) -> io::Result<bool> {
        let links = self.blocks.links.names()?;
        let is_over = |link: &LinkName| !links.contains(link) || self.blocks.is_over(*link);
        let mut blocks = plan.blocks.iter();
        Ok(blocks.all(|(link, id)| self.waiting.contains(id) || is_over(link)))
    }

    /// Records that the store has the object of the plan, and removes the links that are done.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn stored(&mut self) -> io::Result<()> {
        let plan = self.journal.plan().cloned();
        let recorded = self.journal.stored();
        let ids: HashSet<_> = plan.iter().flat_map(|plan| &plan.blocks).map(|(_, id)| *id).collect();
        let met = ids.iter().filter_map(|id| Some((*id, self.met.get(id)?)));
        let met: Vec<_> = met
            .flat_map(|(id, links)| links.iter().map(move |link| (*link, id)))
            .collect();
        self.remove(|found| ids.contains(&found.block.id));
        recorded.and(self.journal.met(&met))?;
        self.remove_links()
    }

    /// Removes the links whose blocks are all archived.
    ///
    /// # Errors
    /// The file system's. Other links are removed nevertheless.
    pub(super) fn remove_links(&mut self) -> io::Result<()> {
        let waiting = self.groups.iter().flat_map(|group| &group.blocks);
        let mut needed: HashSet<_> = waiting.map(|found| found.link).collect();
        let planned = self.journal.plan().into_iter().flat_map(|plan| &plan.blocks);
        needed.extend(planned.map(|(link, _)| *link));
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

    /// Gives up the oldest rows that only the archive still needs, beyond `max_bytes`, and at least one
    /// segment of them if the disk is full. Counts what waits, and what was given up.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn limit(&mut self, max_bytes: u64, counts: &Counts) -> io::Result<()> {
        let (mut pending, mut only, mut own) = (0, 0, Vec::new());
        for name in self.blocks.links.names()? {
            let Ok(metadata) = fs::metadata(self.blocks.links.path(name)) else {
                continue;
            };
            pending += metadata.len();
            if self.blocks.links.is_left(name, &metadata) {
                only += metadata.len();
                // The spool counts its segments from 1 again, so the time tells which are older.
                own.push((metadata.modified()?, name, metadata.len()));
            }
        }
        own.sort_unstable();
        let (mut is_full, mut result) = (self.blocks.links.take_full(), Ok(()));
        for (_, name, bytes) in own {
            let reason = match is_full {
                true => "the disk is full",
                false if only <= max_bytes => break,
                false => "the store has been away for longer than the disk space of the archive lasts",
            };
            is_full = false;
            let rows = self.remove(|found| found.link == name);
            let ended = self.end(name);
            (only, pending) = (only - bytes, pending - bytes);
            self.lost_bytes += bytes;
            tracing::error!(segment = name.segment, bytes, rows, "rows are not archived: {reason}");
            result = result.and(ended);
        }
        let unlinked = self.blocks.links.take_lost_bytes();
        if unlinked > 0 {
            tracing::error!(
                bytes = unlinked,
                "rows are not archived: the spool has removed their segments, whose links had failed"
            );
        }
        let lost = std::mem::take(&mut self.lost_bytes) + unlinked + self.blocks.failures.take_lost_bytes();
        counts.dropped_bytes.fetch_add(lost, Ordering::Relaxed);
        counts.pending_bytes.store(pending, Ordering::Relaxed);
        counts.only_bytes.store(only, Ordering::Relaxed);
        counts.oldest_seconds.store(self.oldest().as_secs(), Ordering::Relaxed);
        result
    }

    /// Removes blocks that wait, and returns the number of their rows.
    fn remove(&mut self, is_removed: impl Fn(&ArchiveBlock) -> bool) -> u64 {
        let mut rows = 0;
        for group in &mut self.groups {
            let before = group.blocks.len();
            for found in group.blocks.extract_if(.., |found| is_removed(found)) {
                rows += u64::from(found.block.rows);
                group.bytes = group.bytes.saturating_sub(found.block.bytes);
                self.waiting.remove(&found.block.id);
                self.met.remove(&found.block.id);
            }
            if group.blocks.len() < before {
                group.since = Instant::now();
            }
        }
        self.groups.retain(|group| !group.blocks.is_empty());
        rows
    }

    /// Returns the age of the oldest block that waits.
    fn oldest(&self) -> Duration {
        let ages = self.groups.iter().map(Group::age);
        ages.max().unwrap_or_default()
    }
}

impl Group {
    fn is_due(&self, age: Duration, is_full: bool) -> bool {
        is_full || self.bytes >= OBJECT_BYTES || self.age() >= age
    }

    /// Returns the age of the oldest block, by the clock that was not set back.
    fn age(&self) -> Duration {
        let oldest = self.blocks.iter().map(|found| found.block.id).min().unwrap_or_default();
        let by_id = SystemTime::now().duration_since(object::opened(oldest));
        by_id.unwrap_or_default().max(self.since.elapsed())
    }

    fn has_any(&self, ids: &[Uuid]) -> bool {
        self.blocks.iter().any(|found| ids.contains(&found.block.id))
    }

    /// Returns the plan of an object with the oldest blocks.
    fn plan(&mut self, format: ArchiveFormat) -> Plan {
        self.blocks.sort_by_key(|found| found.block.id);
        let mut bytes = 0;
        let most = self.blocks.iter().take_while(|found| {
            let is_taken = bytes < OBJECT_BYTES;
            bytes += found.block.bytes;
            is_taken
        });
        let blocks: Vec<_> = most.map(|found| (found.link, found.block.id)).collect();
        let ids: Vec<_> = blocks.iter().map(|(_, id)| *id).collect();
        Plan {
            object: object::name(&self.layout, &ids, format),
            blocks,
        }
    }
}

/// Returns the objects with the parts of an object of Parquet.
fn parquet_objects(name: &str, parts: ParquetParts) -> Vec<Object> {
    let file = Object {
        name: name.to_owned(),
        bytes: parts.file,
        rows: parts.rows,
        kept: None,
    };
    let kept = Object {
        name: object::name_of_kept(name),
        bytes: parts.kept,
        rows: parts.kept_rows,
        kept: parts.reason,
    };
    vec![file, kept]
}
