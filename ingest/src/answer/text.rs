//! Texts of answers, written one behind the other into a buffer that each thread keeps.
//!
//! A text lives until its answer is sent; the buffer is used again once all texts in it are gone. An answer that nobody takes
//! keeps its buffer, which is why that is small.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// The size of a buffer: some forty answers.
const BUFFER_BYTES: usize = 8 << 10;

/// Below this another buffer is taken; hardly any text is longer.
const MIN_ROOM_BYTES: usize = 512;

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Returns what `put` appends.
pub(super) fn write(put: impl FnOnce(&mut BytesMut)) -> Bytes {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.capacity() < MIN_ROOM_BYTES {
            buffer.reserve(BUFFER_BYTES);
        }
        // Something is there only if another `put` ended by a panic.
        buffer.clear();
        put(buffer);
        buffer.split().freeze()
    })
}
