//! `rowmill serve`: the engine if it is needed, the schema, the writer, the layers, the server; and all of it back again.

use std::{env, error::Error, net::SocketAddr};

use rowmill::tables;
use rowmill_engine::{Engine, Options};
use rowmill_ingest::{
    EventOptions, ServeOptions as Bounds, StoreUrl, Writer, WriterOptions, not_found, serve as serve_http, sync,
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tower::{Layer, service_fn};

use crate::{chain, cli::ServeOptions, pages::PagesLayer};

/// The database that the embedded ClickHouse keeps the tables in.
const ENGINE_DATABASE: &str = "stats";

/// Collects events until the process is asked to stop, then brings what it has into ClickHouse.
pub(crate) fn serve(options: ServeOptions) -> Result<(), Box<dyn Error>> {
    let events = EventOptions {
        catch_all: true,
        max_body_bytes: options.max_body_bytes,
        domain: options.domain.clone(),
        trusted_proxies: options.trusted_proxies.parse()?,
        node: options.node,
        ..EventOptions::default()
    };
    let (store, engine) = store(&options)?;
    let result = Runtime::new()?.block_on(collect(&options, &events, store));
    let stopped = engine.map_or(Ok(()), Engine::stop);
    // What became of the rows is said first.
    result?;
    Ok(stopped?)
}

/// Returns where the rows go: the ClickHouse that was named, or the embedded one, started.
fn store(options: &ServeOptions) -> Result<(StoreUrl, Option<Engine>), Box<dyn Error>> {
    if let Some(url) = &options.clickhouse {
        return Ok((url.parse()?, None));
    }
    let program = env::current_exe()?;
    let engine = Engine::start(&Options::new(program, options.data.join("engine")).with_listen(options.engine_listen))?;
    tracing::info!(url = %engine.url(), "the embedded ClickHouse is running");
    let url = format!("{}/{ENGINE_DATABASE}", engine.url());
    Ok((url.parse()?, Some(engine)))
}

async fn collect(options: &ServeOptions, events: &EventOptions, store: StoreUrl) -> Result<(), Box<dyn Error>> {
    // Heard from here on, so that a stop during the start is an orderly one, too.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let synced = sync(&store, &tables::SCHEMA).await;
    for statement in synced
        .map_err(|error| format!("{store}: {}", chain(&error)))?
        .statements
    {
        // The whole of a CREATE TABLE is what `rowmill plan` is for.
        tracing::info!("schema: {}", statement.lines().next().unwrap_or_default());
    }

    let spool = options.data.join("spool");
    let writer_options = WriterOptions {
        insert_timeout: options.insert_timeout_seconds,
        ..WriterOptions::default()
    };
    let writer = Writer::open(&tables::SCHEMA, store.client(), &writer_options, &spool)?;
    let events = tables::layer(writer.clone())
        .with_options(events)
        .layer(service_fn(not_found));
    let pages = PagesLayer::new(writer.clone(), store.clone());

    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");
    show_requests(address, &store);

    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no more events are taken, the last rows go to ClickHouse");
    };
    let service_for = |peer: SocketAddr| pages.layer(events.clone().with_peer(peer.ip()));
    serve_http(listener, service_for, Bounds::default(), stop).await;

    let report = writer.drain(options.drain_seconds).await;
    if report.is_complete() || report.is_kept {
        Ok(())
    } else {
        Err(format!("{} rows were not stored", report.rows_left()).into())
    }
}

/// Shows requests to try, of the seed's example, where a person sees them.
fn show_requests(address: SocketAddr, store: &StoreUrl) {
    let (base, origin, database) = (format!("http://{address}"), store.origin(), store.database());
    let form = "event=click&task_id=t1&message_id=m1&email=bob@example.com&list_id=12345";
    eprintln!(
        "
Try, in another terminal:

  curl {base}/wh/mail -H 'Content-Type: application/json' \\
       -d '{{\"event\":\"sent\",\"email\":\"bob@example.com\",\"message_id\":\"m1\",\"task_id\":\"t1\",\"list_id\":\"12345\",\"detailed\":\"ok\"}}'
  curl -o pixel.gif '{base}/pixel/mail?event=open&task_id=t1&message_id=m1&email=bob@example.com&list_id=12345'
  curl -i '{base}/redir/mail?{form}&link_id=1&to=https%3A%2F%2Fya.ru'

and a second later the rows:

  curl {origin} --data-binary 'SELECT event, email, message_id, list_id, task_id, link_id, detailed, service, name, extra.key, extra.value
       FROM {database}.mail_statistics FORMAT Vertical'
"
    );
}
