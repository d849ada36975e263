//! The client: its address, its browser, and the host that it requested.

use std::{borrow::Cow, hash::Hasher, net::IpAddr};

use http::{HeaderMap, HeaderValue};
use twox_hash::XxHash64;

use super::{forwarded::Proxies, host::host_of, ip_text::IpText};
use crate::request::headers::RequestHeaders;

const FINGERPRINT_SEED: u64 = 0xCACA_3ADA;

/// The client that sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client<'a> {
    /// The address of the peer, or the client's address as a trusted proxy reports it; a mapped
    /// IPv4 address in its plain form.
    pub(crate) ip: IpAddr,
    /// `User-Agent`.
    pub(crate) user_agent: Option<Cow<'a, str>>,
    /// `Referer`.
    pub(crate) referer: Option<Cow<'a, str>>,
    /// The host that the client requested, as a trusted proxy reports it: a valid host name without
    /// a port.
    pub(crate) host: Option<&'a str>,
    /// Whether the client uses HTTPS, as a trusted proxy reports it.
    pub(crate) is_secure: bool,
}

impl<'a> Client<'a> {
    /// Returns the client of a request that came from `peer`; `all` are all headers.
    pub(crate) fn identify(headers: &RequestHeaders<'a>, all: &HeaderMap, peer: IpAddr, proxies: &Proxies) -> Self {
        let peer = peer.to_canonical();
        let text = |value: Option<&'a HeaderValue>| value.map(header_text).filter(|text| !text.is_empty());
        let mut client = Self {
            ip: peer,
            user_agent: text(headers.user_agent),
            referer: text(headers.referer),
            host: None,
            is_secure: false,
        };
        if proxies.trusted.contains(peer) {
            client.ip = proxies.client_behind(peer, headers, all);
            client.host = headers.forwarded_host.and_then(|value| host_of(value.to_str().ok()?));
            client.is_secure = is_secure(headers);
        }
        client
    }

    /// Returns a number that identifies the pair of address and browser; `None` without a
    /// `User-Agent`.
    ///
    /// The number is the XXH64 of `<ip>:<user agent>` with its bytes reversed, as in existing
    /// events.
    pub(crate) fn fingerprint(&self, ip: &IpText) -> Option<u64> {
        Some(fingerprint(ip.as_str(), self.user_agent.as_deref()?))
    }
}

/// Returns the number that identifies the pair of an address and a browser.
#[inline]
pub(crate) fn fingerprint(ip: &str, user_agent: &str) -> u64 {
    let mut hash = XxHash64::with_seed(FINGERPRINT_SEED);
    hash.write(ip.as_bytes());
    hash.write(b":");
    hash.write(user_agent.as_bytes());
    hash.finish().swap_bytes()
}

/// Returns whether the client of a trusted proxy uses HTTPS. A proxy that reports a client or a
/// host, but no scheme, counts as one with TLS, which most proxies have.
fn is_secure(headers: &RequestHeaders<'_>) -> bool {
    match headers.forwarded_proto {
        // The first proxy of a chain has received the client's request.
        Some(proto) => {
            let first = proto.as_bytes().split(|byte| *byte == b',').next();
            first.is_some_and(|proto| proto.trim_ascii().eq_ignore_ascii_case(b"https"))
        }
        None => headers.real_ip.is_some() || headers.forwarded_host.is_some(),
    }
}

/// Returns the text of a header. A header that is not UTF-8 is Latin-1, in which each byte is a
/// letter ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-5.5)).
pub(crate) fn header_text(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::mem::decode_latin1(bytes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use http::{HeaderName, header};

    use super::*;
    use crate::identify::testing::{PEER, PROXY, headers};

    fn client<'a>(headers: &'a HeaderMap, peer: IpAddr, trusted: &Proxies) -> Client<'a> {
        Client::identify(&RequestHeaders::from_map(headers), headers, peer, trusted)
    }

    #[test]
    fn uses_the_headers_of_trusted_proxies_only() {
        let headers = headers(&[
            (HeaderName::from_static("x-real-ip"), "198.51.100.1"),
            (HeaderName::from_static("x-forwarded-host"), "stat.example.com:443"),
            (header::USER_AGENT, "ua"),
            (header::REFERER, ""),
        ]);
        let trusted = Proxies::default();
        let nobody = Proxies {
            trusted: "".parse().unwrap(),
            ..Proxies::default()
        };
        let direct = client(&headers, PEER, &trusted);
        assert_eq!((direct.ip, direct.host, direct.referer), (PEER, None, None));
        let proxied = client(&headers, PROXY, &trusted);
        assert_eq!(
            (proxied.ip.to_string().as_str(), proxied.host),
            ("198.51.100.1", Some("stat.example.com"))
        );
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert_eq!(client(&headers, mapped, &trusted), proxied);
        assert_eq!(client(&headers, PROXY, &nobody).ip, PROXY);
    }

    #[test]
    fn keeps_the_peer_if_a_proxys_headers_are_invalid() {
        for (ip, host) in [
            ("unknown", "a.com; Path=/x"),
            ("1.2.3", "a.com, b.com"),
            ("", ""),
            ("1.1.1.1, 2.2.2.2", "a..b"),
        ] {
            let headers = headers(&[
                (HeaderName::from_static("x-real-ip"), ip),
                (HeaderName::from_static("x-forwarded-host"), host),
            ]);
            let found = client(&headers, PROXY, &Proxies::default());
            assert_eq!((found.ip, found.host), (PROXY, None), "{ip} {host}");
        }
    }

    #[test]
    fn a_trusted_proxy_reports_the_scheme() {
        let is_secure = |pairs: &[(&'static str, &str)], peer| {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), *value))
                .collect();
            let headers = headers(&pairs);
            client(&headers, peer, &Proxies::default()).is_secure
        };
        let proto = "x-forwarded-proto";
        for (value, expected) in [
            ("https", true),
            ("HTTPS, http", true),
            ("http", false),
            ("http, https", false),
        ] {
            assert_eq!(is_secure(&[(proto, value)], PROXY), expected, "{value}");
            assert!(!is_secure(&[(proto, value)], PEER), "{value}");
        }
        assert!(!is_secure(&[], PROXY));
        assert!(is_secure(&[("x-real-ip", "198.51.100.1")], PROXY));
        assert!(!is_secure(&[("x-real-ip", "198.51.100.1"), (proto, "http")], PROXY));
    }

    #[test]
    fn a_header_that_is_not_utf8_keeps_its_letters() {
        let text = |bytes: &[u8]| header_text(&HeaderValue::from_bytes(bytes).unwrap()).into_owned();
        assert_eq!(text("Müller/1.0".as_bytes()), "Müller/1.0");
        assert_eq!(text(b"M\xfcller/1.0"), "Müller/1.0");
        assert_eq!(text(b"\xe8\xe2"), "èâ");
    }

    #[test]
    fn makes_the_recorded_fingerprint() {
        let headers = headers(&[(header::USER_AGENT, "ua")]);
        let found = client(&headers, PROXY, &Proxies::default());
        assert_eq!(
            found.fingerprint(&IpText::new(found.ip)),
            Some(14_676_452_135_893_381_398)
        );
        assert_eq!(
            client(&HeaderMap::new(), PROXY, &Proxies::default()).fingerprint(&IpText::new(PROXY)),
            None
        );
    }
}
