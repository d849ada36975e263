//! What the collector is measured beside, as honest and good programs of their own.
//!
//! - [`fixed`]: hyper that answers a fixed body, the ceiling of any server on hyper;
//!   and the ceiling of one that sends the collector's headers.
//! - [`axum_collector`]: the collector of the seed's event that a good engineer writes by hand with axum, serde and `clickhouse`.
//!
//! Both print `listening on http://ADDRESS` when they are ready, as the collector does, and end on SIGTERM. To have one alone:
//! `cargo run --release -p rowmill-baseline -- hyper` or `… -- axum http://127.0.0.1:8123 USER PASSWORD DATABASE`.

pub mod axum_collector;
pub mod fixed;

use std::{
    error::Error,
    io::{self, Write},
    net::Ipv4Addr,
};

use clickhouse::Client;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

/// What either program can fail with.
pub type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: hyper [headers] | axum CLICKHOUSE-URL USER PASSWORD DATABASE";

/// Runs the program that `arguments` name until it is asked to end.
///
/// # Errors
/// If there is no such program, or it cannot listen or start its runtime.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The faster of the two runtimes for a server on one core, so that the ceiling is a ceiling.
        ["hyper", ref rest @ ..] => Builder::new_current_thread().enable_all().build()?.block_on(async {
            let headers: fixed::Headers = match rest {
                [] => &[],
                ["headers"] => &fixed::COLLECTORS,
                _ => return Err(USAGE.into()),
            };
            let listener = listen().await?;
            fixed::serve(listener, headers, terminated()?).await
        }),
        ["axum", url, user, password, database] => Runtime::new()?.block_on(async {
            let listener = listen().await?;
            let client = Client::default().with_url(url).with_database(database);
            let client = client.with_user(user).with_password(password);
            axum_collector::serve(listener, client, terminated()?).await
        }),
        _ => Err(USAGE.into()),
    }
}

async fn listen() -> io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut out = io::stdout().lock();
    writeln!(out, "listening on http://{}", listener.local_addr()?)?;
    out.flush()?;
    Ok(listener)
}

/// Returns what ends with the request to stop.
fn terminated() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        terminate.recv().await;
    })
}
