//! The version of a server.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use tokio::time::timeout;

use super::{ClickHouseError, ClickHouseUrl, connector};

/// The maximum length of a response to read.
const MAX_RESPONSE_BYTES: usize = 64 << 10;

/// The version of a ClickHouse server: the year and the number of the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerVersion {
    /// The first number.
    pub(crate) major: u32,
    /// The second number.
    pub(crate) minor: u32,
}

impl ServerVersion {
    /// The oldest version that has every function, format and setting that the collector uses.
    pub(crate) const OLDEST: Self = Self { major: 23, minor: 8 };

    /// Reads a version such as `26.7.2.1`. Returns `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        Some(Self { major, minor })
    }
}

/// Displays the version without its patches: `26.7`.
impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Asks a server for its version, in a way that a server of any age understands: without settings,
/// without compression, and as text. Returns `None` if the response is not a version.
///
/// # Errors
/// ClickHouse is unreachable, or does not accept this user.
pub(crate) async fn version(url: &ClickHouseUrl, within: Duration) -> Result<Option<ServerVersion>, ClickHouseError> {
    let http = HttpClient::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector(url.tls.as_ref()));
    let request = Request::get(format!("{}/?query=SELECT%20version()", url.origin()));
    let request = url
        .authenticated(request)
        .body(Empty::new())
        .map_err(ClickHouseError::invalid)?;
    let response = async {
        let response = http.request(request).await.map_err(ClickHouseError::cut_off)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_RESPONSE_BYTES).collect().await;
        let body = body.map_err(|error| ClickHouseError::cut_off(std::io::Error::other(error)))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).trim().to_owned();
        if status == StatusCode::OK {
            return Ok(ServerVersion::parse(&text));
        }
        let text = if text.is_empty() { status.to_string() } else { text };
        Err(ClickHouseError::refused(status, text))
    };
    timeout(within, response)
        .await
        .unwrap_or_else(|_| Err(ClickHouseError::timed_out()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let parsed = |text| ServerVersion::parse(text);
        assert!(parsed("18.16.1\n") < Some(ServerVersion::OLDEST));
        assert!(parsed("23.10.1.1") > parsed("23.8.1.1"));
        assert!(parsed("26.7.2.1") > Some(ServerVersion::OLDEST));
        assert_eq!(
            parsed("26.7.2.1").map(|version| version.to_string()).as_deref(),
            Some("26.7")
        );
        for text in ["", "x", "<html>", "1"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
