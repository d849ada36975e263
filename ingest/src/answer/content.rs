//! The body of each answer, as plain JSON or as the native structure.

use std::fmt::{self, Write};

use bytes::{BufMut, Bytes};
use http::{HeaderValue, StatusCode};
use serde::{Serialize, Serializer};

use super::{Answer, ItemError, context::Context, text};
use crate::{answer::redirect::RedirectError, table::refusal::InvalidColumn};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const HTML: HeaderValue = HeaderValue::from_static("text/html");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const GIF: HeaderValue = HeaderValue::from_static("image/gif");
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript");

/// One transparent pixel.
pub(crate) static PIXEL: [u8; 43] = *b"GIF89a\x01\0\x01\0\x80\0\0\xff\xff\xff\xff\xff\xff!\xf9\x04\x01\n\0\x01\0,\0\0\0\0\x01\0\x01\0\0\x02\x02L\x01\0;";

/// The type and the bytes of a body.
type Content = (Option<HeaderValue>, Bytes);

/// Returns the body of an answer. Pages, the preflight and the teapot have fixed paths and no
/// native form.
pub(super) fn content(answer: &Answer<'_>, status: StatusCode, context: &Context<'_>) -> Content {
    let native = context.native;
    match answer {
        Answer::Recorded { service, name, id } if !native && is_plain(service) && is_plain(name) => {
            (Some(JSON), recorded(service, name, *id))
        }
        Answer::Recorded { service, name, id } => data(
            status,
            native,
            &Recorded {
                key: format_args!("in.gen.{service}.{name}"),
                id: *id,
            },
        ),
        Answer::Batch(report) => data(
            status,
            native,
            &Batch {
                key: format_args!("in.gen.{}.{}", report.service, report.name),
                recorded: report.recorded,
                duplicates: report.duplicates,
                refused: report.rejected,
                message: report
                    .failure
                    .as_ref()
                    .map(|failure| failure.status.canonical_reason().unwrap_or("Error")),
                reason: report.failure.as_ref().map(|failure| &*failure.reason),
                errors: &report.errors,
            },
        ),
        Answer::Fixed(answer) => answer.content(),
        Answer::Echo(field) if field.is_json => (Some(JSON), json(field)),
        Answer::Echo(field) => (Some(TEXT), Bytes::copy_from_slice(field.value.as_bytes())),
        Answer::Tracked { id } => data(status, native, &Tracked { id: *id }),
        Answer::Pong => data(status, native, &Message::of("pong")),
        Answer::Hi => data(status, native, &Message::of("hi")),
        Answer::Pixel if native => native_json(&WithoutData::Pixel {
            status: status.as_u16(),
            kind: "pixel",
            native,
        }),
        Answer::Pixel => (Some(GIF), Bytes::from_static(&PIXEL)),
        Answer::Redirect(location) if native => native_json(&WithoutData::Redirect {
            location: location.as_str(),
            status: status.as_u16(),
            native,
        }),
        Answer::Redirect(_) => (Some(HTML), Bytes::new()),
        Answer::InvalidRedirect(error @ RedirectError::Missing) => failure(status, native, Message::of(error.reason())),
        Answer::InvalidRedirect(error) => failure(
            status,
            native,
            Message {
                reason: Some(error.reason()),
                ..Message::of_status(status)
            },
        ),
        Answer::Failed { reason, .. } => failure(
            status,
            native,
            Message {
                reason: *reason,
                ..Message::of_status(status)
            },
        ),
        Answer::UnknownCoding(reason) => failure(
            status,
            native,
            Message {
                reason: Some(reason),
                ..Message::of_status(status)
            },
        ),
        Answer::InvalidColumns(refused) => failure(
            status,
            native,
            Message {
                refused,
                ..Message::of_status(status)
            },
        ),
        Answer::Unauthorized(_)
        | Answer::TooManyRequests { .. }
        | Answer::Unavailable { .. }
        | Answer::MethodNotAllowed { .. } => failure(status, native, Message::of_status(status)),
        Answer::Teapot => (Some(JSON), json(&Message::of_status(status))),
        Answer::Reachable => (Some(JSON).filter(|_| !native), Bytes::new()),
        Answer::Replies("") => (None, Bytes::new()),
        Answer::Replies(replies) => (Some(JSON), Bytes::copy_from_slice(replies.as_bytes())),
        Answer::Preflight(_) => (Some(JSON), Bytes::from_static(b"{}")),
        Answer::Library(script) => (Some(JAVASCRIPT), Bytes::from(library(context.uid) + script)),
    }
}

/// Returns whether a text needs no escapes in JSON.
fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// Returns the answer to most events: the JSON of [`Recorded`], at a tenth of the instructions.
fn recorded(service: &str, name: &str, id: u64) -> Bytes {
    text::write(|out| {
        for part in [
            r#"{"key":"in.gen."#,
            service,
            ".",
            name,
            r#"","id":""#,
            itoa::Buffer::new().format(id),
            r#""}"#,
        ] {
            out.put_slice(part.as_bytes());
        }
    })
}

/// Returns the calls that configure the browser library: under the global that Rockstat's collector
/// calls, and under the library's real one.
fn library(uid: u64) -> String {
    let mut script = String::new();
    for global in ["rstat4", "rstat"] {
        // Writing to a string cannot fail.
        let _ = write!(
            script,
            r#";window["{global}"]&&window["{global}"]('configure',{{"initialUid":"{uid}","urlMark":"band"}});"#
        );
    }
    script.push('\n');
    script
}

fn data<T: Serialize>(status: StatusCode, native: bool, data: &T) -> Content {
    if native {
        native_json(&Native::Data {
            status: status.as_u16(),
            data,
            native,
        })
    } else {
        (Some(JSON), json(data))
    }
}

fn failure(status: StatusCode, native: bool, failure: Message<'_>) -> Content {
    if native {
        let Message {
            message,
            reason,
            refused,
        } = failure;
        native_json(&WithoutData::Error {
            status: status.as_u16(),
            message,
            reason,
            refused,
            native,
        })
    } else {
        (Some(JSON), json(&failure))
    }
}

fn native_json<T: Serialize>(native: &Native<'_, T>) -> Content {
    (None, json(native))
}

fn json<T: Serialize>(body: &T) -> Bytes {
    text::write(|out| {
        // Writing to memory fails only if a `Serialize` returns an error, and none of those below
        // does.
        let _ = serde_json::to_writer(out.writer(), body);
    })
}

#[derive(Serialize)]
struct Recorded<'a> {
    key: fmt::Arguments<'a>,
    #[serde(serialize_with = "as_text")]
    id: u64,
}

#[derive(Serialize)]
struct Batch<'a> {
    key: fmt::Arguments<'a>,
    recorded: usize,
    #[serde(skip_serializing_if = "is_zero")]
    duplicates: usize,
    refused: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ItemError],
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Serialize)]
struct Tracked {
    #[serde(serialize_with = "as_text")]
    id: u64,
}

/// A message, with the details of a failure.
#[derive(Serialize)]
struct Message<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    refused: &'a [InvalidColumn],
}

impl<'a> Message<'a> {
    const fn of(message: &'a str) -> Self {
        Self {
            message,
            reason: None,
            refused: &[],
        }
    }

    fn of_status(status: StatusCode) -> Self {
        Self::of(status.canonical_reason().unwrap_or("Error"))
    }
}

/// The structure that `band` in a path asks for.
#[derive(Serialize)]
#[serde(tag = "type__", rename_all = "lowercase")]
enum Native<'a, T> {
    Data {
        #[serde(rename = "statusCode")]
        status: u16,
        data: &'a T,
        #[serde(rename = "native__")]
        native: bool,
    },
    Redirect {
        location: &'a str,
        #[serde(rename = "statusCode")]
        status: u16,
        #[serde(rename = "native__")]
        native: bool,
    },
    Pixel {
        #[serde(rename = "statusCode")]
        status: u16,
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(rename = "native__")]
        native: bool,
    },
    Error {
        #[serde(rename = "statusCode")]
        status: u16,
        #[serde(rename = "errorMessage")]
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        refused: &'a [InvalidColumn],
        #[serde(rename = "native__")]
        native: bool,
    },
}

type WithoutData<'a> = Native<'a, ()>;

/// Serializes an id as text, because a JavaScript number is exact up to 53 bits only.
fn as_text<S: Serializer>(id: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
