//! Routes: the handler for the events of a service and a name.

use std::fmt;

use crate::{
    ack::AckPolicy,
    collect::{idempotency::Idempotency, rate_limit::RateLimit},
    intake::event::TableHandler,
    table::Schema,
};

/// The destinations of a schema or of one table; the build step generates the lookup as one
/// `match`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the type `Routes` of generated tables",
    label = "expected `tables::Routes`, of the module with `rowmill_ingest::include_tables!()`"
)]
pub trait Routes: Send + Sync + 'static {
    /// All destinations, as the schema declares them.
    const DESTINATIONS: &'static [Destination];

    /// Returns the schema of the destinations' tables.
    fn schema() -> &'static Schema;

    /// Returns the route of a service and a name; the name is in lower case, with `_` for spaces.
    fn find(service: &str, name: &str) -> Option<Route>;

    /// Returns the route for the events that no destination names.
    fn fallback() -> Option<Route> {
        None
    }
}

/// The handling of one destination's events.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The handler of the destination's table.
    pub handler: TableHandler,
    /// The acknowledgement policy of the events.
    pub acks: AckPolicy,
    /// The options that most routes do not have; `None` if the route has none of them.
    pub options: Option<&'static RouteOptions>,
}

/// The options of a destination that most routes do not have.
#[derive(Debug, Clone, Copy)]
pub struct RouteOptions {
    /// The idempotency keys of the events; `None` if each event is recorded.
    pub idempotency: Option<Idempotency>,
}

impl RouteOptions {
    /// No options; generated code sets some of them.
    pub const NONE: Self = Self { idempotency: None };
}

/// Lists the options that are set, as `rowmill routes` shows them.
impl fmt::Display for RouteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = Vec::new();
        if let Some(idempotency) = &self.idempotency {
            options.push(idempotency.to_string());
        }
        f.write_str(&options.join("  "))
    }
}

/// An entry of a schema's `destinations`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// `service/name`, `service/default` or `other`.
    pub path: &'static str,
    /// The table.
    pub table: &'static str,
    /// The acknowledgement policy of the events.
    pub acks: AckPolicy,
    /// The rate limit that the schema sets, if any.
    pub rate_limit: Option<RateLimit>,
}
