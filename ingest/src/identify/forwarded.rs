//! The address of the client behind proxies: which header names it, and which of its entries.
//!
//! Each proxy adds the address of its own peer to the end of a list. Entries to the left of the last
//! proxy that is trusted may be anybody's text, so the list is read from its end: the first address
//! that is not a trusted proxy's is the client's. An entry that is not an address ends the search;
//! the client then is the proxy that has added this entry. A sender can hide its address in this
//! way, and it can never choose one.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};

use super::proxies::TrustedProxies;
use crate::request::headers::{RequestHeaders, X_FORWARDED_FOR};

/// The proxies, and the header in which they name the client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies {
    pub(crate) trusted: TrustedProxies,
    /// The only header that names the client. `None` means `X-Real-IP`; in a request without it,
    /// `X-Forwarded-For`; in a request without both, `Forwarded`.
    pub(crate) address_header: Option<HeaderName>,
}

impl Proxies {
    /// Returns the address of the client that a trusted proxy names, or that of the proxy.
    pub(super) fn client_behind(&self, proxy: IpAddr, headers: &RequestHeaders<'_>, all: &HeaderMap) -> IpAddr {
        match &self.address_header {
            None => match headers.real_ip {
                Some(value) => value.to_str().ok().and_then(address).unwrap_or(proxy),
                None if headers.is_forwarded => self.first_untrusted(proxy, list_of(all, None)),
                None => proxy,
            },
            Some(name) => self.first_untrusted(proxy, list_of(all, Some(name))),
        }
    }

    /// Returns the last address of a list that is not a trusted proxy's. If all are, the first.
    #[cold]
    fn first_untrusted(&self, proxy: IpAddr, list: Vec<Option<IpAddr>>) -> IpAddr {
        let mut client = proxy;
        for entry in list.into_iter().rev() {
            let Some(ip) = entry else { break };
            client = ip;
            if !self.trusted.contains(ip) {
                break;
            }
        }
        client
    }
}

/// Returns the entries of a header in their order over all of its lines; `None` for an entry that is
/// not an address. Without a name, it is `X-Forwarded-For`, or else `Forwarded`.
#[cold]
fn list_of(headers: &HeaderMap, name: Option<&HeaderName>) -> Vec<Option<IpAddr>> {
    let name = match name {
        Some(name) => name,
        None if headers.contains_key(&X_FORWARDED_FOR) => &X_FORWARDED_FOR,
        None => &header::FORWARDED,
    };
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        match value.to_str() {
            Ok(line) if *name == header::FORWARDED => forwarded(line, &mut list),
            Ok(line) => list.extend(line.split(',').map(address)),
            Err(_) => list.push(None),
        }
    }
    list
}

/// Adds the `for` of each element of a `Forwarded` line
/// ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239#section-4)). In a malformed line, no place is
/// certain to be between two elements, so it counts as one entry without an address.
fn forwarded(line: &str, list: &mut Vec<Option<IpAddr>>) {
    let before = list.len();
    let mut rest = line;
    loop {
        match element(rest) {
            Some((address, next)) => {
                list.push(address);
                match next {
                    Some(next) => rest = next,
                    None => return,
                }
            }
            None => {
                list.truncate(before);
                list.push(None);
                return;
            }
        }
    }
}

/// Reads one element. Returns its address, and the text after the comma that ends it; `None` if it
/// is malformed.
fn element(mut rest: &str) -> Option<(Option<IpAddr>, Option<&str>)> {
    let mut found = None;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let (value, after) = value(after)?;
        if name.eq_ignore_ascii_case("for") {
            found = address(value);
        }
        let after = after.trim_start();
        match after.as_bytes().first() {
            None => return Some((found, None)),
            Some(b',') => return Some((found, Some(&after[1..]))),
            Some(b';') => rest = &after[1..],
            Some(_) => return None,
        }
    }
}

/// Reads a token or a quoted text. No address needs an escape, so a text with one is returned as it
/// is, and is not an address.
fn value(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ';']).unwrap_or(text.len());
        let value = text[..end].trim_end();
        return (!value.contains(['"', ' ', '='])).then_some((value, &text[end..]));
    };
    let mut is_escaped = false;
    for (at, byte) in quoted.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some((&quoted[..at], &quoted[at + 1..])),
            _ => {}
        }
    }
    None
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Parses an address with or without a port, an IPv6 address with or without brackets; a mapped IPv4
/// address becomes the plain one.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || {
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'))?;
        inner.parse().ok().filter(IpAddr::is_ipv6)
    };
    let ip: IpAddr = text
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(bare)?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::identify::testing::headers;

    /// The trusted proxy that sends each request of these tests.
    const PROXY: &str = "10.0.0.1";

    /// Returns the client's address according to headers of a trusted proxy, and to an option.
    fn client(option: Option<&str>, lines: &[(&str, &str)]) -> String {
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), *value))
            .collect();
        let map = headers(&lines);
        let proxies = Proxies {
            trusted: "10.0.0.0/8, 2001:db8:ffff::/48".parse().unwrap(),
            address_header: option.map(|name| name.parse().unwrap()),
        };
        let proxy = PROXY.parse().unwrap();
        proxies
            .client_behind(proxy, &RequestHeaders::from_map(&map), &map)
            .to_string()
    }

    #[test]
    fn no_sender_chooses_an_address() {
        const REAL: &str = "203.0.113.7";
        let xff = "X-Forwarded-For";
        for (name, lines, expected) in [
            ("a chain", &[(xff, "203.0.113.7, 10.0.0.2")][..], REAL),
            (
                "a forged entry before the real one",
                &[(xff, "198.51.100.1, 203.0.113.7")],
                REAL,
            ),
            (
                "a forged line before the real one",
                &[(xff, "198.51.100.1"), (xff, "203.0.113.7")],
                REAL,
            ),
            (
                "a forged proxy before the real one",
                &[(xff, "10.9.9.9, 203.0.113.7, 10.0.0.2")],
                REAL,
            ),
            (
                "two proxies in two lines",
                &[(xff, "203.0.113.7"), (xff, "10.0.0.3"), (xff, "10.0.0.2")],
                REAL,
            ),
            ("a port", &[(xff, "203.0.113.7:4711")], REAL),
            ("IPv6", &[(xff, "2001:db8::7")], "2001:db8::7"),
            ("IPv6 in brackets", &[(xff, "[2001:db8::7]")], "2001:db8::7"),
            ("IPv6 with a port", &[(xff, "[2001:DB8::7]:443")], "2001:db8::7"),
            ("IPv6 proxies", &[(xff, "2001:db8::7, 2001:db8:ffff::1")], "2001:db8::7"),
            ("a mapped address", &[(xff, "::ffff:203.0.113.7")], REAL),
            ("a mapped proxy", &[(xff, "203.0.113.7, ::ffff:10.0.0.2")], REAL),
            ("text", &[(xff, "unknown")], PROXY),
            (
                "text before the proxy",
                &[(xff, "203.0.113.7, unknown, 10.0.0.2")],
                "10.0.0.2",
            ),
            ("text after forged entries", &[(xff, "198.51.100.1, <script>")], PROXY),
            ("an empty entry", &[(xff, "198.51.100.1, ")], PROXY),
            ("only proxies", &[(xff, "10.0.0.4, 10.0.0.3")], "10.0.0.4"),
            ("an address in brackets that is IPv4", &[(xff, "[203.0.113.7]")], PROXY),
            ("octal digits", &[(xff, "0203.0.113.7")], PROXY),
            ("a name", &[(xff, "localhost")], PROXY),
            (
                "X-Real-IP",
                &[("X-Real-IP", "203.0.113.7"), (xff, "198.51.100.1")],
                REAL,
            ),
            ("X-Real-IP with a port", &[("X-Real-IP", "203.0.113.7:80")], REAL),
            (
                "X-Real-IP in brackets",
                &[("X-Real-IP", "[2001:db8::7]:80")],
                "2001:db8::7",
            ),
            (
                "an invalid X-Real-IP",
                &[("X-Real-IP", "1.1.1.1, 2.2.2.2"), (xff, "198.51.100.1")],
                PROXY,
            ),
            (
                "a header that is not configured",
                &[("CF-Connecting-IP", "198.51.100.1")],
                PROXY,
            ),
            (
                "Forwarded",
                &[("Forwarded", "for=203.0.113.7;proto=http;by=10.0.0.1")],
                REAL,
            ),
            (
                "Forwarded beside X-Forwarded-For",
                &[("Forwarded", "for=198.51.100.1"), (xff, REAL)],
                REAL,
            ),
            (
                "a chain of Forwarded",
                &[("Forwarded", "for=198.51.100.1, for=203.0.113.7,for=10.0.0.2")],
                REAL,
            ),
            (
                "lines of Forwarded",
                &[("Forwarded", "for=198.51.100.1"), ("Forwarded", "For=203.0.113.7")],
                REAL,
            ),
            ("a quoted port", &[("Forwarded", r#"for="203.0.113.7:4711""#)], REAL),
            (
                "quoted IPv6",
                &[("Forwarded", r#"proto=https ; for="[2001:db8::7]:4711""#)],
                "2001:db8::7",
            ),
            (
                "an obfuscated id",
                &[("Forwarded", r#"for=198.51.100.1, for="_hidden""#)],
                PROXY,
            ),
            (
                "an unknown one",
                &[("Forwarded", "for=198.51.100.1, for=unknown, for=10.0.0.2")],
                "10.0.0.2",
            ),
            (
                "an element without for",
                &[("Forwarded", "for=198.51.100.1, proto=http")],
                PROXY,
            ),
            (
                "a quote that swallows the proxy's element",
                &[("Forwarded", r#"for="198.51.100.1, for=203.0.113.7"#)],
                PROXY,
            ),
            (
                "a quote that ends in the proxy's element",
                &[("Forwarded", r#"for=198.51.100.1;x=", for="[2001:db8::7]:1""#)],
                PROXY,
            ),
            (
                "a comma in quotes",
                &[(
                    "Forwarded",
                    r#"for=198.51.100.1;x=",for=198.51.100.2", for=203.0.113.7"#,
                )],
                REAL,
            ),
            (
                "an escape",
                &[("Forwarded", r#"for="198.51.100.1\"", for=203.0.113.7"#)],
                REAL,
            ),
            (
                "an address with an escape",
                &[("Forwarded", r#"for="198.51\.100.1""#)],
                PROXY,
            ),
        ] {
            assert_eq!(client(None, lines), expected, "{name}: {lines:?}");
        }
    }

    #[test]
    fn a_header_that_the_option_names_is_the_only_one() {
        let cf = Some("CF-Connecting-IP");
        for (option, lines, expected) in [
            (
                cf,
                &[("CF-Connecting-IP", "203.0.113.7"), ("X-Real-IP", "198.51.100.1")][..],
                "203.0.113.7",
            ),
            (
                cf,
                &[("X-Real-IP", "198.51.100.1"), ("X-Forwarded-For", "198.51.100.1")],
                PROXY,
            ),
            (cf, &[("CF-Connecting-IP", "unknown")], PROXY),
            (
                Some("x-forwarded-for"),
                &[("X-Real-IP", "198.51.100.1"), ("X-Forwarded-For", "203.0.113.7")],
                "203.0.113.7",
            ),
            (
                Some("forwarded"),
                &[("X-Real-IP", "198.51.100.1"), ("Forwarded", "for=203.0.113.7")],
                "203.0.113.7",
            ),
            (
                Some("x-real-ip"),
                &[("X-Real-IP", "203.0.113.7:1"), ("X-Forwarded-For", "198.51.100.1")],
                "203.0.113.7",
            ),
        ] {
            assert_eq!(client(option, lines), expected, "{option:?} {lines:?}");
        }
    }
}
