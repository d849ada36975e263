//! Start: where a follower begins to read its partition.

use tokio::time::sleep;

use super::{cuts::Sequences, follow::Follower, read::report_removed};
use crate::store::backoff::RETRY;

/// Where a follower begins.
pub(super) struct Start {
    /// The offset of the first record that is not stored.
    pub(super) position: i64,
    /// The offset after the last record.
    pub(super) end: i64,
    /// The last records before it.
    pub(super) sequences: Sequences,
    /// The offset before which an earlier process may have stored the records, without a position.
    pub(super) in_doubt_until: i64,
}

impl Follower {
    /// Returns where to begin; `None` if the spool was closed before that was known.
    pub(super) async fn start(&self) -> Option<Start> {
        let mut failures = 0;
        let (first, end) = loop {
            let bounds = async {
                let partition = self.shared.log.partition(&self.id.0, self.id.1).await?;
                partition.bounds().await
            };
            match bounds.await {
                Ok(bounds) => break bounds,
                Err(error) => {
                    failures += 1;
                    if failures == 1 {
                        tracing::warn!(topic = &*self.id.0, partition = self.id.1, %error, "a partition of the shared log cannot be read and will be retried");
                    }
                    sleep(RETRY.wait(failures)).await;
                }
            }
        };
        let from_first = Start {
            position: first,
            end,
            sequences: Sequences::new(),
            in_doubt_until: end,
        };
        let Some(stored) = self.stored else {
            return Some(from_first);
        };
        let (topic, partition) = (&*self.id.0, self.id.1);
        let position = stored.position;
        if position < first {
            report_removed(topic, partition, first - position);
            return Some(from_first);
        }
        if position > end {
            tracing::error!(
                topic,
                partition,
                position,
                end,
                "the partition ends before the position of the rows that are stored: it was created again, or the \
                 brokers have lost records; it is not delivered: stop the deliveries, and delete the control topic \
                 and the rows of `rowmill_log_positions`"
            );
            self.shared.spool.closed().await;
            return None;
        }
        // The member has read the cut that ends there, unless the brokers have removed it.
        let sequences = self.cuts.borrow().sequences_at(position).cloned();
        if sequences.is_none() {
            tracing::warn!(
                topic,
                partition,
                position,
                "the control topic has no cut at the position of the rows that are stored: raise its `retention.ms`"
            );
        }
        Some(Start {
            position,
            end,
            sequences: sequences.unwrap_or_default(),
            in_doubt_until: position,
        })
    }
}
