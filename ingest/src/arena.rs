//! Arena: memory for the temporary data of one event: decoded fields, strings with escapes, joined
//! paths.
//!
//! Each thread keeps one arena, so after the first events an event needs no call of the allocator.
//! Borrows from an arena end with the event.

use std::cell::RefCell;

use bumpalo::Bump;

/// Memory for one event.
pub(crate) type Arena = Bump;

/// The most memory that a thread keeps from one event to the next; only a body near its size limit
/// needs more.
const MAX_KEPT_BYTES: usize = 64 << 10;

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::new(Arena::new());
}

/// Calls `work` with the thread's arena, which the next call empties.
pub(crate) fn with<T>(work: impl FnOnce(&Arena) -> T) -> T {
    ARENA.with_borrow_mut(|arena| {
        if arena.allocated_bytes() > MAX_KEPT_BYTES {
            *arena = Arena::new();
        }
        // Reset before the work, so that a panic in it leaves nothing to the next event.
        arena.reset();
        work(arena)
    })
}
