//! The text of an address, without an allocation.

use std::{
    fmt::{self, Write},
    net::IpAddr,
};

use arrayvec::ArrayString;

/// The longest text of an address: IPv6 with an IPv4 address at its end.
const MAX_BYTES: usize = 45;

/// An address as text.
#[derive(Clone, Copy)]
pub(crate) struct IpText(ArrayString<MAX_BYTES>);

impl IpText {
    pub(crate) fn new(ip: IpAddr) -> Self {
        let mut text = ArrayString::new();
        // The buffer fits any address.
        let _ = match ip {
            IpAddr::V4(ip) => put_v4(&mut text, ip.octets()),
            IpAddr::V6(ip) => write!(text, "{ip}"),
        };
        Self(text)
    }

    /// Returns the text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Avoids the standard library's formatter, which takes several times the instructions.
fn put_v4(text: &mut ArrayString<MAX_BYTES>, octets: [u8; 4]) -> fmt::Result {
    let mut put = |byte: u8| text.try_push(char::from(byte)).map_err(|_| fmt::Error);
    for (index, octet) in octets.into_iter().enumerate() {
        if index > 0 {
            put(b'.')?;
        }
        if octet >= 100 {
            put(b'0' + octet / 100)?;
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10)?;
        }
        put(b'0' + octet % 10)?;
    }
    Ok(())
}

impl fmt::Debug for IpText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn writes_as_the_standard_library() {
        let mapped = Ipv4Addr::new(255, 254, 253, 252).to_ipv6_mapped();
        let addresses: [IpAddr; 8] = [
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(203, 0, 113, 7).into(),
            Ipv4Addr::new(9, 10, 99, 100).into(),
            Ipv4Addr::new(101, 109, 110, 199).into(),
            Ipv4Addr::BROADCAST.into(),
            Ipv6Addr::LOCALHOST.into(),
            Ipv6Addr::from_bits(u128::MAX).into(),
            mapped.into(),
        ];
        for ip in addresses {
            assert_eq!(IpText::new(ip).as_str(), ip.to_string());
        }
    }
}
