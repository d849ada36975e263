//! The headers that are the same in every answer, or nearly so.

use http::{HeaderMap, HeaderName, HeaderValue, header};

pub(super) const X_RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
const X_MY_NAME: HeaderName = HeaderName::from_static("x-my-name");
const MAX_AGE_SCOPE: HeaderName = HeaderName::from_static("access-control-max-age-scope");

/// Room for the headers of any answer without growing.
const MAX_HEADERS: usize = 24;

const fn fixed(name: HeaderName, value: &'static str) -> (HeaderName, HeaderValue) {
    (name, HeaderValue::from_static(value))
}

/// The fixed headers of every answer but the preflight's. The origin in them gives way to that of the request.
static COMMON: [(HeaderName, HeaderValue); 9] = [
    fixed(header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    fixed(header::X_XSS_PROTECTION, "1"),
    fixed(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    fixed(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
    fixed(header::ACCESS_CONTROL_EXPOSE_HEADERS, "Content-Length,Content-Type"),
    fixed(header::PRAGMA, "no-cache"),
    fixed(header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
    fixed(header::EXPIRES, "Mon, 01 Jan 1990 21:00:12 GMT"),
    fixed(header::LAST_MODIFIED, "Sun, 17 May 1998 03:44:30 GMT"),
];

/// The fixed headers of the answer to a preflight.
static PREFLIGHT: [(HeaderName, HeaderValue); 15] = [
    fixed(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    fixed(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
    fixed(header::ACCESS_CONTROL_EXPOSE_HEADERS, "Content-Length,Content-Type"),
    fixed(header::ACCESS_CONTROL_ALLOW_METHODS, "POST,GET"),
    fixed(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "X-Requested-With,Access-Control-Allow-Origin,Content-Type,Authorization,Accept",
    ),
    fixed(MAX_AGE_SCOPE, "domain"),
    fixed(header::ACCESS_CONTROL_MAX_AGE, "86400"),
    fixed(header::CONTENT_LENGTH, "2"),
    fixed(header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
    fixed(header::VARY, "Origin"),
    fixed(header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    fixed(header::X_XSS_PROTECTION, "1"),
    fixed(header::PRAGMA, "no-cache"),
    fixed(header::EXPIRES, "Mon, 01 Jan 1990 21:00:12 GMT"),
    fixed(header::LAST_MODIFIED, "Sun, 17 May 1998 03:44:30 GMT"),
];

/// Which headers an answer begins with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fixed {
    Common,
    Preflight,
    Teapot,
}

impl Fixed {
    /// Puts the headers into `headers`, which are empty, with `origin` as the page that may read the answer.
    pub(super) fn put(self, headers: &mut HeaderMap, origin: HeaderValue) {
        // Headers of a request had room for as many of ours in the request before; a first request's grow once.
        headers.reserve(MAX_HEADERS);
        let table = match self {
            Self::Common => &COMMON[..],
            Self::Preflight => &PREFLIGHT,
            Self::Teapot => {
                headers.insert(X_MY_NAME, HeaderValue::from_static("Rowmill"));
                &COMMON
            }
        };
        let mut origin = Some(origin);
        for (name, value) in table {
            let value = match origin.take_if(|_| *name == header::ACCESS_CONTROL_ALLOW_ORIGIN) {
                Some(origin) => origin,
                None => value.clone(),
            };
            headers.insert(name.clone(), value);
        }
    }
}

/// Returns a time in milliseconds as a value; that of nearly all answers is static.
pub(super) fn time(elapsed_ms: u64) -> HeaderValue {
    match elapsed_ms {
        0 => HeaderValue::from_static("0"),
        _ => elapsed_ms.into(),
    }
}
