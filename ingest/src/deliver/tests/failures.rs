//! Errors and time-outs of a server, and servers that do not respond.

use std::time::Duration;

use tokio::{net::TcpListener, time::sleep};

use super::fake_server::{A, B, FakeServer, Insert, MAX_WAIT, NOT_CLICKHOUSE, SCHEMA, options, put};
use crate::{
    store::{ClickHouseUrl, servers::Servers},
    writer::{Writer, WriterOptions},
};

#[tokio::test]
async fn a_failing_table_delays_no_other_table_and_loses_no_row() {
    // UNKNOWN_TABLE or NETWORK_ERROR for one table, at first.
    for code in [60, 210] {
        let missing = move |insert: &Insert, n| if insert.is_into(&A) && n < 3 { code } else { 0 };
        let server = FakeServer::start(missing).await;
        let writer = Writer::start(&SCHEMA, server.servers(), &options());
        put(&writer, &A, 1).unwrap();
        while server.inserts(&A).is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
        put(&writer, &B, 2).unwrap();
        while writer.counters()[1].rows_inserted == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(writer.counters()[0].rows_pending, 1);
        assert!(writer.drain(MAX_WAIT).await.is_complete());
        assert_eq!(writer.counters()[0].rows_inserted, 1);
    }
}

#[tokio::test]
async fn rows_without_ids_get_more_time_and_the_same_token_after_time_outs() {
    let server = FakeServer::start_slow(Duration::from_millis(500), |_, _| 0).await;
    let options = WriterOptions {
        insert_timeout: Duration::from_millis(150),
        ..options()
    };
    let writer = Writer::start(&SCHEMA, server.servers(), &options);
    for row in 0..4 {
        put(&writer, &A, row).unwrap();
    }
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&A);
    assert!(inserts.len() > 2, "{inserts:?}");
    assert!(inserts.iter().all(|insert| *insert == inserts[0]), "{inserts:?}");
    assert_eq!(writer.counters()[0].rows_inserted, 4);
}

#[tokio::test]
async fn an_answer_that_does_not_confirm_the_insert_is_not_a_success() {
    let server = FakeServer::start(|_, n| if n < 3 { NOT_CLICKHOUSE } else { 0 }).await;
    let writer = Writer::start(&SCHEMA, server.servers(), &options());
    put(&writer, &A, 1).unwrap();
    while server.inserts(&A).len() < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(writer.counters()[0].rows_inserted, 0);
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    let inserts = server.inserts(&A);
    assert_eq!((inserts.len(), writer.counters()[0].rows_inserted), (3, 1));
    assert!(inserts.iter().all(|insert| *insert == inserts[0]));
}

#[tokio::test]
async fn another_server_replaces_an_unreachable_one() {
    let unreachable = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let unreachable = format!("http://{unreachable}/stats").parse::<ClickHouseUrl>().unwrap();
    let server = FakeServer::start(|_, _| 0).await;
    let servers = Servers::without_sync_of([unreachable, server.url()]);
    let writer = Writer::start(&SCHEMA, servers, &options());
    put(&writer, &A, 1).unwrap();
    put(&writer, &B, 1).unwrap();
    assert!(writer.drain(MAX_WAIT).await.is_complete());
    assert_eq!(server.inserts(&A).len() + server.inserts(&B).len(), 2);
}

#[tokio::test]
async fn rows_wait_for_an_unreachable_clickhouse() {
    let unreachable = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{unreachable}/stats").parse::<ClickHouseUrl>().unwrap();
    let writer = Writer::start(&SCHEMA, Servers::without_sync(url), &options());
    put(&writer, &A, 1).unwrap();
    while writer.counters()[0].retries < 2 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(writer.counters()[0].rows_pending, 1);
}
