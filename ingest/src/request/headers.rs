//! Headers: the request headers that the collector reads, found in one pass.
//!
//! A pass over the ten headers of a request costs less than a third of these lookups by name.

use http::{HeaderMap, HeaderName, HeaderValue, header};

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The headers that the collector reads; the first value of a duplicate counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestHeaders<'r> {
    pub(crate) content_type: Option<&'r HeaderValue>,
    pub(crate) content_encoding: Option<&'r HeaderValue>,
    pub(crate) user_agent: Option<&'r HeaderValue>,
    pub(crate) referer: Option<&'r HeaderValue>,
    pub(crate) origin: Option<&'r HeaderValue>,
    /// `X-Real-IP`, even from an untrusted peer.
    pub(crate) real_ip: Option<&'r HeaderValue>,
    /// `X-Forwarded-Host`, even from an untrusted peer.
    pub(crate) forwarded_host: Option<&'r HeaderValue>,
    /// `X-Forwarded-Proto`, even from an untrusted peer.
    pub(crate) forwarded_proto: Option<&'r HeaderValue>,
    pub(crate) cookie: Option<&'r HeaderValue>,
    /// Whether there is another `Cookie`: HTTP/2 clients may send one per cookie.
    pub(crate) has_more_cookies: bool,
    /// Whether there is `X-Forwarded-For` or `Forwarded`, even from an untrusted peer.
    pub(crate) is_forwarded: bool,
}

impl<'r> RequestHeaders<'r> {
    pub(crate) fn from_map(headers: &'r HeaderMap) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            let slot = match *name {
                header::CONTENT_TYPE => &mut found.content_type,
                header::CONTENT_ENCODING => &mut found.content_encoding,
                header::USER_AGENT => &mut found.user_agent,
                header::REFERER => &mut found.referer,
                header::ORIGIN => &mut found.origin,
                header::COOKIE => {
                    found.has_more_cookies |= found.cookie.is_some();
                    &mut found.cookie
                }
                header::FORWARDED => {
                    found.is_forwarded = true;
                    continue;
                }
                _ if *name == X_REAL_IP => &mut found.real_ip,
                _ if *name == X_FORWARDED_HOST => &mut found.forwarded_host,
                _ if *name == X_FORWARDED_FOR => {
                    found.is_forwarded = true;
                    continue;
                }
                _ if *name == X_FORWARDED_PROTO => &mut found.forwarded_proto,
                _ => continue,
            };
            slot.get_or_insert(value);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_same_headers_as_lookups_by_name() {
        let names = [
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::USER_AGENT,
            header::REFERER,
            header::ORIGIN,
            X_REAL_IP,
            X_FORWARDED_HOST,
            X_FORWARDED_PROTO,
        ];
        fn found(headers: &HeaderMap) -> [Option<&HeaderValue>; 8] {
            let found = RequestHeaders::from_map(headers);
            [
                found.content_type,
                found.content_encoding,
                found.user_agent,
                found.referer,
                found.origin,
                found.real_ip,
                found.forwarded_host,
                found.forwarded_proto,
            ]
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        for (value, name) in names.iter().enumerate() {
            headers.append(name, value.into());
            headers.append(name, HeaderValue::from_static("twice"));
        }
        assert_eq!(found(&headers), names.each_ref().map(|name| headers.get(name)));
        assert!(found(&headers).iter().all(Option::is_some));
        for (cookie, has_more) in [("uid=1", false), ("uid=2", true)] {
            headers.append(header::COOKIE, HeaderValue::from_static(cookie));
            let found = RequestHeaders::from_map(&headers);
            assert_eq!(found.cookie, headers.get(header::COOKIE));
            assert_eq!(found.has_more_cookies, has_more);
        }
        assert_eq!(found(&HeaderMap::new()), [None; 8]);
        assert!(!RequestHeaders::from_map(&headers).is_forwarded);
        for name in [header::FORWARDED, X_FORWARDED_FOR] {
            let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(""))]);
            assert!(RequestHeaders::from_map(&headers).is_forwarded);
        }
    }
}
