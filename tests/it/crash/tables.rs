//! The tables of the runs, the events for them, and the SQL that reads the rows back.

use super::{event::Target, report::Place};

const TEXTS: &[&str] = &["event", "email", "detailed", "more"];

pub const MAIL: Target = Target {
    path: "/wh/mail",
    key: "message_id",
    texts: TEXTS,
    padding: 0,
    lines: 1,
};

pub const WEBHOOKS: Target = Target {
    path: "/wh/other",
    key: "number",
    ..MAIL
};

pub const PING: Target = Target {
    path: "/track/ping",
    key: "number",
    ..MAIL
};

pub const EVENTS: Target = Target {
    path: "/track/page",
    key: "user_id",
    texts: &["page_title", "page_ref", "user_tz", "user_gaId"],
    ..MAIL
};

pub const ACTIVITY: Target = Target {
    path: "/track/activity",
    ..EVENTS
};

/// Returns the place in `mail_statistics` of the target with the index `at`.
pub const fn in_mail(at: usize) -> Place {
    Place {
        target: at,
        table: "mail_statistics",
        filter: "service = 'wh'",
        number: "message_id",
        payload: "arrayConcat([('message_id', message_id), ('event', event), ('email', email), ('detailed', detailed)], \
                  arrayZip(extra.key, extra.value))",
    }
}

/// Returns the place of the target with the index `at` in a table that keeps the whole payload in
/// `extra`.
pub const fn in_extra(at: usize, table: &'static str, filter: &'static str) -> Place {
    Place {
        target: at,
        table,
        filter,
        number: "extra.value[indexOf(extra.key, 'number')]",
        payload: "arrayZip(extra.key, extra.value)",
    }
}

/// Returns the place of the target with the index `at` in `events` or in a table that extends it.
pub const fn in_events(at: usize, table: &'static str) -> Place {
    Place {
        target: at,
        table,
        filter: "service = 'track'",
        number: "user_id",
        payload: "[('user_id', user_id), ('page_title', page_title), ('page_ref', page_ref), ('user_tz', user_tz), \
                  ('user_gaId', user_gaId)]",
    }
}

/// Returns the statements that recreate a table with partitions. Consecutive numbers go to
/// different partitions.
pub fn partitioned(table: &str, number: &str, partitions: u64) -> Vec<String> {
    vec![
        format!(
            "CREATE TABLE partitioned AS {table} ENGINE = MergeTree PARTITION BY toUInt64OrZero({number}) % {partitions} \
             ORDER BY id SETTINGS non_replicated_deduplication_window = 1000"
        ),
        format!("DROP TABLE {table}"),
        format!("RENAME TABLE partitioned TO {table}"),
    ]
}

/// Makes a table's deduplication window so small that other writers push each block out of it.
pub fn small_window(table: &str) -> String {
    format!("ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 10")
}

/// Creates a table that sums numbers in buckets, in partitions, and a view that fills it; and a
/// table of states over these sums, with its view. Only the collector's sync gives the tables a
/// deduplication window.
pub fn summed(table: &str, number: &str) -> [String; 4] {
    [
        format!(
            "CREATE TABLE {table}_sums (bucket UInt64, events UInt64, total UInt64) ENGINE = SummingMergeTree \
             ORDER BY bucket PARTITION BY bucket % 3"
        ),
        format!(
            "CREATE TABLE {table}_states (decade UInt64, events AggregateFunction(sum, UInt64), \
             total AggregateFunction(sum, UInt64), buckets AggregateFunction(uniqExact, UInt64)) \
             ENGINE = AggregatingMergeTree ORDER BY decade PARTITION BY decade % 2"
        ),
        format!(
            "CREATE MATERIALIZED VIEW {table}_states_view TO {table}_states AS SELECT intDiv(bucket, 10) AS decade, \
             sumState(events) AS events, sumState(total) AS total, uniqExactState(bucket) AS buckets \
             FROM {table}_sums GROUP BY decade"
        ),
        format!(
            "CREATE MATERIALIZED VIEW {table}_view TO {table}_sums AS {}",
            sums(table, number)
        ),
    ]
}

/// Returns the view's query.
pub fn sums(table: &str, number: &str) -> String {
    format!(
        "SELECT toUInt64OrZero({number}) % 100 AS bucket, count() AS events, sum(toUInt64OrZero({number})) AS total \
         FROM {table} GROUP BY bucket"
    )
}
