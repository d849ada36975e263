//! The page that a response is for, as CORS names it.

use http::HeaderValue;

use crate::request::headers::RequestHeaders;

/// The page that may read a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CorsOrigin<'a> {
    /// The `Origin` of the request.
    Given(&'a HeaderValue),
    /// The `Referer` of the request; only its `scheme://host[:port]` is used.
    Referer(&'a HeaderValue),
    /// The request has neither.
    Any,
}

impl<'a> CorsOrigin<'a> {
    /// Returns the origin of a request.
    pub(crate) fn of(headers: &RequestHeaders<'a>) -> Self {
        if let Some(origin) = headers.origin.filter(|origin| !origin.is_empty()) {
            return Self::Given(origin);
        }
        headers.referer.map_or(Self::Any, Self::Referer)
    }

    /// Returns the `Origin` of the request; without it, CORS does not apply.
    pub(crate) fn given(self) -> Option<HeaderValue> {
        match self {
            Self::Given(origin) => Some(origin.clone()),
            Self::Referer(_) | Self::Any => None,
        }
    }

    /// Returns the value of `Access-Control-Allow-Origin` that Rockstat puts into every response.
    pub(crate) fn to_value(self) -> HeaderValue {
        match self {
            Self::Given(origin) => origin.clone(),
            Self::Referer(referer) => {
                let origin = referer.to_str().ok().and_then(origin_of);
                let value = origin.and_then(|origin| HeaderValue::from_str(origin).ok());
                value.unwrap_or(HeaderValue::from_static("*"))
            }
            Self::Any => HeaderValue::from_static("*"),
        }
    }
}

fn origin_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_authority = authority.starts_with(|c| c != ':')
        && authority
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    (is_scheme && is_authority).then(|| &url[..scheme.len() + "://".len() + authority.len()])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderName, header};

    use super::*;
    use crate::identify::testing::headers;

    #[test]
    fn allows_the_origin_or_that_of_the_referer() {
        let value =
            |pairs: &[(HeaderName, &str)]| CorsOrigin::of(&RequestHeaders::from_map(&headers(pairs))).to_value();
        assert_eq!(
            value(&[(header::ORIGIN, "https://a.ru"), (header::REFERER, "https://b.ru/")]),
            "https://a.ru"
        );
        assert_eq!(value(&[(header::ORIGIN, "null")]), "null");
        assert_eq!(
            value(&[(header::ORIGIN, ""), (header::REFERER, "https://b.ru/x")]),
            "https://b.ru"
        );
        let referers = [
            ("http://b.ru:81?x://y", "http://b.ru:81"),
            ("https://[::1]:80/", "https://[::1]:80"),
            ("android-app://com.example", "android-app://com.example"),
            ("junk", "*"),
            ("://b.ru", "*"),
            ("https://", "*"),
            ("https://:80", "*"),
            ("https://user@b.ru/", "*"),
            ("https://b.ru,c.ru/", "*"),
            ("1http://b.ru", "*"),
            ("/x?y=https://b.ru", "*"),
        ];
        for (referer, origin) in referers {
            assert_eq!(value(&[(header::REFERER, referer)]), origin, "{referer}");
        }
        assert_eq!(value(&[]), "*");
    }
}
