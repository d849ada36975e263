//! The headers that are (nearly) the same in all responses: a set for current browsers and clients,
//! and Rockstat's.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::answer::{Challenge, header_set::HeaderSet};

pub(super) const X_RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
const X_MY_NAME: HeaderName = HeaderName::from_static("x-my-name");
const MAX_AGE_SCOPE: HeaderName = HeaderName::from_static("access-control-max-age-scope");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The capacity for the headers of any response without growth.
const MAX_HEADERS: usize = 24;

type Fixed = (HeaderName, HeaderValue);

const fn fixed(name: HeaderName, value: &'static str) -> Fixed {
    (name, HeaderValue::from_static(value))
}

/// A response is for one visitor and one request.
const NO_STORE: Fixed = fixed(header::CACHE_CONTROL, "no-store");
/// A browser must not read a response as a page or a script if it is neither.
const NOSNIFF: Fixed = fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
/// A page that isolates itself (`Cross-Origin-Embedder-Policy`) may show the image and run the
/// script.
const EMBEDDABLE: Fixed = fixed(CROSS_ORIGIN_RESOURCE_POLICY, "cross-origin");
/// The target gets the origin of the page with the link, for its statistics, but neither path nor
/// query, which may identify the visitor. Browsers do so by default; the header is for pages with a
/// looser policy.
const ORIGIN_ONLY: Fixed = fixed(header::REFERRER_POLICY, "strict-origin-when-cross-origin");

static PLAIN: [Fixed; 2] = [NO_STORE, NOSNIFF];
static EMBEDDED: [Fixed; 3] = [NO_STORE, NOSNIFF, EMBEDDABLE];
static REDIRECT: [Fixed; 3] = [NO_STORE, NOSNIFF, ORIGIN_ONLY];

/// The names of the headers that a preflight allows in any case.
const ALLOWED_HEADERS: &str = "Accept, Authorization, Content-Type, Idempotency-Key, X-Requested-With, X-Rowmill-Ack";

/// The longest list of further headers that a preflight allows, in bytes.
const MAX_REQUESTED_BYTES: usize = 1 << 10;

/// The prefix and the names of the headers with which a proxy describes its client. A page must not
/// send them: a proxy that does not replace them would pass them on.
const PROXY_HEADERS: [&str; 6] = [
    "x-forwarded-",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "cf-connecting-ip",
    "true-client-ip",
];

/// The response depends on the page.
const VARY: Fixed = fixed(header::VARY, "Origin");
const CREDENTIALS: Fixed = fixed(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");

/// Additional headers of a response to a page of another origin.
static CROSS_ORIGIN: [Fixed; 2] = [
    VARY,
    fixed(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        "Idempotency-Replayed, Retry-After, X-Rowmill-Ack",
    ),
];

/// Additional headers of the response to a preflight.
static CROSS_ORIGIN_PREFLIGHT: [Fixed; 4] = [
    VARY,
    fixed(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
    fixed(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS),
    fixed(header::ACCESS_CONTROL_MAX_AGE, "86400"),
];

/// Rockstat's headers of all responses except the preflight's. The origin of the request replaces
/// the `*` in them.
static ROCKSTAT: [Fixed; 9] = [
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

/// Rockstat's headers of the response to a preflight.
static ROCKSTAT_PREFLIGHT: [Fixed; 15] = [
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

/// The kind of a response, as far as its headers depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    /// Embedded in a page: an image, or the script.
    Embedded,
    Redirect,
    /// With the methods of the route, if it has methods of its own.
    Preflight(&'static [&'static str]),
    Teapot,
}

/// Adds the headers of `set` to the empty map `headers`; `origin` is the page that may read the
/// response, and `credentials` whether it may send the cookie.
pub(super) fn put(set: HeaderSet, kind: Kind, headers: &mut HeaderMap, origin: Option<HeaderValue>, credentials: bool) {
    // hyper reuses the map of the previous response, which has this capacity; the map of a
    // connection's first request grows once.
    headers.reserve(MAX_HEADERS);
    match set {
        HeaderSet::Modern => put_modern(kind, headers, origin, credentials),
        HeaderSet::Rockstat => put_rockstat(kind, headers, origin),
    }
    if let Kind::Preflight(methods) = kind
        && !methods.is_empty()
        && headers.contains_key(header::ACCESS_CONTROL_ALLOW_METHODS)
        && let Ok(methods) = HeaderValue::try_from(methods.join(", "))
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
}

fn put_modern(kind: Kind, headers: &mut HeaderMap, origin: Option<HeaderValue>, credentials: bool) {
    put_all(
        headers,
        match kind {
            Kind::Embedded => &EMBEDDED,
            Kind::Redirect => &REDIRECT,
            Kind::Plain | Kind::Preflight(_) | Kind::Teapot => &PLAIN,
        },
    );
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        put_all(
            headers,
            match kind {
                Kind::Preflight(_) => &CROSS_ORIGIN_PREFLIGHT,
                _ => &CROSS_ORIGIN,
            },
        );
        if credentials {
            put_all(headers, &[CREDENTIALS]);
        }
    }
}

/// Returns the headers that a page may send, if the preflight asks for more than
/// [`ALLOWED_HEADERS`]. An unknown header does no harm, but its refusal would cost the event: the
/// page's tracing or a route of the schema may add any.
pub(super) fn allowed_headers(requested: Option<&HeaderValue>) -> Option<HeaderValue> {
    let requested = requested?.to_str().ok()?;
    if requested.len() > MAX_REQUESTED_BYTES {
        return None;
    }
    let mut allowed = ALLOWED_HEADERS.to_owned();
    for name in requested.split(',').map(str::trim) {
        let is_known = ALLOWED_HEADERS
            .split(", ")
            .any(|known| known.eq_ignore_ascii_case(name));
        if !is_known && is_allowed(name) {
            allowed.push_str(", ");
            allowed.push_str(name);
        }
    }
    HeaderValue::from_maybe_shared(Bytes::from(allowed)).ok()
}

/// Returns whether a page may send a header.
fn is_allowed(name: &str) -> bool {
    let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
        return false;
    };
    // A star allows all headers.
    if name.as_str() == "*" {
        return false;
    }
    !PROXY_HEADERS.iter().any(|proxy| match proxy.ends_with('-') {
        true => name.as_str().starts_with(proxy),
        false => name.as_str() == *proxy,
    })
}

fn put_all(headers: &mut HeaderMap, fixed: &[Fixed]) {
    for (name, value) in fixed {
        headers.insert(name.clone(), value.clone());
    }
}

fn put_rockstat(kind: Kind, headers: &mut HeaderMap, mut origin: Option<HeaderValue>) {
    if kind == Kind::Teapot {
        headers.insert(X_MY_NAME, HeaderValue::from_static("Rowmill"));
    }
    let table = match kind {
        Kind::Preflight(_) => &ROCKSTAT_PREFLIGHT[..],
        _ => &ROCKSTAT,
    };
    for (name, value) in table {
        let value = match origin.take_if(|_| *name == header::ACCESS_CONTROL_ALLOW_ORIGIN) {
            Some(origin) => origin,
            None => value.clone(),
        };
        headers.insert(name.clone(), value);
    }
}

impl Challenge {
    pub(super) const fn to_value(self) -> HeaderValue {
        match self {
            Self::Basic => HeaderValue::from_static("Basic realm=\"events\""),
            Self::Bearer => HeaderValue::from_static("Bearer"),
        }
    }
}

/// Returns a time in milliseconds as a header value; the value of nearly all responses is static.
pub(super) fn time(elapsed_ms: u64) -> HeaderValue {
    match elapsed_ms {
        0 => HeaderValue::from_static("0"),
        _ => elapsed_ms.into(),
    }
}
