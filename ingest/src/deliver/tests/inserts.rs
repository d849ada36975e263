//! The statement, the bytes and the token of each insert.

use std::time::Duration;

use tokio::time::sleep;

use super::fake_server::{A, B, FakeServer, Insert, LATER_B, LATER_SCHEMA, MAX_WAIT, SCHEMA, options, put};
use crate::{ack::Ack, writer::Writer};

#[tokio::test]
async fn each_try_sends_the_same_bytes_and_token() {
    // TOO_MANY_PARTS, then MEMORY_LIMIT_EXCEEDED, then success.
    let server = FakeServer::start(|_, n| [252, 241, 0][n - 1]).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &A, 1).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());

    let inserts = server.inserts(&A);
    assert_eq!(inserts.len(), 3);
    assert!(inserts.iter().all(|insert| *insert == inserts[0]));
    let parameters = &inserts[0].parameters;
    assert_eq!(parameters["query"], "INSERT INTO `a` (`x`) FORMAT RowBinary");
    assert_eq!(parameters["database"], "stats");
    assert!(parameters["insert_deduplication_token"].starts_with("a:"));
    for (name, value) in [
        ("insert_deduplicate", "1"),
        ("async_insert", "0"),
        ("wait_for_async_insert", "1"),
    ] {
        assert_eq!(parameters[name], value);
    }
    let counts = &writer.counters()[0];
    assert_eq!((counts.rows_inserted, counts.inserts, counts.retries), (1, 1, 2));
    assert_eq!((counts.rows_pending, counts.bytes_pending), (0, 0));
}

#[tokio::test]
async fn rows_are_sent_as_columns_if_their_types_allow_it() {
    // MEMORY_LIMIT_EXCEEDED at first: the next try sends the same bytes.
    let server = FakeServer::start(|_, n| if n < 3 { 241 } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &B, 0x77).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&B);
    assert_eq!(inserts.len(), 3);
    assert!(inserts.iter().all(|insert| *insert == inserts[0]));
    assert_eq!(inserts[0].parameters["query"], "INSERT INTO `b` (`x`) FORMAT Native");
    // A single LZ4 literal, after the checksum and two lengths.
    assert!(
        inserts[0].body.ends_with(b"\x01\x01\x01x\x05UInt8\x77"),
        "{:?}",
        inserts[0]
    );
}

#[tokio::test]
async fn rows_that_do_not_match_their_types_are_sent_as_rows() {
    let server = FakeServer::start(|_, _| 0).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    let receipt = writer.append(&B, Ack::Accepted, |out| out.extend_from_slice(b"\x77\x78"));
    assert!(receipt.is_ok());
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&B);
    assert_eq!(inserts.len(), 1);
    assert_eq!(inserts[0].parameters["query"], "INSERT INTO `b` (`x`) FORMAT RowBinary");
    assert!(inserts[0].body.ends_with(b"\x77\x78"));
}

#[tokio::test]
async fn rows_of_an_earlier_process_are_sent_with_their_own_columns_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let query = |insert: &Insert| insert.parameters["query"].clone();
    let token = |insert: &Insert| insert.parameters["insert_deduplication_token"].clone();
    // TABLE_IS_READ_ONLY, as long as the first process runs.
    let server = FakeServer::start(|_, _| 242).await;
    let writer = Writer::open(&SCHEMA, server.servers(), &options(), folder.path()).unwrap();
    put(&writer, &B, 0x77).unwrap();
    while server.inserts(&B).is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(!writer.drain(Duration::ZERO).await.is_complete());
    let before = server.inserts(&B);
    assert_eq!(query(&before[0]), "INSERT INTO `b` (`x`) FORMAT Native");
    drop(writer);

    let server = FakeServer::start(|_, _| 0).await;
    let writer = Writer::open(&LATER_SCHEMA, server.servers(), &options(), folder.path()).unwrap();
    let later = writer.append(&LATER_B, Ack::Accepted, |out| out.extend_from_slice(b"\x11\x22"));
    assert!(later.is_ok());
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&B);
    assert_eq!(
        inserts.iter().map(query).collect::<Vec<_>>(),
        [
            "INSERT INTO `b` (`x`) FORMAT Native",
            "INSERT INTO `b` (`w`, `x`) FORMAT Native"
        ]
    );
    assert!(
        inserts[0].body.ends_with(b"\x01\x01\x01x\x05UInt8\x77"),
        "{:?}",
        inserts[0]
    );
    assert_eq!(token(&inserts[0]), token(&before[0]));
}
