//! The intended deviations from the original in answers and recorded events.

use serde_json::{Map, Value, json};

use super::{
    answer::Seen,
    recordings::{Record, Recording},
};

/// An intended deviation from the recordings.
struct Deviation {
    /// All recordings with the deviation.
    cases: &'static [&'static str],
    /// The program's behavior; each entry makes a difference in each of the cases.
    ours: &'static [Ours],
    reason: &'static str,
}

/// All recordings in which the deviation makes a difference, at least one.
const WHEREVER: &[&str] = &[];

/// A replacement for a part of a recording.
#[derive(Debug)]
enum Ours {
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

use Ours::{AnswerOf, Body, Event, Extra, FullKey, Header, Headers, HeadersOf, NoEvent, Status};

#[rustfmt::skip]
const DEVIATIONS: &[Deviation] = &[
    Deviation {
        cases: WHEREVER,
        ours: &[FullKey],
        reason: "the documentation of the original promises the full key",
    },
    Deviation {
        cases: &["/img/mail"],
        ours: &[AnswerOf("/gif/mail --output -")],
        reason: "the documentation of the original has `img` among the pixels",
    },
    Deviation {
        cases: &["/away/mail?to=//evil.com"],
        ours: &[
            Status(400),
            HeadersOf("/redir/mail?event=click"),
            Body(r#"{"message":"Bad Request","reason":"parameter \"to\" must begin with http:// or https://"}"#),
        ],
        reason: "no open redirect",
    },
    Deviation {
        cases: &["/coffee"],
        ours: &[Header("x-my-name", "Rowmill")],
        reason: "another name",
    },
    Deviation {
        cases: &["/lib.js"],
        ours: &[Body(";window[\"rstat4\"]&&window[\"rstat4\"]('configure',{\"initialUid\":\"<id>\",\"urlMark\":\"band\"});\
                      ;window[\"rstat\"]&&window[\"rstat\"]('configure',{\"initialUid\":\"<id>\",\"urlMark\":\"band\"});\n")],
        reason: "the library listens to `rstat`; its code is not ours to send",
    },
    Deviation {
        cases: &["/ -o /dev/null -D -"],
        ours: &[Headers(&[
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("content-length", "<length>"),
        ])],
        reason: "a page of our own, which knows no visitor",
    },
    Deviation {
        cases: &["all in query"],
        ours: &[Headers(&[("content-type", "text/html; charset=utf-8"), ("content-length", "<length>")])],
        reason: "a page of our own, which knows no visitor",
    },
    Deviation {
        cases: &["body only root path"],
        ours: &[
            Header("content-type", "application/json"),
            Header("content-length", "<length>"),
            Body(r#"{"key":"in.gen.wh.mail","id":"<id>"}"#),
            Event(r#"{"service":"wh","name":"mail","channel":"http","projectId":3,"td":{"ip":"127.0.0.1"},"data":{}}"#),
        ],
        reason: "who posts to `/` does not ask for a page; the event was lost",
    },
    Deviation {
        cases: &["bad json", "empty json", "bad ctype header", "unknown charset", "bom json", "gzip body"],
        ours: &[HeadersOf("double slash")],
        reason: "without the headers of all other answers a page could not read why",
    },
    Deviation {
        cases: &["bad json"],
        ours: &[Body(r#"{"message":"Bad Request","reason":"the body is not JSON: expected a key in double quotes (line 1, column 2)"}"#)],
        reason: "says why",
    },
    Deviation {
        cases: &["empty json"],
        ours: &[Body(r#"{"message":"Bad Request","reason":"the body is empty, but its type is JSON"}"#)],
        reason: "says why",
    },
    Deviation {
        cases: &["bad ctype header"],
        ours: &[Body(r#"{"message":"Bad Request","reason":"the Content-Type header is malformed"}"#)],
        reason: "says why",
    },
    Deviation {
        cases: &["unknown charset"],
        ours: &[Body(r#"{"message":"Bad Request","reason":"the charset of the Content-Type header is unknown"}"#)],
        reason: "says why",
    },
    Deviation {
        cases: &["bom json"],
        ours: &[Body(r#"{"message":"Bad Request","reason":"the body begins with a byte order mark, which JSON does not allow"}"#)],
        reason: "says why",
    },
    Deviation {
        cases: &["gzip body"],
        ours: &[Body(r#"{"message":"Bad Request","reason":"compressed bodies are not accepted; send it without Content-Encoding"}"#)],
        reason: "says why",
    },
    Deviation {
        cases: &["multipart"],
        ours: &[
            Status(415),
            Body(r#"{"message":"Unsupported Media Type","reason":"multipart bodies are not accepted; send JSON or a urlencoded form"}"#),
            NoEvent,
        ],
        reason: "the original took the separators for the name of a field",
    },
    Deviation {
        cases: &["json array"],
        ours: &[
            Status(400),
            Body(r#"{"message":"Bad Request","reason":"expected a JSON object, got an array"}"#),
            NoEvent,
        ],
        reason: "the original recorded an event without any field",
    },
    Deviation {
        cases: &["json number"],
        ours: &[
            Status(400),
            Body(r#"{"message":"Bad Request","reason":"expected a JSON object, got a number"}"#),
            NoEvent,
        ],
        reason: "the original recorded an event without any field",
    },
    Deviation {
        cases: &["json null"],
        ours: &[
            Status(400),
            Body(r#"{"message":"Bad Request","reason":"expected a JSON object, got null"}"#),
            NoEvent,
        ],
        reason: "the original recorded an event without any field",
    },
    Deviation {
        cases: &["json string"],
        ours: &[
            Status(400),
            Body(r#"{"message":"Bad Request","reason":"expected a JSON object, got a string"}"#),
            NoEvent,
        ],
        reason: "the original recorded an event without any field",
    },
    Deviation {
        cases: &["json w/out content-type", "json text/plain", ".gif ext with JSON ctype", "json upper ctype"],
        ours: &[Event(r#"{"data":{"event":"b"}}"#)],
        reason: "what begins with a brace is JSON; the original took all of it for the name of a field",
    },
    Deviation {
        cases: &["query.service overrides path"],
        ours: &[
            Body(r#"{"key":"in.gen.wh.mail","id":"<id>"}"#),
            Event(r#"{"key":"in.gen.wh.mail","service":"wh","data":{}}"#),
            Extra("service", "zz"),
        ],
        reason: "a path that names a declared destination is that destination; a field of the event led it elsewhere",
    },
    Deviation {
        cases: &["query.name does not override path"],
        ours: &[Extra("name", "zz")],
        reason: "what a client says under a reserved name is kept, unless it only repeats the collector's value",
    },
];

/// The expected behavior of the program.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    pub answer: Seen,
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
    for Deviation { cases, ours, reason } in DEVIATIONS {
        for case in *cases {
            find(recordings, case);
        }
        let mut changes = 0;
        for (recording, expected) in recordings.iter().zip(&mut expected) {
            let is_named = cases.contains(&recording.name.as_str());
            if !is_named && *cases != WHEREVER {
                continue;
            }
            for ours in *ours {
                let before = expected.clone();
                expected.apply(ours, recordings);
                let is_changed = *expected != before;
                assert!(
                    is_changed || !is_named,
                    "{}: no deviation ({reason}): {ours:?}",
                    recording.name
                );
                changes += usize::from(is_changed);
            }
        }
        assert!(changes > 0, "no deviation anywhere: {reason}");
    }
    expected
}

fn find<'r>(recordings: &'r [Recording], name: &str) -> &'r Seen {
    let found = recordings.iter().find(|recording| recording.name == name);
    &found.unwrap_or_else(|| panic!("there is no recording {name:?}")).answer
}

impl Expected {
    fn apply(&mut self, ours: &Ours, recordings: &[Recording]) {
        let answer = &mut self.answer;
        match ours {
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
