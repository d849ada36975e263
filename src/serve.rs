//! `rowmill serve`: starts the engine if needed, the writer with its schema, the layers and the
//! server, and stops all of them in reverse order.

mod writers;

use std::{
    env,
    error::Error,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rowmill_engine::Account;
use rowmill_ingest::{
    ClickHouseUrl, EventOptions, Writer,
    handover::Target,
    layer::{EventLayer, HeaderSet},
    route::{Destination, Routes},
    schema::SchemaState,
    server::{ServeOptions as Bounds, Tls, not_found, serve as serve_http},
    table::Schema,
    writer::DrainReport,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    time::sleep,
};
use tower::{Layer, service_fn};

use crate::{
    cli::{AdminListen, Compat, HandoverOptions, LogFormat, NetworkOptions, ServeOptions, is_password_in},
    data_folder, descriptors,
    engine::EmbeddedClickHouse,
    examples::Examples,
    handover::Handover,
    pages::{
        PagesLayer,
        listener::{AdminListener, public_access, token},
    },
    stop::Stopping,
    tie,
    workers::Listeners,
};

/// The database of the tables in the embedded ClickHouse.
pub(crate) const ENGINE_DATABASE: &str = "stats";

/// The time limit of the start's wait for a ClickHouse that is reachable but busy. The start does
/// not wait for one that is unavailable.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

/// The time for calls of the file system that still run at the end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The nice value of delivery threads. On a shared core, a request thread gets about ten times as
/// much time as a delivery thread.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Collects events until a stop is requested, then delivers the remaining rows to ClickHouse.
pub(crate) fn serve<R: Routes>(options: ServeOptions, log: LogFormat) -> Result<(), Box<dyn Error>> {
    let events = EventOptions {
        catch_all: true,
        max_body_bytes: options.max_body_bytes,
        max_bulk_bytes: options.max_bulk_bytes,
        body_timeout: options.bodies.body_timeout_seconds,
        body_stall_timeout: options.bodies.body_stall_seconds,
        min_body_bytes_per_second: options.bodies.min_body_bytes_per_second,
        headers: match options.compat {
            Some(Compat::Rockstat) => HeaderSet::Rockstat,
            None => HeaderSet::Modern,
        },
        domain: options.domain.clone(),
        cookie: options.browsers.cookie(),
        allowed_origins: options.browsers.allow_origin.clone(),
        trusted_proxies: options.trusted_proxies.parse()?,
        client_address_header: options.network.client_address_header.clone(),
        library: options.browsers.library()?,
        ack: options.ack(),
        ack_by_header: options.ack_header,
        rate_limit_per_ip: options.rate_limit_per_ip,
        rate_limit_per_route: options.rate_limit_per_route,
        resumable_uploads: Some(options.uploads.resumable(&options.data)),
        ..EventOptions::default()
    };
    // Raise the limit before the engine starts, so that it inherits the limit.
    let max_connections = descriptors::connections(options.max_connections, R::schema().tables.len());
    let connections = Bounds {
        max_connections,
        max_connections_per_ip: options.max_connections_per_ip,
        idle_timeout: options.network.idle_timeout,
        tls: tls(&options.network)?,
        proxy_protocol: options.network.proxy_protocol.then(|| events.trusted_proxies.clone()),
        ..Bounds::default()
    };
    EventLayer::<R>::check_secrets(&events)?;
    EventLayer::<R>::check_salts()?;
    let drain_to = drain_to(&options)?;
    check_client_ca(R::DESTINATIONS, &options.network)?;
    data_folder::prepare(&options.data)
        .map_err(|error| format!("the data folder {}: {error}", options.data.display()))?;
    let (stores, engine) = stores(&options, R::schema())?;
    let reader = engine.as_ref().map(EmbeddedClickHouse::reader);
    // With a JSON log, standard error contains only JSON, so no example requests are shown.
    let examples = matches!(log, LogFormat::Text).then(|| (Examples::of::<R>(), reader));
    let runtime = delivery_runtime()?;
    let result = runtime.block_on(collect::<R>(
        &options,
        &events,
        &connections,
        stores,
        examples,
        drain_to,
    ));
    // A file system that hangs, such as the archive's, must not keep the process.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    let stopped = engine.map_or(Ok(()), EmbeddedClickHouse::stop);
    // An error about the rows takes precedence over one about the engine.
    result.and(stopped)
}

/// Returns the runtime of everything except requests. Its threads run at a lower priority than
/// request threads: otherwise the compression of a block would use half of a core that requests
/// need.
fn delivery_runtime() -> io::Result<Runtime> {
    let lower_priority = || {
        // On Linux this sets the priority of one thread; on other systems, of the whole process.
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
            tracing::debug!(%error, "cannot lower the priority of delivery threads");
        }
    };
    Builder::new_multi_thread()
        .enable_all()
        .on_thread_start(lower_priority)
        .build()
}

/// Returns the servers for the rows: those of `--clickhouse`, or the embedded one, which this
/// function starts.
fn stores(
    options: &ServeOptions,
    schema: &Schema,
) -> Result<(Vec<ClickHouseUrl>, Option<EmbeddedClickHouse>), Box<dyn Error>> {
    if !options.clickhouse.is_empty() {
        if is_password_in(env::args()) {
            tracing::warn!(
                "the password of ClickHouse stands in the arguments of this process, which every user of the machine \
                 can read: use --clickhouse-password-file or the variable ROWMILL_CLICKHOUSE"
            );
        }
        let urls = options.clickhouse.iter().map(|url| options.connection.url(url));
        return Ok((urls.collect::<Result<_, _>>()?, None));
    }
    let program = env::current_exe()?;
    let engine = EmbeddedClickHouse::start(program, options.data.join("engine"), options.engine_listen)?;
    let store = engine.store(ENGINE_DATABASE, !schema.dictionaries.is_empty())?;
    Ok((vec![store], Some(engine)))
}

/// Collects events for the servers, and prints the example requests, with the credentials of the
/// reader if the server is the embedded one.
async fn collect<R: Routes>(
    options: &ServeOptions,
    events: &EventOptions,
    connections: &Bounds,
    stores: Vec<ClickHouseUrl>,
    examples: Option<(Examples, Option<&Account>)>,
    drain_to: Option<Target>,
) -> Result<(), Box<dyn Error>> {
    // Install the signal handlers first, so that a stop during the start is orderly too.
    let stopping = Stopping::by_signals(options.pre_stop_seconds)?;
    if options.tied {
        tie::stop_at_end_of_input()?;
    }

    let (writer, deliverer) = writers::start(options, R::schema(), R::DESTINATIONS, stores.iter().cloned().collect())?;
    let sync_started = Instant::now();
    tokio::select! {
        // A schema mismatch ends the start with an error; the writer has already logged an
        // unavailable server.
        state = writer.synced(SYNC_TIMEOUT) => {
            if state? == SchemaState::Unreachable && sync_started.elapsed() >= SYNC_TIMEOUT {
                tracing::warn!("ClickHouse takes long to create the schema's tables: events are accepted, and their rows wait");
            }
        }
        () = stopping.clone().announced() => {}
    }
    let events = EventLayer::<R>::new(writer.clone())?
        .with_options(events)
        .layer(service_fn(not_found));
    let pages = PagesLayer::new(
        writer.clone(),
        deliverer.clone(),
        stores.clone(),
        stopping.clone(),
        connections.connections.clone(),
        R::DESTINATIONS,
    );
    let token = token(options.network.admin_token_file.as_deref())?;
    let secret = options.handover.secret.secret()?;
    let handover = secret.map(|secret| Handover::new(writer.clone(), secret));
    let _admin = AdminListener::start(&options.network, token.clone(), &pages, handover).await?;
    let pages = pages.with_access(public_access(&options.network, token.clone()));

    let listeners = Listeners::bind(options.listen)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let address = listeners.address();
    // A closed standard output or standard error must not end the collector.
    let scheme = if connections.tls.is_some() { "https" } else { "http" };
    let _ = writeln!(io::stdout(), "listening on {scheme}://{address}");
    if options.network.admin_listen == AdminListen::Local && token.is_none() && !address.ip().is_loopback() {
        tracing::info!(
            "/metrics and / answer requests of this machine only; --admin-listen or --admin-token-file opens them to others"
        );
    }
    if let (Some(store), Some((examples, reader))) = (stores.first(), examples) {
        print_examples(&examples, scheme, address, store, reader);
    }

    let connections = connections.clone();
    let serve = move |listener: TcpListener, stopping: Stopping| {
        let (pages, events, connections) = (pages.clone(), events.clone(), connections.clone());
        let is_tls = connections.tls.is_some();
        let service_for = move |peer: SocketAddr| {
            let events = events.clone().with_peer(peer.ip()).with_tls(is_tls);
            pages.with_peer(peer.ip()).layer(events)
        };
        async move {
            tokio::select! {
                () = serve_http(listener, service_for, connections, stopping.clone().requested()) => {}
                () = stopping.immediate() => {}
            }
        }
    };
    let idle_writer = writer.clone();
    let served = listeners
        .run(serve, move || idle_writer.flush_on_park(), &stopping)
        .await;

    // Deliver the accepted rows even if a worker has failed.
    let is_empty = drain(&writer, deliverer.as_ref(), options, drain_to.as_ref(), &stopping).await;
    served?;
    is_empty
}

/// Delivers the rows of the spool or of the shared log, and hands those that are left to the collector
/// of `--drain-to`.
///
/// # Errors
/// Rows are lost, or are left although another collector should have them.
async fn drain(
    writer: &Writer,
    deliverer: Option<&Writer>,
    options: &ServeOptions,
    target: Option<&Target>,
    stopping: &Stopping,
) -> Result<(), Box<dyn Error>> {
    let until = |time: Duration| {
        let stopping = stopping.clone();
        async move {
            tokio::select! {
                () = sleep(time) => {}
                () = stopping.immediate() => {}
            }
        }
    };
    let deadline = until(options.drain_seconds);
    let Some(target) = target else {
        let report = match deliverer {
            None => writer.drain_until(deadline).await,
            Some(deliverer) => {
                let delivered = deliverer.drain_until(until(options.drain_seconds));
                tokio::join!(writer.drain_until(deadline), delivered).0
            }
        };
        return if report.is_complete() || report.is_kept {
            Ok(())
        } else {
            Err(lost(&report).into())
        };
    };
    let give_up = until(options.handover.drain_to_seconds);
    let (report, handover) = writer.drain_to(deadline, target, give_up).await;
    if handover.rows > 0 {
        tracing::info!(
            %target, rows = handover.rows, blocks = handover.blocks, known = handover.blocks_known,
            "rows that ClickHouse did not take in time are handed over"
        );
    }
    match report.is_complete() {
        true => Ok(()),
        false if !report.is_kept => Err(lost(&report).into()),
        false => {
            let reasons: Vec<_> = handover.reasons.iter().map(ToString::to_string).collect();
            Err(format!(
                "{} rows wait in the spool of {} and are not handed over to {target}: {}; send them with `rowmill spool send`",
                report.rows_left(),
                options.data.display(),
                reasons.join("; ")
            )
            .into())
        }
    }
}

fn lost(report: &DrainReport) -> String {
    format!(
        "{} rows were not stored and are lost; {} more rows wait in the spool",
        report.rows_lost(),
        report.rows_left() - report.rows_lost()
    )
}

/// Returns the collector of `--drain-to`. Checks the options of the handover, so that a mistake does
/// not show at the stop.
///
/// # Errors
/// The secret or the URL is missing or invalid, or no listener takes rows.
fn drain_to(options: &ServeOptions) -> Result<Option<Target>, Box<dyn Error>> {
    let HandoverOptions { secret, drain_to, .. } = &options.handover;
    let has_listener = matches!(options.network.admin_listen, AdminListen::At(_));
    if options.shared_log.log.is_some() && (drain_to.is_some() || secret.secret()?.is_some()) {
        return Err("a shared log keeps the rows: leave out --drain-to and --handover-secret-file, or --log".into());
    }
    match drain_to {
        Some(url) => secret.target(url).map(Some),
        None if secret.secret()?.is_some() && !has_listener => {
            Err("--handover-secret-file needs a listener for the rows; name its address with --admin-listen".into())
        }
        None => Ok(None),
    }
}

/// Returns the TLS of senders, if the options name a certificate.
fn tls(options: &NetworkOptions) -> Result<Option<Tls>, Box<dyn Error>> {
    match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => {
            let tls = Tls::load(certificate, key)?;
            Ok(Some(match &options.tls_client_ca {
                None => tls,
                Some(ca) => tls.with_client_ca(ca, options.tls_client_cert.into())?,
            }))
        }
        _ => Ok(None),
    }
}

/// Checks that senders can show the certificate that a route wants.
fn check_client_ca(destinations: &[Destination], options: &NetworkOptions) -> Result<(), String> {
    if options.tls_client_ca.is_some() {
        return Ok(());
    }
    let wants_one = |route: &&Destination| {
        let verify = route.options.and_then(|options| options.verify.as_ref());
        verify.is_some_and(|verify| verify.scheme.name() == "client-certificate")
    };
    match destinations.iter().find(wants_one) {
        None => Ok(()),
        Some(route) => Err(format!(
            "the route `{}` wants the certificate of a sender, and no listener asks for one: set --tls-cert, --tls-key \
             and --tls-client-ca",
            route.path
        )),
    }
}

/// Returns the folder of the spool in the data folder.
pub(crate) fn spool_folder(data: &Path) -> PathBuf {
    data.join("spool")
}

/// Prints example requests on standard error.
fn print_examples(
    examples: &Examples,
    scheme: &str,
    address: SocketAddr,
    store: &ClickHouseUrl,
    reader: Option<&Account>,
) {
    // The address of all interfaces is not one to send to.
    let address = match address.ip().is_unspecified() {
        true => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        false => address,
    };
    let options = reader.map(|reader| reader.curl_option() + " ").unwrap_or_default();
    let collector = format!("{scheme}://{address}");
    let _ = writeln!(
        io::stderr(),
        "{}",
        examples.text(&collector, store.origin(), &options, store.database())
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::ffi::OsStr;

    use clap::Parser;
    use embedder::tables;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_route_that_wants_a_certificate_needs_the_ca_of_its_senders() {
        let network = |arguments: &[&str]| {
            let arguments = ["rowmill"].iter().chain(arguments);
            Cli::try_parse_from(arguments).map(|cli| cli.serve.network)
        };
        let destinations = tables::Routes::DESTINATIONS;
        let error = check_client_ca(destinations, &network(&[]).unwrap()).unwrap_err();
        assert!(
            error.starts_with("the route `signed/certified` wants") && error.contains("--tls-client-ca"),
            "{error}"
        );
        let tls = ["--tls-cert", "a", "--tls-key", "b", "--tls-client-ca", "c"];
        assert_eq!(check_client_ca(destinations, &network(&tls).unwrap()), Ok(()));
        assert_eq!(check_client_ca(&[], &network(&[]).unwrap()), Ok(()));
        // A CA without TLS would be of no use.
        assert!(network(&tls[4..]).is_err());
    }

    #[test]
    fn a_start_without_a_secret_fails_before_anything_else() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let arguments = ["rowmill", "--clickhouse", "http://127.0.0.1:1/stats", "--data"];
        let options = Cli::parse_from(arguments.map(OsStr::new).into_iter().chain([data.as_os_str()])).serve;
        let error = serve::<tables::Routes>(options, LogFormat::Text)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("no secret for the route `"), "{error}");
        assert!(
            error.contains("the environment variable EMBEDDER_") && error.ends_with(" is not set"),
            "{error}"
        );
        assert!(!data.exists());
    }
}
