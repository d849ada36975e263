//! Segment: calls of its HTTP API, one per request or many in a batch.
//!
//! The last segment of the path names the kind of a call, in full or by its first letter, as
//! analytics.js does. On other paths, a body with `batch` is a batch.

use super::{Adapted, AdapterError, Request, document::DocumentWriter};
use crate::json::{Kind, Reader};

/// The fields of a batch that each of its calls gets, unless it has them itself.
const SHARED: &[&str] = &["context", "integrations", "sentAt"];

/// The field with the calls of a batch.
const BATCH: &str = "batch";

/// The kind of a request, as its path names it.
enum PathKind {
    Batch,
    /// One call of this type.
    Call(&'static str),
    Unknown,
}

impl PathKind {
    fn of(path: &str) -> Self {
        let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        Self::Call(match last {
            "batch" | "b" | "import" => return Self::Batch,
            "alias" | "a" => "alias",
            "group" | "g" => "group",
            "identify" | "i" => "identify",
            "page" | "p" => "page",
            "screen" | "s" => "screen",
            "track" | "t" => "track",
            _ => return Self::Unknown,
        })
    }
}

pub(super) fn read(request: &Request<'_>) -> Result<Adapted, AdapterError> {
    // analytics.js sends JSON as text, so that a browser asks no question before.
    if !matches!(&*request.media_type(), "" | "application/json" | "text/plain") {
        return Err(AdapterError::MediaType);
    }
    let text = request.json()?;
    let kind = match PathKind::of(request.path) {
        PathKind::Unknown if has_batch(text)? => PathKind::Batch,
        kind => kind,
    };
    let mut document = DocumentWriter::new(text.len());
    match kind {
        PathKind::Batch => Ok(Adapted::sent(text, &[BATCH], SHARED)),
        PathKind::Call(event_type) => {
            document.item().push_str(text);
            Ok(document.finish_with_type(event_type))
        }
        PathKind::Unknown => {
            document.item().push_str(text);
            Ok(document.finish())
        }
    }
}

/// Returns whether a document has the calls of a batch.
fn has_batch(text: &str) -> Result<bool, AdapterError> {
    let mut reader = Reader::new(text);
    if reader.peek()? != Kind::Object {
        return Ok(false);
    }
    reader.begin_object()?;
    while let Some(key) = reader.next_key()? {
        if key == BATCH {
            return Ok(true);
        }
        reader.skip()?;
    }
    Ok(false)
}
