//! Receipts: the positions of rows in their blocks, and the wait until they are safe.

use std::{iter, ops::Range, pin::Pin, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::{
    ack::Ack,
    block::progress::{SharedProgress, WaitCondition},
};

/// The positions of rows in their blocks. Lets the sender wait until the rows are safe.
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
    /// The receipt of the other rows that were accepted together, in the blocks of other shards.
    pub(crate) others: Option<Box<Receipt>>,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) progress: Arc<SharedProgress>,
    pub(crate) rows: Range<u32>,
    pub(crate) ack: Ack,
    /// Whether rows are written to a disk or to a shared log at all.
    pub(crate) is_durable: bool,
}

/// The end of a wait for rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The level of all rows, up to the requested one.
    pub(crate) level: Ack,
    /// The length of the longest row that the shared log has refused, in bytes, if that alone keeps
    /// the rows from the requested level.
    pub(crate) too_long_bytes: Option<usize>,
}

impl Receipt {
    /// The receipt of rows that need no wait.
    pub(crate) const NONE: Self = Self {
        waiting: None,
        others: None,
    };

    /// Returns whether there is anything to wait for.
    pub fn is_pending(&self) -> bool {
        self.waiting.is_some()
    }

    /// Returns the receipt of all rows of `receipts`, which have the same level.
    pub(crate) fn of_all(receipts: impl IntoIterator<Item = Self>) -> Self {
        let add = |others: Self, receipt: Self| Self {
            waiting: receipt.waiting,
            others: others.waiting.is_some().then(|| Box::new(others)),
        };
        receipts.into_iter().fold(Self::NONE, add)
    }

    /// Lowers the requested level to `ack`.
    pub(crate) fn lower(&mut self, ack: Ack) {
        let mut receipt = Some(self);
        while let Some(Self { waiting, others }) = receipt {
            if let Some(waiting) = waiting {
                waiting.ack = waiting.ack.min(ack);
            }
            receipt = others.as_deref_mut();
        }
    }

    /// Waits until the rows reach the requested level or cannot reach it, for at most `limit`, and
    /// returns their level, up to the requested one. It is lower if the disk fails, ClickHouse has
    /// not answered, or rows are only in memory.
    pub async fn reached_within(self, limit: Duration) -> Ack {
        self.end_within(limit).await.level
    }

    /// Waits as [`reached_within`](Self::reached_within) does.
    pub(crate) async fn end_within(self, limit: Duration) -> Reached {
        let requested = self
            .waiting
            .as_ref()
            .map(|waiting| (Arc::clone(&waiting.progress), waiting.rows.clone(), waiting.ack));
        let others = self.others.as_ref().map(|others| others.rows());
        let reached = timeout(limit, self.reached()).await;
        let Some((progress, rows, ack)) = requested else {
            return Reached {
                level: Ack::Accepted,
                too_long_bytes: None,
            };
        };
        let blocks =
            || iter::once((&progress, &rows)).chain(others.iter().flatten().map(|(progress, rows)| (progress, rows)));
        let level = reached.unwrap_or_else(|_| {
            let levels = blocks().map(|(progress, rows)| progress.read(|progress| progress.level(rows)));
            levels.fold(ack, Ack::min)
        });
        let too_long_bytes = match level < ack {
            true => too_long_bytes(blocks(), ack),
            false => None,
        };
        Reached { level, too_long_bytes }
    }

    /// Waits as [`reached_within`](Self::reached_within) does, without a time limit.
    pub async fn reached(self) -> Ack {
        let Some(waiting) = self.waiting else {
            return Ack::Accepted;
        };
        let mut reached = waiting.reached().await;
        let mut others = self.others;
        while let Some(receipt) = others {
            if let Some(waiting) = receipt.waiting {
                reached = reached.min(waiting.reached().await);
            }
            others = receipt.others;
        }
        reached
    }

    /// Returns the positions of the rows.
    fn rows(&self) -> Vec<(Arc<SharedProgress>, Range<u32>)> {
        let receipts = iter::successors(Some(self), |receipt| receipt.others.as_deref());
        let waiting = receipts.filter_map(|receipt| receipt.waiting.as_ref());
        waiting
            .map(|waiting| (Arc::clone(&waiting.progress), waiting.rows.clone()))
            .collect()
    }
}

impl Waiting {
    async fn reached(self) -> Ack {
        let Self {
            progress,
            rows,
            ack,
            is_durable,
        } = self;
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

/// Returns the length of the longest row that the shared log has refused, in bytes; `None` if it has
/// refused none, or if other rows have not reached `ack` either.
#[cold]
fn too_long_bytes<'r>(
    blocks: impl Iterator<Item = (&'r Arc<SharedProgress>, &'r Range<u32>)>,
    ack: Ack,
) -> Option<usize> {
    let mut longest = None;
    for (progress, rows) in blocks {
        let (bytes, level) = progress.read(|progress| (progress.too_long_bytes(rows), progress.level(rows)));
        match bytes {
            Some(_) => longest = longest.max(bytes),
            None if level < ack => return None,
            None => {}
        }
    }
    longest
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
    use crate::block::progress::{Progress, TooLong};

    fn receipt(progress: &Arc<SharedProgress>, row: u32, ack: Ack) -> Receipt {
        let waiting = Waiting {
            progress: Arc::clone(progress),
            rows: row..row + 1,
            ack,
            is_durable: true,
        };
        Receipt {
            waiting: Some(waiting),
            others: None,
        }
    }

    #[tokio::test]
    async fn a_receipt_of_several_blocks_waits_for_the_last_of_them() {
        let blocks = [(); 3].map(|()| Arc::new(SharedProgress::new(Progress::default())));
        let receipts = || blocks.iter().map(|progress| receipt(progress, 0, Ack::Stored));
        let all = tokio::spawn(Receipt::of_all(receipts()).reached());
        let late = Receipt::of_all(receipts());
        let mut lowered = Receipt::of_all(receipts());
        for progress in &blocks[1..] {
            progress.update(|progress| {
                progress.on_disk = 1;
                progress.is_done = true;
            });
        }
        tokio::task::yield_now().await;
        assert!(!all.is_finished());
        assert_eq!(late.reached_within(Duration::ZERO).await, Ack::Accepted);
        blocks[0].update(|progress| progress.on_disk = 1);
        lowered.lower(Ack::Spooled);
        assert_eq!(lowered.reached().await, Ack::Spooled);
        blocks[0].update(|progress| progress.is_done = true);
        assert_eq!(all.await.ok(), Some(Ack::Stored));
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
    async fn a_row_that_the_shared_log_refuses_is_told_once_all_others_are_there() {
        let progress = || {
            Arc::new(SharedProgress::new(Progress {
                is_failing: true,
                is_in_shared_log: true,
                refused: vec![1],
                too_long: vec![TooLong { row: 1, bytes: 900 }],
                ..Progress::default()
            }))
        };
        let (first, second) = (progress(), progress());
        let end = async |rows: [u32; 2]| {
            let receipts = [(&first, rows[0]), (&second, rows[1])];
            let receipts = receipts.map(|(progress, row)| receipt(progress, row, Ack::Replicated));
            Receipt::of_all(receipts).end_within(Duration::ZERO).await
        };
        let reached = |level, too_long_bytes| Reached { level, too_long_bytes };
        assert_eq!(end([1, 0]).await, reached(Ack::Accepted, None));
        first.update(|progress| progress.is_done = true);
        assert_eq!(end([1, 0]).await, reached(Ack::Accepted, None));
        second.update(|progress| progress.is_done = true);
        assert_eq!(end([1, 0]).await, reached(Ack::Accepted, Some(900)));
        assert_eq!(end([0, 1]).await, reached(Ack::Accepted, Some(900)));
        assert_eq!(end([0, 2]).await, reached(Ack::Replicated, None));
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
