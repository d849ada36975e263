//! Unknown keys: the keys of an event that no column and no extra reads.
//!
//! Only the walk finds them, where it would otherwise skip the value, so events without unknown
//! keys cost nothing.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    intake::event_meta::{EventMeta, WEBSOCKET_CHANNEL},
    table::Table,
};

/// The treatment of an event with unknown keys, which the schema's `unknown` selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownKeyPolicy {
    /// The keys are counted by table.
    Count,
    /// The keys are dropped.
    Ignore,
    /// The event is rejected.
    Reject,
}

/// The unknown keys of one event.
#[derive(Debug, Default)]
pub(super) struct UnknownKeys {
    /// The number of keys; none if the policy does not count them.
    pub(super) counted: u32,
    /// The first of the keys that reject the event.
    pub(super) rejected: Vec<String>,
}

/// The maximum number of keys in an error.
const MAX_NAMED: usize = 10;

/// The maximum length of a key in an error or in the log, in bytes.
const MAX_KEY_BYTES: usize = 100;

/// The interval between two messages in the log.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

impl UnknownKeys {
    /// Applies the policy to a key; `path` is the key with those above it, joined by `_`.
    #[cold]
    pub(super) fn find(&mut self, path: &str, policy: UnknownKeyPolicy, table: &'static Table) {
        match policy {
            UnknownKeyPolicy::Ignore => {}
            UnknownKeyPolicy::Count => {
                self.counted = self.counted.saturating_add(1);
                if tracing::enabled!(tracing::Level::DEBUG) && is_log_due() {
                    tracing::debug!(
                        table = table.name,
                        key = cut(path),
                        "an event has a key without a column"
                    );
                }
            }
            UnknownKeyPolicy::Reject => {
                let key = cut(path);
                if self.rejected.len() < MAX_NAMED && !self.rejected.iter().any(|known| known == key) {
                    self.rejected.push(key.to_owned());
                }
            }
        }
    }
}

/// Returns whether the collector itself reads a key at the root of an event, or has a column for
/// it.
pub(super) fn is_of_the_collector(key: &str, meta: &EventMeta<'_>, table: &'static Table) -> bool {
    match key {
        "service" | "name" | "projectId" | "uid" => true,
        "id__" => meta.channel == WEBSOCKET_CHANNEL,
        "to" | "to_expires" | "to_signature" => meta.service == "redir",
        // The collector fills these columns, whatever the event contains.
        "channel" | "date" | "dateTime" | "id" | "timestamp" => table.columns.iter().any(|column| column.name == key),
        _ => false,
    }
}

/// Returns a key, truncated if it is long.
fn cut(key: &str) -> &str {
    let mut end = key.len().min(MAX_KEY_BYTES);
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    &key[..end]
}

/// Returns whether the log may have another message.
fn is_log_due() -> bool {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let Ok(mut last) = LAST.lock() else { return false };
    let is_due = last.is_none_or(|last| last.elapsed() >= LOG_INTERVAL);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::testing::TABLE;

    #[test]
    fn an_error_names_each_key_once_and_few_of_them() {
        let mut unknown = UnknownKeys::default();
        for number in 0..30 {
            unknown.find(&format!("key{}", number / 2), UnknownKeyPolicy::Reject, &TABLE);
        }
        assert_eq!(unknown.rejected.len(), MAX_NAMED);
        assert_eq!(unknown.rejected[..3], ["key0", "key1", "key2"]);
        assert_eq!(unknown.counted, 0);
    }

    #[test]
    fn a_long_key_is_cut_between_characters() {
        assert_eq!(cut("a"), "a");
        assert_eq!(cut(&"é".repeat(80)), "é".repeat(50));
        assert_eq!(cut(&format!("a{}", "é".repeat(80))).len(), 99);
    }

    #[test]
    fn keys_are_the_collectors_if_it_reads_or_fills_them() {
        let is_of_the_collector = |key, service| {
            let meta = EventMeta {
                service,
                ..EventMeta::default()
            };
            is_of_the_collector(key, &meta, &TABLE)
        };
        for key in ["service", "name", "projectId", "uid", "id"] {
            assert!(is_of_the_collector(key, "wh"), "{key}");
        }
        for key in ["date", "timestamp", "to", "n2", ""] {
            assert!(!is_of_the_collector(key, "wh"), "{key}");
        }
        assert!(is_of_the_collector("to", "redir"));
    }
}
