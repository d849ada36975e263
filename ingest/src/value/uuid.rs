//! `UUID` ([ClickHouse](https://clickhouse.com/docs/sql-reference/data-types/uuid)).

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Decode, Encode};
use crate::{
    json::{Kind, Reader},
    table::refusal::ValueError,
};

/// ClickHouse's `UUID`: 16 bytes, as two halves, each with its lowest byte first.
///
/// Read from text, 36 characters with hyphens or 32 without.
///
/// ```
/// use rowmill_ingest::value::{Decode, Uuid};
///
/// let id = Uuid::from_text("61f0c4045cb311e7907ba6006ad3dba0".into())?;
/// assert_eq!(id.0.to_string(), "61f0c404-5cb3-11e7-907b-a6006ad3dba0");
/// # Ok::<(), rowmill_ingest::refusal::ValueError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(
    /// The UUID.
    pub ::uuid::Uuid,
);

impl<'a> Decode<'a> for Uuid {
    fn from_json(json: &mut Reader<'a>) -> Result<Self, ValueError> {
        match json.peek()? {
            Kind::String => Self::from_text(json.string()?),
            Kind::Null => json.null().map(|()| Self::default()).map_err(ValueError::from),
            _ => Err(ValueError::WrongKind),
        }
    }

    fn from_text(text: Cow<'a, str>) -> Result<Self, ValueError> {
        // The length excludes the forms with braces and with `urn:uuid:`, which ClickHouse does not
        // accept.
        match text.len() {
            32 | 36 => ::uuid::Uuid::try_parse(&text)
                .map(Self)
                .map_err(|_| ValueError::Malformed),
            _ => Err(ValueError::Malformed),
        }
    }
}

impl Encode for Uuid {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        let (high, low) = self.0.as_u64_pair();
        high.put(out);
        low.put(out);
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_u64_pair().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (high, low) = Deserialize::deserialize(deserializer)?;
        Ok(Self(::uuid::Uuid::from_u64_pair(high, low)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::testing::*, *};

    #[test]
    fn both_forms_are_read_and_others_refused() {
        let uuid = Uuid(::uuid::uuid!("61f0c404-5cb3-11e7-907b-a6006ad3dba0"));
        assert_eq!(json(r#""61f0c404-5cb3-11e7-907b-a6006ad3dba0""#), Ok(uuid));
        assert_eq!(json(r#""61F0C404-5CB3-11E7-907B-A6006AD3DBA0""#), Ok(uuid));
        assert_eq!(json(r#""61f0c4045cb311e7907ba6006ad3dba0""#), Ok(uuid));
        assert_eq!(json("null"), Ok(Uuid::default()));
        for event in [
            "",
            "{61f0c404-5cb3-11e7-907b-a6006ad3dba0}",
            "urn:uuid:61f0c404-5cb3-11e7-907b-a6006ad3dba0",
            "61f0c404-5cb3-11e7-907b-a6006ad3dba",
            "61f0c404-5cb3-11e7-907b-a6006ad3dbag",
            "61f0c40-45cb3-11e7-907b-a6006ad3dba0",
            "61f0c404_5cb3_11e7_907b_a6006ad3dba0",
        ] {
            assert_eq!(text::<Uuid>(event), Err(ValueError::Malformed), "{event}");
        }
        assert_eq!(json::<Uuid>("1"), Err(ValueError::WrongKind));
    }

    #[test]
    fn each_half_is_little_endian() {
        let uuid: Uuid = text("00010203-0405-0607-0809-0a0b0c0d0e0f").unwrap();
        assert_eq!(bytes(&uuid), [7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8]);
    }
}
