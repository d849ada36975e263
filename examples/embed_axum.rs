//! Adds the events of one table to an existing axum application.
//!
//! Run a ClickHouse (`cargo run -- engine` does, and prints the value of ROWMILL_CLICKHOUSE), then
//!
//! ```text
//! cargo run --example embed_axum
//! curl -d '{"event":"sent"}' http://127.0.0.1:3000/wh/mail     becomes a row of mail_statistics
//! curl http://127.0.0.1:3000/users/7                           still goes to the application
//! ```

use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::{Router, extract::Path, routing::get};
use rowmill::tables::{self, MailStatisticsLayer};
use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, layer::connect_info};
use tokio::net::TcpListener;

async fn user(Path(id): Path<u32>) -> String {
    format!("user {id}\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clickhouse: ClickHouseUrl = variable("ROWMILL_CLICKHOUSE", "http://127.0.0.1:8123/stats").parse()?;
    let writer = Writer::start(&tables::SCHEMA, clickhouse, &WriterOptions::default());
    // The writer also creates the tables. Do not start if they differ from the schema.
    writer.synced(Duration::from_secs(10)).await?;

    let application = Router::new()
        .route("/users/{id}", get(user))
        // The layer of one table handles that table's routes; `tables::layer` handles those of all
        // tables.
        .layer(MailStatisticsLayer::new(writer.clone())?.peer_from(connect_info));

    let listener = TcpListener::bind(variable("LISTEN", "127.0.0.1:3000")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    axum::serve(
        listener,
        application.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(stop)
    .await?;

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
