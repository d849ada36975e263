//! The body of a keyed rows frame: the idempotency keys of its rows, then the rows.
//!
//! ```text
//!  0  4  count   the number of keys
//!  4  …  keys    for each key: its first row, the end of its rows (4 bytes each), its record
//!  …  …  rows    as in a rows frame
//! ```
//!
//! One checksum covers keys and rows, so neither survives a torn write without the other. The rows
//! of a request may go on in the next frame, which then lists its key, too.

use crate::{
    block::row_key::{KeyRecord, RowKey},
    spool::frame::{Kind, Rows, u32_at},
};

/// The length of a key in a frame.
const KEY_BYTES: usize = 8 + KeyRecord::BYTES;

/// Appends the keys of a frame's rows; the rows follow.
pub(super) fn put_keys(out: &mut Vec<u8>, keys: &[RowKey]) {
    out.extend_from_slice(&u32::try_from(keys.len()).unwrap_or(0).to_le_bytes());
    for key in keys {
        out.extend_from_slice(&key.rows.start.to_le_bytes());
        out.extend_from_slice(&key.rows.end.to_le_bytes());
        key.record.put(out);
    }
}

/// Reads the body of a frame with `count` rows: its keys, if it has any, and its rows. Returns
/// `None` if the lengths in it do not add up.
pub(super) fn read_rows(kind: Kind, body: &[u8], count: u32) -> Option<(Vec<RowKey>, Rows<'_>)> {
    let (keys, rows) = match kind {
        Kind::KeyedRows => {
            let (length, rest) = body.split_first_chunk::<4>()?;
            rest.split_at_checked((u32::from_le_bytes(*length) as usize).checked_mul(KEY_BYTES)?)?
        }
        _ => (&[][..], body),
    };
    let keys = keys.chunks_exact(KEY_BYTES).filter_map(|key| {
        Some(RowKey {
            rows: u32_at(key, 0)..u32_at(key, 4),
            record: KeyRecord::read(key[8..].first_chunk()?),
        })
    });
    Some((keys.collect(), Rows::read(rows, count)?))
}
