//! The URL of a shared log, or of the topics of a fan-out: brokers, credentials, and the prefix of the
//! topics.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;

/// The scheme of a connection without TLS.
const PLAIN: &str = "kafka://";

/// The scheme of a connection with TLS.
const TLS: &str = "kafka+tls://";

/// The port of a broker without TLS, if the URL names none.
const DEFAULT_PORT: &str = "9092";

/// The longest prefix; Kafka allows 249 bytes for a topic, of which a table's name may take most.
const MAX_PREFIX: usize = 100;

/// The address of a shared log: `kafka://user:password@host:9092,host:9092/prefix?sasl=plain`.
///
/// The scheme is `kafka`, or `kafka+tls` for TLS. Credentials are percent-encoded. `sasl` is
/// `plain`, `scram-sha-256` or `scram-sha-512`, by default `scram-sha-512`. Each table has the topic
/// `prefix.TABLE`.
///
/// `key=COLUMN` or `key=TABLE.COLUMN`, percent-encoded and repeatable, chooses the partition of a row:
/// rows with the same value of the column go to one partition, in their order. Without it, the rows
/// of a block go to one partition, and the next block to the next one.
///
/// ```
/// use rowmill_ingest::log::LogUrl;
///
/// let url: LogUrl = "kafka://b1:9092,b2/events".parse()?;
/// assert_eq!(url.prefix(), "events");
/// assert!("kafka://b1".parse::<LogUrl>().is_err(), "the prefix is missing");
/// # Ok::<(), rowmill_ingest::log::InvalidLogUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct LogUrl {
    pub(super) brokers: Vec<String>,
    pub(super) is_tls: bool,
    pub(super) login: Option<Login>,
    pub(super) prefix: String,
    /// The columns whose values choose the partition of a row: `COLUMN` or `TABLE.COLUMN`.
    pub(super) keys: Vec<String>,
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

/// The name and the password of a client.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) mechanism: Mechanism,
    pub(super) user: String,
    pub(super) password: String,
}

impl LogUrl {
    /// Returns the prefix of the topics.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the topic of a table. A topic's name has only letters, digits, `_` and `-` after the
    /// prefix, so other bytes of the table's name are a `-` and two hexadecimal digits.
    pub(crate) fn topic_of(&self, table: &str) -> String {
        let mut topic = format!("{}.", self.prefix);
        for byte in table.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' => topic.push(char::from(byte)),
                _ => topic.push_str(&format!("-{byte:02x}")),
            }
        }
        topic
    }

    /// Returns the control topic, which no table has, since a prefix has no `.`.
    pub(super) fn control_topic(&self) -> &str {
        &self.prefix
    }
}

/// The brokers and the prefix, without credentials.
impl fmt::Display for LogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { TLS } else { PLAIN };
        write!(f, "{scheme}{}/{}", self.brokers.join(","), self.prefix)
    }
}

/// Without credentials.
impl fmt::Debug for LogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogUrl({self})")
    }
}

/// The reason why a text is not a [`LogUrl`]. It contains no part of the text, which may have a
/// password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidLogUrl(&'static str);

impl fmt::Display for InvalidLogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; the form is kafka://host:9092/prefix, or kafka+tls://user:password@host:9093/prefix",
            self.0
        )
    }
}

impl std::error::Error for InvalidLogUrl {}

impl FromStr for LogUrl {
    type Err = InvalidLogUrl;

    fn from_str(text: &str) -> Result<Self, InvalidLogUrl> {
        let (is_tls, rest) = match (text.strip_prefix(PLAIN), text.strip_prefix(TLS)) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(InvalidLogUrl("the scheme is not `kafka` or `kafka+tls`")),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, prefix) = rest
            .split_once('/')
            .ok_or(InvalidLogUrl("the topic prefix is missing"))?;
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let brokers = hosts.split(',').map(broker).collect::<Result<_, _>>()?;
        let is_prefix = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.chars().all(is_prefix) {
            return Err(InvalidLogUrl(
                "the topic prefix has characters other than letters, digits, `_` and `-`, or is empty or longer than 100",
            ));
        }
        let Parameters { mechanism, keys } = Parameters::parse(query)?;
        let login = match login {
            Some(login) => Some(Login::parse(login, mechanism.unwrap_or(Mechanism::ScramSha512))?),
            None if mechanism.is_some() => return Err(InvalidLogUrl("`sasl` needs a user and a password")),
            None => None,
        };
        Ok(Self {
            brokers,
            is_tls,
            login,
            prefix: prefix.to_owned(),
            keys,
        })
    }
}

fn broker(host: &str) -> Result<String, InvalidLogUrl> {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match host {
        "" => Err(InvalidLogUrl("a broker is missing")),
        _ if has_port => Ok(host.to_owned()),
        _ if host.contains(':') && !host.ends_with(']') => Err(InvalidLogUrl("a broker's port is not a number")),
        _ => Ok(format!("{host}:{DEFAULT_PORT}")),
    }
}

/// The part of a URL after the `?`.
#[derive(Default)]
struct Parameters {
    mechanism: Option<Mechanism>,
    keys: Vec<String>,
}

impl Parameters {
    fn parse(query: &str) -> Result<Self, InvalidLogUrl> {
        let mut parameters = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sasl", name)) if parameters.mechanism.is_none() => parameters.mechanism = Some(mechanism(name)?),
                Some(("key", column)) if !column.is_empty() => {
                    let column = percent_decode_str(column).decode_utf8();
                    let column = column.map_err(|_| InvalidLogUrl("`key` is not percent-encoded UTF-8"))?;
                    parameters.keys.push(column.into_owned());
                }
                _ => {
                    return Err(InvalidLogUrl(
                        "the parameters are `sasl`, once, and `key`, with the name of a column",
                    ));
                }
            }
        }
        Ok(parameters)
    }
}

fn mechanism(name: &str) -> Result<Mechanism, InvalidLogUrl> {
    match name {
        "plain" => Ok(Mechanism::Plain),
        "scram-sha-256" => Ok(Mechanism::ScramSha256),
        "scram-sha-512" => Ok(Mechanism::ScramSha512),
        _ => Err(InvalidLogUrl("`sasl` is `plain`, `scram-sha-256` or `scram-sha-512`")),
    }
}

impl Login {
    fn parse(text: &str, mechanism: Mechanism) -> Result<Self, InvalidLogUrl> {
        let (user, password) = text.split_once(':').ok_or(InvalidLogUrl("the password is missing"))?;
        let decode = |part| {
            let text = percent_decode_str(part).decode_utf8();
            let text = text.map_err(|_| InvalidLogUrl("the credentials are not percent-encoded UTF-8"))?;
            Ok(text.into_owned())
        };
        Ok(Self {
            mechanism,
            user: decode(user)?,
            password: decode(password)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_url_names_brokers_credentials_and_the_prefix() {
        let url: LogUrl = "kafka+tls://us%40er:p%3A%2Fw@a:9093,[::1],b/pre_fix-1?sasl=plain"
            .parse()
            .unwrap();
        assert_eq!(url.brokers, ["a:9093", "[::1]:9092", "b:9092"]);
        let login = url.login.clone().unwrap();
        assert_eq!(
            (url.is_tls, login.mechanism, &*login.user, &*login.password),
            (true, Mechanism::Plain, "us@er", "p:/w")
        );
        assert_eq!(url.topic_of("mail_x"), "pre_fix-1.mail_x");
        assert_eq!(url.topic_of("a`-é"), "pre_fix-1.a-60-2d-c3-a9");
        assert_eq!(
            format!("{url:?}"),
            "LogUrl(kafka+tls://a:9093,[::1]:9092,b:9092/pre_fix-1)"
        );
    }

    #[test]
    fn a_url_names_the_columns_that_choose_a_partition() {
        let url: LogUrl = "kafka://u:p@a/p?key=uid&sasl=plain&key=mail_statistics.e%2Dmail"
            .parse()
            .unwrap();
        assert_eq!(url.keys, ["uid", "mail_statistics.e-mail"]);
        assert_eq!(url.login.unwrap().mechanism, Mechanism::Plain);
        assert!("kafka://a/p".parse::<LogUrl>().unwrap().keys.is_empty());
    }

    #[test]
    fn a_text_that_is_not_a_url_is_an_error_without_its_password() {
        for text in [
            "",
            "http://a/p",
            "kafka://a",
            "kafka://a/",
            "kafka:///p",
            "kafka://a,/p",
            "kafka://a:port/p",
            "kafka://a/p/q",
            "kafka://a/p.q",
            "kafka://a/p?sasl=plain",
            "kafka://secret@a/p",
            "kafka://u:secret@a/p?sasl=gssapi",
            "kafka://u:secret%ff@a/p",
            "kafka://a/p?key=",
            "kafka://a/p?key=%ff",
            "kafka://a/p?acks=secret",
            "kafka://u:secret@a/p?sasl=plain&sasl=plain",
        ] {
            let error = text.parse::<LogUrl>().unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
