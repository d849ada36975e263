//! The set of headers that answers carry.

/// The headers that answers carry beside those of their content, their cookie and their
/// acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeaderSet {
    /// Those that a browser or a sender of today needs: `Cache-Control: no-store` and
    /// `X-Content-Type-Options: nosniff`; for a picture and the script
    /// `Cross-Origin-Resource-Policy: cross-origin`, for a redirect `Referrer-Policy:
    /// strict-origin-when-cross-origin`; those of CORS where the request has an `Origin`.
    #[default]
    Modern,
    /// Those of Rockstat's collector, header for header, `X-Response-Time`, `Pragma` and CORS for
    /// every request among them.
    Rockstat,
}
