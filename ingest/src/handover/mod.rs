//! Handover: hands the waiting rows of a spool to another collector over HTTP.
//!
//! The request is a `POST /handover` with a package of blocks as its body, and the secret of the
//! other collector as `Authorization: Bearer`. The answer is 200 once the blocks are on the disk of
//! the other collector; 409 if it takes no blocks of this table or shard; 422 if it cannot take one
//! of them; 503 with `Retry-After` if it has no space for them now. What the two spools promise is
//! in the module `spool::handover`.
//!
//! ```text
//! target  the other collector, and one request to it
//! send    all rows of a spool, until they are handed over or the time is over
//! report  what was handed over, and what was not
//! ```

mod report;
mod send;
mod target;

/// The path of the endpoint that takes blocks.
pub const PATH: &str = "/handover";

/// The longest body of a request, in bytes. A package is some 4 MiB long, unless a single block is
/// longer.
pub const MAX_BODY_BYTES: usize = 128 << 20;

pub(crate) use self::send::hand_over;
pub use self::{
    report::{HandoverReport, Reason},
    target::{Target, TargetError},
};
pub use crate::spool::{ReceiveError, Received};
