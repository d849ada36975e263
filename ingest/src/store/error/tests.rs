//! Texts of ClickHouse and of proxies, and the class and the log text of each.

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
