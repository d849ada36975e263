//! Scan: finds the significant bytes of a text, sixteen at a time.
//!
//! `memchr` finds at most three byte values, and its start-up takes longer than a scan of most keys
//! and values. This module takes any predicate that one or two comparisons answer for sixteen bytes
//! at once.

use wide::u8x16;

/// Bytes that are compared together.
pub(crate) type Chunk = u8x16;

const LENGTH: usize = 16;

/// Returns a chunk that repeats one byte, to compare with.
pub(crate) const fn all(byte: u8) -> Chunk {
    Chunk::new([byte; LENGTH])
}

/// Returns the index of the first byte that `is_marked` marks, or the length of `bytes`. A marked
/// byte has all of its bits set.
#[inline]
pub(crate) fn first(bytes: &[u8], is_marked: impl Fn(Chunk) -> Chunk) -> usize {
    let (chunks, rest) = bytes.as_chunks::<LENGTH>();
    for (index, chunk) in chunks.iter().enumerate() {
        let marks = is_marked(Chunk::new(*chunk)).to_bitmask();
        if marks != 0 {
            return index * LENGTH + marks.trailing_zeros() as usize;
        }
    }
    let marks = is_marked(padded(rest)).to_bitmask();
    chunks.len() * LENGTH + rest.len().min(marks.trailing_zeros() as usize)
}

/// Calls `visit` with the index of each byte that `is_marked` marks, until `visit` returns false.
/// `is_marked` gets the bytes, and the bytes one position further on.
#[inline]
pub(crate) fn each(bytes: &[u8], is_marked: impl Fn(Chunk, Chunk) -> Chunk, mut visit: impl FnMut(usize) -> bool) {
    let (mut start, mut rest) = (0, bytes);
    while !rest.is_empty() {
        let (chunk, next) = pair(rest).unwrap_or_else(|| (padded(rest), padded(&rest[1..])));
        let mut marks = is_marked(chunk, next).to_bitmask();
        while marks != 0 {
            let at = start + marks.trailing_zeros() as usize;
            // Marks after the end are in the padding.
            if at >= bytes.len() || !visit(at) {
                return;
            }
            marks &= marks - 1;
        }
        start += LENGTH;
        rest = rest.get(LENGTH..).unwrap_or_default();
    }
}

/// Returns the first sixteen bytes and the sixteen that start at the second; `None` if `bytes` is
/// shorter than seventeen.
#[inline]
fn pair(bytes: &[u8]) -> Option<(Chunk, Chunk)> {
    let both = bytes.first_chunk::<{ LENGTH + 1 }>()?;
    Some((Chunk::new(*both.first_chunk()?), Chunk::new(*both.last_chunk()?)))
}

/// Returns the first sixteen bytes, padded with zeros.
#[inline]
fn padded(bytes: &[u8]) -> Chunk {
    let mut last = [0; LENGTH];
    let count = bytes.len().min(LENGTH);
    last[..count].copy_from_slice(&bytes[..count]);
    Chunk::new(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_at_each_place_and_not_behind_the_end() {
        // Zeros, which pad the last bytes, are marked too.
        let is_marked = |chunk: Chunk| chunk.simd_eq(all(b'x')) | chunk.simd_eq(all(0));
        for length in 0..50 {
            assert_eq!(first(&vec![b'-'; length], is_marked), length);
            each(&vec![b'-'; length], |chunk, _| is_marked(chunk), |_| unreachable!());
            for at in 0..length {
                let mut bytes = vec![b'-'; length];
                bytes[at] = b'x';
                bytes[length - 1] = b'x';
                let mut found = Vec::new();
                each(
                    &bytes,
                    |chunk, _| is_marked(chunk),
                    |at| {
                        found.push(at);
                        true
                    },
                );
                let marked: Vec<_> = (0..length).filter(|at| bytes[*at] == b'x').collect();
                assert_eq!(found, marked);
                assert_eq!(first(&bytes, is_marked), at);
            }
        }
    }

    #[test]
    fn pairs_are_found_across_the_bounds_of_chunks() {
        for at in 0..60 {
            let mut bytes = vec![b'x'; 62];
            bytes[at + 1] = b'y';
            let mut found = Vec::new();
            let is_pair = |chunk: Chunk, next: Chunk| chunk.simd_eq(all(b'x')) & next.simd_eq(all(b'y'));
            each(&bytes, is_pair, |at| {
                found.push(at);
                true
            });
            assert_eq!(found, [at]);
        }
    }

    #[test]
    fn a_visitor_ends_it() {
        let mut visited = Vec::new();
        each(
            &[b'x'; 40],
            |chunk, _| chunk.simd_eq(all(b'x')),
            |at| {
                visited.push(at);
                at < 20
            },
        );
        assert_eq!(visited, (0..=20).collect::<Vec<_>>());
    }
}
