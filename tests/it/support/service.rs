//! Layers in the test process, served on a separate port.

use std::{convert::Infallible, net::SocketAddr, path::Path, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use rowmill_ingest::{
    Writer, WriterOptions,
    schema::sync,
    server::{ServeOptions, Tls, serve},
    store::Servers,
    table::Schema,
};
use tokio::{net::TcpListener, runtime::Runtime, sync::oneshot};
use tower::Service;

use super::{engine::Database, proxy::Proxy};

/// A running service.
#[derive(Debug)]
pub struct Served {
    runtime: Runtime,
    pub writer: Writer,
    stop: Option<oneshot::Sender<()>>,
    pub address: SocketAddr,
}

fn options() -> WriterOptions {
    WriterOptions {
        block_age: Duration::from_millis(50),
        ..WriterOptions::default()
    }
}

impl Served {
    /// Syncs the schema and serves the service that `service_for` builds for a writer.
    pub fn start<S, B>(database: &Database, schema: &'static Schema, service_for: impl FnOnce(Writer) -> S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::start_with(database, schema, options(), service_for)
    }

    /// Like [`start`](Self::start), with a proxy before ClickHouse.
    pub fn start_through<S, B>(
        proxy: &Proxy,
        database: &Database,
        schema: &'static Schema,
        service_for: impl FnOnce(Writer) -> S,
    ) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let url = database.url_through(proxy.address);
        Self::start_in(None, &url, schema, options(), service_for)
    }

    /// Like [`start`](Self::start), for connections with TLS.
    pub fn start_tls<S, B>(
        database: &Database,
        schema: &'static Schema,
        tls: Tls,
        service_for: impl FnOnce(Writer) -> S,
    ) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let connections = ServeOptions {
            tls: Some(tls),
            ..ServeOptions::default()
        };
        Self::start_serving(None, &database.url(), schema, options(), connections, service_for)
    }

    /// Like [`start`](Self::start), with other writer options.
    pub fn start_with<S, B>(
        database: &Database,
        schema: &'static Schema,
        options: WriterOptions,
        service_for: impl FnOnce(Writer) -> S,
    ) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::start_in(None, &database.url(), schema, options, service_for)
    }

    /// Like [`start_with`](Self::start_with), with a spool in `folder` and any ClickHouse URL.
    pub fn start_in<S, B>(
        folder: Option<&Path>,
        clickhouse: &str,
        schema: &'static Schema,
        options: WriterOptions,
        service_for: impl FnOnce(Writer) -> S,
    ) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let connections = ServeOptions::default();
        Self::start_serving(folder, clickhouse, schema, options, connections, service_for)
    }

    fn start_serving<S, B>(
        folder: Option<&Path>,
        clickhouse: &str,
        schema: &'static Schema,
        options: WriterOptions,
        connections: ServeOptions,
        service_for: impl FnOnce(Writer) -> S,
    ) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let runtime = Runtime::new().unwrap();
        let writer = runtime.block_on(async {
            let store: rowmill_ingest::ClickHouseUrl = clickhouse.parse().unwrap();
            sync(&store, schema).await.unwrap_or_else(|error| panic!("{error}"));
            match folder {
                Some(folder) => Writer::open(schema, Servers::without_sync(store.clone()), &options, folder).unwrap(),
                None => Writer::start(schema, Servers::without_sync(store.clone()), &options),
            }
        });
        Self::serve(runtime, writer, connections, service_for)
    }

    /// Serves the service that `service_for` builds for a writer of this runtime.
    pub fn serve<S, B>(
        runtime: Runtime,
        writer: Writer,
        connections: ServeOptions,
        service_for: impl FnOnce(Writer) -> S,
    ) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let service = service_for(writer.clone());
        let (address, stop) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (stop, stopped) = oneshot::channel::<()>();
            tokio::spawn(serve(listener, move |_| service.clone(), connections, async {
                let _ = stopped.await;
            }));
            (address, stop)
        });
        Self {
            runtime,
            writer,
            stop: Some(stop),
            address,
        }
    }

    /// Delivers all rows to ClickHouse.
    pub fn drain(&self) {
        let report = self.runtime.block_on(self.writer.drain(Duration::from_secs(60)));
        assert!(report.is_complete(), "{report:?}");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
    }
}
