//! The handover of rows to another collector, and from one.

use std::path::Path;

use bytes::Bytes;

use super::{DrainReport, Writer, WriterOptions, join_log};
use crate::{
    handover::{HandoverReport, ReceiveError, Received, Target, hand_over},
    spool::{Spool, SpoolError, TableLayouts},
    table::Schema,
};

impl Writer {
    /// Takes the blocks of another collector, all of them or none, and returns once they are on
    /// disk. The deliveries then treat them as blocks that may have been sent. A block that this
    /// writer has taken before is not taken again.
    ///
    /// `package` is the body of a request to [`PATH`](crate::handover::PATH).
    ///
    /// # Errors
    /// See [`ReceiveError`]. This writer then has none of the blocks.
    pub async fn receive(&self, package: Bytes) -> Result<Received, ReceiveError> {
        self.shared.spool.receive(package).await
    }

    /// Drains as [`drain_until`](Self::drain_until) does, and hands the rows that ClickHouse has
    /// not taken until then to another collector, until `give_up` completes.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use rowmill_ingest::{Writer, handover::Target};
    /// use tokio::time::sleep;
    ///
    /// /// Returns whether the data folder may be deleted.
    /// async fn leave(writer: &Writer, other: &Target) -> bool {
    ///     let deadline = sleep(Duration::from_secs(10));
    ///     let (drained, _) = writer.drain_to(deadline, other, sleep(Duration::from_secs(30))).await;
    ///     drained.is_complete()
    /// }
    /// ```
    pub async fn drain_to(
        &self,
        deadline: impl Future<Output = ()>,
        target: &Target,
        give_up: impl Future<Output = ()>,
    ) -> (DrainReport, HandoverReport) {
        self.shared.spool.close();
        let mut work = self.shared.work.lock().await;
        // The log is still needed after the deliveries.
        let log_runs = work.stop_log.upgrade();
        self.end_deliveries(&mut work, deadline).await;
        let report = hand_over(&self.shared.spool, target, give_up).await;
        drop(log_runs);
        (self.end_log(&mut work).await, report)
    }
}

/// Hands the rows in the spool `folder` of a collector that does not run to another collector,
/// until `give_up` completes.
///
/// The call can be repeated, whatever has ended the one before: a block that the other collector
/// has is not stored twice. `schema` names the order of the tables; rows of other tables are handed
/// over as well.
///
/// # Errors
/// See [`SpoolError`]: another process holds the folder, or it cannot be read or written.
pub async fn hand_over_folder(
    schema: &'static Schema,
    folder: &Path,
    target: &Target,
    give_up: impl Future<Output = ()>,
) -> Result<HandoverReport, SpoolError> {
    let limits = WriterOptions::default().limits();
    let (spool, log) = Spool::open(folder, TableLayouts::of(schema), limits)?;
    spool.close();
    let report = hand_over(&spool, target, give_up).await;
    spool.stop();
    join_log(log).await;
    Ok(report)
}
