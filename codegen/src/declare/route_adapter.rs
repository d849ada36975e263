//! `adapter`: the protocol that a route's sender speaks.

use super::{DeclarationReader, route_paths::OwnPaths};
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    yaml::{Key, Node},
};

/// The protocol of a route's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adapter {
    AwsSns,
    CloudEvents,
    OtlpLogs,
    Segment,
    Snowplow,
}

/// The names of all adapters.
pub(crate) const ADAPTERS: [(&str, Adapter); 5] = [
    ("aws-sns", Adapter::AwsSns),
    ("cloudevents", Adapter::CloudEvents),
    ("otlp-logs", Adapter::OtlpLogs),
    ("segment", Adapter::Segment),
    ("snowplow", Adapter::Snowplow),
];

/// Whether a route has options that an adapter has itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    pub(super) items: bool,
    pub(super) answer: bool,
}

/// The options of a protocol, for a route that has none of its own.
#[derive(Debug)]
pub(super) struct Protocol {
    pub(super) own_paths: Option<OwnPaths>,
    pub(super) methods: Vec<&'static str>,
}

/// Services whose requests have answers of their own.
const ANSWERED: [&str; 3] = ["hello", "pixel", "redir"];

impl Adapter {
    /// Returns the paths to which the protocol's clients send, if they are not the operator's choice.
    const fn paths(self) -> &'static [&'static str] {
        match self {
            Self::AwsSns | Self::CloudEvents => &[],
            Self::OtlpLogs => &["/v1/logs"],
            Self::Segment => &[
                "/v1/alias",
                "/v1/batch",
                "/v1/group",
                "/v1/identify",
                "/v1/import",
                "/v1/page",
                "/v1/screen",
                "/v1/track",
                "/v1/a",
                "/v1/b",
                "/v1/g",
                "/v1/i",
                "/v1/p",
                "/v1/s",
                "/v1/t",
            ],
            Self::Snowplow => &["/com.snowplowanalytics.snowplow/tp2", "/i", "/ice.png"],
        }
    }

    /// Returns the methods of the protocol; empty for GET and POST.
    fn methods(self) -> Vec<&'static str> {
        match self {
            Self::Snowplow => Vec::new(),
            Self::AwsSns | Self::CloudEvents | Self::OtlpLogs | Self::Segment => vec!["POST"],
        }
    }
}

impl DeclarationReader<'_> {
    pub(super) fn adapter(&mut self, node: Node) -> Option<(Adapter, Span)> {
        let (text, span) = self.text(node, "the adapter")?;
        let names = ADAPTERS.map(|(name, _)| name);
        let found = ADAPTERS.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let diagnostic = Diagnostic::error("bad-adapter", format!("unknown adapter `{text}`"))
                .label(span.clone(), "")
                .did_you_mean(&text, names)
                .help(format!("the adapters are `{}`", names.join("`, `")));
            self.report.push(diagnostic);
        }
        found.map(|(_, adapter)| (*adapter, span))
    }

    /// Checks an adapter together with the other options of its route. Returns the options that its
    /// protocol has; `None` if the route cannot have it.
    pub(super) fn protocol(&mut self, adapter: Adapter, span: &Span, route: &Key, beside: Beside) -> Option<Protocol> {
        let mut refuse = |message: &str, help: &str| {
            let diagnostic = Diagnostic::error("bad-adapter", message).label(span.clone(), "");
            self.report.push(diagnostic.help(help));
        };
        if beside.items {
            refuse(
                "a route has both `adapter` and `items`",
                "remove `items` and `with`: the adapter finds the events",
            );
        }
        if beside.answer {
            refuse(
                "a route has both `adapter` and `answer`",
                "remove `answer`: the adapter gives the answer of its protocol",
            );
        }
        let place = route.text.split_once('/').filter(|(_, name)| *name != "default");
        let Some((service, name)) = place.filter(|(service, _)| !ANSWERED.contains(service)) else {
            refuse(
                &format!("the destination `{}` cannot have an adapter", route.text),
                "write `adapter` at a destination `service/name` such as `wh/events`",
            );
            return None;
        };
        let paths = adapter.paths().iter();
        let paths: Vec<_> = paths.map(|path| ((*path).to_owned(), span.clone())).collect();
        Some(Protocol {
            own_paths: (!paths.is_empty()).then(|| OwnPaths {
                service: service.to_owned(),
                name: name.to_owned(),
                paths,
            }),
            methods: adapter.methods(),
        })
    }
}
