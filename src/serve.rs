//! `rowmill serve`: the engine if it is needed, the schema, the writer, the layers, the server; and all of it back again.

use std::{
    env,
    error::Error,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use rowmill::tables;
use rowmill_engine::{Engine, Options};
use rowmill_ingest::{
    EventOptions, ServeOptions as Bounds, StoreUrl, Stores, Writer, WriterOptions, not_found, serve as serve_http, sync,
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tower::{Layer, service_fn};

use crate::{
    chain,
    cli::ServeOptions,
    pages::PagesLayer,
    workers::{Listeners, Stopped},
};

/// The database that the embedded ClickHouse keeps the tables in.
const ENGINE_DATABASE: &str = "stats";

/// Collects events until the process is asked to stop, then brings what it has into ClickHouse.
pub(crate) fn serve(options: ServeOptions) -> Result<(), Box<dyn Error>> {
    let events = EventOptions {
        catch_all: true,
        max_body_bytes: options.max_body_bytes,
        max_bulk_bytes: options.max_bulk_bytes,
        domain: options.domain.clone(),
        trusted_proxies: options.trusted_proxies.parse()?,
        node: options.node,
        ack: options.ack,
        ack_by_header: options.ack_header,
        ..EventOptions::default()
    };
    let (stores, engine) = stores(&options)?;
    let result = Runtime::new()?.block_on(collect(&options, &events, stores));
    let stopped = engine.map_or(Ok(()), Engine::stop);
    // What became of the rows is said first.
    result?;
    Ok(stopped?)
}

/// Returns where the rows go: the ClickHouse that was named, and its replicas, or the embedded one, started.
fn stores(options: &ServeOptions) -> Result<(Vec<StoreUrl>, Option<Engine>), Box<dyn Error>> {
    if !options.clickhouse.is_empty() {
        let urls = options.clickhouse.iter().map(|url| url.trim().parse());
        return Ok((urls.collect::<Result<_, _>>()?, None));
    }
    let program = env::current_exe()?;
    let engine = Engine::start(&Options::new(program, options.data.join("engine")).with_listen(options.engine_listen))?;
    tracing::info!(url = %engine.url(), "the embedded ClickHouse is running");
    let url = format!("{}/{ENGINE_DATABASE}", engine.url());
    Ok((vec![url.parse()?], Some(engine)))
}

/// Brings every server to what the schema needs; one that is away is left out, unless all are.
async fn sync_all(stores: &[StoreUrl]) -> Result<(), Box<dyn Error>> {
    let mut last = Ok(());
    let mut is_any = false;
    for store in stores {
        match sync(store, &tables::SCHEMA).await {
            Ok(synced) => {
                is_any = true;
                for statement in synced.statements {
                    // The whole of a CREATE TABLE is what `rowmill plan` is for.
                    tracing::info!("schema: {}", statement.lines().next().unwrap_or_default());
                }
            }
            Err(error) => {
                let error = format!("{store}: {}", chain(&error));
                if stores.len() > 1 {
                    tracing::warn!(error, "a server is left out for now");
                }
                last = Err(error.into());
            }
        }
    }
    if is_any { Ok(()) } else { last }
}

async fn collect(options: &ServeOptions, events: &EventOptions, stores: Vec<StoreUrl>) -> Result<(), Box<dyn Error>> {
    // Heard from here on, so that a stop during the start is an orderly one, too.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    sync_all(&stores).await?;

    let spool = spool_folder(&options.data);
    let clients: Stores = stores.iter().map(StoreUrl::client).collect();
    let bounds = WriterOptions {
        memory_bytes: options.memory_bytes,
        disk_bytes: options.spool_bytes,
        insert_timeout: options.insert_timeout_seconds,
        ..WriterOptions::default()
    };
    let writer = Writer::open(&tables::SCHEMA, clients, &bounds, &spool)?;
    let events = tables::layer(writer.clone())
        .with_options(events)
        .layer(service_fn(not_found));
    let pages = PagesLayer::new(writer.clone(), stores.clone());

    let listeners = Listeners::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let address = listeners.address();
    println!("listening on http://{address}");
    if let Some(store) = stores.first() {
        show_requests(address, store);
    }

    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: no more events are taken, the last rows go to ClickHouse");
    };
    let serve = move |listener: TcpListener, stopped: Stopped| {
        let (pages, events) = (pages.clone(), events.clone());
        let service_for = move |peer: SocketAddr| pages.layer(events.clone().with_peer(peer.ip()));
        serve_http(listener, service_for, Bounds::default(), stopped.wait())
    };
    let served = listeners.run(serve, stop).await;

    // What was taken is brought home whatever became of the workers.
    let report = writer.drain(options.drain_seconds).await;
    served?;
    if report.is_complete() || report.is_kept {
        Ok(())
    } else {
        Err(format!("{} rows were not stored", report.rows_left()).into())
    }
}

/// Returns the folder of the spool in the data folder.
pub(crate) fn spool_folder(data: &Path) -> PathBuf {
    data.join("spool")
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
