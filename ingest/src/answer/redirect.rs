//! The target of a redirect: turns the text of `to` into the value of a `Location` header, or an
//! error.
//!
//! Only an absolute `http` or `https` URL with a host and without user information is accepted. The
//! `url` crate parses it as browsers do. A redirect therefore leads to a web page only, and the
//! host that a visitor sees is the host that the browser opens. A host of the visitor's own
//! computer or network is refused, since a link from outside has no business there.

use http::{HeaderValue, StatusCode};
use url::{Host, Url};

use crate::answer::private_host::{LOCAL_DOMAINS, is_private};

/// The longest target, in bytes, as given and as sent; browsers and proxies accept no more in one
/// header line.
pub(crate) const MAX_TARGET_BYTES: usize = 8 * 1024;

/// The reason why a target is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedirectError {
    /// The target is absent or empty.
    Missing,
    /// The target is longer than [`MAX_TARGET_BYTES`].
    TooLong,
    /// The target has a control character that URL parsers drop silently: two parsers may read two
    /// URLs.
    ControlCharacter,
    /// The target is not `http://…` or `https://…`: another scheme, a relative path, `//host`.
    NotWeb,
    /// A user name or password precedes the host; only links that hide their host need one.
    UserInfo,
    /// The host or the port is invalid.
    Malformed,
    /// The host is the visitor's computer, or is in a private network.
    Private,
    /// The route does not lead to this host.
    Host,
    /// The link is not signed for this route and target.
    Signature,
    /// The time of the link is over.
    Expired,
}

impl RedirectError {
    /// Returns the message for the client.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "Parameter \"to\" is required",
            Self::TooLong => "parameter \"to\" is longer than 8192 bytes",
            Self::ControlCharacter => "parameter \"to\" contains a control character",
            Self::NotWeb => "parameter \"to\" must begin with http:// or https://",
            Self::UserInfo => "parameter \"to\" must not have a user name before its host",
            Self::Malformed => "parameter \"to\" is not a valid URL",
            Self::Private => "parameter \"to\" leads to a private host",
            Self::Host => "parameter \"to\" leads to a host that this link may not lead to",
            Self::Signature => "the link is not signed for this \"to\"",
            Self::Expired => "the link has expired",
        }
    }

    /// Returns the status of the response.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Private | Self::Host | Self::Signature | Self::Expired => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl std::fmt::Display for RedirectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for RedirectError {}

/// A checked target, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location(HeaderValue);

impl Location {
    /// Checks the decoded text of `to`.
    ///
    /// The host is sent as the parser writes it: decoded, in lower case, an international one in
    /// Punycode, an address in its usual form. If the text consists of URL characters only, path,
    /// query and fragment are sent unchanged. Otherwise they are percent-encoded.
    ///
    /// # Errors
    ///
    /// Any [`RedirectError`] about the text; absent and empty parameters are both
    /// [`RedirectError::Missing`].
    #[inline]
    pub(crate) fn parse(to: &str) -> Result<Self, RedirectError> {
        Self::parse_any(to, false)
    }

    /// As [`parse`](Self::parse), but accepts private hosts, too.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    #[cold]
    pub(crate) fn parse_private(to: &str) -> Result<Self, RedirectError> {
        Self::parse_any(to, true)
    }

    #[inline(always)]
    fn parse_any(to: &str, accepts_private: bool) -> Result<Self, RedirectError> {
        if to.is_empty() {
            return Err(RedirectError::Missing);
        }
        if to.len() > MAX_TARGET_BYTES {
            return Err(RedirectError::TooLong);
        }
        let is_plain = is_plain(to);
        if !is_plain && has_dropped_control(to.as_bytes()) {
            return Err(RedirectError::ControlCharacter);
        }
        // Stricter than the parser, which also accepts `https:host` and `https:/host`: browsers
        // read these in a header as relative to the page's host.
        let rest = strip_web_scheme(to.trim_matches(' ')).ok_or(RedirectError::NotWeb)?;
        if authority(rest).contains('@') {
            return Err(RedirectError::UserInfo);
        }
        if is_plain && has_plain_host(rest) {
            return HeaderValue::try_from(to)
                .map(Self)
                .map_err(|_| RedirectError::Malformed);
        }
        let url = Url::parse(to).map_err(|_| RedirectError::Malformed)?;
        let host = url.host().ok_or(RedirectError::Malformed)?;
        if !accepts_private && is_private(&host) {
            return Err(RedirectError::Private);
        }
        let value = if is_plain && !rest.starts_with('/') {
            let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
            let after_authority = &rest[authority(rest).len()..];
            HeaderValue::try_from(format!("{}://{host}{port}{after_authority}", url.scheme()))
        } else {
            HeaderValue::try_from(String::from(url))
        }
        .map_err(|_| RedirectError::Malformed)?;
        if value.len() > MAX_TARGET_BYTES {
            return Err(RedirectError::TooLong);
        }
        Ok(Self(value))
    }

    /// Returns the text that is sent; always ASCII.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Returns the host; a name in lower case.
    pub(crate) fn host(&self) -> Option<Host> {
        Url::parse(self.as_str()).ok()?.host().map(|host| host.to_owned())
    }

    /// Returns the value of the header.
    pub(crate) fn into_value(self) -> HeaderValue {
        self.0
    }
}

/// Returns whether the parser would drop a control character: tab and line ends anywhere, others at
/// the ends. The parser percent-encodes all others, which hides nothing.
fn has_dropped_control(text: &[u8]) -> bool {
    let is_line_control = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r');
    let ends = [text.first(), text.last()];
    ends.into_iter().flatten().any(u8::is_ascii_control) || text.iter().any(is_line_control)
}

fn strip_web_scheme(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let rest = rest.strip_prefix("//")?;
    (scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")).then_some(rest)
}

/// Returns the part after `scheme://` in which the parser finds user, host and port.
fn authority(rest: &str) -> &str {
    let rest = rest.trim_start_matches(['/', '\\']);
    rest.split(['/', '\\', '?', '#']).next().unwrap_or_default()
}

/// Returns whether the host is a lower-case name whose last label has letters only, without a port,
/// and is no private one. The parser always accepts such a host unchanged. Most redirects therefore need no parser,
/// which takes more instructions than all other work on the event.
fn has_plain_host(rest: &str) -> bool {
    /// The longest name that the parser checks as a whole.
    const MAX_HOST_BYTES: usize = 253;

    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    // Labels with two hyphens in a row, such as `xn--`, need the parser.
    let is_label = |label: &str| {
        label.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && label.len() <= 63
            && !label.ends_with('-')
            && !label.as_bytes().windows(2).any(|pair| pair == b"--")
            && label.bytes().all(|byte| is_inner(byte) || byte == b'-')
    };
    let is_name = |label: &str| label.bytes().all(|byte| byte.is_ascii_lowercase()) && !LOCAL_DOMAINS.contains(&label);
    host.len() <= MAX_HOST_BYTES && host.split('.').all(is_label) && host.rsplit('.').next().is_some_and(is_name)
}

/// Returns whether `text` consists of the characters that
/// [RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-2) allows in a URL, so that it can go
/// into a header unchanged.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| {
        matches!(
            byte,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@'
                | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b'%'
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sent(to: &str) -> Result<String, RedirectError> {
        Location::parse(to).map(|location| location.as_str().to_owned())
    }

    #[test]
    fn sends_a_plain_url_unchanged() {
        for to in [
            "https://ya.ru",
            "http://ya.ru/",
            "https://ya.ru:8443/a/../b?x=1&y=a+b%20c#part",
            "https://example.org/a%20b?q=100%25#part",
            "https://example.org?a=/../b",
            "HTTPS://ya.ru/it's(fine)",
            "http://[2001:db8::1]:8080/x",
            "http://93.184.216.34/x",
            "https://ya.ru/mail@example.com?to=a@b",
            "https://xn--80a.xn--p1ai/%D0%BF",
        ] {
            assert_eq!(sent(to).as_deref(), Ok(to));
        }
    }

    #[test]
    fn writes_the_host_as_browsers_read_it() {
        for (to, expected) in [
            (
                "https://%65%76%69%6c.com/a%20b?q=%31#%32",
                "https://evil.com/a%20b?q=%31#%32",
            ),
            (
                "https://Ya.Ru:8443/a/../b?x=1#part",
                "https://ya.ru:8443/a/../b?x=1#part",
            ),
            ("https://YA.RU:443?x", "https://ya.ru?x"),
            ("http://0x5d.0xb8.0xd8.0x22/", "http://93.184.216.34/"),
            ("http://1572395042", "http://93.184.216.34"),
            ("http://[2001:DB8:0::1]/", "http://[2001:db8::1]/"),
            ("https://%D0%BF.%D1%80%D1%84/", "https://xn--o1a.xn--p1ai/"),
        ] {
            assert_eq!(sent(to).as_deref(), Ok(expected), "{to}");
        }
    }

    #[test]
    fn refuses_private_hosts_in_each_spelling() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "%6cocalhost",
            "printer.local",
            "db.internal",
            "db.internal.",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "0.0.0.0",
            "0",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::10.0.0.1]",
            "[fe80::1]",
            "[fd00::1]",
        ] {
            for to in [
                format!("http://{host}"),
                format!("http://{host}:8123/?a=b"),
                format!("http:///{host}"),
            ] {
                assert_eq!(sent(&to), Err(RedirectError::Private), "{to}");
                assert!(Location::parse_private(&to).is_ok(), "{to}");
            }
        }
        for host in [
            "localhost.com",
            "notlocalhost",
            "locale",
            "11.0.0.1",
            "172.32.0.1",
            "[2606:4700::1]",
        ] {
            assert!(sent(&format!("http://{host}/")).is_ok(), "{host}");
        }
    }

    #[test]
    fn encodes_characters_that_a_header_cannot_contain() {
        let cases = [
            ("https://президент.рф", "https://xn--d1abbgf6aiiy.xn--p1ai/"),
            (
                "https://ya.ru/путь?q=п р#я",
                "https://ya.ru/%D0%BF%D1%83%D1%82%D1%8C?q=%D0%BF%20%D1%80#%D1%8F",
            ),
            ("https://ya.ru/a b\"<>", "https://ya.ru/a%20b%22%3C%3E"),
            (" https://ya.ru ", "https://ya.ru/"),
            ("https://ya.ru/a\u{1}b", "https://ya.ru/a%01b"),
            ("https:\\\\ya.ru\\x", ""),
            ("https://ya.ru\\x", "https://ya.ru/x"),
            ("https:///ya.ru", "https://ya.ru/"),
        ];
        for (to, expected) in cases {
            if expected.is_empty() {
                assert_eq!(sent(to), Err(RedirectError::NotWeb), "{to}");
            } else {
                assert_eq!(sent(to).as_deref(), Ok(expected), "{to}");
            }
        }
    }

    #[test]
    fn rejects_a_target_that_is_not_an_absolute_web_url() {
        let cases = [
            ("", RedirectError::Missing),
            ("javascript:alert(1)", RedirectError::NotWeb),
            ("javascript://ya.ru/%0aalert(1)", RedirectError::NotWeb),
            ("data:text/html,x", RedirectError::NotWeb),
            ("//evil.com", RedirectError::NotWeb),
            ("/local", RedirectError::NotWeb),
            ("local", RedirectError::NotWeb),
            ("https:evil.com", RedirectError::NotWeb),
            ("https:/evil.com", RedirectError::NotWeb),
            ("/\\evil.com", RedirectError::NotWeb),
            ("ftp://ya.ru", RedirectError::NotWeb),
            ("[object Object]", RedirectError::NotWeb),
            ("\u{a0}https://ya.ru", RedirectError::NotWeb),
            ("https://", RedirectError::Malformed),
            ("https://?x", RedirectError::Malformed),
            ("https://ya.ru:99999", RedirectError::Malformed),
            ("https://a b.ru", RedirectError::Malformed),
            ("https://[::1", RedirectError::Malformed),
        ];
        for (to, error) in cases {
            assert_eq!(sent(to), Err(error), "{to}");
        }
    }

    #[test]
    fn rejects_user_information() {
        for to in [
            "https://good.ru@evil.com?",
            "https://user:password@evil.com",
            "https://@evil.com",
            "https://good.ru@evil.com@good.ru",
            "https:///good.ru@evil.com",
            "https://good.ru:80@evil.com/x",
        ] {
            assert_eq!(sent(to), Err(RedirectError::UserInfo), "{to}");
        }
        // Here the at sign comes after the host, because the parser reads a backslash as a slash.
        for to in [
            "https://good.ru\\@evil.com",
            "https://good.ru/@evil.com",
            "https://good.ru#@evil.com",
        ] {
            let sent = sent(to).unwrap();
            let url = Url::parse(&sent).unwrap();
            assert_eq!((url.host_str(), url.username()), (Some("good.ru"), ""), "{to}");
        }
    }

    #[test]
    fn rejects_control_characters_that_parsers_drop() {
        for to in [
            "https://ya.ru/\r\nSet-Cookie: uid=1",
            "java\tscript://ya.ru",
            "ht\ntps://ya.ru",
            "https://ya.ru/\t",
            "\u{1}https://ya.ru",
            "https://ya.ru\0",
        ] {
            assert_eq!(sent(to), Err(RedirectError::ControlCharacter), "{to:?}");
        }
    }

    #[test]
    fn limits_the_length_before_and_after_encoding() {
        let fits = format!("https://ya.ru/{}", "a".repeat(MAX_TARGET_BYTES - 14));
        assert_eq!(sent(&fits).as_deref(), Ok(fits.as_str()));
        assert_eq!(sent(&format!("{fits}a")), Err(RedirectError::TooLong));
        assert_eq!(
            sent(&format!("https://ya.ru/{}", "я".repeat(2_000))),
            Err(RedirectError::TooLong)
        );
        assert!(RedirectError::TooLong.reason().contains(&MAX_TARGET_BYTES.to_string()));
    }

    #[test]
    fn the_parser_leaves_each_plain_host_unchanged() {
        let plain = [
            "ya.ru",
            "localhost.com",
            "a",
            "a-b.c1.xyz",
            "1.2.3.com",
            "0x7f.a",
            "a.b.c.d.e",
        ];
        let tails = ["", "/", "/a//b?c=d#e", "?a=b", "#a", "/..//@x", "/[%]", "/%zz"];
        for host in plain {
            for tail in tails {
                let to = format!("https://{host}{tail}");
                assert!(has_plain_host(&to["https://".len()..]), "{to}");
                let url = Url::parse(&to).unwrap();
                assert_eq!(
                    (url.host_str(), url.port(), url.username()),
                    (Some(host), None, ""),
                    "{to}"
                );
                assert_eq!(Location::parse(&to).unwrap().as_str(), to);
            }
        }
        let long = format!("{}.a", "a".repeat(64));
        let others = [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "1.2.3.4",
            "127.1",
            "a.0x7f",
            "xn--a.b",
            "a--b.c",
            "-a.b",
            "a-.b",
            "A.b",
            "a_b.c",
            "localhost",
            "a.internal",
            "a:80",
            "a@b",
            "[::1]",
            "%61.b",
            "п.рф",
            "a\\b",
            &long,
        ];
        for host in others {
            assert!(!has_plain_host(host), "{host}");
        }
    }
}
