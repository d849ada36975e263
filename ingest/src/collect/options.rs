//! What can be chosen of a layer.

use std::time::Duration;

use crate::{ack::Ack, answer::header_set::HeaderSet, collect::rate_limit::RateLimit};

pub use crate::identify::{NetworkError, TrustedProxies};

/// What can be chosen of an [`EventLayer`](crate::EventLayer).
#[derive(Debug, Clone)]
pub struct EventOptions {
    /// Whether the layer is the whole service, as in the ready collector: nothing goes on to the
    /// inner service, the destination `other` takes the events that no other destination names, and
    /// on a path that names no declared destination the query and the body may name service and
    /// name. Without it an event is told by its path and method alone.
    pub catch_all: bool,
    /// The largest body in bytes. The default, 102 400, is the original's.
    pub max_body_bytes: usize,
    /// The largest body of many events, one a line, in bytes.
    pub max_bulk_bytes: usize,
    /// The time that a body may take to come.
    pub body_timeout: Duration,
    /// Which headers answers carry.
    pub headers: HeaderSet,
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
    /// How many requests one client may send, by its address: all of IPv4, the first half of IPv6. GET requests for pictures and
    /// redirects do not count. A request that is one too many is answered with 429 and Retry-After, and leaves nothing behind; one of many
    /// lines counts once. The default is none: behind a proxy that is not trusted, or a NAT, many clients have one address, and
    /// how much an honest sender sends only its operator knows. Needs the peer's address; see [`Peer`](crate::Peer).
    pub rate_limit_per_ip: Option<RateLimit>,
    /// How many requests each route takes that the schema gives no `rate_limit` of its own, but for pictures and redirects.
    pub rate_limit_per_route: Option<RateLimit>,
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            catch_all: false,
            max_body_bytes: 100 << 10,
            max_bulk_bytes: 4 << 20,
            body_timeout: Duration::from_secs(5),
            headers: HeaderSet::Modern,
            domain: None,
            trusted_proxies: TrustedProxies::default(),
            ack: Ack::Spooled,
            ack_by_header: false,
            ack_timeout: Duration::from_secs(10),
            rate_limit_per_ip: None,
            rate_limit_per_route: None,
        }
    }
}
