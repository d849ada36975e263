//! Links: second names of segments, which keep the rows for an archive after the spool has removed the
//! segment.
//!
//! A segment gets a hard link in the folder `archive` when it begins, so the archive costs the
//! committer one link for 64 MiB of rows, and the request nothing. The spool removes its own name as
//! ever, and whoever archives the rows removes the link. Both go on at their own pace.
//!
//! Links have the salt of their segment in their name, because the spool counts its segments from 1
//! again when it was empty at a start.

use std::{
    collections::HashMap,
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    block::frame_format::FrameFormat,
    private,
    spool::{
        disk::{segment_path, segments_in},
        frame::{SEGMENT_HEADER, SegmentHeader, read_segment_header},
    },
};

/// The folder of the links, in the spool's folder.
const FOLDER: &str = "archive";

/// The extension of a link's name.
const EXTENSION: &str = "link";

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

/// The links of a spool's segments.
#[derive(Debug)]
pub(crate) struct ArchiveLinks {
    spool: PathBuf,
    folder: PathBuf,
    begun: Mutex<Begun>,
}

/// The segments that this process has begun.
#[derive(Debug, Default)]
struct Begun {
    active: Option<LinkName>,
    /// The length of each that is known to be on disk. What follows may be a failed write.
    synced: HashMap<LinkName, u64>,
}

impl ArchiveLinks {
    /// Opens the links in the spool's folder.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn open(spool: &Path) -> io::Result<Self> {
        let folder = spool.join(FOLDER);
        private::folder(&folder)?;
        Ok(Self {
            spool: spool.to_owned(),
            folder,
            begun: Mutex::default(),
        })
    }

    /// Returns the folder of the links.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Records the active segment, before it has its first bytes: whoever finds it knows how much of
    /// it may be read.
    pub(crate) fn begin(&self, segment: u64, format: FrameFormat) {
        let name = LinkName::of(segment, format);
        let mut begun = self.lock();
        begun.active = Some(name);
        begun.synced.insert(name, SEGMENT_HEADER as u64);
    }

    /// Links the active segment. A failure is logged: rows do not wait for the archive.
    pub(crate) fn link_active(&self) {
        let active = self.lock().active;
        if let Some(Err(error)) = active.map(|name| self.link(name)) {
            tracing::warn!(%error, "a segment has no link for the archive yet; the link will be retried");
        }
    }

    /// Records that the active segment has this length on disk.
    pub(crate) fn synced(&self, length: u64) {
        let mut begun = self.lock();
        if let Some(active) = begun.active {
            begun.synced.insert(active, length);
        }
    }

    /// Records that the active segment gets no further rows.
    pub(crate) fn ended(&self) {
        self.lock().active = None;
    }

    /// Links the segments that have no link, except those of which `is_archived` returns `true`:
    /// segments of an earlier process without an archive, and those whose link has failed. Returns the
    /// numbers of all segments.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn link_missing(&self, is_archived: impl Fn(LinkName) -> bool) -> io::Result<Vec<u64>> {
        // Somebody may have deleted it.
        private::folder(&self.folder)?;
        let segments = segments_in(&self.spool)?;
        let linked = self.names()?;
        for &segment in &segments {
            let Some(format) = format_of(&segment_path(&self.spool, segment))? else {
                continue;
            };
            let name = LinkName::of(segment, format);
            if !is_archived(name) && !linked.contains(&name) {
                self.link(name)?;
            }
        }
        Ok(segments)
    }

    fn link(&self, name: LinkName) -> io::Result<()> {
        match fs::hard_link(segment_path(&self.spool, name.segment), self.path(name)) {
            // The spool has just removed the segment, or another link was faster.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => File::open(&self.folder)?.sync_all(),
        }
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

    /// Removes a link whose rows are archived.
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

    fn lock(&self) -> MutexGuard<'_, Begun> {
        // No holder of the lock panics halfway through a change.
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits for the archive in a spool's folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveReport {
    /// The number of segments with rows that may not be archived.
    pub segments: usize,
    /// The length of these segments, in bytes.
    pub bytes: u64,
    /// The part of `bytes` that only the archive needs: ClickHouse has these rows.
    pub only_bytes: u64,
}

/// Returns what waits for the archive; `None` if nothing was ever to be archived.
///
/// # Errors
/// The file system's.
pub(super) fn report(spool: &Path) -> io::Result<Option<ArchiveReport>> {
    let folder = spool.join(FOLDER);
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
        if is_last_name(&metadata) {
            report.only_bytes += metadata.len();
        }
    }
    Ok(Some(report))
}

/// Returns whether a link is the only name of its file.
#[cfg(unix)]
pub(crate) fn is_last_name(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    metadata.nlink() < 2
}

#[cfg(not(unix))]
pub(crate) fn is_last_name(_: &fs::Metadata) -> bool {
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
