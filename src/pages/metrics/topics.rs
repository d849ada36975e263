//! The metrics of the topics.

use rowmill_ingest::topics::{TopicStatus, TopicsStatus};

use super::Exposition;

/// One family, with a sample for each table.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&TopicStatus) -> u64,
}

const METRICS: [Metric; 6] = [
    Metric {
        name: "rowmill_topics_rows_total",
        kind: "counter",
        help: "Rows sent to their topic.",
        value: |topic| topic.rows,
    },
    Metric {
        name: "rowmill_topics_bytes_total",
        kind: "counter",
        help: "The length of the messages sent to the topic, in bytes.",
        value: |topic| topic.bytes,
    },
    Metric {
        name: "rowmill_topics_failures_total",
        kind: "counter",
        help: "Batches of messages that failed and were, or will be, sent again.",
        value: |topic| topic.failures,
    },
    Metric {
        name: "rowmill_topics_dropped_rows_total",
        kind: "counter",
        help: "Rows that did not reach their topic, since their messages are too long for the brokers, or their bytes are damaged.",
        value: |topic| topic.dropped_rows,
    },
    Metric {
        name: "rowmill_topics_oldest_seconds",
        kind: "gauge",
        help: "The age of the oldest row that waits for its topic.",
        value: |topic| topic.oldest_seconds,
    },
    Metric {
        name: "rowmill_topics_failing",
        kind: "gauge",
        help: "Whether the last batch for the topic failed.",
        value: |topic| topic.is_failing.into(),
    },
];

/// Adds the metrics of the topics.
pub(super) fn topics(text: &mut Exposition, status: &TopicsStatus) {
    for metric in &METRICS {
        text.family(metric.name, metric.kind, metric.help);
        for topic in &status.tables {
            text.sample(metric.name, Some(("table", &topic.table)), (metric.value)(topic));
        }
    }
    text.counter(
        "rowmill_topics_dropped_bytes_total",
        "Bytes of rows that their topics did not get, because of --topics-bytes or of the disk.",
        status.dropped_bytes,
    );
    text.gauge(
        "rowmill_topics_pending_bytes",
        "Disk space of segments that are kept for the topics, in bytes; the newest one stays.",
        status.pending_bytes,
    );
    text.gauge(
        "rowmill_topics_only_bytes",
        "The part of rowmill_topics_pending_bytes that ClickHouse does not need.",
        status.only_bytes,
    );
}
