//! The intended deviations from the original in answers and recorded events.

use serde_json::{Map, Value, json};

use super::{
    answer::NormalizedAnswer,
    recordings::{Record, Recording},
};

/// An intended deviation from the recordings.
struct Deviation {
    /// All recordings with the deviation.
    cases: &'static [&'static str],
    /// The program's behavior; each entry makes a difference in each of the cases.
    replacements: &'static [Replacement],
    reason: &'static str,
}

/// All recordings in which the deviation makes a difference, at least one.
const ANY_CASE: &[&str] = &[];

/// A replacement for a part of a recording.
#[derive(Debug)]
enum Replacement {
    Status(u16),
    /// The value of a header that both answers have.
    Header(&'static str, &'static str),
    /// All headers.
    Headers(&'static [(&'static str, &'static str)]),
    /// The headers of another recording.
    HeadersOf(&'static str),
    Body(&'static str),
    /// The whole answer of another recording.
    AnswerOf(&'static str),
    /// `in.gen.<service>.<name>` instead of the branch in the original's tree.
    FullKey,
    /// Fields of the event; the other fields stay as recorded.
    Event(&'static str),
    NoEvent,
    /// One more pair in the row's extra.
    Extra(&'static str, &'static str),
}

use Replacement::{AnswerOf, Body, Event, Extra, FullKey, Header, Headers, HeadersOf, NoEvent, Status};

#[rustfmt::skip]
const DEVIATIONS: &[Deviation] = &[
    Deviation {
        cases: ANY_CASE,
        replacements: &[FullKey],
        reason: "the documentation of the original promises the full key",
    },
    Deviation {
        cases: &["/img/mail"],
        replacements: &[AnswerOf("/gif/mail --output -")],
        reason: "the documentation of the original has `img` among the pixels",
    },
    Deviation {
        cases: &["/away/mail?to=//evil.com"],
        replacements: &[
            Status(400),
            HeadersOf("/redir/mail?event=click"),
            Body(r#"{"message":"Bad Request","reason":"parameter \"to\" must begin with http:// or https://"}"#),
        ],
        reason: "no open redirect",
    },
    Deviation {
        cases: &["-I /wh/mail"],
        replacements: &[Status(200), Header("content-length", "<length>")],
        reason: "senders of webhooks check an address with HEAD before they use it",
    },
    Deviation {
        cases: &["/coffee"],
        replacements: &[Header("x-my-name", "Rowmill")],
        reason: "another name",
    },
    Deviation {
        cases: &["/lib.js"],
        replacements: &[Body(";window[\"rstat4\"]&&window[\"rstat4\"]('configure',{\"initialUid\":\"<id>\",\"urlMark\":\"band\"});\
                      ;window[\"rstat\"]&&window[\"rstat\"]('configure',{\"initialUid\":\"<id>\",\"urlMark\":\"band\"});\n")],
        reason: "the library listens to `rstat`; the original's code is not part of this program",
    },
    Deviation {
        cases: &["/ -o /dev/null -D -"],
        replacements: &[Headers(&[
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("content-length", "<length>"),
        ])],
        reason: "a different page, which sets no cookie for the visitor",
    },
    Deviation {
        cases: &["all in query"],
        replacements: &[Headers(&[("content-type", "text/html; charset=utf-8"), ("content-length", "<length>")])],
        reason: "a different page, which sets no cookie for the visitor",
    },
    Deviation {
        cases: &["body only root path"],
        replacements: &[
            Header("content-type", "application/json"),
            Header("content-length", "<length>"),
            Body(r#"{"key":"in.gen.wh.mail","id":"<id>"}"#),
            Event(r#"{"service":"wh","name":"mail","channel":"http","projectId":3,"td":{"ip":"127.0.0.1"},"data":{}}"#),
        ],
        reason: "a POST to `/` does not request a page; the original lost the event",
    },
    Deviation {
        cases: &["bad json", "empty json", "bad ctype header", "unknown charset", "bom json", "gzip body"],
        replacements: &[HeadersOf("double slash")],
        reason: "without the headers of all other answers, a page could not read the reason",
    },
    Deviation {
        cases: &["bad json"],
        replacements: &[Body(r#"{"message":"Bad Request","reason":"the body is not JSON: expected a key in double quotes (line 1, column 2)"}"#)],
        reason: "the answer contains a reason",
    },
    Deviation {
        cases: &["empty json"],
        replacements: &[Body(r#"{"message":"Bad Request","reason":"the body is empty, but its type is JSON"}"#)],
        reason: "the answer contains a reason",
    },
    Deviation {
        cases: &["bad ctype header"],
        replacements: &[Body(r#"{"message":"Bad Request","reason":"the Content-Type header is malformed"}"#)],
        reason: "the answer contains a reason",
    },
    Deviation {
        cases: &["unknown charset"],
        replacements: &[Body(r#"{"message":"Bad Request","reason":"the charset of the Content-Type header is unknown"}"#)],
        reason: "the answer contains a reason",
    },
    Deviation {
        cases: &["bom json"],
        replacements: &[
            Status(200),
            Body(r#"{"key":"in.gen.wh.mail","id":"<id>"}"#),
            Event(r#"{"key":"in.gen.wh.mail","service":"wh","name":"mail","channel":"http","projectId":0,"td":{"ip":"127.0.0.1"},"data":{"a":1}}"#),
        ],
        reason: "senders on Windows write the mark; the original refused the body",
    },
    Deviation {
        cases: &["gzip body"],
        replacements: &[Body(r#"{"message":"Bad Request","reason":"the body is not what its Content-Encoding states, or its end is missing"}"#)],
        reason: "the answer contains a reason",
    },
    Deviation {
        cases: &["multipart"],
        replacements: &[Event(r#"{"data":{"a":"1"}}"#)],
        reason: "the parts of a form are fields; the original read the separators as the name of a field",
    },
    Deviation {
        cases: &["json array"],
        replacements: &[
            Status(400),
            Body(
                r#"{"key":"in.gen.wh.mail","recorded":0,"refused":2,"errors":[{"index":0,"reason":"expected a JSON object, got a number"},{"index":1,"reason":"expected a JSON object, got a number"}]}"#,
            ),
            NoEvent,
        ],
        reason: "each element is an event; the original recorded one event without any field",
    },
    Deviation {
        cases: &["json number"],
        replacements: &[
            Status(400),
            Body(r#"{"message":"Bad Request","reason":"expected a JSON object, got a number"}"#),
            NoEvent,
        ],
        reason: "the original recorded an event without any field",
    },
    Deviation {
        cases: &["json null"],
        replacements: &[
            Status(400),
            Body(r#"{"message":"Bad Request","reason":"expected a JSON object, got null"}"#),
            NoEvent,
        ],
        reason: "the original recorded an event without any field",
    },
    Deviation {
        cases: &["json string"],
        replacements: &[
            Status(400),
            Body(r#"{"message":"Bad Request","reason":"expected a JSON object, got a string"}"#),
            NoEvent,
        ],
        reason: "the original recorded an event without any field",
    },
    Deviation {
        cases: &["json w/out content-type", "json text/plain", ".gif ext with JSON ctype", "json upper ctype"],
        replacements: &[Event(r#"{"data":{"event":"b"}}"#)],
        reason: "a body that begins with a brace is JSON; the original read it as the name of a field",
    },
    Deviation {
        cases: &["query.service overrides path"],
        replacements: &[
            Body(r#"{"key":"in.gen.wh.mail","id":"<id>"}"#),
            Event(r#"{"key":"in.gen.wh.mail","service":"wh","data":{}}"#),
            Extra("service", "zz"),
        ],
        reason: "a declared path determines the destination; in the original, a field of the event changed it",
    },
    Deviation {
        cases: &["query.name does not override path"],
        replacements: &[Extra("name", "zz")],
        reason: "a client's value under a reserved name is kept, unless it equals the collector's value",
    },
];

/// The expected behavior of the program.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    pub answer: NormalizedAnswer,
    pub record: Record,
    /// A pair in the row's extra that the original would not put there.
    pub extra: Option<(&'static str, &'static str)>,
}

/// Returns the expected behavior of the program: the recordings with all deviations applied.
///
/// # Panics
/// If an entry of the table makes no difference.
pub fn with_deviations(recordings: &[Recording]) -> Vec<Expected> {
    let expected = recordings.iter().map(|recording| Expected {
        answer: recording.answer.clone(),
        record: recording.record.clone(),
        extra: None,
    });
    let mut expected: Vec<_> = expected.collect();
    for Deviation {
        cases,
        replacements,
        reason,
    } in DEVIATIONS
    {
        for case in *cases {
            find(recordings, case);
        }
        let mut changes = 0;
        for (recording, expected) in recordings.iter().zip(&mut expected) {
            let is_named = cases.contains(&recording.name.as_str());
            if !is_named && *cases != ANY_CASE {
                continue;
            }
            for replacement in *replacements {
                let before = expected.clone();
                expected.apply(replacement, recordings);
                let is_changed = *expected != before;
                assert!(
                    is_changed || !is_named,
                    "{}: no deviation ({reason}): {replacement:?}",
                    recording.name
                );
                changes += usize::from(is_changed);
            }
        }
        assert!(changes > 0, "no deviation anywhere: {reason}");
    }
    expected
}

fn find<'r>(recordings: &'r [Recording], name: &str) -> &'r NormalizedAnswer {
    let found = recordings.iter().find(|recording| recording.name == name);
    &found.unwrap_or_else(|| panic!("there is no recording {name:?}")).answer
}

impl Expected {
    fn apply(&mut self, replacement: &Replacement, recordings: &[Recording]) {
        let answer = &mut self.answer;
        match replacement {
            Status(status) => answer.status = *status,
            Header(name, value) => {
                let header = answer.headers.iter_mut().find(|(key, _)| key == name);
                (*value).clone_into(&mut header.unwrap().1);
            }
            Headers(headers) => {
                let headers = headers.iter();
                answer.headers = headers
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect();
            }
            HeadersOf(other) => answer.headers.clone_from(&find(recordings, other).headers),
            Body(body) => (*body).clone_into(&mut answer.body),
            AnswerOf(other) => answer.clone_from(find(recordings, other)),
            FullKey => {
                let key = match &self.record {
                    Record::Event(event) => event["key"].as_str().unwrap(),
                    _ => "in.gen.wh.mail",
                };
                answer.body = answer.body.replace(r#""key":"in.gen""#, &format!(r#""key":"{key}""#));
            }
            Event(fields) => {
                let fields: Map<String, Value> = serde_json::from_str(fields).unwrap();
                let mut event = match &self.record {
                    Record::Event(event) => event.clone(),
                    _ => json!({}),
                };
                event.as_object_mut().unwrap().extend(fields);
                self.record = Record::Event(event);
            }
            NoEvent => self.record = Record::None,
            Extra(key, value) => self.extra = Some((*key, *value)),
        }
    }
}
