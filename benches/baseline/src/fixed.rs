//! hyper that answers each request with the same few bytes, after it has read the body if there is one.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, header, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Failure;

const ANSWER: &[u8] = b"{\"result\":\"ok\"}";

/// Answers all of `listener`'s connections until `stop` ends.
///
/// # Errors
/// None today; it has the type of its neighbour.
pub async fn serve(listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), Failure> {
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
        // Without it an answer may wait for the client's acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    while let Some(Ok(_)) = request.body_mut().frame().await {}
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
