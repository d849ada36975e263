//! ClickHouse's errors, and what the collector can do about them.
//!
//! ClickHouse's error codes distinguish its errors. The message affects the class in two cases
//! only: if a view refuses rows, and if a single insert has too many partitions.

mod class;
#[cfg(test)]
mod tests;
mod text;
mod tls;

use std::{error::Error, fmt};

pub use self::class::Class;
use self::{
    class::{
        TOO_MANY_PARTS, class_of_code, class_of_status, is_access, is_before_write, is_of_the_server, is_transient_code,
    },
    text::{PUSHING_TO_VIEW, escaped, exception_code, identifier, name, view_at},
};

/// The maximum length of an error's text, which shows what is wrong without filling the log. Some
/// of ClickHouse's errors have their remedy after 500 characters.
const MAX_ERROR_CHARS: usize = 1_000;

/// The text before ClickHouse's own message in an error.
const MESSAGE_PREFIX: &str = "DB::Exception: ";

/// ClickHouse's words for an insert with too many partitions, where fewer rows help.
const PARTITIONS_GUARD: &str = "partitions for single INSERT block";

/// The beginning of ClickHouse's message about a constraint that rows violate.
const CONSTRAINT: &str = "Constraint `";

/// An error of ClickHouse or of the connection to it.
#[derive(Debug)]
pub struct ClickHouseError {
    class: Class,
    code: Option<u32>,
    may_be_stored: bool,
    /// The sentence about certificates, if they are the cause.
    tls: Option<String>,
    /// The name of the server that answered, if it told.
    server: Option<Box<str>>,
    source: clickhouse::error::Error,
}

impl ClickHouseError {
    /// Returns the class of the error.
    ///
    /// ```
    /// use rowmill_ingest::store::{Class, ClickHouseError};
    ///
    /// fn may_retry(error: &ClickHouseError) -> bool {
    ///     matches!(error.class(), Class::Retry)
    /// }
    /// ```
    pub fn class(&self) -> Class {
        self.class
    }

    /// Returns whether the table may have the rows despite the error: the response is missing, or
    /// does not prove that ClickHouse wrote nothing.
    pub(crate) fn may_be_stored(&self) -> bool {
        self.may_be_stored
    }

    /// Returns whether a materialized view refuses rows that its table may have stored.
    pub(crate) fn is_view_error(&self) -> bool {
        self.class == Class::Hold && self.code.is_some_and(|code| class_of_code(code) == Class::Refused)
    }

    /// Returns whether TLS failed for a reason that lasts until the operator acts, such as an expired
    /// certificate. Deliveries try another server, and then this one again.
    pub(crate) fn is_of_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns whether the request timed out.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self.source, clickhouse::error::Error::TimedOut)
    }

    /// Returns the error for a server that could not be reached.
    pub(crate) fn not_sent(error: impl Error + Send + Sync + 'static) -> Self {
        Self {
            may_be_stored: false,
            ..Self::cut_off(error)
        }
    }

    /// Returns the error for a connection that broke after something was sent.
    pub(crate) fn cut_off(error: impl Error + Send + Sync + 'static) -> Self {
        clickhouse::error::Error::Network(Box::new(error)).into()
    }

    /// Returns the error for a response that did not arrive in time.
    pub(crate) fn timed_out() -> Self {
        clickhouse::error::Error::TimedOut.into()
    }

    /// Returns the error for a writer without a server.
    pub(crate) fn no_server() -> Self {
        clickhouse::error::Error::Unsupported("no ClickHouse is named".to_owned()).into()
    }

    /// Turns the error into one of a lookup, which writes nothing and is retried.
    pub(crate) fn of_lookup(self) -> Self {
        Self {
            class: Class::Retry,
            may_be_stored: false,
            ..self
        }
    }

    /// Returns the error for a request that cannot be built.
    pub(super) fn invalid(error: impl Error + Send + Sync + 'static) -> Self {
        clickhouse::error::Error::InvalidParams(Box::new(error)).into()
    }

    /// Returns the error for an error response.
    pub(crate) fn refused(status: http::StatusCode, text: String) -> Self {
        let error = Self::from(clickhouse::error::Error::BadResponse(text));
        match error.code {
            // The response is a proxy's page with any content.
            None if status == http::StatusCode::PAYLOAD_TOO_LARGE => Self {
                class: Class::TooLarge,
                ..error
            },
            None if status != http::StatusCode::OK && error.class == Class::Retry => Self {
                class: class_of_status(status.as_str()),
                ..error
            },
            _ => error,
        }
    }

    /// Marks the error as an exception that arrived after the server had begun to respond.
    pub(crate) fn late(self) -> Self {
        Self {
            may_be_stored: true,
            ..self
        }
    }

    /// Returns the error for a success that is not ClickHouse's response to this insert.
    pub(crate) fn unconfirmed(reason: &'static str) -> Self {
        let reason = format!("the response does not confirm the insert: {reason}");
        clickhouse::error::Error::Other(reason.into()).into()
    }

    /// Returns whether no server answered, so that another server may.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.class == Class::Retry && self.code.is_none()
    }

    /// Returns whether a query or a DDL statement is worth a retry: no server answered, or the
    /// server failed for a transient reason. Any other error is final for a statement, even where
    /// delivery would retry an insert.
    pub(crate) fn is_transient(&self) -> bool {
        self.is_unreachable() || self.code.is_some_and(is_transient_code)
    }

    /// Returns ClickHouse's error code, or `None` if the error is not ClickHouse's own.
    ///
    /// ```
    /// use rowmill_ingest::store::ClickHouseError;
    ///
    /// /// Returns whether ClickHouse does not know the table.
    /// fn has_no_table(error: &ClickHouseError) -> bool {
    ///     error.code() == Some(60)
    /// }
    /// ```
    pub fn code(&self) -> Option<u32> {
        self.code
    }

    /// Adds the name of the server that answered.
    pub(super) fn at(self, server: Option<&str>) -> Self {
        let server = server.map(Into::into);
        Self { server, ..self }
    }

    /// Returns the name of the server that has answered an insert with the error (`display_name` in its
    /// configuration, and its host's name otherwise), or `None` if no server has named itself. Behind a
    /// balancer, it tells which of the servers it was.
    ///
    /// ```
    /// use rowmill_ingest::store::ClickHouseError;
    ///
    /// fn log(error: &ClickHouseError) {
    ///     eprintln!("{error}, from {}", error.server().unwrap_or("an unknown server"));
    /// }
    /// ```
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    /// Returns the text for the log, which must not reveal the person that an event is about.
    ///
    /// The text is complete if the error is about the server or a table. Every other error may
    /// quote values of rows, with quotation marks or without (`Cannot parse uuid Anna`), so the
    /// text contains only its code, its name, and the constraint or the view.
    pub(crate) fn without_values(&self) -> String {
        let clickhouse::error::Error::BadResponse(text) = &self.source else {
            return self.to_string();
        };
        let view = view_at(text);
        match (self.code, text.find(MESSAGE_PREFIX)) {
            (Some(code), _) if view.is_none() && is_of_the_server(code) => self.to_string(),
            (Some(code), prefix) => {
                let name = name(text).map(|name| format!(" ({name})")).unwrap_or_default();
                let view = view.map(|at| identifier(&text[at + PUSHING_TO_VIEW.len()..]));
                let constraint = prefix
                    .and_then(|at| text[at + MESSAGE_PREFIX.len()..].strip_prefix(CONSTRAINT))
                    .and_then(|rest| rest.split('`').next());
                let context = match (view, constraint) {
                    (Some(view), _) => format!(" {PUSHING_TO_VIEW} {view}"),
                    (None, Some(constraint)) => format!(": constraint `{constraint}`"),
                    (None, None) => String::new(),
                };
                escaped(&format!("Code: {code}{name}{context}")).into_owned()
            }
            (None, Some(prefix)) => format!("{}…", escaped(&text[..prefix + MESSAGE_PREFIX.len()])),
            (None, None) => self.to_string(),
        }
    }

    /// Returns ClickHouse's message, including values of rows, for the dead letter of a row. The
    /// text is cut after [`MAX_ERROR_CHARS`].
    pub(crate) fn with_values(&self) -> String {
        if let Some(sentence) = &self.tls {
            return sentence.clone();
        }
        // The client's text contains its first cause; the deeper causes contain, for example, that
        // the connection was refused.
        let mut text = self.source.to_string();
        let mut cause = self.source.source().and_then(Error::source);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        if let Some((end, _)) = text.char_indices().nth(MAX_ERROR_CHARS) {
            text.truncate(end);
            text.push('…');
        }
        text
    }

    /// Returns the remedy for the operator, as a sentence for the log.
    ///
    /// ```
    /// use rowmill_ingest::store::ClickHouseError;
    ///
    /// fn log(error: &ClickHouseError) {
    ///     eprintln!("{error}: {}", error.hint());
    /// }
    /// ```
    pub fn hint(&self) -> &'static str {
        match self.code {
            Some(16 | 60 | 81 | 218) => {
                "create the missing database, table or column with `rowmill apply`, or restart the collector, which creates it at startup"
            }
            Some(_) if self.is_view_error() => {
                "fix or drop the materialized view, which refuses rows that its table has stored"
            }
            Some(code) if is_access(code) => "check user and password in the URL of ClickHouse, and the user's grants",
            _ if self.class == Class::Refused || self.code == Some(43) => {
                "compare the table in ClickHouse with its schema file"
            }
            _ => "see the error; the rows are held meanwhile",
        }
    }
}

impl From<clickhouse::error::Error> for ClickHouseError {
    fn from(source: clickhouse::error::Error) -> Self {
        use clickhouse::error::Error as E;
        let (class, code, may_be_stored) = match &source {
            E::BadResponse(text) => match exception_code(text) {
                // The table has the rows, and only a view refuses them. If they were sent again in
                // smaller parts, the table would have them twice.
                Some(code) if view_at(text).is_some() => match class_of_code(code) {
                    Class::Refused => (Class::Hold, Some(code), true),
                    class => (class, Some(code), true),
                },
                Some(TOO_MANY_PARTS) if text.contains(PARTITIONS_GUARD) => {
                    (Class::TooLarge, Some(TOO_MANY_PARTS), false)
                }
                Some(code) => {
                    let class = class_of_code(code);
                    (class, Some(code), class == Class::Retry && !is_before_write(code))
                }
                None => (class_of_status(text), None, true),
            },
            E::InvalidParams(_) | E::Unsupported(_) => (Class::Hold, None, false),
            _ => (Class::Retry, None, true),
        };
        Self {
            class,
            code,
            may_be_stored,
            tls: match &source {
                E::Network(error) => tls::sentence(error.as_ref()),
                _ => None,
            },
            server: None,
            source,
        }
    }
}

impl fmt::Display for ClickHouseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text contains all causes, so there is no `source`. A control character in a row must
        // not control the reader's terminal.
        f.write_str(&escaped(self.with_values().trim_end()))
    }
}

impl Error for ClickHouseError {}
