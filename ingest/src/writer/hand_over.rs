//! The handover of rows to another collector, and from one.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::FutureExt;
use tokio::time::sleep;

use super::{DrainReport, StopAfter, Writer, WriterOptions, drain::join_log};
use crate::{
    budget::Booking,
    handover::{HandoverReport, ReceiveError, Received, Target, hand_over},
    spool::{Spool, SpoolError, SpoolLimits, TableLayouts},
    table::Schema,
};

/// The body of a request with blocks of another collector, which counts in the memory of requests.
#[derive(Debug)]
pub struct IncomingPackage {
    bytes: BytesMut,
    booking: Booking,
}

impl IncomingPackage {
    /// Returns the length of the body so far, in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether the body has no byte yet.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Appends bytes of the body.
    ///
    /// # Errors
    /// [`ReceiveError::Full`]: the collector has no memory for them now.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ReceiveError> {
        // The buffer doubles when it grows.
        let capacity = (self.bytes.len() + bytes.len()).next_power_of_two();
        self.booking.grow_to(capacity).map_err(|_| ReceiveError::Full)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

impl Writer {
    /// Returns an empty body for [`receive`](Self::receive).
    pub fn incoming_package(&self) -> IncomingPackage {
        IncomingPackage {
            bytes: BytesMut::new(),
            booking: self.request_memory().booking(),
        }
    }

    /// Takes the blocks of another collector, all of them or none, and returns once they are on
    /// disk. The deliveries then treat them as blocks that may have been sent. A block that this
    /// writer has taken before is not taken again.
    ///
    /// `package` is the body of a request to [`PATH`](crate::handover::PATH).
    ///
    /// # Errors
    /// See [`ReceiveError`]. This writer then has none of the blocks.
    pub async fn receive(&self, package: IncomingPackage) -> Result<Received, ReceiveError> {
        let IncomingPackage { bytes, booking } = package;
        let received = self.shared.spool.receive(bytes.freeze()).await;
        // Until here, the bytes are in memory.
        drop(booking);
        received
    }

    /// Drains as [`drain_until`](Self::drain_until) does, and hands the rows that ClickHouse has
    /// not taken until then to another collector, until `give_up` completes. Until then, the archive and
    /// the topics get their rows, too.
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
        // Each step is over when the time is.
        let give_up = give_up.shared();
        tokio::select! {
            () = all_inserts_ended(log_runs.as_ref()) => {}
            () = give_up.clone() => {}
        }
        let report = hand_over(&self.shared.spool, target, give_up.clone()).await;
        drop(log_runs);
        let drained = self.end_log(&mut work).await;
        // The rows may leave this machine, but what waits for the archive and the topics does not.
        work.consumers.finish(false, give_up).await;
        (drained, report)
    }
}

/// Waits until each insert in flight has ended. A delivery that is stopped aborts its inserts, and
/// does not wait for them: one of them may still mark rows as stored.
async fn all_inserts_ended(delivery: Option<&Arc<StopAfter>>) {
    while delivery.is_some_and(|delivery| Arc::strong_count(delivery) > 1) {
        sleep(Duration::from_millis(1)).await;
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
    let limits = SpoolLimits {
        // Whatever the collector of the folder keeps: with a lower limit, old keys would be removed.
        keys: usize::MAX / 64,
        ..WriterOptions::default().limits()
    };
    let (spool, log) = Spool::open(folder, TableLayouts::of(schema), limits)?;
    spool.close();
    let report = hand_over(&spool, target, give_up).await;
    spool.stop();
    join_log(log).await;
    Ok(report)
}
