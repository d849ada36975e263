//! Addresses: `IPv4` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/ipv4)) and
//! `IPv6` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/ipv6)). The decoder
//! accepts text only.

use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Decode, Encode};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// ClickHouse's `IPv4`: 4 bytes, the last byte of the address first.
///
/// ```
/// use rowmill_ingest::value::{Decode, Ipv4};
///
/// assert_eq!(Ipv4::from_text("192.0.2.1".into())?.0.octets(), [192, 0, 2, 1]);
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4(
    /// The address.
    pub Ipv4Addr,
);

/// ClickHouse's `IPv6`: 16 bytes in network order.
///
/// An IPv4 address becomes its IPv4-mapped IPv6 address: `1.2.3.4` is `::ffff:1.2.3.4`.
///
/// ```
/// use rowmill_ingest::value::{Decode, Ipv6};
///
/// let address = Ipv6::from_text("192.0.2.1".into())?;
/// assert_eq!(address.0.to_string(), "::ffff:192.0.2.1");
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6(
    /// The address.
    pub Ipv6Addr,
);

impl Default for Ipv4 {
    fn default() -> Self {
        Self(Ipv4Addr::UNSPECIFIED)
    }
}

impl Default for Ipv6 {
    fn default() -> Self {
        Self(Ipv6Addr::UNSPECIFIED)
    }
}

macro_rules! from_json {
    () => {
        fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
            match json.peek()? {
                Kind::String => Self::from_text(json.string()?),
                Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
                _ => Err(ValueError::WrongKind),
            }
        }
    };
}

impl<'a> Decode<'a> for Ipv4 {
    from_json!();

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        // The standard library refuses the leading zeros that ClickHouse accepts.
        let mut octets = [0; 4];
        let mut parts = text.split('.');
        for octet in &mut octets {
            let digits = parts
                .next()
                .filter(|part| matches!(part.len(), 1..=3))
                .ok_or(ValueError::Malformed)?;
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(ValueError::Malformed);
            }
            *octet = digits.parse().map_err(|_| ValueError::Malformed)?;
        }
        if parts.next().is_some() {
            Err(ValueError::Malformed)
        } else {
            Ok(Self(octets.into()))
        }
    }
}

impl<'a> Decode<'a> for Ipv6 {
    from_json!();

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        let v6 = text.parse::<Ipv6Addr>();
        v6.or_else(|_| text.parse::<Ipv4Addr>().map(|v4| v4.to_ipv6_mapped()))
            .map(Self)
            .map_err(|_| ValueError::Malformed)
    }
}

impl Encode for Ipv4 {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.to_bits().put(out);
    }
}

impl Encode for Ipv6 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.octets());
    }
}

impl Serialize for Ipv4 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_bits().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ipv4 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|bits| Self(Ipv4Addr::from_bits(bits)))
    }
}

impl Serialize for Ipv6 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.octets().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ipv6 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <[u8; 16]>::deserialize(deserializer).map(|octets| Self(octets.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn ipv4_addresses_may_have_leading_zeros() {
        let address = Ipv4(Ipv4Addr::new(1, 2, 3, 4));
        assert_eq!(json(r#""1.2.3.4""#), Ok(address));
        assert_eq!(json(r#""001.02.3.4""#), Ok(address));
        assert_eq!(bytes(&address), [4, 3, 2, 1]);
        assert_eq!(json("null"), Ok(Ipv4::default()));
        for event in [
            "",
            "256.1.1.1",
            "1.2.3",
            "1.2.3.4.5",
            "+1.2.3.4",
            " 1.2.3.4",
            "1.2.3.4:80",
            "0001.2.3.4",
            "::1",
            "unknown",
        ] {
            assert_eq!(text::<Ipv4>(event), Err(ValueError::Malformed), "{event}");
        }
        assert_eq!(json::<Ipv4>("16909060"), Err(ValueError::WrongKind));
    }

    #[test]
    fn ipv6_columns_accept_both_families() {
        let address = |event: &str| text::<Ipv6>(event).map(|address| address.0.to_string());
        assert_eq!(address("2001:0DB8:0:0:0:0:0:1").as_deref(), Ok("2001:db8::1"));
        assert_eq!(address("1.2.3.4").as_deref(), Ok("::ffff:1.2.3.4"));
        assert_eq!(address("::1.2.3.4").as_deref(), Ok("::102:304"));
        assert_eq!(bytes(&Ipv6(Ipv6Addr::LOCALHOST))[14..], [0, 1]);
        for event in [
            "",
            "01.2.3.4",
            "fe80::1%eth0",
            "[::1]",
            "1:2:3:4:5:6:7",
            "1::2::3",
            "12345::",
            " ::1",
        ] {
            assert_eq!(address(event), Err(ValueError::Malformed), "{event}");
        }
        assert_eq!(json::<Ipv6>("1"), Err(ValueError::WrongKind));
    }
}
