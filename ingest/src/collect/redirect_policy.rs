//! The hosts that the links of a route lead to.

use crate::verify::Verification;

/// The hosts that the links of a route lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectPolicy {
    /// Any host, except private ones.
    Open,
    /// The hosts of the site to which the request came: those with its registrable domain.
    SameSite,
    /// These hosts: `example.com`, or `*.example.com` for the hosts below it. They may be private.
    Hosts(&'static [&'static str]),
    /// Any host, if the link is signed.
    Signed(Verification),
}
