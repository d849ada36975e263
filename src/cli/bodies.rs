//! The options of `rowmill serve` for the time that a body may take.

use std::time::Duration;

use clap::Args;

use super::value::{bytes, seconds};

#[derive(Debug, Clone, Args)]
pub(crate) struct BodyTimeOptions {
    /// Maximum time for a whole request body, such as 600 or 10m.
    #[arg(long, env = "ROWMILL_BODY_TIMEOUT_SECONDS", default_value = "600s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) body_timeout_seconds: Duration,

    /// Time in which a request body must make progress: a body that is slower than
    /// --min-body-bytes-per-second for this long gets 408. While memory is short, the maximum time for
    /// a whole body.
    #[arg(long, env = "ROWMILL_BODY_STALL_SECONDS", default_value = "10s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) body_stall_seconds: Duration,

    /// Least number of bytes of a body that must arrive in a second, on average over
    /// --body-stall-seconds; 0 asks for one byte in that time.
    #[arg(
        long,
        env = "ROWMILL_MIN_BODY_BYTES_PER_SECOND",
        default_value = "1KiB",
        value_parser = bytes::<u32>,
        value_name = "BYTES"
    )]
    pub(crate) min_body_bytes_per_second: u32,
}
