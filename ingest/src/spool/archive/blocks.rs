//! Finds the blocks of linked segments, each once and with all its rows.
//!
//! A block is found when it is sealed, whatever ClickHouse does with its rows. A block that the spool
//! has moved to another segment has a copy in two links; the caller says which blocks it knows. A
//! block without its end in a link goes on in a later one, because a write has failed, or the process
//! was killed. Then the rows of the best copy count, as for the spool's own recovery.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    block::{frame_format::FrameFormat, layout::InsertTarget, sealed::SealedBlock},
    spool::{
        frame::{self, Frame, Kind, SEGMENT_HEADER},
        links::{ArchiveLinks, LinkName, format_of},
        recover::copy::{BlockCopy, assemble, best_of, sound},
        scan::scan,
    },
};

/// The bytes that are read at once.
const CHUNK_BYTES: u64 = 8 << 20;

/// A block that is to be archived.
#[derive(Debug)]
pub(crate) struct ArchiveBlock {
    pub(crate) link: LinkName,
    pub(crate) block: SealedBlock,
}

/// The links, and how far each has been read.
#[derive(Debug)]
pub(crate) struct LinkedBlocks {
    pub(crate) links: Arc<ArchiveLinks>,
    files: BTreeMap<LinkName, LinkState>,
    /// The links of an earlier process. Their blocks without an end get none any more.
    old: BTreeSet<LinkName>,
    /// Blocks without their end in links that were read to their end.
    unsealed: HashMap<Uuid, Vec<(LinkName, BlockCopy)>>,
    layouts: HashSet<Arc<InsertTarget>>,
}

/// A link's reading.
#[derive(Debug)]
struct LinkState {
    format: FrameFormat,
    /// Everything before this offset has been read.
    offset: u64,
    /// The blocks whose end has not been read.
    copies: HashMap<Uuid, BlockCopy>,
    /// Whether the link was read to its end, and gets no more rows.
    is_read: bool,
}

impl LinkedBlocks {
    /// Returns the blocks of the links. `is_archived`: links whose blocks are archived, all of them.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn new(links: Arc<ArchiveLinks>, is_archived: impl Fn(LinkName) -> bool) -> io::Result<Self> {
        links.link_missing(is_archived)?;
        Ok(Self {
            old: links.names()?.into_iter().collect(),
            links,
            files: BTreeMap::new(),
            unsealed: HashMap::new(),
            layouts: HashSet::new(),
        })
    }

    /// Returns blocks that were not returned before, about `most` of them. `is_known` tells the blocks
    /// that are archived, or belong to another collector.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn next(&mut self, most: usize, is_known: impl Fn(Uuid) -> bool) -> io::Result<Vec<ArchiveBlock>> {
        let mut found = Vec::new();
        for name in self.links.names()? {
            if found.len() >= most {
                return Ok(found);
            }
            if let Err(error) = self.read(name, &is_known, &mut found)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        self.resolve(&is_known, &mut found);
        Ok(found)
    }

    /// Returns whether a link was read to its end, and no block waits for another copy.
    pub(crate) fn is_read(&self, name: LinkName) -> bool {
        let is_read = self.files.get(&name).is_some_and(|state| state.is_read);
        is_read && !self.unsealed.values().flatten().any(|(link, _)| *link == name)
    }

    /// Removes a link.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn remove(&mut self, name: LinkName) -> io::Result<()> {
        self.links.remove(name)?;
        self.files.remove(&name);
        self.old.remove(&name);
        self.unsealed.retain(|_, copies| {
            copies.retain(|(link, _)| *link != name);
            !copies.is_empty()
        });
        Ok(())
    }

    /// Reads what a link has more, and adds the blocks that are complete now.
    fn read(
        &mut self,
        name: LinkName,
        is_known: &impl Fn(Uuid) -> bool,
        found: &mut Vec<ArchiveBlock>,
    ) -> io::Result<()> {
        let path = self.links.path(name);
        let state = match self.files.get_mut(&name) {
            Some(state) if state.is_read => return Ok(()),
            Some(state) => state,
            None => {
                let Some(format) = format_of(&path)? else { return Ok(()) };
                self.files.entry(name).or_insert(LinkState {
                    format,
                    offset: SEGMENT_HEADER as u64,
                    copies: HashMap::new(),
                    is_read: false,
                })
            }
        };
        let (is_active, readable) = self.links.readable(name);
        let end = match readable {
            Some(length) => length,
            None => fs::metadata(&path)?.len(),
        };
        let mut file = File::open(&path)?;
        let mut sealed = Vec::new();
        while state.offset < end {
            let before = state.offset;
            for most in [CHUNK_BYTES, u64::MAX] {
                let bytes = read_from(&mut file, state.offset, (end - state.offset).min(most))?;
                let mut at = 0;
                while let Some(frame) = frame::read(&bytes[at..], state.format, state.offset) {
                    at += frame.length;
                    state.offset += frame.length as u64;
                    state.add(&frame, &mut sealed);
                }
                if state.offset > before {
                    break;
                }
            }
            if state.offset == before {
                state.skip_damage(&mut file, end, &mut sealed)?;
            }
        }
        for (id, copy) in sealed {
            self.unsealed.remove(&id);
            let is_new = !is_known(id) && !found.iter().any(|other: &ArchiveBlock| other.block.id == id);
            let block = is_new.then(|| assemble(Some(state.format), id, 0, copy, &[], &mut self.layouts));
            found.extend(block.flatten().map(|block| ArchiveBlock { link: name, block }));
        }
        if !is_active {
            state.is_read = true;
            for (id, copy) in state.copies.drain().filter(|(_, copy)| copy.layout().is_some()) {
                if !is_known(id) {
                    self.unsealed.entry(id).or_default().push((name, copy));
                }
            }
        }
        Ok(())
    }

    /// Adds the blocks of an earlier process that will get no end.
    fn resolve(&mut self, is_known: &impl Fn(Uuid) -> bool, found: &mut Vec<ArchiveBlock>) {
        let is_all_read = |name: &LinkName| self.files.get(name).is_some_and(|state| state.is_read);
        if !self.old.iter().all(is_all_read) {
            return;
        }
        let old = &self.old;
        let is_over = |copies: &Vec<(LinkName, BlockCopy)>| copies.iter().all(|(name, _)| old.contains(name));
        let over = self.unsealed.extract_if(|_, copies| is_over(copies));
        for (id, copies) in over.collect::<Vec<_>>() {
            if is_known(id) {
                continue;
            }
            let names: Vec<_> = copies.iter().map(|(name, _)| *name).collect();
            // The index stands for the segment.
            let copies = copies.into_iter().enumerate();
            let copies = sound(copies.map(|(at, (_, copy))| (at as u64, copy)).collect());
            let Some((at, copy, _)) = best_of(copies) else { continue };
            let Some(link) = usize::try_from(at).ok().and_then(|at| names.get(at)).copied() else {
                continue;
            };
            let Some(state) = self.files.get(&link) else { continue };
            // Rows of a request that a torn write has cut are not stored either.
            let cut = copy.incomplete_rows();
            let block = assemble(Some(state.format), id, 0, copy, &cut, &mut self.layouts);
            found.extend(block.map(|block| ArchiveBlock { link, block }));
        }
    }
}

impl LinkState {
    fn add(&mut self, frame: &Frame<'_>, sealed: &mut Vec<(Uuid, BlockCopy)>) {
        let id = frame.header.block;
        match frame.header.kind {
            Kind::Synced | Kind::Moved | Kind::Done | Kind::Split => return,
            Kind::Open | Kind::Rows | Kind::KeyedRows | Kind::Seal => {}
        }
        let copy = self.copies.entry(id).or_default();
        copy.add(frame);
        if frame.header.kind == Kind::Seal {
            sealed.extend(self.copies.remove(&id).map(|copy| (id, copy)));
        }
    }

    /// Continues after bytes that are no frame. Nothing else is lost with them.
    fn skip_damage(&mut self, file: &mut File, end: u64, sealed: &mut Vec<(Uuid, BlockCopy)>) -> io::Result<()> {
        let bytes = read_from(file, 0, end)?;
        let found = scan(&bytes, self.format, end);
        let offset = self.offset;
        for frame in found.frames.iter().filter(|frame| frame.offset >= offset) {
            self.add(frame, sealed);
        }
        let lost = end.saturating_sub(self.offset);
        tracing::warn!(
            bytes = lost,
            "the archive skips bytes of a segment that fail their checksums"
        );
        self.offset = end;
        Ok(())
    }
}

fn read_from(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
