//! A service with a route of its own, and the tables of the folder `schemas` around it.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

/// The tables of the folder `schemas`.
pub mod tables {
    rowmill_ingest::include_tables!();
}

/// Answers every request with the path it was for.
///
/// # Errors
/// Never.
pub async fn shop<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from(format!(
        "shop: {}",
        request.uri().path()
    )))))
}
