//! A hyper service, and the events of the folder `schemas` beside it.

use std::{convert::Infallible, env, error::Error, path::Path, pin::pin, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use rowmill_ingest::{Ack, ClickHouseUrl, Writer, WriterOptions};
use tokio::{net::TcpListener, signal, time::timeout};
use tower::{Layer, service_fn};

mod tables {
    rowmill_ingest::include_tables!();
}

#[cfg(test)]
mod tests;

/// The service for every request that is not an event.
async fn shop<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::new(Bytes::from("the shop\n"))))
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

    let service = tables::layer(writer.clone())?.layer(service_fn(shop));
    let listener = TcpListener::bind(variable("LISTEN", "127.0.0.1:3000")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let connections = GracefulShutdown::new();
    // One future for all rounds of the loop: a new one would miss a signal that came before it.
    let mut stop = pin!(signal::ctrl_c());
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            _ = &mut stop => break,
            accepted = listener.accept() => accepted?,
        };
        // The client's address is that of the connection.
        let service = TowerToHyperService::new(service.clone().with_peer(peer.ip()));
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connections.watch(connection));
    }

    // Ends the open requests, and sends the remaining rows to ClickHouse before the process ends.
    _ = timeout(Duration::from_secs(10), connections.shutdown()).await;
    writer.drain(Duration::from_secs(30)).await;
    Ok(())
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
