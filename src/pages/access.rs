//! Access: who sees the pages of the operator, which are all but `/health`.

use std::{fmt, fs, io, net::IpAddr, path::Path};

use http::{HeaderMap, HeaderName, header};
use subtle::ConstantTimeEq;

/// The headers that proxies add. A request with one of them comes from elsewhere.
const FORWARDED: [&str; 9] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "via",
];

/// The shortest token: fewer characters can be guessed.
const MIN_TOKEN_BYTES: usize = 16;

/// The clients that see the pages of the operator on a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Every client.
    Everyone,
    /// Clients on this machine, without a proxy between.
    ThisMachine,
    /// No client, except one with the token.
    Nobody,
}

/// The clients that see the pages of the operator, and the answer to others.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) audience: Audience,
    /// The token that opens the pages to its holder, wherever the holder is.
    pub(crate) token: Option<Token>,
    /// The answer to others at `/ready`.
    pub(crate) others: Others,
    /// A further header that a proxy adds.
    pub(crate) client_header: Option<HeaderName>,
}

/// The answer to a client that may not see the pages of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// The status of `/ready` for a balancer, without a reason; no other page.
    Status,
    /// No page.
    NotFound,
    /// A 401, which asks for the token.
    Unauthorized,
}

/// A secret that a request has as `Authorization: Bearer`: it opens the pages of the operator, or
/// lets another collector hand over rows.
#[derive(Clone)]
pub(crate) struct Token(Box<str>);

impl Access {
    /// Returns the access to a listener that only operators reach.
    pub(crate) fn open() -> Self {
        Self {
            audience: Audience::Everyone,
            token: None,
            others: Others::NotFound,
            client_header: None,
        }
    }

    /// Returns whether a request may see the pages of the operator.
    pub(super) fn allows(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let is_of_audience = match self.audience {
            Audience::Everyone => true,
            Audience::ThisMachine => peer.to_canonical().is_loopback() && self.is_direct(headers),
            Audience::Nobody => false,
        };
        is_of_audience || self.token.as_ref().is_some_and(|token| token.is_in(headers))
    }

    /// Returns whether a request came without a proxy: none of a proxy's headers is there, and the
    /// host is not a public name.
    fn is_direct(&self, headers: &HeaderMap) -> bool {
        let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name))
            || self
                .client_header
                .as_ref()
                .is_some_and(|name| headers.contains_key(name));
        let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
        !is_forwarded && host.is_none_or(is_local_host)
    }
}

/// Returns whether a `Host` is an address or `localhost`, with or without a port.
fn is_local_host(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

impl Token {
    /// Reads a token from the first line of a file, which the option `option` names.
    ///
    /// # Errors
    /// The file is unreadable, or its first line is too short for a secret.
    pub(crate) fn read(option: &str, file: &Path) -> Result<Self, String> {
        let error = |reason: io::Error| format!("{option} {}: {reason}", file.display());
        let text = fs::read_to_string(file).map_err(error)?;
        let token = text.lines().next().unwrap_or_default().trim();
        if token.len() < MIN_TOKEN_BYTES || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "{option} {}: its first line must be a token of at least {MIN_TOKEN_BYTES} printable ASCII \
                 characters, such as the output of `openssl rand -hex 32`",
                file.display()
            ));
        }
        Ok(Self(token.into()))
    }

    /// Returns the text of the token, for a request with it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns whether a request has `Authorization: Bearer` with this token. The comparison takes
    /// the same time wherever the first difference is.
    pub(crate) fn is_in(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let token = value.and_then(|value| {
            let (scheme, token) = value.split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
        });
        token.is_some_and(|token| bool::from(token.ct_eq(self.0.as_bytes())))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderValue;

    use super::*;

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        list.iter().map(header).collect()
    }

    fn access(audience: Audience, token: Option<&str>) -> Access {
        Access {
            audience,
            token: token.map(|token| Token(token.into())),
            others: Others::Status,
            client_header: Some(HeaderName::from_static("x-azure-clientip")),
        }
    }

    #[test]
    fn only_direct_requests_of_this_machine_see_the_pages() {
        let access = access(Audience::ThisMachine, None);
        for (peer, list, expected) in [
            ("127.0.0.1", &[][..], true),
            ("::1", &[("host", "[::1]:8080")], true),
            ("::ffff:127.0.0.1", &[("host", "127.0.0.1:8080")], true),
            ("127.0.0.1", &[("host", "LocalHost")], true),
            ("192.0.2.1", &[("host", "127.0.0.1")], false),
            ("10.0.0.1", &[], false),
            // A proxy on this machine.
            ("127.0.0.1", &[("host", "stat.example.com")], false),
            ("127.0.0.1", &[("host", "localhost.example.com:80")], false),
            (
                "127.0.0.1",
                &[("host", "localhost"), ("x-forwarded-for", "192.0.2.1")],
                false,
            ),
            ("127.0.0.1", &[("host", "localhost"), ("x-real-ip", "127.0.0.1")], false),
            (
                "127.0.0.1",
                &[("host", "localhost"), ("forwarded", "for=127.0.0.1")],
                false,
            ),
            ("127.0.0.1", &[("host", "localhost"), ("via", "1.1 a")], false),
            (
                "127.0.0.1",
                &[("host", "localhost"), ("x-azure-clientip", "192.0.2.1")],
                false,
            ),
            // A page in a browser on this machine, by DNS rebinding.
            ("127.0.0.1", &[("host", "rebound.example:8080")], false),
        ] {
            let headers = headers(list);
            assert_eq!(
                access.allows(peer.parse().unwrap(), &headers),
                expected,
                "{peer} {list:?}"
            );
        }
    }

    #[test]
    fn a_token_opens_the_pages_from_anywhere() {
        let peer = "192.0.2.1".parse().unwrap();
        let with = access(Audience::Nobody, Some("0123456789abcdef"));
        for (value, expected) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeg", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
        ] {
            assert_eq!(
                with.allows(peer, &headers(&[("authorization", value)])),
                expected,
                "{value}"
            );
        }
        assert!(!with.allows(peer, &headers(&[])));
        let without = access(Audience::Nobody, None);
        assert!(!without.allows("127.0.0.1".parse().unwrap(), &headers(&[("authorization", "Bearer ")])));
    }

    #[test]
    fn a_token_is_the_first_line_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        assert!(
            Token::read("--admin-token-file", &file)
                .unwrap_err()
                .starts_with("--admin-token-file ")
        );
        for text in ["", "\n0123456789abcdef", "0123456789", "0123456789 abcdefghi"] {
            fs::write(&file, text).unwrap();
            let error = Token::read("--admin-token-file", &file).unwrap_err();
            assert!(
                error.contains("at least 16") && !error.contains("0123456789"),
                "{error}"
            );
        }
        fs::write(&file, "0123456789abcdef\n").unwrap();
        let token = Token::read("--admin-token-file", &file).unwrap();
        assert_eq!((token.reveal(), &*format!("{token:?}")), ("0123456789abcdef", "Token"));
    }
}
