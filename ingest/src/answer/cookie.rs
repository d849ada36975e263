//! The cookie that identifies a returning visitor.

use std::{num::NonZeroU64, time::SystemTime};

use bytes::BufMut;
use http::HeaderValue;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use super::{
    header_set::HeaderSet,
    text,
    visitor_cookie::{SameSite, VisitorCookie},
};

/// The attribute that names the cookie's domain.
const DOMAIN: &str = "; Domain=";

/// The parts that all cookies of a process share.
#[derive(Debug)]
pub(crate) struct Cookie {
    /// The name and `=`.
    name: String,
    /// `; Domain=…`, or nothing for a cookie of the host alone.
    domain: String,
    /// Whether the domain stays the same if a trusted proxy reports another host.
    is_domain_fixed: bool,
    /// Everything after the domain, over HTTPS.
    tail: String,
    /// Everything after the domain, over plain HTTP.
    plain_tail: String,
}

impl Cookie {
    /// Returns the cookie of a process that started at `started`. `domain` is the cookie's domain
    /// (see [`auto_domain`](crate::identify::auto_domain)) if the options name none; without both,
    /// the cookie is for the host alone.
    pub(crate) fn new(options: &VisitorCookie, domain: Option<&str>, set: HeaderSet, started: SystemTime) -> Self {
        let age = age(options, started);
        let tail = |is_secure: bool| {
            let (secure, same_site) = match (is_secure, options.same_site) {
                (true, same_site) => (" Secure;", same_site),
                // Rockstat's collector sends one cookie, over plain HTTP as well.
                (false, SameSite::None) if set == HeaderSet::Rockstat => (" Secure;", SameSite::None),
                // Browsers refuse `None` without `Secure`, and `Secure` over plain HTTP.
                (false, SameSite::None) => ("", SameSite::Lax),
                (false, same_site) => ("", same_site),
            };
            format!("; Path=/;{age} HttpOnly;{secure} SameSite={}", same_site.name())
        };
        let fixed = options.domain.as_ref().map(|domain| domain.as_str());
        Self {
            name: format!("{}=", options.name.as_str()),
            domain: fixed
                .or(domain)
                .map(|domain| format!("{DOMAIN}{domain}"))
                .unwrap_or_default(),
            is_domain_fixed: fixed.is_some(),
            tail: tail(true),
            plain_tail: tail(false),
        }
    }

    /// Returns the name of the cookie.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name.as_bytes()[..self.name.len() - 1]
    }

    /// Returns the header for a visitor. `host` is the host that a trusted proxy reports, and the
    /// cookie's domain unless the options name one. Returns `None` if the configured domain is not
    /// valid in a header.
    pub(crate) fn value(&self, uid: NonZeroU64, host: Option<&str>, is_secure: bool) -> Option<HeaderValue> {
        let cookie = text::write(|out| {
            out.put_slice(self.name.as_bytes());
            out.put_slice(itoa::Buffer::new().format(uid.get()).as_bytes());
            match host {
                Some(host) if !self.is_domain_fixed => {
                    out.put_slice(DOMAIN.as_bytes());
                    out.put_slice(host.as_bytes());
                }
                _ => out.put_slice(self.domain.as_bytes()),
            }
            out.put_slice(if is_secure { &self.tail } else { &self.plain_tail }.as_bytes());
        });
        HeaderValue::from_maybe_shared(cookie).ok()
    }
}

/// Returns the attribute that limits the cookie's lifetime; empty for a cookie that lasts until the
/// browser closes.
fn age(options: &VisitorCookie, started: SystemTime) -> String {
    if options.max_age.is_zero() {
        return String::new();
    }
    if options.max_age == VisitorCookie::DEFAULT_AGE {
        let expires = Timestamp::try_from(started + options.max_age)
            .and_then(|expires| DateTimePrinter::new().timestamp_to_rfc9110_string(&expires));
        // If the time is out of range, the cookie lasts until the browser closes.
        return expires
            .map(|expires| format!(" Expires={expires};"))
            .unwrap_or_default();
    }
    // An age of less than a second is not zero, which would delete the cookie.
    format!(" Max-Age={};", options.max_age.as_secs().max(1))
}
