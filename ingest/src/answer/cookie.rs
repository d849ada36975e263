//! The cookie that identifies a returning visitor.

use std::time::{Duration, SystemTime};

use bytes::BufMut;
use http::HeaderValue;
use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter};

use super::text;
use crate::identify::UID_COOKIE;

/// The lifetime of the cookie, counted from the start of the process.
const COOKIE_AGE: Duration = Duration::from_secs(3 * 365 * 24 * 60 * 60);

/// The attribute that names the cookie's domain.
const DOMAIN: &str = "; Domain=";

/// The parts that all cookies of a process share.
#[derive(Debug)]
pub(crate) struct Cookie {
    /// `; Domain=…`, or nothing for a cookie of the host alone.
    domain: String,
    /// Everything after the domain.
    tail: String,
}

impl Cookie {
    /// Returns the cookie of a process that started at `started`. `domain` is the domain of the
    /// cookie (see [`auto_domain`](crate::identify::auto_domain)); without it, the cookie is for
    /// the host alone.
    pub(crate) fn new(domain: Option<&str>, started: SystemTime) -> Self {
        let expires = Timestamp::try_from(started + COOKIE_AGE)
            .and_then(|expires| DateTimePrinter::new().timestamp_to_rfc9110_string(&expires));
        // If the time is out of range, the cookie lasts for the browser's session.
        let expires = expires
            .map(|expires| format!(" Expires={expires};"))
            .unwrap_or_default();
        Self {
            domain: domain.map(|domain| format!("{DOMAIN}{domain}")).unwrap_or_default(),
            tail: format!("; Path=/;{expires} HttpOnly; Secure; SameSite=None"),
        }
    }

    /// Returns the header for a visitor, with the domain `host` if there is one; `None` if the
    /// configured domain is not valid in a header.
    pub(crate) fn value(&self, uid: u64, host: Option<&str>) -> Option<HeaderValue> {
        let cookie = text::write(|out| {
            out.put_slice(UID_COOKIE.as_bytes());
            out.put_u8(b'=');
            out.put_slice(itoa::Buffer::new().format(uid).as_bytes());
            match host {
                Some(host) => {
                    out.put_slice(DOMAIN.as_bytes());
                    out.put_slice(host.as_bytes());
                }
                None => out.put_slice(self.domain.as_bytes()),
            }
            out.put_slice(self.tail.as_bytes());
        });
        HeaderValue::from_maybe_shared(cookie).ok()
    }
}
