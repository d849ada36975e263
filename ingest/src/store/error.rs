//! ClickHouse's errors, and what the collector can do about them.
//!
//! ClickHouse's error codes distinguish its errors. The message affects the class in two cases
//! only: if a view refuses rows, and if a single insert has too many partitions.

use std::{borrow::Cow, error::Error, fmt};

/// The maximum length of an error's text, which shows what is wrong without filling the log. Some
/// of ClickHouse's errors have their remedy after 500 characters.
const MAX_ERROR_CHARS: usize = 1_000;

/// The text before ClickHouse's own message in an error.
const MESSAGE_PREFIX: &str = "DB::Exception: ";

/// ClickHouse's words for an error in a view, and not in the table itself.
const PUSHING_TO_VIEW: &str = "while pushing to view";

/// TOO_MANY_PARTS: of the table, or of one insert.
const TOO_MANY_PARTS: u32 = 252;

/// ClickHouse's words for an insert with too many partitions, where fewer rows help.
const PARTITIONS_GUARD: &str = "partitions for single INSERT block";

/// The beginning of ClickHouse's message about a constraint that rows violate.
const CONSTRAINT: &str = "Constraint `";

/// The class of an error: what the collector can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A transient error: the network, a timeout, an overloaded or restarting server.
    Retry,
    /// An error that lasts until the operator acts: a missing table, a wrong password.
    Hold,
    /// ClickHouse refuses the rows themselves, and would refuse them again.
    Refused,
    /// ClickHouse refuses this many rows, bytes or partitions together, and may accept fewer.
    TooLarge,
}

/// An error of ClickHouse or of the connection to it.
#[derive(Debug)]
pub struct ClickHouseError {
    class: Class,
    code: Option<u32>,
    may_be_stored: bool,
    source: clickhouse::error::Error,
}

impl ClickHouseError {
    /// Returns the class of the error.
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

    /// Returns whether the request timed out.
    pub(crate) fn is_timeout(&self) -> bool {
        matches!(self.source, clickhouse::error::Error::TimedOut)
    }

    /// Returns the error for a server that could not be reached.
    pub(super) fn not_sent(error: impl Error + Send + Sync + 'static) -> Self {
        Self {
            may_be_stored: false,
            ..Self::cut_off(error)
        }
    }

    /// Returns the error for a connection that broke after something was sent.
    pub(super) fn cut_off(error: impl Error + Send + Sync + 'static) -> Self {
        clickhouse::error::Error::Network(Box::new(error)).into()
    }

    /// Returns the error for a response that did not arrive in time.
    pub(super) fn timed_out() -> Self {
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
    pub(super) fn refused(status: http::StatusCode, text: String) -> Self {
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
    pub(super) fn late(self) -> Self {
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
    pub fn code(&self) -> Option<u32> {
        self.code
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

/// Reads the code in `Code: N. DB::Exception: …`, the body of each of ClickHouse's error responses,
/// or in `Code: N`, which the client builds from the header `X-ClickHouse-Exception-Code` if there
/// is no body.
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

/// Returns the error's name, for example `CANNOT_PARSE_UUID`, from the end of ClickHouse's text,
/// before the version.
fn name(text: &str) -> Option<&str> {
    let text = text.trim_end();
    let text = text.rfind(" (version ").map_or(text, |at| &text[..at]);
    let (_, name) = text.strip_suffix(')')?.rsplit_once('(')?;
    let is_name = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    is_name.then_some(name)
}

/// Returns the position of ClickHouse's statement that a view has refused the rows. Ignores the
/// same words in a row's value: the quote that ends the value follows them.
fn view_at(text: &str) -> Option<usize> {
    let at = text.rfind(PUSHING_TO_VIEW)?;
    let (mut is_quoted, mut bytes) = (false, text[at..].bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'\'' => is_quoted = !is_quoted,
            _ => {}
        }
    }
    (!is_quoted).then_some(at)
}

/// Returns the name at the start of a text: `database.view`, or the same in backquotes.
fn identifier(text: &str) -> &str {
    let text = text.trim_start();
    let mut is_quoted = false;
    let end = text.find(|c: char| {
        is_quoted ^= c == '`';
        !is_quoted && !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '`')
    });
    let end = end.unwrap_or(text.len());
    text[..end].trim_end_matches('.')
}

/// Returns a text with its control characters escaped.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Returns whether an error is always about the server or the tables and never about a row, so that
/// the log may contain its complete text.
fn is_of_the_server(code: u32) -> bool {
    // TOO_MANY_PARTS
    class_of_code(code) == Class::Hold || is_transient_code(code) || code == 252
}

/// Returns whether the server failed for a transient reason: TIMEOUT_EXCEEDED,
/// TOO_MANY_SIMULTANEOUS_QUERIES, SOCKET_TIMEOUT, NETWORK_ERROR, NO_ZOOKEEPER, ABORTED,
/// MEMORY_LIMIT_EXCEEDED, TABLE_IS_READ_ONLY, NOT_ENOUGH_SPACE, ALL_CONNECTION_TRIES_FAILED,
/// CANNOT_ASSIGN_ALTER, SERVER_OVERLOADED, KEEPER_EXCEPTION.
fn is_transient_code(code: u32) -> bool {
    matches!(
        code,
        159 | 202 | 209 | 210 | 225 | 236 | 241 | 242 | 243 | 279 | 517 | 745 | 999
    )
}

/// Classifies ClickHouse's error codes (`SELECT errorCodeToName(N)`).
///
/// An unlisted code is retried: a needless retry costs little, but a needless hold delays all later
/// rows.
fn class_of_code(code: u32) -> Class {
    match code {
        // NO_SUCH_COLUMN_IN_TABLE, ILLEGAL_TYPE_OF_ARGUMENT (ClickHouse cannot convert our type to
        // the column's), ILLEGAL_COLUMN (the same, or a MATERIALIZED column), UNKNOWN_IDENTIFIER,
        // NOT_IMPLEMENTED (the same, or a view), UNKNOWN_TABLE, SYNTAX_ERROR, UNKNOWN_FORMAT,
        // UNKNOWN_DATABASE, UNKNOWN_SETTING, TABLE_IS_DROPPED, TABLE_IS_PERMANENTLY_READ_ONLY
        16 | 43 | 44 | 47 | 48 | 60 | 62 | 73 | 81 | 115 | 218 | 774 => Class::Hold,
        // READONLY (of the user, unlike TABLE_IS_READ_ONLY 242, which is a replica's and
        // transient), SETTING_CONSTRAINT_VIOLATION, READONLY_SETTING
        164 | 452 | 472 => Class::Hold,
        code if is_access(code) => Class::Hold,
        // UNEXPECTED_END_OF_FILE, EXPECTED_END_OF_FILE, CANNOT_PARSE_TEXT,
        // SIZE_OF_FIXED_STRING_DOESNT_MATCH, CANNOT_PARSE_ESCAPE_SEQUENCE,
        // CANNOT_PARSE_QUOTED_STRING, CANNOT_PARSE_INPUT_ASSERTION_FAILED,
        // ATTEMPT_TO_READ_AFTER_EOF, CANNOT_READ_ALL_DATA, CANNOT_PARSE_DATE, CANNOT_PARSE_DATETIME
        3 | 4 | 6 | 19 | 25 | 26 | 27 | 32 | 33 | 38 | 41 => Class::Refused,
        // TYPE_MISMATCH, ARGUMENT_OUT_OF_BOUND, CANNOT_CONVERT_TYPE, CANNOT_PARSE_NUMBER,
        // INCORRECT_DATA, TOO_LARGE_ARRAY_SIZE, CANNOT_READ_ARRAY_FROM_TEXT, TOO_LARGE_STRING_SIZE,
        // ILLEGAL_DIVISION, SIZES_OF_ARRAYS_DONT_MATCH
        53 | 69 | 70 | 72 | 117 | 128 | 130 | 131 | 153 | 190 => Class::Refused,
        // INVALID_PARTITION_VALUE, VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE,
        // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN, SIZES_OF_NESTED_COLUMNS_ARE_INCONSISTENT,
        // CANNOT_PARSE_UUID, FUNCTION_THROW_IF_VALUE_IS_NON_ZERO, DECIMAL_OVERFLOW,
        // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING, CANNOT_PARSE_BOOL, VIOLATED_CONSTRAINT
        248 | 321 | 349 | 366 | 376 | 395 | 407 | 441 | 467 | 469 => Class::Refused,
        // CANNOT_READ_MAP_FROM_TEXT, UNEXPECTED_DATA_AFTER_PARSED_VALUE, CANNOT_PARSE_IPV4,
        // CANNOT_PARSE_IPV6, UNKNOWN_ELEMENT_OF_ENUM
        563 | 632 | 675 | 676 | 691 => Class::Refused,
        // Among them TOO_MANY_SIMULTANEOUS_QUERIES 202, MEMORY_LIMIT_EXCEEDED 241,
        // TABLE_IS_READ_ONLY 242, NOT_ENOUGH_SPACE 243, TOO_MANY_PARTS 252.
        _ => Class::Retry,
    }
}

/// Returns whether ClickHouse reports this error before it writes anything:
/// TOO_MANY_SIMULTANEOUS_QUERIES, TOO_MANY_PARTS, SERVER_OVERLOADED.
fn is_before_write(code: u32) -> bool {
    matches!(code, 202 | TOO_MANY_PARTS | 745)
}

/// Returns whether the error is about access: UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD,
/// IP_ADDRESS_NOT_ALLOWED, DATABASE_ACCESS_DENIED, ACCESS_DENIED, AUTHENTICATION_FAILED,
/// USER_EXPIRED, REQUIRED_SECOND_FACTOR.
fn is_access(code: u32) -> bool {
    matches!(code, 192..=195 | 291 | 497 | 516 | 720 | 767)
}

/// Classifies the response of a proxy between the collector and ClickHouse. The client passes the
/// status only of a response without a body. Any other text is a proxy's page, and transient as
/// proxy failures usually are.
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

    fn error_of(text: &str) -> ClickHouseError {
        clickhouse::error::Error::BadResponse(text.to_owned()).into()
    }

    #[test]
    fn codes_are_compared_as_numbers() {
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
                "Code: 43. DB::Exception: Illegal type UUID of argument: while converting column \"c\"",
                Class::Hold,
                Some(43),
            ),
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
            (
                "Code: 395. DB::Exception: Value passed is non-zero: while pushing to view d.v. (FUNCTION_THROW_IF…)",
                Class::Hold,
                Some(395),
            ),
            ("Code: 60x. DB::Exception", Class::Retry, None),
            ("Code: 99999999999. DB::Exception", Class::Retry, None),
            ("Code: . DB::Exception", Class::Retry, None),
            ("said in passing, Code: 60. DB::Exception", Class::Retry, None),
        ] {
            let error = error_of(text);
            assert_eq!((error.class(), error.code()), (class, code), "{text}");
        }
    }

    #[test]
    fn a_proxys_response_is_classified_by_its_status() {
        for (text, class) in [
            ("502 Bad Gateway", Class::Retry),
            ("429 Too Many Requests", Class::Retry),
            ("403 Forbidden", Class::Hold),
            ("404 page not found", Class::Hold),
            ("<html>502</html>", Class::Retry),
            ("", Class::Retry),
        ] {
            assert_eq!(error_of(text).class(), class, "{text}");
        }
        assert_eq!(
            ClickHouseError::from(clickhouse::error::Error::TimedOut).class(),
            Class::Retry
        );
    }

    #[test]
    fn values_of_rows_are_not_logged() {
        for (text, without) in [
            (
                "Code: 469. DB::Exception: Constraint `c` for table d.t (8f17) is violated at row 1. Expression: (a > 1). \
                 Column values: a = 'Anna'. (VIOLATED_CONSTRAINT) (version 26.7.2.1)\n",
                "Code: 469 (VIOLATED_CONSTRAINT): constraint `c`",
            ),
            (
                "Code: 6. DB::Exception: Cannot parse string 'a: b' as UInt8: syntax error. (CANNOT_PARSE_TEXT)",
                "Code: 6 (CANNOT_PARSE_TEXT)",
            ),
            // The value has no quotes, and is in the first clause.
            (
                "Code: 376. DB::Exception: Cannot parse uuid Anna: Cannot parse UUID from String: while executing 'FUNCTION toUUID(e :: 2) \
                 -> toUUID(e) UUID : 1': while pushing to view d.w. (CANNOT_PARSE_UUID) (version 26.7.2.1)",
                "Code: 376 (CANNOT_PARSE_UUID) while pushing to view d.w",
            ),
            (
                "Code: 675. DB::Exception: Cannot parse IPv4 Anna: while pushing to view `my db`.`v` (8f176112-5899). (CANNOT_PARSE_IPV4)",
                "Code: 675 (CANNOT_PARSE_IPV4) while pushing to view `my db`.`v`",
            ),
            // The content of an unlisted error is unknown, and so is a view's message about its own
            // tables.
            (
                "Code: 36. DB::Exception: Bad argument Anna. (BAD_ARGUMENTS)",
                "Code: 36 (BAD_ARGUMENTS)",
            ),
            (
                "Code: 60. DB::Exception: Table d.o does not exist: while pushing to view d.v. (UNKNOWN_TABLE)",
                "Code: 60 (UNKNOWN_TABLE) while pushing to view d.v",
            ),
            ("Code: 117. DB::Exception: Cannot parse JSON (ANNA) x", "Code: 117"),
            ("said: Code: 6. DB::Exception: Anna", "said: Code: 6. DB::Exception: …"),
            // Errors about the server and the tables.
            (
                "Code: 60. DB::Exception: Unknown table expression identifier 't': gone.",
                "bad response: Code: 60. DB::Exception: Unknown table expression identifier 't': gone.",
            ),
            (
                "Code: 252. DB::Exception: Too many parts (300) in table 'd.t'.\n",
                "bad response: Code: 252. DB::Exception: Too many parts (300) in table 'd.t'.",
            ),
            ("Code: 469", "Code: 469"),
            ("502 Bad Gateway", "bad response: 502 Bad Gateway"),
        ] {
            assert_eq!(error_of(text).without_values(), without);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let error = error_of("Code: 60. DB::Exception: Table \u{1b}[31m\r\nx\u{9b}2J does not exist");
        let text = "bad response: Code: 60. DB::Exception: Table \\u{1b}[31m\\r\\nx\\u{9b}2J does not exist";
        assert_eq!(
            (error.to_string(), error.without_values()),
            (text.to_owned(), text.to_owned())
        );
        // A dead letter is data.
        assert!(error.with_values().contains("\u{1b}[31m\r\n"));
    }

    #[test]
    fn a_value_is_not_mistaken_for_a_view() {
        let of = |value: &str| {
            error_of(&format!(
                "Code: 469. DB::Exception: Constraint `c` is violated. Column values: a = '{value}'. (VIOLATED_CONSTRAINT)"
            ))
        };
        for value in [
            "while pushing to view d.v",
            "x while pushing to view d.v. \\' (X)",
            "while pushing to view \\\\",
        ] {
            assert_eq!(of(value).class(), Class::Refused, "{value}");
            assert_eq!(
                of(value).without_values(),
                "Code: 469 (VIOLATED_CONSTRAINT): constraint `c`"
            );
        }
        let view = error_of(
            "Code: 469. DB::Exception: Constraint `c` is violated. Column values: a = 'while pushing to view x': \
                            while pushing to view d.v. (VIOLATED_CONSTRAINT)",
        );
        assert_eq!(view.class(), Class::Hold);
    }

    #[test]
    fn long_errors_are_cut_between_characters() {
        let error = error_of(&"ж".repeat(5000));
        assert_eq!(error.to_string().chars().count(), MAX_ERROR_CHARS + 1);
    }
}
