//! The pages of other origins that may send the visitor's cookie and read the response.
//!
//! A page of an allowed origin gets the response with credentials. Every other page may read the
//! response to a request without cookies.

use std::{borrow::Cow, fmt, net::Ipv4Addr, str::FromStr};

use http::HeaderValue;

/// The origins whose pages may send the visitor's cookie.
#[derive(Debug, Clone, Default)]
pub(crate) struct CorsPolicy {
    /// If this is empty, the pages of the collector's own site are allowed.
    allowed: Vec<AllowedOrigin>,
    /// The configured host of the collector, if any.
    domain: Option<String>,
}

impl CorsPolicy {
    pub(crate) fn new(allowed: &[AllowedOrigin], domain: Option<&str>) -> Self {
        Self {
            allowed: allowed.to_vec(),
            domain: domain.map(|domain| host_and_port(domain).map_or(domain, |(host, _)| host).to_owned()),
        }
    }

    /// Returns whether a page of `origin` may send the cookie and read the response. `host` is the
    /// host (and port) that the page requested, and `is_secure` whether it used HTTPS.
    #[cold]
    pub(crate) fn allows_credentials(&self, origin: &HeaderValue, host: Option<&str>, is_secure: bool) -> bool {
        // `null` is the origin of sandboxed frames of any page.
        let Some(origin) = origin.to_str().ok().and_then(Origin::parse) else {
            return false;
        };
        if !self.allowed.is_empty() {
            return self.allowed.iter().any(|allowed| allowed.matches(origin));
        }
        // A person who can change the answers of a plain HTTP server can read the cookie through it.
        if is_secure && !origin.is_https {
            return false;
        }
        let requested = host.and_then(host_and_port).map(|(host, _)| host);
        requested
            .into_iter()
            .chain(self.domain.as_deref())
            .any(|own| is_same_site(origin.host, own))
    }
}

/// An origin whose pages may send the visitor's cookie: `https://shop.example.com`, or
/// `https://*.example.com` for all hosts below a domain.
///
/// ```
/// use rowmill_ingest::layer::AllowedOrigin;
///
/// assert!("https://shop.example.com".parse::<AllowedOrigin>().is_ok());
/// assert!("https://*.example.com:8443".parse::<AllowedOrigin>().is_ok());
/// assert!("shop.example.com".parse::<AllowedOrigin>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin {
    is_https: bool,
    /// Whether all hosts below `host` are meant, and not `host` itself.
    is_wildcard: bool,
    /// In lower case.
    host: String,
    port: u16,
}

impl AllowedOrigin {
    fn matches(&self, origin: Origin<'_>) -> bool {
        (self.is_https, self.port) == (origin.is_https, origin.port)
            && match self.is_wildcard {
                true => is_below(origin.host, &self.host),
                false => origin.host.eq_ignore_ascii_case(&self.host),
            }
    }
}

impl FromStr for AllowedOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let text = text.trim();
        // A slash at the end belongs to a URL and not to an origin, but its meaning is clear.
        let text = text.strip_suffix('/').unwrap_or(text);
        let (scheme, rest) = text.split_once("://").ok_or(InvalidOrigin)?;
        let (is_wildcard, rest) = match rest.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let origin = Origin::of(scheme, rest).ok_or(InvalidOrigin)?;
        Ok(Self {
            is_https: origin.is_https,
            is_wildcard,
            host: origin.host.to_ascii_lowercase(),
            port: origin.port,
        })
    }
}

/// The error of a text that is not an [`AllowedOrigin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidOrigin;

impl fmt::Display for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected the scheme and the host of a page, such as https://shop.example.com or https://*.example.com",
        )
    }
}

impl std::error::Error for InvalidOrigin {}

/// The origin of a web page.
#[derive(Debug, Clone, Copy)]
struct Origin<'a> {
    is_https: bool,
    host: &'a str,
    port: u16,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        Self::of(scheme, rest)
    }

    fn of(scheme: &str, authority: &'a str) -> Option<Self> {
        let is_https = match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ => return None,
        };
        let (host, port) = host_and_port(authority)?;
        Some(Self {
            is_https,
            host,
            port: port.unwrap_or(if is_https { 443 } else { 80 }),
        })
    }
}

/// Splits `host[:port]`; an IPv6 address has brackets. Returns `None` if the host has other
/// characters than a name or an address.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().ok()?)),
        _ => (text, None),
    };
    let name = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    (!name.is_empty() && name.bytes().all(is_valid)).then_some((host, port))
}

/// Returns whether two hosts are the same, or have the same registrable domain.
fn is_same_site(page: &str, own: &str) -> bool {
    if page.eq_ignore_ascii_case(own) {
        return true;
    }
    let (page, own) = (lower_case(page), lower_case(own));
    site(&page).is_some_and(|page| Some(page) == site(&own))
}

/// Returns a host in lower case, as browsers send it.
fn lower_case(host: &str) -> Cow<'_, str> {
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => host.to_ascii_lowercase().into(),
        false => host.into(),
    }
}

/// Returns the registrable domain of a host in lower case: the public suffix, such as `co.uk`, and one label.
/// Addresses and single labels have none.
fn site(host: &str) -> Option<&str> {
    if host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
        return None;
    }
    psl::domain_str(host)
}

/// Returns whether `host` is a name below `domain`.
fn is_below(host: &str, domain: &str) -> bool {
    let Some(dot) = host.len().checked_sub(domain.len() + 1) else {
        return false;
    };
    dot > 0 && host.as_bytes()[dot] == b'.' && host.get(dot + 1..).is_some_and(|end| end.eq_ignore_ascii_case(domain))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn is_allowed(policy: &CorsPolicy, origin: &str, host: &str, is_secure: bool) -> bool {
        policy.allows_credentials(&HeaderValue::from_str(origin).unwrap(), Some(host), is_secure)
    }

    #[test]
    fn without_a_list_the_pages_of_the_own_site_are_allowed() {
        let policy = CorsPolicy::default();
        let own = [
            ("https://stat.example.com", "stat.example.com"),
            ("https://shop.example.com", "stat.example.com"),
            ("https://example.com:8443", "stat.example.com:443"),
            ("https://a.b.example.co.uk", "stat.example.co.uk"),
            ("http://shop.example.com", "STAT.Example.com"),
            ("http://localhost:3000", "localhost:8080"),
            ("http://127.0.0.1:3000", "127.0.0.1:8080"),
            ("http://[::1]:3000", "[::1]:8080"),
        ];
        for (origin, host) in own {
            assert!(is_allowed(&policy, origin, host, false), "{origin} {host}");
        }
        let other = [
            ("https://evil.com", "stat.example.com"),
            ("https://evilexample.com", "example.com"),
            ("https://example.com.evil.com", "example.com"),
            ("https://evil.co.uk", "stat.co.uk"),
            ("https://evil.github.io", "stat.github.io"),
            ("http://10.0.0.5", "10.1.0.5"),
            ("http://[::1]", "[::2]"),
            ("http://evil", "localhost"),
            ("null", "stat.example.com"),
            ("null", "null"),
            ("file://", "stat.example.com"),
            ("chrome-extension://stat.example.com", "stat.example.com"),
            ("https://user@stat.example.com", "stat.example.com"),
            ("https://stat.example.com/", "stat.example.com"),
            ("", ""),
        ];
        for (origin, host) in other {
            assert!(!is_allowed(&policy, origin, host, false), "{origin} {host}");
        }
        assert!(is_allowed(&policy, "https://a.example.com", "b.example.com", true));
        assert!(!is_allowed(&policy, "http://a.example.com", "b.example.com", true));
    }

    #[test]
    fn the_configured_host_is_of_the_own_site() {
        let policy = CorsPolicy::new(&[], Some("stat.example.com:443"));
        assert!(is_allowed(&policy, "https://shop.example.com", "10.0.0.5:8080", true));
        assert!(!is_allowed(&policy, "https://shop.other.com", "10.0.0.5:8080", true));
    }

    #[test]
    fn a_list_allows_exactly_its_origins() {
        let allowed: Vec<AllowedOrigin> = [
            "https://shop.example.com",
            "http://localhost:3000/",
            "https://*.cdn.example",
        ]
        .iter()
        .map(|origin| origin.parse().unwrap())
        .collect();
        let policy = CorsPolicy::new(&allowed, None);
        for (origin, expected) in [
            ("https://shop.example.com", true),
            ("https://SHOP.example.com:443", true),
            ("http://localhost:3000", true),
            ("https://a.cdn.example", true),
            ("https://a.b.cdn.example", true),
            ("https://cdn.example", false),
            ("https://.cdn.example", false),
            ("https://evilcdn.example", false),
            ("http://shop.example.com", false),
            ("https://shop.example.com:8443", false),
            ("http://localhost", false),
            // The own site has no privilege beside a list.
            ("https://stat.example.com", false),
            ("null", false),
        ] {
            assert_eq!(
                is_allowed(&policy, origin, "stat.example.com", true),
                expected,
                "{origin}"
            );
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_a_host_and_nothing_else() {
        for text in [
            "",
            "*",
            "null",
            "shop.example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://shop.example.com/path",
            "https://shop.example.com?x",
            "https://a b",
            "https://shop.example.com:x",
            "ftp://shop.example.com",
            "https://*.*.example.com",
        ] {
            assert_eq!(text.parse::<AllowedOrigin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
