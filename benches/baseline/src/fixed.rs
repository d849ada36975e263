//! A hyper server that reads each request's body, if any, and answers with the same few bytes;
//! optionally with the headers of the collector's answer to a webhook.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{self, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Failure;

const ANSWER: &[u8] = b"{\"result\":\"ok\"}";

/// Headers of an answer beside its content type.
pub type Headers = &'static [(HeaderName, HeaderValue)];

/// The headers that the collector sends with its answer to a webhook.
pub static COLLECTORS: [(HeaderName, HeaderValue); 4] = [
    fixed(header::CACHE_CONTROL, "no-store"),
    fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    fixed(
        header::SET_COOKIE,
        "uid=7532195402523607040; Path=/; Expires=Mon, 26 Nov 2029 21:35:13 GMT; HttpOnly; Secure; SameSite=None",
    ),
    fixed(HeaderName::from_static("x-rowmill-ack"), "accepted"),
];

const fn fixed(name: HeaderName, value: &'static str) -> (HeaderName, HeaderValue) {
    (name, HeaderValue::from_static(value))
}

/// Answers all connections of `listener`, with `headers` added, until `stop` ends.
///
/// # Errors
/// None today; the signature matches `axum_collector::serve`.
pub async fn serve(listener: TcpListener, headers: Headers, stop: impl Future<Output = ()>) -> Result<(), Failure> {
    let mut stop = std::pin::pin!(stop);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    eprintln!("accept: {error}");
                    continue;
                }
            },
            () = &mut stop => return Ok(()),
        };
        // With Nagle's algorithm, an answer may wait for the client's acknowledgement of the
        // previous one.
        let _ = stream.set_nodelay(true);
        let answer = service_fn(move |request| answer(request, headers));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn answer(mut request: Request<Incoming>, headers: Headers) -> Result<Response<Full<Bytes>>, Infallible> {
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    let map = response.headers_mut();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    map.extend(headers.iter().cloned());
    Ok(response)
}
