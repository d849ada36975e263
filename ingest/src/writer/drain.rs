//! The end of a writer: waits until ClickHouse has all rows, and reports the rest.

use std::time::Duration;

use tokio::time::sleep;

use super::{Shared, Writer, drain_report::DrainReport};

impl Writer {
    /// Stops accepting rows, waits at most `max_wait` until ClickHouse has all accepted rows, and
    /// stops the deliveries.
    ///
    /// Remaining rows are in the folder for the next process. Rows that are not on disk, since there
    /// is no folder or the disk has failed, are lost when the process ends, which is logged as an
    /// error.
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
        let report = DrainReport::new(left, shared.spool.has_disk());
        report.log();
        report
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
