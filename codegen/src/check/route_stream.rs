//! Rules for the routes whose long bodies are decoded while they arrive.

use super::Schema;
use crate::{
    declare::{Destination, IdempotencyKey, RouteOptions},
    diagnostic::{Diagnostic, Report},
};

/// Rule: no other option of a streamed route needs its whole body.
pub(super) fn stream_without_whole_body(destination: &Destination, _: &Schema<'_>, report: &mut Report) {
    let RouteOptions {
        stream: Some(span),
        verify,
        items,
        idempotency,
        ..
    } = &destination.options
    else {
        return;
    };
    let has_header = idempotency
        .as_ref()
        .is_some_and(|once| matches!(once.key, IdempotencyKey::Header(_)));
    for (has_option, option, reason, help) in [
        (
            verify.is_some(),
            "verify",
            "a request is verified with its whole body",
            "remove `stream`, or receive the long bodies at a route of their own, without `verify`",
        ),
        (
            items.is_some(),
            "items",
            "a field behind the events may be one that they share",
            "remove `stream`, or let the sender post the events as lines or as an array",
        ),
        (
            has_header,
            "idempotency",
            "a key in a header covers the whole body",
            "remove `stream`, or name a column: `idempotency: { column: message_id }`",
        ),
    ] {
        if has_option {
            let message = format!("a route with `stream` cannot have `{option}`: {reason}");
            let diagnostic = Diagnostic::error("bad-stream", message).label(span.clone(), "");
            report.push(diagnostic.help(help));
        }
    }
}
