//! LZ4: ClickHouse's [compression frame](https://clickhouse.com/docs/reference/interfaces/specs/NativeFormat#frame-format), which an
//! HTTP body is made of with `decompress=1`.
//!
//! ```text
//! 16  CityHash128 (1.0.2) of all that follows: its high half, then its low half
//!  1  0x82, for LZ4
//!  4  length from the byte before this on
//!  4  length before the compression
//!  …  an LZ4 block
//! ```
//!
//! Numbers are little-endian. The `clickhouse` crate makes such frames as well, each in room of its own that is as long as the longest
//! that the frame could be, and is given back when the frame has been sent.

use std::io;

use cityhash_rs::cityhash_102_128;
use lz4_flex::block::{compress_into, get_maximum_output_size};

const CHECKSUM: usize = 16;
const HEAD: usize = CHECKSUM + 9;
const METHOD: u8 = 0x82;

/// Compresses `data` into `room`, which grows as needed, and returns the frame.
///
/// # Errors
/// `data` is longer than a frame can be, 4 GiB.
pub(crate) fn frame<'r>(data: &[u8], room: &'r mut Vec<u8>) -> io::Result<&'r [u8]> {
    let length = |bytes: usize| u32::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    let needed = HEAD + get_maximum_output_size(data.len());
    if room.len() < needed {
        *room = vec![0; needed];
    }
    let compressed = compress_into(data, &mut room[HEAD..]).map_err(io::Error::other)?;
    let frame = &mut room[..HEAD + compressed];
    frame[CHECKSUM] = METHOD;
    frame[CHECKSUM + 1..CHECKSUM + 5].copy_from_slice(&length(compressed + HEAD - CHECKSUM)?.to_le_bytes());
    frame[CHECKSUM + 5..HEAD].copy_from_slice(&length(data.len())?.to_le_bytes());
    let checksum = cityhash_102_128(&frame[CHECKSUM..]).rotate_left(64);
    frame[..CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    Ok(frame)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use lz4_flex::block::decompress;

    use super::*;

    // That the checksum is right is what each insert of the other tests shows.
    #[test]
    fn a_frame_says_how_long_it_is_whatever_was_in_its_room_before() {
        let mut room = vec![0xff; 50];
        for text in [b"row ".repeat(5000), vec![], b"a".to_vec(), (0..=255).collect()] {
            let frame = frame(&text, &mut room).unwrap();
            let number = |at: usize| u32::from_le_bytes(frame[at..at + 4].try_into().unwrap()) as usize;
            assert_eq!(
                (frame[16], number(17), number(21)),
                (0x82, frame.len() - 16, text.len())
            );
            assert_eq!(decompress(&frame[HEAD..], text.len()).unwrap(), text);
        }
    }
}
