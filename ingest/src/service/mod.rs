//! The Tower layer, and a server for it.
//!
//! ```text
//! layer          handles the events of known routes; the inner service gets all other requests
//! future         waits for the inner service, or for the event's body and its acknowledgement
//! response_body  the body of the collector's response, or of the inner service's
//! peer           the address that a request came from
//! make_service   gives `axum::serve` a service for each connection
//! serve          a hyper server that shuts its connections down gracefully
//! opening        what a connection does before its first request
//! proxy_protocol the header in which a proxy names its client
//! tls            the certificate of senders' TLS
//! certified      the certificate of a connection in its requests
//! http2          the limits of HTTP/2
//! connections    the limits on connections, and the order in which idle ones are closed
//! watched        the service of a connection: counts its requests, and refuses invalid ones
//! idle           one timer per connection, which closes the connection when it is idle
//! graceful       the graceful end of a connection
//! sessions       connections that have become WebSockets
//! lingering      reads and drops the rest of a request that is refused early
//! http2_refusal  tells a client that begins with HTTP/2 to use HTTP/1.1
//! raw_targets    percent-encodes the bytes of a request target that a URI must not contain
//! valid_request  refuses requests with an invalid `Host` or an unknown transfer coding
//! not_found      the innermost service of a program that only serves events
//! ```

mod certified;
pub(crate) mod connections;
pub(crate) mod future;
mod graceful;
mod http2;
mod http2_refusal;
pub(crate) mod idle;
pub(crate) mod layer;
mod lingering;
#[cfg(feature = "axum")]
mod make_service;
pub(crate) mod not_found;
mod opening;
pub(crate) mod peer;
mod proxy_protocol;
mod raw_targets;
pub(crate) mod response_body;
pub(crate) mod serve;
mod sessions;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod valid_request;
mod watched;
