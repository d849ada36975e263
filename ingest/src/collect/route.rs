//! Routes: what takes the events of a service and a name.

use crate::{ack::AckPolicy, collect::rate_limit::RateLimit, intake::event::TableHandler, table::Schema};

/// The destinations of a schema, or of one table: one match that the build step wrote.
pub trait Routes: Send + Sync + 'static {
    /// All destinations, as the schema has them.
    const DESTINATIONS: &'static [Destination];

    /// Returns the schema whose tables they lead to.
    fn schema() -> &'static Schema;

    /// Returns what takes the events of a service under a name, which is in lower case and has `_` for spaces.
    fn declared(service: &str, name: &str) -> Option<Route>;

    /// Returns what takes the events that no destination names.
    fn other() -> Option<Route> {
        None
    }
}

/// What becomes of the events of one destination.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// What takes them.
    pub intake: TableHandler,
    /// How they are acknowledged.
    pub acks: AckPolicy,
}

/// One entry of a schema's `destinations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// `service/name`, `service/default` or `other`.
    pub path: &'static str,
    /// The table.
    pub table: &'static str,
    /// How events are acknowledged.
    pub acks: AckPolicy,
    /// How many requests it takes, if the schema says so.
    pub rate_limit: Option<RateLimit>,
}
