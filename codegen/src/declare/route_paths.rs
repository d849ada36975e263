//! The paths and the methods of a route that its sender dictates: `paths` and `methods`.

use super::DeclarationReader;
use crate::{
    diagnostic::Diagnostic,
    source::Span,
    yaml::{Key, Node},
};

/// The paths of a route beside `/service/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnPaths {
    pub(crate) service: String,
    pub(crate) name: String,
    /// The paths; the last segment of each may be `*`.
    pub(crate) paths: Vec<(String, Span)>,
}

/// The methods that a route may have.
pub(crate) const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The paths that the program answers itself.
const PAGES: [&str; 7] = [
    "/",
    "/coffee",
    "/favicon.ico",
    "/health",
    "/lib.js",
    "/metrics",
    "/ready",
];

impl DeclarationReader<'_> {
    pub(super) fn own_paths(&mut self, node: Node, route: &Key) -> Option<OwnPaths> {
        let mut paths = self.texts(node, "a path", "bad-paths");
        paths.retain(|(path, span)| match invalid_path(path) {
            None => true,
            Some((problem, help)) => {
                let diagnostic = Diagnostic::error("bad-paths", format!("invalid path `{path}`"));
                self.report.push(diagnostic.label(span.clone(), problem).help(help));
                false
            }
        });
        let (service, name) = route
            .text
            .split_once('/')
            .filter(|(_, name)| *name != "default")
            .or_else(|| {
                let diagnostic =
                    Diagnostic::error("bad-paths", format!("the destination `{}` has no name", route.text))
                        .label(route.span.clone(), "")
                        .help(
                            "write `paths` at a destination `service/name`: their events get its service and its name",
                        );
                self.report.push(diagnostic);
                None
            })?;
        Some(OwnPaths {
            service: service.to_owned(),
            name: name.to_owned(),
            paths,
        })
    }

    pub(super) fn methods(&mut self, node: Node) -> Vec<&'static str> {
        let methods = self.texts(node, "a method", "bad-methods");
        methods
            .into_iter()
            .filter_map(|(method, span)| {
                let found = METHODS.iter().find(|known| **known == method);
                if found.is_none() {
                    let diagnostic = Diagnostic::error("bad-methods", format!("unknown method `{method}`"))
                        .label(span, "")
                        .help(match method.to_ascii_uppercase().as_str() {
                            "HEAD" | "OPTIONS" => {
                                "remove it: the collector itself answers HEAD and OPTIONS on each route".to_owned()
                            }
                            upper if METHODS.contains(&upper) => format!("write `{upper}`"),
                            _ => format!("the methods are `{}`", METHODS.join("`, `")),
                        });
                    self.report.push(diagnostic);
                }
                found.copied()
            })
            .collect()
    }
}

/// Returns the problem of a path, and its cure.
fn invalid_path(path: &str) -> Option<(&'static str, String)> {
    let is_foreign =
        |c: char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}');
    let above = path.strip_suffix('*');
    if !path.starts_with('/') {
        Some(("a path begins with `/`", format!("write `/{path}`")))
    } else if path.contains(['?', '#']) {
        let end = path.find(['?', '#']).unwrap_or_default();
        Some(("a path cannot contain `?` or `#`", format!("write `{}`", &path[..end])))
    } else if path.contains(is_foreign) {
        let cure = "write the character percent-encoded, as the sender does";
        Some(("a path cannot contain this character", cure.to_owned()))
    } else if path == "/*" {
        let cure = "write the first segment, or use the destination `other` for all other events";
        Some(("the collector's own pages are among these paths", cure.to_owned()))
    } else if above.unwrap_or(path).contains('*') || above.is_some_and(|above| !above.ends_with('/')) {
        let cure = "write `/…/*` for all paths below a folder";
        Some(("`*` can only be the whole last segment", cure.to_owned()))
    } else if PAGES.contains(&path) {
        Some(("a page of the collector itself", "choose another path".to_owned()))
    } else {
        None
    }
}
