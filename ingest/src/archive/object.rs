//! An object's name, and its bytes.
//!
//! ```text
//! TABLE/2026-11-30/20261130T221500.123Z-20261130T221958.004Z-BLOCK-FINGERPRINT.blocks.zst
//! TABLE/2026-11-30/20261130T221500.123Z-20261130T221958.004Z-BLOCK-FINGERPRINT.parquet
//! ```
//!
//! The times are those at which the first and the last block of the object were opened, in UTC. BLOCK is
//! the id of the first one, so no other object has the name. FINGERPRINT stands for the names and types
//! of the columns.
//!
//! The bytes of blocks are a skippable frame of zstd with the object's description in JSON, and a frame with the
//! blocks, in the format of the spool's segments. A program for zstd skips the description.

use std::{
    io::{self, Read, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::format::ArchiveFormat;
use crate::block::layout::InsertTarget;

/// The first bytes of a skippable frame.
const SKIPPABLE: u32 = 0x184D_2A50;

/// The version of the description.
const VERSION: u32 = 1;

/// The level of the compression: that of zstd itself.
const LEVEL: i32 = 3;

/// The longest object, and the longest package of one. The collector writes packages of about 32 MiB.
pub(super) const MAX_BYTES: u64 = 256 << 20;

/// The description of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) version: u32,
    pub(super) table: String,
    /// The number of rows.
    pub(super) rows: u64,
    /// The number of blocks.
    pub(super) blocks: u64,
    /// The times at which the first and the last block were opened.
    pub(super) first: String,
    pub(super) last: String,
    /// The fingerprint of the columns.
    pub(super) fingerprint: String,
    /// The names and types of the columns of a row, in order.
    pub(super) columns: Vec<(String, String)>,
}

impl Description {
    /// Describes blocks with these ids and this insert target.
    pub(super) fn new(layout: &InsertTarget, ids: &[Uuid], rows: u64) -> Self {
        let (first, last) = bounds(ids);
        let columns = layout.columns.iter();
        Self {
            version: VERSION,
            table: layout.schema_table().to_string(),
            rows,
            blocks: ids.len() as u64,
            first: time_text(first),
            last: time_text(last),
            fingerprint: layout.fingerprint(),
            columns: columns
                .map(|column| (column.name.to_string(), column.data_type.to_string()))
                .collect(),
        }
    }
}

/// Returns the name of the object with these blocks, without the archive's prefix.
pub(super) fn name(layout: &InsertTarget, ids: &[Uuid], format: ArchiveFormat) -> String {
    let (first, last) = bounds(ids);
    let id = ids.first().copied().unwrap_or_default().simple();
    format!(
        "{}/{}/{}-{}-{id}-{}{}",
        folder(layout.schema_table()),
        first.strftime("%Y-%m-%d"),
        time_text(first),
        time_text(last),
        layout.fingerprint(),
        format.extension(),
    )
}

/// Returns the folder of a table: its name, with other characters than letters, digits, `_` and `-`
/// as their bytes in hexadecimal after `=`.
pub(super) fn folder(table: &str) -> String {
    let mut out = String::new();
    for byte in table.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => out.push(char::from(byte)),
            _ => out.push_str(&format!("={byte:02X}")),
        }
    }
    out
}

/// Returns the table of a [`folder`].
pub(super) fn table_of(folder: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = folder.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped.filter(|_| *first == b'=') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the name of the object of blocks beside an object of Parquet: it has the rows that Parquet
/// cannot have.
pub(super) fn name_of_kept(name: &str) -> String {
    let stem = ArchiveFormat::of_object(name).map_or(name, |(_, stem)| stem);
    format!("{stem}{}", ArchiveFormat::Blocks.extension())
}

/// Returns the format of an object, and the times at which its first and its last block were opened,
/// from its name without its folders; `None` for another file.
pub(super) fn parts_of(name: &str) -> Option<(ArchiveFormat, SystemTime, SystemTime)> {
    let (format, stem) = ArchiveFormat::of_object(name)?;
    let mut parts = stem.split('-');
    let mut time = || {
        let time = parts.next()?.parse::<Timestamp>().ok()?;
        SystemTime::try_from(time).ok()
    };
    Some((format, time()?, time()?))
}

/// Returns the time at which a block was opened, in milliseconds.
pub(super) fn opened(id: Uuid) -> SystemTime {
    // An id of version 7 begins with the time, and so does a dead letter's id.
    UNIX_EPOCH + Duration::from_millis((id.as_u128() >> 80) as u64)
}

fn bounds(ids: &[Uuid]) -> (Timestamp, Timestamp) {
    let time = |id: Option<&Uuid>| {
        let time = opened(id.copied().unwrap_or_default());
        Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
    };
    (time(ids.iter().min()), time(ids.iter().max()))
}

fn time_text(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%S%.3fZ").to_string()
}

/// Returns the bytes of an object.
///
/// # Errors
/// The compression fails.
pub(super) fn encode(description: &Description, package: &[u8]) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(description)?;
    let mut out = SKIPPABLE.to_le_bytes().to_vec();
    out.extend_from_slice(&u32::try_from(json.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&json);
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.write_all(package)?;
    encoder.finish()
}

/// Reads the bytes of an object: its description, and the package.
///
/// # Errors
/// The reason why they are not those of an object.
pub(super) fn decode(bytes: &[u8]) -> Result<(Description, Vec<u8>), String> {
    decode_within(bytes, MAX_BYTES)
}

fn decode_within(bytes: &[u8], max: u64) -> Result<(Description, Vec<u8>), String> {
    let (description, rest) = split(bytes).ok_or("it does not begin with the description of an object")?;
    let description: Description =
        serde_json::from_slice(description).map_err(|error| format!("its description is malformed: {error}"))?;
    if description.version != VERSION {
        return Err(format!(
            "it has version {}, which this build does not read",
            description.version
        ));
    }
    let mut package = Vec::new();
    zstd::Decoder::new(rest)
        .and_then(|decoder| decoder.take(max + 1).read_to_end(&mut package))
        .map_err(|error| format!("it is damaged: {error}"))?;
    if package.len() as u64 > max {
        return Err(format!("its blocks take more than {max} bytes"));
    }
    Ok((description, package))
}

fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    (*magic == SKIPPABLE.to_le_bytes()).then_some(())?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::table::dead_letter::REJECTED;

    #[test]
    fn an_object_has_its_times_in_its_name_and_survives_no_change_of_a_byte() {
        let layout = InsertTarget::of(&REJECTED);
        let id = |ms: u128| Uuid::from_u128(ms << 80 | 7 << 76 | 5);
        // 2026-11-30T22:15:00.123Z and five seconds later.
        let ids = [id(1_796_076_900_123), id(1_796_076_905_123)];
        let name = name(&layout, &ids, ArchiveFormat::Parquet);
        let kept = name_of_kept(&name);
        assert_eq!(kept, super::name(&layout, &ids, ArchiveFormat::Blocks));
        assert!(
            name.starts_with("rejected/2026-11-30/20261130T221500.123Z-20261130T221505.123Z-"),
            "{name}"
        );
        for (name, format) in [(name, ArchiveFormat::Parquet), (kept, ArchiveFormat::Blocks)] {
            let parts = parts_of(name.rsplit('/').next().unwrap()).unwrap();
            assert_eq!(parts, (format, opened(ids[0]), opened(ids[1])));
        }
        assert_eq!(parts_of("20261130T221500.123Z-x.blocks.zst"), None);
        assert_eq!(parts_of("20261130T221500.123Z-20261130T221505.123Z.txt"), None);
        assert_eq!(folder("a b_ü-"), "a=20b_=C3=BC-");
        assert_eq!(table_of("a=20b_=C3=BC-"), "a b_ü-");

        let description = Description::new(&layout, &ids, 3);
        let package = b"rows ".repeat(100);
        let bytes = encode(&description, &package).unwrap();
        assert_eq!(decode(&bytes).unwrap(), (description, package.clone()));
        let max = package.len() as u64;
        assert!(decode_within(&bytes, max).is_ok());
        let error = decode_within(&bytes, max - 1).unwrap_err();
        assert!(error.contains("more than 499 bytes"), "{error}");
        // Any program for zstd skips the description.
        assert_eq!(zstd::decode_all(&*bytes).unwrap(), package);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length}");
        }
        let mut changed = bytes.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(decode(&changed).is_err());
    }
}
