//! Host names, and the domain of the visitor's cookie.

use std::net::Ipv4Addr;

/// The longest host name, in bytes
/// ([RFC 1035](https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4)).
const MAX_HOST_BYTES: usize = 253;

/// Returns the name in `host[:port]` if it is valid, so that only names get into a cookie or a row.
pub(crate) fn host_of(text: &str) -> Option<&str> {
    let text = text.trim();
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host,
        _ => text,
    };
    is_host_name(host).then_some(host)
}

fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    host.len() <= MAX_HOST_BYTES && host.split('.').all(is_label)
}

/// Returns the `Domain` of the uid cookie for a collector at `domain`, so that its sibling sites
/// share the visitor: `stat.example.com` gives `.example.com`. Returns `None`, which means a cookie
/// of this host alone, for an address and for a single label.
///
/// The function knows no public suffixes: set the domain by hand under `co.uk` and the like.
pub(crate) fn auto_domain(domain: &str) -> Option<String> {
    let host = host_of(domain).filter(|host| host.contains('.') && host.parse::<Ipv4Addr>().is_err())?;
    let host = host.strip_prefix("www.").unwrap_or(host);
    let shared = match host.split_once('.') {
        Some((_, parent)) if parent.contains('.') => parent,
        _ => host,
    };
    Some(format!(".{shared}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn accepts_only_host_names() {
        for (text, host) in [
            ("a.com", "a.com"),
            ("a.com:8080", "a.com"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("a_b", "a_b"),
        ] {
            assert_eq!(host_of(text), Some(host));
        }
        let long = "a".repeat(64);
        let all = format!("{}a", "a.".repeat(127));
        for text in [
            "", ".", "a.", ".a", "a:b", "a:99999", "[::1]:80", "a b", "a;b", "a\"b", "п.рф", &long, &all, "a/b",
        ] {
            assert_eq!(host_of(text), None, "{text}");
        }
    }

    #[test]
    fn shares_the_cookie_with_sibling_sites() {
        let cases = [
            ("stat.example.com", Some(".example.com")),
            ("www.example.com", Some(".example.com")),
            ("example.com", Some(".example.com")),
            ("a.b.example.com:8080", Some(".b.example.com")),
            ("example.co.uk", Some(".co.uk")),
            ("localhost", None),
            ("10.0.0.5", None),
            ("not a host", None),
        ];
        for (domain, expected) in cases {
            assert_eq!(auto_domain(domain).as_deref(), expected, "{domain}");
        }
    }
}
