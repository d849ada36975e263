//! An axum application, and the events of the folder `schemas` beside it.

use std::{env, error::Error, net::SocketAddr, path::Path, time::Duration};

use axum::{Router, routing::get};
use rowmill_ingest::{
    Ack, ClickHouseUrl, Writer, WriterOptions,
    layer::{SchemaMismatch, connect_info},
};
use tokio::{net::TcpListener, signal};

mod tables {
    rowmill_ingest::include_tables!();
}

#[cfg(test)]
mod tests;

/// Returns the application: events become rows of `writer`, and every other request goes to the
/// routes.
fn application(writer: Writer) -> Result<Router, SchemaMismatch> {
    let events = tables::layer(writer)?.peer_from(connect_info);
    Ok(Router::new().route("/", get(async || "the shop\n")).layer(events))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clickhouse: ClickHouseUrl = variable("CLICKHOUSE", "http://127.0.0.1:8123/stats").parse()?;
    let spool = variable("SPOOL", "data/spool");
    let writer = Writer::open(&tables::SCHEMA, clickhouse, &WriterOptions::default(), Path::new(&spool))?;
    // Creates the tables. An error if the database differs from the schema.
    writer.synced(Duration::from_secs(10)).await?;

    // A row from Rust code.
    let row = tables::Orders { number: "A-0".into(), ..Default::default() };
    writer.insert(&row, Ack::Spooled)?;

    // The client's address comes from `ConnectInfo`.
    let application = application(writer.clone())?.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind(variable("LISTEN", "127.0.0.1:3000")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async { _ = signal::ctrl_c().await };
    axum::serve(listener, application).with_graceful_shutdown(stop).await?;

    // Sends the remaining rows to ClickHouse before the process ends.
    writer.drain(Duration::from_secs(30)).await;
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
