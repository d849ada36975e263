//! The answers that a schema sets for a route: a fixed response to an event, and a field of the
//! request sent back.

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// The response to each recorded event of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedAnswer {
    /// The status, from 200 to 299.
    pub status: u16,
    /// The type of the body; `None` without a body. Visible ASCII and spaces only.
    pub content_type: Option<&'static str>,
    /// The body; empty without one.
    pub body: &'static str,
}

impl FixedAnswer {
    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or_default()
    }

    pub(super) fn content(&self) -> (Option<HeaderValue>, Bytes) {
        let media_type = self.content_type.and_then(|media_type| media_type.parse().ok());
        (media_type, Bytes::from_static(self.body.as_bytes()))
    }
}

/// A field of a request that the response sends back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EchoedField<'a> {
    pub(crate) name: &'static str,
    pub(crate) value: &'a str,
    /// Whether the response is a JSON object with the field; otherwise, it is the value as text.
    pub(crate) is_json: bool,
}

impl Serialize for EchoedField<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(1))?;
        object.serialize_entry(self.name, self.value)?;
        object.end()
    }
}
