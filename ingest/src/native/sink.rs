//! Sinks: the destinations of a column's bytes. The first pass counts them, the second writes them.

/// `put` copies values up to this length with this fixed length, in a few instructions; a copy of
/// variable length is a call.
const SHORT: usize = 32;

/// Accepts the bytes of one stream of a column. Per-value functions are always inlined, because a
/// call costs as much as a value.
pub(super) trait Sink {
    /// Accepts `length` bytes of `rows` from `start` on; `None` if `rows` or the destination is too
    /// short.
    fn put(&mut self, rows: &[u8], start: usize, length: usize) -> Option<()>;

    /// Accepts a value of constant length; `None` if the destination is too short.
    fn put_array<const N: usize>(&mut self, value: &[u8; N]) -> Option<()>;

    /// Accepts zeros; `None` if the destination is too short.
    fn put_zeros(&mut self, count: usize) -> Option<()>;
}

/// Counts bytes.
#[derive(Debug, Default)]
pub(super) struct Length(pub(super) usize);

impl Length {
    #[inline(always)]
    fn add(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.checked_add(count)?;
        Some(())
    }
}

impl Sink for Length {
    #[inline(always)]
    fn put(&mut self, rows: &[u8], start: usize, length: usize) -> Option<()> {
        let is_there = start.checked_add(length)? <= rows.len();
        is_there.then_some(())?;
        self.add(length)
    }

    #[inline(always)]
    fn put_array<const N: usize>(&mut self, _: &[u8; N]) -> Option<()> {
        self.add(N)
    }

    #[inline(always)]
    fn put_zeros(&mut self, count: usize) -> Option<()> {
        self.add(count)
    }
}

/// Writes bytes back to back to a destination that has the length of all of them.
#[derive(Debug)]
pub(super) struct SliceSink<'o> {
    buffer: &'o mut [u8],
    filled: usize,
}

impl<'o> SliceSink<'o> {
    pub(super) fn new(buffer: &'o mut [u8]) -> Self {
        Self { buffer, filled: 0 }
    }

    /// Returns whether all bytes have been written.
    pub(super) fn is_full(&self) -> bool {
        self.filled == self.buffer.len()
    }
}

impl Sink for SliceSink<'_> {
    #[inline(always)]
    fn put(&mut self, rows: &[u8], start: usize, length: usize) -> Option<()> {
        let from = rows.get(start..)?;
        let to = self.buffer.get_mut(self.filled..)?;
        match (from.first_chunk::<SHORT>(), to.first_chunk_mut::<SHORT>()) {
            // Later values, which fill the destination, overwrite the bytes copied beyond this
            // value.
            (Some(from), Some(to)) if length <= SHORT => *to = *from,
            _ => put_long(from, to, length)?,
        }
        self.filled += length;
        Some(())
    }

    #[inline(always)]
    fn put_array<const N: usize>(&mut self, value: &[u8; N]) -> Option<()> {
        *self.buffer.get_mut(self.filled..)?.first_chunk_mut()? = *value;
        self.filled += N;
        Some(())
    }

    #[inline(always)]
    fn put_zeros(&mut self, count: usize) -> Option<()> {
        // The previous value may have overwritten the initial zeros.
        self.buffer.get_mut(self.filled..)?.get_mut(..count)?.fill(0);
        self.filled += count;
        Some(())
    }
}

/// Kept out of line: if inlined, the compiler merges the short and the long copy into one copy of
/// variable length, and the short one becomes a call too.
#[inline(never)]
fn put_long(from: &[u8], to: &mut [u8], length: usize) -> Option<()> {
    to.get_mut(..length)?.copy_from_slice(from.get(..length)?);
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn values_of_all_lengths_are_put_back_to_back() {
        let rows: Vec<u8> = (1..=200).collect();
        let lengths = [0, 1, 31, 32, 33, 2, 64, 0, 3, 5];
        let total = lengths.iter().sum::<usize>() + 4;
        let mut buffer = vec![0xee; total];
        let mut sink = SliceSink::new(&mut buffer);
        let mut counted = Length::default();
        let mut start = 0;
        for length in lengths {
            sink.put(&rows, start, length).unwrap();
            counted.put(&rows, start, length).unwrap();
            start += length;
        }
        sink.put_zeros(2).unwrap();
        counted.put_zeros(2).unwrap();
        assert!(!sink.is_full());
        sink.put_array(&[7, 8]).unwrap();
        counted.put_array(&[7, 8]).unwrap();
        assert!(sink.is_full());
        assert_eq!(counted.0, total);
        assert_eq!(buffer[..start], rows[..start]);
        assert_eq!(buffer[start..], [0, 0, 7, 8]);
    }

    #[test]
    fn missing_bytes_and_values_that_do_not_fit_are_not_put() {
        let rows = [1; 40];
        let mut buffer = [0; 36];
        let mut sink = SliceSink::new(&mut buffer);
        for (start, length) in [(0, 41), (40, 1), (41, 0), (usize::MAX, 1), (1, usize::MAX), (0, 37)] {
            assert_eq!(sink.put(&rows, start, length), None, "{start} {length}");
        }
        for (start, length) in [(0, 41), (40, 1), (41, 0), (usize::MAX, 1), (1, usize::MAX)] {
            assert_eq!(Length::default().put(&rows, start, length), None, "{start} {length}");
        }
        assert_eq!(sink.put_zeros(37), None);
        assert_eq!(sink.put_array(&[0; 37]), None);
        sink.put_zeros(35).unwrap();
        assert_eq!(sink.put_array(&[0; 2]), None);
    }
}
