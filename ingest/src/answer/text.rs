//! Texts of responses, written one after the other into a buffer per thread.
//!
//! A text lives until its response is sent; the buffer is reused once all texts in it are dropped.
//! A response that the client does not read keeps its buffer alive, so the buffer is small.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};

/// The size of a buffer: some forty responses.
const BUFFER_BYTES: usize = 8 << 10;

/// The free space below which `write` takes another buffer; hardly any text is longer.
const MIN_FREE_BYTES: usize = 512;

thread_local! {
    static BUFFER: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// Returns the text that `put` appends.
pub(super) fn write(put: impl FnOnce(&mut BytesMut)) -> Bytes {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.capacity() < MIN_FREE_BYTES {
            buffer.reserve(BUFFER_BYTES);
        }
        // An earlier `put` that panicked may have left bytes in the buffer.
        buffer.clear();
        put(buffer);
        buffer.split().freeze()
    })
}
