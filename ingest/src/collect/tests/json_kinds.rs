//! The kinds of texts that tests of JSON parsers try, each as a whole body and as an element of an
//! array, on a line, and inside a document: what is an event in one place is one in all.

use super::world::{JSON, NDJSON, World, options};

/// Objects that are events.
const VALID: [&str; 30] = [
    "{}",
    " {} ",
    "\t{\r\t}\r",
    r#"{"":0}"#,
    r#"{"a":null}"#,
    r#"{"a":true,"b":false}"#,
    r#"{"a":-0}"#,
    r#"{"a":0e+1}"#,
    r#"{"a":1E400}"#,
    r#"{"a":-1.5e-10}"#,
    r#"{"a":123456789012345678901234567890}"#,
    r#"{"a":[]}"#,
    r#"{"a":[[],[[]],{}]}"#,
    r#"{"a":{"b":{"c":{}}}}"#,
    r#"{"a":""}"#,
    r#"{"a":"\" \\ \/ \b \f \n \r \t"}"#,
    r#"{"a":"\u0041\u00e9\u20ac"}"#,
    r#"{"a":"\ud83d\ude00"}"#,
    r#"{"a":"\u0000"}"#,
    // Half of a pair becomes U+FFFD.
    r#"{"a":"\ud83d"}"#,
    r#"{"a":"\ude00\ud83d"}"#,
    r#"{"a":"яш€😀"}"#,
    r#"{"\u0061":1}"#,
    r#"{"a":1,"a":2}"#,
    r#"{"a":"[{}]"}"#,
    r#"{"a":"}{"}"#,
    r#"{"a":"/* x */ // y"}"#,
    "{\"a\":\"\u{7f}\u{2028}\"}",
    r#"{"a":[1,"]",{"b":"}"},[2]]}"#,
    r#"{"a" : [ 1 , 2 ] , "b" : { } }"#,
];

/// Texts that are no JSON; none has a line end.
const INVALID: [&str; 50] = [
    "{",
    "}",
    "{]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\" 1}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\":1,,\"b\":2}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1:2}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{null:1}",
    "{\"a\":'x'}",
    "{\"a\":tru}",
    "{\"a\":True}",
    "{\"a\":nul}",
    "{\"a\":NaN}",
    "{\"a\":Infinity}",
    "{\"a\":-Infinity}",
    "{\"a\":01}",
    "{\"a\":-01}",
    "{\"a\":1.}",
    "{\"a\":.5}",
    "{\"a\":+1}",
    "{\"a\":1e}",
    "{\"a\":1e+}",
    "{\"a\":0x1F}",
    "{\"a\":1_000}",
    "{\"a\":--1}",
    "{\"a\":-}",
    "{\"a\":1 2}",
    "{\"a\":\"\\x41\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"\\u12G4\"}",
    "{\"a\":\"\\'\"}",
    "{\"a\":\"\t\"}",
    "{\"a\":\"\u{1}\"}",
    "{\"a\":[1,]}",
    "{\"a\":[,1]}",
    "{\"a\":[1 2]}",
    "{\"a\":[1}",
    "{\"a\":[}]}",
    "{\"a\":1]",
    "{\"a\":1/* x */}",
    "{\"a\":1}//",
    "{\u{a0}\"a\":1}",
    "{\"a\":1}#",
];

/// Invalid texts whose brackets or quotes do not close, so that an array around them has no
/// element after them.
const OPEN: [&str; 7] = ["{", "}", "{]", "{\"a\":[1}", "{\"a\":[}]}", "{\"a\":1}//", "{\"a\":1}#"];

#[test]
fn each_valid_object_is_an_event_in_every_place() {
    let world = World::new(&options());
    for text in VALID {
        let alone = world.post("/wh/mail", JSON, text);
        assert_eq!((alone.status, alone.rows.len()), (200, 1), "{text}: {}", alone.body);
        for (content_type, body) in [
            (JSON, format!("[{text}]")),
            (JSON, format!("[ {text}\n, {text} ]")),
            (NDJSON, format!("{text}\n{text}\n")),
            ("application/json-seq", format!("\u{1e}{text}\n")),
        ] {
            let outcome = world.post("/wh/mail", content_type, &body);
            assert_eq!(
                (outcome.status, outcome.codes),
                (200, vec![]),
                "{body}: {}",
                outcome.body
            );
            assert!(
                outcome.rows.iter().all(|row| *row == alone.rows[0]),
                "{body}: {:?}",
                outcome.rows
            );
        }
        let inside = world.post("/wh/batch", JSON, &format!(r#"{{"data":{{"events":[{text},{{}}]}}}}"#));
        assert_eq!((inside.status, inside.rows.len()), (200, 2), "{text}: {}", inside.body);
        assert_eq!(inside.rows[0], alone.rows[0].replace("mail", "batch"), "{text}");
    }
}

#[test]
fn each_invalid_text_is_refused_in_every_place_and_alone() {
    let world = World::new(&options());
    for text in INVALID {
        let alone = world.post("/wh/mail", JSON, text);
        assert_eq!(
            (alone.status, alone.rows.len(), alone.codes),
            (400, 0, vec!["json"]),
            "{text}"
        );
        let lines = world.post("/wh/mail", NDJSON, &format!("{{}}\n{text}\n{{}}\n"));
        assert_eq!(
            (lines.status, lines.rows.len(), lines.codes),
            (200, 2, vec!["json"]),
            "{text}"
        );
        for (uri, body) in [
            ("/wh/mail", format!("[{{}},{text},{{}}]")),
            ("/wh/batch", format!(r#"{{"data":{{"events":[{{}},{text},{{}}]}}}}"#)),
        ] {
            let outcome = world.post(uri, JSON, &body);
            let recorded = outcome.rows.len();
            if OPEN.contains(&text) {
                // The brackets decide how far the damage goes; the event before it is safe in an
                // array, and nothing is an event that is not whole.
                assert!(recorded <= 2 && !outcome.codes.is_empty(), "{body}: {}", outcome.body);
                assert!(recorded >= 1 || uri == "/wh/batch", "{body}: {}", outcome.body);
            } else {
                assert_eq!(
                    (outcome.status, recorded, outcome.codes),
                    (200, 2, vec!["json"]),
                    "{body}: {}",
                    outcome.body
                );
            }
            // `{"a":1}` before a comment is whole.
            let is_whole = |row: &String| row.ends_with(" 7 0") || text.starts_with("{\"a\":1}");
            assert!(outcome.rows.iter().all(is_whole), "{body}: {:?}", outcome.rows);
        }
    }
}
