//! The body of a request: its kind and its text.
//!
//! Takes the bytes and their declared type. Returns a [`Payload`], which borrows from the bytes if
//! they are UTF-8, or a typed error. This module does not parse JSON: the decoder does so once,
//! straight into the columns.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};
use http::StatusCode;

use crate::{
    arena::Arena,
    fields::Fields,
    json::{self, Reader},
    request::{
        batch_format::BatchFormat,
        content_type::{ContentTypeError, Declared, PLAIN_JSON, charset_of, contains_ignoring_case, essence},
        multipart,
    },
};

const BYTE_ORDER_MARK: char = '\u{feff}';

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// The accepted types, for the header `Accept` of an error response.
pub(crate) const ACCEPTED_TYPES: &str = "application/json, application/x-ndjson, application/json-seq, text/csv, text/tab-separated-values, \
     application/x-www-form-urlencoded, multipart/form-data, text/plain";

/// The accepted codings, for the header `Accept-Encoding` of an error response.
pub(crate) const ACCEPTED_CODINGS: &str = "gzip, deflate, br, zstd";

/// A body as text of a known kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    /// There is no body.
    Empty,
    /// Text that should be JSON; the decoder checks whether it is.
    Json(&'a str),
    /// Text that should be many events.
    Batch {
        /// The text.
        text: &'a str,
        /// The format of the events.
        format: BatchFormat,
    },
    /// A urlencoded form.
    Form(Fields<'a>),
    /// One of many events.
    Item {
        /// Text that should be JSON.
        text: &'a str,
        /// Fields of the whole body with their values as JSON, which has been checked. They are
        /// fields of the event, unless it has a field of that name itself.
        shared: &'a [(&'a str, &'a str)],
    },
}

/// The reason why a body is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The body is compressed and must be decoded first; not a failure of the request.
    Encoded,
    /// The `Content-Encoding` names an unknown coding, or too many.
    UnknownCoding,
    /// The body of an upload has two codings.
    TwoCodings,
    /// The body is not what its `Content-Encoding` states.
    Coding,
    /// The decoded body is far larger than the body as sent.
    Expansion,
    /// The `Content-Type` is malformed.
    ContentType,
    /// The charset is unknown.
    Charset,
    /// The body is multipart, but not a form.
    Multipart,
    /// The multipart form is malformed.
    MalformedMultipart,
    /// The multipart form has several files, or a file beside fields.
    FileBesideFields,
    /// The file in a multipart form is neither JSON nor CSV.
    File,
    /// The type is not accepted, and the body is not a JSON object.
    MediaType,
    /// The text is neither JSON nor a form.
    Text,
    /// The type is JSON, but the body is empty.
    EmptyJson,
}

impl BodyError {
    /// Returns the status of the response.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Multipart | Self::File | Self::MediaType | Self::UnknownCoding | Self::TwoCodings => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Expansion => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the message for the client.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Encoded => "the body is compressed",
            Self::UnknownCoding => "the Content-Encoding must be gzip, deflate, br or zstd, or two of them",
            Self::TwoCodings => "the Content-Encoding of an upload must be one coding: gzip, deflate, br or zstd",
            Self::Coding => "the body is not what its Content-Encoding states, or its end is missing",
            Self::Expansion => "the decoded body is more than 200 times as large as the body",
            Self::ContentType => "the Content-Type header is malformed",
            Self::Charset => "the charset of the Content-Type header is unknown",
            Self::Multipart => "multipart bodies other than multipart/form-data are not accepted",
            Self::MalformedMultipart => "the multipart form is malformed, or its end is missing",
            Self::FileBesideFields => "a multipart form may have fields or one file, not both",
            Self::File => "the file in a multipart form must be JSON, lines of JSON or CSV, by its Content-Type",
            Self::MediaType => {
                "bodies of this Content-Type are not accepted; send application/json, application/x-ndjson, \
                 application/json-seq, text/csv, text/tab-separated-values, application/x-www-form-urlencoded, \
                 multipart/form-data, or text/plain with JSON or a form in it"
            }
            Self::Text => "the body is neither a JSON object nor a form of key=value pairs",
            Self::EmptyJson => "the body is empty, but its type is JSON",
        }
    }
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for BodyError {}

impl From<ContentTypeError> for BodyError {
    fn from(error: ContentTypeError) -> Self {
        match error {
            ContentTypeError::Malformed => Self::ContentType,
            ContentTypeError::Charset => Self::Charset,
            ContentTypeError::Multipart => Self::Multipart,
        }
    }
}

impl<'a> Payload<'a> {
    /// Returns the text of a JSON payload, in which syntax errors have their positions; empty for
    /// any other payload.
    pub(crate) fn json_text(&self) -> &'a str {
        match self {
            Self::Json(text) | Self::Item { text, .. } => text,
            Self::Empty | Self::Batch { .. } | Self::Form(_) => "",
        }
    }

    /// Checks that a JSON payload is well formed.
    ///
    /// # Errors
    ///
    /// The payload is not JSON.
    pub(crate) fn check(&self) -> Result<(), json::Error> {
        match self {
            Self::Json(text) | Self::Item { text, .. } => {
                let mut reader = Reader::new(text);
                reader.skip()?;
                reader.end()
            }
            Self::Empty | Self::Batch { .. } | Self::Form(_) => Ok(()),
        }
    }

    /// Parses a whole body.
    ///
    /// A body is JSON if its type contains `json`, or if it begins with `{`: `sendBeacon` sends
    /// JSON as `text/plain`, `curl -d` as a form, and other clients with no type or as
    /// `application/octet-stream`. The type makes a body lines; its `[` makes it an array. A body
    /// without a type, a form, or `text/plain` may also be an array or a urlencoded form, if its
    /// text looks like one ([`is_form`]); mere white space counts as no body. Bodies of other types
    /// are not accepted. A byte order mark is skipped.
    ///
    /// Bytes that are invalid in the charset become U+FFFD.
    ///
    /// # Errors
    ///
    /// Any [`BodyError`].
    pub(crate) fn parse(declared: Declared<'_>, body: &'a [u8], arena: &'a Arena) -> Result<Self, BodyError> {
        let encoding = declared.content_encoding.unwrap_or_default().trim_ascii();
        if !encoding.is_empty() && !body.is_empty() && !encoding.eq_ignore_ascii_case(b"identity") {
            return Err(BodyError::Encoded);
        }
        // The header determines the charset even if the extension determines the type.
        let charset = match declared.content_type {
            None | Some(PLAIN_JSON) => UTF_8,
            Some(content_type) => match charset_of(content_type) {
                Err(ContentTypeError::Multipart) => return Self::of_multipart(content_type, body, arena),
                charset => charset?,
            },
        };
        let is_json = declared.is_json();
        if body.is_empty() {
            return if is_json {
                Err(BodyError::EmptyJson)
            } else {
                Ok(Self::Empty)
            };
        }
        let text = match decode(body, charset) {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => arena.alloc_str(&text),
        };
        // RFC 8259, 8.1 allows a parser to ignore the mark.
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        if is_json || text.trim_ascii_start().starts_with('{') {
            let format = match declared.batch_format().filter(|format| format.is_json()) {
                None if !text.starts_with('{') && text.trim_ascii_start().starts_with('[') => Some(BatchFormat::Array),
                declared => declared,
            };
            return Ok(match format {
                Some(format) => Self::Batch { text, format },
                None => Self::Json(text),
            });
        }
        // A line end at the end of a file is not part of its last value.
        let text = text.trim_end_matches(['\r', '\n']);
        let start = text.trim_ascii_start();
        if start.is_empty() {
            return Ok(Self::Empty);
        }
        if let Some(format) = declared.batch_format() {
            return Ok(Self::Batch { text, format });
        }
        let media_type = essence(declared.content_type.unwrap_or_default());
        let is_urlencoded = media_type.eq_ignore_ascii_case(FORM);
        let is_text = media_type.is_empty() || media_type.eq_ignore_ascii_case(b"text/plain");
        if !is_urlencoded && !is_text && !contains_ignoring_case(media_type, b"json") {
            return Err(BodyError::MediaType);
        }
        // Form encoders escape line ends. Accept a raw one only if the type declares a form.
        if is_form(text) && (is_urlencoded || !text.contains('\n')) {
            return Ok(Self::Form(Fields::from_body(text, arena)));
        }
        if start.starts_with('[') {
            let format = BatchFormat::Array;
            return Ok(Self::Batch { text, format });
        }
        Err(BodyError::Text)
    }
}

impl<'a> Payload<'a> {
    /// Parses a multipart form: its fields are those of a urlencoded form, and a file alone is a body of
    /// its own.
    #[cold]
    fn of_multipart(content_type: &[u8], body: &'a [u8], arena: &'a Arena) -> Result<Self, BodyError> {
        let is_form = essence(content_type).eq_ignore_ascii_case(b"multipart/form-data");
        let boundary = match multipart::boundary_of(content_type) {
            Some(boundary) => boundary,
            None if is_form => return Err(BodyError::MalformedMultipart),
            None => return Err(BodyError::Multipart),
        };
        let text = match decode(body, UTF_8) {
            Cow::Borrowed(text) => text,
            Cow::Owned(text) => arena.alloc_str(&text),
        };
        let parts = multipart::parts(text, &boundary).ok_or(BodyError::MalformedMultipart)?;
        match &parts[..] {
            parts if parts.iter().all(|part| !part.is_file) => {
                let text = arena.alloc_str(&multipart::urlencoded(parts));
                Ok(Self::Form(Fields::from_body(text, arena)))
            }
            [file] => {
                let declared = Declared {
                    content_type: file.content_type.map(str::as_bytes),
                    ..Declared::default()
                };
                if file.content_type.is_some_and(|content_type| !is_text(content_type)) {
                    return Err(BodyError::File);
                }
                match Self::parse(declared, file.content.as_bytes(), arena)? {
                    payload @ (Self::Json(_) | Self::Batch { .. }) => Ok(payload),
                    _ => Err(BodyError::File),
                }
            }
            _ => Err(BodyError::FileBesideFields),
        }
    }
}

/// Returns whether the file of a multipart form may be read by itself; a form in a form may not.
fn is_text(content_type: &str) -> bool {
    !essence(content_type.as_bytes()).eq_ignore_ascii_case(b"multipart/form-data")
}

/// Returns whether a text looks like a urlencoded form: it has a value, and no name contains a
/// character that every form encoder escapes. Markup, quoted text, multiple lines and binary data
/// contain such characters before their first `=`.
fn is_form(text: &str) -> bool {
    let is_foreign = |c: char| c.is_ascii_control() || matches!(c, '"' | '<' | '>' | char::REPLACEMENT_CHARACTER);
    let mut names = text.split('&').map(|field| field.split('=').next().unwrap_or_default());
    text.contains('=') && !names.any(|name| name.contains(is_foreign))
}

fn decode<'a>(body: &'a [u8], charset: &'static Encoding) -> Cow<'a, str> {
    if charset != UTF_8 {
        return charset.decode_without_bom_handling(body).0;
    }
    match simdutf8::basic::from_utf8(body) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(body),
    }
}

#[cfg(test)]
mod tests;
