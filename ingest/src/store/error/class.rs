//! The class of each error: what the collector can do about it.

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

/// TOO_MANY_PARTS: of the table, or of one insert.
pub(super) const TOO_MANY_PARTS: u32 = 252;

/// Returns whether an error is always about the server or the tables and never about a row, so that
/// the log may contain its complete text.
pub(super) fn is_of_the_server(code: u32) -> bool {
    class_of_code(code) == Class::Hold || is_transient_code(code) || code == TOO_MANY_PARTS
}

/// Returns whether the server failed for a transient reason: TIMEOUT_EXCEEDED,
/// TOO_MANY_SIMULTANEOUS_QUERIES, SOCKET_TIMEOUT, NETWORK_ERROR, NO_ZOOKEEPER, ABORTED,
/// MEMORY_LIMIT_EXCEEDED, TABLE_IS_READ_ONLY, NOT_ENOUGH_SPACE, ALL_CONNECTION_TRIES_FAILED,
/// CANNOT_ASSIGN_ALTER, SERVER_OVERLOADED, KEEPER_EXCEPTION.
pub(super) fn is_transient_code(code: u32) -> bool {
    matches!(
        code,
        159 | 202 | 209 | 210 | 225 | 236 | 241 | 242 | 243 | 279 | 517 | 745 | 999
    )
}

/// Classifies ClickHouse's error codes (`SELECT errorCodeToName(N)`).
///
/// An unlisted code is retried: a needless retry costs little, but a needless hold delays all later
/// rows.
pub(super) fn class_of_code(code: u32) -> Class {
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
pub(super) fn is_before_write(code: u32) -> bool {
    matches!(code, 202 | TOO_MANY_PARTS | 745)
}

/// Returns whether the error is about access: UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD,
/// IP_ADDRESS_NOT_ALLOWED, DATABASE_ACCESS_DENIED, ACCESS_DENIED, AUTHENTICATION_FAILED,
/// USER_EXPIRED, REQUIRED_SECOND_FACTOR.
pub(super) fn is_access(code: u32) -> bool {
    matches!(code, 192..=195 | 291 | 497 | 516 | 720 | 767)
}

/// Classifies the response of a proxy between the collector and ClickHouse. The client passes the
/// status only of a response without a body. Any other text is a proxy's page, and transient as
/// proxy failures usually are.
pub(super) fn class_of_status(text: &str) -> Class {
    match text.split(' ').next().map(str::parse::<u16>) {
        Some(Ok(408 | 425 | 429)) => Class::Retry,
        Some(Ok(400..=499)) => Class::Hold,
        _ => Class::Retry,
    }
}
