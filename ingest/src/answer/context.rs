//! The context of an answer: the parts of a request and of the collector's settings that the
//! response depends on.

use std::num::NonZeroU64;

use http::HeaderValue;

use crate::{
    answer::{cookie::Cookie, header_set::HeaderSet},
    identify::CorsOrigin,
};

/// The parts of a request, and of the collector's settings, that a response depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The cookie of the collector, if it sets one.
    pub(crate) cookie: Option<&'a Cookie>,
    /// The set of headers in responses.
    pub(crate) headers: HeaderSet,
    /// The uid of the event.
    pub(crate) uid: u64,
    /// The uid for the visitor's cookie; `None` if the response sets no cookie.
    pub(crate) cookie_uid: Option<NonZeroU64>,
    /// The page that may read the response.
    pub(crate) origin: CorsOrigin<'a>,
    /// Whether this page may send the cookie.
    pub(crate) allows_credentials: bool,
    /// The headers that a preflight asks for.
    pub(crate) requested_headers: Option<&'a HeaderValue>,
    /// The host that a trusted proxy reports; if present, it is the cookie's domain.
    pub(crate) host: Option<&'a str>,
    /// Whether the client uses HTTPS.
    pub(crate) is_secure: bool,
    /// Whether the response has the native structure, which has neither `Content-Type` nor
    /// `Location`.
    pub(crate) native: bool,
    /// Whether the method is HEAD: the response is that of GET, without a body.
    pub(crate) is_head: bool,
}
