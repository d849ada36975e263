//! Ack: what an answer promises of an event's row, and the wait until it is so.

use std::{fmt, str::FromStr};

/// What a successful answer says of an event's row; each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ack {
    /// It is in memory, and on its way.
    Accepted,
    /// It is on disk, and outlives the process and the machine's power.
    Spooled,
    /// It is in its table.
    Stored,
}

impl Ack {
    /// Returns its name, as schemas, headers and options have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Spooled => "spooled",
            Self::Stored => "stored",
        }
    }
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that is no [`Ack`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownAck;

impl fmt::Display for UnknownAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an acknowledgement is `accepted`, `spooled` or `stored`")
    }
}

impl std::error::Error for UnknownAck {}

impl FromStr for Ack {
    type Err = UnknownAck;

    fn from_str(text: &str) -> Result<Self, UnknownAck> {
        [Self::Accepted, Self::Spooled, Self::Stored]
            .into_iter()
            .find(|ack| ack.name() == text)
            .ok_or(UnknownAck)
    }
}

/// Which acknowledgement the events of a route get, as the schema has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AckPolicy {
    /// The one that the route names; without it, it depends on the event: see [`EventOptions::ack`](crate::EventOptions::ack).
    pub ack: Option<Ack>,
    /// Whether the header [`ACK_HEADER`] of a request goes before it.
    pub by_header: bool,
}

impl AckPolicy {
    /// A route that says nothing of it.
    pub const NONE: Self = Self {
        ack: None,
        by_header: false,
    };
}

/// The header that asks for an acknowledgement, and that says in the answer how far the event has come.
pub const ACK_HEADER: http::HeaderName = http::HeaderName::from_static("x-rowmill-ack");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for ack in [Ack::Accepted, Ack::Spooled, Ack::Stored] {
            assert_eq!(ack.name().parse(), Ok(ack));
        }
        assert_eq!("Stored".parse::<Ack>(), Err(UnknownAck));
        assert!(Ack::Accepted < Ack::Spooled && Ack::Spooled < Ack::Stored);
    }
}
