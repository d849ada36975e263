//! Privacy: the parts of a visitor's data that rows and dead letters have.
//!
//! The options of a route, with those of its table, apply to the event's metadata before the row is
//! made, and to the payload of a dead letter before it is written.
//!
//! ```text
//! browser   the names of browser and system in a User-Agent
//! salt      HMACs in place of values
//! scrub     the payload of a dead letter without personal values
//! ```

pub(crate) mod browser;
pub(crate) mod salt;
pub(crate) mod scrub;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The privacy options of a route and its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Privacy {
    /// The part of the client's address that is kept.
    pub ip: AddressRule,
    /// The part of the header `User-Agent` that is kept.
    pub user_agent: UserAgentRule,
    /// The key of the hashes; `None` if nothing is hashed.
    pub salt: Option<Salt>,
    /// Whether a request with `DNT: 1` is one without consent.
    pub dnt: bool,
    /// Whether a request with `Sec-GPC: 1` is one without consent.
    pub gpc: bool,
    /// The field that must be true in an event with consent; `None` if no event needs it.
    pub consent: Option<&'static str>,
    /// Whether an event without consent is not recorded; otherwise, it is recorded without the
    /// visitor's data.
    pub drops_without_consent: bool,
    /// The columns with personal data.
    pub columns: &'static [PersonalColumn],
}

/// The part of the client's address that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRule {
    /// The address.
    Keep,
    /// The first 24 bits of an IPv4 address, and the first 48 of an IPv6 address.
    Truncate,
    /// The HMAC of the address.
    Hash,
    /// Nothing.
    Drop,
}

/// The part of the header `User-Agent` that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserAgentRule {
    /// The header.
    Keep,
    /// The names of browser and system, such as `Firefox on Linux`.
    Family,
    /// The HMAC of the header.
    Hash,
    /// Nothing.
    Drop,
}

/// The key of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt {
    /// The environment variable with the key.
    pub env: &'static str,
    /// Whether each day in UTC has a key of its own, which follows from the variable's.
    pub is_daily: bool,
}

/// A column with personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PersonalColumn {
    /// The name of the column.
    pub name: &'static str,
    /// The paths of the value in an event, their keys joined by `_`.
    pub paths: &'static [&'static str],
    /// Whether a dead letter has the HMAC of the value; otherwise, it has nothing of it.
    pub is_hashed: bool,
}

/// The first bits of an address that are kept.
const IPV4_PREFIX: u32 = 24;
const IPV6_PREFIX: u32 = 48;

impl Privacy {
    /// No options; generated code sets some of them.
    pub const NONE: Self = Self {
        ip: AddressRule::Keep,
        user_agent: UserAgentRule::Keep,
        salt: None,
        dnt: false,
        gpc: false,
        consent: None,
        drops_without_consent: false,
        columns: &[],
    };

    /// Returns whether the browser objects, by a header that the options respect.
    pub(crate) fn is_objected(&self, headers: &HeaderMap) -> bool {
        const DNT: HeaderName = HeaderName::from_static("dnt");
        const SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
        let is_set = |name| headers.get(name).map(HeaderValue::as_bytes) == Some(b"1");
        (self.dnt && is_set(DNT)) || (self.gpc && is_set(SEC_GPC))
    }
}

/// Returns the network of an address: with `/24`, or `/48` of an IPv6 address.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & u32::MAX << (u32::BITS - IPV4_PREFIX)).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & u128::MAX << (u128::BITS - IPV6_PREFIX)).into(),
    }
}

/// Returns whether a text states consent.
pub(crate) fn is_true(text: &str) -> bool {
    ["1", "true", "yes"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Lists the options as `rowmill routes` shows them.
impl fmt::Display for Privacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = Vec::new();
        match self.ip {
            AddressRule::Keep => {}
            AddressRule::Truncate => options.push("addresses truncated".to_owned()),
            AddressRule::Hash => options.push("addresses hashed".to_owned()),
            AddressRule::Drop => options.push("no addresses".to_owned()),
        }
        match self.user_agent {
            UserAgentRule::Keep => {}
            UserAgentRule::Family => options.push("browsers without versions".to_owned()),
            UserAgentRule::Hash => options.push("browsers hashed".to_owned()),
            UserAgentRule::Drop => options.push("no browsers".to_owned()),
        }
        let signals = [(self.dnt, "DNT"), (self.gpc, "Sec-GPC")];
        let signals = signals.iter().filter(|(is_respected, _)| *is_respected);
        options.extend(signals.map(|(_, name)| format!("respects {name}")));
        options.extend(self.consent.map(|field| format!("consent in {field}")));
        if self.drops_without_consent {
            options.push("nothing without consent".to_owned());
        }
        if !self.columns.is_empty() {
            let names: Vec<_> = self.columns.iter().map(|column| column.name).collect();
            options.push(format!("personal data in {}", names.join(" ")));
        }
        f.write_str(&options.join("  "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_network_has_no_host() {
        for (address, expected) in [
            ("203.0.113.77", "203.0.113.0"),
            ("255.255.255.255", "255.255.255.0"),
            ("0.0.0.1", "0.0.0.0"),
            ("2001:db8:1234:5678:9abc:def0:1:2", "2001:db8:1234::"),
            ("::1", "::"),
        ] {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn a_browser_objects_with_a_header_that_is_1() {
        let privacy = Privacy {
            dnt: true,
            ..Privacy::NONE
        };
        let objects = |privacy: &Privacy, name: &'static str, value| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            privacy.is_objected(&headers)
        };
        assert!(objects(&privacy, "dnt", "1"));
        assert!(!objects(&privacy, "dnt", "0"));
        assert!(!objects(&privacy, "dnt", ""));
        assert!(!objects(&privacy, "sec-gpc", "1"));
        let both = Privacy { gpc: true, ..privacy };
        assert!(objects(&both, "sec-gpc", "1"));
        assert!(!Privacy::NONE.is_objected(&HeaderMap::new()));
    }
}
