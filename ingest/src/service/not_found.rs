//! The innermost service of a program that only serves events.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;

/// Answers any request with 404: the innermost service of a program that only serves events.
///
/// ```
/// use rowmill_ingest::server::not_found;
/// use tower::{ServiceExt, service_fn};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), std::convert::Infallible> {
/// let response = service_fn(not_found).oneshot(http::Request::new(())).await?;
/// assert_eq!(response.status(), 404);
/// # Ok(())
/// # }
/// ```
pub async fn not_found<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::new(Bytes::from_static(b"{\"message\":\"Not Found\"}")));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
