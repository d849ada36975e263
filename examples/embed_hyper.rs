//! Adds events to an existing hyper service.
//!
//! Run a ClickHouse (`cargo run -- engine` does, and prints the value of ROWMILL_CLICKHOUSE), then
//!
//! ```text
//! cargo run --example embed_hyper
//! curl -d '{"event":"sent"}' http://127.0.0.1:3000/wh/mail     becomes a row of mail_statistics
//! curl http://127.0.0.1:3000/users/7                           still goes to the service
//! ```

use std::{convert::Infallible, env, error::Error, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use rowmill::tables;
use rowmill_ingest::{
    ClickHouseUrl, Writer, WriterOptions,
    server::{ServeOptions, serve},
};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};

/// The existing service.
async fn shop(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = format!("the shop answers {}\n", request.uri().path());
    Ok(Response::new(Full::new(Bytes::from(answer))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clickhouse: ClickHouseUrl = variable("ROWMILL_CLICKHOUSE", "http://127.0.0.1:8123/stats").parse()?;
    let writer = Writer::start(&tables::SCHEMA, clickhouse, &WriterOptions::default());
    // The writer also creates the tables. Do not start if they differ from the schema.
    writer.synced(Duration::from_secs(10)).await?;

    // The layer handles the routes of all tables. Other requests go to the shop with their bodies
    // untouched.
    let service = tables::layer(writer.clone())?.layer(service_fn(shop));

    let listener = TcpListener::bind(variable("LISTEN", "127.0.0.1:3000")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let service_for = |peer: SocketAddr| service.clone().with_peer(peer.ip());
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    serve(listener, service_for, ServeOptions::default(), stop).await;

    // Send the rows that are still in memory to ClickHouse before the process ends.
    let report = writer.drain(Duration::from_secs(30)).await;
    if report.is_complete() {
        Ok(())
    } else {
        Err(format!("{} rows were not stored", report.rows_left()).into())
    }
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}
