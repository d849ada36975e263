//! Adapters: the protocols of well-known senders, as a route names them with `adapter: …`.
//!
//! Takes a request whose body is decoded. Returns an [`Adapted`]: one JSON document with the events
//! inside, whatever the format of the request is. The batches of `collect` do the rest, so each
//! event has the decoder, the limits and the rejections of any other event. A [`ReplyForm`] makes the
//! response that the sender expects.
//!
//! ```text
//! document     the document with the events of a request
//! cloudevents  CloudEvents 1.0 over HTTP
//! otlp         logs of OpenTelemetry over HTTP
//! segment      the HTTP API of Segment
//! sns          messages of Amazon SNS
//! snowplow     the tracker protocol of Snowplow
//! outcome      the outcome of a request
//! reply        the response
//! ```

mod cloudevents;
mod document;
mod otlp;
mod outcome;
mod reply;
mod segment;
mod snowplow;
mod sns;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Method, header};

pub(crate) use self::{document::Adapted, reply::ReplyForm};
use crate::{
    arena::Arena,
    json::{self, Reader},
};

/// The protocol of a route's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adapter {
    /// Messages of [Amazon SNS](https://docs.aws.amazon.com/sns/latest/dg/sns-http-https-endpoint-as-subscriber.html).
    AwsSns,
    /// [CloudEvents 1.0](https://cloudevents.io) over HTTP.
    CloudEvents,
    /// Logs of [OpenTelemetry](https://opentelemetry.io/docs/specs/otlp/#otlphttp) over HTTP.
    OtlpLogs,
    /// The HTTP API of [Segment](https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/).
    Segment,
    /// The tracker protocol of [Snowplow](https://docs.snowplow.io/docs/sources/trackers/snowplow-tracker-protocol/).
    Snowplow,
}

impl Adapter {
    /// Returns the name in a schema.
    ///
    /// ```
    /// assert_eq!(rowmill_ingest::route::Adapter::Segment.name(), "segment");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwsSns => "aws-sns",
            Self::CloudEvents => "cloudevents",
            Self::OtlpLogs => "otlp-logs",
            Self::Segment => "segment",
            Self::Snowplow => "snowplow",
        }
    }

    /// Returns the types of bodies that the protocol has.
    pub(crate) const fn accepted_types(self) -> &'static str {
        match self {
            Self::AwsSns => "text/plain, application/json",
            Self::CloudEvents => "application/cloudevents+json, application/cloudevents-batch+json",
            Self::OtlpLogs => "application/x-protobuf, application/json",
            Self::Segment => "application/json, text/plain",
            Self::Snowplow => "application/json",
        }
    }

    /// Returns whether the events of a request are in its query.
    pub(crate) fn reads_query(self, method: &Method) -> bool {
        self == Self::Snowplow && *method == Method::GET
    }

    /// Returns the events of a request.
    ///
    /// # Errors
    ///
    /// The request as a whole is not one of the protocol, or its events take too much memory.
    pub(crate) fn read(self, request: &Request<'_>, memory: Memory<'_>) -> Result<Adapted, AdapterError> {
        let adapted = match self {
            Self::AwsSns => sns::read(request),
            Self::CloudEvents => cloudevents::read(request),
            Self::OtlpLogs => otlp::read(request, memory),
            Self::Segment => segment::read(request),
            Self::Snowplow => snowplow::read(request),
        }?;
        memory(adapted.text.len())?;
        Ok(adapted)
    }
}

/// Books the memory for a document of this length, in bytes.
pub(crate) type Memory<'m> = &'m mut dyn FnMut(usize) -> Result<(), AdapterError>;

/// A request with a decoded body.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    pub(crate) method: &'r Method,
    pub(crate) path: &'r str,
    pub(crate) headers: &'r HeaderMap,
    /// The body; the query of a request whose events are [there](Adapter::reads_query).
    pub(crate) body: &'r [u8],
    pub(crate) arena: &'r Arena,
}

/// The reason why the events of a request are not read.
#[derive(Debug)]
pub(crate) enum AdapterError {
    /// The body is not JSON.
    Json(json::Error),
    /// The request does not follow the protocol.
    Protocol(String),
    /// The protocol does not have bodies of this type.
    MediaType,
    /// The events take more bytes than allowed.
    TooLong,
    /// The memory of requests is in use.
    OutOfMemory,
}

impl From<json::Error> for AdapterError {
    fn from(error: json::Error) -> Self {
        Self::Json(error)
    }
}

impl<'r> Request<'r> {
    /// Returns a header as text; empty if it is absent or not ASCII.
    fn header(&self, name: &str) -> &'r str {
        let value = self.headers.get(name).map(HeaderValue::to_str);
        value.and_then(Result::ok).unwrap_or_default()
    }

    /// Returns a header as text, in Latin-1 if it is not UTF-8.
    fn header_text(&self, name: &str) -> Cow<'r, str> {
        let value = self.headers.get(name).map_or(&b""[..], HeaderValue::as_bytes);
        match simdutf8::basic::from_utf8(value) {
            Ok(text) => text.into(),
            Err(_) => value.iter().copied().map(char::from).collect::<String>().into(),
        }
    }

    /// Returns the content type without its parameters, in lower case; empty if there is none.
    fn media_type(&self) -> String {
        let content_type = self.header(header::CONTENT_TYPE.as_str());
        let essence = content_type.split(';').next().unwrap_or_default();
        essence.trim().to_ascii_lowercase()
    }

    /// Returns the body as text.
    fn text(&self) -> Result<&'r str, AdapterError> {
        let text = simdutf8::basic::from_utf8(self.body);
        let text = text.map_err(|_| AdapterError::Protocol("the body is not UTF-8".to_owned()))?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// Returns the body as one JSON document, which is checked as a whole.
    fn json(&self) -> Result<&'r str, AdapterError> {
        let text = self.text()?;
        let mut reader = Reader::new(text);
        reader.skip()?;
        reader.end()?;
        Ok(text)
    }
}
