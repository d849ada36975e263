//! Recorded results of the real `qs`, and a check that the work stays near-linear.

#![allow(clippy::unwrap_used)]

use std::{fmt::Write, time::Duration};

use nix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::{Map, json};

use super::*;

fn arena() -> &'static Arena {
    Box::leak(Box::default())
}

fn from_query(query: &str) -> Fields<'_> {
    Fields::from_query(query, arena())
}

fn from_body(body: &str) -> Fields<'_> {
    Fields::from_body(body, arena())
}

fn value_of(fields: &Fields<'_>) -> serde_json::Value {
    match fields {
        Fields::Flat(pairs) => {
            let object: Map<_, _> = pairs
                .iter()
                .map(|(name, value)| (name.to_string(), json!(value)))
                .collect();
            assert_eq!(object.len(), pairs.len(), "a flat list has each name once");
            object.into()
        }
        Fields::Tree(tree) => serde_json::from_str(tree.json()).unwrap(),
    }
}

/// A text, and the results of the real `qs` for it as a query and as a body.
#[derive(Deserialize)]
struct Case {
    text: String,
    query: serde_json::Value,
    body: serde_json::Value,
}

/// The recorded results that differ here on purpose: the text, a part of the recorded result, and its
/// replacement. The real `qs` decodes nothing of a value with one malformed sequence.
const DEVIATIONS: [(&str, &str, &str); 1] = [("a=%&b=%ff&c=%D0%BF+x%zz", "%D0%BF x%zz", "п x%zz")];

#[test]
fn reads_as_the_recorded_qs_does() {
    let cases = include_str!("../../../tests/golden/09_qs_cases.jsonl");
    let mut count = 0;
    let mut deviations = 0;
    for line in cases.lines() {
        let mut case: Case = serde_json::from_str(line).unwrap();
        for (_, recorded, ours) in DEVIATIONS.iter().filter(|(text, ..)| *text == case.text) {
            for fields in [&mut case.query, &mut case.body] {
                *fields = serde_json::from_str(&fields.to_string().replace(recorded, ours)).unwrap();
            }
            deviations += 1;
        }
        assert_eq!(value_of(&from_query(&case.text)), case.query, "query {}", case.text);
        assert_eq!(value_of(&from_body(&case.text)), case.body, "body {}", case.text);
        count += 1;
    }
    assert!(count > 500);
    assert_eq!(deviations, DEVIATIONS.len());
}

#[test]
fn borrows_text_without_codes() {
    let query = "event=open&email=bob@example.com&k&=x&&l=";
    let Fields::Flat(pairs) = from_query(query) else {
        unreachable!("there is neither a bracket nor a repeated name");
    };
    let expected = [("event", "open"), ("email", "bob@example.com"), ("k", ""), ("l", "")];
    assert_eq!(pairs.len(), expected.len());
    for ((name, value), expected) in pairs.iter().zip(expected) {
        let is_part = |text: &str| text.is_empty() || query.as_bytes().as_ptr_range().contains(&text.as_ptr());
        assert!(is_part(name) && is_part(value));
        assert_eq!((*name, *value), expected);
    }
}

#[test]
fn keeps_malformed_codes() {
    let cases = [
        ("a=%", "%"),
        ("a=%4", "%4"),
        ("a=50%+off", "50% off"),
        ("a=%zz%41", "%zzA"),
        ("a=%41%4", "A%4"),
        ("a=%ff", "%ff"),
        ("a=%D0%BF+%D0", "п %D0"),
        ("a=%D0\u{43f}%D0%BF", "%D0пп"),
        ("a=%ED%A0%80", "%ED%A0%80"),
        ("a=%+1", "% 1"),
        ("a=%%32%35", "%25"),
        // A text in windows-1251, in a URL with sequences of UTF-8.
        (
            "a=https%3A%2F%2Fx%2F%3Fq%3D%CF%F0%E8%26b%3D1",
            "https://x/?q=%CF%F0%E8&b=1",
        ),
        ("a=https%3A%2F%2Fx%2F%3Fq%3D50%", "https://x/?q=50%"),
        ("a=%E2%82%AC%E2%82%D0%BF", "€%E2%82п"),
        ("a=%00%0d%0A", "\0\r\n"),
        ("a=%d0%bf+\u{43f}", "п п"),
    ];
    for (text, value) in cases {
        assert_eq!(from_query(text).text("a"), Some(value), "{text}");
    }
}

#[test]
fn accepts_names_of_the_object_prototype() {
    let fields = from_query("constructor=1&__proto__=2&toString=3");
    assert_eq!(fields.text("constructor"), Some("1"));
    assert_eq!(fields.text("__proto__"), Some("2"));
    let nested = value_of(&from_query("a[__proto__][b]=1&a[constructor]=2"));
    assert_eq!(nested["a"]["__proto__"], json!({"b": "1"}));
    assert_eq!(nested["a"]["constructor"], "2");
}

#[test]
fn reads_top_level_names_of_a_tree() {
    let fields = from_query("a=1&uid=5&uid=6&b[c]=2&d%20e=3");
    assert_eq!(fields.text("a"), Some("1"));
    assert_eq!(fields.text("d e"), Some("3"));
    assert_eq!((fields.text("uid"), fields.contains("uid")), (None, true));
    assert_eq!((fields.text("b"), fields.contains("b")), (None, true));
    assert_eq!((fields.text("c"), fields.contains("c")), (None, false));
    assert_eq!(from_query(""), Fields::Flat(&[]));
    assert_eq!(from_query("&&=1&="), Fields::Flat(&[]));
}

#[test]
fn escapes_every_character_in_json() {
    let text = "a=1&a=%22%5C%0A%00%F0%9F%98%80&%22=x";
    assert_eq!(
        value_of(&from_query(text)),
        json!({"a": ["1", "\"\\\n\0😀"], "\"": "x"})
    );
}

#[test]
fn accepts_more_than_a_thousand_fields() {
    let text: String = (0..10_000).fold(String::new(), |mut text, n| {
        let _ = write!(text, "k{n}={n}&");
        text
    });
    let Fields::Flat(pairs) = from_query(&text) else {
        unreachable!("no name is repeated");
    };
    assert_eq!(pairs.len(), 10_000);
    assert_eq!(pairs[9_999].1, "9999");
}

#[test]
fn percent_encoded_brackets_nest_in_either_case() {
    for text in ["a[b]=1", "a%5Bb%5D=1", "a%5bb%5d=1", "a[b%5d=1"] {
        assert_eq!(value_of(&from_query(text)), json!({"a": {"b": "1"}}), "{text}");
    }
    // Brackets in a value are literal.
    assert_eq!(value_of(&from_query("a=%5bb%5d")), json!({"a": "[b]"}));
}

#[test]
fn survives_brackets_that_do_not_match() {
    for text in [
        "[",
        "]",
        "a[",
        "a]=1",
        "a[b=1",
        "a[b=]=1",
        "a[[b]=1",
        "a]b[=1",
        "[]",
        "[]=",
        "[[]]=1",
        "a=[]=&[=]",
    ] {
        value_of(&from_query(text));
        value_of(&from_body(text));
    }
    let open = "[".repeat(100_000);
    assert_eq!(value_of(&from_query(&open))[&open], "");
}

/// Each text has about 100 kB to 200 kB; quadratic work on any of them takes far longer than the
/// limit.
#[test]
fn runs_in_near_linear_time() {
    let many = |count: usize, field: &dyn Fn(usize) -> String| (0..count).map(field).collect::<String>();
    let texts = [
        "a".to_owned() + &"[a]".repeat(33_000),
        "[".repeat(100_000),
        "[]".repeat(50_000),
        "%5B".repeat(33_000),
        many(10_000, &|n| format!("k{n}=&")),
        many(20_000, &|_| "a=1&".to_owned()),
        many(20_000, &|_| "a[]=1&".to_owned()),
        many(10_000, &|n| format!("a[{n}]=1&")),
        many(10_000, &|n| format!("a[x{n}]=1&")),
        many(10_000, &|n| format!("a[]=1&a[x{n}]=2&")),
        many(10_000, &|n| format!("a=1&a[{}]=2&", n % 21)),
        many(10_000, &|n| format!("a[][k{n}]=1&")),
        many(10_000, &|n| format!("a[0][{}]=1&[a]={n}&", n % 30)),
        many(3_000, &|n| format!("a[b][c][d][e][f][g{n}]=1&")),
        many(10_000, &|n| format!("{n}[]=1&[]={n}&")),
        "&".repeat(100_000),
        "]=".repeat(50_000),
        "a=".to_owned() + &"%D0".repeat(60_000),
        "a=".to_owned() + &"%41%".repeat(40_000),
        many(10_000, &|n| format!("k{n}=%&amp;")),
        "&".to_owned() + &"amp;".repeat(50_000),
    ];
    // The CPU time of this thread does not depend on other processes.
    let own_time = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let started = own_time();
    for text in &texts {
        from_query(text);
        from_body(text);
    }
    let elapsed = own_time() - started;
    assert!(elapsed < Duration::from_secs(6), "{elapsed:?}");
}
