//! The set of headers that responses have.

/// The headers that responses have in addition to those of their content, their cookie and their
/// acknowledgement.
///
/// ```
/// use rowmill_ingest::{EventOptions, layer::HeaderSet};
///
/// let options = EventOptions { headers: HeaderSet::Rockstat, ..EventOptions::default() };
/// # assert_ne!(options.headers, HeaderSet::default());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderSet {
    /// The headers that current browsers and clients need: `Cache-Control: no-store` and
    /// `X-Content-Type-Options: nosniff`; `Cross-Origin-Resource-Policy: cross-origin` for an image
    /// and the script; `Referrer-Policy: strict-origin-when-cross-origin` for a redirect; CORS
    /// headers if the request has an `Origin`.
    #[default]
    Modern,
    /// The headers of Rockstat's collector, one for one, including `X-Response-Time`, `Pragma` and
    /// CORS for every request.
    Rockstat,
}
