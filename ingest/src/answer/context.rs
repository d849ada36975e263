//! The context of an answer: the parts of a request and of the collector's settings that the
//! response depends on.

use crate::{
    answer::{cookie::Cookie, header_set::HeaderSet},
    identify::CorsOrigin,
};

/// The parts of a request, and of the collector's settings, that a response depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    /// The cookie of the collector.
    pub(crate) cookie: &'a Cookie,
    /// The set of headers in responses.
    pub(crate) headers: HeaderSet,
    /// The visitor, known or new.
    pub(crate) uid: u64,
    /// The page that may read the response.
    pub(crate) origin: CorsOrigin<'a>,
    /// The host that a trusted proxy reports; if present, it is the cookie's domain.
    pub(crate) host: Option<&'a str>,
    /// Whether the response has the native structure, which has neither `Content-Type` nor
    /// `Location`.
    pub(crate) native: bool,
    /// Whether the method is HEAD: the response is that of GET, without a body.
    pub(crate) is_head: bool,
}
