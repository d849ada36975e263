//! The body of a request: its kind and its text.
//!
//! Takes the bytes and what the request declares about them. Returns a [`Payload`], which borrows
//! from the bytes if they are UTF-8, or a typed error. This module does not parse JSON: the decoder
//! does so once, straight into the columns.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};
use http::StatusCode;

use crate::{
    arena::Arena,
    fields::Fields,
    json::{self, Reader},
};

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The types that an extension of the path implies; they take precedence over the header.
const TYPES_BY_EXTENSION: [(&str, &str); 4] = [
    ("json", "application/json"),
    ("gif", "image/gif"),
    ("js", "text/javascript"),
    ("html", "text/html"),
];

const PLAIN_JSON: &[u8] = b"application/json";

const FORM: &[u8] = b"application/x-www-form-urlencoded";

/// The accepted types, for the header `Accept` of an error response.
pub(crate) const TAKEN_TYPES: &str =
    "application/json, application/x-ndjson, application/x-www-form-urlencoded, text/plain";

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

/// A body as text of a known kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    /// There is no body.
    Empty,
    /// Text that should be JSON; the decoder checks whether it is.
    Json(&'a str),
    /// Lines that should each be JSON ([NDJSON](https://github.com/ndjson/ndjson-spec)).
    Lines(&'a str),
    /// A urlencoded form.
    Form(Fields<'a>),
}

/// The reason why a body is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// The body is compressed.
    ContentEncoding,
    /// The `Content-Type` is malformed.
    ContentType,
    /// The charset is unknown.
    Charset,
    /// The body is a multipart form.
    Multipart,
    /// The type is not accepted, and the body is not a JSON object.
    MediaType,
    /// The text is neither JSON nor a form.
    Text,
    /// The type is JSON, but the body is empty.
    EmptyJson,
    /// A byte order mark precedes the JSON, which
    /// [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259#section-8.1) forbids.
    ByteOrderMark,
}

impl BodyError {
    /// Returns the status of the response.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Multipart | Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Returns the message for the client.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::ContentEncoding => "compressed bodies are not accepted; send it without Content-Encoding",
            Self::ContentType => "the Content-Type header is malformed",
            Self::Charset => "the charset of the Content-Type header is unknown",
            Self::Multipart => "multipart bodies are not accepted; send JSON or a urlencoded form",
            Self::MediaType => {
                "bodies of this Content-Type are not accepted; send application/json, application/x-ndjson, \
                 application/x-www-form-urlencoded, or text/plain with one of these in it"
            }
            Self::Text => "the body is neither a JSON object nor a form of key=value pairs",
            Self::EmptyJson => "the body is empty, but its type is JSON",
            Self::ByteOrderMark => "the body begins with a byte order mark, which JSON does not allow",
        }
    }
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for BodyError {}

impl<'r> Declared<'r> {
    /// Returns whether the request is for an image, which makes its channel `pixel`. Requests
    /// without a body count, too.
    pub(crate) fn is_image(&self) -> bool {
        !self.is_plainly_json() && contains_ignoring_case(self.media_type(), b"image")
    }

    fn is_json(&self) -> bool {
        self.is_plainly_json() || contains_ignoring_case(self.media_type(), b"json")
    }

    /// Returns whether each line of the body is an event: `application/x-ndjson`,
    /// `application/jsonl` and the like.
    pub(crate) fn is_lines(&self) -> bool {
        let is_named = |word| contains_ignoring_case(self.media_type(), word);
        !self.is_plainly_json() && (is_named(b"ndjson") || is_named(b"jsonl"))
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

impl<'a> Payload<'a> {
    /// Checks that a JSON payload is well formed.
    ///
    /// # Errors
    ///
    /// The payload is not JSON.
    pub(crate) fn check(&self) -> Result<(), json::Error> {
        match self {
            Self::Json(text) => {
                let mut reader = Reader::new(text);
                reader.skip()?;
                reader.end()
            }
            Self::Empty | Self::Lines(_) | Self::Form(_) => Ok(()),
        }
    }

    /// Parses a whole body.
    ///
    /// A body is JSON if its type contains `json`, or if it begins with `{`: `sendBeacon` sends
    /// JSON as `text/plain`, `curl -d` as a form, and other clients with no type or as
    /// `application/octet-stream`. Only the type makes a body NDJSON. A body without a type, a
    /// form, or `text/plain` may also be a urlencoded form, if its text looks like one
    /// ([`is_form`]); mere white space counts as no body. Bodies of other types are not accepted.
    ///
    /// Bytes that are invalid in the charset become U+FFFD.
    ///
    /// # Errors
    ///
    /// Any [`BodyError`].
    pub(crate) fn parse(declared: Declared<'_>, body: &'a [u8], arena: &'a Arena) -> Result<Self, BodyError> {
        let encoding = declared.content_encoding.unwrap_or_default().trim_ascii();
        if !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity") {
            return Err(BodyError::ContentEncoding);
        }
        // The header determines the charset even if the extension determines the type.
        let charset = match declared.content_type {
            None | Some(PLAIN_JSON) => UTF_8,
            Some(content_type) => charset_of(content_type)?,
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
        let without_mark = text.strip_prefix(BYTE_ORDER_MARK);
        if is_json || without_mark.unwrap_or(text).trim_ascii_start().starts_with('{') {
            return match without_mark {
                Some(_) => Err(BodyError::ByteOrderMark),
                None if declared.is_lines() => Ok(Self::Lines(text)),
                None => Ok(Self::Json(text)),
            };
        }
        // A line end at the end of a file is not part of its last value.
        let text = without_mark.unwrap_or(text).trim_end_matches(['\r', '\n']);
        let start = text.trim_ascii_start();
        if start.is_empty() {
            return Ok(Self::Empty);
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
            // The decoder reports what is wrong with it.
            return Ok(Self::Json(text));
        }
        Err(BodyError::Text)
    }
}

/// Returns whether a text looks like a urlencoded form: it has a value, and no name is impossible.
/// Markup, quoted text, multiple lines and binary data have characters before their first `=` that
/// every form encoder escapes.
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

/// Returns the charset of a `Content-Type`, UTF-8 by default, and checks the syntax of the header
/// ([RFC 9110, 8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.3)).
fn charset_of(content_type: &[u8]) -> Result<&'static Encoding, BodyError> {
    if content_type.trim_ascii().is_empty() {
        return Ok(UTF_8);
    }
    let mut rest = memchr::memchr(b';', content_type).map_or(&b""[..], |at| &content_type[at..]);
    let (kind, subtype) = split_at(essence(content_type), b'/').ok_or(BodyError::ContentType)?;
    if !is_token(kind) || !is_token(subtype) {
        return Err(BodyError::ContentType);
    }
    if kind.eq_ignore_ascii_case(b"multipart") {
        return Err(BodyError::Multipart);
    }
    let mut charset = UTF_8;
    while let Some(parameters) = rest.strip_prefix(b";") {
        let parameters = parameters.trim_ascii_start();
        if parameters.is_empty() || parameters.starts_with(b";") {
            rest = parameters;
            continue;
        }
        let (name, after) = split_at(parameters, b'=').ok_or(BodyError::ContentType)?;
        let (value, after) = take_value(after.trim_ascii_start()).ok_or(BodyError::ContentType)?;
        let name = name.trim_ascii_end();
        if !is_token(name) {
            return Err(BodyError::ContentType);
        }
        if name.eq_ignore_ascii_case(b"charset") {
            charset = Encoding::for_label_no_replacement(value).ok_or(BodyError::Charset)?;
        }
        rest = after.trim_ascii_start();
    }
    if rest.is_empty() {
        Ok(charset)
    } else {
        Err(BodyError::ContentType)
    }
}

/// Returns a `Content-Type` without its parameters.
fn essence(content_type: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    content_type[..end].trim_ascii()
}

/// Splits a token or a quoted string off the front. Escapes in quotes stay, because no charset has
/// any.
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

fn contains_ignoring_case(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a leaked arena: its values live as long as the test.
    fn arena() -> &'static Arena {
        Box::leak(Box::default())
    }

    fn parse<'a>(declared: Declared<'_>, body: &'a [u8]) -> Result<Payload<'a>, BodyError> {
        Payload::parse(declared, body, arena())
    }

    fn of_type(content_type: &str) -> Declared<'_> {
        Declared {
            content_type: Some(content_type.as_bytes()),
            ..Declared::default()
        }
    }

    fn json(text: &str) -> Result<Payload<'_>, BodyError> {
        Ok(Payload::Json(text))
    }

    fn form(text: &str) -> Result<Payload<'_>, BodyError> {
        Ok(Payload::Form(Fields::from_body(text, arena())))
    }

    #[test]
    fn takes_the_type_from_the_extension_before_the_header() {
        let extension = |extension| Declared {
            extension: Some(extension),
            ..of_type("text/plain")
        };
        assert_eq!(parse(extension("json"), b"[1]"), json("[1]"));
        assert_eq!(parse(extension("png"), b"a=1"), form("a=1"));
        let gif = Declared {
            extension: Some("gif"),
            ..of_type("application/json")
        };
        assert_eq!(parse(gif, b"a=1"), form("a=1"));
        assert!(gif.is_image());
        assert!(of_type("Image/png").is_image());
        assert!(
            !Declared {
                extension: Some("json"),
                ..of_type("image/png")
            }
            .is_image()
        );
    }

    #[test]
    fn knows_json_by_its_type_in_any_case() {
        for content_type in [
            "application/json",
            "APPLICATION/JSON",
            "application/vnd.x+json",
            "text/x; a=json",
        ] {
            assert_eq!(parse(of_type(content_type), b"5"), json("5"), "{content_type}");
        }
    }

    #[test]
    fn knows_json_by_its_brace_whatever_the_type() {
        for content_type in [
            "text/plain;charset=UTF-8",
            "application/x-www-form-urlencoded",
            "",
            "x/y",
        ] {
            assert_eq!(parse(of_type(content_type), b" \r\n{\"a\":1}"), json(" \r\n{\"a\":1}"));
        }
        assert_eq!(parse(Declared::default(), b"{"), json("{"));
        assert_eq!(parse(Declared::default(), b"a={"), form("a={"));
    }

    #[test]
    fn takes_a_form_by_its_text_where_the_type_allows_one() {
        let forms = [
            "a=1",
            "a",
            "a=1&b=&c",
            "a=b=c",
            "[a]=1",
            "first name=Bob Smith",
            "to=https://x.example/?q=\"<1>\"",
            "п=я",
            "a=1&&",
        ];
        for content_type in [
            "",
            "text/plain",
            "Text/Plain;charset=UTF-8",
            "application/x-www-form-urlencoded",
        ] {
            for text in forms {
                let expected = if text.contains('=') {
                    form(text)
                } else {
                    Err(BodyError::Text)
                };
                assert_eq!(
                    parse(of_type(content_type), text.as_bytes()),
                    expected,
                    "{content_type} {text}"
                );
            }
        }
        // A final line end belongs to the file; one inside a value requires a declared form.
        assert_eq!(parse(Declared::default(), b"a=1\r\n"), form("a=1"));
        let urlencoded = of_type("application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(parse(urlencoded, b"a=1\nb"), form("a=1\nb"));
        assert_eq!(parse(of_type("text/plain"), b"a=1\nb"), Err(BodyError::Text));
        assert_eq!(parse(Declared::default(), " \r\n".as_bytes()), Ok(Payload::Empty));
        assert_eq!(parse(Declared::default(), "\u{feff}a=1".as_bytes()), form("a=1"));
    }

    #[test]
    fn refuses_a_text_that_is_no_form() {
        let texts: [&[u8]; 12] = [
            b"5",
            b"null",
            b"\"a=b\"",
            b"hello, world",
            b"event,email\nopen,bob@example.com\n",
            b"url,event\nhttps://x.example/?a=1,open",
            b"<event name=\"open\"/>",
            b"<event>open</event>",
            b"a=1&<b>=2",
            b"\x0a\x04open\x12=x",
            b"\xff\xfe=1",
            b"- event: open\n  of: x=y\n",
        ];
        for text in texts {
            for content_type in ["", "text/plain", "application/x-www-form-urlencoded"] {
                let text_of = String::from_utf8_lossy(text);
                assert_eq!(
                    parse(of_type(content_type), text),
                    Err(BodyError::Text),
                    "{content_type} {text_of}"
                );
            }
        }
        // The decoder rejects an array.
        for text in ["[1]", " [{\"a\":\"b=c\"}]", "[1"] {
            assert_eq!(parse(of_type("text/plain"), text.as_bytes()), json(text));
        }
    }

    #[test]
    fn refuses_other_types_unless_the_body_is_an_object() {
        for content_type in [
            "text/csv",
            "application/xml",
            "text/html",
            "application/octet-stream",
            "application/x-protobuf",
            "image/png",
        ] {
            for body in [&b"a=1"[..], b"[1]", b"\x00\xff", b"<a/>"] {
                assert_eq!(
                    parse(of_type(content_type), body),
                    Err(BodyError::MediaType),
                    "{content_type}"
                );
            }
            assert_eq!(parse(of_type(content_type), b"{}"), json("{}"), "{content_type}");
            assert_eq!(parse(of_type(content_type), b""), Ok(Payload::Empty), "{content_type}");
        }
        // An extension is the type that the request asks for; only `json` is also the type of the
        // body.
        let gif = Declared {
            extension: Some("gif"),
            ..of_type("text/csv")
        };
        assert_eq!(parse(gif, b"a=1"), Err(BodyError::MediaType));
        assert_eq!(BodyError::MediaType.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        for taken in TAKEN_TYPES.split(", ") {
            assert!(BodyError::MediaType.reason().contains(taken), "{taken}");
        }
    }

    #[test]
    fn takes_an_empty_body_but_not_as_json() {
        assert_eq!(parse(Declared::default(), b""), Ok(Payload::Empty));
        assert_eq!(
            parse(of_type("application/x-www-form-urlencoded"), b""),
            Ok(Payload::Empty)
        );
        assert_eq!(parse(of_type("application/json"), b""), Err(BodyError::EmptyJson));
    }

    #[test]
    fn refuses_a_malformed_type() {
        let malformed = [
            "foo",
            "foo/",
            "/foo",
            "a/b/c",
            "a b/c",
            "a/b; charset",
            "a/b; charset=",
            "a/b; =utf-8",
            "a/b; charset=\"utf-8",
            "a/b; charset=utf-8 x",
            "a/b; ch arset=utf-8",
            "a/b; charset=\"\\",
            "a/b, c/d",
            "ж/json",
            ";charset=utf-8",
        ];
        for content_type in malformed {
            assert_eq!(
                parse(of_type(content_type), b"a=1"),
                Err(BodyError::ContentType),
                "{content_type}"
            );
        }
        for content_type in [
            "text/plain;",
            "text/plain ; x=y ;; charset = \"UTF-8\" ",
            "text/plain;x=\"a;\\\"b\";charset=utf8",
            " ",
        ] {
            assert_eq!(parse(of_type(content_type), b"a=1"), form("a=1"), "{content_type}");
        }
    }

    #[test]
    fn honours_the_charset() {
        let cyrillic = of_type("application/json; charset=windows-1251");
        assert_eq!(parse(cyrillic, b"{\"a\":\"\xef\"}"), json("{\"a\":\"п\"}"));
        let form_in_koi = of_type("application/x-www-form-urlencoded; Charset=\"KOI8-R\"");
        assert_eq!(parse(form_in_koi, b"a=\xd0"), form("a=п"));
        for unknown in ["klingon", "hz-gb-2312", "\"\"", "utf-7"] {
            let content_type = format!("application/json; charset={unknown}");
            assert_eq!(
                parse(of_type(&content_type), b"{}"),
                Err(BodyError::Charset),
                "{unknown}"
            );
        }
    }

    #[test]
    fn borrows_utf8_and_replaces_what_is_not() {
        assert!(matches!(parse(Declared::default(), b"{}"), Ok(Payload::Json(_))));
        assert_eq!(
            parse(Declared::default(), b"{\"a\":\"\xff\"}"),
            json("{\"a\":\"\u{fffd}\"}")
        );
        assert_eq!(parse(Declared::default(), b"a=\xff&b=%D0%BF"), form("a=\u{fffd}&b=п"));
    }

    #[test]
    fn refuses_a_byte_order_mark_before_json_only() {
        let body = "\u{feff}{\"a\":1}".as_bytes();
        assert_eq!(parse(of_type("application/json"), body), Err(BodyError::ByteOrderMark));
        assert_eq!(parse(of_type("text/plain"), body), Err(BodyError::ByteOrderMark));
    }

    #[test]
    fn refuses_what_it_cannot_unpack() {
        let encoded = |encoding: &'static str| Declared {
            content_encoding: Some(encoding.as_bytes()),
            ..Declared::default()
        };
        for encoding in ["gzip", "br", "identity, gzip"] {
            assert_eq!(parse(encoded(encoding), b"{}"), Err(BodyError::ContentEncoding));
        }
        assert_eq!(parse(encoded(" Identity "), b"{}"), json("{}"));
        let multipart = of_type("Multipart/form-data; boundary=b");
        assert_eq!(parse(multipart, b"--b--"), Err(BodyError::Multipart));
        assert_eq!(BodyError::Multipart.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(BodyError::Charset.status(), StatusCode::BAD_REQUEST);
    }
}
