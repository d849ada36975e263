//! Uploads objects, until the spool is closed and its last rows are on disk.

use std::{
    collections::HashSet,
    io,
    path::Path,
    pin::pin,
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
    index::{Index, Object, Upload},
    status::Counts,
};
use crate::{
    spool::{
        Spool,
        links::{Consumer, SegmentLinks},
    },
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

/// The result of one look at the index.
struct Step {
    is_new: bool,
    is_tidy: bool,
    upload: io::Result<Option<Upload>>,
    /// The result of all but the upload.
    result: io::Result<()>,
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
    links: Arc<SegmentLinks>,
    spool: Spool,
    tables: HashSet<String>,
    counts: Arc<Counts>,
    stage: watch::Receiver<Stage>,
    /// `None` while another thread has it, and after a failure there.
    index: Option<Box<Index>>,
    /// The object whose upload has failed.
    failed: Option<Upload>,
    failure_log: FailureLog,
    failures: u32,
    /// The time of the last tidying that succeeded.
    tidied: Option<Instant>,
}

/// How far the end of the spool has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The spool accepts no rows any more, and its deliveries go on.
    Closed,
    /// The spool's log has ended.
    Ended,
}

/// A running archiver.
#[derive(Debug)]
pub(crate) struct ArchiverHandle {
    task: JoinSet<()>,
    stage: watch::Sender<Stage>,
    counts: Arc<Counts>,
}

/// Begins to upload all rows, whatever their age. The spool is closed, and its deliveries go on.
pub(crate) fn upload_rest(archiver: Option<&ArchiverHandle>) {
    if let Some(archiver) = archiver {
        archiver.stage.send_replace(Stage::Closed);
    }
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
        self.stage.send_replace(Stage::Ended);
        tokio::select! {
            biased;
            _ = self.task.join_next() => {}
            () = deadline => self.task.shutdown().await,
        }
        let status = self.status();
        if status.pending_bytes > 0 {
            tracing::warn!(
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
    pub(crate) fn links(folder: &Path) -> io::Result<Arc<SegmentLinks>> {
        Ok(Arc::new(SegmentLinks::open(folder, Consumer::Archive)?))
    }

    /// Starts the archiver of a spool, whose segments get `links`. The spool's deliveries start later:
    /// until then, no segment of an earlier process is removed that has no link yet.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn start(
        archive: &Archive,
        links: Arc<SegmentLinks>,
        spool: Spool,
        schema: &Schema,
    ) -> io::Result<ArchiverHandle> {
        let tables = tables_of(archive, schema);
        let index = Index::open(Arc::clone(&links), spool.clone(), tables.clone(), archive.format)?;
        let (stage, receiver) = watch::channel(Stage::Open);
        let counts = Arc::<Counts>::default();
        let archiver = Self {
            archive: archive.clone(),
            links,
            spool,
            tables,
            counts: Arc::clone(&counts),
            stage: receiver,
            index: Some(Box::new(index)),
            failed: None,
            failure_log: FailureLog::default(),
            failures: 0,
            tidied: None,
        };
        let mut task = JoinSet::new();
        task.spawn(archiver.run());
        Ok(ArchiverHandle { task, stage, counts })
    }

    async fn run(mut self) {
        loop {
            // Before the look: what the spool has written until then is found.
            let stage = *self.stage.borrow_and_update();
            let is_last = stage == Stage::Ended;
            let wait = match self.archive_all(stage).await {
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
                () = self.links.filled() => {}
                _ = self.stage.changed() => {}
            }
        }
    }

    /// Uploads the objects that are due; all, if no rows come any more.
    async fn archive_all(&mut self, stage: Stage) -> Result<(), Failure> {
        let age = match stage {
            Stage::Open => self.archive.age,
            Stage::Closed | Stage::Ended => Duration::ZERO,
        };
        let max_bytes = self.archive.max_bytes;
        loop {
            let counts = Arc::clone(&self.counts);
            let is_tidied = self.tidied.is_some_and(|tidied| tidied.elapsed() < TIDY_INTERVAL);
            self.spool.seal_older(age, |table| self.tables.contains(table));
            let failed = self.failed.clone();
            let next = move |index: &mut Index| {
                // A failure of one step ends no other: a full disk is still limited, and rows that can be
                // read are still uploaded.
                let read = index.read();
                let tidied = if is_tidied { Ok(()) } else { index.tidy() };
                let removed = index.remove_links();
                let limited = index.limit(max_bytes, &counts);
                let upload = match failed {
                    Some(failed) => Ok(Some(failed)),
                    None => index.next_upload(age),
                };
                Ok(Step {
                    is_new: read.as_ref().is_ok_and(|is_new| *is_new),
                    is_tidy: tidied.is_ok(),
                    result: read.map(drop).and(tidied).and(removed).and(limited),
                    upload,
                })
            };
            let step = self.blocking(next).await?;
            if !is_tidied && step.is_tidy {
                self.tidied = Some(Instant::now());
            }
            match step.upload? {
                Some(upload) => {
                    // A retry need not pack and compress the rows again.
                    self.failed = Some(upload.clone());
                    self.upload(upload).await?;
                    self.failed = None;
                }
                None if step.is_new => {}
                None => return Ok(step.result?),
            }
        }
    }

    async fn upload(&mut self, upload: Upload) -> Result<(), Failure> {
        for object in &upload.objects {
            self.put(object).await?;
        }
        self.blocking(Index::stored).await?;
        if upload.missing_blocks > 0 {
            tracing::error!(
                object = upload.name,
                rows = upload.rows(),
                missing_blocks = upload.missing_blocks,
                "an object lacks blocks, which the disk does not have any more; an earlier object of this name may have had them"
            );
        }
        upload.objects.iter().for_each(|object| self.count(object));
        Ok(())
    }

    /// Puts an object into the store.
    async fn put(&mut self, object: &Object) -> Result<(), Failure> {
        let archive = self.archive.clone();
        let mut put = pin!(archive.url.put(&object.name, object.bytes.clone()));
        // An upload may take long, while the disk fills up.
        loop {
            tokio::select! {
                result = &mut put => return result.map_err(Failure::Store),
                () = self.links.filled() => {}
                () = sleep(TIDY_INTERVAL) => {}
            }
            let (max_bytes, counts) = (archive.max_bytes, Arc::clone(&self.counts));
            self.blocking(move |index: &mut Index| index.limit(max_bytes, &counts))
                .await?;
        }
    }

    /// Counts and logs an object that the store has.
    fn count(&self, object: &Object) {
        let Object { name, rows, kept, .. } = object;
        let (rows, bytes) = (*rows, object.bytes.len() as u64);
        let counts = &self.counts;
        for (count, by) in [(&counts.objects, 1), (&counts.rows, rows), (&counts.bytes, bytes)] {
            count.fetch_add(by, Ordering::Relaxed);
        }
        tracing::debug!(object = name, rows, bytes, "an object is archived");
        if let Some(reason) = kept {
            counts.kept_rows.fetch_add(rows, Ordering::Relaxed);
            tracing::error!(
                object = name,
                rows,
                reason,
                "rows cannot be written as Parquet and are archived as blocks, from which `rowmill replay` inserts them"
            );
        }
    }

    /// Runs work on the index where it may block, and opens the index before the first time.
    async fn blocking<R: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Index) -> io::Result<R> + Send + 'static,
    ) -> Result<R, Failure> {
        let index = self.index.take();
        let (links, spool, tables) = (Arc::clone(&self.links), self.spool.clone(), self.tables.clone());
        let format = self.archive.format;
        let done = spawn_blocking(move || {
            let mut index = match index {
                Some(index) => index,
                None => Box::new(Index::open(links, spool, tables, format)?),
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
        if let Failure::Disk(error) = &failure {
            self.links.note_full(error);
        }
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
