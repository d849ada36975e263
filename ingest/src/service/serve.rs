//! Serve: accepts connections, passes their requests to a service, and shuts down gracefully.
//!
//! Each connection is one task and speaks HTTP/1, or HTTP/2 if a sender chooses it in a TLS
//! handshake. The server closes a connection that does not finish its request head in time or sends
//! too large a head. [`EventLayer`](crate::EventLayer) limits request bodies.

use std::{
    convert::Infallible, error::Error, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2::Connection as Http2Connection},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tower_service::Service;

use crate::identify::TrustedProxies;
use crate::service::{
    certified::WithCertificate,
    connections::{self, Connections, Slot},
    graceful::until_stopped,
    http2::{self, WithHost},
    idle::{Activity, End, MaxIdle, run_until_idle},
    lingering::Lingering,
    opening::{Opened, Opening, Stream},
    raw_targets::RawTargets,
    sessions,
    tls::{HTTP_2, Tls},
    watched::Watched,
};

/// The limits of a connection.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The time for the first request head, counted from the start of the connection. The server may
    /// grant up to a quarter more.
    pub head_timeout: Duration,
    /// The time that the server keeps a connection open after a response, until the next request
    /// head is complete. The server may grant up to a quarter more. It has to be longer than a
    /// balancer before the server keeps its connections: 60 seconds are common.
    pub idle_timeout: Duration,
    /// The TLS of all connections; `None` for connections without TLS. A connection speaks HTTP/2 if
    /// its sender chooses that.
    pub tls: Option<Tls>,
    /// The time for a TLS handshake, and for the header of the PROXY protocol before it.
    pub handshake_timeout: Duration,
    /// The proxies whose connections begin with a header of the PROXY protocol, version 1 or 2,
    /// which names the client. A connection of theirs without a valid header is closed; connections
    /// of others begin without one. `None` for no proxy.
    pub proxy_protocol: Option<TrustedProxies>,
    /// The longest request head in bytes. The server answers a longer one with 431, at the latest
    /// at twice this length, because it reads in pieces. The limit allows for a redirect target
    /// of eight kilobytes, a long cookie and a proxy's headers.
    pub max_head_bytes: usize,
    /// The maximum number of open connections. The server closes an idle one for a new one; while
    /// all are busy, the new one waits. A connection of HTTP/1 has at most one request in
    /// progress, so this limits requests, too; one of HTTP/2 has at most 64.
    pub max_connections: usize,
    /// The maximum number of open connections per address, or per IPv6 network (`/64`); the server
    /// closes further ones at once. 0 means no limit, because all connections of a proxy come from
    /// one address.
    pub max_connections_per_ip: usize,
    /// The counted connections. Clones share the counts, and both limits apply to them together: use
    /// one value for all listeners of a process.
    pub connections: Connections,
    /// The time that open requests have to finish during a graceful shutdown.
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            proxy_protocol: None,
            max_head_bytes: 64 << 10,
            max_connections: 20_000,
            max_connections_per_ip: 0,
            connections: Connections::default(),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// The pause before the next `accept` when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves the connections of `listener` until `shutdown` completes; `service_for` makes the service
/// for each peer.
///
/// Then `serve` accepts no more connections, lets the requests in progress finish, and returns. It
/// cuts off the requests that take longer than [`ServeOptions::drain_timeout`].
///
/// ```no_run
/// use std::net::SocketAddr;
///
/// # use embedder::tables;
/// use rowmill_ingest::{Writer, server::{ServeOptions, not_found, serve}};
/// use tokio::net::TcpListener;
/// use tower::{Layer, service_fn};
///
/// # async fn run(writer: Writer) -> Result<(), Box<dyn std::error::Error>> {
/// let events = tables::layer(writer)?.layer(service_fn(not_found));
/// let listener = TcpListener::bind("127.0.0.1:3000").await?;
/// let service_for = |peer: SocketAddr| events.clone().with_peer(peer.ip());
/// let stop = async { _ = tokio::signal::ctrl_c().await };
/// serve(listener, service_for, ServeOptions::default(), stop).await;
/// # Ok(())
/// # }
/// ```
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
    // `pipeline_flush` stays off: it delays a response while any byte follows the request (a stray
    // line end, or half of the next request), and never sends the response to a head that is not
    // HTTP.
    let mut http = http1::Builder::new();
    // `idle` enforces the time for a head.
    http.header_read_timeout(None).max_buf_size(options.max_head_bytes);
    let mut shutdown = pin!(shutdown);
    let limits = connections::Limits {
        all: options.max_connections,
        per_ip: options.max_connections_per_ip,
    };

    let http2 = http2::builder(options.max_head_bytes);
    let counts = &options.connections;
    let opening = Opening::new(
        options.proxy_protocol.as_ref(),
        options.tls.as_ref(),
        options.handshake_timeout,
        limits,
        counts,
    );
    let max_idle = MaxIdle {
        before_first: options.head_timeout,
        after_response: options.idle_timeout,
    };

    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut handshakes = JoinSet::new();
    let start = |connections: &mut JoinSet<()>, opened: Opened| {
        let Opened {
            stream,
            peer,
            activity,
            slot,
        } = opened;
        let service = Watched::new(service_for(peer), Arc::clone(&activity));
        let counts = counts.clone();
        let stopped = stopped.clone();
        match stream {
            Stream::Plain(stream) => {
                let stream = Lingering::new(RawTargets::new(stream, Arc::clone(&activity)), Arc::clone(&activity));
                let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
                let connection = until_stopped(
                    connection,
                    stopped.clone(),
                    http1::UpgradeableConnection::graceful_shutdown,
                );
                connections.spawn(run(connection, activity, slot, counts, max_idle, stopped));
            }
            Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(HTTP_2) => {
                let service = WithCertificate::new(service, &stream);
                let connection = http2.serve_connection(TokioIo::new(stream), WithHost(service));
                let connection = until_stopped(connection, stopped.clone(), Http2Connection::graceful_shutdown);
                connections.spawn(run(connection, activity, slot, counts, max_idle, stopped));
            }
            Stream::Tls(stream) => {
                let service = WithCertificate::new(service, &stream);
                let stream = Lingering::new(RawTargets::new(stream, Arc::clone(&activity)), Arc::clone(&activity));
                let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
                let connection = until_stopped(
                    connection,
                    stopped.clone(),
                    http1::UpgradeableConnection::graceful_shutdown,
                );
                connections.spawn(run(connection, activity, slot, counts, max_idle, stopped));
            }
        }
    };

    'accept: loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Remove ended connections from the set.
            Some(_) = connections.join_next() => continue,
            Some(opened) = handshakes.join_next() => {
                if let Ok(Some(opened)) = opened {
                    start(&mut connections, opened);
                }
                continue;
            }
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error, counts).await;
                continue;
            }
        };
        let activity = Arc::default();
        let limits = opening.as_ref().map_or(limits, |opening| opening.limits_of(peer));
        let mut admission = pin!(counts.admit(&activity, peer.ip(), limits));
        let slot = loop {
            tokio::select! {
                slot = &mut admission => break slot,
                // A connection that has finished its handshake must be able to become idle, and to
                // close.
                Some(opened) = handshakes.join_next() => {
                    if let Ok(Some(opened)) = opened {
                        start(&mut connections, opened);
                    }
                }
                () = &mut shutdown => break 'accept,
            }
        };
        let Some(slot) = slot else { continue };
        // Responses are small and complete; waiting to fill a packet would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY");
        }
        let accepted = Opened {
            stream: Stream::Plain(stream),
            peer,
            activity: Arc::clone(&activity),
            slot,
        };
        match &opening {
            None => start(&mut connections, accepted),
            Some(opening) => {
                handshakes.spawn(opening.clone().run(accepted));
            }
        }
    }

    drop((listener, handshakes));
    stop.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(options.drain_timeout, drained).await.is_err() {
        connections.shutdown().await;
        tracing::warn!("requests were still open after the drain timeout and were cut off");
    }
}

/// Runs a connection until it ends, or is idle for too long.
async fn run<C>(
    connection: C,
    activity: Arc<Activity>,
    slot: Slot,
    counts: Connections,
    max_idle: MaxIdle,
    stopped: watch::Receiver<bool>,
) where
    C: Future<Output = Result<(), hyper::Error>>,
{
    let end = run_until_idle(connection, Arc::clone(&activity), max_idle).await;
    let is_malformed = matches!(&end, End::Finished(Err(error)) if error.is_parse());
    let malformed = u64::from(activity.malformed()) + u64::from(is_malformed);
    if malformed > 0 {
        counts.count_malformed(malformed);
    }
    match end {
        End::Finished(Ok(())) => {}
        End::Finished(Err(error)) => tracing::debug!(%error, "connection ended"),
        End::Idle => tracing::debug!("no request arrived before the idle timeout"),
        End::Closed => counts.count_closed(),
    }
    if let Some(session) = activity.session() {
        Box::pin(sessions::run(session, &activity, &counts, stopped)).await;
    }
    drop(slot);
}

/// Pauses after an error of `accept`, because an immediate retry would fail, too. Does nothing if
/// the client closed its connection before it was accepted.
///
/// The function also asks idle connections to close, because the process may be out of file
/// descriptors.
async fn pause_after(error: &io::Error, connections: &Connections) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        connections.log(|_, _| tracing::warn!(%error, "cannot accept connections: idle ones are closed"));
        connections.close_some();
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use http_body_util::Full;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpSocket, TcpStream},
        sync::{Notify, oneshot},
    };
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn an_idle_connection_closes_for_a_new_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions {
            max_connections: 2,
            ..ServeOptions::default()
        };
        let connections = options.connections.clone();
        let empty = |_: Request<Incoming>| async { Ok(Response::new(Full::<Bytes>::default())) };
        tokio::spawn(serve(listener, move |_| service_fn(empty), options, pending()));
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut answer = [0; 12];
        let mut sender = TcpStream::connect(address).await.unwrap();
        sender.write_all(request).await.unwrap();
        sender.read_exact(&mut answer).await.unwrap();
        // Half a request does not count as one.
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(b"GET / HT").await.unwrap();
        while connections.open() < 2 {
            tokio::task::yield_now().await;
        }
        let mut new = TcpStream::connect(address).await.unwrap();
        new.write_all(request).await.unwrap();
        new.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        assert!(!matches!(silent.read(&mut answer).await, Ok(1..)));
        sender.write_all(request).await.unwrap();
        let mut rest = [0; 256];
        assert!(matches!(sender.read(&mut rest).await, Ok(1..)));
        assert_eq!((connections.open(), connections.closed_idle()), (2, 1));
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_waits_while_all_others_are_busy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions {
            max_connections: 1,
            ..ServeOptions::default()
        };
        let (started, proceed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let slow = {
            let (started, proceed) = (Arc::clone(&started), Arc::clone(&proceed));
            move |_: Request<Incoming>| {
                let (started, proceed) = (Arc::clone(&started), Arc::clone(&proceed));
                async move {
                    started.notify_one();
                    proceed.notified().await;
                    Ok(Response::new(Full::<Bytes>::default()))
                }
            }
        };
        let served = Arc::new(AtomicUsize::new(0));
        let service_for = {
            let served = Arc::clone(&served);
            move |_| {
                served.fetch_add(1, Ordering::Relaxed);
                service_fn(slow.clone())
            }
        };
        tokio::spawn(serve(listener, service_for, options, pending()));
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut answer = [0; 12];
        let mut first = TcpStream::connect(address).await.unwrap();
        first.write_all(request).await.unwrap();
        started.notified().await;
        let mut second = TcpStream::connect(address).await.unwrap();
        second.write_all(request).await.unwrap();
        // Long enough to ask the busy connection several times.
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(served.load(Ordering::Relaxed), 1);
        proceed.notify_one();
        first.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        // Now the first connection is idle and closes.
        started.notified().await;
        proceed.notify_one();
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(served.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_of_its_address_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions {
            max_connections_per_ip: 2,
            ..ServeOptions::default()
        };
        let connections = options.connections.clone();
        let empty = |_: Request<Incoming>| async { Ok(Response::new(Full::<Bytes>::default())) };
        tokio::spawn(serve(listener, move |_| service_fn(empty), options, pending()));
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request).await.unwrap();
            assert!(matches!(stream.read(&mut [0; 256]).await, Ok(1..)));
            held.push(stream);
        }
        let mut third = TcpStream::connect(address).await.unwrap();
        let _ = third.write_all(request).await;
        assert!(!matches!(third.read(&mut [0; 256]).await, Ok(1..)));
        let elsewhere = TcpSocket::new_v4().unwrap();
        elsewhere.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        let mut elsewhere = elsewhere.connect(address).await.unwrap();
        elsewhere.write_all(request).await.unwrap();
        assert!(matches!(elsewhere.read(&mut [0; 256]).await, Ok(1..)));
        assert_eq!((connections.open(), connections.refused()), (3, 1));
        held.clear();
        while connections.open() > 1 {
            tokio::task::yield_now().await;
        }
        let mut again = TcpStream::connect(address).await.unwrap();
        again.write_all(request).await.unwrap();
        assert!(matches!(again.read(&mut [0; 256]).await, Ok(1..)));
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ServeOptions {
            drain_timeout: Duration::from_millis(50),
            ..ServeOptions::default()
        };
        let started = Arc::new(Notify::new());
        let never = {
            let started = Arc::clone(&started);
            move |_: Request<Incoming>| {
                started.notify_one();
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
        started.notified().await;
        drop(stop);
        server.await.unwrap();
        let mut answer = Vec::new();
        // The connection is closed or reset: either way the request does not continue.
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
        assert!(TcpStream::connect(address).await.is_err());
    }
}
