//! The levels of an acknowledgement, and the header that requests one.

use std::{fmt, str::FromStr};

/// The level that an event's row has reached when the response is sent. Each level includes the
/// levels before it.
///
/// ```
/// use rowmill_ingest::Ack;
///
/// assert_eq!("stored".parse(), Ok(Ack::Stored));
/// assert!(Ack::Accepted < Ack::Spooled && Ack::Spooled < Ack::Replicated && Ack::Replicated < Ack::Stored);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ack {
    /// The row is in memory.
    Accepted,
    /// The row is on disk, and survives the end of the process and a power failure.
    Spooled,
    /// The row survives the loss of the machine: it is in the shared log, on all in-sync replicas.
    /// Without a shared log, it is in its table.
    Replicated,
    /// The row is in its table.
    Stored,
}

impl Ack {
    /// Returns the level's name in schemas, headers and options.
    ///
    /// ```
    /// use rowmill_ingest::Ack;
    ///
    /// assert_eq!(Ack::Spooled.name(), "spooled");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Spooled => "spooled",
            Self::Replicated => "replicated",
            Self::Stored => "stored",
        }
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The error for a text that is not the name of an [`Ack`].
///
/// ```
/// use rowmill_ingest::{Ack, ack::UnknownAck};
///
/// assert_eq!("Stored".parse::<Ack>(), Err(UnknownAck));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownAck;

impl fmt::Display for UnknownAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an acknowledgement must be `accepted`, `spooled`, `replicated` or `stored`")
    }
}

impl std::error::Error for UnknownAck {}

impl FromStr for Ack {
    type Err = UnknownAck;

    fn from_str(text: &str) -> Result<Self, UnknownAck> {
        [Self::Accepted, Self::Spooled, Self::Replicated, Self::Stored]
            .into_iter()
            .find(|ack| ack.name() == text)
            .ok_or(UnknownAck)
    }
}

/// The acknowledgement that the schema sets for the events of a route.
///
/// ```
/// use rowmill_ingest::ack::AckPolicy;
///
/// assert_eq!(AckPolicy::default(), AckPolicy::NONE);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AckPolicy {
    /// The route's level; `None` if the route sets none, in which case
    /// [`EventOptions::ack`](crate::EventOptions::ack) applies.
    pub ack: Option<Ack>,
    /// Whether the request header [`ACK_HEADER`] overrides the level.
    pub by_header: bool,
}

impl AckPolicy {
    /// The policy of a route that sets none.
    pub const NONE: Self = Self {
        ack: None,
        by_header: false,
    };
}

/// The header that requests an acknowledgement. In a response, it carries the level that the event
/// has reached.
pub const ACK_HEADER: http::HeaderName = http::HeaderName::from_static("x-rowmill-ack");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_parses_as_its_level() {
        for ack in [Ack::Accepted, Ack::Spooled, Ack::Replicated, Ack::Stored] {
            assert_eq!(ack.name().parse(), Ok(ack));
        }
        assert_eq!("Stored".parse::<Ack>(), Err(UnknownAck));
        assert!(Ack::Accepted < Ack::Spooled && Ack::Spooled < Ack::Replicated && Ack::Replicated < Ack::Stored);
    }
}
