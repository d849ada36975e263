//! Compares the reader with serde_json, and checks the position of each error.

#![allow(clippy::unwrap_used, clippy::panic)]

use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

/// Documents that together cover the whole grammar.
const CORPUS: &[&str] = &[
    "null",
    " true ",
    "false",
    "0",
    "-0",
    "-12.50e+3",
    "1E9",
    "9007199254740993",
    r#""""#,
    r#""plain text""#,
    r#""\"\\\/\b\f\n\r\t\u0041\u00e9\ud83d\ude00 é 😀""#,
    "[]",
    "[ [ ] , { } , 1 ]",
    "{}",
    r#"{"a":1,"b":[true,false,null],"c":{"d":"e","":-0.0}}"#,
    "\n{\t\"k\" :\r[1,2 , 3] }\n",
    r#"{"event":"open","opened_at":"2024-02-29 12:13:14","tags":["a","b\n"],"n":{"a":{"b":1.5e300}},"a":null}"#,
];

/// Builds the tree of a document with every method of the reader but `skip`.
fn tree(json: &mut Reader<'_>) -> Result<Value, Error> {
    Ok(match json.peek()? {
        Kind::Null => json.null().map(|()| Value::Null)?,
        Kind::Bool => json.bool().map(Value::Bool)?,
        Kind::Number => match json.small_integer() {
            Some(integer) if integer != 0 => integer.into(),
            // serde_json reads `-0` as a float.
            Some(_) => serde_json::from_str(if json.text[..json.at].ends_with("-0") {
                "-0"
            } else {
                "0"
            })
            .unwrap(),
            None => serde_json::from_str(json.number()?).unwrap_or(Value::Null),
        },
        Kind::String => json.string()?.into(),
        Kind::Array => {
            let mut elements = Vec::new();
            json.begin_array()?;
            while json.next_element()? {
                elements.push(tree(json)?);
            }
            elements.into()
        }
        Kind::Object => {
            let mut entries = serde_json::Map::new();
            json.begin_object()?;
            while let Some(key) = json.next_key()? {
                entries.insert(key.into_owned(), tree(json)?);
            }
            entries.into()
        }
    })
}

fn read(text: &str) -> Result<Value, Error> {
    let mut json = Reader::new(text);
    let value = tree(&mut json)?;
    json.end()?;
    Ok(value)
}

fn skip(text: &str) -> Result<(), Error> {
    let mut json = Reader::new(text);
    json.skip()?;
    json.end()
}

fn problem(text: &str) -> (usize, ErrorKind) {
    let error = read(text).unwrap_err();
    assert_eq!(skip(text).unwrap_err(), error, "{text}");
    (error.at, error.kind)
}

/// Checks that both ways of reading agree with serde_json. serde_json may refuse text that this
/// reader accepts only in two cases: lone surrogates, and numbers that overflow an f64.
fn agrees_with_serde_json(text: &str) {
    let ours = read(text);
    assert_eq!(skip(text), ours.as_ref().map(drop).map_err(|error| *error), "{text}");
    match serde_json::from_str::<Value>(text) {
        Ok(theirs) => assert_eq!(ours.unwrap(), theirs, "{text}"),
        Err(_) => assert_eq!(ours.is_ok(), serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text}"),
    }
}

#[test]
fn the_corpus_and_its_mutations_agree_with_serde_json() {
    // A multiplicative generator: no dependency, and the same documents in each run.
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut random = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    const PIECES: &[&str] = &[
        "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "1", "-", "+", ".", "e", "null", "true", " ", "\n", "\u{1}",
        "é", "\\u", "\\ud800", "\\udc00", "00", "//", "😀", "\u{7f}", "\u{a0}",
    ];
    for document in CORPUS {
        agrees_with_serde_json(document);
        for cut in (0..document.len()).filter(|&cut| document.is_char_boundary(cut)) {
            agrees_with_serde_json(&document[..cut]);
        }
        for _ in 0..3000 {
            let mut text: Vec<char> = document.chars().collect();
            for _ in 0..=random(3) {
                let at = random(text.len() + 1);
                let until = (at + random(3)).min(text.len());
                text.splice(at..until, PIECES[random(PIECES.len())].chars());
            }
            agrees_with_serde_json(&text.into_iter().collect::<String>());
        }
    }
}

#[test]
fn skip_unchecked_ends_where_skip_does() {
    for text in CORPUS {
        for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)) {
            // Whole values and values cut at any position, followed by text that may follow a
            // value.
            for after in ["", ",", "]", " }"] {
                let text = format!("{}{after}", &text[..end]);
                let (mut checked, mut unchecked) = (Reader::new(&text), Reader::new(&text));
                let result = unchecked.skip_unchecked();
                if checked.skip().is_ok() {
                    assert_eq!((result, unchecked.position()), (Ok(()), checked.position()), "{text}");
                }
            }
        }
    }
    for broken in ["[", "{\"a\":[}", "\"a", "\"a\\", "", " ", "]"] {
        assert!(Reader::new(broken).skip_unchecked().is_err(), "{broken}");
    }
}

#[test]
fn an_error_has_its_position_and_kind() {
    use ErrorKind::*;

    assert_eq!(problem(""), (0, UnexpectedEnd));
    assert_eq!(problem(r#"{"a":"#), (5, UnexpectedEnd));
    assert_eq!(problem(r#"{"a" 1}"#), (5, ExpectedColon));
    assert_eq!(problem(r#"{"a":1 "b":2}"#), (7, ExpectedComma));
    assert_eq!(problem(r#"{"a":1,}"#), (7, ExpectedKey));
    assert_eq!(problem("[1,]"), (3, ExpectedValue));
    assert_eq!(problem("[01]"), (2, InvalidNumber));
    assert_eq!(problem("[1.]"), (3, InvalidNumber));
    assert_eq!(problem("[1e+]"), (4, InvalidNumber));
    assert_eq!(problem(r#"["\x"]"#), (3, InvalidEscape));
    assert_eq!(problem(r#"["\u12"]"#), (3, InvalidEscape));
    assert_eq!(problem("\"a\nb\""), (2, ControlCharacter));
    assert_eq!(problem("null null"), (5, TrailingText));
    assert_eq!(problem("nul"), (0, ExpectedValue));
    assert_eq!(
        read("{\n \"é\": x}").unwrap_err().line_and_column("{\n \"é\": x}"),
        (2, 7)
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let bound = usize::from(MAX_DEPTH);
    assert!(read(&nested(bound)).is_ok());
    assert_eq!(problem(&nested(bound + 1)), (bound, ErrorKind::TooDeep));
    assert_eq!(skip(&"[".repeat(1_000_000)).unwrap_err().kind, ErrorKind::TooDeep);
    // A skipped value counts its depth from the depth around it.
    let mut json = Reader::new("[[[]]]");
    json.depth = MAX_DEPTH - 2;
    assert_eq!(json.skip().unwrap_err().kind, ErrorKind::TooDeep);
}

#[test]
fn seek_returns_from_inside_a_value() {
    let mut json = Reader::new(r#"{"a":[[1,"x"]],"b":2}"#);
    json.begin_object().unwrap();
    assert_eq!(json.next_key().unwrap().unwrap(), "a");
    let before = json.position();
    json.begin_array().unwrap();
    assert!(json.next_element().unwrap());
    json.begin_array().unwrap();
    json.seek(before);
    assert_eq!(json.raw_value().unwrap(), r#"[[1,"x"]]"#);
    assert_eq!(json.next_key().unwrap().unwrap(), "b");
    assert_eq!(json.small_integer(), Some(2));
    assert_eq!(json.next_key().unwrap(), None);
    json.end().unwrap();
}

#[test]
fn a_raw_value_is_the_slice_itself() {
    let mut json = Reader::new(" {\"k\" : [ 1 ,\"\\u0041\" ] } ,");
    assert_eq!(json.raw_value().unwrap(), "{\"k\" : [ 1 ,\"\\u0041\" ] }");
}

#[test]
fn only_short_integers_use_the_fast_path() {
    let short = |text| Reader::new(text).small_integer();
    assert_eq!(short("0"), Some(0));
    assert_eq!(short("-7]"), Some(-7));
    assert_eq!(short("999999999999999999,"), Some(999_999_999_999_999_999));
    for other in ["1000000000000000000", "1.0", "1e1", "01", "-", "", "1x", "\"1\""] {
        assert_eq!(short(other), None, "{other}");
    }
}
