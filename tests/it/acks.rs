//! The acknowledgement of an accepted event: whether its row is in memory, on disk or in its table.

use std::{fs, time::Duration};

use embedder::tables;
use rowmill_ingest::{EventOptions, WriterOptions, server::not_found};
use tempfile::TempDir;
use tower::{Layer, service_fn};

use crate::support::{
    engine::Database,
    http::{self, Answer},
    service::Served,
    wait_for,
};

struct Collector {
    database: Database,
    spool: TempDir,
    served: Served,
}

impl Collector {
    fn start(test: &str) -> Self {
        let (database, spool) = (Database::create(test), tempfile::tempdir().unwrap());
        let served = Served::start_in(
            Some(spool.path()),
            &database.url(),
            &tables::SCHEMA,
            options(),
            |writer| {
                let events = EventOptions {
                    ack_timeout: Duration::from_millis(300),
                    ..EventOptions::default()
                };
                tables::layer(writer)
                    .unwrap()
                    .with_options(&events)
                    .layer(service_fn(not_found))
            },
        );
        Self {
            database,
            spool,
            served,
        }
    }

    fn post(&self, path: &str, number: u32, ack: Option<&str>) -> Answer {
        let headers: Vec<_> = [("Content-Type", "application/json")]
            .into_iter()
            .chain(ack.map(|ack| ("X-Rowmill-Ack", ack)))
            .collect();
        let body = format!(r#"{{"number":{number}}}"#);
        http::send(self.served.address, "POST", path, &headers, body.as_bytes())
    }
}

fn options() -> WriterOptions {
    WriterOptions {
        block_age: Duration::from_millis(20),
        ..WriterOptions::default()
    }
}

/// Returns the status and the acknowledgement of an answer.
fn status_and_ack(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("x-rowmill-ack"))
}

#[test]
fn each_route_answers_with_its_acknowledgement() {
    let collector = Collector::start("acks");
    assert_eq!(
        status_and_ack(&collector.post("/wh/plain", 1, None)),
        (200, Some("spooled"))
    );
    assert_eq!(
        status_and_ack(&collector.post("/wh/accepted", 2, None)),
        (200, Some("accepted"))
    );
    for number in 3..8 {
        assert_eq!(
            status_and_ack(&collector.post("/wh/stored", number, None)),
            (200, Some("stored"))
        );
        let there = format!("SELECT count() FROM receipts WHERE number = {number}");
        assert_eq!(
            collector.database.query(&there),
            "1\n",
            "the row is in its table before the answer"
        );
    }
    let pixel = http::get(collector.served.address, "/pixel/plain?number=8");
    assert_eq!((status_and_ack(&pixel), pixel.body.len()), ((200, None), 43));
    let pixel = http::get(collector.served.address, "/pixel/stored?number=9");
    assert_eq!((status_and_ack(&pixel), pixel.body.len()), ((200, Some("stored")), 43));
    collector.served.drain();
    assert_eq!(collector.database.count("receipts"), 9);
}

#[test]
fn a_request_chooses_its_acknowledgement_if_the_route_allows_it() {
    let collector = Collector::start("acks_header");
    for ack in ["accepted", "spooled", "stored"] {
        assert_eq!(
            status_and_ack(&collector.post("/wh/asked", 1, Some(ack))),
            (200, Some(ack))
        );
    }
    assert_eq!(
        status_and_ack(&collector.post("/wh/asked", 1, None)),
        (200, Some("spooled"))
    );
    assert_eq!(
        status_and_ack(&collector.post("/wh/accepted", 1, Some("stored"))),
        (200, Some("accepted"))
    );
    let misspelled = collector.post("/wh/asked", 1, Some("store"));
    assert_eq!(misspelled.status, 400);
    assert!(
        misspelled.json()["reason"].as_str().unwrap().contains("`stored`"),
        "{misspelled:?}"
    );
    collector.served.drain();
    assert_eq!(
        collector.database.count("receipts"),
        5,
        "a misspelled header records no event"
    );
}

#[test]
fn a_row_that_is_stored_too_late_is_acknowledged_as_spooled() {
    let collector = Collector::start("acks_late");
    collector.database.query("RENAME TABLE receipts TO elsewhere");
    let late = collector.post("/wh/stored", 1, None);
    assert_eq!(status_and_ack(&late), (503, Some("spooled")));
    assert_eq!(
        late.header("retry-after"),
        None,
        "the client must not send the row again"
    );
    assert_eq!(
        status_and_ack(&collector.post("/wh/plain", 2, None)),
        (200, Some("spooled"))
    );
    collector.database.query("RENAME TABLE elsewhere TO receipts");
    collector.database.wait_for_rows("receipts", 2);
}

#[test]
fn a_row_that_clickhouse_refuses_is_not_acknowledged_as_stored() {
    let collector = Collector::start("acks_refused");
    collector
        .database
        .query("ALTER TABLE receipts ADD CONSTRAINT small CHECK number < 10");
    assert_eq!(
        status_and_ack(&collector.post("/wh/stored", 11, None)),
        (503, Some("spooled"))
    );
    assert_eq!(
        status_and_ack(&collector.post("/wh/stored", 1, None)),
        (200, Some("stored"))
    );
    collector.served.drain();
    assert_eq!(collector.database.count("receipts"), 1);
    assert_eq!(
        collector.database.query("SELECT table, code FROM rejected"),
        "receipts\tclickhouse-469\n"
    );
}

#[test]
fn a_failing_disk_spools_no_row_and_rows_in_memory_still_arrive() {
    let collector = Collector::start("acks_disk");
    // The collector recreates a missing folder, but it cannot if a file has the folder's name.
    fs::remove_dir_all(collector.spool.path()).unwrap();
    fs::write(collector.spool.path(), b"").unwrap();
    let failed = collector.post("/wh/plain", 1, None);
    assert_eq!(status_and_ack(&failed), (503, Some("accepted")));
    assert_eq!(failed.header("retry-after"), Some("2"));
    // From now on, the collector knows that the disk fails and does not try to write.
    let refused = collector.post("/wh/plain", 2, None);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("2")));
    assert_eq!(
        status_and_ack(&collector.post("/wh/accepted", 3, None)),
        (200, Some("accepted"))
    );
    assert_eq!(http::get(collector.served.address, "/pixel/plain?number=4").status, 200);
    // Rows in memory still reach ClickHouse.
    wait_for("the rows that are only in memory", || {
        (collector
            .database
            .query("SELECT count() FROM receipts WHERE number IN (1, 3, 4)")
            == "3\n")
            .then_some(())
    });

    fs::remove_file(collector.spool.path()).unwrap();
    wait_for("another write to the disk", || {
        (status_and_ack(&collector.post("/wh/plain", 5, None)) == (200, Some("spooled"))).then_some(())
    });
}

#[test]
fn a_row_in_a_deleted_segment_is_not_acknowledged_as_spooled() {
    let collector = Collector::start("acks_deleted");
    assert_eq!(
        status_and_ack(&collector.post("/wh/plain", 1, None)),
        (200, Some("spooled"))
    );
    fs::remove_dir_all(collector.spool.path()).unwrap();
    // The row is in memory, and the disk has failed.
    let noticed = collector.post("/wh/plain", 2, None);
    assert_eq!(status_and_ack(&noticed), (503, Some("accepted")));
    wait_for("a new folder", || {
        (status_and_ack(&collector.post("/wh/plain", 3, None)) == (200, Some("spooled"))).then_some(())
    });
    let is_segment = |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "spool");
    let files = fs::read_dir(collector.spool.path()).unwrap();
    assert!(files.map(|file| file.unwrap().path()).any(|path| is_segment(&path)));
}

#[test]
fn without_a_spool_no_row_is_acknowledged_as_spooled() {
    let database = Database::create("acks_memory");
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    let plain = http::post_json(served.address, "/wh/plain", r#"{"number":1}"#);
    assert_eq!(status_and_ack(&plain), (200, Some("accepted")));
    let stored = http::post_json(served.address, "/wh/stored", r#"{"number":2}"#);
    assert_eq!(status_and_ack(&stored), (200, Some("stored")));
    assert_eq!(database.count("receipts"), 2);
}
