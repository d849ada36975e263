//! The address that a request came from.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use http::request::Parts;

/// The address that a request came from, as a request extension.
///
/// [`serve`](crate::server::serve()) passes the address to the service with
/// [`EventService::with_peer`](crate::layer::EventService::with_peer). In another server, a
/// middleware inserts this extension, or
/// [`EventLayer::peer_from`](crate::layer::EventLayer::peer_from) reads the address from the
/// request. Without any of them, the address is `0.0.0.0`.
///
/// ```
/// use rowmill_ingest::layer::Peer;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Peer([203, 0, 113, 7].into()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// The function of a layer that reads the address from a request.
#[derive(Clone)]
pub(super) struct PeerFrom(Arc<ReadPeer>);

type ReadPeer = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

impl PeerFrom {
    pub(super) fn new(read: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }
}

impl fmt::Debug for PeerFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerFrom(…)")
    }
}

/// Returns the address of a request: that of the function, of the extension, or of the connection,
/// in this order.
pub(super) fn peer_of(parts: &Parts, peer_from: Option<&PeerFrom>, connection: Option<IpAddr>) -> IpAddr {
    peer_from
        .and_then(|PeerFrom(read)| read(parts))
        .or_else(|| parts.extensions.get::<Peer>().map(|Peer(ip)| *ip))
        .or(connection)
        .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Returns the address in axum's `ConnectInfo<SocketAddr>`, for
/// [`EventLayer::peer_from`](crate::layer::EventLayer::peer_from). `None` if the application is not
/// served with `into_make_service_with_connect_info::<SocketAddr>()`.
///
/// Needs the cargo feature `axum`.
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::extract::ConnectInfo;
/// use rowmill_ingest::layer::connect_info;
///
/// let (mut parts, ()) = http::Request::new(()).into_parts();
/// assert_eq!(connect_info(&parts), None);
/// parts.extensions.insert(ConnectInfo(SocketAddr::from(([203, 0, 113, 7], 4711))));
/// assert_eq!(connect_info(&parts), Some([203, 0, 113, 7].into()));
/// ```
#[cfg(feature = "axum")]
pub fn connect_info(parts: &Parts) -> Option<IpAddr> {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;

    let ConnectInfo(address) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip())
}
