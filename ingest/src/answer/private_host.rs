//! Private hosts: the visitor's own computer and network, to which no link from outside should lead.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::Host;

/// The top-level domains of names that only one computer or one network knows
/// ([RFC 6761](https://www.rfc-editor.org/rfc/rfc6761#section-6.3),
/// [RFC 6762](https://www.rfc-editor.org/rfc/rfc6762),
/// [ICANN](https://www.icann.org/en/board-activities-and-meetings/materials/approved-resolutions-special-meeting-of-the-icann-board-29-07-2024-en)).
pub(super) const LOCAL_DOMAINS: [&str; 3] = ["internal", "local", "localhost"];

/// Returns whether a host is loopback, link-local, private or unspecified.
pub(super) fn is_private(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name.rsplit('.')
                .next()
                .is_some_and(|domain| LOCAL_DOMAINS.contains(&domain))
        }
        Host::Ipv4(address) => is_private_v4(*address),
        Host::Ipv6(address) => is_private_v6(*address),
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    // 100.64.0.0/10 is between a provider and its customers.
    let is_shared = first == 100 && second & 0b1100_0000 == 64;
    first == 0
        || is_shared
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    /// The prefix of IPv4 addresses behind a translator
    /// ([RFC 6052](https://www.rfc-editor.org/rfc/rfc6052#section-2.1)).
    const TRANSLATED: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

    let segments = address.segments();
    let [.., a, b, c, d] = address.octets();
    let v4 = match segments.starts_with(&TRANSLATED) {
        true => Some(Ipv4Addr::new(a, b, c, d)),
        // Both the mapped form and the older compatible one.
        false => address.to_ipv4(),
    };
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || v4.is_some_and(is_private_v4)
}
