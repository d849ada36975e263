//! Opening: the steps of a connection before its first request: the header of the PROXY protocol,
//! and the TLS handshake.
//!
//! Each connection does this in a task of its own, within a time limit. A slow sender delays no
//! other sender and does not delay a stop.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    identify::TrustedProxies,
    service::{
        connections::{Connections, Limits, Slot},
        idle::Activity,
        proxy_protocol::read_header,
        tls::Tls,
    },
};

/// A connection that may send requests.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) peer: SocketAddr,
    pub(super) activity: Arc<Activity>,
    pub(super) slot: Slot,
}

/// The bytes of a connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    /// In a box, because it is hundreds of bytes long.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The steps of a server's connections before their first request.
#[derive(Clone)]
pub(super) struct Opening {
    proxies: Option<Arc<TrustedProxies>>,
    tls: Option<TlsAcceptor>,
    within: Duration,
    limits: Limits,
    counts: Connections,
}

/// Why a connection does not open.
enum Failure {
    ProxyHeader(io::Error),
    TooManyOfAddress,
    Tls(io::Error),
}

impl Opening {
    /// Returns what connections do first; `None` if they begin with a request.
    pub(super) fn new(
        proxies: Option<&TrustedProxies>,
        tls: Option<&Tls>,
        within: Duration,
        limits: Limits,
        counts: &Connections,
    ) -> Option<Self> {
        (proxies.is_some() || tls.is_some()).then(|| Self {
            proxies: proxies.cloned().map(Arc::new),
            tls: tls.map(Tls::acceptor),
            within,
            limits,
            counts: counts.clone(),
        })
    }

    /// Returns the limits of a connection until it is open. A proxy's connections are counted under
    /// the addresses of its clients.
    pub(super) fn limits_of(&self, peer: SocketAddr) -> Limits {
        match self.is_proxy(peer) {
            true => Limits {
                per_ip: 0,
                ..self.limits
            },
            false => self.limits,
        }
    }

    fn is_proxy(&self, peer: SocketAddr) -> bool {
        let proxies = self.proxies.as_ref();
        proxies.is_some_and(|proxies| proxies.contains(peer.ip()))
    }

    /// Opens a connection. Returns `None` if the connection closes: its header or its handshake
    /// failed or took too long, or the slot was needed for another connection.
    pub(super) async fn run(self, accepted: Opened) -> Option<Opened> {
        let activity = Arc::clone(&accepted.activity);
        let failure = tokio::select! {
            opened = timeout(self.within, self.open(accepted)) => match opened {
                Ok(Ok(opened)) => return Some(opened),
                Ok(Err(failure)) => Some(failure),
                Err(_) => None,
            },
            () = activity.handshake_ended() => {
                self.counts.count_closed();
                return None;
            }
        };
        // Scanners cause such errors all the time.
        match failure {
            Some(Failure::ProxyHeader(error)) => {
                self.counts.count_failed_proxy_header();
                tracing::debug!(%error, "PROXY header");
            }
            Some(Failure::Tls(error)) => {
                self.counts.count_failed_handshake();
                tracing::debug!(%error, "TLS handshake");
            }
            None if self.tls.is_some() => self.counts.count_failed_handshake(),
            None => self.counts.count_failed_proxy_header(),
            Some(Failure::TooManyOfAddress) => {}
        }
        None
    }

    async fn open(&self, accepted: Opened) -> Result<Opened, Failure> {
        let mut opened = accepted;
        if self.is_proxy(opened.peer)
            && let Stream::Plain(stream) = &mut opened.stream
            && let Some(client) = read_header(stream).await.map_err(Failure::ProxyHeader)?
        {
            opened.peer = client;
            if !self.counts.readdress(&mut opened.slot, client.ip(), self.limits) {
                return Err(Failure::TooManyOfAddress);
            }
        }
        if let Some(tls) = &self.tls
            && let Stream::Plain(stream) = opened.stream
        {
            let stream = tls.accept(stream).await.map_err(Failure::Tls)?;
            opened.stream = Stream::Tls(Box::new(stream));
        }
        Ok(opened)
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("within", &self.within)
            .finish_non_exhaustive()
    }
}
