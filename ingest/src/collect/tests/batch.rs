//! Many events in one body: lines, arrays, sequences.

use super::world::{GIF, JSON, NDJSON, Outcome, World, options, rejected};
use crate::collect::options::EventOptions;

/// Returns the body of the response to lines.
fn report(recorded: usize, rejected: usize, errors: &[(usize, &str)]) -> String {
    report_of("line", recorded, rejected, errors)
}

/// Returns the body of the response to items that are counted as `number`.
fn report_of(number: &str, recorded: usize, rejected: usize, errors: &[(usize, &str)]) -> String {
    let errors: Vec<_> = errors
        .iter()
        .map(|(at, reason)| {
            let column = if reason.starts_with("column `n`") {
                r#""column":"n","#
            } else {
                ""
            };
            format!(r#"{{"{number}":{at},{column}"reason":"{reason}"}}"#)
        })
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

const RANGE: &str = "column `n` (Int8): the value is outside the type's range: 300";

/// Returns the report on the elements of an array.
fn indexed(recorded: usize, rejected: usize, errors: &[(usize, &str)]) -> String {
    report_of("index", recorded, rejected, errors)
}

#[test]
fn each_element_of_an_array_is_an_event() {
    let world = World::new(&options());
    const CUT: &str = "the body is not JSON: the text ends inside a value (line 1, column 16)";
    for (content_type, body, status, answer, rows, codes) in [
        (JSON, "[]", 200, indexed(0, 0, &[]), vec![], vec![]),
        (JSON, " [ ]\r\n", 200, indexed(0, 0, &[]), vec![], vec![]),
        (
            JSON,
            r#"[{"n":1},{"n":2,"a":[{"b":"]"}]}]"#,
            200,
            indexed(2, 0, &[]),
            vec!["wh/mail 7 0 n=1", r#"wh/mail 7 0 n=2 extra[a={"b":"]"}]"#],
            vec![],
        ),
        (
            JSON,
            r#"[{"n":1},5,null,[{"n":9}],"x",{"n":300},{bad},{},{"n":2}]"#,
            200,
            indexed(
                3,
                6,
                &[
                    (1, "expected a JSON object, got a number"),
                    (2, "expected a JSON object, got null"),
                    (3, "expected a JSON object, got an array"),
                    (4, "expected a JSON object, got a string"),
                    (5, RANGE),
                    (
                        6,
                        "the body is not JSON: expected a key in double quotes (line 1, column 2)",
                    ),
                ],
            ),
            vec!["wh/mail 7 0 n=1", "wh/mail 7 0", "wh/mail 7 0 n=2"],
            vec![
                "json",
                "not-an-object",
                "not-an-object",
                "not-an-object",
                "not-an-object",
                "out-of-range",
            ],
        ),
        // The elements before a break are whole events.
        (
            JSON,
            r#"[{"n":1},{"n":2"#,
            200,
            indexed(1, 1, &[(1, CUT)]),
            vec!["wh/mail 7 0 n=1"],
            vec!["json"],
        ),
        (
            JSON,
            r#"[{"n":1}] {"n":2}"#,
            200,
            indexed(
                1,
                1,
                &[(
                    1,
                    "the body is not JSON: there is more text after the end of the document (line 1, column 11)",
                )],
            ),
            vec!["wh/mail 7 0 n=1"],
            vec!["json"],
        ),
        (
            JSON,
            "[1]",
            400,
            indexed(0, 1, &[(0, "expected a JSON object, got a number")]),
            vec![],
            vec!["not-an-object"],
        ),
        // The sender of an element.
        (
            JSON,
            r#"[{"uid":1000000008,"projectId":6},{"service":"pixel","name":"x"}]"#,
            200,
            indexed(2, 0, &[]),
            vec!["wh/mail 8 6", "wh/mail 7 0 extra[service=pixel name=x]"],
            vec![],
        ),
        // Other types in which senders post arrays.
        (
            "",
            "[{\"n\":1}]",
            200,
            indexed(1, 0, &[]),
            vec!["wh/mail 7 0 n=1"],
            vec![],
        ),
        (
            "text/plain",
            "\u{feff}[{\"n\":1}]\n",
            200,
            indexed(1, 0, &[]),
            vec!["wh/mail 7 0 n=1"],
            vec![],
        ),
        (
            "application/cloudevents-batch+json; charset=utf-8",
            "[{\"n\":1}]",
            200,
            indexed(1, 0, &[]),
            vec!["wh/mail 7 0 n=1"],
            vec![],
        ),
    ] {
        let outcome = world.post("/wh/mail", content_type, body);
        let expected = Outcome {
            status,
            body: answer,
            rows: rows.into_iter().map(str::to_owned).collect(),
            codes,
        };
        assert_eq!(outcome, expected, "{content_type} {body:?}");
    }
}

#[test]
fn lines_and_sequences_have_many_names() {
    let world = World::new(&options());
    let rows = ["wh/mail 7 0 n=1", "wh/mail 7 0 n=2"];
    for content_type in [
        "application/x-ndjson",
        "application/ndjson; charset=utf-8",
        "application/jsonl",
        "application/jsonlines",
        "application/x-jsonlines",
        "application/json-lines",
        "application/x-json-stream",
        "application/stream+json",
        // Lines that are declared as one document.
        "application/json",
        "text/plain",
        "",
    ] {
        for body in ["{\"n\":1}\n{\"n\":2}", "\u{feff}{\"n\":1}\r\n\r\n{\"n\":2}\r\n"] {
            let outcome = world.post("/wh/mail", content_type, body);
            assert_eq!(
                (outcome.status, outcome.body),
                (200, report(2, 0, &[])),
                "{content_type}"
            );
            assert_eq!(outcome.rows, rows, "{content_type}");
        }
    }
    let outcome = world.post(
        "/wh/mail",
        "application/json-seq",
        "\u{1e}{\"n\":1}\n\u{1e}{\n\"n\":2}\n\u{1e}{\"n\":\n",
    );
    let error = "the body is not JSON: the text ends inside a value (line 2, column 1)";
    assert_eq!((outcome.status, outcome.body), (200, indexed(2, 1, &[(2, error)])));
    assert_eq!(outcome.rows, rows);
}

#[test]
fn lines_that_are_declared_as_one_document_are_refused_one_by_one() {
    let world = World::new(&options());
    const TRAILING: &str = "the body is not JSON: there is more text after the end of the document (line 1, column 8)";
    const KEY: &str = "the body is not JSON: expected a key in double quotes (line 1, column 2)";
    for (body, answer, rows) in [
        ("{bad}\n{\"n\":2}", report(1, 1, &[(1, KEY)]), vec!["wh/mail 7 0 n=2"]),
        (
            "{\"n\":1}\n{\"n\":2}{\"n\":3}\nx\n",
            report(
                1,
                2,
                &[
                    (2, TRAILING),
                    (3, "the body is not JSON: expected a value (line 1, column 1)"),
                ],
            ),
            vec!["wh/mail 7 0 n=1"],
        ),
        // `name` makes the collector read the body before its table is known.
        (
            "{\"name\":\"x\"}\n{\"n\":2}",
            report(2, 0, &[]),
            vec!["wh/mail 7 0 extra[name=x]", "wh/mail 7 0 n=2"],
        ),
    ] {
        let outcome = world.post("/wh/mail", JSON, body);
        assert_eq!((outcome.status, outcome.body), (200, answer), "{body}");
        assert_eq!(outcome.rows, rows, "{body}");
    }
    let outcome = world.post("/wh/mail", JSON, "{\"n\":1}{\"n\":2}");
    assert_eq!((outcome.status, outcome.body), (400, rejected(TRAILING)));
    assert_eq!((outcome.rows, outcome.codes), (Vec::new(), vec!["json"]));
}

#[test]
fn a_visitor_who_posts_an_array_gets_an_image_or_a_redirect() {
    let world = World::new(&options());
    let outcome = world.post("/pixel/mail", JSON, "[1,{}]");
    assert!(outcome.body.starts_with(GIF), "{outcome:?}");
    assert_eq!(
        (outcome.rows, outcome.codes),
        (vec!["pixel/mail 7 0".to_owned()], vec!["not-an-object"])
    );
    let outcome = world.post("/redir/mail?to=https://x.example/", JSON, "[{}]");
    assert_eq!((outcome.status, outcome.rows.len()), (302, 1));
}

/// Bodies of two events, and the rows of each number of whole events.
const CUT: [(&str, &str); 5] = [
    (JSON, r#"{"n":1,"a":{"b":"x}"}}"#),
    (JSON, r#"[{"n":1,"a":"]"},{"n":2,"a":[{}]}]"#),
    (JSON, "{\"n\":1,\"a\":\"]\"}\n{\"n\":2,\"a\":[{}]}\n"),
    (NDJSON, "{\"n\":1,\"a\":\"]\"}\n{\"n\":2,\"a\":[{}]}\n"),
    (
        "application/json-seq",
        "\u{1e}{\"n\":1,\"a\":\"]\"}\n\u{1e}{\"n\":2,\"a\":[{}]}\n",
    ),
];

#[test]
fn a_body_that_is_cut_anywhere_makes_no_half_event() {
    let world = World::new(&options());
    for (content_type, body) in CUT {
        let whole = world.post("/wh/mail", content_type, body).rows;
        let mut seen = 0;
        for end in 0..body.len() {
            let outcome = world.post("/wh/mail", content_type, &body[..end]);
            let count = outcome.rows.len();
            assert_eq!(outcome.rows, whole[..count], "{content_type} {}", &body[..end]);
            // A cut may be between two items, where nothing is missing.
            let is_told =
                !outcome.codes.is_empty() || count == whole.len() || body[end..].starts_with(['\n', '{', '\u{1e}']);
            assert!(
                is_told || body[..end].trim_ascii().is_empty() || body[..end].ends_with(['\n', '\u{1e}']),
                "{content_type} {}: {outcome:?}",
                &body[..end]
            );
            assert!(count >= seen, "{content_type} {}", &body[..end]);
            seen = count;
        }
    }
}

#[test]
fn one_bad_element_of_ten_thousand_costs_one_row() {
    let world = World::new(&options());
    let mut elements = vec!["{}"; 10_000];
    for (bad, code) in [("{\"n\":300}", "out-of-range"), ("{bad}", "json"), ("nul", "json")] {
        elements[5_000] = bad;
        let outcome = world.post("/wh/mail", JSON, &format!("[{}]", elements.join(",")));
        assert_eq!(
            (outcome.status, outcome.rows.len(), outcome.codes),
            (200, 9_999, vec![code]),
            "{bad}"
        );
        let error = r#""refused":1,"errors":[{"index":5000,"#;
        assert!(outcome.body.contains(error), "{}", outcome.body);
    }
    // A bracket that is never closed hides the elements after it.
    elements[5_000] = "[";
    let outcome = world.post("/wh/mail", JSON, &format!("[{}]", elements.join(",")));
    assert_eq!(
        (outcome.status, outcome.rows.len(), outcome.codes),
        (200, 5_000, vec!["json", "json"])
    );
}

#[test]
fn the_events_inside_a_document_have_its_shared_fields() {
    let world = World::new(&options());
    let report =
        |recorded, rejected, errors: &[(usize, &str)]| indexed(recorded, rejected, errors).replace("mail", "batch");
    for (uri, body, status, answer, rows) in [
        (
            "/wh/batch",
            r#"{"page":{"u":"x"},"data":{"events":[{"n":1},{"n":2,"page":{"v":"y"}}]},"other":1}"#,
            200,
            report(2, 0, &[]),
            vec!["wh/batch 7 0 n=1 page_extra[u=x]", "wh/batch 7 0 n=2 page_extra[v=y]"],
        ),
        // Shared fields may be behind the events. The event's own field takes precedence, and the
        // query takes precedence over both.
        (
            "/wh/batch?a=q",
            r#"{"data":{"events":[{"n":1},{},{"n":300},7]},"n":5}"#,
            200,
            report(2, 2, &[(2, RANGE), (3, "expected a JSON object, got a number")]),
            vec!["wh/batch 7 0 n=1 extra[a=q]", "wh/batch 7 0 n=5 extra[a=q]"],
        ),
        (
            "/wh/batch?n=6",
            r#"{"data":{"events":[{"n":1},{}]},"n":5}"#,
            200,
            report(2, 0, &[]),
            vec!["wh/batch 7 0 n=6", "wh/batch 7 0 n=6"],
        ),
        // The sender.
        (
            "/wh/batch",
            r#"{"projectId":"5","data":{"events":[{},{"projectId":6,"uid":1000000008}]}}"#,
            200,
            report(2, 0, &[]),
            vec!["wh/batch 7 5", "wh/batch 8 6"],
        ),
        // One object.
        (
            "/wh/batch",
            r#"{"data":{"events":{"n":1}}}"#,
            200,
            report(1, 0, &[]),
            vec!["wh/batch 7 0 n=1"],
        ),
        ("/wh/batch", r#"{"data":{"events":[]}}"#, 200, report(0, 0, &[]), vec![]),
        // An invalid shared value is the fault of each event that gets it.
        (
            "/wh/batch",
            r#"{"data":{"events":[{"n":1},{}]},"n":300}"#,
            200,
            report(1, 1, &[(1, RANGE)]),
            vec!["wh/batch 7 0 n=1"],
        ),
        (
            "/wh/batch",
            r#"{"data":{"events":[{"n":1} {"n":2}]}}"#,
            200,
            report(
                1,
                1,
                &[(
                    1,
                    "the body is not JSON: expected `,` or the end of the array or object (line 1, column 28)",
                )],
            ),
            vec!["wh/batch 7 0 n=1"],
        ),
    ] {
        let outcome = world.post(uri, JSON, body);
        assert_eq!((outcome.status, outcome.body), (status, answer), "{body}");
        assert_eq!(outcome.rows, rows, "{body}");
    }
}

#[test]
fn a_body_without_events_where_they_should_be_is_refused_with_the_path() {
    let world = World::new(&options());
    const ABSENT: &str = "the body has no `data.events`, where the events should be";
    for (content_type, body, reason) in [
        (JSON, "{}", ABSENT),
        (JSON, r#"{"data":{"n":1}}"#, ABSENT),
        (JSON, "[{}]", ABSENT),
        (NDJSON, "", "the body is empty, but its type is JSON"),
        ("", "", ABSENT),
        ("", "n=1", ABSENT),
        (
            JSON,
            r#"{"data":{"events":true}}"#,
            "`data.events` is a boolean, not an array of events",
        ),
    ] {
        let outcome = world.post("/wh/batch", content_type, body);
        let code = if reason.starts_with("the body is") {
            "body"
        } else {
            "no-items"
        };
        assert_eq!(
            (outcome.status, outcome.body),
            (400, rejected(reason)),
            "{content_type} {body}"
        );
        assert_eq!(
            (outcome.rows, outcome.codes),
            (Vec::new(), vec![code]),
            "{content_type} {body}"
        );
    }
    let outcome = world.send(http::Method::GET, "/wh/batch?n=1");
    assert_eq!((outcome.status, outcome.body), (400, rejected(ABSENT)));
}

#[test]
fn a_document_that_is_cut_anywhere_makes_no_event() {
    let world = World::new(&options());
    let body = r#"{"n":5,"data":{"events":[{"a":1},{"b":"]"}]},"page":{"u":"x"}}"#;
    assert_eq!(world.post("/wh/batch", JSON, body).rows.len(), 2);
    for end in 1..body.len() {
        let outcome = world.post("/wh/batch", JSON, &body[..end]);
        assert_eq!(
            (outcome.status, outcome.rows.len(), outcome.codes),
            (400, 0, vec!["json"]),
            "{}",
            &body[..end]
        );
    }
}

#[test]
fn each_record_of_csv_is_an_event() {
    let world = World::new(&options());
    for (content_type, body, status, answer, rows) in [
        (
            "text/csv",
            "n,a,uid\r\n1,\"x, \"\"y\"\"\",1000000008\r\n2,,\r\n",
            200,
            report(2, 0, &[]),
            vec!["wh/mail 8 0 n=1 extra[a=x, \"y\"]", "wh/mail 7 0 n=2 extra[a= uid=]"],
        ),
        (
            "text/csv; charset=utf-8",
            "\u{feff}n,a\n1,x\n300,y\n1\n2,z",
            200,
            report(
                2,
                2,
                &[(3, RANGE), (4, "the record has 1 fields, and the header has 2")],
            ),
            vec!["wh/mail 7 0 n=1 extra[a=x]", "wh/mail 7 0 n=2 extra[a=z]"],
        ),
        (
            "text/tab-separated-values",
            "n\ta\n5\t\"\n",
            200,
            report(1, 0, &[]),
            vec!["wh/mail 7 0 n=5 extra[a=\"]"],
        ),
        (
            "text/csv",
            "n,a\n1,\"x\n2,y\n",
            400,
            report(0, 1, &[(2, "a quoted field has no end")]),
            vec![],
        ),
        ("text/csv", "n,a\n", 200, report(0, 0, &[]), vec![]),
        (
            "text/csv",
            "n,n\n1,2\n",
            400,
            rejected("the header has `n` twice"),
            vec![],
        ),
    ] {
        let outcome = world.post("/wh/mail", content_type, body);
        assert_eq!((outcome.status, outcome.body), (status, answer), "{body:?}");
        assert_eq!(outcome.rows, rows, "{body:?}");
    }
    // The query takes precedence.
    let outcome = world.post("/wh/mail?n=7", "text/csv", "n\n300\n2\n");
    assert_eq!(outcome.rows, ["wh/mail 7 0 n=7", "wh/mail 7 0 n=7"]);
}

#[test]
fn csv_that_is_cut_makes_no_record_with_missing_fields() {
    let world = World::new(&options());
    let body = "n,a,b\n1,\"x\ny\",z\n2,\"\",w\n";
    let whole = world.post("/wh/mail", "text/csv", body).rows;
    for end in 6..body.len() {
        let rows = world.post("/wh/mail", "text/csv", &body[..end]).rows;
        // The last field of a record without its line end may be shorter than it was.
        let last = whole[..rows.len()].last().map_or("", |row| &row[..row.len() - 2]);
        assert!(rows.len() < 2 || rows[0] == whole[0], "{}", &body[..end]);
        assert!(
            rows.last().is_none_or(|row| row.starts_with(last)),
            "{rows:?} {}",
            &body[..end]
        );
    }
}
