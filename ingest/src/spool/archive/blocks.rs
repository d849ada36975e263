//! Finds the blocks of linked segments, each once and with all its rows.
//!
//! A block is found when it is sealed, whatever ClickHouse does with its rows. A block that the spool
//! has moved to another segment has a copy in two links; the caller says which blocks it knows. A
//! block without its end in a link goes on in a later one, because a write has failed, or the process
//! was killed. Then the rows of the best copy count, as for the spool's own recovery.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::Path,
    sync::Arc,
};

use uuid::Uuid;

use super::read_failures::{ReadFailures, read_around_damage};
use crate::{
    block::{frame_format::FrameFormat, layout::InsertTarget, sealed::SealedBlock},
    spool::{
        frame::{self, Frame, Kind, SEGMENT_HEADER},
        links::{Consumer, LinkName, SegmentLinks, format_of},
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
    pub(crate) links: Arc<SegmentLinks>,
    files: BTreeMap<LinkName, LinkState>,
    /// The links of which this build cannot read the header. They stay for another build.
    quarantined: HashSet<LinkName>,
    pub(crate) failures: ReadFailures,
    /// The known blocks that were found in links, since the last call of [`take_met`](Self::take_met).
    met: Vec<(LinkName, Uuid)>,
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
    /// If a segment cannot have a link now, a later
    /// [`link_missing`](SegmentLinks::link_missing) gives it one.
    pub(crate) fn new(links: Arc<SegmentLinks>, is_archived: impl Fn(LinkName) -> bool) -> Self {
        if let Err(error) = links.link_missing(is_archived) {
            let consumer = links.consumer();
            tracing::warn!(%error, "segments have no link for {consumer} yet; the links will be retried");
        }
        Self {
            links,
            files: BTreeMap::new(),
            quarantined: HashSet::new(),
            failures: ReadFailures::default(),
            met: Vec::new(),
            unsealed: HashMap::new(),
            layouts: HashSet::new(),
        }
    }

    /// Adds blocks to `found` that were not found before, until it has about `most` of them.
    /// `is_known` tells the blocks that are archived, or belong to another collector.
    ///
    /// # Errors
    /// The file system's. `found` nevertheless has the blocks of the links that can be read.
    pub(crate) fn next(
        &mut self,
        most: usize,
        is_known: impl Fn(Uuid) -> bool,
        found: &mut Vec<ArchiveBlock>,
    ) -> io::Result<()> {
        let names = self.links.names()?;
        let mut result = Ok(());
        for &name in &names {
            if found.len() >= most {
                return result;
            }
            if let Err(error) = self.read(name, &is_known, found)
                && error.kind() != io::ErrorKind::NotFound
            {
                result = result.and(Err(error));
            }
        }
        self.resolve(&names, &is_known, found);
        result
    }

    /// Returns the known blocks that were found in links since the last call.
    pub(crate) fn take_met(&mut self) -> Vec<(LinkName, Uuid)> {
        std::mem::take(&mut self.met)
    }

    /// Returns whether a link was read, as far as this build can read it.
    pub(crate) fn is_over(&self, name: LinkName) -> bool {
        self.quarantined.contains(&name) || self.is_read(name)
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
        self.quarantined.remove(&name);
        self.failures.forget(name);
        self.unsealed.retain(|_, copies| {
            copies.retain(|(link, _)| *link != name);
            !copies.is_empty()
        });
        Ok(())
    }

    /// Reads what a link has more, and adds the blocks that are complete now, also before an error.
    fn read(
        &mut self,
        name: LinkName,
        is_known: &impl Fn(Uuid) -> bool,
        found: &mut Vec<ArchiveBlock>,
    ) -> io::Result<()> {
        if self.quarantined.contains(&name) || self.files.get(&name).is_some_and(|state| state.is_read) {
            return Ok(());
        }
        let path = self.links.path(name);
        if !self.files.contains_key(&name) {
            let Some(format) = self.format(name, &path)? else {
                return Ok(());
            };
            self.files.insert(name, LinkState::new(format));
        }
        let Some(state) = self.files.get_mut(&name) else {
            return Ok(());
        };
        let (is_active, readable) = self.links.readable(name);
        let end = match readable {
            Some(length) => length,
            None => fs::metadata(&path)?.len(),
        };
        let mut sealed = Vec::new();
        let mut read = state.read(&path, end, &mut sealed);
        if let Err(error) = &read
            && self.failures.is_lasting(name, error)
        {
            let damage = File::open(&path).and_then(|mut file| state.skip_damage(&mut file, end, &mut sealed));
            read = damage.map(Some);
        }
        for (id, copy) in sealed {
            self.unsealed.remove(&id);
            if is_known(id) {
                self.met.push((name, id));
                continue;
            }
            if let Some(other) = found.iter().find(|other| other.block.id == id) {
                self.met.extend((other.link != name).then_some((name, id)));
                continue;
            }
            let block = assemble(Some(state.format), id, 0, copy, &[], &mut self.layouts);
            found.extend(block.map(|block| ArchiveBlock { link: name, block }));
        }
        if let Some(damage) = read? {
            let lost = match readable {
                None if damage.unreadable_pages == 0 => damage.before_frames,
                _ => damage.before_frames + damage.at_the_end,
            };
            self.failures.add_lost(lost);
            damage.log(self.links.consumer(), name, lost);
        }
        if !is_active {
            state.is_read = true;
            for (id, copy) in state.copies.drain().filter(|(_, copy)| copy.layout().is_some()) {
                match is_known(id) {
                    true => self.met.push((name, id)),
                    false => self.unsealed.entry(id).or_default().push((name, copy)),
                }
            }
        }
        Ok(())
    }

    /// Returns the format of a link; `None` if it is gone, or if it has no header of this build.
    fn format(&mut self, name: LinkName, path: &Path) -> io::Result<Option<FrameFormat>> {
        let format = match format_of(path) {
            Err(error) if self.failures.is_lasting(name, &error) => None,
            format => format?,
        };
        if format.is_none()
            && let Ok(metadata) = fs::metadata(path)
        {
            self.quarantined.insert(name);
            tracing::error!(
                link = %path.display(), bytes = metadata.len(),
                "{} does not get the rows of a link whose header this build cannot read; it stays on disk",
                self.links.consumer()
            );
        }
        Ok(format)
    }

    /// Adds the blocks of an earlier process that will get no end.
    fn resolve(&mut self, names: &[LinkName], is_known: &impl Fn(Uuid) -> bool, found: &mut Vec<ArchiveBlock>) {
        let links = &self.links;
        let is_read = |name: &LinkName| self.files.get(name).is_some_and(|state| state.is_read);
        let is_settled = |name: &LinkName| links.has_begun(*name) || self.quarantined.contains(name) || is_read(name);
        if self.unsealed.is_empty() || links.lacks_old() || !names.iter().all(is_settled) {
            return;
        }
        let is_over = |copies: &Vec<(LinkName, BlockCopy)>| copies.iter().all(|(name, _)| !links.has_begun(*name));
        let over = self.unsealed.extract_if(|_, copies| is_over(copies));
        for (id, copies) in over.collect::<Vec<_>>() {
            if is_known(id) {
                self.met.extend(copies.iter().map(|(name, _)| (*name, id)));
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

/// What a link lacks because of damage.
#[derive(Debug)]
struct Damage {
    /// The bytes before frames that can be read.
    before_frames: u64,
    /// The bytes after all of them, which may be a write that did not end.
    at_the_end: u64,
    unreadable_pages: usize,
}

impl Damage {
    fn log(&self, consumer: Consumer, name: LinkName, lost: u64) {
        let Self { unreadable_pages, .. } = self;
        match lost {
            0 => tracing::warn!(
                link = %name, bytes = self.at_the_end,
                "{consumer} skips bytes at the end of a segment that fail their checksums"
            ),
            lost => tracing::error!(
                link = %name, bytes = lost, unreadable_pages,
                "rows were damaged on disk before {consumer} had them, and it lacks them"
            ),
        }
    }
}

impl LinkState {
    fn new(format: FrameFormat) -> Self {
        Self {
            format,
            offset: SEGMENT_HEADER as u64,
            copies: HashMap::new(),
            is_read: false,
        }
    }

    /// Reads on until `end`. Returns the damage, if there is any.
    fn read(&mut self, path: &Path, end: u64, sealed: &mut Vec<(Uuid, BlockCopy)>) -> io::Result<Option<Damage>> {
        let mut file = File::open(path)?;
        while self.offset < end {
            let before = self.offset;
            for most in [CHUNK_BYTES, u64::MAX] {
                let bytes = read_from(&mut file, self.offset, (end - self.offset).min(most))?;
                let mut at = 0;
                while let Some(frame) = frame::read(&bytes[at..], self.format, self.offset) {
                    at += frame.length;
                    self.offset += frame.length as u64;
                    self.add(&frame, sealed);
                }
                if self.offset > before {
                    break;
                }
            }
            if self.offset == before {
                return self.skip_damage(&mut file, end, sealed).map(Some);
            }
        }
        Ok(None)
    }

    fn add(&mut self, frame: &Frame<'_>, sealed: &mut Vec<(Uuid, BlockCopy)>) {
        let id = frame.header.block;
        match frame.header.kind {
            Kind::Synced | Kind::Moved | Kind::Done | Kind::Split => return,
            // The block goes to a server.
            Kind::Seal if !frame.body.is_empty() => return,
            Kind::Open | Kind::Rows | Kind::KeyedRows | Kind::Seal => {}
        }
        let copy = self.copies.entry(id).or_default();
        copy.add(frame);
        if frame.header.kind == Kind::Seal {
            sealed.extend(self.copies.remove(&id).map(|copy| (id, copy)));
        }
    }

    /// Continues after bytes that are no frame, or that cannot be read. Nothing else is lost with them.
    fn skip_damage(&mut self, file: &mut File, end: u64, sealed: &mut Vec<(Uuid, BlockCopy)>) -> io::Result<Damage> {
        let (bytes, unreadable_pages) = read_around_damage(file, end)?;
        let found = scan(&bytes, self.format, end);
        let offset = self.offset;
        for frame in found.frames.iter().filter(|frame| frame.offset >= offset) {
            self.add(frame, sealed);
        }
        self.offset = end;
        let gaps = found
            .damage
            .iter()
            .map(|gap| gap.start.max(offset)..gap.end.max(offset));
        let (before, after): (Vec<_>, Vec<_>) = gaps.partition(|gap| gap.end <= found.end);
        let length = |gaps: Vec<Range<u64>>| gaps.iter().map(|gap| gap.end - gap.start).sum();
        Ok(Damage {
            before_frames: length(before),
            at_the_end: length(after),
            unreadable_pages,
        })
    }
}

fn read_from(file: &mut File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}
