//! Row keys: the idempotency keys of a block's rows, as the log and the key index record them.

use crate::block::parts::RowRange;

/// A keyed hash of a route and an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash(pub(crate) u128);

/// An idempotency key, and the facts about its first request that a repeat needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyRecord {
    pub(crate) hash: KeyHash,
    /// The id of the first event; 0 for a request of many events.
    pub(crate) id: u64,
    /// The end of the key's window, in seconds since 1970.
    pub(crate) expires_s: u32,
    /// A hash of the first request's content; 0 if content is not compared.
    pub(crate) fingerprint: u32,
}

impl KeyRecord {
    /// The length of a record in the log and in the files of the index.
    pub(crate) const BYTES: usize = 32;

    /// Appends the record: hash, id, end of the window, fingerprint, each little-endian.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.hash.0.to_le_bytes());
        out.extend_from_slice(&self.id.to_le_bytes());
        out.extend_from_slice(&self.expires_s.to_le_bytes());
        out.extend_from_slice(&self.fingerprint.to_le_bytes());
    }

    /// Reads a record that [`put`](Self::put) wrote.
    pub(crate) fn read(bytes: &[u8; Self::BYTES]) -> Self {
        let number = |at: usize| bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        Self {
            hash: KeyHash(bytes.first_chunk().map_or(0, |bytes| u128::from_le_bytes(*bytes))),
            id: bytes[16..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)),
            expires_s: number(24),
            fingerprint: number(28),
        }
    }
}

/// The rows of a block that were recorded under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowKey {
    pub(crate) rows: RowRange,
    pub(crate) record: KeyRecord,
}

/// Returns the keys that have a row in `rows`. The keys are in the order of their rows, and no two
/// keys share a row.
pub(crate) fn keys_in<'k>(keys: &'k [RowKey], rows: &RowRange) -> &'k [RowKey] {
    let first = keys.partition_point(|key| key.rows.end <= rows.start);
    let end = keys.partition_point(|key| key.rows.start < rows.end);
    keys.get(first..end).unwrap_or_default()
}
