//! Links: second names of segments, which keep the rows for a consumer other than ClickHouse after the
//! spool has removed the segment.
//!
//! A segment gets a hard link in the folder of each consumer when it begins, so a consumer costs the
//! committer one link for 64 MiB of rows, and the request nothing. The spool removes its own name as
//! ever, and the consumer removes the link. Each goes on at its own pace.
//!
//! Links have the salt of their segment in their name, because the spool counts its segments from 1
//! again when it was empty at a start.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{
    block::frame_format::FrameFormat,
    private,
    spool::{
        disk::{segment_path, segments_in},
        frame::{SEGMENT_HEADER, SegmentHeader, read_segment_header},
    },
};

/// What reads the rows of a spool beside ClickHouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consumer {
    /// The archive.
    Archive,
    /// The fan-out of rows to Kafka topics.
    FanOut,
}

impl Consumer {
    const ALL: [Self; 2] = [Self::Archive, Self::FanOut];

    /// Returns the folder of the consumer's links, in the spool's folder.
    fn folder(self) -> &'static str {
        match self {
            Self::Archive => "archive",
            Self::FanOut => "topics",
        }
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Archive => "the archive",
            Self::FanOut => "the fan-out",
        })
    }
}

/// The extension of a link's name.
const EXTENSION: &str = "link";

/// A file that gets a second name at each start, to learn whether the file system has links.
const PROBE: &str = "links.probe";

/// The name of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkName {
    pub(crate) segment: u64,
    salt: u32,
}

impl LinkName {
    fn of(segment: u64, format: FrameFormat) -> Self {
        Self {
            segment,
            salt: format.salt.0,
        }
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016}-{:08x}", self.segment, self.salt)
    }
}

impl FromStr for LinkName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (segment, salt) = text.split_once('-').ok_or(())?;
        Ok(Self {
            segment: segment.parse().map_err(drop)?,
            salt: u32::from_str_radix(salt, 16).map_err(drop)?,
        })
    }
}

/// The links of a spool's segments for one consumer.
#[derive(Debug)]
pub(crate) struct SegmentLinks {
    consumer: Consumer,
    spool: PathBuf,
    folder: PathBuf,
    begun: Mutex<Begun>,
    /// Whether a write has found the disk full, and no row was given up since.
    is_full: AtomicBool,
    filled: Notify,
}

/// The segments that this process has begun.
#[derive(Debug, Default)]
struct Begun {
    active: Option<LinkName>,
    /// The length of each that is known to be on disk. The bytes after it may be of a failed write.
    synced: HashMap<LinkName, u64>,
    /// The segments whose link has failed, also those of an earlier process, and their lengths.
    unlinked: HashMap<LinkName, u64>,
    /// The length of those that the spool has removed meanwhile.
    lost_bytes: u64,
}

impl SegmentLinks {
    /// Opens the links of a consumer in the spool's folder.
    ///
    /// # Errors
    /// The file system's, also if it has no hard links. A full disk is no error: the consumer retries.
    pub(crate) fn open(spool: &Path, consumer: Consumer) -> io::Result<Self> {
        let folder = spool.join(consumer.folder());
        private::folder(&folder)?;
        probe(spool, &folder, consumer)?;
        Ok(Self {
            consumer,
            spool: spool.to_owned(),
            folder,
            begun: Mutex::default(),
            is_full: AtomicBool::new(false),
            filled: Notify::new(),
        })
    }

    /// Returns the consumer of the links.
    pub(crate) fn consumer(&self) -> Consumer {
        self.consumer
    }

    /// Returns the folder of the links.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Records the active segment, before it has its first bytes: a reader that finds it knows how much
    /// of it may be read.
    pub(crate) fn begin(&self, segment: u64, format: FrameFormat) {
        let name = LinkName::of(segment, format);
        let mut begun = self.lock();
        begun.active = Some(name);
        begun.synced.insert(name, SEGMENT_HEADER as u64);
    }

    /// Records that the active segment could not be created.
    pub(crate) fn not_begun(&self) {
        let mut begun = self.lock();
        if let Some(active) = begun.active.take() {
            begun.synced.remove(&active);
        }
    }

    /// Links the active segment. A failure is logged: rows do not wait for the consumer.
    pub(crate) fn link_active(&self) {
        let active = self.lock().active;
        if let Some(Err(error)) = active.map(|name| self.link(name)) {
            let consumer = self.consumer;
            tracing::warn!(%error, "a segment has no link for {consumer} yet; the link will be retried");
        }
    }

    /// Records that the spool's write has failed. If the disk is full, the consumer gives up rows that
    /// ClickHouse has.
    pub(crate) fn write_failed(&self, error: &io::Error) {
        if self.note_full(error) {
            self.filled.notify_one();
        }
    }

    /// Records an error of the consumer's own. Returns whether the disk is full.
    pub(crate) fn note_full(&self, error: &io::Error) -> bool {
        let is_full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        if is_full {
            self.is_full.store(true, Ordering::Relaxed);
        }
        is_full
    }

    /// Waits until a write of the spool finds the disk full.
    pub(crate) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Returns whether a write has found the disk full since the last call.
    pub(crate) fn take_full(&self) -> bool {
        self.is_full.swap(false, Ordering::Relaxed)
    }

    /// Records that the active segment has this length on disk.
    pub(crate) fn synced(&self, length: u64) {
        let mut begun = self.lock();
        if let Some(active) = begun.active {
            begun.synced.insert(active, length);
            if let Some(unlinked) = begun.unlinked.get_mut(&active) {
                *unlinked = length;
            }
        }
    }

    /// Records that the active segment gets no further rows.
    pub(crate) fn ended(&self) {
        self.lock().active = None;
    }

    /// Links the segments that have no link, except those of which `is_finished` returns `true`:
    /// segments of an earlier process without the consumer, and those whose link has failed. Returns the
    /// numbers of all segments.
    ///
    /// # Errors
    /// The file system's. All other segments have a link nevertheless.
    pub(crate) fn link_missing(&self, is_finished: impl Fn(LinkName) -> bool) -> io::Result<Vec<u64>> {
        // A person may have deleted the folder.
        private::folder(&self.folder)?;
        let segments = segments_in(&self.spool)?;
        let linked = self.names()?;
        let (mut existing, mut result) = (HashSet::new(), Ok(()));
        for &segment in &segments {
            let format = match format_of(&segment_path(&self.spool, segment)) {
                Ok(Some(format)) => format,
                Ok(None) => continue,
                Err(error) => {
                    result = result.and(Err(error));
                    continue;
                }
            };
            let name = LinkName::of(segment, format);
            existing.insert(name);
            if !is_finished(name) && !linked.contains(&name) {
                result = result.and(self.link(name));
            }
        }
        result?;
        let mut begun = self.lock();
        let removed = begun.unlinked.extract_if(|name, _| !existing.contains(name));
        let lost: u64 = removed.map(|(_, length)| length).sum();
        begun.lost_bytes += lost;
        Ok(segments)
    }

    /// Returns the length of the segments that the spool has removed before they had a link, since the
    /// last call.
    pub(crate) fn take_lost_bytes(&self) -> u64 {
        std::mem::take(&mut self.lock().lost_bytes)
    }

    /// Returns whether a segment of an earlier process has no link yet.
    pub(crate) fn lacks_old(&self) -> bool {
        let begun = self.lock();
        begun.unlinked.keys().any(|name| !begun.synced.contains_key(name))
    }

    fn link(&self, name: LinkName) -> io::Result<()> {
        let path = segment_path(&self.spool, name.segment);
        let linked = match fs::hard_link(&path, self.path(name)) {
            // The spool has just removed the segment, which the next `link_missing` counts.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return Ok(()),
            // Another link was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(&self.folder).and_then(|folder| folder.sync_all()),
        };
        let mut begun = self.lock();
        match &linked {
            Ok(()) => _ = begun.unlinked.remove(&name),
            Err(error) => {
                let length = fs::metadata(&path).map_or(SEGMENT_HEADER as u64, |metadata| metadata.len());
                begun.unlinked.insert(name, length);
                drop(begun);
                self.note_full(error);
            }
        }
        linked
    }

    /// Returns whether the spool has removed its own name of a link's segment: ClickHouse has the rows,
    /// and the links alone keep them.
    pub(crate) fn is_left(&self, name: LinkName, metadata: &fs::Metadata) -> bool {
        is_left(&self.spool, name, metadata)
    }

    /// Returns the links, in the order of their segments.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn names(&self) -> io::Result<Vec<LinkName>> {
        links_in(&self.folder)
    }

    pub(crate) fn path(&self, name: LinkName) -> PathBuf {
        path_in(&self.folder, name)
    }

    /// Removes a link whose rows the consumer has.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn remove(&self, name: LinkName) -> io::Result<()> {
        self.lock().synced.remove(&name);
        match fs::remove_file(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Returns whether a segment still gets rows, and how much of it may be read; `None` for all of
    /// the file, if an earlier process has begun it.
    pub(super) fn readable(&self, name: LinkName) -> (bool, Option<u64>) {
        let begun = self.lock();
        (begun.active == Some(name), begun.synced.get(&name).copied())
    }

    /// Returns whether this process has begun a segment. Other segments get no further rows.
    pub(super) fn has_begun(&self, name: LinkName) -> bool {
        self.lock().synced.contains_key(&name)
    }

    fn lock(&self) -> MutexGuard<'_, Begun> {
        // No holder of the lock panics halfway through a change.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns an error if no file of the spool's folder can have a second name in the links' folder.
fn probe(spool: &Path, folder: &Path, consumer: Consumer) -> io::Result<()> {
    let (first, second) = (spool.join(PROBE), folder.join(PROBE));
    let remove = || {
        _ = fs::remove_file(&second);
        _ = fs::remove_file(&first);
    };
    // An earlier process may have ended between.
    remove();
    let created = private::open(OpenOptions::new().write(true).create_new(true), &first);
    let linked = created.and_then(|_| fs::hard_link(&first, &second));
    remove();
    linked.or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::Unsupported
        | io::ErrorKind::TooManyLinks
        | io::ErrorKind::CrossesDevices => Err(io::Error::new(
            error.kind(),
            format!(
                "{consumer} needs hard links from {} to {}, which this file system does not have: {error}",
                folder.display(),
                spool.display()
            ),
        )),
        _ => Ok(()),
    })
}

/// The rows in a spool's folder that wait for the archive, or for their topics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveReport {
    /// The number of segments with rows that may not have arrived there.
    pub segments: usize,
    /// The length of these segments, in bytes.
    pub bytes: u64,
    /// The part of `bytes` that ClickHouse does not need: it has these rows.
    pub only_bytes: u64,
}

/// Returns what waits for a consumer; `None` if the spool never had it.
///
/// # Errors
/// The file system's.
pub(super) fn report(spool: &Path, consumer: Consumer) -> io::Result<Option<ArchiveReport>> {
    let folder = spool.join(consumer.folder());
    if !folder.is_dir() {
        return Ok(None);
    }
    let mut report = ArchiveReport::default();
    for name in links_in(&folder)? {
        let Ok(metadata) = fs::metadata(path_in(&folder, name)) else {
            continue;
        };
        report.segments += 1;
        report.bytes += metadata.len();
        if is_left(spool, name, &metadata) {
            report.only_bytes += metadata.len();
        }
    }
    Ok(Some(report))
}

/// Returns whether a segment's file has no names but those of the consumers' links.
#[cfg(unix)]
fn is_left(spool: &Path, name: LinkName, metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let is_named = |consumer: &Consumer| {
        let other = fs::metadata(path_in(&spool.join(consumer.folder()), name));
        other.is_ok_and(|other| (other.dev(), other.ino()) == (metadata.dev(), metadata.ino()))
    };
    let links = Consumer::ALL.iter().filter(|consumer| is_named(consumer)).count();
    metadata.nlink() <= links as u64
}

#[cfg(not(unix))]
fn is_left(_: &Path, _: LinkName, _: &fs::Metadata) -> bool {
    true
}

fn links_in(folder: &Path) -> io::Result<Vec<LinkName>> {
    let mut names = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let is_link = path.extension().is_some_and(|extension| extension == EXTENSION);
        let name = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<LinkName>().ok());
        names.extend(name.filter(|_| is_link));
    }
    names.sort_unstable();
    Ok(names)
}

fn path_in(folder: &Path, name: LinkName) -> PathBuf {
    folder.join(format!("{name}.{EXTENSION}"))
}

/// Returns the format of a segment; `None` if it is not complete, or gone.
pub(super) fn format_of(path: &Path) -> io::Result<Option<FrameFormat>> {
    use std::io::Read;
    let mut header = Vec::with_capacity(SEGMENT_HEADER + 1);
    match File::open(path) {
        // One byte more than the header tells a torn header from a foreign file.
        Ok(file) => file.take(SEGMENT_HEADER as u64 + 1).read_to_end(&mut header)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(match read_segment_header(&header) {
        SegmentHeader::Known(format) => Some(format),
        SegmentHeader::Version(_) | SegmentHeader::Torn | SegmentHeader::Foreign => None,
    })
}
