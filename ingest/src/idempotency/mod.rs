//! Idempotency: the keys of the requests whose rows were accepted, so that a repeat makes no row.
//!
//! A key enters the index when its rows enter their block, under one lock: of two requests that
//! arrive together, one appends the rows, and the other finds the key. The key is durable with its
//! rows, since the spool's log has both in one frame. The log removes a segment once all rows in it
//! are stored; before that, [`KeyIndex::save`] puts the segment's keys into files of their own.
//!
//! Promises: a key in the index has its rows in the spool, in their table, or in the dead letters.
//! The index has at most [`KeyIndex::max`] keys. When it is full, it forgets the oldest keys, and
//! counts those whose window has not passed.
//!
//! ```text
//! generations  the keys in memory, with their windows and their bound
//! key_log      the keys in files
//! secret       the secret of the hashes
//! ```

mod generations;
mod key_log;
mod secret;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use self::{generations::Generations, key_log::KeyLog, secret::Secret};
use crate::block::{
    parts::RowRange,
    progress::SharedProgress,
    row_key::{KeyHash, KeyRecord},
};

/// The rows of a key, and the progress of their block.
#[derive(Debug, Clone)]
pub(crate) struct PendingRows {
    pub(crate) progress: Arc<SharedProgress>,
    pub(crate) rows: RowRange,
}

impl PendingRows {
    /// Returns whether the rows are not all in their table, so that their level matters.
    fn is_open(&self) -> bool {
        let is_refused = |row: &u32| self.rows.contains(row);
        self.progress
            .read(|progress| !progress.is_done || progress.refused.iter().any(is_refused))
    }
}

/// A key that the index has.
#[derive(Debug, Clone)]
pub(crate) struct KnownKey {
    pub(crate) record: KeyRecord,
    /// `None` if the rows are in their table, as far as this process knows.
    pub(crate) pending: Option<PendingRows>,
}

/// The counters of an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyCounts {
    /// The keys in the index now.
    pub keys: u64,
    /// The length of the index's files, in bytes.
    pub bytes: u64,
    /// Requests and events since the start that repeat a recorded one, and made no row.
    pub repeats: u64,
    /// Requests since the start that reuse a key with another content.
    pub conflicts: u64,
    /// Keys since the start that the index forgot before the end of their window.
    pub forgotten: u64,
}

/// Returns the time in seconds since 1970, as windows of keys use it.
pub(crate) fn now_s() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// The keys of accepted requests.
#[derive(Debug)]
pub(crate) struct KeyIndex {
    keys: Mutex<Keys>,
    /// Separate from the keys: requests must not wait for the disk.
    log: Mutex<Option<KeyLog>>,
    secret: Secret,
    /// The largest number of keys.
    max: usize,
    pub(crate) repeats: AtomicU64,
    pub(crate) conflicts: AtomicU64,
}

/// The keys in memory.
#[derive(Debug)]
pub(crate) struct Keys {
    all: Generations,
    /// The rows of keys that are not in their table yet, and of some that are.
    pending: HashMap<KeyHash, PendingRows>,
    /// The number of pending keys at which those of stored rows are removed.
    sweep_at: usize,
}

/// The smallest number of pending keys that is worth a sweep.
const MIN_SWEEP: usize = 1024;

impl KeyIndex {
    /// Returns an empty index of at most `max` keys, without files.
    pub(crate) fn in_memory(max: usize) -> Self {
        Self {
            keys: Mutex::new(Keys::new(max)),
            log: Mutex::new(None),
            secret: Secret::in_memory(),
            max,
            repeats: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
        }
    }

    /// Opens the index of at most `max` keys in `folder`, which need not exist. The first key
    /// creates it. Forgets the keys whose window has passed at `now_s`.
    ///
    /// # Errors
    /// The file system's, or `InvalidData` for a file of a newer program.
    pub(crate) fn open(folder: &Path, max: usize, now_s: u32) -> io::Result<Self> {
        let (secret, log) = (Secret::open(folder)?, KeyLog::open(folder, max)?);
        let mut keys = Keys::new(max);
        let log = log.read(now_s, |record| keys.all.insert(record, now_s))?;
        Ok(Self {
            keys: Mutex::new(keys),
            log: Mutex::new(Some(log)),
            secret,
            max,
            repeats: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
        })
    }

    /// Returns the largest number of keys.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Returns the hash of `parts`, each apart from the others.
    ///
    /// # Errors
    /// The disk's: a hash needs a secret that outlives the process.
    pub(crate) fn hash(&self, parts: &[&[u8]]) -> io::Result<KeyHash> {
        self.secret.hash(parts)
    }

    /// Returns the keys in memory, which no other thread uses meanwhile.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Keys> {
        // No holder of the lock panics halfway through a change.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the key at `now_s`; `None` if its window has passed.
    pub(crate) fn find(&self, hash: KeyHash, now_s: u32) -> Option<KnownKey> {
        self.lock().find(hash, now_s)
    }

    /// Adds a key that recovery has found in the log. The rows of its block may be `pending`.
    pub(crate) fn restore(&self, record: KeyRecord, pending: Option<PendingRows>, now_s: u32) {
        if record.expires_s <= now_s {
            return;
        }
        let mut keys = self.lock();
        let is_saved = keys.all.find(record.hash, now_s) == Some(record);
        if !is_saved {
            keys.all.insert(record, now_s);
        }
        if let Some(pending) = pending {
            keys.pending.insert(record.hash, pending);
        }
        drop(keys);
        if !is_saved {
            self.logged(&[record], now_s);
        }
    }

    /// Records that keys are on disk with their rows. They are in the index's files after the next
    /// [`save`](Self::save).
    pub(crate) fn logged(&self, records: &[KeyRecord], now_s: u32) {
        if let Some(log) = &mut *self.key_log()
            && !records.is_empty()
        {
            log.add(records, now_s);
        }
    }

    /// Returns once all keys that are on disk with their rows are also in the index's files, and
    /// survive a loss of power there.
    ///
    /// # Errors
    /// The disk's. The log must keep its segments.
    pub(crate) fn save(&self) -> io::Result<()> {
        self.key_log().as_mut().map_or(Ok(()), KeyLog::save)
    }

    /// Returns the counters at this moment.
    pub(crate) fn counts(&self) -> KeyCounts {
        let bytes = self.key_log().as_ref().map_or(0, KeyLog::bytes);
        let keys = self.lock();
        KeyCounts {
            keys: keys.all.len() as u64,
            forgotten: keys.all.forgotten(),
            bytes,
            repeats: self.repeats.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
        }
    }

    fn key_log(&self) -> MutexGuard<'_, Option<KeyLog>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn new(max: usize) -> Self {
        Self {
            all: Generations::new(max),
            pending: HashMap::new(),
            sweep_at: MIN_SWEEP,
        }
    }

    /// Returns the key at `now_s`; `None` if its window has passed.
    pub(crate) fn find(&self, hash: KeyHash, now_s: u32) -> Option<KnownKey> {
        let record = self.all.find(hash, now_s)?;
        let is_open = |pending: &&PendingRows| pending.is_open();
        Some(KnownKey {
            record,
            pending: self.pending.get(&hash).filter(is_open).cloned(),
        })
    }

    /// Adds a key whose rows have just been appended to their block.
    pub(crate) fn insert(&mut self, record: KeyRecord, pending: PendingRows, now_s: u32) {
        self.all.insert(record, now_s);
        self.pending.insert(record.hash, pending);
        if self.pending.len() >= self.sweep_at {
            let all = &self.all;
            self.pending
                .retain(|hash, pending| pending.is_open() && all.find(*hash, now_s).is_some());
            self.sweep_at = MIN_SWEEP.max(self.pending.len() * 2);
        }
    }
}
