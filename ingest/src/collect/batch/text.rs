//! The text of a batch, and how a body is a batch.

use std::ops::Range;

use bytes::Bytes;

use crate::{collect::item_path::ItemPath, request::batch_format::BatchFormat};

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
    pub(in crate::collect) text: String,
    /// The number of bytes before the first item.
    pub(in crate::collect) start: usize,
    /// The place of the events in the text, if an adapter has made it.
    pub(in crate::collect) items: Option<ItemPath>,
    /// The events that an adapter refuses: their indexes, in descending order, and the reasons.
    pub(in crate::collect) refused: Vec<(usize, String)>,
}

impl BatchText {
    fn new(text: String, start: usize) -> Self {
        Self {
            text,
            start,
            items: None,
            refused: Vec::new(),
        }
    }
}

/// The place of a text.
#[derive(Debug)]
pub(in crate::collect) enum Place {
    /// In the body, from one byte to another one.
    InBody(Range<usize>),
    /// Outside of the body, converted from another charset.
    Converted(String),
}

impl Place {
    /// A body that is the text of a batch as a whole.
    pub(in crate::collect) const WHOLE_BODY: Self = Self::InBody(0..usize::MAX);

    /// Returns the place of `text`, the text of `body`.
    pub(in crate::collect) fn of(text: &str, body: &[u8]) -> Self {
        let start = (text.as_ptr() as usize).wrapping_sub(body.as_ptr() as usize);
        match body.get(start..) {
            Some(rest) if rest.len() >= text.len() => Self::InBody(start..start + text.len()),
            _ => Self::Converted(text.to_owned()),
        }
    }

    /// Returns the text, in the buffer of its body if it is there.
    pub(in crate::collect) fn take_from(self, body: Bytes) -> BatchText {
        match self {
            Self::InBody(Range { start, end }) => {
                let mut body = Vec::from(body);
                body.truncate(end);
                BatchText::new(String::from_utf8(body).unwrap_or_default(), start)
            }
            Self::Converted(text) => BatchText::new(text, 0),
        }
    }
}
