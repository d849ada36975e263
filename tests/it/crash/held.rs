//! A table whose rows are held does not delay another table.

use std::time::Duration;

use rowmill::tables;
use rowmill_ingest::{EventOptions, WriterOptions, server::not_found, writer::TableCounts};
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, proxy::Proxy, service::Served, wait_for};

/// The number of events of the held table, two in a block.
const HELD: usize = 7;

/// The number of events of the other table. As many attempts of the held table would take ten
/// minutes, but an answer for the other table waits for at most ten seconds.
const OTHERS: u64 = 20;

fn counts(served: &Served, table: &str) -> TableCounts {
    let mut counts = served.writer.status().tables.into_iter();
    counts.find(|counts| &*counts.table == table).unwrap()
}

#[test]
fn a_held_table_does_not_delay_another() {
    let database = Database::named("held");
    let proxy = Proxy::start(database.engine);
    let options = WriterOptions {
        block_rows: 2,
        block_age: Duration::from_millis(50),
        // A held table that kept its turn would block the other table.
        inserts_in_flight: 1,
        ..WriterOptions::default()
    };
    let data = tempfile::tempdir().unwrap();
    let url = database.url_through(proxy.address);
    let served = Served::start_in(Some(data.path()), &url, &tables::SCHEMA, options, |writer| {
        let events = EventOptions {
            ack_by_header: true,
            ..EventOptions::default()
        };
        tables::layer(writer)
            .unwrap()
            .with_options(&events)
            .layer(service_fn(not_found))
    });
    let post = |path: &str, ack: &str, body: &str| {
        let headers = [("Content-Type", "application/json"), ("X-Rowmill-Ack", ack)];
        let answer = http::send(served.address, "POST", path, &headers, body.as_bytes());
        assert_eq!(
            (answer.status, answer.header("x-rowmill-ack")),
            (200, Some(ack)),
            "{path}"
        );
    };

    database.query("RENAME TABLE mail_statistics TO elsewhere");
    for number in 0..HELD {
        post("/wh/mail", "spooled", &format!(r#"{{"message_id":"{number}"}}"#));
    }
    let held = wait_for("a second refusal of the table", || {
        let mail = counts(&served, "mail_statistics");
        (mail.retries >= 2).then_some(mail)
    });
    assert_eq!(held.blocks_pending, HELD.div_ceil(2) as u64);

    // One block after the other: each is in its table before the next is sent.
    for _ in 0..OTHERS {
        post("/track/ping", "stored", "{}");
    }
    let (mail, ping) = (counts(&served, "mail_statistics"), counts(&served, "ping"));
    assert_eq!((mail.rows_pending, mail.rows_inserted), (HELD as u64, 0));
    assert_eq!((ping.inserts, ping.retries, ping.rows_inserted), (OTHERS, 0, OTHERS));
    let tries = proxy.seen().matches("INSERT+INTO+%60ping%60").count();
    assert_eq!(tries as u64, OTHERS, "each block is sent once");
    let tries = mail.retries - held.retries;
    assert!(
        tries < OTHERS,
        "the other table waits for tries of the held one: {tries}"
    );
    assert_eq!(database.count("ping"), OTHERS);

    database.query("RENAME TABLE elsewhere TO mail_statistics");
    served.drain();
    assert_eq!(
        database.query("SELECT arraySort(groupArray(toUInt32(message_id))) FROM mail_statistics"),
        "[0,1,2,3,4,5,6]\n"
    );
    assert_eq!(database.count("rejected"), 0);
}
