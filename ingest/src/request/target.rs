//! The path of a request: `/<service>/<name>/<projectId>/…`, with an optional segment `band` and an
//! extension.
//!
//! Takes a path from [`http::Uri::path`] (no query, no fragment), borrows its parts, and never
//! fails: an absent part is empty. The parts are not percent-decoded, so a name keeps the bytes
//! that the client sent.

use std::borrow::Cow;

/// The segment that asks for a native answer; the first one is removed from the path.
const NATIVE_MARK: &str = "band";

/// Aliases of services; they apply in a path only, never to a `service` in a query or a body.
const ALIASES: [(&str, &str); 4] = [("away", "redir"), ("gif", "pixel"), ("img", "pixel"), ("t4k", "track")];

/// The parts of a request's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Target<'a> {
    /// The first segment, with its alias resolved; empty if absent.
    pub(crate) service: &'a str,
    /// The second segment; empty if absent.
    pub(crate) name: &'a str,
    /// The third segment as sent; empty if absent.
    pub(crate) project: &'a str,
    /// The text after the last dot of the last segment.
    pub(crate) extension: Option<&'a str>,
    /// Whether the response has the native structure.
    pub(crate) native: bool,
}

impl<'a> Target<'a> {
    /// Parses `path` in one pass, without copies.
    pub(crate) fn parse(path: &'a str) -> Self {
        let mut target = Self::default();
        let Some(first) = position_of(b'/', path) else {
            return target;
        };
        let mut index = 0;
        let mut rest = Some(&path[first + 1..]);
        while let Some(path) = rest {
            let segment = match position_of(b'/', path) {
                Some(end) => {
                    rest = Some(&path[end + 1..]);
                    &path[..end]
                }
                None => {
                    rest = None;
                    target.without_extension(path)
                }
            };
            if !target.native && segment == NATIVE_MARK {
                target.native = true;
                continue;
            }
            match index {
                0 => target.service = resolve_alias(segment),
                1 => target.name = segment,
                2 => target.project = segment,
                // Further segments have no meaning, except the native mark.
                _ => {}
            }
            index += 1;
        }
        target
    }

    /// Cuts the extension off the last segment.
    fn without_extension(&mut self, segment: &'a str) -> &'a str {
        let Some(dot) = segment.bytes().rposition(|byte| byte == b'.') else {
            return segment;
        };
        self.extension = Some(&segment[dot + 1..]).filter(|extension| !extension.is_empty());
        &segment[..dot]
    }
}

/// Returns the position of the first `byte`. Segments are short: a simple loop is done before a
/// vectorized search has started.
#[inline]
fn position_of(byte: u8, text: &str) -> Option<usize> {
    text.bytes().position(|other| other == byte)
}

fn resolve_alias(service: &str) -> &str {
    match ALIASES.iter().find(|(alias, _)| *alias == service) {
        Some((_, service)) => service,
        None => service,
    }
}

/// Returns the form of an event's name for the lookup of destinations: lower case, with an
/// underscore for each white space.
///
/// Borrows if the name already has that form. White space is JavaScript's `\s`, so that the same
/// names match as in Rockstat.
pub(crate) fn name_key(name: &str) -> Cow<'_, str> {
    let is_key = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
    if name.bytes().all(is_key) {
        return Cow::Borrowed(name);
    }
    let is_white = |c: char| (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}';
    Cow::Owned(name.to_lowercase().replace(is_white, "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(service: &'a str, name: &'a str, project: &'a str) -> Target<'a> {
        Target {
            service,
            name,
            project,
            ..Target::default()
        }
    }

    #[test]
    fn parses_the_first_three_segments() {
        let cases = [
            ("/wh/mail/5", target("wh", "mail", "5")),
            ("/wh/mail/5/extra/x", target("wh", "mail", "5")),
            ("/wh/mail/", target("wh", "mail", "")),
            ("/wh/mail", target("wh", "mail", "")),
            ("/wh", target("wh", "", "")),
            ("/", target("", "", "")),
            ("", target("", "", "")),
            ("*", target("", "", "")),
            ("//wh/mail", target("", "wh", "mail")),
            ("/wh//5", target("wh", "", "5")),
            ("/wh/ma%20il%2Fx", target("wh", "ma%20il%2Fx", "")),
        ];
        for (path, expected) in cases {
            assert_eq!(Target::parse(path), expected, "{path}");
        }
    }

    #[test]
    fn cuts_the_extension_off_the_last_segment_only() {
        let cases = [
            ("/wh/mail.json", target("wh", "mail", ""), Some("json")),
            ("/wh/v1.2.3", target("wh", "v1.2", ""), Some("3")),
            ("/wh/.json", target("wh", "", ""), Some("json")),
            ("/w.h/mail", target("w.h", "mail", ""), None),
            ("/wh/mail/1.5", target("wh", "mail", "1"), Some("5")),
            ("/wh/mail/5/more.gif", target("wh", "mail", "5"), Some("gif")),
            ("/wh/mail.", target("wh", "mail", ""), None),
            ("/wh.gif/", target("wh.gif", "", ""), None),
        ];
        for (path, expected, extension) in cases {
            assert_eq!(Target::parse(path), Target { extension, ..expected }, "{path}");
        }
    }

    #[test]
    fn removes_the_first_native_mark_at_any_position() {
        let cases = [
            ("/band/wh/mail", target("wh", "mail", "")),
            ("/wh/band/mail", target("wh", "mail", "")),
            ("/wh/mail/5/x/band", target("wh", "mail", "5")),
            ("/band/band/wh/mail", target("band", "wh", "mail")),
            (
                "/band/t4k.gif",
                Target {
                    extension: Some("gif"),
                    ..target("track", "", "")
                },
            ),
            (
                "/wh/mail/band.json",
                Target {
                    extension: Some("json"),
                    ..target("wh", "mail", "")
                },
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(
                Target::parse(path),
                Target {
                    native: true,
                    ..expected
                },
                "{path}"
            );
        }
        assert!(!Target::parse("/wh/Band").native);
        assert!(!Target::parse("/wh/bands").native);
    }

    #[test]
    fn resolves_the_alias_of_a_service_only() {
        for (alias, service) in [("away", "redir"), ("gif", "pixel"), ("img", "pixel"), ("t4k", "track")] {
            assert_eq!(Target::parse(&format!("/{alias}/gif")), target(service, "gif", ""));
        }
        assert_eq!(Target::parse("/GIF/x").service, "GIF");
    }

    #[test]
    fn parses_the_path_of_a_request_line() {
        for (line, expected) in [
            ("/wh/mail?x=/a/b.json", target("wh", "mail", "")),
            ("http://stat.example/wh/mail", target("wh", "mail", "")),
            ("/wh/mail#fragment.gif", target("wh", "mail", "")),
        ] {
            let uri: http::Uri = line.parse().unwrap_or_default();
            assert_eq!(Target::parse(uri.path()), expected, "{line}");
        }
    }

    #[test]
    fn the_key_of_a_name_is_lower_case_with_underscores() {
        assert!(matches!(name_key("mail_open-1.2"), Cow::Borrowed("mail_open-1.2")));
        assert!(matches!(name_key(""), Cow::Borrowed("")));
        let cases = [
            ("MAIL", "mail"),
            ("Page View", "page_view"),
            ("a\t\u{a0}b\u{feff}", "a__b_"),
            ("a\u{85}", "a\u{85}"),
            ("Письмо", "письмо"),
        ];
        for (name, key) in cases {
            assert_eq!(name_key(name), key);
        }
    }
}
