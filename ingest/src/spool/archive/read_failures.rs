//! Read failures: a place of the disk that cannot be read counts as damaged, after some attempts.
//!
//! The first failures are errors, which the archiver retries. Without a limit, one bad sector would
//! keep the rows of all tables from the archive.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
};

use crate::spool::links::LinkName;

/// The failures of a link after which its places that cannot be read count as damaged at once: a bad
/// disk may have many of them.
const ATTEMPTS: u32 = 3;

/// The error of a disk that cannot read a sector. Others, such as too many open files, concern no
/// place.
const EIO: i32 = 5;

/// The bytes that are read at once from a file with damage, and that are lost at least with a failure.
const PAGE_BYTES: usize = 4096;

/// The failures of reads of links, and what they have cost.
#[derive(Debug, Default)]
pub(crate) struct ReadFailures {
    counts: HashMap<LinkName, u32>,
    lost_bytes: u64,
}

impl ReadFailures {
    /// Counts a failed read of a link. Returns whether the bytes count as damaged.
    pub(super) fn is_lasting(&mut self, link: LinkName, error: &io::Error) -> bool {
        if !is_unreadable(error) {
            return false;
        }
        let count = self.counts.entry(link).or_default();
        *count += 1;
        *count >= ATTEMPTS
    }

    /// Counts bytes of rows that the archive will not get.
    pub(super) fn add_lost(&mut self, bytes: u64) {
        self.lost_bytes += bytes;
    }

    /// Forgets a link.
    pub(super) fn forget(&mut self, link: LinkName) {
        self.counts.remove(&link);
    }

    /// Returns the bytes of rows that the archive will not get, since the last call.
    pub(crate) fn take_lost_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.lost_bytes)
    }
}

fn is_unreadable(error: &io::Error) -> bool {
    cfg!(unix) && error.raw_os_error() == Some(EIO)
}

/// Returns the first `length` bytes of a file, with zeros in place of pages that the disk cannot read,
/// and the number of these pages.
///
/// # Errors
/// The file system's, except of single pages.
pub(super) fn read_around_damage(file: &mut File, length: u64) -> io::Result<(Vec<u8>, usize)> {
    let (mut bytes, mut pages) = (Vec::new(), 0);
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut page = [0; PAGE_BYTES];
    while bytes.len() < length {
        file.seek(SeekFrom::Start(bytes.len() as u64))?;
        let most = PAGE_BYTES.min(length - bytes.len());
        match file.read(&mut page[..most]) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&page[..count]),
            Err(error) if is_unreadable(&error) => {
                bytes.resize(bytes.len() + most, 0);
                pages += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((bytes, pages))
}
