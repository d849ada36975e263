//! Room: the memory of blocks that are gone, for those that come.
//!
//! Rows, columns and frames take megabytes each second. An allocator that is asked for them anew gets fresh pages from the kernel, which
//! cost more than what is written there, and keeps a multiple of them where threads change.

use std::{
    ops::DerefMut,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

/// Less than this is better off with the allocator.
pub(crate) const WORTH_KEEPING: usize = 1 << 20;

/// Vectors that wait for their next use.
#[derive(Debug)]
pub(crate) struct Rooms {
    kept: Mutex<Vec<Vec<u8>>>,
    max_bytes: usize,
}

impl Rooms {
    /// Returns none, of which so many bytes in all will be kept.
    pub(crate) fn keeping(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            kept: Mutex::default(),
            max_bytes,
        })
    }

    /// Returns the vector that was given back last, with whatever is in it, or a new one.
    pub(crate) fn take(&self) -> Vec<u8> {
        self.kept().pop().unwrap_or_default()
    }

    /// Takes a vector back.
    pub(crate) fn give(&self, room: Vec<u8>) {
        let mut kept = self.kept();
        let bytes: usize = kept.iter().map(Vec::capacity).sum();
        if room.capacity() >= WORTH_KEEPING && bytes + room.capacity() <= self.max_bytes {
            kept.push(room);
        }
    }

    /// Returns what is in a vector, which comes back when nobody has that any more.
    pub(crate) fn lend(self: &Arc<Self>, room: Vec<u8>) -> Bytes {
        if room.capacity() < WORTH_KEEPING {
            return room.into();
        }
        Bytes::from_owner(Lent {
            room,
            rooms: Arc::clone(self),
        })
    }

    fn kept(&self) -> impl DerefMut<Target = Vec<Vec<u8>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A vector on its way through the program.
struct Lent {
    room: Vec<u8>,
    rooms: Arc<Rooms>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.room
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.rooms.give(std::mem::take(&mut self.room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lent_is_there_again_when_the_last_part_of_it_is_gone() {
        let rooms = Rooms::keeping(4 << 20);
        let room = vec![7; 2 << 20];
        let place = room.as_ptr();
        let lent = rooms.lend(room);
        let part = lent.slice(5..10);
        drop(lent);
        assert_eq!(rooms.take().capacity(), 0);
        assert_eq!(part[..], [7; 5]);
        drop(part);
        let again = rooms.take();
        assert_eq!((again.as_ptr(), again.len()), (place, 2 << 20));
        assert_eq!(rooms.take().capacity(), 0);
    }

    #[test]
    fn small_ones_and_too_many_are_not_kept() {
        let rooms = Rooms::keeping(4 << 20);
        drop(rooms.lend(vec![0; WORTH_KEEPING - 1]));
        assert_eq!(rooms.take().capacity(), 0);
        for _ in 0..3 {
            rooms.give(Vec::with_capacity(2 << 20));
        }
        let capacities: Vec<_> = (0..3).map(|_| rooms.take().capacity()).collect();
        assert_eq!(capacities, [2 << 20, 2 << 20, 0]);
    }
}
