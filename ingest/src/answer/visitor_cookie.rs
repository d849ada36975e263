//! The options of the visitor's cookie.

use std::{fmt, str::FromStr, time::Duration};

use crate::identify::{UID_COOKIE, host_of};

/// The options of the cookie that identifies a returning visitor.
///
/// ```
/// use std::time::Duration;
///
/// use rowmill_ingest::{EventOptions, layer::{SameSite, VisitorCookie}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = EventOptions {
///     cookie: Some(VisitorCookie {
///         name: "visitor".parse()?,
///         same_site: SameSite::Lax,
///         max_age: Duration::from_secs(30 * 24 * 60 * 60),
///         ..VisitorCookie::default()
///     }),
///     ..EventOptions::default()
/// };
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitorCookie {
    /// The name of the cookie; `uid` by default.
    pub name: CookieName,
    /// The domain whose hosts share the cookie. Without it, the domain is that of
    /// [`EventOptions::domain`](crate::EventOptions::domain), or the host that a trusted proxy
    /// reports; without any of them, the cookie is for the collector's host alone.
    pub domain: Option<CookieDomain>,
    /// The pages of other sites whose requests contain the cookie.
    pub same_site: SameSite,
    /// The time after which a browser deletes the cookie, counted from the visitor's last event.
    /// The default is three years from the start of the process, as in Rockstat. Zero makes a
    /// cookie that lasts until the browser closes. Chromium keeps no cookie for longer than 400
    /// days.
    pub max_age: Duration,
}

impl VisitorCookie {
    /// The default lifetime, three years.
    pub(super) const DEFAULT_AGE: Duration = Duration::from_secs(3 * 365 * 24 * 60 * 60);
}

impl Default for VisitorCookie {
    fn default() -> Self {
        Self {
            name: CookieName(UID_COOKIE.to_owned()),
            domain: None,
            same_site: SameSite::default(),
            max_age: Self::DEFAULT_AGE,
        }
    }
}

/// The pages of other sites whose requests contain the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SameSite {
    /// All pages, if the browser allows third-party cookies. Browsers accept such a cookie only
    /// over HTTPS; over plain HTTP, the cookie is [`Lax`](Self::Lax).
    #[default]
    None,
    /// A page of another site that links to the collector.
    Lax,
    /// No page of another site.
    Strict,
}

impl SameSite {
    /// Returns the value of the attribute.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Lax => "Lax",
            Self::Strict => "Strict",
        }
    }
}

/// A valid name of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieName(String);

impl CookieName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CookieName {
    type Err = InvalidCookie;

    fn from_str(name: &str) -> Result<Self, InvalidCookie> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        match !name.is_empty() && name.bytes().all(is_valid) {
            true => Ok(Self(name.to_owned())),
            false => Err(InvalidCookie::Name),
        }
    }
}

/// The domain of a cookie, such as `example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieDomain(String);

impl CookieDomain {
    /// Returns the domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CookieDomain {
    type Err = InvalidCookie;

    /// Parses a domain; a dot at its start has no effect.
    fn from_str(domain: &str) -> Result<Self, InvalidCookie> {
        let host = domain.strip_prefix('.').unwrap_or(domain);
        match host_of(host) {
            Some(valid) if valid == host => Ok(Self(host.to_owned())),
            _ => Err(InvalidCookie::Domain),
        }
    }
}

/// The error of an invalid name or domain of a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidCookie {
    /// The name is empty, or contains a character that a cookie's name must not contain.
    Name,
    /// The domain is not a host name.
    Domain,
}

impl fmt::Display for InvalidCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "expected a name of letters, digits, `-`, `_` and `.`, such as visitor_id",
            Self::Domain => "expected a domain without a port, such as example.com",
        })
    }
}

impl std::error::Error for InvalidCookie {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_names_and_domains_reach_the_header() {
        for name in ["uid", "__Secure-uid", "a.b_c-1"] {
            assert!(name.parse::<CookieName>().is_ok(), "{name}");
        }
        for name in ["", "a b", "a=b", "a;b", "a\r\nSet-Cookie: x", "имя", "\"a\""] {
            assert_eq!(name.parse::<CookieName>(), Err(InvalidCookie::Name), "{name}");
        }
        for domain in ["example.com", ".example.com"] {
            assert_eq!(
                domain.parse::<CookieDomain>().as_ref().map(CookieDomain::as_str),
                Ok("example.com")
            );
        }
        for domain in [
            "",
            ".",
            "a.com:80",
            "a.com; Secure",
            "https://a.com",
            " a.com",
            "a..com",
        ] {
            assert_eq!(domain.parse::<CookieDomain>(), Err(InvalidCookie::Domain), "{domain}");
        }
    }
}
