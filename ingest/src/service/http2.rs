//! HTTP/2: its limits, and the header `Host` that its requests lack.

use http::{HeaderValue, Request, header};
use hyper::{body::Incoming, server::conn::http2, service::Service};
use hyper_util::rt::TokioExecutor;

/// The number of requests that a connection may have in progress.
const MAX_STREAMS: u32 = 64;

/// The bytes of one body that a sender may send before the collector has read them. A sender that
/// is 100 ms away reaches 2.5 MB/s with it.
const STREAM_WINDOW: u32 = 256 << 10;

/// The same for all bodies of a connection.
const CONNECTION_WINDOW: u32 = 512 << 10;

/// Returns a server of HTTP/2 whose connections are bounded in memory: in request heads of
/// `max_head_bytes`, in unread bodies, and in the number of requests.
pub(super) fn builder(max_head_bytes: usize) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(max_head_bytes).unwrap_or(u32::MAX));
    http
}

/// A service whose requests have a `Host`. HTTP/2 has `:authority` in its place, which
/// [RFC 9113](https://www.rfc-editor.org/rfc/rfc9113#section-8.3.1) makes a `Host` of wherever the
/// request goes on as HTTP/1.1.
#[derive(Debug)]
pub(super) struct WithHost<S>(pub(super) S);

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for WithHost<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> S::Future {
        if !request.headers().contains_key(header::HOST)
            && let Some(authority) = request.uri().authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        self.0.call(request)
    }
}
