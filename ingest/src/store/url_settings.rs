//! The settings in the URL of ClickHouse, which each insert has in addition to the collector's own.
//!
//! The URL must not have a setting that would break a promise of the collector. ClickHouse checks
//! the names and the values of the others.

/// The names of settings that the URL must not have, and the reason as a clause. A `*` at the end
/// of a name matches any text.
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

/// Returns the entry and the reason if a setting must not be set.
pub(super) fn refusal(name: &str) -> Option<(&'static str, &'static str)> {
    let matches = |entry: &str| match entry.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == entry,
    };
    REFUSED.into_iter().find(|(entry, _)| matches(entry))
}

/// Returns whether a text can be the name of a setting.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}
