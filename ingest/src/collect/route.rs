//! Routes: the handler for the events of a service and a name.

use std::fmt;

use crate::{
    ack::AckPolicy,
    adapters::Adapter,
    answer::FixedAnswer,
    collect::{
        echo::Echo,
        idempotency::Idempotency,
        item_path::ItemPath,
        own_paths::{Methods, OwnPaths},
        rate_limit::RateLimit,
        redirect_policy::RedirectPolicy,
    },
    intake::event::TableHandler,
    privacy::Privacy,
    table::Schema,
    verify::Verification,
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

    /// Returns the route that has this path among its own paths.
    fn find_path(_path: &str) -> Option<Route> {
        None
    }

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

impl Route {
    /// Returns the route's methods.
    #[inline]
    pub(super) fn methods(&self) -> Methods {
        self.options.map_or(Methods(&[]), |options| options.methods)
    }

    /// Returns whether long bodies are decoded while they arrive.
    #[inline]
    pub(crate) fn is_streamed(&self) -> bool {
        self.options.is_some_and(|options| options.stream)
    }

    /// Returns the answer to a recorded event that the schema sets, if it sets one.
    #[inline]
    pub(super) fn answer(&self) -> Option<&'static FixedAnswer> {
        self.options?.answer.as_ref()
    }

    /// Returns the route's own paths, if it has any.
    #[inline]
    pub(super) fn own_paths(&self) -> Option<OwnPaths> {
        self.options.and_then(|options| options.own_paths)
    }
}

/// The options of a destination that most routes do not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteOptions {
    /// The paths of the route beside `/service/name`.
    pub own_paths: Option<OwnPaths>,
    /// The methods of the route's events.
    pub methods: Methods,
    /// The answer to a recorded event; `None` for the usual one.
    pub answer: Option<FixedAnswer>,
    /// The field that the answer to a sender's check sends back.
    pub echo: Option<Echo>,
    /// The fields of a body that may hide JSON in a text.
    pub hiding: &'static [&'static str],
    /// The protocol of the sender; `None` for bodies of any format.
    pub adapter: Option<Adapter>,
    /// The place of the events in a document; `None` if a document is one event.
    pub items: Option<ItemPath>,
    /// The idempotency keys of the events; `None` if each event is recorded.
    pub idempotency: Option<Idempotency>,
    /// The verification of requests; `None` accepts all of them.
    pub verify: Option<Verification>,
    /// The hosts that links lead to; `None` is any host, except private ones.
    pub redirect: Option<RedirectPolicy>,
    /// Whether long bodies are decoded while they arrive, without a limit of their length.
    pub stream: bool,
    /// The parts of a visitor's data that are kept; `None` keeps all.
    pub privacy: Option<Privacy>,
    /// Whether requests of programs, such as link scanners and mail proxies, are not recorded.
    pub drops_automated: bool,
}

impl RouteOptions {
    /// No options; generated code sets some of them.
    pub const NONE: Self = Self {
        own_paths: None,
        methods: Methods(&[]),
        answer: None,
        echo: None,
        hiding: &[],
        adapter: None,
        items: None,
        idempotency: None,
        verify: None,
        redirect: None,
        stream: false,
        privacy: None,
        drops_automated: false,
    };

    /// Returns whether a body of the route has many events.
    pub(super) const fn has_items(&self) -> bool {
        self.items.is_some() || self.adapter.is_some()
    }
}

/// Lists the options that are set, as `rowmill routes` shows them.
impl fmt::Display for RouteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = Vec::new();
        if let Some(own) = &self.own_paths {
            options.push(format!("also {}", own.paths.join(" ")));
        }
        if !self.methods.0.is_empty() {
            options.push(format!("by {}", self.methods.0.join(" ")));
        }
        if let Some(answer) = &self.answer {
            options.push(format!("answers {}", answer.status));
        }
        if let Some(echo) = &self.echo {
            options.push(format!("echoes {}", echo.field));
        }
        if !self.hiding.is_empty() {
            options.push(format!("parses {}", self.hiding.join(" ")));
        }
        if let Some(adapter) = self.adapter {
            options.push(format!("speaks {}", adapter.name()));
        }
        if let Some(items) = &self.items {
            options.push(format!("items at {items}"));
            if !items.shared.is_empty() {
                options.push(format!("with {}", items.shared.join(" ")));
            }
        }
        if let Some(idempotency) = &self.idempotency {
            options.push(idempotency.to_string());
        }
        if let Some(verify) = &self.verify {
            options.push(format!("from {}", verify.scheme.name()));
        }
        if self.stream {
            options.push("streamed".to_owned());
        }
        if let Some(privacy) = &self.privacy {
            options.push(privacy.to_string());
        }
        if self.drops_automated {
            options.push("without programs".to_owned());
        }
        match self.redirect {
            None => {}
            Some(RedirectPolicy::Open) => options.push("to any host".to_owned()),
            Some(RedirectPolicy::SameSite) => options.push("to its own site".to_owned()),
            Some(RedirectPolicy::Hosts([])) => options.push("to no host".to_owned()),
            Some(RedirectPolicy::Hosts(hosts)) => options.push(format!("to {}", hosts.join(", "))),
            Some(RedirectPolicy::Signed(_)) => options.push("to signed links".to_owned()),
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
    /// The options that most routes do not have; `None` if the route has none of them.
    pub options: Option<&'static RouteOptions>,
}

/// Returns the verifications of all verified routes, and of all signed links.
pub(crate) fn verifications(destinations: &'static [Destination]) -> impl Iterator<Item = &'static Verification> {
    destinations
        .iter()
        .filter_map(|route| route.options)
        .flat_map(|options| {
            let of_links = match &options.redirect {
                Some(RedirectPolicy::Signed(verification)) => Some(verification),
                _ => None,
            };
            options.verify.iter().chain(of_links)
        })
}
