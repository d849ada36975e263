//! The writers of `rowmill serve`: of a spool, or of a shared log and its delivery.

use std::error::Error;

use rowmill_ingest::{Ack, Writer, WriterOptions, route::Destination, store::Servers, table::Schema};

use super::spool_folder;
use crate::{
    cli::{ServeOptions, log_url},
    data_folder,
};

/// Starts the writer of the events, and with `--log-deliver` that of the log's rows.
///
/// # Errors
/// The options contradict each other or the routes, or the data folder cannot be used.
pub(super) fn start(
    options: &ServeOptions,
    schema: &'static Schema,
    destinations: &[Destination],
    servers: Servers,
) -> Result<(Writer, Option<Writer>), Box<dyn Error>> {
    let bounds = writer_options(options, schema)?;
    let Some(log) = options.shared_log.log.as_deref() else {
        let writer = Writer::open(schema, servers, &bounds, &spool_folder(&options.data))?;
        return Ok((writer, None));
    };
    let log = log_url(log)?;
    check_acks(destinations, options.ack())?;
    log.check_keys(schema).map_err(|error| format!("--log: {error}"))?;
    let consumers = [
        ("--archive", bounds.archive.is_some()),
        ("--topics", bounds.topics.is_some()),
    ];
    if let Some((option, _)) = consumers.iter().find(|(_, is_set)| *is_set) {
        return Err(format!(
            "{option} reads the spool, which a collector with --log does not have: leave one of them out"
        )
        .into());
    }
    let rows = data_folder::waiting_rows(&spool_folder(&options.data))?;
    if rows > 0 {
        tracing::warn!(
            rows,
            "rows of an earlier start wait in the spool, which a collector with --log does not read: store them \
             with `rowmill spool replay`"
        );
    }
    let topics = options.shared_log.topics.topics();
    let deliver = || Writer::deliver_log(schema, servers.clone(), &bounds, &log, topics);
    let deliverer = options.shared_log.log_deliver.then(deliver);
    let writer = Writer::append_to_log(schema, servers.clone(), &bounds, &log, topics);
    Ok((writer, deliverer))
}

fn writer_options(options: &ServeOptions, schema: &'static Schema) -> Result<WriterOptions, Box<dyn Error>> {
    Ok(WriterOptions {
        memory_bytes: options.memory_bytes,
        disk_bytes: options.spool_bytes,
        idempotency_keys: options.idempotency_keys,
        insert_timeout: options.insert_timeout_seconds,
        insert_quorum: options.insert_quorum,
        max_parts_per_second: Some(options.max_parts_per_second).filter(|limit| *limit > 0.0),
        cluster_inserts: options.cluster_inserts.into(),
        rejected_days: options.rejected_days,
        rejected_payload_bytes: options.rejected_payload_bytes,
        rejected_bytes_per_second: options.rejected_bytes_per_second,
        node: options.node,
        audit_after: options.audit.then_some(options.audit_after_seconds),
        archive: options.archive.archive(schema.tables.iter().map(|table| table.name))?,
        topics: options.topics.topics(schema)?,
        ..WriterOptions::default()
    })
}

/// Checks that no route promises more than a collector with a shared log learns.
fn check_acks(destinations: &[Destination], default: Ack) -> Result<(), String> {
    let stored = destinations.iter().find(|route| route.acks.ack == Some(Ack::Stored));
    match (stored, default) {
        (Some(route), _) => Err(format!(
            "the route `{}` has `ack: stored`, which a collector with --log cannot promise, since another process \
             stores the row: set `ack: replicated`",
            route.path
        )),
        (None, Ack::Stored) => Err(
            "--ack stored is not possible with --log, since another process stores the rows: use --ack replicated"
                .to_owned(),
        ),
        _ => Ok(()),
    }
}
