//! The response that a protocol's sender expects, made from the collector's own one.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::Value;

use super::{Adapter, otlp, outcome::Outcome};
use crate::answer::PIXEL;

/// The form of the response to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplyForm {
    /// The collector's own response.
    Own,
    /// A message of OTLP.
    Otlp {
        /// Whether it is in protobuf, and not in JSON.
        is_protobuf: bool,
    },
    /// `{"success": true}`, or the collector's own response with `"success": false`.
    Segment,
    /// `ok`.
    Text,
    /// An image.
    Image,
}

impl ReplyForm {
    /// Returns the form of the response to a request.
    pub(crate) fn of(adapter: Adapter, parts: &Parts) -> Self {
        if matches!(parts.method, Method::HEAD | Method::OPTIONS) {
            return Self::Own;
        }
        match adapter {
            Adapter::AwsSns | Adapter::CloudEvents => Self::Own,
            Adapter::OtlpLogs => {
                let content_type = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
                let is_protobuf = content_type.is_some_and(|sent| sent.starts_with(otlp::PROTOBUF.as_bytes()));
                Self::Otlp { is_protobuf }
            }
            Adapter::Segment => Self::Segment,
            Adapter::Snowplow if adapter.reads_query(&parts.method) => Self::Image,
            Adapter::Snowplow => Self::Text,
        }
    }

    /// Returns the type and the body in place of the collector's own ones; `None` keeps them.
    pub(crate) fn content(self, status: StatusCode, own: &[u8]) -> Option<(HeaderValue, Bytes)> {
        let is_success = status.is_success();
        Some(match self {
            Self::Own => return None,
            Self::Text if is_success => (
                HeaderValue::from_static("text/plain; charset=utf-8"),
                Bytes::from_static(b"ok"),
            ),
            Self::Image if is_success => (HeaderValue::from_static("image/gif"), Bytes::from_static(&PIXEL)),
            Self::Text | Self::Image => return None,
            Self::Otlp { is_protobuf } => {
                let outcome = serde_json::from_slice(own).unwrap_or_default();
                let media_type = if is_protobuf { otlp::PROTOBUF } else { otlp::JSON };
                (
                    HeaderValue::from_static(media_type),
                    otlp::response(is_protobuf, status, &outcome),
                )
            }
            Self::Segment => (HeaderValue::from_static("application/json"), segment(is_success, own)),
        })
    }
}

fn segment(is_success: bool, own: &[u8]) -> Bytes {
    let outcome: Outcome = serde_json::from_slice(own).unwrap_or_default();
    if is_success && outcome.refused == 0 {
        return Bytes::from_static(br#"{"success":true}"#);
    }
    let mut reply: Value = serde_json::from_slice(own).unwrap_or_default();
    if !reply.is_object() {
        reply = Value::Object(serde_json::Map::new());
    }
    reply["success"] = Value::Bool(false);
    reply.to_string().into()
}
