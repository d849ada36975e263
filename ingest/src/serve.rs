//! Serve: connections in, requests to a service, and an end that cuts nobody off.
//!
//! One task a connection, HTTP/1. A client that does not finish its head in time, or whose head is too large, is sent away;
//! bodies have bounds of their own in [`EventLayer`](crate::EventLayer).

use std::{convert::Infallible, error::Error, future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower_service::Service;

/// Bounds of a connection.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Time for a request's head, counted from its connection's start or from the answer before it.
    pub head_timeout: Duration,
    /// The longest head in bytes; a longer one is answered with 431, at twice this length at the latest, since it is read in
    /// pieces. Eight kilobytes of redirect target, a long cookie and a proxy's own headers have to fit.
    pub max_head_bytes: usize,
    /// How long open requests may take to end once the server is asked to.
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            max_head_bytes: 64 << 10,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// How long to wait before accepting again when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the connections of `listener` until `shutdown` ends, each with the service that `service_for` makes for its peer.
///
/// Then accepts no more, lets the requests that are under way end, and returns; what is not done within
/// [`ServeOptions::drain_timeout`] is cut off.
pub async fn serve<M, S, B>(
    listener: TcpListener,
    service_for: M,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) where
    M: Fn(SocketAddr) -> S,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // Not `pipeline_flush`: it holds an answer back while any byte follows its request, be it a stray line end or the half of
    // the next request, and the answer to a head that is no HTTP for good.
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(options.head_timeout)
        .max_buf_size(options.max_head_bytes);
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);

    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        // Answers are small and whole; waiting to fill a packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let service = TowerToHyperService::new(service_for(peer));
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }

    drop(listener);
    if tokio::time::timeout(options.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests were still open after the drain timeout and were cut off");
    }
}

/// A connection that was gone before it was accepted is nobody's trouble; anything else gets worse if it is tried at once.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
