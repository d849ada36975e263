//! The sender of an event, and the address of the event.
//!
//! Takes the parsed target, the claims of query and body, the headers and the peer's address.
//! Returns the event's address, its project, the visitor's uid and the client. Everything is
//! borrowed, and an invalid value counts as absent. Only a trusted proxy may name another client
//! than itself.

mod address;
mod client;
mod forwarded;
mod host;
mod ip_text;
mod origin;
mod project;
mod proxies;
mod visitor;

pub use self::proxies::{NetworkError, TrustedProxies};
pub(crate) use self::{
    address::Address,
    client::{Client, fingerprint, header_text},
    forwarded::Proxies,
    host::{auto_domain, host_of},
    ip_text::IpText,
    origin::CorsOrigin,
    project::Project,
    visitor::{UID_COOKIE, claimed_uid, stored_uid},
};

#[cfg(test)]
mod testing {
    //! Values that the tests of all files share.

    use std::net::{IpAddr, Ipv4Addr};

    use http::{HeaderMap, HeaderName, HeaderValue};

    pub(super) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
    pub(super) const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    pub(super) fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                name.clone(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap_or(HeaderValue::from_static("")),
            );
        }
        headers
    }
}

#[cfg(test)]
mod tests;
