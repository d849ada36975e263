//! The proxies that are trusted to name the client.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net};

/// The addresses of the proxies that are trusted to name the client. The default is the machine
/// itself.
///
/// Parsed from addresses and networks, separated by commas; an empty text trusts no proxy.
///
/// ```
/// use rowmill_ingest::layer::TrustedProxies;
///
/// let proxies: TrustedProxies = "127.0.0.1, 10.0.0.0/8".parse()?;
/// assert_ne!(proxies, TrustedProxies::default());
/// # Ok::<(), rowmill_ingest::layer::NetworkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// A network. An IPv4 network has its mapped IPv6 form, so that one comparison serves both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: u128,
    mask: u128,
}

/// A text that is neither an address nor a network.
///
/// ```
/// use rowmill_ingest::layer::TrustedProxies;
///
/// assert!("10.0.0.0/64".parse::<TrustedProxies>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError(String);

impl TrustedProxies {
    /// Returns whether `ip` is the address of a trusted proxy.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        let ip = bits_of(ip);
        self.0.iter().any(|network| ip & network.mask == network.address)
    }
}

impl Default for TrustedProxies {
    fn default() -> Self {
        const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
        Self(vec![
            Network::from(IpNet::V4(LOOPBACK)),
            Network::from(IpNet::V6(Ipv6Addr::LOCALHOST.into())),
        ])
    }
}

impl FromStr for TrustedProxies {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let networks = text.split(',').map(str::trim).filter(|network| !network.is_empty());
        networks
            .map(|text| {
                parse(text)
                    .map(Network::from)
                    .ok_or_else(|| NetworkError(text.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<IpNet> for Network {
    fn from(network: IpNet) -> Self {
        let (address, prefix) = match network {
            IpNet::V4(network) => (network.addr().to_ipv6_mapped(), 96 + network.prefix_len()),
            IpNet::V6(network) => (network.addr(), network.prefix_len()),
        };
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Self {
            address: address.to_bits() & mask,
            mask,
        }
    }
}

/// Parses an address or a network.
fn parse(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address)
}

fn bits_of(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is neither an IP address nor a network such as 10.0.0.0/8",
            self.0
        )
    }
}

impl std::error::Error for NetworkError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::identify::testing::PEER;

    #[test]
    fn contains_the_addresses_of_its_networks() {
        let trusted: TrustedProxies = "10.0.0.0/8, 192.168.1.7,fd00::/8 ,, 2001:db8::1".parse().unwrap();
        for ip in ["10.255.0.1", "192.168.1.7", "fd12::1", "2001:db8::1", "::ffff:10.1.1.1"] {
            assert!(trusted.contains(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["11.0.0.1", "192.168.1.8", "fe00::1", "2001:db8::2", "127.0.0.1"] {
            assert!(!trusted.contains(ip.parse().unwrap()), "{ip}");
        }
        let all_ipv4: TrustedProxies = "0.0.0.0/0".parse().unwrap();
        assert!(all_ipv4.contains(PEER) && !all_ipv4.contains("2001:db8::1".parse().unwrap()));
        assert!("::/0".parse::<TrustedProxies>().unwrap().contains(PEER));
        for text in ["10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.1/", "10.0.0.1/-1"] {
            let error = text.parse::<TrustedProxies>().unwrap_err();
            assert!(error.to_string().contains(text));
        }
    }
}
