//! Uploads objects, until the spool is closed and its last rows are on disk.

use std::{
    collections::HashSet,
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinSet, spawn_blocking},
    time::{Instant, sleep},
};

use super::{
    Archive, ArchiveStatus,
    index::{Index, Upload},
    status::Counts,
};
use crate::{
    spool::{Spool, links::ArchiveLinks},
    store::{Class, backoff::RETRY, failure_log::FailureLog},
    table::Schema,
};

/// The interval at which the archiver looks for new blocks.
const TICK: Duration = Duration::from_secs(1);

/// The interval at which the archiver forgets old blocks and retries links.
const TIDY_INTERVAL: Duration = Duration::from_secs(10);

/// The reason why an object is not archived now.
#[derive(Debug)]
enum Failure {
    /// The data folder cannot be read or written.
    Disk(io::Error),
    /// The store does not take the object.
    Store(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// The archiver of a spool.
#[derive(Debug)]
pub(crate) struct Archiver {
    archive: Archive,
    links: Arc<ArchiveLinks>,
    spool: Spool,
    tables: HashSet<String>,
    counts: Arc<Counts>,
    /// `true` once no rows come any more.
    is_last: watch::Receiver<bool>,
    /// `None` while another thread has it, and after a failure there.
    index: Option<Box<Index>>,
    /// The object whose upload has failed.
    failed: Option<Upload>,
    failure_log: FailureLog,
    failures: u32,
    tidied: Instant,
}

/// A running archiver.
#[derive(Debug)]
pub(crate) struct ArchiverHandle {
    task: JoinSet<()>,
    is_last: watch::Sender<bool>,
    counts: Arc<Counts>,
}

/// Uploads what is left, until `deadline`: the rest stays on disk for the next process. The spool's log
/// has ended. A stop that is late already waits no more.
pub(crate) async fn finish(archiver: &mut Option<ArchiverHandle>, is_late: bool, deadline: impl Future<Output = ()>) {
    if let Some(mut archiver) = archiver.take() {
        match is_late {
            false => archiver.finish(deadline).await,
            true => archiver.finish(std::future::ready(())).await,
        }
    }
}

impl ArchiverHandle {
    async fn finish(&mut self, deadline: impl Future<Output = ()>) {
        self.is_last.send_replace(true);
        tokio::select! {
            biased;
            _ = self.task.join_next() => {}
            () = deadline => self.task.shutdown().await,
        }
        let status = self.status();
        if status.pending_bytes > 0 {
            tracing::info!(
                bytes = status.pending_bytes,
                "rows stay on disk for the archive, until the next start with the same data directory"
            );
        }
    }

    /// Returns what the archive has, and what waits for it.
    pub(crate) fn status(&self) -> ArchiveStatus {
        self.counts.status()
    }

    /// Returns a reader of the status.
    pub(crate) fn reader(&self) -> StatusReader {
        StatusReader(Arc::clone(&self.counts))
    }
}

/// Reads the status of an archiver.
#[derive(Debug)]
pub(crate) struct StatusReader(Arc<Counts>);

impl StatusReader {
    /// Returns what the archive has, and what waits for it.
    pub(crate) fn status(&self) -> ArchiveStatus {
        self.0.status()
    }
}

impl Archiver {
    /// Opens the links in the spool's folder.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn links(folder: &Path) -> io::Result<Arc<ArchiveLinks>> {
        Ok(Arc::new(ArchiveLinks::open(folder)?))
    }

    /// Starts the archiver of a spool, whose segments get `links`. The spool's deliveries start later:
    /// until then, no segment of an earlier process is removed that has no link yet.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn start(
        archive: &Archive,
        links: Arc<ArchiveLinks>,
        spool: Spool,
        schema: &Schema,
    ) -> io::Result<ArchiverHandle> {
        let index = Index::open(Arc::clone(&links), spool.clone(), tables_of(archive, schema))?;
        let (is_last, receiver) = watch::channel(false);
        let counts = Arc::<Counts>::default();
        let archiver = Self {
            archive: archive.clone(),
            links,
            spool,
            tables: tables_of(archive, schema),
            counts: Arc::clone(&counts),
            is_last: receiver,
            index: Some(Box::new(index)),
            failed: None,
            failure_log: FailureLog::default(),
            failures: 0,
            tidied: Instant::now(),
        };
        let mut task = JoinSet::new();
        task.spawn(archiver.run());
        Ok(ArchiverHandle { task, is_last, counts })
    }

    async fn run(mut self) {
        loop {
            // Before the look: what the spool has written until then is found.
            let is_last = *self.is_last.borrow_and_update();
            let wait = match self.archive_all(is_last).await {
                Ok(()) if is_last => return,
                Ok(()) => {
                    if self.failures > 0 {
                        tracing::info!(archive = %self.archive.url, "the archive takes rows again");
                    }
                    self.failures = 0;
                    self.failure_log = FailureLog::default();
                    self.counts.is_failing.store(false, Ordering::Relaxed);
                    TICK
                }
                Err(failure) => {
                    self.record(failure);
                    if is_last {
                        return;
                    }
                    RETRY.wait(self.failures)
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                _ = self.is_last.changed() => {}
            }
        }
    }

    /// Uploads the objects that are due; all, if no rows come any more.
    async fn archive_all(&mut self, is_last: bool) -> Result<(), Failure> {
        let age = if is_last { Duration::ZERO } else { self.archive.age };
        let max_bytes = self.archive.max_bytes;
        loop {
            let counts = Arc::clone(&self.counts);
            let is_tidied = self.tidied.elapsed() < TIDY_INTERVAL;
            if !is_tidied {
                self.tidied = Instant::now();
            }
            self.spool.seal_older(age, |table| self.tables.contains(table));
            let failed = self.failed.clone();
            let next = move |index: &mut Index| {
                let is_new = index.read()?;
                if !is_tidied {
                    index.tidy()?;
                }
                index.remove_links()?;
                index.limit(max_bytes, &counts)?;
                let upload = match failed {
                    Some(failed) => Some(failed),
                    None => index.next_upload(age)?,
                };
                Ok::<_, io::Error>((is_new, upload))
            };
            let (is_new, upload) = self.blocking(next).await?;
            match upload {
                Some(upload) => {
                    // A retry need not pack and compress the rows again.
                    self.failed = Some(upload.clone());
                    self.upload(upload).await?;
                    self.failed = None;
                }
                None if is_new => {}
                None => return Ok(()),
            }
        }
    }

    async fn upload(&mut self, upload: Upload) -> Result<(), Failure> {
        let Upload { name, bytes, rows } = upload;
        let length = bytes.len() as u64;
        if rows > 0 {
            // An upload ends if no byte of it moves.
            self.archive.url.put(&name, bytes).await.map_err(Failure::Store)?;
        }
        self.blocking(Index::stored).await?;
        let counts = &self.counts;
        if rows > 0 {
            for (count, by) in [(&counts.objects, 1), (&counts.rows, rows), (&counts.bytes, length)] {
                count.fetch_add(by, Ordering::Relaxed);
            }
            tracing::debug!(object = name, rows, bytes = length, "an object is archived");
        }
        Ok(())
    }

    /// Runs work on the index where it may block, and opens the index before the first time.
    async fn blocking<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Index) -> io::Result<R> + Send + 'static,
    ) -> Result<R, Failure> {
        let index = self.index.take();
        let (links, spool, tables) = (Arc::clone(&self.links), self.spool.clone(), self.tables.clone());
        let done = spawn_blocking(move || {
            let mut index = match index {
                Some(index) => index,
                None => Box::new(Index::open(links, spool, tables)?),
            };
            let result = work(&mut index);
            Ok::<_, io::Error>((index, result))
        });
        let (index, result) = done.await.map_err(io::Error::other)??;
        self.index = Some(index);
        Ok(result?)
    }

    /// Counts and logs a failure.
    fn record(&mut self, failure: Failure) {
        self.failures = self.failures.saturating_add(1);
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        self.counts.is_failing.store(true, Ordering::Relaxed);
        let Some(is_recent) = self.failure_log.due(Class::Retry) else {
            return;
        };
        let archive = &self.archive.url;
        match (failure, is_recent) {
            (Failure::Disk(error), _) => {
                tracing::error!(%archive, %error, "the data folder of the archive cannot be used; the archive retries");
            }
            (Failure::Store(error), true) => {
                tracing::warn!(%archive, error, "rows cannot be archived and wait on disk; the archive retries");
            }
            (Failure::Store(error), false) => {
                tracing::error!(%archive, error, "rows cannot be archived for minutes and wait on disk; the archive retries");
            }
        }
    }
}

/// Returns the names of the tables whose rows are archived.
fn tables_of(archive: &Archive, schema: &Schema) -> HashSet<String> {
    match &archive.tables {
        Some(tables) => tables.iter().cloned().collect(),
        None => schema.tables.iter().map(|table| table.name.to_owned()).collect(),
    }
}
