//! The collector's own pages, for people, load balancers and Prometheus. All other requests go to
//! the inner service, which handles events.

pub(crate) mod access;
pub(crate) mod listener;
mod metrics;

use std::{
    convert::Infallible,
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use pin_project_lite::pin_project;
use rowmill_ingest::{
    ClickHouseUrl, Writer,
    route::Destination,
    schema::SchemaState,
    server::Connections,
    store::{Client, ping},
    writer::WriterStatus,
};
use tokio::{sync::Mutex, time::Instant};
use tower::{Layer, Service};

use self::{
    access::{Access, Others},
    metrics::metrics,
};
use crate::{conditions::conditions, stop::Stopping};

const HOME: &str = include_str!("pages/home.html");
const ICON: &str = include_str!("pages/icon.svg");

const PAGES: [&str; 5] = ["/", "/favicon.ico", "/health", "/ready", "/metrics"];

const MISMATCH: &str = "the database does not match the schema; the log names the remedy";

/// The time limit for an answer of ClickHouse, after which it counts as unavailable.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// The shortest time between two pings, whoever asks.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The question that a request to `/ready` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Whether the collector accepts events and keeps them, whatever the state of ClickHouse.
    Events,
    /// Whether rows also reach ClickHouse.
    Store,
}

impl Scope {
    /// Returns the scope for the query of a request; `store=1` asks for the store.
    fn of(query: &str) -> Self {
        match query.split('&').any(|pair| pair == "store=1") {
            true => Self::Store,
            false => Self::Events,
        }
    }
}

/// Adds the pages to an inner service.
#[derive(Debug, Clone)]
pub(crate) struct PagesLayer {
    listener: Arc<Listener>,
    peer: IpAddr,
}

/// The pages of one listener.
#[derive(Debug)]
struct Listener {
    shared: Arc<Shared>,
    access: Access,
}

#[derive(Debug)]
struct Shared {
    writer: Writer,
    /// The writer that delivers the rows of a shared log, beside one that appends them.
    delivery: Option<Writer>,
    /// The servers, each with the client that pings it.
    stores: Vec<(ClickHouseUrl, Client)>,
    stopping: Stopping,
    connections: Connections,
    destinations: &'static [Destination],
    /// The start and the outcome of the last ping. Locked while a ping runs.
    last_ping: Mutex<Option<(Instant, Result<(), &'static str>)>>,
}

impl PagesLayer {
    pub(crate) fn new(
        writer: Writer,
        delivery: Option<Writer>,
        stores: Vec<ClickHouseUrl>,
        stopping: Stopping,
        connections: Connections,
        destinations: &'static [Destination],
    ) -> Self {
        let stores = stores.into_iter().map(|store| {
            let client = store.client();
            (store, client)
        });
        let stores = stores.collect();
        Self {
            listener: Arc::new(Listener {
                shared: Arc::new(Shared {
                    writer,
                    delivery,
                    stores,
                    stopping,
                    connections,
                    destinations,
                    last_ping: Mutex::default(),
                }),
                access: Access::open(),
            }),
            peer: Ipv4Addr::UNSPECIFIED.into(),
        }
    }

    /// Returns the layer for a listener on which `access` decides who sees the operator's pages.
    pub(crate) fn with_access(&self, access: Access) -> Self {
        let shared = Arc::clone(&self.listener.shared);
        Self {
            listener: Arc::new(Listener { shared, access }),
            peer: self.peer,
        }
    }

    /// Returns the layer for the requests of one client.
    pub(crate) fn with_peer(&self, peer: IpAddr) -> Self {
        Self { peer, ..self.clone() }
    }
}

impl<S> Layer<S> for PagesLayer {
    type Service = Pages<S>;

    fn layer(&self, inner: S) -> Pages<S> {
        Pages {
            layer: self.clone(),
            inner,
        }
    }
}

/// Answers requests for pages and passes every other request to `S`.
#[derive(Debug, Clone)]
pub(crate) struct Pages<S> {
    layer: PagesLayer,
    inner: S,
}

impl<S, A, B> Service<Request<A>> for Pages<S>
where
    S: Service<Request<A>, Response = Response<B>, Error = Infallible>,
    B: From<Full<Bytes>>,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = PageOr<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<A>) -> Self::Future {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        match PAGES.iter().find(|page| is_read && **page == request.uri().path()) {
            Some(page) => match self.layer.page(page, &request) {
                Some(future) => PageOr::Page { future },
                None => PageOr::Inner {
                    future: self.inner.call(request),
                },
            },
            None => PageOr::Inner {
                future: self.inner.call(request),
            },
        }
    }
}

type PageFuture = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

pin_project! {
    /// The future of a page, or of the inner service's response.
    #[project = PageOrProjection]
    pub(crate) enum PageOr<F> {
        Page { future: PageFuture },
        Inner { #[pin] future: F },
    }
}

impl<F, B> Future for PageOr<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
    B: From<Full<Bytes>>,
{
    type Output = Result<Response<B>, Infallible>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            PageOrProjection::Page { future } => Poll::Ready(Ok(ready!(future.as_mut().poll(cx)).map(B::from))),
            PageOrProjection::Inner { future } => future.poll(cx),
        }
    }
}

impl PagesLayer {
    /// Returns the response to a request for a page; `None` if it is no page for this client.
    #[cold]
    fn page<A>(&self, page: &'static str, request: &Request<A>) -> Option<PageFuture> {
        let Listener { shared, access } = &*self.listener;
        let shared = Arc::clone(shared);
        let is_public = matches!(page, "/health" | "/favicon.ico");
        if is_public || access.allows(self.peer, request.headers()) {
            let scope = Scope::of(request.uri().query().unwrap_or_default());
            return Some(Box::pin(async move { shared.answer(page, scope).await }));
        }
        match access.others {
            Others::Status if page == "/ready" => Some(Box::pin(async move { shared.ready_without_reasons().await })),
            Others::Status | Others::NotFound => None,
            Others::Unauthorized => Some(Box::pin(async { unauthorized() })),
        }
    }
}

impl Shared {
    async fn answer(&self, page: &str, scope: Scope) -> Response<Full<Bytes>> {
        match page {
            "/" => response(StatusCode::OK, "text/html; charset=utf-8", home(self.destinations)),
            "/favicon.ico" => response(StatusCode::OK, "image/svg+xml", ICON.to_owned()),
            "/health" => response(StatusCode::OK, "text/plain", "ok\n".to_owned()),
            "/ready" => self.ready(scope).await,
            _ => response(
                StatusCode::OK,
                "text/plain; version=0.0.4",
                metrics(self.status(), &self.connections),
            ),
        }
    }

    async fn ready(&self, scope: Scope) -> Response<Full<Bytes>> {
        let (status, first) = match self.readiness(scope).await {
            Ok(()) => (StatusCode::OK, "ready"),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        };
        let mut text = format!("{first}\n");
        let rows = self.status();
        if scope == Scope::Events && rows.schema == SchemaState::Rejected {
            text.push_str(MISMATCH);
            text.push('\n');
        }
        for condition in conditions(&rows) {
            text.push_str(&condition);
            text.push('\n');
        }
        response(status, "text/plain", text)
    }

    /// Returns the status of the rows, with that of the delivery if this process has one of its own.
    fn status(&self) -> WriterStatus {
        let status = self.writer.status();
        match &self.delivery {
            Some(delivery) => status.with_delivery(delivery.status()),
            None => status,
        }
    }

    /// Answers whether a balancer should send events here, and says nothing else.
    async fn ready_without_reasons(&self) -> Response<Full<Bytes>> {
        let (status, text) = match self.readiness(Scope::Events).await {
            Ok(()) => (StatusCode::OK, "ready\n"),
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        };
        response(status, "text/plain", text.to_owned())
    }

    /// Returns `Ok` if a balancer should send events here and, with [`Scope::Store`], if rows reach
    /// ClickHouse; otherwise the reason why not.
    async fn readiness(&self, scope: Scope) -> Result<(), &'static str> {
        if self.stopping.is_announced() {
            return Err("the collector is stopping");
        }
        let status = self.status();
        if status.is_disk_failing {
            return Err("the last write to the spool failed");
        }
        if status.is_nearly_full {
            return Err("memory or disk for events is nearly full");
        }
        if scope == Scope::Events {
            return Ok(());
        }
        if status.schema == SchemaState::Rejected {
            return Err(MISMATCH);
        }
        self.ping().await
    }

    /// Pings the servers, for one request at a time: each ping uses a descriptor, and the spool
    /// needs some. The requests of the next second, and those that arrived before the ping, share its
    /// outcome.
    async fn ping(&self) -> Result<(), &'static str> {
        let arrived = Instant::now();
        let mut last = self.last_ping.lock().await;
        if let Some((started, outcome)) = *last
            && (started >= arrived || started.elapsed() < PING_INTERVAL)
        {
            return outcome;
        }
        let started = Instant::now();
        let outcome = self.ping_stores().await;
        *last = Some((started, outcome));
        outcome
    }

    async fn ping_stores(&self) -> Result<(), &'static str> {
        for (store, client) in &self.stores {
            match ping(client, READY_TIMEOUT).await {
                Ok(()) if self.status().schema == SchemaState::Ready => return Ok(()),
                Ok(()) => return Err("the collector is still preparing the tables in ClickHouse"),
                // The response only says that ClickHouse is unreachable; the delivery task has
                // already logged why.
                Err(error) => tracing::debug!(%store, %error, "not ready"),
            }
        }
        Err("ClickHouse does not answer")
    }
}

fn response(status: StatusCode, media_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Asks for the token.
fn unauthorized() -> Response<Full<Bytes>> {
    let text = "the token of --admin-token-file is missing or wrong\n".to_owned();
    let mut response = response(StatusCode::UNAUTHORIZED, "text/plain", text);
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn home(destinations: &[Destination]) -> String {
    let mut rows = String::new();
    for destination in destinations {
        let (path, table) = (escape(destination.path), escape(destination.table));
        let _ = writeln!(rows, "<tr><td><code>{path}</code></td><td>{table}</td></tr>");
    }
    HOME.replace("{{destinations}}", rows.trim_end())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
