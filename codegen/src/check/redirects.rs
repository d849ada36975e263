//! Rules for redirects.

use super::Schema;
use crate::{
    declare::{Destination, Redirect},
    diagnostic::{Diagnostic, Report},
};

/// The service whose events are answered with a redirect.
const SERVICE: &str = "redir";

/// The destination of all other events, redirects among them.
const OTHER: &str = "other";

fn is_redirect(destination: &Destination) -> bool {
    destination.path.text.split('/').next() == Some(SERVICE)
}

/// Rule: only a route that redirects has the option `redirect`.
pub(super) fn redirect_elsewhere(destination: &Destination, _: &Schema<'_>, report: &mut Report) {
    let path = destination.path.text.as_str();
    if destination.options.redirect.is_some() && !is_redirect(destination) && path != OTHER {
        let diagnostic = Diagnostic::error("redirect-elsewhere", format!("`{path}` does not redirect"))
            .label(destination.path.span.clone(), "")
            .help(format!(
                "only paths `{SERVICE}/…` redirect, and `{OTHER}` for those without a destination"
            ));
        report.push(diagnostic);
    }
    if path == OTHER && matches!(destination.options.redirect, Some(Redirect::Signed(_))) {
        let diagnostic = Diagnostic::error("redirect-elsewhere", format!("links of `{OTHER}` have no path to sign"))
            .label(destination.path.span.clone(), "")
            .help(format!("add `{SERVICE}/default` with `redirect: {{ signed: … }}`"));
        report.push(diagnostic);
    }
}

/// Rule: a schema says where its links lead. One warning names all routes that do not, since they are
/// often of one kind.
pub(super) fn open_redirect(schema: &Schema<'_>, report: &mut Report) {
    // A route whose option could not be read is not an open one.
    if report.has_errors() {
        return;
    }
    let mut open = schema
        .declared
        .destinations
        .iter()
        .filter(|destination| is_redirect(destination) && destination.options.redirect.is_none());
    let Some(first) = open.next() else { return };
    let path = &first.path.text;
    let diagnostic = Diagnostic::of_schema("open-redirect", format!("links of `{path}` lead to any host")).label(
        first.path.span.clone(),
        "whoever makes such a link can lead visitors anywhere under your name",
    );
    let diagnostic = open.fold(diagnostic, |diagnostic, other| {
        diagnostic.label(other.path.span.clone(), "so do these")
    });
    report.push(
        diagnostic
            .help(format!(
                "write `{path}: {{ table: {}, redirect: {{ hosts: [example.com, \"*.example.com\"] }} }}`, or `redirect: same-site`",
                first.table.text
            ))
            .help("for links to hosts that you do not know before, sign them: `redirect: { signed: { secret_env: LINK_KEY } }`")
            .help("if this is intended, write `redirect: open`"),
    );
}
