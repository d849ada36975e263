//! The other collector, and one request to it.

use std::{error::Error, fmt, path::Path, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use url::Url;

use crate::{
    handover::PATH,
    spool::Received,
    store::{ClickHouseTls, ClientTls, Connector, TlsError, connector},
};

/// The time for one request, after which it is sent again. A package is some 4 MiB long.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 16 << 10;

/// The longest wait that an answer may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// A collector that takes over rows: the address of its operator's listener, and its secret.
#[derive(Clone)]
pub struct Target {
    /// Scheme, host and port, for display.
    origin: String,
    uri: Uri,
    /// Marked as sensitive, so that no `Debug` shows it.
    authorization: HeaderValue,
    client: Client<Connector, Full<Bytes>>,
}

/// The reason why a target is invalid.
#[derive(Debug)]
#[non_exhaustive]
pub enum TargetError {
    /// The text is not the URL of a listener.
    Url(&'static str),
    /// The secret has characters that a header cannot carry.
    Secret,
    /// The CA certificates cannot be used.
    Tls(TlsError),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(reason) => write!(f, "the URL of the other collector {reason}"),
            Self::Secret => f.write_str("the secret of the handover must be printable ASCII"),
            Self::Tls(error) => error.fmt(f),
        }
    }
}

impl Error for TargetError {}

impl Target {
    /// Returns the target with this URL, such as `http://collector-0:9090`, and this secret. With
    /// `https`, the file `ca` names the CAs that are trusted, in place of those of the system.
    ///
    /// # Errors
    /// See [`TargetError`].
    ///
    /// ```
    /// use rowmill_ingest::handover::Target;
    ///
    /// let target = Target::new("http://collector-0:9090", "0123456789abcdef", None)?;
    /// assert_eq!(target.to_string(), "http://collector-0:9090");
    /// assert!(!format!("{target:?}").contains("0123456789abcdef"));
    /// # Ok::<(), rowmill_ingest::handover::TargetError>(())
    /// ```
    pub fn new(url: &str, secret: &str, ca: Option<&Path>) -> Result<Self, TargetError> {
        let url = Url::parse(url.trim()).map_err(|_| TargetError::Url("is invalid; it is such as http://host:9090"))?;
        let is_https = url.scheme() == "https";
        if !is_https && url.scheme() != "http" {
            return Err(TargetError::Url("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::Url("must not contain a user or a password"));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(TargetError::Url("must end after the port"));
        }
        let origin = url.origin().ascii_serialization();
        let uri = format!("{origin}{PATH}");
        let uri = uri.parse().map_err(|_| TargetError::Url("has an invalid host"))?;
        let mut authorization = HeaderValue::from_str(&format!("Bearer {secret}")).map_err(|_| TargetError::Secret)?;
        authorization.set_sensitive(true);
        let tls = match (is_https, ca) {
            (true, Some(ca)) => {
                let files = ClickHouseTls {
                    ca: Some(ca.to_owned()),
                    ..ClickHouseTls::default()
                };
                Some(files.load().map_err(TargetError::Tls)?)
            }
            (true, None) => Some(ClientTls::of_system()),
            (false, _) => None,
        };
        let client = Client::builder(TokioExecutor::new()).build(connector(tls.as_ref()));
        Ok(Self {
            origin,
            uri,
            authorization,
            client,
        })
    }

    /// Sends a package once.
    pub(super) async fn post(&self, package: Bytes) -> Result<Received, PostError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(USER_AGENT, concat!("rowmill/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(package))
            .map_err(|error| PostError::Fatal(error.to_string()))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(unreachable)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await;
            let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
            let retry_after = head
                .headers
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            answer(
                head.status,
                retry_after,
                &text.map_err(|error| PostError::lost(error.to_string()))?,
            )
        };
        let late = |_| PostError::lost(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()));
        timeout(REQUEST_TIMEOUT, exchange).await.map_err(late)?
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// The reason why a request has not handed over its blocks, as far as this collector knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PostError {
    /// The same request may succeed later, or has succeeded although its answer is lost.
    Retry { reason: String, after: Option<Duration> },
    /// The other collector takes no blocks of this queue.
    NoQueue(String),
    /// The other collector cannot take one of the blocks.
    Refused(String),
    /// The request is too long for the other collector.
    TooLong(String),
    /// The other collector takes no blocks from this one.
    Fatal(String),
}

impl PostError {
    fn lost(reason: String) -> Self {
        Self::Retry { reason, after: None }
    }
}

/// The answer to a request whose blocks are on disk.
#[derive(Debug, Serialize, Deserialize)]
struct Counts {
    taken: usize,
    known: usize,
}

impl Received {
    /// Returns the body of the answer.
    pub fn to_json(self) -> String {
        let Self { taken, known } = self;
        serde_json::to_string(&Counts { taken, known }).unwrap_or_default()
    }
}

fn unreachable(error: hyper_util::client::legacy::Error) -> PostError {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason.push_str(": ");
        reason.push_str(&error.to_string());
        cause = error.source();
    }
    PostError::lost(reason)
}

/// Returns the meaning of an answer. Anything that this collector does not understand is no
/// success.
fn answer(status: StatusCode, retry_after_s: Option<u64>, text: &str) -> Result<Received, PostError> {
    let text = text.trim();
    match status {
        StatusCode::OK => match serde_json::from_str(text) {
            Ok(Counts { taken, known }) => Ok(Received { taken, known }),
            Err(_) => Err(PostError::Fatal(
                "another program answers at this URL; name the operator's listener of the other collector".to_owned(),
            )),
        },
        StatusCode::UNAUTHORIZED => Err(PostError::Fatal(
            "the other collector has another secret; both need the same --handover-secret-file".to_owned(),
        )),
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err(PostError::Fatal(
            "the other collector takes no rows at this URL; start it with --admin-listen and --handover-secret-file, \
             and name the address of --admin-listen"
                .to_owned(),
        )),
        StatusCode::CONFLICT => Err(PostError::NoQueue(text.to_owned())),
        StatusCode::UNPROCESSABLE_ENTITY => Err(PostError::Refused(text.to_owned())),
        StatusCode::PAYLOAD_TOO_LARGE => Err(PostError::TooLong(text.to_owned())),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => Err(PostError::Retry {
            reason: format!("{status}: {text}"),
            after: retry_after_s.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
        }),
        StatusCode::REQUEST_TIMEOUT => Err(PostError::lost(format!("{status}: {text}"))),
        status => Err(PostError::Fatal(format!(
            "the other collector answers {status}: {text}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_a_complete_answer_is_a_success() {
        let of = |status: u16, text: &str| answer(StatusCode::from_u16(status).unwrap(), Some(3600), text);
        let received = Received { taken: 2, known: 1 };
        assert_eq!(of(200, &received.to_json()), Ok(received));
        for text in ["", "ok", "{}", "{\"taken\":1}"] {
            assert!(matches!(of(200, text), Err(PostError::Fatal(_))), "{text}");
        }
        for status in [401, 404, 405, 400, 403, 204, 302] {
            assert!(matches!(of(status, ""), Err(PostError::Fatal(_))), "{status}");
        }
        assert_eq!(of(422, " a reason\n"), Err(PostError::Refused("a reason".to_owned())));
        assert_eq!(of(409, "a reason"), Err(PostError::NoQueue("a reason".to_owned())));
        assert_eq!(of(413, "a reason"), Err(PostError::TooLong("a reason".to_owned())));
        for status in [429, 500, 502, 503, 504] {
            let error = of(status, "").unwrap_err();
            let waits = |after: Option<Duration>| after == Some(MAX_RETRY_AFTER);
            assert!(
                matches!(error, PostError::Retry { after, .. } if waits(after)),
                "{status}"
            );
        }
    }

    #[test]
    fn a_target_is_an_origin() {
        let target = |url: &str| Target::new(url, "0123456789abcdef", None);
        for url in ["http://10.0.0.1:9090", "http://host/", " https://[::1]:9443 "] {
            assert!(target(url).is_ok(), "{url}");
        }
        for url in [
            "",
            "host:9090",
            "ftp://host",
            "http://",
            "http://host:9090/metrics",
            "http://ann:secret@host",
            "http://host?a=b",
        ] {
            let error = target(url).unwrap_err().to_string();
            assert!(error.starts_with("the URL of the other collector "), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let error = Target::new("http://host", "line\nbreak", None).unwrap_err();
        assert!(!error.to_string().contains("line"), "{error}");
    }
}
