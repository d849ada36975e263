//! Arena: the memory for what one event needs beside its own bytes: decoded fields, texts with escapes, joined paths.
//!
//! Each thread keeps one, so that an event costs no call of the allocator once the first events have been seen. Whatever borrows
//! from an arena ends with the event.

use std::cell::RefCell;

use bumpalo::Bump;

/// Memory for one event.
pub(crate) type Arena = Bump;

/// The most that a thread keeps from one event to the next; only a body near its bound takes more.
const MAX_KEPT_BYTES: usize = 64 << 10;

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::new(Arena::new());
}

/// Does `work` with the thread's arena, which is empty again afterwards.
pub(crate) fn with<T>(work: impl FnOnce(&Arena) -> T) -> T {
    ARENA.with_borrow_mut(|arena| {
        if arena.allocated_bytes() > MAX_KEPT_BYTES {
            *arena = Arena::new();
        }
        // Before and not behind, so that a panic in between leaves nothing.
        arena.reset();
        work(arena)
    })
}
