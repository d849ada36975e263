//! The archive: rows as objects in S3 or in a folder, beside ClickHouse.
//!
//! The archiver reads the blocks of the spool's [links](crate::spool), puts blocks of one table into
//! an object, and uploads it. Delivery does not know of it: a store that is slow or away delays no
//! insert, and ClickHouse delays no upload. Promises: each block that the spool had on disk is in one
//! object, with all its rows, also if ClickHouse has refused some of them, and after any kill. The
//! rows that wait for the archive are bounded, and those that are given up are logged as an error.
//!
//! ```text
//! url       the address of an archive, and the store behind it
//! folder    the private files of an archive in a folder
//! format    the formats of objects
//! http      requests to S3, over the HTTP and TLS of the collector
//! object    an object's name, and its bytes
//! parquet   the rows of an object as Parquet
//! journal   which blocks are archived, over restarts
//! index     the blocks that wait, and the objects that they become
//! run       uploads objects, until the spool is closed
//! read      finds and reads objects, for a replay
//! status    counts, for metrics
//! ```
//!
//! The blocks of an object, and its name, are in the journal before the upload begins. If the
//! process is killed then, the next one uploads the same rows under the same name.

mod folder;
mod format;
mod http;
mod index;
pub(crate) mod journal;
mod object;
mod parquet;
mod read;
mod run;
mod status;
#[cfg(test)]
mod tests;
mod url;

use std::time::Duration;

pub(crate) use self::run::{Archiver, ArchiverHandle, StatusReader, finish, upload_rest};
pub use self::{
    format::ArchiveFormat,
    read::{ArchivedObject, Selection},
    status::ArchiveStatus,
    url::{ArchiveError, ArchiveUrl, InvalidArchiveUrl},
};

/// An archive of a writer's rows.
///
/// ```
/// use std::time::Duration;
///
/// use rowmill_ingest::{WriterOptions, archive::Archive};
///
/// let folder = tempfile::tempdir()?;
/// let url = format!("file://{}", folder.path().display());
/// let archive = Archive { age: Duration::from_secs(60), ..Archive::new(url.parse()?) };
/// let options = WriterOptions { archive: Some(archive), ..WriterOptions::default() };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Archive {
    /// The place of the objects.
    pub url: ArchiveUrl,
    /// The format of new objects. An object whose upload has begun keeps its format.
    pub format: ArchiveFormat,
    /// The tables whose rows are archived; `None` for all of the schema, without the dead letters.
    pub tables: Option<Vec<String>>,
    /// The age of a row at which it is uploaded, even if its object has few others.
    pub age: Duration,
    /// Disk space of rows that only the archive still needs. Beyond it, the oldest are given up, which
    /// is logged as an error.
    pub max_bytes: u64,
}

impl Archive {
    /// Returns an archive of the blocks of all tables at this address: an object is uploaded after five
    /// minutes at the latest, and 8 GiB of rows wait while the store is away.
    pub fn new(url: ArchiveUrl) -> Self {
        Self {
            url,
            format: ArchiveFormat::Blocks,
            tables: None,
            age: Duration::from_secs(300),
            max_bytes: 8 << 30,
        }
    }
}
