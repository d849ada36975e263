//! Collector values: the values that the collector itself sets, and the names of their columns.

use crate::types::Type;

/// A value that the collector has for every event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectorValue {
    Id,
    Uid,
    Date,
    DateTime,
    Timestamp,
    Channel,
    ProjectId,
    Name,
    Service,
    Ip,
    UserAgent,
    Fingerprint,
    Referer,
    /// The time of arrival, in any type that holds one.
    ReceivedAt,
    /// The kind of program that made the request.
    Automated,
    /// A header of the request.
    Header,
    /// A field of the request's query.
    Query,
}

/// The column of `base` that holds each value.
const COLUMNS: [(&str, CollectorValue); 13] = [
    ("id", CollectorValue::Id),
    ("uid", CollectorValue::Uid),
    ("date", CollectorValue::Date),
    ("dateTime", CollectorValue::DateTime),
    ("timestamp", CollectorValue::Timestamp),
    ("channel", CollectorValue::Channel),
    ("projectId", CollectorValue::ProjectId),
    ("name", CollectorValue::Name),
    ("service", CollectorValue::Service),
    ("td_ip", CollectorValue::Ip),
    ("td_ua", CollectorValue::UserAgent),
    ("td_fpid", CollectorValue::Fingerprint),
    ("td_ref", CollectorValue::Referer),
];

impl CollectorValue {
    /// Returns the value that a column of this name holds in `base` and the tables that inherit it.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        COLUMNS
            .iter()
            .find(|(column, _)| *column == name)
            .map(|(_, value)| *value)
    }

    /// Returns whether the value is a part of the request that the sender may have written freely,
    /// in any type, or left out.
    pub(crate) fn is_of_request(self) -> bool {
        matches!(self, Self::Header | Self::Query)
    }

    /// Returns whether the client chooses the value, as it chooses those of its events.
    pub(crate) fn is_chosen_by_client(self) -> bool {
        !matches!(
            self,
            Self::Id | Self::Date | Self::DateTime | Self::Timestamp | Self::Channel | Self::ReceivedAt
        )
    }

    /// Returns whether the value is a text of the request, which may have any content.
    pub(crate) fn is_free_text(self) -> bool {
        matches!(
            self,
            Self::Name | Self::Service | Self::Ip | Self::UserAgent | Self::Referer | Self::Header | Self::Query
        )
    }

    /// Returns whether a column of type `ty` can hold the value.
    pub(crate) fn fits(self, ty: &Type) -> bool {
        match ty {
            Type::LowCardinality(inner) | Type::Nullable(inner) | Type::SimpleAggregateFunction(_, inner) => {
                return self.fits(inner);
            }
            Type::String => return true,
            _ if self.is_of_request() => return true,
            _ => {}
        }
        match self {
            Self::Id | Self::Uid | Self::Fingerprint => matches!(ty, Type::Int { bits: 64.., .. }),
            Self::Timestamp => matches!(ty, Type::Int { bits: 64.., .. } | Type::DateTime64(..)),
            Self::ProjectId => matches!(ty, Type::Int { .. }),
            Self::Date => matches!(ty, Type::Date | Type::Date32),
            Self::DateTime => matches!(ty, Type::DateTime(_) | Type::DateTime64(..)),
            Self::Ip => matches!(ty, Type::Ipv4 | Type::Ipv6),
            Self::Channel | Self::Name | Self::Service | Self::Automated => {
                matches!(ty, Type::Enum { .. } | Type::FixedString(_))
            }
            Self::UserAgent | Self::Referer => matches!(ty, Type::FixedString(_)),
            Self::ReceivedAt => {
                matches!(
                    ty,
                    Type::Date | Type::Date32 | Type::DateTime(_) | Type::DateTime64(..) | Type::Int { bits: 64.., .. }
                )
            }
            Self::Header | Self::Query => true,
        }
    }

    /// Returns the types that fit, for messages.
    pub(crate) fn expected(self) -> &'static str {
        match self {
            Self::Id | Self::Uid | Self::Fingerprint => "`UInt64`, a wider integer or `String`",
            Self::Timestamp => "`UInt64`, a wider integer, `DateTime64` or `String`",
            Self::ProjectId => "an integer or `String`",
            Self::Date => "`Date`, `Date32` or `String`",
            Self::DateTime => "`DateTime`, `DateTime64` or `String`",
            Self::Ip => "`String`, `IPv4` or `IPv6`",
            Self::Channel | Self::Name | Self::Service | Self::Automated => "`String`, `FixedString` or an enum",
            Self::UserAgent | Self::Referer => "`String` or `FixedString`",
            Self::ReceivedAt => "`Date`, `Date32`, `DateTime`, `DateTime64`, `UInt64`, a wider integer or `String`",
            Self::Header | Self::Query => "any type",
        }
    }
}
