//! The end of a writer: the deliveries, the spool's log and the consumers of the rows.

use std::{thread, time::Duration};

use futures_util::FutureExt;
use tokio::time::sleep;

use super::{DrainReport, Work, Writer};
use crate::spool::LogEnd;

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
    ///
    /// ```
    /// use rowmill_ingest::Writer;
    /// use tokio::signal::ctrl_c;
    ///
    /// /// Waits for ClickHouse until someone presses Ctrl-C a second time.
    /// async fn stop(writer: &Writer) {
    ///     writer.drain_until(async { _ = ctrl_c().await }).await;
    /// }
    /// ```
    pub async fn drain_until(&self, deadline: impl Future<Output = ()>) -> DrainReport {
        self.shared.spool.close();
        let mut work = self.shared.work.lock().await;
        let deadline = deadline.shared();
        let is_late = self.end_deliveries(&mut work, deadline.clone()).await;
        let report = self.end_log(&mut work).await;
        work.consumers.finish(is_late, deadline).await;
        report
    }

    /// Ends the deliveries once ClickHouse has all rows of the closed spool, or `deadline` completes.
    /// Returns whether it has.
    pub(super) async fn end_deliveries(&self, work: &mut Work, deadline: impl Future<Output = ()>) -> bool {
        work.consumers.send_rest();
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
        is_late
    }

    /// Ends the spool's log, and returns the rows that are left.
    pub(super) async fn end_log(&self, work: &mut Work) -> DrainReport {
        let shared = &self.shared;
        shared.spool.stop();
        if let Some(log) = work.log.take() {
            join_log(log).await;
        }
        let left: Vec<_> = self
            .counters()
            .into_iter()
            .filter(|counts| counts.rows_pending > 0)
            .collect();
        if shared.spool.log_end() == Some(LogEnd::Delivers) {
            let rows: u64 = left.iter().map(|counts| counts.rows_pending).sum();
            if rows > 0 {
                tracing::info!(
                    rows,
                    "rows are not stored yet, and stay in the shared log or in the archive"
                );
            }
            return DrainReport::new(Vec::new(), true);
        }
        let report = DrainReport::new(left, shared.spool.has_disk());
        report.log();
        report
    }
}

/// Waits until the thread that writes a spool's log has ended.
pub(super) async fn join_log(log: thread::JoinHandle<()>) {
    let ended = tokio::task::spawn_blocking(move || log.join()).await;
    if !matches!(ended, Ok(Ok(()))) {
        tracing::error!("the spool's log ended unexpectedly");
    }
}
