//! Content types: a request's declarations about its body, in its path and its headers.

use encoding_rs::{Encoding, UTF_8};

use crate::request::batch_format::BatchFormat;

/// The types that an extension of the path implies; they take precedence over the header.
const TYPES_BY_EXTENSION: [(&str, &str); 4] = [
    ("json", "application/json"),
    ("gif", "image/gif"),
    ("js", "text/javascript"),
    ("html", "text/html"),
];

/// The words in the names of types with one JSON document per line: `application/x-ndjson`,
/// `application/jsonl`, `application/jsonlines`, `application/json-lines`,
/// `application/x-json-stream` and `application/stream+json`.
const LINES: [&str; 5] = ["ndjson", "jsonl", "json-lines", "json-stream", "stream+json"];

pub(super) const PLAIN_JSON: &[u8] = b"application/json";

/// The reason why a `Content-Type` is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentTypeError {
    /// The header is malformed.
    Malformed,
    /// The charset is unknown.
    Charset,
    /// The type is a multipart form.
    Multipart,
}

/// The request's declarations about its body.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Declared<'r> {
    /// The extension of the path.
    pub(crate) extension: Option<&'r str>,
    /// The value of `Content-Type`.
    pub(crate) content_type: Option<&'r [u8]>,
    /// The value of `Content-Encoding`.
    pub(crate) content_encoding: Option<&'r [u8]>,
}

impl<'r> Declared<'r> {
    /// Returns whether the request is for an image, which makes its channel `pixel`. Requests
    /// without a body count, too.
    pub(crate) fn is_image(&self) -> bool {
        !self.is_plainly_json() && contains_ignoring_case(self.media_type(), b"image")
    }

    pub(crate) fn is_json(&self) -> bool {
        self.is_plainly_json() || contains_ignoring_case(self.media_type(), b"json")
    }

    /// Returns the format of a body that is declared as many events; `None` if the type does not
    /// declare many.
    pub(crate) fn batch_format(&self) -> Option<BatchFormat> {
        if self.is_plainly_json() {
            return None;
        }
        let media_type = self.media_type();
        let is_named = |word: &&str| contains_ignoring_case(media_type, word.as_bytes());
        if LINES.iter().any(is_named) {
            Some(BatchFormat::Lines)
        } else if is_named(&"json-seq") {
            Some(BatchFormat::Sequence)
        } else if is_named(&"text/csv") || is_named(&"application/csv") {
            Some(BatchFormat::Csv)
        } else if is_named(&"text/tab-separated-values") {
            Some(BatchFormat::Tsv)
        } else {
            None
        }
    }

    /// Returns whether the type is exactly the one that most clients send, so that no search is
    /// needed.
    fn is_plainly_json(&self) -> bool {
        self.extension.is_none() && self.content_type == Some(PLAIN_JSON)
    }

    /// Returns the effective type: that of the extension, otherwise the whole header with its
    /// parameters, otherwise an empty one.
    fn media_type(&self) -> &'r [u8] {
        let by_extension = TYPES_BY_EXTENSION
            .iter()
            .find(|(extension, _)| Some(*extension) == self.extension);
        by_extension.map_or(self.content_type.unwrap_or_default(), |(_, media_type)| {
            media_type.as_bytes()
        })
    }
}

/// Returns the charset of a `Content-Type`, UTF-8 by default, and checks the syntax of the header
/// ([RFC 9110, 8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.3)).
pub(crate) fn charset_of(content_type: &[u8]) -> Result<&'static Encoding, ContentTypeError> {
    if content_type.trim_ascii().is_empty() {
        return Ok(UTF_8);
    }
    let mut rest = memchr::memchr(b';', content_type).map_or(&b""[..], |at| &content_type[at..]);
    let (kind, subtype) = split_at(essence(content_type), b'/').ok_or(ContentTypeError::Malformed)?;
    if !is_token(kind) || !is_token(subtype) {
        return Err(ContentTypeError::Malformed);
    }
    if kind.eq_ignore_ascii_case(b"multipart") {
        return Err(ContentTypeError::Multipart);
    }
    let mut charset = UTF_8;
    while let Some(parameters) = rest.strip_prefix(b";") {
        let parameters = parameters.trim_ascii_start();
        if parameters.is_empty() || parameters.starts_with(b";") {
            rest = parameters;
            continue;
        }
        let (name, after) = split_at(parameters, b'=').ok_or(ContentTypeError::Malformed)?;
        let (value, after) = take_value(after.trim_ascii_start()).ok_or(ContentTypeError::Malformed)?;
        let name = name.trim_ascii_end();
        if !is_token(name) {
            return Err(ContentTypeError::Malformed);
        }
        if name.eq_ignore_ascii_case(b"charset") {
            charset = Encoding::for_label_no_replacement(value).ok_or(ContentTypeError::Charset)?;
        }
        rest = after.trim_ascii_start();
    }
    if rest.is_empty() {
        Ok(charset)
    } else {
        Err(ContentTypeError::Malformed)
    }
}

/// Returns a `Content-Type` without its parameters.
pub(super) fn essence(content_type: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    content_type[..end].trim_ascii()
}

/// Splits a token or a quoted string off the front. The value keeps its escapes, because no
/// charset has any.
fn take_value(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(text.len());
        return (end > 0).then(|| text.split_at(end));
    };
    let mut at = 0;
    loop {
        match quoted.get(at)? {
            b'"' => return Some((&quoted[..at], &quoted[at + 1..])),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn split_at(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(separator, text)?;
    Some((&text[..at], &text[at + 1..]))
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

pub(super) fn contains_ignoring_case(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}
