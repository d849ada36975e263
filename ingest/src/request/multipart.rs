//! Multipart forms: the fields and the files of a `multipart/form-data` body
//! ([RFC 7578](https://www.rfc-editor.org/rfc/rfc7578)).
//!
//! A form is complete if its last boundary is there, so a form that is cut anywhere is malformed.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::request::content_type::Declared;

/// The maximum number of parts.
const MAX_PARTS: usize = 1_000;

/// The maximum length of the boundary and the head of a file whose size may be that of many events.
const MAX_HEAD: usize = 1 << 10;

/// The maximum length of a boundary, as RFC 2046 states it.
const MAX_BOUNDARY: usize = 70;

/// The characters that are escaped in a urlencoded form; brackets in names nest.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'[')
    .remove(b']')
    .remove(b'_')
    .remove(b'.')
    .remove(b'-');

/// One part of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    /// Whether the part is a file.
    pub(super) is_file: bool,
    /// The part's own `Content-Type`.
    pub(super) content_type: Option<&'a str>,
    pub(super) content: &'a str,
}

/// Returns the boundary that a `Content-Type` of `multipart/form-data` names.
pub(super) fn boundary_of(content_type: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(content_type).ok()?;
    let (media_type, parameters) = text.split_once(';')?;
    if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameter(parameters, "boundary")?;
    (1..=MAX_BOUNDARY).contains(&boundary.len()).then_some(boundary)
}

/// Returns whether a body may be a form whose only part is a file of many events, as far as its start
/// shows.
#[cold]
pub(super) fn begins_with_bulk(start: &[u8]) -> bool {
    if !start.starts_with(b"--") {
        return false;
    }
    let Some(head_end) = start.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return start.len() < MAX_HEAD;
    };
    let (head, content) = start.split_at(head_end + 4);
    let Some(part) = std::str::from_utf8(head)
        .ok()
        .and_then(|head| part_of(head.split_once("\r\n")?.1))
    else {
        return false;
    };
    let declared = Declared {
        content_type: part.content_type.map(str::as_bytes),
        ..Declared::default()
    };
    let content = content.trim_ascii_start();
    part.is_file && (declared.batch_format().is_some() || content.is_empty() || content.starts_with(b"["))
}

/// Returns the parts of a form; `None` if it is malformed or its end is missing.
pub(super) fn parts<'a>(text: &'a str, boundary: &str) -> Option<Vec<Part<'a>>> {
    let delimiter = format!("\r\n--{boundary}");
    // The first boundary may begin the body.
    let mut rest = match text.strip_prefix(&delimiter[2..]) {
        Some(rest) => rest,
        None => text.split_once(&delimiter)?.1,
    };
    let mut parts = Vec::new();
    loop {
        if rest.starts_with("--") {
            return Some(parts);
        }
        // White space may follow a boundary.
        rest = rest.trim_start_matches([' ', '\t']).strip_prefix("\r\n")?;
        let (part, after) = rest.split_once(&delimiter)?;
        if parts.len() == MAX_PARTS {
            return None;
        }
        parts.push(part_of(part)?);
        rest = after;
    }
}

fn part_of(part: &str) -> Option<Part<'_>> {
    let (head, content) = part.split_once("\r\n\r\n")?;
    let mut disposition = None;
    let mut content_type = None;
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-disposition") {
            disposition = Some(value.trim());
        } else if name.eq_ignore_ascii_case("content-type") {
            content_type = Some(value.trim());
        }
    }
    let (kind, parameters) = disposition?.split_once(';')?;
    kind.trim().eq_ignore_ascii_case("form-data").then_some(())?;
    Some(Part {
        name: parameter(parameters, "name")?,
        is_file: parameter(parameters, "filename").is_some(),
        content_type,
        content,
    })
}

/// Returns the value of a parameter, a token or a quoted text.
fn parameter(mut parameters: &str, wanted: &str) -> Option<String> {
    loop {
        let (name, rest) = parameters.split_once('=')?;
        let name = name.trim_start_matches([';', ' ', '\t']).trim_end();
        let rest = rest.trim_start();
        let (value, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = rest.find(';').unwrap_or(rest.len());
                (rest[..end].trim().to_owned(), &rest[end..])
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        parameters = after;
    }
}

/// Reads a quoted text behind its first quote. Browsers escape a quote and line ends as `%22`, `%0D`
/// and `%0A`; older clients escape a quote with a backslash.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let value = value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
                return Some((value, &text[at + 1..]));
            }
            '\\' if text[at + 1..].starts_with(['"', '\\']) => value.extend(characters.next().map(|(_, next)| next)),
            _ => value.push(character),
        }
    }
    None
}

/// Returns the fields of a form as a urlencoded text.
pub(super) fn urlencoded(fields: &[Part<'_>]) -> String {
    let pairs = fields.iter().map(|field| {
        let escaped = |text| utf8_percent_encode(text, ESCAPED).to_string();
        format!("{}={}", escaped(&field.name), escaped(field.content))
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Returns the names, kinds and contents of the parts with the boundary `b`.
    fn split(text: &str) -> Option<Vec<(String, bool, String)>> {
        let parts = parts(text, "b")?.into_iter();
        Some(
            parts
                .map(|part| (part.name, part.is_file, part.content.to_owned()))
                .collect(),
        )
    }

    fn field(name: &str, content: &str) -> (String, bool, String) {
        (name.to_owned(), false, content.to_owned())
    }

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b\r\n\
                        content-disposition: form-data; name=\"f\"; filename=\"x.csv\"\r\nContent-Type: text/csv\r\n\r\n\
                        n\r\n5\r\n\r\n--b--\r\n";

    #[test]
    fn the_parts_of_a_form_are_found() {
        assert_eq!(
            split(FORM),
            Some(vec![field("a", "1"), ("f".to_owned(), true, "n\r\n5\r\n".to_owned())])
        );
        let one = |disposition: &str| {
            split(&format!(
                "preamble\r\n--b \r\nContent-Disposition: {disposition}\r\n\r\n\r\n--x\r\n--b--"
            ))
        };
        for (disposition, name) in [
            ("form-data; name=a", "a"),
            ("form-data;name=\"a b\"", "a b"),
            ("form-data; x=\"name=y;\"; name=\"a%22\\\"\\\\\"", "a\"\"\\"),
        ] {
            assert_eq!(one(disposition), Some(vec![field(name, "\r\n--x")]), "{disposition}");
        }
        assert_eq!(split("--b--"), Some(vec![]));
        for disposition in [
            "form-data",
            "attachment; name=a",
            "form-data; filename=a",
            "form-data; name=\"a",
        ] {
            assert_eq!(one(disposition), None, "{disposition}");
        }
    }

    #[test]
    fn a_form_that_is_cut_is_malformed() {
        let end = FORM.len() - "\r\n".len();
        for cut in 0..end {
            assert_eq!(split(&FORM[..cut]), None, "{:?}", &FORM[..cut]);
        }
        let many = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(MAX_PARTS + 1) + "--b--";
        assert_eq!(split(&many), None);
    }

    #[test]
    fn a_file_of_many_events_is_known_by_its_start() {
        let part =
            |head: &str, content: &str| format!("--b\r\nContent-Disposition: form-data; name=f{head}\r\n\r\n{content}");
        for (start, is_bulk) in [
            (part("; filename=x\r\nContent-Type: text/csv", "a,b"), true),
            (part("; filename=x\r\nContent-Type: application/x-ndjson", "{}"), true),
            (part("; filename=x\r\nContent-Type: application/json", " [{}"), true),
            (part("; filename=x\r\nContent-Type: application/json", "{"), false),
            (part("; filename=x", ""), true),
            (part("\r\nContent-Type: text/csv", "a,b"), false),
            (part("", "[1"), false),
            ("--b\r\nContent-Disp".to_owned(), true),
            (format!("--{}", "b".repeat(MAX_HEAD)), false),
            ("--b\r\n\r\nx".to_owned(), false),
            ("[1]".to_owned(), false),
        ] {
            assert_eq!(begins_with_bulk(start.as_bytes()), is_bulk, "{start}");
        }
    }

    #[test]
    fn the_boundary_is_a_parameter_of_the_type() {
        for (content_type, boundary) in [
            ("multipart/form-data; boundary=b", Some("b")),
            ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"", Some("a b")),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data", None),
            ("multipart/mixed; boundary=b", None),
        ] {
            assert_eq!(
                boundary_of(content_type.as_bytes()).as_deref(),
                boundary,
                "{content_type}"
            );
        }
        assert_eq!(
            boundary_of(format!("multipart/form-data; boundary={}", "b".repeat(71)).as_bytes()),
            None
        );
    }

    #[test]
    fn fields_are_escaped_as_in_a_urlencoded_form() {
        let part = |name: &str, content: &'static str| Part {
            name: name.to_owned(),
            is_file: false,
            content_type: None,
            content,
        };
        let fields = [part("a[b]", "x &=я"), part("c+", "")];
        assert_eq!(urlencoded(&fields), "a[b]=x%20%26%3D%D1%8F&c%2B=");
    }
}
