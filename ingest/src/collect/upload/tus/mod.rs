//! Tus: uploads that go on after a cut, by the protocol [tus 1.0.0](https://tus.io/protocols/resumable-upload).
//!
//! The bytes of an upload go into a file as they arrive, and the offset is the length of the file. Once
//! the file is complete, it is decoded as the body of any other upload. The last byte is acknowledged
//! after that: an upload whose offset is its length has all of its rows on disk.
//!
//! Each part of the rows has an idempotency key of the upload and of the number of items before the
//! part. Key and rows are in one frame of the spool. An upload that is decoded again, after a crash,
//! passes over the items whose parts have keys.
//!
//! ```text
//! headers   the headers of the protocol
//! record    what the collector keeps about an upload
//! store     the uploads in their folder, with their bounds
//! receive   from the connection to the file
//! decode    from the file to rows
//! respond   the requests of the protocol
//! ```

mod decode;
mod headers;
mod receive;
mod record;
mod respond;
mod store;

pub(in crate::collect) use self::store::Store;
pub(super) use self::{headers::is_request, record::upload_id};
