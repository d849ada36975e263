//! Bodies and the rows or the rejections that they become.

use http::Request;

use super::world::{FORM, JSON, MAIL, Outcome, World, options, rejected};
use crate::request::read_body::ReadBodyError;

#[test]
fn a_body_becomes_a_row() {
    let world = World::new(&options());
    for (uri, content_type, body, row) in [
        ("/wh/mail", JSON, r#"{"n":5,"a":1}"#, "wh/mail 7 0 n=5 extra[a=1]"),
        (
            "/wh/mail?n=7&b=2",
            JSON,
            r#"{"n":5,"a":1}"#,
            "wh/mail 7 0 n=7 extra[a=1 b=2]",
        ),
        ("/wh/mail", FORM, "n=5&a=x+y", "wh/mail 7 0 n=5 extra[a=x y]"),
        ("/wh/mail?n=7", FORM, "n=5", "wh/mail 7 0 n=7"),
        ("/wh/mail", FORM, r#" {"n":5}"#, "wh/mail 7 0 n=5"),
        ("/wh/mail", "text/plain", "n=5\r\n", "wh/mail 7 0 n=5"),
        ("/wh/mail", JSON, "\u{feff}{\"n\":5}", "wh/mail 7 0 n=5"),
        ("/wh/mail", "", "", "wh/mail 7 0"),
        ("/wh/mail", FORM, " \n", "wh/mail 7 0"),
        ("/wh/mail?n=7", "", "", "wh/mail 7 0 n=7"),
        ("/wh/MAIL", JSON, "{}", "wh/MAIL 7 0 "),
        // The sender is that of the query, then of the body, then of the cookie.
        (
            "/wh/mail/5",
            JSON,
            r#"{"projectId":6,"uid":1000000008}"#,
            "wh/mail 8 5 extra[projectId=6]",
        ),
        (
            "/wh/mail?uid=1000000009",
            JSON,
            r#"{"projectId":6,"uid":1000000008}"#,
            "wh/mail 9 6",
        ),
        ("/wh/mail", FORM, "projectId=6&uid=1000000008", "wh/mail 8 6"),
    ] {
        let outcome = world.post(uri, content_type, body);
        let expected = Outcome {
            status: 200,
            body: MAIL.replace("mail", if uri.contains("MAIL") { "MAIL" } else { "mail" }),
            rows: vec![row.trim_end().to_owned()],
            codes: Vec::new(),
        };
        assert_eq!(outcome, expected, "{uri} {content_type} {body}");
    }
}

#[test]
fn a_body_that_cannot_become_a_row_is_rejected_with_its_reason() {
    let world = World::new(&options());
    let deep = format!("{}1{}", r#"{"a":"#.repeat(129), "}".repeat(129));
    let invalid =
        r#"{"message":"Bad Request","refused":[{"column":"n","code":"out-of-range","expected":"Int8","got":"300"}]}"#;
    for (content_type, body, status, answer, code) in [
        (JSON, "5", 400, rejected("expected a JSON object, got a number"), "not-an-object"),
        (JSON, "\"x\"", 400, rejected("expected a JSON object, got a string"), "not-an-object"),
        (JSON, " null\n", 400, rejected("expected a JSON object, got null"), "not-an-object"),
        (JSON, r#"{"n":300}"#, 400, invalid.to_owned(), "out-of-range"),
        (FORM, "n=300", 400, invalid.to_owned(), "out-of-range"),
        (
            JSON,
            "{\"n\":\n x}",
            400,
            rejected("the body is not JSON: expected a value (line 2, column 2)"),
            "json",
        ),
        // `name` makes the collector read the body before its table is known.
        (
            JSON,
            r#"{"name":"x"]"#,
            400,
            rejected("the body is not JSON: expected `,` or the end of the array or object (line 1, column 12)"),
            "json",
        ),
        (
            JSON,
            &deep,
            400,
            rejected("the body is not JSON: arrays and objects are nested too deep (line 1, column 641)"),
            "json",
        ),
        (JSON, "", 400, rejected("the body is empty, but its type is JSON"), "body"),
        (
            "",
            "hello",
            400,
            rejected("the body is neither a JSON object nor a form of key=value pairs"),
            "body",
        ),
        (
            "x",
            "a=1",
            400,
            rejected("the Content-Type header is malformed"),
            "body",
        ),
        (
            "text/plain; charset=klingon",
            "a=1",
            400,
            rejected("the charset of the Content-Type header is unknown"),
            "body",
        ),
        (
            "multipart/mixed; boundary=b",
            "--b--",
            415,
            r#"{"message":"Unsupported Media Type","reason":"multipart bodies other than multipart/form-data are not accepted"}"#
                .to_owned(),
            "body",
        ),
    ] {
        let outcome = world.post("/wh/mail", content_type, body);
        let expected = Outcome {
            status,
            body: answer,
            rows: Vec::new(),
            codes: vec![code],
        };
        assert_eq!(outcome, expected, "{content_type} {body}");
    }
}

#[test]
fn each_error_of_reading_a_body_has_its_status() {
    let world = World::new(&options());
    for (error, status) in [
        (ReadBodyError::TooLarge, 413),
        (ReadBodyError::TimedOut, 408),
        (ReadBodyError::Broken, 400),
        (ReadBodyError::OutOfMemory, 503),
    ] {
        let outcome = world.outcome(Request::post("/wh/mail").body(Err(error)).unwrap());
        assert_eq!((outcome.status, outcome.rows), (status, Vec::new()), "{error:?}");
    }
}
