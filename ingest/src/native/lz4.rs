//! LZ4: ClickHouse's [compression
//! frame](https://clickhouse.com/docs/reference/interfaces/specs/NativeFormat#frame-format), which
//! makes up an HTTP body with `decompress=1`.
//!
//! ```text
//! 16  CityHash128 (1.0.2) of all that follows: its high half, then its low half
//!  1  0x82, for LZ4
//!  4  length from the byte before this on
//!  4  length before the compression
//!  …  an LZ4 block
//! ```
//!
//! Numbers are little-endian. The `clickhouse` crate writes such frames as well, but allocates a
//! buffer of the maximum length for each frame, and frees it when the frame has been sent.

use std::io;

use cityhash_rs::cityhash_102_128;
use lz4_flex::block::{compress_into, get_maximum_output_size};

use crate::native::time_slice::TimeSlice;

const CHECKSUM: usize = 16;
const HEADER: usize = CHECKSUM + 9;
const METHOD: u8 = 0x82;

/// The number of bytes in each of several frames. The encoder finds no repetitions across frames,
/// which makes them about one percent longer. For less than [`u16::MAX`] bytes, its table is half
/// as large, which makes up for the time.
const FRAME_BYTES: usize = u16::MAX as usize - 1;

/// Compresses `data` into `buffer`, which grows as needed, and returns the single frame.
///
/// # Errors
///
/// `data` is longer than a frame can be, 4 GiB.
pub(crate) fn frame<'r>(data: &[u8], buffer: &'r mut Vec<u8>) -> io::Result<&'r [u8]> {
    let end = put_frame(data, buffer, 0)?;
    Ok(&buffer[..end])
}

/// Compresses `data` into `buffer`, which grows as needed, and returns the frames. Yields the core
/// between two frames when the time slice is spent.
///
/// # Errors
///
/// Compression fails.
pub(crate) fn frames<'r>(data: &[u8], buffer: &'r mut Vec<u8>, slice: &mut TimeSlice) -> io::Result<&'r [u8]> {
    let mut end = 0;
    for part in data.chunks(FRAME_BYTES) {
        end = put_frame(part, buffer, end)?;
        slice.yield_if_spent();
    }
    Ok(&buffer[..end])
}

/// Writes a frame at the offset `start` of `buffer`, and returns its end.
fn put_frame(data: &[u8], buffer: &mut Vec<u8>, start: usize) -> io::Result<usize> {
    let length = |bytes: usize| u32::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    let needed = start + HEADER + get_maximum_output_size(data.len());
    if buffer.len() < needed {
        buffer.resize(needed, 0);
    }
    let buffer = &mut buffer[start..];
    let compressed = compress_into(data, &mut buffer[HEADER..]).map_err(io::Error::other)?;
    let frame = &mut buffer[..HEADER + compressed];
    frame[CHECKSUM] = METHOD;
    frame[CHECKSUM + 1..CHECKSUM + 5].copy_from_slice(&length(compressed + HEADER - CHECKSUM)?.to_le_bytes());
    frame[CHECKSUM + 5..HEADER].copy_from_slice(&length(data.len())?.to_le_bytes());
    let checksum = cityhash_102_128(&frame[CHECKSUM..]).rotate_left(64);
    frame[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    Ok(start + frame.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use lz4_flex::block::decompress;

    use super::*;

    // The inserts of the other tests show that the checksum is right.
    #[test]
    fn a_frame_states_its_length_in_a_reused_buffer() {
        let mut buffer = vec![0xff; 50];
        for text in [b"row ".repeat(50_000), vec![], b"a".to_vec(), (0..=255).collect()] {
            let frame = frame(&text, &mut buffer).unwrap();
            let (content, rest) = read(frame);
            assert!(content == text && rest.is_empty());
        }
    }

    #[test]
    fn long_data_is_divided_into_frames() {
        let mut buffer = vec![0xff; 50];
        for (length, count) in [
            (0, 0),
            (1, 1),
            (FRAME_BYTES, 1),
            (FRAME_BYTES + 1, 2),
            (FRAME_BYTES * 5, 5),
        ] {
            let text: Vec<u8> = (0..length).map(|at| (at / 7 % 251) as u8).collect();
            let mut rest = frames(&text, &mut buffer, &mut TimeSlice::begin()).unwrap();
            let (mut whole, mut found) = (Vec::new(), 0);
            while !rest.is_empty() {
                let (content, after) = read(rest);
                whole.extend(content);
                (rest, found) = (after, found + 1);
            }
            assert!(whole == text);
            assert_eq!(found, count, "{length}");
        }
    }

    /// Returns the content of the first frame, and the bytes after the frame.
    fn read(frames: &[u8]) -> (Vec<u8>, &[u8]) {
        let number = |at: usize| u32::from_le_bytes(frames[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(frames[16], 0x82);
        let (frame, rest) = frames.split_at(CHECKSUM + number(17));
        (decompress(&frame[HEADER..], number(21)).unwrap(), rest)
    }
}
