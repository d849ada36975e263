//! A buffer pool: new blocks reuse the memory of delivered ones.
//!
//! Rows, columns and frames take megabytes per second. Without reuse, the allocator gets fresh
//! pages from the kernel, which cost more than the writes to them, and retains a multiple of that
//! memory when threads change.

use std::{
    ops::DerefMut,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

/// The minimum size of a pooled buffer. The allocator handles smaller ones better.
pub(crate) const WORTH_KEEPING: usize = 1 << 20;

/// Buffers for reuse.
#[derive(Debug)]
pub(crate) struct BufferPool {
    kept: Mutex<Vec<Vec<u8>>>,
    max_bytes: usize,
}

impl BufferPool {
    /// Returns an empty pool that keeps at most `max_bytes` in total.
    pub(crate) fn with_max_bytes(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            max_bytes,
        })
    }

    /// Returns a buffer for about `wanted` bytes, with arbitrary content: the largest one with a
    /// capacity of at most twice that, or a new one.
    pub(crate) fn acquire(&self, wanted: usize) -> Vec<u8> {
        let mut kept = self.kept();
        let fitting = kept
            .iter()
            .enumerate()
            .filter(|(_, buffer)| buffer.capacity() <= wanted.saturating_mul(2));
        let largest = fitting.max_by_key(|(_, buffer)| buffer.capacity());
        match largest.map(|(index, _)| index) {
            Some(index) => kept.swap_remove(index),
            None => Vec::new(),
        }
    }

    /// Returns a buffer to the pool. The smallest buffers are dropped while the pool exceeds its
    /// limit.
    pub(crate) fn release(&self, buffer: Vec<u8>) {
        if !(WORTH_KEEPING..=self.max_bytes).contains(&buffer.capacity()) {
            return;
        }
        let mut kept = self.kept();
        kept.push(buffer);
        kept.sort_by_key(Vec::capacity);
        while kept.iter().map(Vec::capacity).sum::<usize>() > self.max_bytes {
            kept.remove(0);
        }
    }

    /// Freezes a buffer, which returns to the pool when its last reference is dropped.
    pub(crate) fn freeze(self: &Arc<Self>, buffer: Vec<u8>) -> Bytes {
        if buffer.capacity() < WORTH_KEEPING {
            return buffer.into();
        }
        Bytes::from_owner(PooledBytes {
            buffer,
            pool: Arc::clone(self),
        })
    }

    fn kept(&self) -> impl DerefMut<Target = Vec<Vec<u8>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that returns to its pool on drop.
struct PooledBytes {
    buffer: Vec<u8>,
    pool: Arc<BufferPool>,
}

impl AsRef<[u8]> for PooledBytes {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for PooledBytes {
    fn drop(&mut self) {
        self.pool.release(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_buffer_returns_to_the_pool_when_its_last_slice_is_dropped() {
        let pool = BufferPool::with_max_bytes(4 * MIB);
        let buffer = vec![7; 2 * MIB];
        let address = buffer.as_ptr();
        let frozen = pool.freeze(buffer);
        let part = frozen.slice(5..10);
        drop(frozen);
        assert_eq!(pool.acquire(2 * MIB).capacity(), 0);
        assert_eq!(part[..], [7; 5]);
        drop(part);
        let again = pool.acquire(2 * MIB);
        assert_eq!((again.as_ptr(), again.len()), (address, 2 * MIB));
        assert_eq!(pool.acquire(2 * MIB).capacity(), 0);
    }

    #[test]
    fn small_buffers_are_not_pooled_and_a_full_pool_drops_the_smallest() {
        let pool = BufferPool::with_max_bytes(10 * MIB);
        drop(pool.freeze(vec![0; WORTH_KEEPING - 1]));
        assert_eq!(pool.acquire(MIB).capacity(), 0);
        for mib in [2, 4, 3, 5, 11] {
            pool.release(Vec::with_capacity(mib * MIB));
        }
        let capacities: Vec<_> = (0..3).map(|_| pool.acquire(20 * MIB).capacity()).collect();
        assert_eq!(capacities, [5 * MIB, 4 * MIB, 0]);
    }

    #[test]
    fn a_buffer_is_not_used_for_less_than_half_of_its_capacity() {
        let pool = BufferPool::with_max_bytes(20 * MIB);
        for mib in [8, 2, 3] {
            pool.release(Vec::with_capacity(mib * MIB));
        }
        let capacities = [2, 2, 2, 4].map(|mib| pool.acquire(mib * MIB).capacity());
        assert_eq!(capacities, [3 * MIB, 2 * MIB, 0, 8 * MIB]);
    }
}
