//! `rowmill deliver`: delivers the rows of a shared log to ClickHouse until a stop is requested.

use std::{
    error::Error,
    io::{self, Write},
    time::Duration,
};

use rowmill_ingest::{Writer, WriterOptions, route::Destination, server::Connections, store::Servers, table::Schema};
use tokio::{runtime::Runtime, time::sleep};

use crate::{
    cli::{DeliverOptions, log_url},
    pages::{
        PagesLayer,
        listener::{AdminListener, token},
    },
    stop::Stopping,
};

pub(crate) fn deliver(
    options: &DeliverOptions,
    schema: &'static Schema,
    destinations: &'static [Destination],
) -> Result<(), Box<dyn Error>> {
    Runtime::new()?.block_on(run(options, schema, destinations))
}

async fn run(
    options: &DeliverOptions,
    schema: &'static Schema,
    destinations: &'static [Destination],
) -> Result<(), Box<dyn Error>> {
    let stopping = Stopping::by_signals(Duration::ZERO)?;
    let urls = options.clickhouse.iter().map(|url| options.connection.url(url));
    let urls = urls.collect::<Result<Vec<_>, _>>()?;
    let bounds = WriterOptions {
        memory_bytes: options.memory_bytes,
        insert_timeout: options.insert_timeout_seconds,
        insert_quorum: options.insert_quorum,
        max_parts_per_second: Some(options.max_parts_per_second).filter(|limit| *limit > 0.0),
        rejected_days: options.rejected_days,
        ..WriterOptions::default()
    };
    let log = log_url(&options.log)?;
    let servers: Servers = urls.iter().cloned().collect();
    let writer = Writer::deliver_log(schema, servers, &bounds, &log, options.topics.topics());

    let connections = Connections::default();
    let pages = PagesLayer::new(writer.clone(), None, urls, stopping.clone(), connections, destinations);
    let token = token(options.admin_token_file.as_deref())?;
    let (_listener, address) = AdminListener::at(options.listen, token, &pages, None)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    // A closed standard output must not end the delivery.
    let _ = writeln!(io::stdout(), "listening on http://{address}");

    stopping.clone().requested().await;
    let deadline = async {
        tokio::select! {
            () = sleep(options.drain_seconds) => {}
            () = stopping.immediate() => {}
        }
    };
    // The log keeps the rows that are not stored.
    writer.drain_until(deadline).await;
    Ok(())
}
