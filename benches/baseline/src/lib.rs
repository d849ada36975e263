//! The programs that the benches compare the collector with, each a fair and complete server.
//!
//! - [`fixed`]: hyper with a fixed body, the ceiling of any server on hyper; and hyper with the
//!   collector's headers, the ceiling of a server that sends them.
//! - [`axum_collector`]: the collector that a good engineer writes by hand for the seed's event,
//!   with axum, serde and `clickhouse`.
//!
//! Both print `listening on http://ADDRESS` when they are ready, as the collector does, and end on
//! SIGTERM. To run one alone: `cargo run --release -p rowmill-baseline -- hyper` or
//! `… -- axum http://127.0.0.1:8123 USER PASSWORD DATABASE`.

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

/// The error of either program.
pub type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: hyper [headers] | axum CLICKHOUSE-URL USER PASSWORD DATABASE";

/// Runs the program that `arguments` name until SIGTERM.
///
/// # Errors
/// If the arguments name no program, or the program cannot listen or start its runtime.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The current-thread runtime is the faster one on one core, so the figure is a true
        // ceiling.
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

/// Returns a future that ends with SIGTERM.
fn terminated() -> io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        terminate.recv().await;
    })
}
