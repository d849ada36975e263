//! Store: the uploads in their folder, and their bounds.
//!
//! The number of uploads, the length of all of their files and the time without a request are bounded.
//! A request to an upload has it alone: another one to the same upload cuts a request that receives,
//! and waits for one that decodes.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::OwnedMutexGuard, time::timeout};

use super::record::{Record, UploadId};
use crate::{
    collect::{
        options::ResumableUploads,
        upload::frame_queue::{End, FrameQueue},
    },
    private,
};

/// The maximum number of uploads that are kept.
const MAX_UPLOADS: usize = 1_000;

/// The interval in which uploads without requests are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The uploads in their folder.
#[derive(Debug)]
pub(in crate::collect) struct Store {
    folder: PathBuf,
    /// The maximum length of all files together, in bytes.
    pub(super) max_bytes: u64,
    expiry: Duration,
    /// `None` until the folder has been read.
    uploads: Mutex<Option<HashMap<UploadId, Arc<Upload>>>>,
    /// The length of all files, in bytes.
    bytes: AtomicU64,
}

/// One upload.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) id: UploadId,
    pub(super) length: u64,
    /// The number of bytes that survive a crash.
    offset: AtomicU64,
    expires_s: AtomicU64,
    /// Whether the file is decoded at present.
    pub(super) is_decoding: AtomicBool,
    /// The frames of the request that receives at present.
    receiving: Mutex<Weak<FrameQueue>>,
    /// The record; whoever has it has the files.
    record: Arc<tokio::sync::Mutex<Record>>,
}

/// The files of an upload, which no other request changes meanwhile.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) upload: Arc<Upload>,
    pub(super) record: OwnedMutexGuard<Record>,
}

/// The reason why an upload is not created, or receives no bytes.
#[derive(Debug)]
pub(super) enum StoreError {
    /// The number of uploads or the length of their files has reached its limit.
    Full,
    /// The disk fails.
    Disk(io::Error),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Returns the time in seconds since 1970.
fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Upload {
    fn new(id: UploadId, record: Record, offset: u64) -> Self {
        Self {
            id,
            length: record.length,
            offset: AtomicU64::new(offset),
            expires_s: AtomicU64::new(record.expires_s),
            is_decoding: AtomicBool::new(false),
            receiving: Mutex::default(),
            record: Arc::new(tokio::sync::Mutex::new(record)),
        }
    }

    /// Returns the number of bytes that the collector has, and never loses. The last one counts once
    /// the rows of the upload are on disk.
    pub(super) fn offset(&self) -> u64 {
        self.offset.load(Ordering::Acquire)
    }

    pub(super) fn set_offset(&self, offset: u64) {
        self.offset.store(offset, Ordering::Release);
    }

    /// Returns the time at which the upload is removed, if no request comes.
    pub(super) fn expires(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.expires_s.load(Ordering::Relaxed))
    }

    /// Sets the frames that the holder receives, which the next request may cut.
    pub(super) fn receive(&self, queue: &Arc<FrameQueue>) {
        *self.receiving.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(queue);
    }

    /// Takes the files of the upload, after cutting the request that receives at present. `None` if they
    /// are not free within `wait`.
    pub(super) async fn hold(self: Arc<Self>, wait: Duration) -> Option<Held> {
        let receiving = self.receiving.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(queue) = receiving {
            queue.end(End::Cut);
        }
        let record = timeout(wait, Arc::clone(&self.record).lock_owned()).await.ok()?;
        Some(Held { upload: self, record })
    }
}

/// The bytes of an upload that is complete, or that may be.
const fn visible(length: u64, file_length: u64, is_done: bool) -> u64 {
    match is_done {
        true => length,
        // The last byte counts with the rows.
        false if file_length >= length => length.saturating_sub(1),
        false => file_length,
    }
}

impl Store {
    /// Returns the uploads in the folder of `options`, which need not exist.
    pub(in crate::collect) fn new(options: &ResumableUploads) -> Self {
        Self {
            folder: options.folder.clone(),
            max_bytes: options.max_bytes,
            expiry: options.expiry,
            uploads: Mutex::new(None),
            bytes: AtomicU64::new(0),
        }
    }

    /// Removes uploads without requests from now on, as long as the store lives.
    pub(in crate::collect) fn sweep_on(self: &Arc<Self>, runtime: &tokio::runtime::Handle) {
        let store = Arc::downgrade(self);
        runtime.spawn(async move {
            while let Some(store) = store.upgrade() {
                store.sweep(now_s());
                drop(store);
                tokio::time::sleep(SWEEP_INTERVAL).await;
            }
        });
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the uploads; reads the folder first, if nothing has.
    fn uploads<T>(&self, use_uploads: impl FnOnce(&mut HashMap<UploadId, Arc<Upload>>) -> T) -> T {
        let mut uploads: MutexGuard<'_, _> = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        use_uploads(uploads.get_or_insert_with(|| self.read_folder()))
    }

    fn read_folder(&self) -> HashMap<UploadId, Arc<Upload>> {
        let mut uploads = HashMap::new();
        // Without a folder, there are no uploads.
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let Some((id, record)) = Record::read(&entry.path()) else {
                continue;
            };
            let file_length = fs::metadata(id.data_file(&self.folder)).map_or(0, |data| data.len());
            self.bytes.fetch_add(file_length, Ordering::Relaxed);
            // The checksum of the bytes behind was not checked.
            let file_length = record.unchecked_from.unwrap_or(file_length).min(file_length);
            let offset = visible(record.length, file_length, record.report.is_some());
            uploads.insert(id, Arc::new(Upload::new(id, record, offset)));
        }
        uploads
    }

    /// Returns the upload with this id.
    pub(super) fn find(&self, id: UploadId) -> Option<Arc<Upload>> {
        let upload = self.uploads(|uploads| uploads.get(&id).cloned())?;
        (upload.expires_s.load(Ordering::Relaxed) > now_s()).then_some(upload)
    }

    /// Creates an upload of `length` bytes.
    pub(super) fn create(
        &self,
        target: &str,
        length: u64,
        media_type: Option<String>,
    ) -> Result<Arc<Upload>, StoreError> {
        self.sweep(now_s());
        let record = Record::new(target, length, media_type, now_s() + self.expiry.as_secs());
        let id = UploadId::new().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        if self.uploads(|uploads| uploads.len()) >= MAX_UPLOADS {
            return Err(StoreError::Full);
        }
        private::folder(&self.folder)?;
        let data = id.data_file(&self.folder);
        private::open(OpenOptions::new().write(true).create_new(true), &data)?;
        record.write(id, &self.folder)?;
        let upload = Arc::new(Upload::new(id, record, 0));
        self.uploads(|uploads| uploads.insert(id, Arc::clone(&upload)));
        Ok(upload)
    }

    /// Books `bytes` bytes of the disk.
    pub(super) fn book(&self, bytes: u64) -> Result<(), StoreError> {
        let booked = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= self.max_bytes)
        });
        booked.map(|_| ()).map_err(|_| StoreError::Full)
    }

    /// Returns booked bytes.
    pub(super) fn release(&self, bytes: u64) {
        // A file that could be written in part only may be longer than its booking.
        _ = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            Some(used.saturating_sub(bytes))
        });
    }

    /// Returns the time for which the keys of an upload's rows are known, in seconds. It is longer than
    /// the time of an upload that is complete.
    pub(super) fn key_window_s(&self) -> u32 {
        let window = self.expiry.saturating_add(Duration::from_secs(86_400));
        u32::try_from(window.as_secs()).unwrap_or(u32::MAX)
    }

    /// Sets the end of the upload's time, from now on, and writes the record.
    pub(super) fn touch(&self, held: &mut Held) -> io::Result<()> {
        // The keys of the rows have a time of their own, from the first attempt to decode on.
        if !held.record.is_complete {
            held.record.expires_s = now_s() + self.expiry.as_secs();
        }
        held.upload.expires_s.store(held.record.expires_s, Ordering::Relaxed);
        held.record.write(held.upload.id, &self.folder)
    }

    /// Records the answer to the whole upload, and removes its bytes.
    pub(super) fn finish(&self, held: &mut Held, report: (u16, String)) -> io::Result<()> {
        held.record.report = Some(report);
        held.record.write(held.upload.id, &self.folder)?;
        held.upload.set_offset(held.upload.length);
        self.remove_data(held.upload.id);
        Ok(())
    }

    /// Removes an upload.
    pub(super) fn remove(&self, held: &Held) {
        let id = held.upload.id;
        self.uploads(|uploads| uploads.remove(&id));
        self.remove_files(id);
    }

    fn remove_files(&self, id: UploadId) {
        // The record last: with it, the next process finds a file that stays.
        if self.remove_data(id) {
            _ = fs::remove_file(id.record_file(&self.folder));
        }
    }

    /// Returns whether the upload has no file any more.
    fn remove_data(&self, id: UploadId) -> bool {
        let path = id.data_file(&self.folder);
        let length = fs::metadata(&path).map_or(0, |data| data.len());
        match fs::remove_file(&path) {
            Ok(()) => {
                self.release(length);
                true
            }
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Removes the uploads whose time has passed at `now_s`.
    fn sweep(&self, now_s: u64) {
        self.uploads(|uploads| {
            uploads.retain(|id, upload| {
                let is_idle = upload.expires_s.load(Ordering::Relaxed) <= now_s && upload.record.try_lock().is_ok();
                if is_idle {
                    self.remove_files(*id);
                }
                !is_idle
            });
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Returns a store whose uploads have this time, and the folder around its own.
    fn store(expiry: Duration) -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let options = ResumableUploads {
            expiry,
            ..ResumableUploads::new(&folder.path().join("uploads"))
        };
        (Store::new(&options), folder)
    }

    fn count_of_files(store: &Store) -> usize {
        fs::read_dir(store.folder()).unwrap().count()
    }

    #[tokio::test]
    async fn an_upload_whose_time_has_passed_is_not_found_and_then_removed() {
        let (ended, _ended) = store(Duration::ZERO);
        let upload = ended.create("/wh/mail", 8, None).unwrap();
        assert!(ended.find(upload.id).is_none());
        assert_eq!(count_of_files(&ended), 2);
        // A request to it is in progress.
        let held = Arc::clone(&upload).hold(Duration::ZERO).await.unwrap();
        ended.sweep(now_s());
        assert_eq!(count_of_files(&ended), 2);
        drop(held);
        ended.sweep(now_s());
        assert_eq!(count_of_files(&ended), 0);

        let (store, _folder) = store(Duration::from_secs(60));
        let upload = store.create("/wh/mail", 8, None).unwrap();
        store.sweep(now_s() + 50);
        assert!(store.find(upload.id).is_some());
        store.sweep(now_s() + 70);
        assert_eq!((store.find(upload.id).is_none(), count_of_files(&store)), (true, 0));
    }

    #[test]
    fn the_number_of_uploads_is_bounded() {
        let (store, _folder) = store(Duration::from_secs(60));
        let expires_s = now_s() + 60;
        store.uploads(|uploads| {
            for number in 1..MAX_UPLOADS {
                let id = UploadId(number as u128);
                let record = Record::new("/wh/mail", 8, None, expires_s);
                uploads.insert(id, Arc::new(Upload::new(id, record, 0)));
            }
        });
        let last = store.create("/wh/mail", 8, None).unwrap();
        assert!(matches!(store.create("/wh/mail", 8, None), Err(StoreError::Full)));
        store.uploads(|uploads| uploads.remove(&last.id));
        assert!(store.create("/wh/mail", 8, None).is_ok());
    }
}
