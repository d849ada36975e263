//! A program that only collects events for its own tables, from the folder `schemas` beside its
//! manifest.
//!
//! The build script is the one line of `build.rs`. The bench `rebuild` builds this file in a
//! separate package.

use std::{env, error::Error};

use rowmill_ingest::{
    ClickHouseUrl, Writer, WriterOptions,
    schema::sync,
    server::{ServeOptions, not_found, serve},
    store::Servers,
};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};

mod tables {
    rowmill_ingest::include_tables!();
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clickhouse = env::var("ROWMILL_CLICKHOUSE").unwrap_or_else(|_| "http://127.0.0.1:8123/stats".to_owned());
    let clickhouse: ClickHouseUrl = clickhouse.parse()?;
    sync(&clickhouse, &tables::SCHEMA).await?;
    let writer = Writer::start(
        &tables::SCHEMA,
        Servers::without_sync(clickhouse),
        &WriterOptions::default(),
    );

    let service = tables::layer(writer)?.layer(service_fn(not_found));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let service_for = move |_| service.clone();
    serve(listener, service_for, ServeOptions::default(), std::future::pending()).await;
    Ok(())
}
