//! The kinds of texts that tests of JSON parsers try, each as a whole body and as an element of an
//! array, on a line, and inside a document: what is an event in one place is one in all.

use super::world::{JSON, NDJSON, World, options};

/// Objects that are events.
const VALID: [&str; 50] = [
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
    r#"{"a":0}"#,
    r#"{"a":-123}"#,
    r#"{"a":123e65,"b":0e1,"c":20e1}"#,
    r#"{"a":1E-2,"b":1E+2,"c":1E22}"#,
    r#"{"a":123.456e78,"b":123.456789}"#,
    r#"{"a":-0.000000000000000000000000000000000000000000000000001}"#,
    r#"{"min":-1.0e+28,"max":1.0e+28}"#,
    r#"{"a":[null,1,"1",{}],"b":[1,null,null,null,2]}"#,
    r#"{"a":[""],"b":[false],"c":[ 4]}"#,
    r#"{"foo\u0000bar":42}"#,
    r#"{"title":"\u041f\u043e\u043b\u0442\u043e\u0440\u0430"}"#,
    r#"{"a":"\uD801\udc37","b":"\ud83d\ude39\ud83d\udc8d"}"#,
    r#"{"a":"\\u0000","b":"\"","c":"\\n","d":"\\a"}"#,
    r#"{"a":"\u0012","b":"\uFFFF","c":"\u0061\u30af"}"#,
    r#"{"a":"\u000A","b":"\u0022","c":"\u005C","d":"\u00A0"}"#,
    r#"{"a":"\uDBFF\uDFFE","b":"\u200B","c":"\u2064","d":"\uFDD0"}"#,
    "{\"a\":\"\u{10ffff}\u{ffff}\u{1bfff}\u{2028}\u{2029}π\"}",
    "{\"a\":\"a\u{7f}a\",\"b\":\"asd \",\"c\":\" \"}",
    r#"{"a":"a/*b*/c/*d//e"}"#,
    r#"{"a":"b","a":"b"}"#,
];

/// Texts that are no JSON; none has a line end.
const INVALID: [&str; 134] = [
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
    r#"{"a":[1 true]}"#,
    r#"{"a":["": 1]}"#,
    r#"{"a":[""],}"#,
    r#"{"a":[1,,2]}"#,
    r#"{"a":["x",,]}"#,
    r#"{"a":[3[4]]}"#,
    r#"{"a":[1:2]}"#,
    r#"{"a":[,]}"#,
    r#"{"a":[   , ""]}"#,
    r#"{"a":[*]}"#,
    r#"{"a":fals}"#,
    r#"{"a":FALSE}"#,
    r#"{"a":123 123}"#,
    r#"{"a":++1234}"#,
    r#"{"a":+Inf}"#,
    r#"{"a":-1.0.}"#,
    r#"{"a":-2.}"#,
    r#"{"a":-NaN}"#,
    r#"{"a":.-1}"#,
    r#"{"a":.2e-3}"#,
    r#"{"a":0.1.2}"#,
    r#"{"a":0.3e+}"#,
    r#"{"a":0.3e}"#,
    r#"{"a":0.e1}"#,
    r#"{"a":0E+}"#,
    r#"{"a":1.0e-}"#,
    r#"{"a":1 000.0}"#,
    r#"{"a":1eE2}"#,
    r#"{"a":2.e+3}"#,
    r#"{"a":Inf}"#,
    r#"{"a":１}"#,
    r#"{"a":1+2}"#,
    r#"{"a":0x42}"#,
    r#"{"a":0e+-1}"#,
    r#"{"a":-foo}"#,
    r#"{"a":- 1}"#,
    r#"{"a":-012}"#,
    r#"{"a":-.123}"#,
    r#"{"a":-1x}"#,
    r#"{"a":1ea}"#,
    r#"{"a":1.8011670033376514H-308}"#,
    r#"{"a":1.2a-3}"#,
    r#"{"a":012}"#,
    r#"{[: "x"}"#,
    r#"{"x", null}"#,
    r#"{"x"::"b"}"#,
    "{🇨🇭}",
    r#"{"a":"a" 123}"#,
    r#"{key: "value"}"#,
    r#"{"a" b}"#,
    r#"{:"b"}"#,
    "{9999E9999:1}",
    r#"{"id":0,,,,,}"#,
    r#"{"a":"b",,"c":"d"}"#,
    r#"{"foo":"bar", "a"}"#,
    r#"{"a":"\uD800\u"}"#,
    r#"{"a":"\uD800\u1"}"#,
    r#"{"a":"\uD800\u1x"}"#,
    r#"{"a":é}"#,
    r#"{"a":"\u00A"}"#,
    "{\"a\":\"\\\u{9}\"}",
    r#"{"a":"\🌀"}"#,
    r#"{"a":"\uqqqq"}"#,
    r#"{"a":\u0020"asd"}"#,
    r#"{"a":\n}"#,
    r#"{"a":"\UA66D"}"#,
    r#"{"a":"\u{41}"}"#,
    "{\"a\":\"\\\u{0}\"}",
    "{\"a\":\"a\u{0}a\"}",
    "{\"a\":1\u{0}}",
    "{\"a\":\u{c}1}",
    "{\"a\":\u{b}1}",
    "{\"a\":\u{2060}1}",
    r#"{"a":<null>}"#,
    r#"{"a":#}"#,
    r#"{"a":`x`}"#,
    r#"{"a":["""#,
    r#"{"a":[1,"#,
    r#"{"a":"a"#,
    r#"{"a":"x"]"#,
    r#"{"a":"\\\"}"#,
    r#"{"a":"\"}"#,
    r#"{"a":1}/**/"#,
    r#"{"a":[3[4]}"#,
];

/// Invalid texts whose brackets or quotes do not close, so that an array around them has no
/// element after them.
const OPEN: [&str; 16] = [
    "{",
    "}",
    "{]",
    "{\"a\":[1}",
    "{\"a\":[}]}",
    "{\"a\":1}//",
    "{\"a\":1}#",
    r#"{"a":["""#,
    r#"{"a":[1,"#,
    r#"{"a":"a"#,
    r#"{"a":"x"]"#,
    r#"{"a":"\\\"}"#,
    r#"{"a":"\"}"#,
    r#"{"a":1}/**/"#,
    r#"{"a":[3[4]}"#,
    r#"{[: "x"}"#,
];

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

#[test]
fn a_text_that_is_no_object_is_refused_in_every_place() {
    let world = World::new(&options());
    for text in [
        "42", "-0.1", "\"asd\"", "\"\"", "true", "false", "null", "[]", "[{}]", "[[]]", "[1]",
    ] {
        for (content_type, body) in [
            (JSON, format!("[{{}},{text},{{}}]")),
            (NDJSON, format!("{{}}\n{text}\n{{}}\n")),
        ] {
            let outcome = world.post("/wh/mail", content_type, &body);
            assert_eq!(
                (outcome.status, outcome.rows.len(), outcome.codes),
                (200, 2, vec!["not-an-object"]),
                "{body}: {}",
                outcome.body
            );
        }
        if !text.starts_with('[') {
            let alone = world.post("/wh/mail", JSON, text);
            assert_eq!((alone.status, alone.rows.len()), (400, 0), "{text}");
        }
    }
}

#[test]
fn no_bytes_in_place_of_json_are_an_event() {
    let world = World::new(&options());
    let deep = "[".repeat(100_000);
    let pairs = "[{\"\":".repeat(50_000);
    for body in [
        // A byte order mark alone, and a part of one.
        &b"\xef\xbb\xbf"[..],
        b"\xef\xbb{}",
        b"\xff\xfe",
        b"\xe9",
        b"<.>",
        b"\xe2\x81\xa0",
        b"\x0c{}",
        b"{\"a\":1\xff}",
        b"{\xb9\"0\":\"0\",}",
        b"[\xff]",
        b"[a\xe5]",
        b"]",
        b"[}",
        b"[\\{",
        b"[1]]",
        b"*",
        b"2@",
        b"{}}",
        b"\"",
        deep.as_bytes(),
        pairs.as_bytes(),
    ] {
        let outcome = world.post_bytes(&[("Content-Type", JSON)], body);
        let start = &body[..body.len().min(20)];
        assert_eq!(outcome.rows, [""; 0], "{start:?}: {}", outcome.body);
        assert_eq!(outcome.status, 400, "{start:?}: {}", outcome.body);
    }
}
