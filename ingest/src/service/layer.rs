//! The layer around a service: it answers the events of known routes and passes every other request
//! to the inner service.
//!
//! `call` decides by method and path alone: it passes other requests on with their bodies
//! untouched, and none of their fields can turn them into an event. `Clone` copies a pointer, the
//! peer's address and the inner service.

use std::{
    fmt,
    marker::PhantomData,
    net::IpAddr,
    ptr,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    collect::{
        Collector, Decision,
        head::Arrival,
        options::EventOptions,
        private::privacy_options,
        route::{Routes, verifications},
    },
    privacy::salt::{MissingSalt, check_salts},
    request::read_body::ReadBody,
    service::{
        future::{EventFuture, PendingEvent},
        peer::{PeerFrom, peer_of},
        response_body::ResponseBody,
    },
    table::Schema,
    verify::{guard::check_secrets, secret::SecretError},
    writer::Writer,
};

/// A layer that handles the events of the routes `R` and passes every other request to the inner
/// service.
///
/// The build step generates the routes: `tables::layer(writer)` handles those of all tables, and
/// each table has a layer of its own.
///
/// ```no_run
/// use std::time::Duration;
///
/// use embedder::tables::{self, OrdersLayer}; // what `include_tables!` includes
/// use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions};
/// use tower::{Layer, ServiceBuilder, service_fn};
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let shop = service_fn(embedder::shop::<http_body_util::Empty<bytes::Bytes>>);
///
/// let clickhouse: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
/// let writer = Writer::start(&tables::SCHEMA, clickhouse, &WriterOptions::default());
///
/// // The routes of all tables, around a service.
/// let all = tables::layer(writer.clone())?.layer(shop);
///
/// // The routes of one table, among other layers.
/// let orders = ServiceBuilder::new()
///     .concurrency_limit(100)
///     .layer(OrdersLayer::new(writer.clone())?)
///     .service(shop);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventLayer<R> {
    collector: Arc<Collector>,
    peer_from: Option<PeerFrom>,
    routes: PhantomData<R>,
}

impl<R: Routes> EventLayer<R> {
    /// Returns a layer that writes its rows to `writer`.
    ///
    /// # Errors
    ///
    /// [`SchemaMismatch`] if the schema of `writer` is not the schema of the routes: the two have
    /// different tables.
    pub fn new(writer: Writer) -> Result<Self, SchemaMismatch> {
        if !ptr::eq(writer.schema(), R::schema()) {
            return Err(SchemaMismatch {
                routes: names(R::schema()),
                writer: names(writer.schema()),
            });
        }
        Ok(Self {
            collector: Arc::new(Collector::new(writer, &EventOptions::default(), R::DESTINATIONS)),
            peer_from: None,
            routes: PhantomData,
        })
    }

    /// Returns the layer with `options`.
    ///
    /// ```
    /// # use embedder::tables;
    /// use rowmill_ingest::{EventOptions, Writer, layer::SchemaMismatch};
    ///
    /// # fn layer(writer: Writer) -> Result<(), SchemaMismatch> {
    /// let options = EventOptions {
    ///     max_body_bytes: 16 << 10,
    ///     ..EventOptions::default()
    /// };
    /// let layer = tables::layer(writer)?.with_options(&options);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_options(self, options: &EventOptions) -> Self {
        Self {
            collector: Arc::new(Collector::new(
                self.collector.writer().clone(),
                options,
                R::DESTINATIONS,
            )),
            ..self
        }
    }

    /// Checks that the secrets of all verified routes can be read, from `options` or from the
    /// environment variables and files that the schema names. Without its secrets, a route answers
    /// 503 to all requests.
    ///
    /// # Errors
    ///
    /// The first route whose secrets cannot be read.
    pub fn check_secrets(options: &EventOptions) -> Result<(), SecretError> {
        check_secrets(verifications(R::DESTINATIONS), &options.secrets)
    }

    /// Checks that the keys of the hashes in the schema's `privacy` are there. Without its key, a value
    /// that is to be hashed is dropped.
    ///
    /// # Errors
    ///
    /// The first environment variable that is not set or empty.
    pub fn check_salts() -> Result<(), MissingSalt> {
        check_salts(privacy_options(R::DESTINATIONS))
    }

    /// Returns the layer with a function that reads the peer's address from a request, for servers
    /// that put the address into the request. The function runs once per event.
    ///
    /// If the function returns `None`, the extension [`Peer`](crate::layer::Peer) applies, and then
    /// [`EventService::with_peer`]. If the address is that of a trusted proxy
    /// ([`EventOptions::trusted_proxies`]), the proxy's header `X-Real-IP` names the client: do not
    /// read such a header here, since any client can send it.
    ///
    /// ```
    /// # use embedder::tables;
    /// use std::net::SocketAddr;
    ///
    /// use rowmill_ingest::{Writer, layer::SchemaMismatch};
    ///
    /// # fn layer(writer: Writer) -> Result<(), SchemaMismatch> {
    /// let layer = tables::layer(writer)?
    ///     .peer_from(|parts| parts.extensions.get::<SocketAddr>().map(SocketAddr::ip));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_from(self, read: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        Self {
            peer_from: Some(PeerFrom::new(read)),
            ..self
        }
    }
}

fn names(schema: &Schema) -> String {
    let names: Vec<_> = schema.tables.iter().map(|table| table.name).collect();
    names.join(", ")
}

impl<R> Clone for EventLayer<R> {
    fn clone(&self) -> Self {
        Self {
            collector: Arc::clone(&self.collector),
            peer_from: self.peer_from.clone(),
            routes: PhantomData,
        }
    }
}

impl<S, R> Layer<S> for EventLayer<R> {
    type Service = EventService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        EventService {
            collector: Arc::clone(&self.collector),
            peer_from: self.peer_from.clone(),
            peer: None,
            is_tls: false,
            inner,
            routes: PhantomData,
        }
    }
}

/// The error of [`EventLayer::new`]: the schema of the writer is not the schema of the layer's
/// routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaMismatch {
    /// The names of the tables of each schema.
    routes: String,
    writer: String,
}

impl fmt::Display for SchemaMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { routes, writer } = self;
        write!(
            f,
            "the layer's events are for the tables [{routes}], and its writer was made with another schema, of the tables \
             [{writer}]: create the writer with the `SCHEMA` of the layer's module"
        )
    }
}

impl std::error::Error for SchemaMismatch {}

/// Handles the events of the routes `R` and passes every other request to `S`.
///
/// # Readiness
///
/// The service is always ready. A request for the inner service waits in its own future until a
/// clone of the inner service is ready, as in axum's `Router`. An event therefore never waits for
/// the inner service: a `ConcurrencyLimit` or a `Buffer` within it that is full does not stop
/// events, and an event takes none of its permits.
///
/// A layer around this service cannot see that the inner service is full. Put `LoadShed` or a
/// concurrency limit for the inner service beneath the layer, and one for events, too, around it:
///
/// ```
/// # use embedder::tables;
/// # use rowmill_ingest::{Writer, layer::SchemaMismatch};
/// use tower::{ServiceBuilder, service_fn};
///
/// # fn service(writer: Writer) -> Result<(), SchemaMismatch> {
/// let service = ServiceBuilder::new()
///     .layer(tables::layer(writer)?) // answers events even if 100 requests wait for the shop
///     .load_shed()
///     .concurrency_limit(100)
///     .service(service_fn(embedder::shop::<String>));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EventService<S, R> {
    collector: Arc<Collector>,
    peer_from: Option<PeerFrom>,
    peer: Option<IpAddr>,
    /// Whether the connection to the peer has TLS.
    is_tls: bool,
    inner: S,
    routes: PhantomData<R>,
}

impl<S, R> EventService<S, R> {
    /// Returns the service for the requests of one peer, the other end of a connection.
    /// [`EventLayer::peer_from`] and a [`Peer`](crate::layer::Peer) in a request's extensions take
    /// precedence.
    ///
    /// ```
    /// use std::net::SocketAddr;
    ///
    /// use rowmill_ingest::layer::EventService;
    ///
    /// fn service_for<S, R>(service: EventService<S, R>, peer: SocketAddr) -> EventService<S, R> {
    ///     service.with_peer(peer.ip())
    /// }
    /// ```
    pub fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Returns the service for the requests of a connection with TLS, or without, which is the
    /// default: with TLS, the visitor's cookie is `Secure`. A trusted proxy reports the same with
    /// `X-Forwarded-Proto: https`.
    pub fn with_tls(mut self, is_tls: bool) -> Self {
        self.is_tls = is_tls;
        self
    }
}

impl<S: Clone, R> Clone for EventService<S, R> {
    fn clone(&self) -> Self {
        Self {
            collector: Arc::clone(&self.collector),
            peer_from: self.peer_from.clone(),
            peer: self.peer,
            is_tls: self.is_tls,
            inner: self.inner.clone(),
            routes: PhantomData,
        }
    }
}

impl<S, R, A, B> Service<Request<A>> for EventService<S, R>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    R: Routes,
    A: Body,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = EventFuture<S, A, R>;

    /// Returns `Ready` at once, and does not poll the inner service, which would reserve a permit
    /// for a request that may be an event.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let (route, reads_body, may_stream) = match self.collector.decide::<R>(request.method(), request.uri()) {
            Decision::Inner => return EventFuture::inner(self.inner.clone(), request),
            Decision::Event { route, reads_body } => {
                (route, reads_body, route.is_some_and(|route| route.is_streamed()))
            }
            Decision::Upload { route } => (route, true, true),
        };
        let (parts, body) = request.into_parts();
        let arrival = Arrival::now(peer_of(&parts, self.peer_from.as_ref(), self.peer), route).with_tls(self.is_tls);
        let collector = Arc::clone(&self.collector);
        if may_stream && reads_body && collector.is_upload(&parts, body.size_hint().exact()) {
            return EventFuture::upload(body, collector.begin_upload::<R>(parts, arrival));
        }
        let reader = if reads_body {
            let limits = collector.body_limits(body.size_hint().exact(), &parts, route.as_ref());
            ReadBody::new(body, limits)
        } else {
            ReadBody::empty()
        };
        let event = PendingEvent {
            collector,
            parts,
            arrival,
            routes: PhantomData,
        };
        EventFuture::event(reader, event)
    }
}
