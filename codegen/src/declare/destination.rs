//! Destinations: the table that the events of a route go to, and their acknowledgement.

use super::{
    DeclarationReader, Privacy, Redirect, Verify,
    route_adapter::{Adapter, Beside},
    route_answer::{Echo, FixedAnswer},
    route_idempotency::Idempotency,
    route_items::{ItemKeys, Items},
    route_paths::OwnPaths,
};
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    types,
    yaml::{Key, Node, Value},
};

/// One entry of `destinations`.
#[derive(Debug)]
pub(crate) struct Destination {
    pub(crate) path: Key,
    pub(crate) table: Key,
    pub(crate) options: RouteOptions,
}

/// The options of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RouteOptions {
    pub(crate) acks: Acks,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) redirect: Option<Redirect>,
    pub(crate) verify: Option<Verify>,
    pub(crate) own_paths: Option<OwnPaths>,
    /// The methods of the events; empty for GET and POST.
    pub(crate) methods: Vec<&'static str>,
    pub(crate) answer: Option<FixedAnswer>,
    pub(crate) echo: Option<Echo>,
    /// The fields of a body that may hide JSON in a text.
    pub(crate) hiding: Vec<String>,
    pub(crate) adapter: Option<Adapter>,
    pub(crate) items: Option<Items>,
    pub(crate) idempotency: Option<Idempotency>,
    /// The place of `stream`, if long bodies are decoded while they arrive.
    pub(crate) stream: Option<Span>,
    /// The privacy options; those of the table are added in the model.
    pub(crate) privacy: Privacy,
    /// Whether requests of programs and not of people are not recorded.
    pub(crate) drops_automated: bool,
}

/// At most `requests` requests in `seconds` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimit {
    pub(crate) requests: u32,
    pub(crate) seconds: u32,
}

/// The acknowledgement of a route's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Acks {
    /// `None` is the collector's default.
    pub(crate) ack: Option<Ack>,
    /// Whether a request may choose another level.
    pub(crate) by_header: bool,
}

/// The place of an event's row at the time of the successful response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// In memory.
    Accepted,
    /// On disk.
    Spooled,
    /// In the shared log.
    Replicated,
    /// In its table.
    Stored,
}

/// The path of the destination for events without a destination of their own.
const WITHOUT_SERVICE: &str = "other";

/// The names of all acknowledgements.
pub(crate) const ACKS: [(&str, Ack); 4] = [
    ("accepted", Ack::Accepted),
    ("spooled", Ack::Spooled),
    ("replicated", Ack::Replicated),
    ("stored", Ack::Stored),
];

/// The keys of the long form.
pub(crate) const KEYS: [&str; 17] = [
    "ack",
    "ack_header",
    "adapter",
    "answer",
    "automated",
    "idempotency",
    "items",
    "methods",
    "parse",
    "paths",
    "privacy",
    "rate_limit",
    "redirect",
    "stream",
    "table",
    "verify",
    "with",
];

impl DeclarationReader<'_> {
    pub(super) fn destinations(&mut self, node: Node) {
        for (path, node) in self
            .mapping(
                node,
                "`destinations` must map paths to tables",
                "destinations: { service/name: table }",
            )
            .unwrap_or_default()
        {
            let (table, options) = match node.value {
                // A later file removes a route by setting it to nothing.
                Value::Null if self.declared.removals.contains(&path.span) => continue,
                Value::Null => {
                    let message = format!("the destination `{}` names no table", path.text);
                    let diagnostic = Diagnostic::of_schema("left-out", message).label(path.span, "");
                    self.report
                        .push(diagnostic.help("write the name of the table after the `:`, or remove the line"));
                    continue;
                }
                Value::Text(text) => (Some(Key { text, span: node.span }), RouteOptions::default()),
                Value::Map(entries) if is_old_service(&path, &entries) => {
                    self.old_layout.push((path, entries));
                    continue;
                }
                Value::Map(entries) if entries.iter().any(|(key, _)| key.text == "_options") => {
                    let message = format!("table `{}` is in `destinations`", path.text);
                    let diagnostic = Diagnostic::error("unknown-key", message).label(path.span, "");
                    self.report
                        .push(diagnostic.help("indent the table as deep as `destinations`"));
                    self.declared.is_complete = false;
                    continue;
                }
                Value::Map(entries) => self.long_destination(entries, &path),
                ref other => {
                    let diagnostic = Diagnostic::error(
                        "bad-destination",
                        format!("a destination must be a table's name, not {}", other.kind()),
                    );
                    self.report
                        .push(diagnostic.label(node.span, format!("of `{}`", path.text)));
                    (None, RouteOptions::default())
                }
            };
            if let Some(table) = table {
                self.declared.destinations.push(Destination { path, table, options });
            }
        }
    }

    fn long_destination(&mut self, entries: Vec<(Key, Node)>, path: &Key) -> (Option<Key>, RouteOptions) {
        let known_problems = self.report.found();
        let mut table = None;
        let mut options = RouteOptions::default();
        let mut items = ItemKeys::default();
        let mut adapter = None;
        for (key, node) in entries {
            match key.text.as_str() {
                "table" => table = self.text(node, "the table").map(|(text, span)| Key { text, span }),
                "ack" => options.acks.ack = self.ack(node),
                "ack_header" => options.acks.by_header = self.boolean(node, "`ack_header`"),
                "adapter" => adapter = self.adapter(node),
                "answer" => (options.answer, options.echo) = self.answer(node, &key, path),
                "methods" => options.methods = self.methods(node),
                "parse" => options.hiding = self.hiding(node),
                "paths" => options.own_paths = self.own_paths(node, path),
                "items" => self.item_path(node, &mut items),
                "idempotency" => options.idempotency = self.idempotency(node),
                "automated" => options.drops_automated = self.drops_automated(node, &key),
                "privacy" => options.privacy = self.privacy(node),
                "rate_limit" => options.rate_limit = self.rate_limit(node),
                "redirect" => options.redirect = self.redirect(node, &key),
                "stream" => options.stream = self.stream(node, &key),
                "verify" => options.verify = self.verify(node, &key),
                "with" => self.shared_fields(&key, node, &mut items),
                _ => self.unknown_key(&key, "a destination", &KEYS),
            }
        }
        options.items = self.items(items);
        if let Some((adapter, span)) = adapter {
            let beside = Beside {
                items: options.items.is_some(),
                answer: options.answer.is_some() || options.echo.is_some(),
            };
            if let Some(protocol) = self.protocol(adapter, &span, path, beside) {
                options.adapter = Some(adapter);
                options.own_paths = options.own_paths.or(protocol.own_paths);
                if options.methods.is_empty() {
                    options.methods = protocol.methods;
                }
            }
        }
        if table.is_none() && self.report.found() == known_problems {
            let diagnostic = Diagnostic::error(
                "bad-destination",
                format!("the destination `{}` names no table", path.text),
            );
            self.report
                .push(diagnostic.label(path.span.clone(), "").help("add `table: …`"));
        }
        (table, options)
    }

    fn rate_limit(&mut self, node: Node) -> Option<RateLimit> {
        let (text, span) = self.text(node, "the rate limit")?;
        let limit = parse_rate_limit(&text);
        if limit.is_none() {
            let diagnostic = Diagnostic::error("bad-rate-limit", format!("invalid rate limit `{text}`"));
            let help = "write a number of requests per second, minute or hour: `100/s`, `600/m`, `1000/h`";
            self.report.push(diagnostic.label(span, "").help(help));
        }
        limit
    }

    fn ack(&mut self, node: Node) -> Option<Ack> {
        let (text, span) = self.text(node, "the acknowledgement")?;
        let found = ACKS.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names = ACKS.map(|(name, _)| name);
            let help = match types::closest(&text, names) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "write `accepted` (in memory), `spooled` (on disk), `replicated` (in the shared log) or `stored` (in its table)".to_owned(),
            };
            let diagnostic = Diagnostic::error("unknown-ack", format!("unknown acknowledgement `{text}`"));
            self.report.push(diagnostic.label(span, "").help(help));
        }
        found.map(|(_, ack)| *ack)
    }
}

/// Returns whether an entry of `destinations` contains the destinations of a service in the
/// oldest layout, and is not the long form of a destination.
fn is_old_service(path: &Key, entries: &[(Key, Node)]) -> bool {
    !path.text.contains('/')
        && path.text != WITHOUT_SERVICE
        && !entries.is_empty()
        && entries
            .iter()
            .all(|(key, node)| !KEYS.contains(&key.text.as_str()) && matches!(node.value, Value::Text(_) | Value::Null))
}

fn parse_rate_limit(text: &str) -> Option<RateLimit> {
    let (requests, period) = text.split_once('/')?;
    let seconds = match period.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    let requests = requests.trim().parse().ok().filter(|requests| *requests > 0)?;
    Some(RateLimit { requests, seconds })
}
