//! NDJSON: many events in one body.

use super::world::{NDJSON, Outcome, World, options, rejected};
use crate::collect::options::EventOptions;

/// Returns the body of the response to NDJSON.
fn report(recorded: usize, rejected: usize, errors: &[(usize, &str)]) -> String {
    let errors: Vec<_> = errors
        .iter()
        .map(|(line, reason)| format!(r#"{{"line":{line},"reason":"{reason}"}}"#))
        .collect();
    let errors = match errors.is_empty() {
        true => String::new(),
        false => format!(r#","errors":[{}]"#, errors.join(",")),
    };
    format!(r#"{{"key":"in.gen.wh.mail","recorded":{recorded},"refused":{rejected}{errors}}}"#)
}

#[test]
fn each_line_of_ndjson_is_an_event() {
    let world = World::new(&options());
    const RANGE: &str = "column `n` (Int8): the value is outside the type's range: 300";
    const SYNTAX: &str = "the body is not JSON: expected a key in double quotes (line 1, column 2)";
    const ARRAY: &str = "expected a JSON object, got an array";
    for (uri, body, status, answer, rows, codes) in [
        (
            "/wh/mail",
            "{\"n\":1}\r\n\n  \n{\"n\":2}",
            200,
            report(2, 0, &[]),
            vec!["wh/mail 7 0 n=1", "wh/mail 7 0 n=2"],
            vec![],
        ),
        (
            "/wh/mail",
            "{\"n\":1}\n{\"n\":300}\n{bad\n[{}]\n{\"n\":2}\n",
            200,
            report(2, 3, &[(2, RANGE), (3, SYNTAX), (4, ARRAY)]),
            vec!["wh/mail 7 0 n=1", "wh/mail 7 0 n=2"],
            vec!["json", "not-an-object", "out-of-range"],
        ),
        // The query is part of each line.
        (
            "/wh/mail?n=7&a=1",
            "{\"n\":300}\n{\"b\":2}",
            200,
            report(2, 0, &[]),
            vec!["wh/mail 7 0 n=7 extra[a=1]", "wh/mail 7 0 n=7 extra[b=2 a=1]"],
            vec![],
        ),
        // A line may name its sender, and nothing else of its address.
        (
            "/wh/mail",
            "{\"uid\":1000000008,\"projectId\":6}\n{\"service\":\"pixel\",\"name\":\"x\"}\n{\"n\":1}",
            200,
            report(3, 0, &[]),
            vec![
                "wh/mail 8 6",
                "wh/mail 7 0 extra[service=pixel name=x]",
                "wh/mail 7 0 n=1",
            ],
            vec![],
        ),
        (
            "/wh/mail",
            "{bad",
            400,
            report(0, 1, &[(1, SYNTAX)]),
            vec![],
            vec!["json"],
        ),
        ("/wh/mail", "{}\n", 200, report(1, 0, &[]), vec!["wh/mail 7 0"], vec![]),
        ("/wh/mail", "\n \r\n", 200, report(0, 0, &[]), vec![], vec![]),
        (
            "/x/y",
            "{}",
            404,
            r#"{"message":"Not Found"}"#.to_owned(),
            vec![],
            vec![],
        ),
        (
            "/wh/mail",
            "",
            400,
            rejected("the body is empty, but its type is JSON"),
            vec![],
            vec!["body"],
        ),
    ] {
        let outcome = world.post(uri, NDJSON, body);
        let expected = Outcome {
            status,
            body: answer,
            rows: rows.into_iter().map(str::to_owned).collect(),
            codes,
        };
        assert_eq!(outcome, expected, "{uri} {body:?}");
    }
}

#[test]
fn the_response_has_the_reasons_of_the_first_rejected_lines() {
    let world = World::new(&options());
    let outcome = world.post("/wh/mail", NDJSON, &"[]\n".repeat(12));
    assert_eq!(outcome.status, 400);
    assert_eq!(outcome.codes.len(), 12);
    assert_eq!(outcome.body.matches("\"line\":").count(), 10, "{}", outcome.body);
    assert!(outcome.body.contains(r#""refused":12"#) && outcome.body.contains(r#"{"line":10,"#));
}

#[test]
fn the_rows_of_ndjson_have_a_maximum_size() {
    let world = World::new(&EventOptions {
        max_bulk_bytes: 1_000,
        ..options()
    });
    let query = "q".repeat(1_000);
    let lines = |count: usize| world.post(&format!("/wh/mail?{query}=1"), NDJSON, &"{}\n".repeat(count));
    assert_eq!(lines(15).status, 200);
    let outcome = lines(16);
    assert_eq!(outcome.status, 413);
    assert!(outcome.body.contains("send fewer lines"), "{}", outcome.body);
}

#[test]
fn a_declared_path_alone_decides_the_answer_to_ndjson() {
    for world in [World::new(&options()), World::catching_all()] {
        let outcome = world.post("/wh/mail?service=redir&to=https://x.example/", NDJSON, "{}");
        assert_eq!((outcome.status, outcome.body), (200, report(1, 0, &[])));
    }
}
