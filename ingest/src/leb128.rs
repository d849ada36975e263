//! Lengths in [LEB128](https://en.wikipedia.org/wiki/LEB128), as ClickHouse's formats use them.

/// Appends a length as [LEB128](https://en.wikipedia.org/wiki/LEB128): seven bits a byte, the
/// lowest first, the top bit set on all bytes but the last.
#[inline]
pub fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_encodes_seven_bits() {
        for (length, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (16_384, &[0x80, 0x80, 0x01]),
        ] {
            let mut out = Vec::new();
            put_length(&mut out, length);
            assert_eq!(out, bytes);
        }
    }
}
