//! The text of a batch, and how a body is a batch.

use bytes::Bytes;

use crate::request::batch_format::BatchFormat;

/// The way in which a body has many events.
#[derive(Debug, Clone, Copy)]
pub(in crate::collect) struct AsBatch {
    pub(super) format: BatchFormat,
    /// Whether the sender declares many events. Otherwise, the answer is an image where it is the
    /// answer to a single event.
    pub(super) is_declared: bool,
    /// Whether the rate limit of the route has counted the request already.
    pub(super) is_counted: bool,
}

impl AsBatch {
    /// Lines in a body that should be one JSON document.
    pub(in crate::collect) const LINES: Self = Self {
        format: BatchFormat::Lines,
        is_declared: false,
        is_counted: false,
    };

    /// A document on a route whose events are inside documents.
    pub(in crate::collect) const DOCUMENT: Self = Self {
        format: BatchFormat::Document,
        ..Self::LINES
    };

    /// [`AsBatch::LINES`] of a request that the rate limit of its route has counted.
    pub(in crate::collect) const LINES_OF_COUNTED_REQUEST: Self = Self {
        is_counted: true,
        ..Self::LINES
    };

    pub(in crate::collect) fn new(format: BatchFormat) -> Self {
        Self {
            format,
            is_declared: format != BatchFormat::Array,
            is_counted: false,
        }
    }
}

/// The text of a batch.
#[derive(Debug)]
pub(in crate::collect) struct BatchText {
    pub(super) text: String,
    /// The number of bytes before the first item.
    pub(super) start: usize,
}

/// The place of a text.
#[derive(Debug)]
pub(in crate::collect) enum Place {
    /// In the body, from a byte on.
    InBody(usize),
    /// Outside of the body, converted from another charset.
    Converted(String),
}

impl BatchText {
    /// A body that is the text of a batch as a whole.
    pub(in crate::collect) const WHOLE_BODY: Place = Place::InBody(0);

    /// A text that is not in the body.
    pub(in crate::collect) fn converted(text: String) -> Place {
        Place::Converted(text)
    }

    /// Returns the place of `text`, the text of `body`.
    pub(in crate::collect) fn new(text: &str, body: &[u8]) -> Place {
        let start = (text.as_ptr() as usize).wrapping_sub(body.as_ptr() as usize);
        match body.get(start..) {
            Some(rest) if rest.len() >= text.len() => Place::InBody(start),
            _ => Place::Converted(text.to_owned()),
        }
    }
}

impl Place {
    /// Returns the text, in the buffer of its body if it is there.
    pub(in crate::collect) fn of_body(self, body: Bytes) -> BatchText {
        match self {
            Self::InBody(start) => BatchText {
                text: String::from_utf8(body.into()).unwrap_or_default(),
                start,
            },
            Self::Converted(text) => BatchText { text, start: 0 },
        }
    }
}
