//! The text of an address, without an allocation.

use std::{
    fmt::{self, Write},
    net::IpAddr,
};

/// The longest text of an address: IPv6 with an IPv4 address at its end.
const MAX_BYTES: usize = 45;

/// An address as text.
#[derive(Clone, Copy)]
pub(crate) struct IpText {
    bytes: [u8; MAX_BYTES],
    length: u8,
}

impl IpText {
    pub(crate) fn new(ip: IpAddr) -> Self {
        let mut text = Self {
            bytes: [0; MAX_BYTES],
            length: 0,
        };
        // The buffer fits any address.
        let _ = match ip {
            IpAddr::V4(ip) => text.put_v4(ip.octets()),
            IpAddr::V6(ip) => write!(text, "{ip}"),
        };
        text
    }

    /// Returns the text.
    pub(crate) fn as_str(&self) -> &str {
        let text = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        str::from_utf8(text).unwrap_or_default()
    }

    /// Avoids the standard library's formatter, which takes several times the instructions.
    fn put_v4(&mut self, octets: [u8; 4]) -> fmt::Result {
        for (index, octet) in octets.into_iter().enumerate() {
            if index > 0 {
                self.write_str(".")?;
            }
            self.write_str(itoa::Buffer::new().format(octet))?;
        }
        Ok(())
    }
}

impl Write for IpText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.length);
        let end = start + text.len();
        let target = self.bytes.get_mut(start..end).ok_or(fmt::Error)?;
        target.copy_from_slice(text.as_bytes());
        self.length = end as u8;
        Ok(())
    }
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
        let addresses: [IpAddr; 6] = [
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(203, 0, 113, 7).into(),
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
