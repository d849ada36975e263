//! Rules for the settings that each insert of a table has.
//!
//! The runtime refuses the same settings in the URL of ClickHouse; a test compares both lists.

use crate::{
    diagnostic::{Diagnostic, Report},
    inherit::ResolvedTable,
    server_names,
    types::closest,
};

/// Names of settings that are refused, and the reason as a clause. A `*` stands for any text at the
/// end of the name.
const REFUSED: [(&str, &str); 30] = [
    ("async_insert*", "a confirmed insert must be in its table"),
    ("wait_for_async_insert*", "a confirmed insert must be in its table"),
    ("insert_deduplicat*", REPEATED),
    ("deduplicate_*", REPEATED),
    ("update_insert_deduplication_token*", REPEATED),
    ("use_async_insert*", REPEATED),
    (
        "materialized_views_ignore_errors",
        "views must have the rows of their tables",
    ),
    ("insert_distributed_sync", SHARDS),
    ("distributed_foreground_insert", SHARDS),
    ("insert_quorum", "`--insert-quorum` sets it"),
    ("insert_quorum_timeout", "`--insert-quorum` sets it"),
    ("max_insert_block_size*", "ClickHouse stores an insert as one block"),
    ("min_insert_block_size*", "ClickHouse stores an insert as one block"),
    ("input_format_*", FORMAT),
    ("output_format_*", FORMAT),
    ("format*", FORMAT),
    ("default_format", FORMAT),
    ("date_time_input_format", FORMAT),
    ("client_protocol_version", FORMAT),
    ("http_*", RESPONSE),
    ("wait_end_of_query", RESPONSE),
    ("send_progress_in_http_headers", RESPONSE),
    ("readonly", "an insert writes"),
    ("database", PARAMETER),
    ("user", PARAMETER),
    ("password", PARAMETER),
    ("query*", PARAMETER),
    ("session_id", PARAMETER),
    ("compress", PARAMETER),
    ("decompress", PARAMETER),
];

const REPEATED: &str = "ClickHouse must recognize an insert that is sent again";
const SHARDS: &str = "a confirmed insert must be on its shards";
const FORMAT: &str = "the collector chooses the format of the rows";
const RESPONSE: &str = "the response must confirm the insert";
const PARAMETER: &str = "it is a parameter of the request and not a setting";

/// Rule: ClickHouse has each setting of the inserts, and none breaks a promise of the collector.
pub(super) fn insert_setting(table: &ResolvedTable, report: &mut Report) {
    for setting in &table.insert_settings {
        let name = setting.name.as_str();
        let span = setting.span.clone().unwrap_or_else(|| table.name.span.clone());
        if let Some((entry, reason)) = REFUSED.into_iter().find(|(entry, _)| matches(entry, name)) {
            let message = format!("the setting `{name}` of inserts cannot be set: {reason}");
            let diagnostic = Diagnostic::error("refused-setting", message).label(span, "");
            report.push(match entry.ends_with('*') {
                true => diagnostic.help(format!("the rule applies to each setting `{entry}`")),
                false => diagnostic.help("remove the setting"),
            });
            continue;
        }
        if server_names::settings().any(|known| known == name) {
            continue;
        }
        let message = format!("ClickHouse has no setting `{name}` for inserts");
        let diagnostic = Diagnostic::error("unknown-setting", message).label(span, "");
        let diagnostic = match closest(name, server_names::settings()) {
            Some(meant) => diagnostic.help(format!("did you mean `{meant}`?")),
            None => diagnostic,
        };
        report.push_unless_allowed(diagnostic, |code| table.allows(code));
    }
}

fn matches(entry: &str, name: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == entry,
    }
}
