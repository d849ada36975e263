//! Chain: the parts of an upload that is decoded more than once, each with an idempotency key.
//!
//! The key of a part has the number of items before it; the record of the key has the number of items
//! after it, and of its rows. Key and rows are one durable fact, so the chain of keys from item 0 on
//! leads to the first item whose part is not recorded.

use crate::{
    ack::Ack,
    block::row_key::KeyRecord,
    collect::{Collector, upload::stop::Stop},
    idempotency::now_s,
};

/// The scope of the keys: no route has this name.
const SCOPE: &[u8] = b"rowmill upload";

/// The recorded parts of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    id: u128,
    /// The time for which the keys are known, in seconds.
    window_s: u32,
    /// The number of items in the parts that have a key.
    pub(super) items: u64,
    /// The number of rows in these parts.
    pub(super) rows: u64,
    /// The number of items after these parts that have no row.
    pub(super) without_rows: u64,
    /// The lowest level that these parts have reached; `None` if there is none.
    pub(super) reached: Option<Ack>,
}

impl Chain {
    /// Returns the parts of the upload `id` that are recorded, and waits until they have reached the level
    /// `ack`, which the upload promises.
    pub(super) async fn find(collector: &Collector, id: u128, window_s: u32, mut ack: Ack) -> Result<Self, Stop> {
        let mut chain = Self {
            id,
            window_s,
            items: 0,
            rows: 0,
            without_rows: 0,
            reached: None,
        };
        loop {
            let record = chain.record(collector, 0, 0)?;
            let Some(repeat) = collector.writer.find_key(record.hash, ack, now_s()) else {
                return Ok(chain);
            };
            let reached = match repeat.receipt.is_pending() {
                true => repeat.receipt.reached_within(collector.ack_timeout).await,
                false => repeat.reached,
            };
            // One late part is enough to break the promise; the others have to be on disk.
            ack = ack.min(reached.max(Ack::Spooled));
            chain.reached = Some(chain.reached.map_or(reached, |lowest| lowest.min(reached)));
            chain.advance(&repeat.record);
        }
    }

    /// Returns the record for the key of the next part, which has `items` items and `rows` rows.
    pub(super) fn record(&self, collector: &Collector, items: u64, rows: usize) -> Result<KeyRecord, Stop> {
        let parts = [SCOPE, &self.id.to_le_bytes(), &self.items.to_le_bytes()];
        let hash = collector.writer.keys().hash(&parts);
        Ok(KeyRecord {
            hash: hash.map_err(|_| Stop::Full)?,
            id: self.items + self.without_rows + items,
            expires_s: now_s().saturating_add(self.window_s),
            fingerprint: u32::try_from(rows).unwrap_or(u32::MAX),
        })
    }

    /// Adds the part whose key has this record.
    pub(super) fn advance(&mut self, record: &KeyRecord) {
        // The number only grows, so that a chain has an end.
        self.items = record.id.max(self.items + 1);
        self.rows += u64::from(record.fingerprint);
        self.without_rows = 0;
    }
}
