//! The text of an answer: Rockstat's structure, made of the response that a POST of the event has.

use std::borrow::Cow;

use http::{StatusCode, header, response::Parts};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::ack::ACK_HEADER;

/// The message for an event whose route is unknown; the words of Rockstat's collector.
const NO_ADDRESS: &str = "Request must contains \"service\" and \"name\"";

/// The reason why a message is refused before it is an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The message has the length of an array, but is not one.
    TooLong,
    /// The array has more events than allowed.
    TooManyEvents,
    /// The memory for requests is full.
    OutOfMemory,
}

impl Refusal {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::TooLong | Self::TooManyEvents => StatusCode::PAYLOAD_TOO_LARGE,
            Self::OutOfMemory => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "the message is longer than one event may be",
            Self::TooManyEvents => "an array may have at most 1000 events; POST longer ones",
            Self::OutOfMemory => "the memory for requests is full; send the message again later",
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Reply<'a> {
    #[serde(rename = "type__")]
    kind: &'static str,
    /// Always empty; Rockstat's collector sends it.
    headers: [(); 0],
    #[serde(rename = "statusCode")]
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    media: Option<&'static str>,
    #[serde(rename = "errorMessage", skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'a RawValue>,
    #[serde(rename = "retryAfter", skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u32>,
    /// The level that the event has reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    ack: Option<&'a str>,
    #[serde(rename = "id__", skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
}

/// The body of a response to a refused event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Failure<'a> {
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    refused: Option<&'a RawValue>,
}

/// Returns the answer to an event whose POST has this response.
pub(super) fn of_response(response: &Parts, body: &[u8], id: Option<&RawValue>) -> String {
    let text_of = |name| response.headers.get(name).and_then(|value| value.to_str().ok());
    let status = response.status;
    let reply = Reply {
        status: status.as_u16(),
        ack: text_of(ACK_HEADER),
        id,
        ..Reply::default()
    };
    if status.is_redirection() {
        return text(&Reply {
            kind: "redirect",
            location: text_of(header::LOCATION),
            ..reply
        });
    }
    if !status.is_success() {
        let failure: Failure<'_> = serde_json::from_slice(body).unwrap_or_default();
        let is_unknown = status == StatusCode::NOT_FOUND;
        return text(&Reply {
            kind: "error",
            status: if is_unknown { StatusCode::BAD_REQUEST } else { status }.as_u16(),
            message: match is_unknown {
                true => Some(NO_ADDRESS),
                false => failure.message.as_deref().or(status.canonical_reason()),
            },
            reason: failure.reason.as_deref(),
            refused: failure.refused,
            retry_after_s: text_of(header::RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
            ..reply
        });
    }
    if text_of(header::CONTENT_TYPE).is_some_and(|media| media.starts_with("image/")) {
        return text(&Reply {
            kind: "pixel",
            media: Some("pixel"),
            ..reply
        });
    }
    // The schema may set an answer of another type.
    let data = match serde_json::from_slice::<&RawValue>(body) {
        Ok(data) => Some(Cow::Borrowed(data)),
        Err(_) => to_raw_value(&String::from_utf8_lossy(body)).ok().map(Cow::Owned),
    };
    text(&Reply {
        kind: "data",
        data,
        ..reply
    })
}

/// Returns the answer to a message that is refused before it is an event.
pub(super) fn of_refusal(refusal: Refusal, id: Option<&RawValue>) -> String {
    let status = refusal.status();
    text(&Reply {
        kind: "error",
        status: status.as_u16(),
        message: status.canonical_reason(),
        reason: Some(refusal.reason()),
        id,
        ..Reply::default()
    })
}

/// Returns the answer to an array: the answers to its events, in their order.
pub(super) fn of_array(answers: &[String]) -> String {
    format!("[{}]", answers.join(","))
}

fn text(reply: &Reply<'_>) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(reply).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::Response;

    use super::*;

    fn reply(response: http::response::Builder, body: &str, id: Option<&str>) -> String {
        let (parts, ()) = response.body(()).unwrap().into_parts();
        let id = id.map(|id| RawValue::from_string(id.to_owned()).unwrap());
        of_response(&parts, body.as_bytes(), id.as_deref())
    }

    #[test]
    fn each_response_has_its_structure() {
        let ok = || Response::builder().status(200);
        assert_eq!(
            reply(ok(), r#"{"key":"in.gen.wh.mail","id":"1"}"#, Some(r#""_4""#)),
            r#"{"type__":"data","headers":[],"statusCode":200,"data":{"key":"in.gen.wh.mail","id":"1"},"id__":"_4"}"#
        );
        assert_eq!(
            reply(ok().header("x-rowmill-ack", "stored"), r#"{"id":"1"}"#, Some("7")),
            r#"{"type__":"data","headers":[],"statusCode":200,"data":{"id":"1"},"ack":"stored","id__":7}"#
        );
        assert_eq!(
            reply(ok().header("content-type", "image/gif"), "GIF89a", None),
            r#"{"type__":"pixel","headers":[],"statusCode":200,"type":"pixel"}"#
        );
        assert_eq!(
            reply(
                Response::builder().status(302).header("location", "https://x.y"),
                "",
                None
            ),
            r#"{"type__":"redirect","headers":[],"statusCode":302,"location":"https://x.y"}"#
        );
        assert_eq!(
            reply(Response::builder().status(202), "got it", None),
            r#"{"type__":"data","headers":[],"statusCode":202,"data":"got it"}"#
        );
    }

    #[test]
    fn a_refusal_keeps_its_details() {
        let body = r#"{"message":"Bad Request","refused":[{"column":"n"}]}"#;
        assert_eq!(
            reply(Response::builder().status(400), body, Some("1")),
            r#"{"type__":"error","headers":[],"statusCode":400,"errorMessage":"Bad Request","refused":[{"column":"n"}],"id__":1}"#
        );
        assert_eq!(
            reply(Response::builder().status(429).header("retry-after", "3"), "", None),
            r#"{"type__":"error","headers":[],"statusCode":429,"errorMessage":"Too Many Requests","retryAfter":3}"#
        );
        assert_eq!(
            reply(Response::builder().status(404), r#"{"message":"Not Found"}"#, None),
            r#"{"type__":"error","headers":[],"statusCode":400,"errorMessage":"Request must contains \"service\" and \"name\""}"#
        );
        assert!(of_refusal(Refusal::TooLong, None).contains(r#""statusCode":413"#));
    }
}
