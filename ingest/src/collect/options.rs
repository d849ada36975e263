//! The options of a layer.

use std::{path::PathBuf, sync::Arc, time::Duration};

use http::HeaderName;

use crate::{
    ack::Ack,
    answer::{cors::AllowedOrigin, header_set::HeaderSet, visitor_cookie::VisitorCookie},
    collect::rate_limit::RateLimit,
    verify::secret::RouteSecrets,
};

pub use crate::identify::{NetworkError, TrustedProxies};

/// The options of an [`EventLayer`](crate::EventLayer).
///
/// ```
/// use rowmill_ingest::{Ack, EventOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = EventOptions {
///     ack: Ack::Stored,
///     trusted_proxies: "10.0.0.0/8, 2001:db8::1".parse()?,
///     rate_limit_per_ip: Some("100/s".parse()?),
///     ..EventOptions::default()
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EventOptions {
    /// Whether the layer is the whole service, as in the ready collector. The layer then passes
    /// nothing to the inner service, the destination `other` receives the events that no other
    /// destination names, and on a path without a declared destination the query and the body may
    /// name service and name. Otherwise the method and the path alone decide whether a request is
    /// an event.
    pub catch_all: bool,
    /// The largest body in bytes. The default, 102 400, is Rockstat's.
    pub max_body_bytes: usize,
    /// The largest body of many events (NDJSON, a JSON array, CSV), in bytes.
    pub max_bulk_bytes: usize,
    /// The time in which a whole body must arrive, even if it makes progress. With the default, ten
    /// minutes, 4 MiB arrive over a line of 64 kbit/s.
    pub body_timeout: Duration,
    /// The time in which a body must make progress: in each such window, at least
    /// [`min_body_bytes_per_second`](Self::min_body_bytes_per_second) on average. A body that stalls
    /// for a window, and while memory is short any body that takes longer than one, is answered with
    /// 408. Ten seconds by default.
    pub body_stall_timeout: Duration,
    /// The least number of bytes of a body that must arrive in a second, on average over each
    /// [`body_stall_timeout`](Self::body_stall_timeout). 1024 by default.
    pub min_body_bytes_per_second: u32,
    /// The set of headers in responses.
    pub headers: HeaderSet,
    /// The host of the collector, if its sibling sites share the visitor's cookie.
    pub domain: Option<String>,
    /// The cookie that identifies a returning visitor. `None` sets and reads no cookie: each event
    /// without a `uid` of its own then has a new visitor.
    pub cookie: Option<VisitorCookie>,
    /// The pages that may send the visitor's cookie and read the response. If the list is empty,
    /// these are the pages of the collector's own site: the same host, or the same registrable
    /// domain. Every other page may read the response to a request without cookies. Has no effect
    /// with [`HeaderSet::Rockstat`].
    pub allowed_origins: Vec<AllowedOrigin>,
    /// The proxies that are trusted to name the client and the host.
    pub trusted_proxies: TrustedProxies,
    /// The only header in which the trusted proxies name the client. `None` means `X-Real-IP`; in a
    /// request without it, `X-Forwarded-For`; in a request without both, `Forwarded`. A header that
    /// the proxies do not replace or extend must not be among them: any client can send it.
    pub client_address_header: Option<HeaderName>,
    /// The acknowledgement level for routes that do not set one: the row is in memory, on disk, or
    /// in its table. The level does not apply to images and redirects, which the layer sends at
    /// once. A writer without a folder stores nothing on disk, and the response reports the level
    /// that was reached.
    pub ack: Ack,
    /// Whether requests of all routes may choose the level with the header
    /// [`ACK_HEADER`](crate::ack::ACK_HEADER), not only those of routes that allow it.
    pub ack_by_header: bool,
    /// The maximum time that a response waits for its level. After that, the response is 503 and
    /// reports the level that was reached.
    pub ack_timeout: Duration,
    /// The rate limit per client address: a whole IPv4 address, or the first half of an IPv6
    /// address. GET requests for images and redirects do not count. A request over the limit gets
    /// 429 and Retry-After and is not recorded; an NDJSON request counts once. There is no limit by
    /// default: behind an untrusted proxy or a NAT, many clients share one address, and only the
    /// operator knows how much an honest client sends. Needs the peer's address; see
    /// [`Peer`](crate::layer::Peer).
    pub rate_limit_per_ip: Option<RateLimit>,
    /// The rate limit of each route without a `rate_limit` in the schema, except images and
    /// redirects.
    pub rate_limit_per_route: Option<RateLimit>,
    /// The uploads that go on after a cut, by the protocol tus; `None` if uploads are single requests.
    /// They need a writer with a folder.
    pub resumable_uploads: Option<ResumableUploads>,
    /// The script of a browser library. `/lib.js` of the ready collector sends it after the calls
    /// that configure the library with the visitor's uid. Empty for these calls alone.
    pub library: Arc<str>,
    /// The secrets of verified routes that the schema's environment variables and files do not
    /// have.
    pub secrets: RouteSecrets,
}

/// The place and the bounds of uploads that go on after a cut.
///
/// ```
/// use std::{path::Path, time::Duration};
///
/// use rowmill_ingest::{EventOptions, layer::ResumableUploads};
///
/// let uploads = ResumableUploads {
///     expiry: Duration::from_secs(3_600),
///     ..ResumableUploads::new(Path::new("data/uploads"))
/// };
/// let options = EventOptions {
///     resumable_uploads: Some(uploads),
///     ..EventOptions::default()
/// };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumableUploads {
    /// The folder of the uploads. The first upload creates it.
    pub folder: PathBuf,
    /// The maximum length of all uploads on disk together, in bytes. 10 GiB by default.
    pub max_bytes: u64,
    /// The time without a request after which an upload is removed. A day by default.
    pub expiry: Duration,
}

impl ResumableUploads {
    /// Returns the defaults for uploads in `folder`.
    ///
    /// ```
    /// use std::path::Path;
    ///
    /// use rowmill_ingest::layer::ResumableUploads;
    ///
    /// assert_eq!(ResumableUploads::new(Path::new("uploads")).max_bytes, 10 << 30);
    /// ```
    pub fn new(folder: &std::path::Path) -> Self {
        Self {
            folder: folder.to_owned(),
            max_bytes: 10 << 30,
            expiry: Duration::from_secs(86_400),
        }
    }
}

impl Default for EventOptions {
    fn default() -> Self {
        Self {
            catch_all: false,
            max_body_bytes: 100 << 10,
            max_bulk_bytes: 4 << 20,
            body_timeout: Duration::from_secs(600),
            body_stall_timeout: Duration::from_secs(10),
            min_body_bytes_per_second: 1 << 10,
            headers: HeaderSet::Modern,
            domain: None,
            cookie: Some(VisitorCookie::default()),
            allowed_origins: Vec::new(),
            trusted_proxies: TrustedProxies::default(),
            client_address_header: None,
            ack: Ack::Spooled,
            ack_by_header: false,
            ack_timeout: Duration::from_secs(10),
            rate_limit_per_ip: None,
            rate_limit_per_route: None,
            resumable_uploads: None,
            library: Arc::default(),
            secrets: RouteSecrets::default(),
        }
    }
}
