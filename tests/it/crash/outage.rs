//! An outage of ClickHouse under full load: memory and disk stay within their limits, and no
//! acknowledged event is lost.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rowmill::tables;
use rowmill_ingest::{Writer, WriterOptions, server::not_found};
use tower::{Layer, service_fn};

use super::{
    clients::Clients,
    event::Target,
    proxy::Proxy,
    report::{Found, Place},
    tables::{MAIL, in_mail},
};
use crate::support::{engine::Database, http, service::Served, wait_for};

/// Less than three blocks. Without a limit there would be three: one being sent, one being written
/// to disk, and the open one.
const MEMORY_BYTES: usize = 256 << 10;
const DISK_BYTES: u64 = 16 << 20;

const LONG_MAIL: Target = Target {
    texts: &["event", "email"],
    padding: 8_000,
    ..MAIL
};

/// Counts the webhooks only: the pixel's event may have been accepted or not.
const PLACE: Place = in_mail(0);

/// The maximum of each measurement.
#[derive(Debug, Default)]
struct Peak {
    memory: usize,
    disk: u64,
    folder: u64,
    /// Whether the writer reported a failing disk. A full disk is not a failing one.
    has_failed: bool,
}

/// Returns the total length of a folder's files. A file that has just been removed counts as 0.
fn length_of(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().flatten();
    files
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum()
}

/// Measures every millisecond until `is_over` is set.
fn watch(writer: &Writer, folder: &Path, is_over: &AtomicBool) -> Peak {
    let mut peak = Peak::default();
    while !is_over.load(Ordering::SeqCst) {
        peak.memory = peak.memory.max(writer.status().memory_bytes);
        peak.disk = peak.disk.max(writer.status().disk_bytes);
        peak.folder = peak.folder.max(length_of(folder));
        peak.has_failed |= writer.status().is_disk_failing;
        thread::sleep(Duration::from_millis(1));
    }
    peak
}

#[test]
fn an_outage_under_load_stays_within_its_limits_and_loses_nothing() {
    let database = Database::named("outage");
    let proxy = Proxy::start(database.engine);
    let url = database.url_through(proxy.address);
    let data = tempfile::tempdir().unwrap();
    let options = WriterOptions {
        block_age: Duration::from_millis(50),
        // Less than half of the memory, which is the share of one table.
        block_bytes: 112 << 10,
        memory_bytes: MEMORY_BYTES,
        disk_bytes: DISK_BYTES,
        ..WriterOptions::default()
    };
    let served = Served::start_in(Some(data.path()), &url, &tables::SCHEMA, options, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let is_over = Arc::new(AtomicBool::new(false));
    let watching = {
        let (writer, folder, is_over) = (served.writer.clone(), data.path().to_owned(), Arc::clone(&is_over));
        thread::spawn(move || watch(&writer, &folder, &is_over))
    };

    proxy.set_server(None);
    let clients = Clients::start(served.address, &[LONG_MAIL]);
    // One table may use half of the disk minus the reserve. The clients check that each refusal has
    // a `Retry-After` header.
    wait_for("a full disk", || {
        (served.writer.status().disk_bytes > DISK_BYTES / 3).then_some(())
    });
    let unavailable = clients.unavailable();
    wait_for("a full spool", || {
        (clients.unavailable() > unavailable + 200).then_some(())
    });
    let acknowledged = clients.acknowledged();
    assert!(acknowledged > 100, "{acknowledged}");
    let pixel = http::get(served.address, "/pixel/mail?event=open");
    assert_eq!((pixel.status, pixel.body.len()), (200, 43));

    proxy.set_server(Some(database.engine));
    wait_for("free capacity", || {
        (clients.acknowledged() > acknowledged + 200).then_some(())
    });
    let sent = clients.stop();
    served.drain();
    is_over.store(true, Ordering::SeqCst);
    let peak = watching.join().unwrap();
    println!("{acknowledged} acknowledged in the outage, {peak:?}");
    assert!(!peak.has_failed, "{peak:?}");
    assert!(
        peak.memory <= MEMORY_BYTES && peak.disk <= DISK_BYTES && peak.folder <= DISK_BYTES,
        "{peak:?}"
    );
    let found = Found::count(&database, &sent, &PLACE);
    assert!(found.is_exact(), "{found:?}");
}
