//! Sends one INSERT over HTTP, and checks whether the response proves that the rows are stored.
//!
//! The `clickhouse` crate accepts every 200 as a success. A proxy's page, another service on the
//! same address and a response with a late exception also have status 200, so this module reads the
//! response itself. A success has an empty body, the id of the query and a summary that counts the
//! rows ([HTTP interface](https://clickhouse.com/docs/interfaces/http)). After any other response,
//! the rows may or may not be in the table.
//!
//! The body has a known length. ClickHouse accepts a chunked body that ends too early as a shorter
//! insert; with a length, it detects that bytes are missing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use clickhouse::Client;
use http::{Request, Response, StatusCode, response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use super::{
    ClickHouseError, ClickHouseUrl, IDLE_TIMEOUT,
    tls::{Connector, connector},
};

/// The maximum number of bytes to read of a response. Every exception is shorter.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

const EXCEPTION_CODE: &str = "X-ClickHouse-Exception-Code";
const QUERY_ID: &str = "X-ClickHouse-Query-Id";
const SUMMARY: &str = "X-ClickHouse-Summary";
const SERVER_NAME: &str = "X-ClickHouse-Server-Display-Name";

/// The longest name of a server that the log gets.
const MAX_SERVER_NAME: usize = 255;

/// Sends inserts to one server.
#[derive(Debug, Clone)]
pub(crate) struct InsertClient {
    http: HttpClient<Connector, Full<Bytes>>,
    url: ClickHouseUrl,
    settings: Vec<(&'static str, String)>,
    failures: Arc<Mutex<InsertFailures>>,
}

/// The inserts that have failed in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InsertFailures {
    pub(crate) count: u64,
    /// The name of the server that has answered last: behind a balancer, one of several.
    pub(crate) server: Option<Arc<str>>,
}

/// Rows to insert together.
#[derive(Debug, Clone)]
pub(crate) struct InsertRequest<'a> {
    /// `INSERT INTO … FORMAT …`.
    pub(crate) statement: &'a str,
    /// The `insert_deduplication_token`.
    pub(crate) token: &'a str,
    /// The unique id of this attempt.
    pub(crate) query_id: &'a str,
    pub(crate) rows: usize,
    /// Whether the table accepts the rows even if a materialized view over it throws; the view then
    /// misses them without an error.
    pub(crate) ignores_views: bool,
    /// The settings of the table's inserts. They take precedence over those of the URL.
    pub(crate) settings: &'a [(&'a str, &'a str)],
    /// The rows, compressed as ClickHouse's own LZ4 frames.
    pub(crate) frames: Bytes,
}

/// The relevant counts of `X-ClickHouse-Summary`; each is a string.
#[derive(Debug, Deserialize)]
struct Summary {
    written_rows: String,
}

impl InsertClient {
    /// Returns a client whose inserts have these settings.
    pub(crate) fn new(url: &ClickHouseUrl, settings: Vec<(&'static str, String)>) -> Self {
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector(url.tls.as_ref()));
        Self {
            http,
            url: url.clone(),
            settings,
            failures: Arc::default(),
        }
    }

    /// Returns the inserts that have failed in a row.
    pub(crate) fn failures(&self) -> InsertFailures {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns a client for inserts into another host with the same scheme, port, credentials,
    /// database and settings, and one for queries; `None` if `host` is no host.
    pub(super) fn on_host(&self, host: &str) -> Option<(Self, Client)> {
        let url = self.url.on_host(host)?;
        let queries = url.client();
        Some((Self::new(&url, self.settings.clone()), queries))
    }

    /// Returns the URL of the server.
    pub(crate) fn url(&self) -> &ClickHouseUrl {
        &self.url
    }

    /// Sends an insert, and returns once ClickHouse has confirmed that the rows are stored.
    ///
    /// # Errors
    /// [`ClickHouseError::may_be_stored`] returns whether the table may have the rows despite the
    /// error.
    pub(crate) async fn insert(&self, insert: InsertRequest<'_>, within: Duration) -> Result<(), ClickHouseError> {
        let (query_id, rows) = (insert.query_id, insert.rows);
        let request = self.request(insert)?;
        let response = async {
            let response = self.http.request(request).await.map_err(|error| {
                if error.is_connect() {
                    ClickHouseError::not_sent(error)
                } else {
                    ClickHouseError::cut_off(error)
                }
            })?;
            check(response, query_id, rows).await
        };
        let result = timeout(within, response)
            .await
            .unwrap_or_else(|_| Err(ClickHouseError::timed_out()));
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(()) => *failures = InsertFailures::default(),
            Err(error) => {
                failures.count += 1;
                failures.server = error.server().map(Into::into).or(failures.server.take());
            }
        }
        result
    }

    fn request(&self, insert: InsertRequest<'_>) -> Result<Request<Full<Bytes>>, ClickHouseError> {
        let mut url = Url::parse(&self.url.origin).map_err(ClickHouseError::invalid)?;
        let mut query = url.query_pairs_mut();
        query
            .append_pair("database", &self.url.database)
            .append_pair("query", insert.statement)
            .append_pair("query_id", insert.query_id)
            .append_pair("insert_deduplication_token", insert.token)
            .append_pair("decompress", "1");
        if insert.ignores_views {
            query.append_pair("materialized_views_ignore_errors", "1");
        }
        for (name, value) in &self.settings {
            query.append_pair(name, value);
        }
        let of_table = |name: &str| insert.settings.iter().any(|(known, _)| *known == name);
        for (name, value) in self.url.settings.iter().filter(|(name, _)| !of_table(name)) {
            query.append_pair(name, value);
        }
        for (name, value) in insert.settings {
            query.append_pair(name, value);
        }
        drop(query);
        self.url
            .authenticated(Request::post(url.as_str()))
            .header(http::header::USER_AGENT, concat!("rowmill/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(insert.frames))
            .map_err(ClickHouseError::invalid)
    }
}

/// Checks that a response confirms an insert of `rows` rows.
async fn check(response: Response<Incoming>, query_id: &str, rows: usize) -> Result<(), ClickHouseError> {
    let (parts, body) = response.into_parts();
    let result = confirm(&parts, body, query_id, rows).await;
    result.map_err(|error| {
        let name = parts.headers.get(SERVER_NAME).and_then(|name| name.to_str().ok());
        error.at(name.filter(|name| name.len() <= MAX_SERVER_NAME))
    })
}

async fn confirm(
    parts: &response::Parts,
    mut body: Incoming,
    query_id: &str,
    rows: usize,
) -> Result<(), ClickHouseError> {
    let mut text = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(ClickHouseError::cut_off)?.into_data() {
            text.extend_from_slice(&data[..data.len().min(MAX_RESPONSE_BYTES - text.len())]);
        }
        if text.len() == MAX_RESPONSE_BYTES {
            break;
        }
    }
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let text = String::from_utf8_lossy(&text);
    let text = text.trim();
    if parts.status != StatusCode::OK || header(EXCEPTION_CODE).is_some() {
        let text = match (text, header(EXCEPTION_CODE)) {
            ("", Some(code)) => format!("Code: {code}"),
            ("", None) => parts.status.to_string(),
            (text, _) => text.to_owned(),
        };
        return Err(ClickHouseError::refused(parts.status, text));
    }
    if let Some(at) = text.find("Code: ")
        && text[at..].contains("DB::")
    {
        return Err(ClickHouseError::refused(parts.status, text[at..].to_owned()).late());
    }
    let written = header(SUMMARY)
        .and_then(|summary| serde_json::from_str::<Summary>(summary).ok())
        .and_then(|summary| summary.written_rows.parse::<usize>().ok());
    let missing = match written {
        _ if !text.is_empty() => "its body is not empty",
        _ if header(QUERY_ID) != Some(query_id) => "it does not have the id of the query",
        None => "it has no X-ClickHouse-Summary",
        // Views add to the count.
        Some(written) if written < rows => "it counts fewer rows than were sent",
        Some(_) => return Ok(()),
    };
    Err(ClickHouseError::unconfirmed(missing))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::store::Class;

    /// Returns the outcome of an insert of two rows to a server that sends `response`.
    async fn insert_into(response: &'static str) -> Result<(), ClickHouseError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: ClickHouseUrl = format!("http://{}/stats?max_threads=2", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"frames") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(response.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let insert = InsertRequest {
            statement: "INSERT INTO t FORMAT Native",
            token: "t:1",
            query_id: "q1",
            rows: 2,
            ignores_views: false,
            settings: &[("max_threads", "3")],
            frames: Bytes::from_static(b"frames"),
        };
        let client = InsertClient::new(&url, vec![("async_insert", "0".to_owned())]);
        let result = client.insert(insert, Duration::from_secs(10)).await;
        let request = server.await.unwrap();
        assert!(request.contains("content-length: 6\r\n"), "{request}");
        assert!(request.contains("insert_deduplication_token=t%3A1"), "{request}");
        // The table's setting replaces that of the URL.
        assert!(
            request.contains("max_threads=3") && !request.contains("max_threads=2"),
            "{request}"
        );
        result
    }

    #[tokio::test]
    async fn a_success_is_empty_names_the_query_and_counts_the_rows() {
        let confirmed = "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: q1\r\n\
                         X-ClickHouse-Summary: {\"read_rows\":\"2\",\"written_rows\":\"2\"}\r\nContent-Length: 0\r\n\r\n";
        assert!(insert_into(confirmed).await.is_ok());
        for (response, reason) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
                "its body is not empty",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "the id of the query"),
            (
                "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: q2\r\nX-ClickHouse-Summary: {\"written_rows\":\"2\"}\r\nContent-Length: 0\r\n\r\n",
                "the id of the query",
            ),
            (
                "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: q1\r\nContent-Length: 0\r\n\r\n",
                "no X-ClickHouse-Summary",
            ),
            (
                "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: q1\r\nX-ClickHouse-Summary: {\"written_rows\":\"1\"}\r\nContent-Length: 0\r\n\r\n",
                "fewer rows",
            ),
        ] {
            let error = insert_into(response).await.unwrap_err();
            assert!(error.to_string().contains(reason), "{response}: {error}");
            assert_eq!(
                (error.class(), error.may_be_stored()),
                (Class::Retry, true),
                "{response}"
            );
        }
    }

    #[tokio::test]
    async fn an_error_has_the_name_of_the_server_that_answered() {
        let refused = "HTTP/1.1 500 Internal Server Error\r\nX-ClickHouse-Server-Display-Name: ch3\r\n\
                       Content-Length: 30\r\n\r\nCode: 60. DB::Exception: absent";
        let error = insert_into(refused).await.unwrap_err();
        assert_eq!((error.code(), error.server()), (Some(60), Some("ch3")));
        let unknown = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(insert_into(unknown).await.unwrap_err().server(), None);
    }

    #[tokio::test]
    async fn a_late_exception_in_two_chunks_is_detected() {
        let head = "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: q1\r\nX-ClickHouse-Exception-Tag: abcdefghijklmnop\r\n\
                    X-ClickHouse-Summary: {\"written_rows\":\"2\"}\r\nTransfer-Encoding: chunked\r\n\r\n";
        let old = "8\r\nCode: 24\r\n1b\r\n1. DB::Exception: Memory\n\n\n\r\n0\r\n\r\n";
        let new = "11\r\n\r\n__exception__\r\n\r\n2d\r\nabcdefghijklmnop\r\nCode: 241. DB::Exception: M\r\n0\r\n\r\n";
        for chunks in [old, new] {
            let response: &'static str = Box::leak(format!("{head}{chunks}").into_boxed_str());
            let error = insert_into(response).await.unwrap_err();
            assert_eq!((error.code(), error.may_be_stored()), (Some(241), true), "{error}");
        }
    }

    #[tokio::test]
    async fn rows_may_be_stored_after_a_truncated_response() {
        for response in ["", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"] {
            let error = insert_into(response).await.unwrap_err();
            assert!(error.may_be_stored() && error.is_unreachable(), "{error}");
        }
    }

    #[tokio::test]
    async fn an_unreachable_server_has_no_rows() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: ClickHouseUrl = format!("http://{}/stats", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        drop(listener);
        let insert = InsertRequest {
            statement: "",
            token: "",
            query_id: "",
            rows: 1,
            ignores_views: false,
            settings: &[],
            frames: Bytes::new(),
        };
        let client = InsertClient::new(&url, Vec::new());
        let error = client.insert(insert, Duration::from_secs(10)).await.unwrap_err();
        assert!(!error.may_be_stored() && error.is_unreachable(), "{error}");
    }
}
