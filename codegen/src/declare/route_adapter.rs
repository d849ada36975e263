//! `adapter`: the protocol that a route's sender speaks.

use super::{DeclarationReader, destination::RouteOptions, route_paths::OwnPaths};
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

    /// Checks an adapter together with the other options of its route, and adds the paths and the
    /// methods of its protocol where the route has none of its own.
    pub(super) fn complete_adapter(&mut self, adapter: Adapter, span: &Span, route: &Key, options: &mut RouteOptions) {
        let mut refuse = |message: &str, help: &str| {
            let diagnostic = Diagnostic::error("bad-adapter", message).label(span.clone(), "");
            self.report.push(diagnostic.help(help));
        };
        if options.items.is_some() {
            refuse(
                "a route has both `adapter` and `items`",
                "remove `items` and `with`: the adapter finds the events",
            );
        }
        if options.answer.is_some() || options.echo.is_some() {
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
            return;
        };
        let paths = adapter.paths();
        if options.own_paths.is_none() && !paths.is_empty() {
            options.own_paths = Some(OwnPaths {
                service: service.to_owned(),
                name: name.to_owned(),
                paths: paths.iter().map(|path| ((*path).to_owned(), span.clone())).collect(),
            });
        }
        if options.methods.is_empty() {
            options.methods = adapter.methods();
        }
        options.adapter = Some(adapter);
    }
}
