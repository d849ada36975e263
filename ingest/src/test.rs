//! Tests without a ClickHouse: a writer that keeps its rows, and a collector for requests of a test.
//!
//! [`TestCollector`] answers requests as `rowmill serve` does, without a socket. A service of your
//! own that holds a layer gets [`writer`] instead of a writer with a ClickHouse. [`rows`] returns
//! how many rows its events have become, and [`read_rows`] returns the rows.

mod row_binary;

use std::{
    convert::Infallible,
    future::Ready,
    io,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full};
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    collect::{options::EventOptions, route::Routes},
    intake::{owned::Owned, row::TypedTable},
    service::layer::{EventLayer, EventService},
    store::servers::Servers,
    table::Schema,
    writer::{Writer, WriterOptions},
};

/// Returns a writer without a server: it accepts rows as every writer does, and keeps them in
/// memory.
///
/// # Panics
///
/// If called outside of a tokio runtime.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use embedder::tables; // what `include_tables!` includes
/// use http::Request;
/// use http_body_util::Full;
/// use rowmill_ingest::test;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let writer = test::writer(&tables::SCHEMA);
/// let service = tables::layer(writer.clone())?.layer(service_fn(embedder::shop));
///
/// let order = Request::post("/wh/order").body(Full::new(Bytes::from(r#"{"number":"A-1"}"#)))?;
/// assert_eq!(service.oneshot(order).await?.status(), 200);
/// assert_eq!(test::rows(&writer, "orders"), 1);
/// # Ok(())
/// # }
/// ```
pub fn writer(schema: &'static Schema) -> Writer {
    Writer::start(schema, Servers::from_iter([]), &WriterOptions::default())
}

/// Returns the number of rows of a table that wait in the writer; 0 for a table that it does not
/// have. The table `rejected` has the events that were refused.
///
/// ```
/// # use embedder::tables;
/// use rowmill_ingest::test;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let writer = test::writer(&tables::SCHEMA);
/// assert_eq!(test::rows(&writer, "orders"), 0);
/// # }
/// ```
pub fn rows(writer: &Writer, table: &str) -> u64 {
    writer.status().table(table).map_or(0, |counts| counts.rows_pending)
}

/// Returns the rows of a table that wait in the memory of the writer, in the order in which it
/// accepted them. `T` is the table's owned row, such as `tables::OrdersOwned`.
///
/// A column whose DEFAULT ClickHouse computes, and that the event does not have, has the value of
/// the row's `Default`.
///
/// # Panics
///
/// If the table belongs to another schema, or if it has a value of a `Dynamic`, which cannot be
/// read back.
///
/// ```
/// # use embedder::tables;
/// use rowmill_ingest::{Ack, test};
/// use tables::{Orders, OrdersOwned};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let writer = test::writer(&tables::SCHEMA);
/// let order = Orders { number: "A-1".into(), ..Orders::default() };
/// writer.insert(&order, Ack::Accepted)?;
///
/// let orders: Vec<OrdersOwned> = test::read_rows(&writer);
/// assert_eq!(orders[0].number, "A-1");
/// # Ok(())
/// # }
/// ```
pub fn read_rows<T: OwnedRow>(writer: &Writer) -> Vec<T> {
    let blocks = writer.rows_in_memory(T::Typed::TABLE);
    let rows: Result<Vec<T::Typed>, _> = row_binary::read_rows(&blocks);
    match rows {
        Ok(rows) => rows.into_iter().map(T::from_typed).collect(),
        #[expect(clippy::panic, reason = "a test that asks for such rows cannot go on")]
        Err(error) => panic!("a row of `{}` cannot be read back: {error}", T::Typed::TABLE.name),
    }
}

/// An owned row of a table, as the build step declares it: `tables::OrdersOwned`.
///
/// ```
/// use embedder::tables::OrdersOwned;
/// use rowmill_ingest::test::{OwnedRow, TestCollector};
///
/// /// Returns the last row of a table.
/// fn last<T: OwnedRow>(collector: &TestCollector<embedder::tables::Routes>) -> Option<T> {
///     collector.read_rows().pop()
/// }
///
/// let collector = TestCollector::start()?;
/// assert_eq!(last::<OrdersOwned>(&collector), None);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait OwnedRow {
    /// The typed row.
    #[doc(hidden)]
    type Typed: TypedTable + DeserializeOwned;

    #[doc(hidden)]
    fn from_typed(row: Self::Typed) -> Self;
}

impl<R: TypedTable + DeserializeOwned> OwnedRow for R {
    type Typed = R;

    fn from_typed(row: R) -> Self {
        row
    }
}

impl<R: TypedTable + DeserializeOwned> OwnedRow for Owned<R> {
    type Typed = R;

    fn from_typed(row: R) -> Self {
        Self::new(row)
    }
}

/// A collector for the routes `R`, without a socket and without a ClickHouse.
///
/// `R` is the type `Routes` of a module with generated tables. Requests that are not events get
/// 404. An event of a route with `ack: stored` gets 503 at once, although its row is there: no
/// ClickHouse confirms it.
///
/// ```
/// use embedder::tables; // what `include_tables!` includes
/// use rowmill_ingest::test::TestCollector;
///
/// # fn main() -> std::io::Result<()> {
/// let collector = TestCollector::<tables::Routes>::start()?;
/// let response = collector.post("/wh/order", r#"{"number":"A-1"}"#);
/// assert_eq!(response.status(), 200);
/// assert_eq!(collector.rows("orders"), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestCollector<R> {
    writer: Writer,
    service: EventService<NotFound, R>,
    /// Dropped last: the writer's tasks run in it.
    runtime: Runtime,
}

impl<R: Routes> TestCollector<R> {
    /// Returns a collector with the options of `rowmill serve`.
    ///
    /// # Errors
    ///
    /// The operating system refuses an event loop.
    ///
    /// ```
    /// use embedder::tables;
    /// use rowmill_ingest::test::TestCollector;
    ///
    /// let collector = TestCollector::<tables::Routes>::start()?;
    /// assert_eq!(collector.rows("orders"), 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let writer = writer(R::schema());
        let layer = EventLayer::<R>::new(writer.clone()).map_err(io::Error::other)?;
        let options = EventOptions {
            catch_all: true,
            ack_timeout: Duration::ZERO,
            ..EventOptions::default()
        };
        let service = layer.with_options(&options).layer(NotFound);
        drop(entered);
        Ok(Self {
            writer,
            service,
            runtime,
        })
    }

    /// Sends a JSON event, and returns the response. A target that is not valid gets 400.
    ///
    /// ```
    /// use embedder::tables;
    /// use rowmill_ingest::test::TestCollector;
    ///
    /// let collector = TestCollector::<tables::Routes>::start()?;
    /// let refused = collector.post("/wh/order", "[1]");
    /// assert_eq!((refused.status().as_u16(), collector.rows("rejected")), (400, 1));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn post(&self, target: &str, json: impl Into<Bytes>) -> Response<Bytes> {
        self.send(Method::POST, target, json.into())
    }

    /// Sends the request of a pixel or a redirect, and returns the response. A target that is not
    /// valid gets 400.
    ///
    /// ```
    /// use embedder::tables;
    /// use rowmill_ingest::test::TestCollector;
    ///
    /// let collector = TestCollector::<tables::Routes>::start()?;
    /// assert_eq!(collector.get("/pixel/none").status(), 404);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn get(&self, target: &str) -> Response<Bytes> {
        self.send(Method::GET, target, Bytes::new())
    }

    /// Returns the number of rows of a table that the events have become.
    ///
    /// ```
    /// use embedder::tables;
    /// use rowmill_ingest::test::TestCollector;
    ///
    /// let collector = TestCollector::<tables::Routes>::start()?;
    /// collector.post("/wh/order", r#"{"number":"A-1"}"#);
    /// assert_eq!(collector.rows("orders"), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn rows(&self, table: &str) -> u64 {
        rows(&self.writer, table)
    }

    /// Returns the rows of a table that the events have become, as [`read_rows`] does.
    ///
    /// # Panics
    ///
    /// As [`read_rows`].
    ///
    /// ```
    /// use embedder::tables::{self, OrdersOwned};
    /// use rowmill_ingest::test::TestCollector;
    ///
    /// let collector = TestCollector::<tables::Routes>::start()?;
    /// collector.post("/wh/order", r#"{"number":"A-1"}"#);
    /// let orders: Vec<OrdersOwned> = collector.read_rows();
    /// assert_eq!(orders[0].number, "A-1");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn read_rows<T: OwnedRow>(&self) -> Vec<T> {
        read_rows(&self.writer)
    }

    fn send(&self, method: Method, target: &str, body: Bytes) -> Response<Bytes> {
        let Ok(target) = target.parse() else {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        };
        let mut request = Request::new(Full::new(body));
        if method == Method::POST {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
        }
        *request.method_mut() = method;
        *request.uri_mut() = target;
        self.runtime.block_on(async {
            let Ok(response) = self.service.clone().call(request).await;
            let (parts, body) = response.into_parts();
            let Ok(body) = body.collect().await;
            Response::from_parts(parts, body.to_bytes())
        })
    }
}

/// The service for requests that are not events.
#[derive(Debug, Clone, Copy)]
struct NotFound;

impl<B> Service<Request<B>> for NotFound {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(Full::default());
        *response.status_mut() = StatusCode::NOT_FOUND;
        std::future::ready(Ok(response))
    }
}
