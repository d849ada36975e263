//! Disk: the few file system operations that the spool needs, and a real folder that provides them.
//!
//! The operations are a trait, so that a test can lose power in the middle of a write. A number
//! identifies each segment.

use std::{
    fmt,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::private;

/// The file system operations of the spool.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Returns the numbers of the existing segments, in ascending order.
    fn segments(&self) -> io::Result<Vec<u64>>;

    /// Creates an empty segment, whose name survives a loss of power once this returns.
    fn create(&self, segment: u64) -> io::Result<Box<dyn Segment>>;

    /// Opens a segment for appending.
    fn open(&self, segment: u64) -> io::Result<Box<dyn Segment>>;

    /// Returns the contents of a segment.
    fn read(&self, segment: u64) -> io::Result<Vec<u8>>;

    /// Returns `length` bytes of a segment, starting at `offset`.
    fn read_at(&self, segment: u64, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Removes a segment.
    fn remove(&self, segment: u64) -> io::Result<()>;

    /// Keeps a copy of a damaged segment for inspection, under a name that the spool does not read.
    /// The first copy of a segment stays.
    fn quarantine(&self, segment: u64) -> io::Result<()>;

    /// Creates an empty file with a number of its own, which is no segment until it is
    /// [promoted](Self::promote). A disk that only reads, or only tests, need not have it.
    fn stage(&self, _staged: u64) -> io::Result<Box<dyn Segment>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes a staged file a segment, whose name survives a loss of power once this returns.
    fn promote(&self, _staged: u64, _segment: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Removes a staged file.
    fn discard(&self, _staged: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A segment that is open for writing.
pub(crate) trait Segment: fmt::Debug + Send {
    /// Appends `bytes`; after an error, some of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns once everything that was appended survives a loss of power.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts off the bytes after `length`.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Returns whether the file still has its name in the spool: without it, no start finds the rows.
    fn has_name(&self) -> io::Result<bool>;
}

/// The extension of a segment's name.
const EXTENSION: &str = "spool";
/// The extension of a quarantined segment's name.
pub(crate) const QUARANTINE_EXTENSION: &str = "damaged";
/// The extension of a copy that is not complete yet.
const COPY_EXTENSION: &str = "copying";
/// The extension of a file that becomes a segment once it is complete.
const STAGED_EXTENSION: &str = "receiving";
/// The file whose lock keeps out a second process.
const LOCK: &str = "lock";

/// A segment's file that is open for writing.
#[derive(Debug)]
struct OpenSegment {
    file: File,
    path: PathBuf,
    identity: Identity,
}

impl OpenSegment {
    fn boxed(file: File, path: PathBuf) -> io::Result<Box<dyn Segment>> {
        let identity = identity(&file.metadata()?);
        Ok(Box::new(Self { file, path, identity }))
    }
}

/// A folder that no other process uses as long as this value lives, unless it is only read.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// `None` for a folder that is only read. The system releases the lock when the process ends,
    /// in whatever way.
    lock: Mutex<Option<File>>,
}

impl Folder {
    /// Creates the folder if necessary and locks it for this process; returns `None` if another
    /// process has locked it.
    pub(crate) fn lock(path: &Path) -> io::Result<Option<Self>> {
        Ok(lock(path)?.map(|lock| Self {
            path: path.to_owned(),
            lock: Mutex::new(Some(lock)),
        }))
    }

    /// Creates and locks the folder again if it has been deleted.
    fn lock_again(&self) -> io::Result<()> {
        let mut held = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &*held
            && !has_name(file)?
        {
            *held = lock(&self.path)?;
            if held.is_none() {
                return Err(io::Error::other("another process uses the spool's folder"));
            }
            tracing::error!(
                folder = %self.path.display(),
                "the spool's folder was deleted and is created again; rows that were only on disk are lost"
            );
        }
        Ok(())
    }

    /// Returns the folder, for reading only.
    pub(crate) fn unlocked(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            lock: Mutex::new(None),
        }
    }

    fn name(&self, segment: u64) -> PathBuf {
        segment_path(&self.path, segment)
    }

    fn staged_name(&self, staged: u64) -> PathBuf {
        self.path.join(format!("{staged:016x}.{STAGED_EXTENSION}"))
    }

    /// Removes the staged files of an earlier process.
    pub(crate) fn remove_staged(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == STAGED_EXTENSION) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Creates a folder and locks it; returns `None` if another process has locked it.
fn lock(path: &Path) -> io::Result<Option<File>> {
    private::folder(path)?;
    let lock = private::open(
        OpenOptions::new().create(true).truncate(false).write(true),
        &path.join(LOCK),
    )?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Disk for Folder {
    fn segments(&self) -> io::Result<Vec<u64>> {
        segments_in(&self.path)
    }

    fn create(&self, segment: u64) -> io::Result<Box<dyn Segment>> {
        self.lock_again()?;
        let file = private::open(OpenOptions::new().append(true).create_new(true), &self.name(segment))?;
        File::open(&self.path)?.sync_all()?;
        OpenSegment::boxed(file, self.name(segment))
    }

    fn open(&self, segment: u64) -> io::Result<Box<dyn Segment>> {
        let path = self.name(segment);
        let file = private::open(OpenOptions::new().append(true), &path)?;
        OpenSegment::boxed(file, path)
    }

    fn read(&self, segment: u64) -> io::Result<Vec<u8>> {
        fs::read(self.name(segment))
    }

    fn read_at(&self, segment: u64, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.name(segment))?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn remove(&self, segment: u64) -> io::Result<()> {
        match fs::remove_file(self.name(segment)) {
            // The segment was removed from outside.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn quarantine(&self, segment: u64) -> io::Result<()> {
        let name = self.name(segment);
        let (kept, unfinished) = (
            name.with_extension(QUARANTINE_EXTENSION),
            name.with_extension(COPY_EXTENSION),
        );
        if kept.exists() {
            return Ok(());
        }
        // A copy would follow a link.
        _ = fs::remove_file(&unfinished);
        if fs::copy(&name, &unfinished).is_ok() {
            return fs::rename(&unfinished, &kept);
        }
        // The disk may have no space for a copy. A second name keeps the file when the spool
        // removes the segment, with the bytes that the spool writes to it until then.
        _ = fs::remove_file(&unfinished);
        fs::hard_link(&name, &kept)
    }

    fn stage(&self, staged: u64) -> io::Result<Box<dyn Segment>> {
        self.lock_again()?;
        let mut options = OpenOptions::new();
        let path = self.staged_name(staged);
        let file = private::open(options.append(true).create_new(true), &path)?;
        OpenSegment::boxed(file, path)
    }

    fn promote(&self, staged: u64, segment: u64) -> io::Result<()> {
        let name = self.name(segment);
        if name.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(self.staged_name(staged), &name)?;
        File::open(&self.path)?.sync_all()
    }

    fn discard(&self, staged: u64) -> io::Result<()> {
        fs::remove_file(self.staged_name(staged))
    }
}

impl Segment for OpenSegment {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    /// Looks the name up. The number of the file's names does not tell whether the spool's name is one
    /// of them: the archive gives a segment a second name.
    fn has_name(&self) -> io::Result<bool> {
        match fs::symlink_metadata(&self.path) {
            // No other file gets the number of a file that is open.
            Ok(metadata) => Ok(identity(&metadata) == self.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The device and the number of a file.
#[cfg(unix)]
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// On other systems, a file that is open cannot be deleted.
#[cfg(not(unix))]
type Identity = ();

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> Identity {}

#[cfg(unix)]
fn has_name(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(file.metadata()?.nlink() > 0)
}

/// On other systems, a file that is open cannot be deleted.
#[cfg(not(unix))]
fn has_name(_: &File) -> io::Result<bool> {
    Ok(true)
}

/// Returns the path of a segment in the spool's folder.
pub(crate) fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:016}.{EXTENSION}"))
}

/// Returns the numbers of the segments in a folder, in ascending order, and ignores other files.
pub(crate) fn segments_in(folder: &Path) -> io::Result<Vec<u64>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        let number = name.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let (Some(number), true) = (number, name.extension().is_some_and(|extension| extension == EXTENSION)) {
            segments.push(number);
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_segment_with_a_second_name_is_missed_once_its_own_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Folder::lock(folder.path()).unwrap().unwrap();
        let mut segment = disk.create(1).unwrap();
        segment.append(b"rows").unwrap();
        assert!(segment.has_name().unwrap());
        fs::hard_link(disk.name(1), folder.path().join("link")).unwrap();
        assert!(segment.has_name().unwrap());
        fs::remove_file(disk.name(1)).unwrap();
        assert!(!segment.has_name().unwrap());
        // Another file is not the segment.
        fs::write(disk.name(1), "rows").unwrap();
        assert!(!segment.has_name().unwrap());
    }
}
