//! Rows that ClickHouse refuses, and inserts that are too large for it.

use std::time::Duration;

use tokio::time::sleep;

use super::fake_server::{A, FakeServer, Insert, MAX_WAIT, SCHEMA, TOO_LARGE, options, put};
use crate::writer::Writer;

#[tokio::test]
async fn a_refused_row_does_not_affect_other_rows() {
    // CANNOT_READ_ALL_DATA if 0x77 is among the one-byte rows; the compressed body contains them
    // verbatim.
    let refusing = |insert: &Insert, _| {
        if insert.is_into(&A) && insert.body.contains(&0x77) {
            33
        } else {
            0
        }
    };
    let server = FakeServer::start(refusing).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    for row in [1, 2, 0x77, 4, 5, 6] {
        put(&writer, &A, row).unwrap();
    }
    while writer.counters()[0].rows_pending > 0 || writer.counters()[2].rows_inserted == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let counts = writer.counters();
    assert_eq!((counts[0].rows_inserted, counts[0].rows_refused), (5, 1));
    assert_eq!(counts[2].rows_inserted, 1);
    let tokens: Vec<_> = server
        .inserts(&A)
        .iter()
        .map(|insert| insert.parameters["insert_deduplication_token"].clone())
        .collect();
    let distinct: std::collections::HashSet<_> = tokens.iter().collect();
    assert_eq!(tokens.len(), distinct.len(), "each part has its own token");
}

#[tokio::test]
async fn what_is_too_large_is_sent_in_smaller_parts() {
    // A proxy responds 413 to more than three rows together.
    let too_large = |insert: &Insert, _| {
        let rows = insert.body.iter().filter(|byte| **byte == 0x77).count();
        if insert.is_into(&A) && rows > 3 { TOO_LARGE } else { 0 }
    };
    let server = FakeServer::start(too_large).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    for _ in 0..20 {
        put(&writer, &A, 0x77).unwrap();
    }
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let counts = &writer.counters()[0];
    assert_eq!((counts.rows_inserted, counts.rows_refused), (20, 0));
}

#[tokio::test]
async fn a_single_row_that_is_too_large_becomes_a_dead_letter() {
    let server = FakeServer::start(|insert: &Insert, _| if insert.is_into(&A) { TOO_LARGE } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &A, 0x77).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    assert_eq!(
        (writer.counters()[0].rows_refused, writer.counters()[2].rows_inserted),
        (1, 1)
    );
}

#[tokio::test]
async fn rows_that_are_refused_without_end_do_not_hold_those_that_come_later() {
    let refusing = |insert: &Insert, _| {
        let is_bad = insert.body.contains(&0x77);
        if insert.is_into(&A) && is_bad { 33 } else { 0 }
    };
    let server = FakeServer::start(refusing).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    for _ in 0..130 {
        put(&writer, &A, 0x77).unwrap();
    }
    while writer.counters()[0].rows_refused < 100 {
        sleep(Duration::from_millis(1)).await;
    }
    // After a hundred refusals, the delivery holds the table's rows until ClickHouse accepts one.
    put(&writer, &A, 1).unwrap();
    while writer.counters()[0].rows_pending > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let counts = &writer.counters()[0];
    assert_eq!((counts.rows_inserted, counts.rows_refused), (1, 130));
}

#[tokio::test]
async fn a_restart_does_not_give_a_table_that_refuses_every_row_a_hundred_more() {
    let folder = tempfile::tempdir().unwrap();
    let refusing = |insert: &Insert, _| if insert.is_into(&A) { 33 } else { 0 };
    let server = FakeServer::start(refusing).await;
    let mut refused = 0;
    for start in 0..4 {
        let writer = Writer::open(&SCHEMA, server.servers(), &options(), folder.path()).unwrap();
        if start == 0 {
            for _ in 0..450 {
                put(&writer, &A, 1).unwrap();
            }
            while writer.counters()[0].rows_refused < 100 {
                sleep(Duration::from_millis(1)).await;
            }
        } else {
            let before = server.inserts(&A).len();
            while server.inserts(&A).len() < before + 2 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        refused += writer.counters()[0].rows_refused;
        writer.drain(Duration::ZERO).await;
    }
    assert_eq!(refused, 100);
    // The operator repairs the table.
    let repaired = FakeServer::start(|_, _| 0).await;
    let writer = Writer::open(&SCHEMA, repaired.servers(), &options(), folder.path()).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    assert_eq!(writer.counters()[0].rows_inserted, 350);
}

#[tokio::test]
async fn a_table_that_refuses_every_row_is_held() {
    let server = FakeServer::start(|insert, _| if insert.is_into(&A) { 33 } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    for _ in 0..200 {
        put(&writer, &A, 1).unwrap();
    }
    while writer.counters()[2].rows_inserted < 100 {
        sleep(Duration::from_millis(1)).await;
    }
    assert!(!writer.drain(Duration::from_millis(300)).await.is_complete());
    let counts = writer.counters();
    assert_eq!((counts[0].rows_pending, counts[0].rows_refused), (100, 100));
}
