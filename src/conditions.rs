//! The conditions that `/ready` lists after its first line.
//!
//! A condition does not change the status of `/ready`: the collector still accepts events, and
//! another collector would have the same condition. Each line names a number, and the table if the
//! condition belongs to one. No line contains a value of an event.

use rowmill_ingest::writer::{FailingServer, TableCounts, WriterStatus};

/// An insert that has failed this often in a row is a condition. By then the delays between the
/// attempts add up to some seconds.
const MANY_FAILURES: u64 = 5;

/// Returns a line for each condition.
pub(crate) fn conditions(status: &WriterStatus) -> Vec<String> {
    let mut lines: Vec<_> = status.tables.iter().flat_map(of_table).collect();
    lines.extend(line(
        status.node.clashes,
        "another process had the same node number, so ids may not be unique; times seen",
    ));
    lines.extend(line(
        status.damaged_parts,
        "parts of the spool were damaged on disk, and their segments are kept as *.damaged; found since the start",
    ));
    lines.extend(line(
        status.differing_defaults,
        "columns have another DEFAULT in ClickHouse than in the schema, which the rows have (see `rowmill plan`); columns",
    ));
    for failing in &status.failing_servers {
        let FailingServer {
            url, failures, server, ..
        } = failing;
        let failures = if *failures >= MANY_FAILURES { *failures } else { 0 };
        let server = server
            .as_ref()
            .map(|name| format!(" (the last one at the server {name})"));
        let text = format!(
            "inserts into {url} fail{}; consecutive failures",
            server.unwrap_or_default()
        );
        lines.extend(line(failures, &text));
    }
    if let Some(archive) = &status.archive {
        let waiting = if archive.is_failing { archive.pending_bytes } else { 0 };
        lines.extend(line(
            waiting,
            "the archive does not take rows, which wait on disk; bytes",
        ));
        lines.extend(line(
            archive.dropped_bytes,
            "rows that the archive did not get (the log has the reasons); bytes since the start",
        ));
    }
    if let Some(topics) = &status.topics {
        let waiting = if topics.is_failing() { topics.pending_bytes } else { 0 };
        lines.extend(line(
            waiting,
            "a topic does not take rows, which wait on disk; bytes of all topics",
        ));
        lines.extend(line(
            topics.dropped_bytes,
            "rows that their topics did not get (the log has the reasons); bytes since the start",
        ));
        let dropped = topics.tables.iter().map(|topic| topic.dropped_rows).sum();
        lines.extend(line(
            dropped,
            "rows that cannot be messages of their topics (the log has the reasons); rows since the start",
        ));
    }
    lines
}

fn of_table(counts: &TableCounts) -> Vec<String> {
    let failures = if counts.failures >= MANY_FAILURES {
        counts.failures
    } else {
        0
    };
    let held = if counts.is_held { counts.rows_pending } else { 0 };
    let of_table = [
        (
            held,
            "rows wait for an operator, and the log has the reason; waiting rows",
        ),
        (failures, "an insert fails and is retried; consecutive failures"),
        (
            counts.rows_missing,
            "rows that ClickHouse confirms are not in the table",
        ),
        (counts.rows_lost, "rows were damaged on the spool's disk and are lost"),
        (
            counts.rows_rejected_full,
            "rows not accepted since the start because memory or disk was full",
        ),
        (
            counts.views_in_doubt,
            "blocks that a materialized view may have missed since the start",
        ),
        (counts.audit_missing, "audit: confirmed rows are not in the table"),
        (counts.audit_duplicate, "audit: rows are in the table more than once"),
    ];
    let lines = of_table.into_iter().filter_map(|(count, text)| line(count, text));
    lines.map(|line| format!("table {}: {line}", counts.table)).collect()
}

fn line(count: u64, text: &str) -> Option<String> {
    (count > 0).then(|| format!("{text}: {count}"))
}
