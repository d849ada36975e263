//! Counts of an archive.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What an archive has, and what waits for it, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveStatus {
    /// Objects that were uploaded since the start.
    pub objects: u64,
    /// Rows in these objects.
    pub rows: u64,
    /// The length of these objects, in bytes.
    pub bytes: u64,
    /// Rows that Parquet cannot have, and that were uploaded as blocks beside an object of Parquet.
    pub kept_rows: u64,
    /// Uploads that failed and were, or will be, retried.
    pub failures: u64,
    /// The length of the segments that are kept for the archive, in bytes. The newest segment stays.
    pub pending_bytes: u64,
    /// The part of `pending_bytes` that only the archive needs: ClickHouse has these rows.
    pub only_bytes: u64,
    /// The age of the oldest row that waits, in seconds.
    pub oldest_seconds: u64,
    /// The length of the segments and frames since the start that the archive did not get, in bytes:
    /// they were given up, or the disk cannot read them.
    pub dropped_bytes: u64,
    /// Whether the last upload failed.
    pub is_failing: bool,
}

/// The same, as the archiver changes it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) objects: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) kept_rows: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) pending_bytes: AtomicU64,
    pub(super) only_bytes: AtomicU64,
    pub(super) oldest_seconds: AtomicU64,
    pub(super) dropped_bytes: AtomicU64,
    pub(super) is_failing: AtomicBool,
}

impl Counts {
    pub(super) fn status(&self) -> ArchiveStatus {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ArchiveStatus {
            objects: read(&self.objects),
            rows: read(&self.rows),
            bytes: read(&self.bytes),
            kept_rows: read(&self.kept_rows),
            failures: read(&self.failures),
            pending_bytes: read(&self.pending_bytes),
            only_bytes: read(&self.only_bytes),
            oldest_seconds: read(&self.oldest_seconds),
            dropped_bytes: read(&self.dropped_bytes),
            is_failing: self.is_failing.load(Ordering::Relaxed),
        }
    }
}
