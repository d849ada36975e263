//! The connection to ClickHouse: where it is, how a request gets there, and what its refusals mean.
//!
//! Takes a URL such as `http://user:password@host:8123/stats`, gives a [`clickhouse::Client`], and sorts each error by what
//! can be done about it ([`Class`]). Promises: the password is in no text that this module makes, and errors are told apart
//! by ClickHouse's number alone, never by their words.

use std::{error::Error, fmt, str::FromStr, time::Duration};

use clickhouse::{Client, Compression};
use hyper_util::{
    client::legacy::{Client as HttpClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use percent_encoding::percent_decode_str;
use url::Url;

/// ClickHouse's own default for HTTP.
const DEFAULT_PORT: u16 = 8123;

/// A server in reach answers a SYN within milliseconds; one that does not must not hold a delivery's place for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// ClickHouse closes idle connections after 3 s (older versions) or more; a connection that is given up before can never be
/// closed under a request that has just been sent on it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// This much of an error tells what is wrong without filling the log.
const MAX_ERROR_CHARS: usize = 500;

/// Where in an error ClickHouse's own sentence begins.
const SENTENCE: &str = "DB::Exception: ";

/// How ClickHouse says that it was not the table itself that refused rows.
const PUSHING_TO_VIEW: &str = "while pushing to view";

/// Where ClickHouse is, who asks and for which database.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    /// `http://host:port`, nothing else.
    origin: String,
    user: Option<String>,
    password: Option<String>,
    database: String,
}

impl StoreUrl {
    /// Returns scheme, host and port, for a person to use.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the name of the database, unquoted.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns a client whose requests run in the URL's database. Nothing is sent yet.
    pub fn client(&self) -> Client {
        self.server_client().with_database(&self.database)
    }

    /// Returns a client without a database, for what must work before the database exists.
    pub(crate) fn server_client(&self) -> Client {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
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

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    /// Reads `http://[user[:password]@]host[:8123]/database`; user, password and database may be percent-encoded.
    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(StoreUrlError::Scheme)?;
        if scheme.eq_ignore_ascii_case("https") {
            return Err(StoreUrlError::Tls);
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(StoreUrlError::Scheme);
        }
        // Under its own scheme `Url` forgets a port that is the scheme's default: `:80` would look like no port at all.
        let url = Url::parse(&format!("clickhouse://{rest}")).map_err(|_| StoreUrlError::Host)?;
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or(StoreUrlError::Host)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(StoreUrlError::Extra);
        }
        let path = url.path().trim_matches('/');
        if path.is_empty() || path.contains('/') {
            return Err(StoreUrlError::Database);
        }
        let origin = format!("http://{host}:{}", url.port().unwrap_or(DEFAULT_PORT));
        Url::parse(&origin).map_err(|_| StoreUrlError::Host)?;
        Ok(Self {
            origin,
            user: match url.username() {
                "" => None,
                user => Some(credential(user)?),
            },
            password: url.password().map(credential).transpose()?,
            database: decoded(path).ok_or(StoreUrlError::Database)?,
        })
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.database)
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreUrl")
            .field("origin", &self.origin)
            .field("database", &self.database)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

fn decoded(text: &str) -> Option<String> {
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

/// User and password travel as HTTP headers, which carry printable ASCII only.
fn credential(text: &str) -> Result<String, StoreUrlError> {
    decoded(text)
        .filter(|text| text.bytes().all(|b| matches!(b, b' '..=b'~')))
        .ok_or(StoreUrlError::Credentials)
}

/// Why a text is no [`StoreUrl`]. It does not repeat the text: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreUrlError {
    /// It does not begin with `http://`.
    Scheme,
    /// `https://`, which this build cannot speak.
    Tls,
    /// The host or the port is missing or malformed.
    Host,
    /// The path is not exactly one name.
    Database,
    /// User or password hold what a header cannot carry.
    Credentials,
    /// A query or a fragment, which nothing would read.
    Extra,
}

impl fmt::Display for StoreUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL of ClickHouse must begin with `http://`",
            Self::Tls => "`https` is not supported: use `http` inside a private network, or a local TLS proxy",
            Self::Host => "the URL of ClickHouse needs a host and may have a port: `http://host:8123/database`",
            Self::Database => "the URL of ClickHouse must end with one database's name: `http://host:8123/database`",
            Self::Credentials => {
                "user and password in the URL of ClickHouse must be printable ASCII, percent-encoded where needed"
            }
            Self::Extra => "the URL of ClickHouse must end after the database's name: no `?…`, no `#…`",
        })
    }
}

impl Error for StoreUrlError {}

/// Asks ClickHouse for a sign of life, for at most `timeout`.
///
/// # Errors
/// It is not there, or does not let this user in.
pub async fn ping(client: &Client, timeout: Duration) -> Result<(), StoreError> {
    within(timeout, client.query_raw("SELECT 1").execute()).await
}

/// Runs a request of the client for at most `timeout`; the client itself would wait for ever.
pub(crate) async fn within<T>(
    timeout: Duration,
    request: impl Future<Output = Result<T, clickhouse::error::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(timeout, request).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(clickhouse::error::Error::TimedOut.into()),
    }
}

/// Writes a name as ClickHouse's SQL quotes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// It passes by itself: the network, a timeout, an overloaded or restarting server.
    Retry,
    /// It lasts until a person acts: a missing table, a wrong password.
    Hold,
    /// The rows themselves are refused; sent again they are refused again.
    Refused,
}

/// An error of ClickHouse or on the way to it.
#[derive(Debug)]
pub struct StoreError {
    class: Class,
    code: Option<u32>,
    source: clickhouse::error::Error,
}

impl StoreError {
    /// Returns what can be done about it.
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns whether nobody answered, so that another server may.
    pub(crate) fn is_absence(&self) -> bool {
        self.class == Class::Retry && self.code.is_none()
    }

    /// Returns ClickHouse's number of the exception; none when the error is not ClickHouse's own.
    pub fn code(&self) -> Option<u32> {
        self.code
    }

    /// Returns its text for the log, which must not tell whom an event is about: an error that rows have caused quotes their
    /// values, in single quotes or behind a colon, and is cut before the first of them.
    pub(crate) fn without_values(&self) -> String {
        let text = self.to_string();
        let sentence = match text.find(SENTENCE) {
            // What a person has to mend is named in full; it is tables and columns, not rows.
            Some(at) if self.class != Class::Hold => at + SENTENCE.len(),
            _ => return text,
        };
        let quotes = ["'", ": "].map(|quote| text[sentence..].find(quote));
        match quotes.into_iter().flatten().min() {
            Some(end) => format!("{}…", &text[..sentence + end]),
            None => text,
        }
    }

    /// Returns what a person has to do, as a sentence for the log.
    pub fn cure(&self) -> &'static str {
        match self.code {
            Some(16 | 60 | 81 | 218) => {
                "create what is missing with `rowmill apply`, or restart the collector, which does it at start"
            }
            Some(code) if class_of_code(code) == Class::Refused && self.class == Class::Hold => {
                "mend or drop the materialized view, which refuses rows that its table has taken"
            }
            Some(code) if is_access(code) => "check user and password in the URL of ClickHouse, and the user's grants",
            _ if self.class == Class::Refused => "compare the table in ClickHouse with its schema file",
            _ => "see the error; the rows wait meanwhile",
        }
    }
}

impl From<clickhouse::error::Error> for StoreError {
    fn from(source: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error as E;
        let (class, code) = match &source {
            E::BadResponse(text) => match exception_code(text) {
                // The rows are in the table then, and only a view refuses them: in smaller parts they would be in it twice.
                Some(code) => match class_of_code(code) {
                    Class::Refused if text.contains(PUSHING_TO_VIEW) => (Class::Hold, Some(code)),
                    class => (class, Some(code)),
                },
                None => (class_of_status(text), None),
            },
            E::InvalidParams(_) | E::Unsupported(_) => (Class::Hold, None),
            _ => (Class::Retry, None),
        };
        Self { class, code, source }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's words contain those of their first cause; what is below says, say, that the connection was refused.
        // Hence one text with all of them, and no `source`.
        let mut text = self.source.to_string();
        let mut cause = self.source.source().and_then(Error::source);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        match text.char_indices().nth(MAX_ERROR_CHARS) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}

impl Error for StoreError {}

/// Reads the number of `Code: N. DB::Exception: …`, the body of each of ClickHouse's refusals, or of `Code: N`, which the
/// client makes of the header `X-ClickHouse-Exception-Code` when there is no body.
fn exception_code(text: &str) -> Option<u32> {
    let rest = text.strip_prefix("Code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, after) = rest.split_at(digits);
    if after.is_empty() || after.starts_with('.') {
        number.parse().ok()
    } else {
        None
    }
}

/// Sorts ClickHouse's numbers (`SELECT errorCodeToName(N)`).
///
/// A number that is not listed is tried again: a needless retry costs little, a needless hold delays everything behind it.
fn class_of_code(code: u32) -> Class {
    match code {
        // NO_SUCH_COLUMN_IN_TABLE, ILLEGAL_COLUMN (a MATERIALIZED one), UNKNOWN_IDENTIFIER, NOT_IMPLEMENTED (a view), UNKNOWN_TABLE,
        // SYNTAX_ERROR, UNKNOWN_FORMAT, UNKNOWN_DATABASE, UNKNOWN_SETTING, TABLE_IS_DROPPED, TABLE_IS_PERMANENTLY_READ_ONLY
        16 | 44 | 47 | 48 | 60 | 62 | 73 | 81 | 115 | 218 | 774 => Class::Hold,
        // READONLY (the user's, unlike TABLE_IS_READ_ONLY 242, which is a replica's and passes), SETTING_CONSTRAINT_VIOLATION,
        // READONLY_SETTING
        164 | 452 | 472 => Class::Hold,
        code if is_access(code) => Class::Hold,
        // UNEXPECTED_END_OF_FILE, EXPECTED_END_OF_FILE, CANNOT_PARSE_TEXT, SIZE_OF_FIXED_STRING_DOESNT_MATCH,
        // CANNOT_PARSE_ESCAPE_SEQUENCE, CANNOT_PARSE_QUOTED_STRING, CANNOT_PARSE_INPUT_ASSERTION_FAILED,
        // ATTEMPT_TO_READ_AFTER_EOF, CANNOT_READ_ALL_DATA, CANNOT_PARSE_DATE, CANNOT_PARSE_DATETIME
        3 | 4 | 6 | 19 | 25 | 26 | 27 | 32 | 33 | 38 | 41 => Class::Refused,
        // TYPE_MISMATCH, ARGUMENT_OUT_OF_BOUND, CANNOT_CONVERT_TYPE, CANNOT_PARSE_NUMBER, INCORRECT_DATA,
        // TOO_LARGE_ARRAY_SIZE, CANNOT_READ_ARRAY_FROM_TEXT, TOO_LARGE_STRING_SIZE, ILLEGAL_DIVISION, SIZES_OF_ARRAYS_DONT_MATCH
        53 | 69 | 70 | 72 | 117 | 128 | 130 | 131 | 153 | 190 => Class::Refused,
        // INVALID_PARTITION_VALUE, VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE, CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN,
        // SIZES_OF_NESTED_COLUMNS_ARE_INCONSISTENT, CANNOT_PARSE_UUID, FUNCTION_THROW_IF_VALUE_IS_NON_ZERO, DECIMAL_OVERFLOW,
        // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING, CANNOT_PARSE_BOOL, VIOLATED_CONSTRAINT
        248 | 321 | 349 | 366 | 376 | 395 | 407 | 441 | 467 | 469 => Class::Refused,
        // CANNOT_READ_MAP_FROM_TEXT, UNEXPECTED_DATA_AFTER_PARSED_VALUE, CANNOT_PARSE_IPV4, CANNOT_PARSE_IPV6, UNKNOWN_ELEMENT_OF_ENUM
        563 | 632 | 675 | 676 | 691 => Class::Refused,
        // Among them TOO_MANY_SIMULTANEOUS_QUERIES 202, MEMORY_LIMIT_EXCEEDED 241, TABLE_IS_READ_ONLY 242,
        // NOT_ENOUGH_SPACE 243, TOO_MANY_PARTS 252.
        _ => Class::Retry,
    }
}

/// UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, IP_ADDRESS_NOT_ALLOWED, DATABASE_ACCESS_DENIED, ACCESS_DENIED,
/// AUTHENTICATION_FAILED, USER_EXPIRED, REQUIRED_SECOND_FACTOR.
fn is_access(code: u32) -> bool {
    matches!(code, 192..=195 | 291 | 497 | 516 | 720 | 767)
}

/// Sorts what something between us and ClickHouse answered. The client gives the status only of an answer without a body;
/// what begins otherwise is a proxy's page, and passes as proxies' troubles do.
fn class_of_status(text: &str) -> Class {
    match text.split(' ').next().map(str::parse::<u16>) {
        Some(Ok(408 | 425 | 429)) => Class::Retry,
        Some(Ok(400..=499)) => Class::Hold,
        _ => Class::Retry,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    fn refusal(text: &str) -> StoreError {
        clickhouse::error::Error::BadResponse(text.to_owned()).into()
    }

    #[test]
    fn a_url_is_taken_apart() {
        let url: StoreUrl = "http://us%40er:p%3A%2F%20w@db.local:80/my%20stats/".parse().unwrap();
        assert_eq!(url.origin, "http://db.local:80");
        assert_eq!(url.user.as_deref(), Some("us@er"));
        assert_eq!(url.password.as_deref(), Some("p:/ w"));
        assert_eq!(url.database(), "my stats");

        let url: StoreUrl = "HTTP://[::1]/stats".parse().unwrap();
        assert_eq!(
            (url.origin.as_str(), url.user, url.password),
            ("http://[::1]:8123", None, None)
        );
    }

    #[test]
    fn each_fault_of_a_url_has_its_error() {
        for (text, error) in [
            ("", StoreUrlError::Scheme),
            ("localhost:8123/stats", StoreUrlError::Scheme),
            ("tcp://localhost:9000/stats", StoreUrlError::Scheme),
            ("https://localhost/stats", StoreUrlError::Tls),
            ("http:///stats", StoreUrlError::Host),
            ("http://host:port/stats", StoreUrlError::Host),
            ("http://a b/stats", StoreUrlError::Host),
            ("http://localhost:8123", StoreUrlError::Database),
            ("http://localhost:8123/", StoreUrlError::Database),
            ("http://localhost:8123/a/b", StoreUrlError::Database),
            ("http://localhost:8123/%ff", StoreUrlError::Database),
            ("http://u:%0a@localhost/stats", StoreUrlError::Credentials),
            ("http://localhost/stats?secure=1", StoreUrlError::Extra),
        ] {
            assert_eq!(text.parse::<StoreUrl>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_password_is_never_shown() {
        let url: StoreUrl = "http://me:s3cret@h/stats".parse().unwrap();
        let shown = format!("{url} {url:?} {:?}", url.client());
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.starts_with("http://h:8123/stats "));
    }

    #[test]
    fn numbers_are_compared_not_prefixes() {
        for (text, class, code) in [
            ("Code: 53. DB::Exception: Type mismatch", Class::Refused, Some(53)),
            (
                "Code: 530. DB::Exception: Cannot connect RabbitMQ",
                Class::Retry,
                Some(530),
            ),
            (
                "Code: 60. DB::Exception: Table stats.t does not exist",
                Class::Hold,
                Some(60),
            ),
            ("Code: 600. DB::Exception: …", Class::Retry, Some(600)),
            (
                "Code: 210. DB::NetException: Connection refused",
                Class::Retry,
                Some(210),
            ),
            ("Code: 516", Class::Hold, Some(516)),
            (
                "Code: 242. DB::Exception: Table is in readonly mode",
                Class::Retry,
                Some(242),
            ),
            (
                "Code: 164. DB::Exception: Cannot execute query in readonly mode",
                Class::Hold,
                Some(164),
            ),
            ("Code: 252. DB::Exception: Too many parts", Class::Retry, Some(252)),
            ("Code: 60x. DB::Exception", Class::Retry, None),
            ("Code: 99999999999. DB::Exception", Class::Retry, None),
            ("Code: . DB::Exception", Class::Retry, None),
            ("said in passing, Code: 60. DB::Exception", Class::Retry, None),
        ] {
            let error = refusal(text);
            assert_eq!((error.class(), error.code()), (class, code), "{text}");
        }
    }

    #[test]
    fn answers_that_are_not_clickhouses_go_by_their_status() {
        for (text, class) in [
            ("502 Bad Gateway", Class::Retry),
            ("429 Too Many Requests", Class::Retry),
            ("403 Forbidden", Class::Hold),
            ("404 page not found", Class::Hold),
            ("<html>502</html>", Class::Retry),
            ("", Class::Retry),
        ] {
            assert_eq!(refusal(text).class(), class, "{text}");
        }
        assert_eq!(
            StoreError::from(clickhouse::error::Error::TimedOut).class(),
            Class::Retry
        );
    }

    #[test]
    fn values_of_rows_are_cut_off() {
        for (text, without) in [
            (
                "Code: 469. DB::Exception: Constraint `c` for table d.t is violated at row 1. Expression: (a > 1). Column values: a = 1.",
                "bad response: Code: 469. DB::Exception: Constraint `c` for table d.t is violated at row 1. Expression…",
            ),
            (
                "Code: 6. DB::Exception: Cannot parse string 'a: b' as UInt8: syntax error. (CANNOT_PARSE_TEXT)",
                "bad response: Code: 6. DB::Exception: Cannot parse string …",
            ),
            (
                "Code: 60. DB::Exception: Unknown table expression identifier 't': gone.",
                "bad response: Code: 60. DB::Exception: Unknown table expression identifier 't': gone.",
            ),
            ("Code: 469", "bad response: Code: 469"),
        ] {
            assert_eq!(refusal(text).without_values(), without);
        }
    }

    #[test]
    fn long_errors_are_cut_between_characters() {
        let error = refusal(&"ж".repeat(5000));
        assert_eq!(error.to_string().chars().count(), MAX_ERROR_CHARS + 1);
    }

    #[test]
    fn names_cannot_leave_their_quotes() {
        assert_eq!(quoted(r"a`b\c"), r"`a\`b\\c`");
    }
}
