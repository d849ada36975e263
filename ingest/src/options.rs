//! What can be chosen of a layer.

use std::time::Duration;

use crate::ack::Ack;

pub use crate::identify::{NetworkError, TrustedProxies};

/// What can be chosen of an [`EventLayer`](crate::EventLayer).
#[derive(Debug, Clone)]
pub struct EventOptions {
    /// Whether the layer is all there is: whatever has a service and a name is an event then, in the path, the query or the
    /// body, the destination `other` takes what no other names, and nothing goes on to the inner service.
    pub catch_all: bool,
    /// The largest body in bytes. The default, 102 400, is the original's.
    pub max_body_bytes: usize,
    /// The largest body of many events, one a line, in bytes.
    pub max_bulk_bytes: usize,
    /// The time that a body may take to come.
    pub body_timeout: Duration,
    /// The host that the collector is reached by, if the visitor's cookie is to be shared with the sites beside it.
    pub domain: Option<String>,
    /// The proxies whose word on client and host counts.
    pub trusted_proxies: TrustedProxies,
    /// What a successful answer says to an event whose route says nothing of it: that its row is in memory, on disk, or in its
    /// table. Pictures and redirects are answered at once all the same. A writer without a folder has nothing on disk, and
    /// the answer says so.
    pub ack: Ack,
    /// Whether a request of any route may choose it by the header [`ACK_HEADER`](crate::ACK_HEADER), not only of those that
    /// allow it.
    pub ack_by_header: bool,
    /// How long an answer may wait for that; then it is 503, and says how far the row has come.
    pub ack_timeout: Duration,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            catch_all: false,
            max_body_bytes: 100 << 10,
            max_bulk_bytes: 4 << 20,
            body_timeout: Duration::from_secs(5),
            domain: None,
            trusted_proxies: TrustedProxies::default(),
            ack: Ack::Spooled,
            ack_by_header: false,
            ack_timeout: Duration::from_secs(10),
        }
    }
}
