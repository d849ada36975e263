//! `/metrics` in the [text format](https://prometheus.io/docs/instrumenting/exposition_formats/) of
//! Prometheus.

mod topics;

use std::fmt::{Display, Write};

use rowmill_ingest::{
    archive::ArchiveStatus,
    log::PartitionLag,
    server::Connections,
    writer::{KeyCounts, LeftOutCounts, NodeStatus, RejectionCounts, TableCounts, UnverifiedCount, WriterStatus},
};

/// One family of counters or gauges with the source of its values.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&TableCounts) -> u64,
}

const METRICS: [Metric; 21] = [
    Metric {
        name: "rowmill_rows_appended_total",
        kind: "counter",
        help: "Rows accepted since the start.",
        value: |counts| counts.rows_appended,
    },
    Metric {
        name: "rowmill_rows_without_room_total",
        kind: "counter",
        help: "Rows not accepted because the spool was full.",
        value: |counts| counts.rows_rejected_full,
    },
    Metric {
        name: "rowmill_rows_inserted_total",
        kind: "counter",
        help: "Rows that ClickHouse has confirmed.",
        value: |counts| counts.rows_inserted,
    },
    Metric {
        name: "rowmill_inserts_total",
        kind: "counter",
        help: "Blocks that ClickHouse has confirmed.",
        value: |counts| counts.inserts,
    },
    Metric {
        name: "rowmill_insert_retries_total",
        kind: "counter",
        help: "Inserts that failed and were, or will be, retried.",
        value: |counts| counts.retries,
    },
    Metric {
        name: "rowmill_lookups_total",
        help: "Queries to a table for rows that may be stored although ClickHouse has not confirmed them.",
        kind: "counter",
        value: |counts| counts.lookups,
    },
    Metric {
        name: "rowmill_rows_found_total",
        help: "Rows that a lookup has found in the table, so that they were not sent again.",
        kind: "counter",
        value: |counts| counts.rows_found,
    },
    Metric {
        name: "rowmill_rows_missing_total",
        help: "Rows that ClickHouse has confirmed but does not show in the table.",
        kind: "counter",
        value: |counts| counts.rows_missing,
    },
    Metric {
        name: "rowmill_views_in_doubt_total",
        help: "Blocks that a materialized view may lack or have twice after an insert with an unclear outcome.",
        kind: "counter",
        value: |counts| counts.views_in_doubt,
    },
    Metric {
        name: "rowmill_rows_refused_by_views_total",
        help: "Rows that are in their table although a materialized view over it refuses them.",
        kind: "counter",
        value: |counts| counts.rows_refused_by_views,
    },
    Metric {
        name: "rowmill_rows_refused_total",
        kind: "counter",
        help: "Rows that ClickHouse, or the shared log, refused and that became dead letters.",
        value: |counts| counts.rows_refused,
    },
    Metric {
        name: "rowmill_rows_lost_total",
        kind: "counter",
        help: "Rows that were damaged on the spool's disk while they waited, and are lost.",
        value: |counts| counts.rows_lost,
    },
    Metric {
        name: "rowmill_rows_handed_over_total",
        kind: "counter",
        help: "Rows that another collector has taken over at the stop.",
        value: |counts| counts.rows_handed_over,
    },
    Metric {
        name: "rowmill_rows_received_total",
        kind: "counter",
        help: "Rows taken over from other collectors.",
        value: |counts| counts.rows_received,
    },
    Metric {
        name: "rowmill_table_held",
        kind: "gauge",
        help: "Whether rows wait for an operator: ClickHouse refuses all of them, or they do not fit the table.",
        value: |counts| u64::from(counts.is_held),
    },
    Metric {
        name: "rowmill_audit_checked_rows_total",
        kind: "counter",
        help: "Confirmed rows that the audit has compared with the table.",
        value: |counts| counts.audit_checked,
    },
    Metric {
        name: "rowmill_audit_missing_rows",
        kind: "gauge",
        help: "Confirmed rows that the audit does not find in the table.",
        value: |counts| counts.audit_missing,
    },
    Metric {
        name: "rowmill_audit_duplicate_rows",
        kind: "gauge",
        help: "Rows that the audit finds in the table beyond the first with their id.",
        value: |counts| counts.audit_duplicate,
    },
    Metric {
        name: "rowmill_rows_pending",
        kind: "gauge",
        help: "Rows accepted and not yet confirmed.",
        value: |counts| counts.rows_pending,
    },
    Metric {
        name: "rowmill_blocks_pending",
        kind: "gauge",
        help: "Blocks with unconfirmed rows, including the open one.",
        value: |counts| counts.blocks_pending,
    },
    Metric {
        name: "rowmill_pending_bytes",
        kind: "gauge",
        help: "The length of the rows in pending blocks, in memory and on disk.",
        value: |counts| counts.bytes_pending,
    },
];

/// Returns the metrics of a collector.
pub(super) fn metrics(status: WriterStatus, connections: &Connections) -> String {
    let mut text = Exposition::default();
    for metric in METRICS {
        text.family(metric.name, metric.kind, metric.help);
        for counts in &status.tables {
            text.sample(metric.name, Some(("table", &counts.table)), (metric.value)(counts));
        }
    }
    let name = "rowmill_block_age_seconds";
    text.family(
        name,
        "gauge",
        "The age at which a block is inserted unless it is full earlier.",
    );
    for counts in &status.tables {
        text.sample(name, Some(("table", &counts.table)), counts.block_age.as_secs_f64());
    }
    let RejectionCounts { requests, events } = status.rejections;
    let name = "rowmill_requests_refused_total";
    text.family(name, "counter", "Refused requests, by the status of the response.");
    for (status, count) in requests {
        text.sample(name, Some(("status", &status.to_string())), count);
    }
    let name = "rowmill_events_refused_total";
    text.family(
        name,
        "counter",
        "Events that did not become rows, by reason, with any response status.",
    );
    for (code, count) in events {
        text.sample(name, Some(("code", code)), count);
    }
    text.counter(
        "rowmill_rejected_payloads_cut_total",
        "Dead letters that kept only the start of their payload, because of --rejected-bytes-per-second.",
        status.payloads_cut,
    );
    let name = "rowmill_unknown_keys_total";
    text.family(name, "counter", "Keys of accepted events that no column reads.");
    for (table, count) in status.unknown_keys {
        text.sample(name, Some(("table", table)), count);
    }
    let name = "rowmill_unverified_total";
    text.family(name, "counter", "Requests that are not from the sender of their route.");
    for UnverifiedCount { route, reason, count } in status.unverified {
        text.samples(name, &[("route", route), ("reason", reason)], count);
    }
    let name = "rowmill_events_left_out_total";
    text.family(name, "counter", "Events that an option of their route leaves out.");
    let LeftOutCounts {
        automated,
        without_consent,
    } = status.left_out;
    for (reason, count) in [("automated", automated), ("no-consent", without_consent)] {
        text.samples(name, &[("reason", reason)], count);
    }
    let NodeStatus { node, clashes } = status.node;
    if let Some(node) = node {
        text.gauge(
            "rowmill_node",
            "The node number in new ids; absent while the process has no number.",
            node.into(),
        );
    }
    text.counter(
        "rowmill_node_clashes_total",
        "How often the collector found another process with the same node number.",
        clashes,
    );
    idempotency(&mut text, &status.idempotency);
    text.counter(
        "rowmill_spool_damaged_total",
        "Damaged parts of the spool found on disk since the start.",
        status.damaged_parts,
    );
    text.counter(
        "rowmill_connections_refused_total",
        "Connections closed at once because their address had too many.",
        connections.refused(),
    );
    text.counter(
        "rowmill_connections_let_go_total",
        "Idle connections closed for new ones.",
        connections.closed_idle(),
    );
    text.counter(
        "rowmill_handshakes_failed_total",
        "Connections closed because their TLS handshake failed or took too long.",
        connections.failed_handshakes(),
    );
    text.counter(
        "rowmill_proxy_headers_failed_total",
        "Connections of trusted proxies closed because they did not begin with a valid PROXY header.",
        connections.failed_proxy_headers(),
    );
    text.counter(
        "rowmill_malformed_requests_total",
        "Requests that are not valid HTTP, or have no valid Host or an unknown transfer coding.",
        connections.malformed_requests(),
    );
    text.gauge(
        "rowmill_websockets_open",
        "Open connections that are WebSockets.",
        connections.sessions() as u64,
    );
    text.gauge(
        "rowmill_connections_open",
        "Open connections.",
        connections.open() as u64,
    );
    text.gauge(
        "rowmill_memory_bytes",
        "Memory of waiting rows and requests in flight, in bytes.",
        status.memory_bytes as u64,
    );
    text.gauge(
        "rowmill_request_bytes",
        "The part of rowmill_memory_bytes that requests in flight use.",
        status.request_bytes as u64,
    );
    text.gauge(
        "rowmill_spool_bytes",
        "Disk space of the spool, in bytes.",
        status.disk_bytes,
    );
    text.gauge(
        "rowmill_spool_failing",
        "Whether the last write to the spool failed.",
        status.is_disk_failing.into(),
    );
    if let Some(status) = &status.archive {
        archive(&mut text, status);
    }
    if let Some(status) = &status.topics {
        topics::topics(&mut text, status);
    }
    if !status.log_lag.is_empty() {
        log_lag(&mut text, &status.log_lag);
    }
    text.0
}

/// Adds the lags of the partitions of a shared log that this process delivers.
fn log_lag(text: &mut Exposition, lags: &[PartitionLag]) {
    let mut gauge = |name, help, value: fn(&PartitionLag) -> f64| {
        text.family(name, "gauge", help);
        for lag in lags {
            let partition = lag.partition.to_string();
            text.samples(name, &[("topic", &lag.topic), ("partition", &partition)], value(lag));
        }
    };
    gauge(
        "rowmill_log_lag_records",
        "Records of the shared log whose rows are not stored yet, of the partitions that this process delivers.",
        |lag| lag.records as f64,
    );
    gauge(
        "rowmill_log_lag_seconds",
        "The age of the oldest of these records.",
        |lag| lag.age.as_secs_f64(),
    );
}

/// Adds the metrics of the archive.
fn archive(text: &mut Exposition, status: &ArchiveStatus) {
    text.counter(
        "rowmill_archive_objects_total",
        "Objects uploaded to the archive.",
        status.objects,
    );
    text.counter(
        "rowmill_archive_rows_total",
        "Rows uploaded to the archive.",
        status.rows,
    );
    text.counter(
        "rowmill_archive_bytes_total",
        "The length of the objects uploaded to the archive, in bytes.",
        status.bytes,
    );
    text.counter(
        "rowmill_archive_kept_rows_total",
        "Rows that Parquet cannot have, and that were uploaded as blocks.",
        status.kept_rows,
    );
    text.counter(
        "rowmill_archive_failures_total",
        "Uploads to the archive that failed and were, or will be, retried.",
        status.failures,
    );
    text.counter(
        "rowmill_archive_dropped_bytes_total",
        "Bytes of rows that the archive did not get, because of --archive-bytes or of the disk.",
        status.dropped_bytes,
    );
    text.gauge(
        "rowmill_archive_pending_bytes",
        "Disk space of segments that are kept for the archive, in bytes; the newest one stays.",
        status.pending_bytes,
    );
    text.gauge(
        "rowmill_archive_only_bytes",
        "The part of rowmill_archive_pending_bytes that only the archive needs.",
        status.only_bytes,
    );
    text.gauge(
        "rowmill_archive_oldest_seconds",
        "The age of the oldest row that waits for the archive.",
        status.oldest_seconds,
    );
    text.gauge(
        "rowmill_archive_failing",
        "Whether the last upload to the archive failed.",
        status.is_failing.into(),
    );
}

/// Adds the metrics of idempotency keys.
fn idempotency(text: &mut Exposition, keys: &KeyCounts) {
    text.gauge("rowmill_idempotency_keys", "Idempotency keys in the index.", keys.keys);
    text.gauge(
        "rowmill_idempotency_bytes",
        "Disk space of the index of idempotency keys, in bytes.",
        keys.bytes,
    );
    text.counter(
        "rowmill_idempotency_repeats_total",
        "Requests and events that repeat a recorded one, and made no row.",
        keys.repeats,
    );
    text.counter(
        "rowmill_idempotency_conflicts_total",
        "Requests that reuse an idempotency key with another content.",
        keys.conflicts,
    );
    text.counter(
        "rowmill_idempotency_forgotten_total",
        "Idempotency keys forgotten before the end of their window, because of --idempotency-keys.",
        keys.forgotten,
    );
}

/// Builds the text: for each family its help and type, then its samples.
#[derive(Debug, Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: impl Display) {
        let _ = match label {
            Some((label, text)) => writeln!(self.0, "{name}{{{label}=\"{}\"}} {value}", escaped(text)),
            None => writeln!(self.0, "{name} {value}"),
        };
    }

    fn samples(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let label = |(label, text): &(&str, &str)| format!("{label}=\"{}\"", escaped(text));
        let labels: Vec<String> = labels.iter().map(label).collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, None, value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, None, value);
    }
}

/// Returns the value of a label with a backslash before each backslash and quote, and `\n` for a
/// line feed.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, store::Servers};

    use super::*;
    use crate::tables;

    #[test]
    fn labels_are_escaped() {
        let mut text = Exposition::default();
        text.sample("rows_total", Some(("table", "a\"b\\c\nd")), 1);
        assert_eq!(text.0, "rows_total{table=\"a\\\"b\\\\c\\nd\"} 1\n");
    }

    /// Reads the metrics as Prometheus does. Without Debian's package `prometheus` the test reports
    /// that it is skipped.
    #[tokio::test]
    async fn prometheus_reads_the_metrics() {
        if Command::new("promtool").arg("--version").output().is_err() {
            println!("SKIPPED: promtool is not installed");
            return;
        }
        let store: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().unwrap();
        let writer = Writer::start(&tables::SCHEMA, Servers::without_sync(store), &WriterOptions::default());
        let mut text = Exposition(metrics(writer.status(), &Connections::default()));
        text.family("rowmill_odd_total", "counter", "A table with an odd name.");
        text.sample("rowmill_odd_total", Some(("table", "a\"b\\c\nd")), 1);

        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        promtool.stdin.take().unwrap().write_all(text.0.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(
            text.0
                .contains("rowmill_rows_inserted_total{table=\"mail_statistics\"} 0\n")
        );
    }
}
