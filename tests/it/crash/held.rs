//! A table that waits for a person keeps no other waiting.

use std::time::Duration;

use rowmill::tables;
use rowmill_ingest::{TableCounts, WriterOptions, not_found};
use tower::{Layer, service_fn};

use crate::support::{collector, engine::Database, http, service::Served, wait_for};

fn counts(served: &Served, table: &str) -> TableCounts {
    let mut counts = served.writer.counters().into_iter();
    counts.find(|counts| &*counts.table == table).unwrap()
}

#[test]
fn a_held_table_does_not_delay_another() {
    let database = Database::named("held");
    let options = WriterOptions {
        block_age: Duration::from_millis(50),
        // The one that is held would keep the other out if it kept its turn.
        inserts_in_flight: 1,
        ..WriterOptions::default()
    };
    let data = tempfile::tempdir().unwrap();
    let served = Served::start_in(Some(data.path()), &database.url(), &tables::SCHEMA, options, |writer| {
        tables::layer(writer).layer(service_fn(not_found))
    });
    database.query("DROP TABLE mail_statistics");
    let mail = http::post_json(served.address, "/wh/mail", r#"{"message_id":"1"}"#);
    assert_eq!((mail.status, mail.header("x-rowmill-ack")), (200, Some("spooled")));
    wait_for("a refusal of the table", || {
        (counts(&served, "mail_statistics").retries > 0).then_some(())
    });

    // One block after the other, each of them while the other table is held.
    for number in 1..=5 {
        assert_eq!(http::post_json(served.address, "/track/ping", "{}").status, 200);
        database.wait_for_rows("ping", number);
        let mail = counts(&served, "mail_statistics");
        assert_eq!((mail.rows_pending, mail.rows_inserted), (1, 0));
    }
    assert_eq!(counts(&served, "ping").retries, 0);

    assert!(
        collector::run(&["apply", "--clickhouse", &database.url()])
            .status
            .success()
    );
    served.drain();
    assert_eq!(database.query("SELECT message_id FROM mail_statistics"), "1\n");
}
