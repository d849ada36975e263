//! The connection to ClickHouse: its address, its requests and its errors.
//!
//! Takes a URL such as `http://user:password@host:8123/stats`, provides a [`clickhouse::Client`],
//! and classifies each error by its remedy ([`Class`]). Promises: no text from this module contains
//! the password, and ClickHouse's error codes distinguish its errors (see `error`).

pub(crate) mod backoff;
mod cluster_timeout;
mod connection;
mod error;
pub(crate) mod failure_log;
mod insert;
mod quorum;
pub(crate) mod servers;
mod table_stores;
mod tls;
mod url_settings;
mod version;

use std::{error::Error, fmt, str::FromStr, time::Duration};

use clickhouse::Compression;
use hyper_util::{client::legacy::Client as HttpClient, rt::TokioExecutor};
use percent_encoding::percent_decode_str;
use url::Url;

pub(crate) use self::{
    cluster_timeout::wait_for_cluster,
    connection::{Connection, INSERT_SETTINGS},
    insert::{InsertClient, InsertFailures, InsertRequest},
    version::{ServerVersion, version},
};
/// The client that [`ClickHouseUrl::client`] returns, and that [`ping`] accepts.
pub use clickhouse::Client;

pub use self::{
    backoff::Backoff,
    error::{Class, ClickHouseError},
    quorum::{InsertQuorum, InvalidInsertQuorum},
    servers::Servers,
    tls::ClickHouseTls,
};
pub use crate::tls::TlsError;

pub(crate) use self::tls::{ClientTls, Connector, connector, system_config};

/// ClickHouse's own defaults for HTTP and HTTPS.
const DEFAULT_PORTS: [u16; 2] = [8123, 8443];

/// A reachable server answers a SYN within milliseconds; an unreachable one must not block a
/// delivery's permit for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// ClickHouse closes idle connections after 3 s (older versions) or more. A client that closes them
/// earlier never sends a request on a connection that the server is closing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// The address of ClickHouse, the credentials and the database.
///
/// ```
/// use rowmill_ingest::ClickHouseUrl;
///
/// let url: ClickHouseUrl = "http://ann:secret@clickhouse:8124/stats".parse()?;
/// assert_eq!((url.origin(), url.database()), ("http://clickhouse:8124", "stats"));
/// assert!(!format!("{url} {url:?}").contains("secret"));
/// # Ok::<(), rowmill_ingest::store::ClickHouseUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ClickHouseUrl {
    /// `http://host:port` or `https://host:port` only.
    origin: String,
    user: Option<String>,
    password: Option<String>,
    database: String,
    /// Settings of each insert.
    settings: Vec<(String, String)>,
    /// The TLS of `https`.
    tls: Option<ClientTls>,
}

impl ClickHouseUrl {
    /// Returns the scheme, host and port, for display.
    ///
    /// ```
    /// use rowmill_ingest::ClickHouseUrl;
    ///
    /// let url: ClickHouseUrl = "http://ann:secret@clickhouse:8124/stats".parse()?;
    /// assert_eq!(url.origin(), "http://clickhouse:8124");
    /// # Ok::<(), rowmill_ingest::store::ClickHouseUrlError>(())
    /// ```
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the name of the database, unquoted.
    ///
    /// ```
    /// use rowmill_ingest::ClickHouseUrl;
    ///
    /// let url: ClickHouseUrl = "http://clickhouse/stats".parse()?;
    /// assert_eq!(url.database(), "stats");
    /// # Ok::<(), rowmill_ingest::store::ClickHouseUrlError>(())
    /// ```
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns the settings of each insert, with their names and values.
    ///
    /// ```
    /// use rowmill_ingest::ClickHouseUrl;
    ///
    /// let url: ClickHouseUrl = "http://clickhouse/stats?max_insert_threads=4".parse()?;
    /// assert_eq!(url.settings(), [("max_insert_threads".to_owned(), "4".to_owned())]);
    /// # Ok::<(), rowmill_ingest::store::ClickHouseUrlError>(())
    /// ```
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Returns whether the URL has a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// Returns the URL with this password, which is not percent-encoded, in place of its own.
    ///
    /// # Errors
    /// The password contains characters that a header cannot carry.
    pub fn with_password(self, password: &str) -> Result<Self, ClickHouseUrlError> {
        let password = Some(printable(password.to_owned())?);
        Ok(Self { password, ..self })
    }

    /// Returns the URL with these certificates for its connections.
    ///
    /// # Errors
    /// A file is unreadable or not as TLS needs it, or the URL does not begin with `https://`.
    ///
    /// ```no_run
    /// use rowmill_ingest::{ClickHouseUrl, store::ClickHouseTls};
    ///
    /// let url: ClickHouseUrl = "https://ann@db.example.com/stats".parse()?;
    /// let tls = ClickHouseTls { ca: Some("ca.pem".into()), ..ClickHouseTls::default() };
    /// let url = url.with_tls(&tls)?.with_password("secret")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_tls(mut self, certificates: &ClickHouseTls) -> Result<Self, TlsError> {
        if certificates.is_empty() {
            return Ok(self);
        }
        if self.tls.is_none() {
            return Err(TlsError::not_https());
        }
        self.tls = Some(certificates.load()?);
        Ok(self)
    }

    /// Adds the user and the password to a request.
    fn authenticated(&self, mut request: http::request::Builder) -> http::request::Builder {
        if let Some(user) = &self.user {
            request = request.header("X-ClickHouse-User", user);
        }
        if let Some(password) = &self.password {
            request = request.header("X-ClickHouse-Key", password);
        }
        request
    }

    /// Returns a client whose requests run in the URL's database. Sends nothing yet.
    ///
    /// ```no_run
    /// use rowmill_ingest::ClickHouseUrl;
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let url: ClickHouseUrl = "http://127.0.0.1:8123/stats".parse()?;
    /// let rows: u64 = url.client().query("SELECT count() FROM orders").fetch_one().await?;
    /// println!("{rows} rows");
    /// # Ok(())
    /// # }
    /// ```
    pub fn client(&self) -> Client {
        self.server_client().with_database(&self.database)
    }

    /// Returns a client without a database, for requests before the database exists.
    pub(crate) fn server_client(&self) -> Client {
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector(self.tls.as_ref()));
        let mut client = Client::with_http_client(http)
            .with_url(&self.origin)
            .with_compression(Compression::Lz4)
            .with_product_info("rowmill", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &self.user {
            client = client.with_user(user);
        }
        if let Some(password) = &self.password {
            client = client.with_password(password);
        }
        client
    }
}

impl FromStr for ClickHouseUrl {
    type Err = ClickHouseUrlError;

    /// Reads `http://[user[:password]@]host[:8123]/database[?setting=value&…]`, or the same with
    /// `https://` and 8443. The user, password, database and values may be percent-encoded.
    fn from_str(text: &str) -> Result<Self, ClickHouseUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(ClickHouseUrlError::Scheme)?;
        let is_https = scheme.eq_ignore_ascii_case("https");
        if !is_https && !scheme.eq_ignore_ascii_case("http") {
            return Err(ClickHouseUrlError::Scheme);
        }
        let scheme = if is_https { "https" } else { "http" };
        // With an `http` scheme, `Url` would drop the default port: `:80` would look like no port
        // at all.
        let url = Url::parse(&format!("clickhouse://{rest}")).map_err(|_| ClickHouseUrlError::Host)?;
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or(ClickHouseUrlError::Host)?;
        if url.fragment().is_some() {
            return Err(ClickHouseUrlError::Extra);
        }
        let path = url.path().trim_matches('/');
        if path.is_empty() || path.contains('/') {
            return Err(ClickHouseUrlError::Database);
        }
        let port = url.port().unwrap_or(DEFAULT_PORTS[usize::from(is_https)]);
        let origin = format!("{scheme}://{host}:{port}");
        Url::parse(&origin).map_err(|_| ClickHouseUrlError::Host)?;
        Ok(Self {
            origin,
            user: match url.username() {
                "" => None,
                user => Some(credential(user)?),
            },
            password: url.password().map(credential).transpose()?,
            database: decoded(path).ok_or(ClickHouseUrlError::Database)?,
            settings: settings(&url)?,
            tls: is_https.then(ClientTls::of_system),
        })
    }
}

impl fmt::Display for ClickHouseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.database)
    }
}

impl fmt::Debug for ClickHouseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseUrl")
            .field("origin", &self.origin)
            .field("database", &self.database)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Returns the settings in the query of a URL.
fn settings(url: &Url) -> Result<Vec<(String, String)>, ClickHouseUrlError> {
    url.query_pairs()
        .map(|(name, value)| match url_settings::refusal(&name) {
            Some((setting, reason)) => Err(ClickHouseUrlError::Setting { setting, reason }),
            None if url_settings::is_name(&name) => Ok((name.into_owned(), value.into_owned())),
            None => Err(ClickHouseUrlError::SettingName),
        })
        .collect()
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// Decodes a user or password.
fn credential(text: &str) -> Result<String, ClickHouseUrlError> {
    printable(decoded(text).ok_or(ClickHouseUrlError::Credentials)?)
}

/// Checks a user or password. HTTP headers carry both, so only printable ASCII is valid.
fn printable(text: String) -> Result<String, ClickHouseUrlError> {
    match text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        true => Ok(text),
        false => Err(ClickHouseUrlError::Credentials),
    }
}

/// The error for an invalid [`ClickHouseUrl`]. It omits the URL, which may contain a password.
///
/// ```
/// use rowmill_ingest::{ClickHouseUrl, store::ClickHouseUrlError};
///
/// let error = "http://clickhouse:8123".parse::<ClickHouseUrl>();
/// assert_eq!(error, Err(ClickHouseUrlError::Database));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClickHouseUrlError {
    /// The URL begins with neither `http://` nor `https://`.
    Scheme,
    /// The host or the port is missing or malformed.
    Host,
    /// The path is not exactly one name.
    Database,
    /// The user or the password contains characters that a header cannot carry.
    Credentials,
    /// The URL has a fragment, which has no meaning here.
    Extra,
    /// The URL has a setting without the name of a setting.
    SettingName,
    /// The URL has a setting that would break a promise of the collector.
    Setting {
        /// The name, or its beginning and `*`.
        setting: &'static str,
        /// The reason as a clause.
        reason: &'static str,
    },
}

impl fmt::Display for ClickHouseUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL of ClickHouse must begin with `http://` or `https://`",
            Self::Host => "the URL of ClickHouse needs a host and may have a port: `http://host:8123/database`",
            Self::Database => "the URL of ClickHouse must end with one database's name: `http://host:8123/database`",
            Self::Credentials => {
                "user and password of ClickHouse must be printable ASCII, percent-encoded in the URL where needed"
            }
            Self::Extra => "the URL of ClickHouse must end after the database's name and the settings: no `#…`",
            Self::SettingName => {
                "after the `?`, the URL of ClickHouse has settings of ClickHouse: `?max_insert_threads=4&…`"
            }
            Self::Setting { setting, reason } => {
                return write!(f, "the URL of ClickHouse must not set `{setting}`: {reason}");
            }
        })
    }
}

impl Error for ClickHouseUrlError {}

/// Checks that ClickHouse answers within `timeout`.
///
/// # Errors
/// ClickHouse is unreachable, or does not accept this user.
///
/// ```
/// use std::time::Duration;
///
/// use rowmill_ingest::{ClickHouseUrl, store::ping};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let closed: ClickHouseUrl = "http://127.0.0.1:1/stats".parse()?;
/// assert!(ping(&closed.client(), Duration::from_secs(1)).await.is_err());
/// # Ok(())
/// # }
/// ```
pub async fn ping(client: &Client, timeout: Duration) -> Result<(), ClickHouseError> {
    within(timeout, client.query_raw("SELECT 1").execute()).await
}

/// Runs a request of the client for at most `timeout`; the client itself has no timeout.
pub(crate) async fn within<T>(
    timeout: Duration,
    request: impl Future<Output = Result<T, clickhouse::error::Error>>,
) -> Result<T, ClickHouseError> {
    match tokio::time::timeout(timeout, request).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(clickhouse::error::Error::TimedOut.into()),
    }
}

/// Quotes a name as ClickHouse's SQL requires.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// Returns the name of a table with its database, both quoted.
pub(crate) fn in_database(database: &str, table: &str) -> String {
    format!("{}.{}", quoted(database), quoted(table))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_url_is_parsed() {
        let url: ClickHouseUrl = "http://us%40er:p%3A%2F%20w@db.local:80/my%20stats/".parse().unwrap();
        assert_eq!(url.origin, "http://db.local:80");
        assert_eq!(url.user.as_deref(), Some("us@er"));
        assert_eq!(url.password.as_deref(), Some("p:/ w"));
        assert_eq!(url.database(), "my stats");

        let url: ClickHouseUrl = "HTTP://[::1]/stats".parse().unwrap();
        assert_eq!(
            (url.origin.as_str(), url.user, url.password),
            ("http://[::1]:8123", None, None)
        );
        for (text, origin) in [
            ("https://db.local/stats", "https://db.local:8443"),
            ("HTTPS://[::1]:443/stats", "https://[::1]:443"),
            ("https://db.local:9443/stats", "https://db.local:9443"),
        ] {
            let url: ClickHouseUrl = text.parse().unwrap();
            assert_eq!((url.origin(), url.tls.is_some()), (origin, true));
        }
    }

    #[test]
    fn each_fault_of_a_url_has_its_error() {
        for (text, error) in [
            ("", ClickHouseUrlError::Scheme),
            ("localhost:8123/stats", ClickHouseUrlError::Scheme),
            ("tcp://localhost:9000/stats", ClickHouseUrlError::Scheme),
            ("http:///stats", ClickHouseUrlError::Host),
            ("http://host:port/stats", ClickHouseUrlError::Host),
            ("http://a b/stats", ClickHouseUrlError::Host),
            ("http://localhost:8123", ClickHouseUrlError::Database),
            ("http://localhost:8123/", ClickHouseUrlError::Database),
            ("http://localhost:8123/a/b", ClickHouseUrlError::Database),
            ("http://localhost:8123/%ff", ClickHouseUrlError::Database),
            ("http://u:%0a@localhost/stats", ClickHouseUrlError::Credentials),
            ("http://localhost/stats#a", ClickHouseUrlError::Extra),
            ("http://localhost/stats?=1", ClickHouseUrlError::SettingName),
            ("http://localhost/stats?a%20b=1", ClickHouseUrlError::SettingName),
        ] {
            assert_eq!(text.parse::<ClickHouseUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn settings_follow_the_database() {
        let url: ClickHouseUrl = "http://h/stats?max_insert_threads=4&log_comment=a%26b%20c"
            .parse()
            .unwrap();
        let settings: Vec<_> = url.settings().iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(settings, [("max_insert_threads", "4"), ("log_comment", "a&b c")]);
        assert_eq!(url.database(), "stats");
        for (name, reason) in [
            ("async_insert", "a confirmed insert must be in its table"),
            ("insert_deduplicate", "must recognize an insert that is sent again"),
            ("insert_deduplication_token", "must recognize"),
            ("deduplicate_blocks_in_dependent_materialized_views", "must recognize"),
            ("input_format_null_as_default", "the format of the rows"),
            ("max_insert_block_size", "one block"),
            ("wait_end_of_query", "confirm the insert"),
            ("insert_quorum", "--insert-quorum"),
            ("query_id", "a parameter of the request"),
            ("decompress", "a parameter of the request"),
        ] {
            let error = format!("http://h/stats?{name}=1")
                .parse::<ClickHouseUrl>()
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("the URL of ClickHouse must not set `") && error.contains(reason),
                "{error}"
            );
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let url: ClickHouseUrl = "http://me:s3cret@h/stats".parse().unwrap();
        let shown = format!("{url} {url:?} {:?}", url.client());
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.starts_with("http://h:8123/stats "));
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(quoted(r"a`b\c"), r"`a\`b\\c`");
    }
}
