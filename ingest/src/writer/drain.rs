//! The end of a writer: waits until ClickHouse has all rows, and reports the rest.

use std::time::Duration;

use tokio::time::sleep;

use super::{Shared, Writer};
use crate::spool::TableCounts;

impl Writer {
    /// Stops accepting rows, waits at most `max_wait` until ClickHouse has all accepted rows, and
    /// stops the deliveries.
    ///
    /// Remaining rows are in the folder for the next process. Without a folder, they are lost when
    /// the process ends, which is logged as an error.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use rowmill_ingest::Writer;
    ///
    /// /// Returns whether no row is lost.
    /// async fn stop(writer: &Writer) -> bool {
    ///     let report = writer.drain(Duration::from_secs(30)).await;
    ///     report.is_complete() || report.is_kept
    /// }
    /// ```
    pub async fn drain(&self, max_wait: Duration) -> DrainReport {
        self.drain_until(sleep(max_wait)).await
    }

    /// Drains as [`drain`](Self::drain) does, until `deadline` completes.
    pub async fn drain_until(&self, deadline: impl Future<Output = ()>) -> DrainReport {
        let shared = &self.shared;
        shared.spool.close();
        let mut work = shared.work.lock().await;
        let all_end = async { while work.deliveries.join_next().await.is_some() {} };
        let is_late = tokio::select! {
            biased;
            () = all_end => false,
            () = deadline => true,
        };
        if is_late {
            work.deliveries.shutdown().await;
        }
        work.syncs.shutdown().await;
        shared.spool.stop();
        if let Some(log) = work.log.take() {
            let ended = tokio::task::spawn_blocking(move || log.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the spool's log ended unexpectedly");
            }
        }
        drop(work);
        let left: Vec<_> = self
            .counters()
            .into_iter()
            .filter(|counts| counts.rows_pending > 0)
            .collect();
        let is_kept = shared.spool.has_disk() && !shared.spool.is_failing();
        for TableCounts {
            table, rows_pending, ..
        } in &left
        {
            if is_kept {
                tracing::warn!(%table, rows = rows_pending, "rows stay in the spool until the next start");
            } else {
                tracing::error!(%table, rows = rows_pending, "rows were not stored in time and are lost");
            }
        }
        DrainReport { left, is_kept }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.spool.close();
        let work = self.work.get_mut();
        work.deliveries.detach_all();
        // These tasks end with the deliveries at the latest.
        work.syncs.detach_all();
    }
}

/// The rows that [`Writer::drain`] could not deliver to ClickHouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainReport {
    /// The tables with remaining rows.
    pub left: Vec<TableCounts>,
    /// Whether the remaining rows are on disk, for the next process.
    pub is_kept: bool,
}

impl DrainReport {
    /// Returns whether every accepted row is stored.
    pub fn is_complete(&self) -> bool {
        self.left.is_empty()
    }

    /// Returns the number of remaining rows.
    pub fn rows_left(&self) -> u64 {
        self.left.iter().map(|counts| counts.rows_pending).sum()
    }
}
