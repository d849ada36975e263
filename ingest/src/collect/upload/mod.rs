//! Upload: a request whose body is decoded while it arrives, in constant memory, however long it is.
//!
//! `POST /upload/<service>/<name>` is an upload to the route of `/<service>/<name>`, and so is a long
//! request to a route with the option `stream`. The body is a batch; its items are decoded as those of
//! any other batch. The rows go into their blocks in parts: what is complete before a cut stays.
//!
//! The connection passes frames to the decoder, which runs on the delivery runtime. The decoder waits
//! for the disk and for space in the spool, and the connection waits for the decoder.
//!
//! ```text
//! target       the path of an upload
//! frame_queue  the frames between the connection and the decoder
//! feed         the connection's side
//! input        the decoder's side: the body, decompressed
//! stop         the reasons to end before the end of the body
//! decode       from the body to rows
//! begin        the request without its body: its route, its format, its memory
//! chain        the recorded parts of an upload that is decoded again
//! tus          uploads that go on after a cut
//! ```

mod begin;
mod chain;
mod decode;
mod feed;
mod frame_queue;
mod input;
mod stop;
mod target;
mod tus;

pub(crate) use self::feed::Feed;

pub(super) use self::tus::Store;

use std::sync::Arc;

use tokio::sync::Semaphore;

/// The memory booked for an upload, in bytes: the frames between connection and decoder, the text, the
/// rows that are not in a block yet, and the decompressor with its window of at most 8 MiB.
const UPLOAD_BYTES: usize = 12 << 20;

/// The part of the memory budget that all uploads together may take at most.
const MEMORY_SHARE: usize = 4;

/// Limits the number of uploads in progress, with the budget of all rows and requests in bytes.
pub(super) fn permits(memory_bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new((memory_bytes / MEMORY_SHARE / UPLOAD_BYTES).max(1)))
}
