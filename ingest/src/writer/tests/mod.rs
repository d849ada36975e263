//! A writer's start and end: the schema's state, draining, and dead letters.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use tokio::{net::TcpListener, time::sleep};

use super::*;
use crate::{
    deliver::tests::fake_server::{A, B, FakeServer, MAX_WAIT, SCHEMA, options, put},
    store::{ClickHouseUrl, Servers},
    sync::state::SchemaState,
};

#[tokio::test]
async fn draining_ends_at_its_deadline_and_reports_the_remaining_rows() {
    let server = FakeServer::start(|insert, _| if insert.is_into(&A) { 242 } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    for row in 0..3 {
        put(&writer, &A, row).unwrap();
        put(&writer, &B, row).unwrap();
    }
    let report = writer.drain(Duration::from_millis(300)).await;
    assert!(!report.is_complete());
    assert_eq!(report.rows_left(), 3);
    assert_eq!(
        report.left.iter().map(|counts| &*counts.table).collect::<Vec<_>>(),
        ["a"]
    );
    assert_eq!(put(&writer, &B, 9), Err(SpoolFull));

    let sent = server.inserts(&A).len();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(server.inserts(&A).len(), sent, "the deliveries have stopped");
}

#[tokio::test]
async fn a_drain_counts_lost_rows_apart_from_those_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    let unreachable = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url: ClickHouseUrl = format!("http://{unreachable}/stats").parse().unwrap();
    let start = || Writer::open(&SCHEMA, Servers::without_sync(url.clone()), &options(), &spool).unwrap();
    let writer = start();
    for row in 0..3 {
        put(&writer, &A, row).unwrap();
    }
    let report = writer.drain(Duration::from_millis(50)).await;
    assert_eq!((report.rows_left(), report.rows_lost(), report.is_kept), (3, 0, true));
    let counts = report.left[0].clone();
    let partly = TableCounts {
        rows_on_disk: 2,
        ..counts.clone()
    };
    let report = DrainReport::new(vec![counts, partly], true);
    assert_eq!((report.rows_left(), report.rows_lost(), report.is_kept), (6, 1, false));
    drop(writer);

    // Rows of a folder that is gone are lost, although they were on disk.
    let writer = start();
    std::fs::rename(&spool, folder.path().join("moved")).unwrap();
    std::fs::write(&spool, "").unwrap();
    put(&writer, &A, 3).unwrap();
    while !writer.status().is_disk_failing {
        sleep(Duration::from_millis(1)).await;
    }
    let report = writer.drain(Duration::from_millis(50)).await;
    assert_eq!((report.rows_left(), report.rows_lost(), report.is_kept), (4, 4, false));
}

#[tokio::test]
async fn rows_are_delivered_after_the_last_handle_is_dropped() {
    let server = FakeServer::start(|_, _| 0).await;
    let options = WriterOptions {
        block_age: options::MAX_BLOCK_AGE,
        ..options()
    };
    put(&Writer::start(&SCHEMA, server.servers(), &options), &B, 1).unwrap();
    while server.inserts(&B).is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn dead_letters_go_to_their_own_table() {
    let server = FakeServer::start(|_, _| 0).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    let dead_letter = DeadLetter {
        time: jiff::Timestamp::UNIX_EPOCH,
        id: 1,
        service: "wh",
        name: "mail",
        table: "a",
        column: "x",
        code: "wrong_kind",
        reason: "text for a number",
        payload: b"{}",
        ip: "",
    };
    writer.reject(&dead_letter, Ack::Accepted).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    assert_eq!(server.inserts(&REJECTED).len(), 1);
    assert_eq!(writer.counters()[2].rows_inserted, 1);
}

#[tokio::test]
async fn rows_wait_for_the_schema_if_no_server_responds() {
    let unreachable = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url: ClickHouseUrl = format!("http://{unreachable}/stats").parse().unwrap();
    let writer = Writer::start(&SCHEMA, url, &options());
    assert_eq!(writer.synced(MAX_WAIT).await.unwrap(), SchemaState::Unreachable);
    put(&writer, &A, 1).unwrap();
    let report = writer.drain(Duration::from_millis(50)).await;
    assert_eq!((report.rows_left(), writer.counters()[0].retries), (1, 0));
}

#[tokio::test]
async fn rows_wait_if_the_server_refuses_the_schema() {
    // AUTHENTICATION_FAILED
    let server = FakeServer::start(|_, _| 516).await;
    let url: ClickHouseUrl = format!("http://{}/stats", server.address).parse().unwrap();
    let writer = Writer::start(&SCHEMA, url, &options());
    put(&writer, &A, 1).unwrap();
    let error = writer.synced(MAX_WAIT).await.unwrap_err();
    assert!(!error.is_transient() && error.to_string().contains(&server.address.to_string()));
    assert_eq!(writer.schema_state(), SchemaState::Rejected);
    let report = writer.drain(Duration::from_millis(50)).await;
    assert_eq!((report.rows_left(), writer.counters()[0].retries), (1, 0));
}

#[tokio::test]
async fn draining_stops_when_its_deadline_completes() {
    let server = FakeServer::start(|_, _| 252).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &A, 1).unwrap();
    let deadline = async {
        while writer.counters()[0].retries == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert_eq!(writer.drain_until(deadline).await.rows_left(), 1);
}
