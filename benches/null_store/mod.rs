//! The answers of a server that reads and discards the rows of all inserts.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

/// The result of a query for the columns of a table that does not exist: only the header of
/// RowBinaryWithNamesAndTypes.
const NO_COLUMNS: &[u8] = b"\x03\x04name\x04type\x0cdefault_kind\x06String\x06String\x06String";

/// Reads a request to its end, and answers as ClickHouse does on success.
///
/// The collector takes an insert as stored only if the answer has the id of the query and a summary
/// that counts at least the sent rows. The server does not know how many these are, so its count is
/// higher than any block has. Of the requests without an id, the query for the table's columns recurs
/// each second; after its empty result, the rows keep the form of the schema. The others are about
/// the nodes, and the collector works without their answers.
pub(crate) async fn discard(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    while let Some(Ok(_)) = body.frame().await {}
    let mut parameters = head.uri.query().unwrap_or_default().split('&');
    let Some(query_id) = parameters.find_map(|pair| pair.strip_prefix("query_id=")) else {
        return Ok(Response::new(NO_COLUMNS.into()));
    };
    let confirmed = Response::builder()
        .header("X-ClickHouse-Query-Id", query_id)
        .header("X-ClickHouse-Summary", r#"{"written_rows":"4294967295"}"#)
        .body(Full::default());
    Ok(confirmed.expect("an id without control characters"))
}
