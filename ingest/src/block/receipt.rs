//! Receipts: the position of rows in their block, and the wait until they are safe.

use std::{ops::Range, pin::Pin, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    ack::Ack,
    block::progress::{SharedProgress, WaitCondition},
};

/// The position of rows in their block. Lets the sender wait until the rows are safe.
///
/// ```
/// use std::time::Duration;
///
/// use rowmill_ingest::{Ack, writer::Receipt};
///
/// /// Waits for the requested level and returns whether the row may be lost with the process.
/// async fn is_at_risk(receipt: Receipt) -> bool {
///     receipt.reached_within(Duration::from_secs(10)).await < Ack::Spooled
/// }
/// ```
#[derive(Debug)]
pub struct Receipt {
    /// `None` if there is nothing to wait for.
    pub(crate) waiting: Option<Waiting>,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) progress: Arc<SharedProgress>,
    pub(crate) rows: Range<u32>,
    pub(crate) ack: Ack,
    /// Whether rows are written to a disk or to a shared log at all.
    pub(crate) is_durable: bool,
}

impl Receipt {
    /// The receipt of rows that need no wait.
    pub(crate) const NONE: Self = Self { waiting: None };

    /// Returns whether there is anything to wait for.
    pub fn is_pending(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits until the rows reach the requested level or cannot reach it, for at most `limit`, and
    /// returns their level, up to the requested one. It is lower if the disk fails, ClickHouse has
    /// not answered, or rows are only in memory.
    pub async fn reached_within(self, limit: Duration) -> Ack {
        let requested = self
            .waiting
            .as_ref()
            .map(|waiting| (Arc::clone(&waiting.progress), waiting.rows.clone(), waiting.ack));
        match (timeout(limit, self.reached()).await, requested) {
            (Ok(reached), _) => reached,
            (Err(_), Some((progress, rows, ack))) => progress.read(|progress| progress.level(&rows)).min(ack),
            (Err(_), None) => Ack::Accepted,
        }
    }

    /// Waits as [`reached_within`](Self::reached_within) does, without a time limit.
    pub async fn reached(self) -> Ack {
        let Some(Waiting {
            progress,
            rows,
            ack,
            is_durable,
        }) = self.waiting
        else {
            return Ack::Accepted;
        };
        // Rows that are only in memory never become `Spooled`.
        if is_durable || ack != Ack::Spooled {
            let condition = WaitCondition {
                rows: rows.clone(),
                ack,
                fail_fast: true,
            };
            progress.until(condition).await;
        }
        progress.read(|progress| progress.level(&rows)).min(ack)
    }
}

/// Waits as [`reached`](Receipt::reached) does: `writer.insert(&row, Ack::Stored)?.await`.
impl IntoFuture for Receipt {
    type Output = Ack;
    type IntoFuture = Pin<Box<dyn Future<Output = Ack> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.reached())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::progress::Progress;

    fn receipt(progress: &Arc<SharedProgress>, row: u32, ack: Ack) -> Receipt {
        let waiting = Waiting {
            progress: Arc::clone(progress),
            rows: row..row + 1,
            ack,
            is_durable: true,
        };
        Receipt { waiting: Some(waiting) }
    }

    #[tokio::test]
    async fn a_receipt_waits_for_its_own_row() {
        let progress = Arc::new(SharedProgress::new(Progress::default()));
        let second = tokio::spawn(receipt(&progress, 1, Ack::Spooled).reached());
        progress.update(|progress| progress.on_disk = 1);
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        progress.update(|progress| progress.on_disk = 2);
        assert_eq!(second.await.ok(), Some(Ack::Spooled));
    }

    #[tokio::test]
    async fn a_refused_row_does_not_count_as_stored() {
        let progress = Arc::new(SharedProgress::new(Progress {
            on_disk: 3,
            is_done: true,
            refused: vec![1],
            ..Progress::default()
        }));
        assert_eq!(receipt(&progress, 1, Ack::Stored).reached().await, Ack::Spooled);
        assert_eq!(receipt(&progress, 2, Ack::Stored).reached().await, Ack::Stored);
    }

    #[tokio::test]
    async fn a_failing_disk_ends_the_wait_only_of_rows_that_are_not_on_it() {
        let progress = Arc::new(SharedProgress::new(Progress {
            on_disk: 1,
            is_failing: true,
            ..Progress::default()
        }));
        assert_eq!(receipt(&progress, 1, Ack::Spooled).reached().await, Ack::Accepted);
        let stored = tokio::spawn(receipt(&progress, 0, Ack::Stored).reached());
        tokio::task::yield_now().await;
        assert!(!stored.is_finished());
        progress.update(|progress| progress.is_done = true);
        assert_eq!(stored.await.ok(), Some(Ack::Stored));
    }
}
