#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt;
use rowmill_ingest::{Ack, WriterOptions, server::not_found, store::Servers};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tower::{ServiceExt, service_fn};

use super::*;
use crate::tables;

/// Returns the URL of a ClickHouse that does not run.
async fn unreachable_clickhouse() -> ClickHouseUrl {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    format!("http://{unused}/stats").parse().unwrap()
}

async fn ready(writer: &Writer, store: ClickHouseUrl) -> (StatusCode, String) {
    get("/ready", writer, store).await
}

async fn get(page: &str, writer: &Writer, store: ClickHouseUrl) -> (StatusCode, String) {
    let (_stop, stopping) = Stopping::new();
    let pages = PagesLayer::new(writer.clone(), None, vec![store], stopping, Connections::default(), &[])
        .layer(service_fn(not_found));
    let request = Request::get(page).body(()).unwrap();
    let response = pages.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn only_the_store_is_not_ready_while_clickhouse_is_unavailable() {
    let store = unreachable_clickhouse().await;
    // With schema synchronization and without it.
    for writer in [
        Writer::start(&tables::SCHEMA, store.clone(), &WriterOptions::default()),
        Writer::start(
            &tables::SCHEMA,
            Servers::without_sync(store.clone()),
            &WriterOptions::default(),
        ),
    ] {
        for page in ["/ready?store=1", "/ready?a=b&store=1"] {
            let (status, text) = get(page, &writer, store.clone()).await;
            assert_eq!(
                (status, &*text),
                (StatusCode::SERVICE_UNAVAILABLE, "ClickHouse does not answer\n")
            );
        }
        for page in ["/ready", "/ready?store=0", "/ready?a=b"] {
            let (status, text) = get(page, &writer, store.clone()).await;
            assert_eq!((status, &*text), (StatusCode::OK, "ready\n"), "{page}");
        }
    }
}

#[tokio::test]
async fn concurrent_requests_share_one_connection_to_clickhouse() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store: ClickHouseUrl = format!("http://{}/stats", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    // A server that closes each connection after 100 ms without an answer.
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                sleep(Duration::from_millis(100)).await;
                drop(stream);
            });
        }
    });
    let unreachable = Servers::without_sync(unreachable_clickhouse().await);
    let writer = Writer::start(&tables::SCHEMA, unreachable, &WriterOptions::default());
    let (_stop, stopping) = Stopping::new();
    let pages =
        PagesLayer::new(writer, None, vec![store], stopping, Connections::default(), &[]).layer(service_fn(not_found));
    let request = || pages.clone().oneshot(Request::get("/ready?store=1").body(()).unwrap());
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        requests.spawn(request());
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    // Nor does a later request start another ping, before a second is over.
    assert!(request().await.is_ok());
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    sleep(PING_INTERVAL).await;
    assert!(request().await.is_ok());
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn not_ready_while_memory_is_full() {
    let store = unreachable_clickhouse().await;
    let options = WriterOptions {
        memory_bytes: 64 << 10,
        ..WriterOptions::default()
    };
    let writer = Writer::start(&tables::SCHEMA, store.clone(), &options);
    // No single table may use all the memory, but all of them together may.
    for &table in tables::SCHEMA.tables {
        while writer.append(table, Ack::Accepted, |row| row.push(0)).is_ok() {}
    }
    let (status, text) = ready(&writer, store).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("memory or disk for events is nearly full"));
    // For each table, one row was not accepted.
    assert_eq!(lines.count(), tables::SCHEMA.tables.len(), "{text}");
    assert!(
        text.contains(": rows not accepted since the start because memory or disk was full: 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn not_ready_while_the_disk_fails() {
    let (store, folder) = (unreachable_clickhouse().await, tempfile::tempdir().unwrap());
    let options = WriterOptions::default();
    let spool = folder.path().join("spool");
    let writer = Writer::open(&tables::SCHEMA, store.clone(), &options, &spool).unwrap();
    // The spool recreates a missing folder, but it cannot if a file has the folder's name.
    std::fs::remove_dir_all(&spool).unwrap();
    std::fs::write(&spool, "").unwrap();
    let appended = writer.append(tables::SCHEMA.tables[0], Ack::Accepted, |row| row.push(0));
    assert!(appended.is_ok());
    while !writer.status().is_disk_failing {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (status, text) = ready(&writer, store).await;
    assert_eq!(
        (status, &*text),
        (StatusCode::SERVICE_UNAVAILABLE, "the last write to the spool failed\n")
    );
}
