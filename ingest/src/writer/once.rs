//! Once: rows with idempotency keys, of which the spool accepts each key's rows once.

use std::collections::HashSet;

use crate::{
    ack::Ack,
    block::{
        receipt::Receipt,
        row_key::{KeyHash, KeyRecord, RowKey},
        rows::RowBatch,
    },
    budget::SpoolFull,
    idempotency::{KeyIndex, KnownKey, PendingRows},
    spool::LogEnd,
    writer::Writer,
};

/// The outcome of an append under a key.
#[derive(Debug)]
pub(crate) enum Once {
    /// The rows are new.
    Recorded(Receipt),
    /// The key has rows already, and `rows` were not appended.
    Repeat(Repeat),
}

/// The rows that a key has already.
#[derive(Debug)]
pub(crate) struct Repeat {
    pub(crate) record: KeyRecord,
    /// Waits for those rows.
    pub(crate) receipt: Receipt,
    /// The level that the rows have reached, as far as is known without a wait.
    pub(crate) reached: Ack,
}

/// The outcome of an append of rows with a key each.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) receipt: Receipt,
    /// The level that the rows have reached, as far as is known without a wait.
    pub(crate) reached: Ack,
    /// The number of rows that were not appended, since their keys have rows already.
    pub(crate) repeated: usize,
}

impl Writer {
    /// Returns the idempotency keys of the rows that were accepted.
    pub(crate) fn keys(&self) -> &KeyIndex {
        self.shared.spool.keys()
    }

    /// Returns the rows of a key at `now_s`, if it has any; the receipt waits for `ack`.
    pub(crate) fn find_key(&self, hash: KeyHash, ack: Ack, now_s: u32) -> Option<Repeat> {
        let known = self.keys().find(hash, now_s)?;
        Some(self.repeat(known, ack))
    }

    /// Accepts rows of one table as [`append_rows`](Self::append_rows) does, all of them under one
    /// key, unless the key has rows already. Without rows, nothing is recorded.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); the key stays unused.
    pub(crate) fn append_once(
        &self,
        ack: Ack,
        rows: &mut RowBatch,
        record: KeyRecord,
        now_s: u32,
    ) -> Result<Once, SpoolFull> {
        let mut keys = self.keys().lock();
        if let Some(known) = keys.find(record.hash, now_s) {
            drop(keys);
            return Ok(Once::Repeat(self.repeat(known, ack)));
        }
        let Some(end) = u32::try_from(rows.count()).ok().filter(|count| *count > 0) else {
            return Ok(Once::Recorded(Receipt::NONE));
        };
        let key = RowKey { rows: 0..end, record };
        let (receipt, place) = self.append_keyed(ack, rows, &[key])?;
        keys.insert(record, place, now_s);
        Ok(Once::Recorded(receipt))
    }

    /// Accepts rows of one table as [`append_rows`](Self::append_rows) does, without those whose key
    /// has a row already. `records` has the key of each row, if it has one. Returns the number of
    /// rows left out; the receipt waits for all others, or for the last one left out.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append); the keys stay unused.
    pub(crate) fn append_each_once(
        &self,
        ack: Ack,
        rows: &mut RowBatch,
        records: &[Option<KeyRecord>],
        now_s: u32,
    ) -> Result<Appended, SpoolFull> {
        let mut keys = self.keys().lock();
        let mut seen = HashSet::new();
        let mut last_known = None;
        let is_new: Vec<bool> = records
            .iter()
            .map(|record| {
                let Some(record) = record else { return true };
                let known = keys.find(record.hash, now_s);
                let is_new = known.is_none() && seen.insert(record.hash);
                last_known = known.or(last_known.take());
                is_new
            })
            .collect();
        let repeated = is_new.iter().filter(|is_new| !**is_new).count();
        if repeated > 0 {
            rows.retain(|row| is_new.get(row).is_none_or(|is_new| *is_new));
        }
        if rows.count() == 0 {
            drop(keys);
            let last = last_known.map(|known| self.repeat(known, ack));
            let (receipt, reached) = last.map_or((Receipt::NONE, Ack::Accepted), |last| (last.receipt, last.reached));
            return Ok(Appended {
                receipt,
                reached,
                repeated,
            });
        }
        let new = records.iter().zip(&is_new).filter(|(_, is_new)| **is_new);
        let new: Vec<RowKey> = (0..)
            .zip(new)
            .filter_map(|(row, (record, _))| {
                let record = (*record)?;
                Some(RowKey {
                    rows: row..row + 1,
                    record,
                })
            })
            .collect();
        let (receipt, place) = self.append_keyed(ack, rows, &new)?;
        for RowKey { rows, record } in new {
            let first = place.rows.start;
            let place = PendingRows {
                rows: first + rows.start..first + rows.end,
                progress: place.progress.clone(),
            };
            keys.insert(record, place, now_s);
        }
        Ok(Appended {
            receipt,
            reached: Ack::Accepted,
            repeated,
        })
    }

    /// Appends at least one row.
    fn append_keyed(
        &self,
        ack: Ack,
        rows: &mut RowBatch,
        keys: &[RowKey],
    ) -> Result<(Receipt, PendingRows), SpoolFull> {
        let table = rows.table().ok_or(SpoolFull)?;
        let id = self.shared.spool.id_of(table);
        let unknown_keys = rows.take_unknown_keys();
        let appended = self.shared.appender.append_with_keys(id, ack, rows, keys)?;
        if unknown_keys > 0 {
            self.count_unknown_keys(table, unknown_keys);
        }
        Ok(appended)
    }

    fn repeat(&self, KnownKey { record, pending }: KnownKey, ack: Ack) -> Repeat {
        Repeat {
            record,
            reached: match pending {
                None if self.shared.spool.log_end() == Some(LogEnd::Appends) => Ack::Replicated,
                None => Ack::Stored,
                Some(_) => Ack::Accepted,
            },
            receipt: self.shared.appender.receipt_of(pending, ack),
        }
    }
}
