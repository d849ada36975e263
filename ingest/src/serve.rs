//! Serve: connections in, requests to a service, and an end that cuts nobody off.
//!
//! One task a connection, HTTP/1. A client that does not finish its head in time, or whose head is too large, is sent away;
//! bodies have bounds of their own in [`EventLayer`](crate::EventLayer).

use std::{convert::Infallible, error::Error, future::Future, io, net::SocketAddr, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown, service::TowerToHyperService};
use tokio::{net::TcpListener, task::JoinSet};
use tower_service::Service;

use crate::idle::{Watched, unless_idle};

/// Bounds of a connection.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Time for a request's head, counted from its connection's start or from the answer before it; up to a quarter more is given.
    pub head_timeout: Duration,
    /// The longest head in bytes; a longer one is answered with 431, at twice this length at the latest, since it is read in
    /// pieces. Eight kilobytes of redirect target, a long cookie and a proxy's own headers have to fit.
    pub max_head_bytes: usize,
    /// How many connections may be open; more wait until one ends. Each has at most one request under way, so that this bounds
    /// those, too.
    pub max_connections: usize,
    /// How long open requests may take to end once the server is asked to.
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            max_head_bytes: 64 << 10,
            max_connections: 20_000,
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
    // The time for a head is looked after in `idle`.
    http.header_read_timeout(None).max_buf_size(options.max_head_bytes);
    let graceful = GracefulShutdown::new();
    let mut shutdown = pin!(shutdown);

    let mut connections = JoinSet::new();

    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if connections.len() < options.max_connections.max(1) => accepted,
            // Ended connections are forgotten as they end.
            Some(_) = connections.join_next() => continue,
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
        let service = Watched::new(TowerToHyperService::new(service_for(peer)));
        let watch = service.watch();
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            match unless_idle(connection, watch, options.head_timeout).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(%error, "connection ended"),
                None => tracing::debug!("no request came in time"),
            }
        });
    }

    drop(listener);
    if tokio::time::timeout(options.drain_timeout, graceful.shutdown())
        .await
        .is_err()
    {
        connections.shutdown().await;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        future::pending,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use http_body_util::Full;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::{Notify, oneshot},
    };
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn a_connection_too_many_waits_until_another_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions {
            max_connections: 1,
            ..ServeOptions::default()
        };
        let empty = |_: Request<Incoming>| async { Ok(Response::new(Full::<Bytes>::default())) };
        let accepted = Arc::new(AtomicUsize::new(0));
        let service_for = {
            let accepted = Arc::clone(&accepted);
            move |_| {
                accepted.fetch_add(1, Ordering::Relaxed);
                service_fn(empty)
            }
        };
        tokio::spawn(serve(listener, service_for, options, pending()));
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut answer = [0; 12];
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(request).await.unwrap();
        first.read_exact(&mut answer).await.unwrap();

        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(request).await.unwrap();
        // The first one is answered again and again, and the second one is not even accepted.
        for _ in 0..200 {
            first.write_all(request).await.unwrap();
            first.read_exact(&mut answer).await.unwrap();
        }
        assert_eq!(accepted.load(Ordering::Relaxed), 1);
        drop(first);
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(accepted.load(Ordering::Relaxed), 2);
        assert_eq!(&answer, b"HTTP/1.1 200");
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions {
            drain_timeout: Duration::from_millis(50),
            ..ServeOptions::default()
        };
        let under_way = Arc::new(Notify::new());
        let never = {
            let under_way = Arc::clone(&under_way);
            move |_: Request<Incoming>| {
                under_way.notify_one();
                pending::<Result<Response<Full<Bytes>>, Infallible>>()
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let service_for = move |_| service_fn(never.clone());
        let server = tokio::spawn(serve(listener, service_for, options, async {
            let _ = stopped.await;
        }));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        under_way.notified().await;
        drop(stop);
        server.await.unwrap();
        let mut answer = Vec::new();
        // Closed or reset: either way nothing of it goes on.
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
        assert!(TcpStream::connect(address).await.is_err());
    }
}
