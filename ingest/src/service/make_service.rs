//! Gives `axum::serve` a service for each connection.

use std::{
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum::{Router, body::Body as AxumBody, serve::IncomingStream};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::net::TcpListener;
use tower_service::Service;

use crate::{collect::route::Routes, service::layer::EventService};

/// `axum::serve` takes the service as it takes a `Router`: each connection gets a clone that knows
/// the address of its peer. The responses are in a `Router`, since `axum::serve` takes bodies of
/// axum alone.
///
/// ```no_run
/// # use embedder::tables;
/// use axum::{Router, routing::get};
/// use rowmill_ingest::Writer;
/// use tokio::net::TcpListener;
/// use tower::Layer;
///
/// # async fn serve(writer: Writer) -> Result<(), Box<dyn std::error::Error>> {
/// let router = Router::new().route("/", get(async || "the shop"));
/// let listener = TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, tables::layer(writer)?.layer(router)).await?;
/// # Ok(())
/// # }
/// ```
impl<S, R, B> Service<IncomingStream<'_, TcpListener>> for EventService<S, R>
where
    S: Service<Request<AxumBody>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    R: Routes,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Router;
    type Error = Infallible;
    type Future = Ready<Result<Router, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, TcpListener>) -> Self::Future {
        let service = self.clone().with_peer(stream.remote_addr().ip());
        ready(Ok(Router::new().fallback_service(service)))
    }
}
