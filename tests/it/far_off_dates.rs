//! `max_age` and `max_ahead`: a client that chooses dates cannot create any number of partitions.

use std::time::{SystemTime, UNIX_EPOCH};

use embedder::tables;
use rowmill_ingest::server::not_found;
use serde_json::json;
use tower::{Layer, service_fn};

use crate::support::{engine::Database, http, service::Served};

const NDJSON: &[(&str, &str)] = &[("Content-Type", "application/x-ndjson")];
const DAY: u64 = 86_400_000;

/// Returns the current time in milliseconds, the unit of the column's type.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis().try_into().unwrap()
}

fn start(name: &str) -> (Database, Served) {
    let database = Database::create(name);
    let served = Served::start(&database, &tables::SCHEMA, |writer| {
        tables::layer(writer).unwrap().layer(service_fn(not_found))
    });
    (database, served)
}

#[test]
fn an_event_with_a_far_off_date_is_refused() {
    let (database, served) = start("far_off");
    for (body, refused) in [
        (json!({"paid_at": now()}), None),
        (json!({"paid_at": now() - 9 * DAY}), None),
        (json!({"paid_at": now() + DAY, "due": null}), None),
        // The collector's own default is not a client's choice.
        (json!({}), None),
        (json!({"due": "1999-12-31"}), None),
        (json!({"paid_at": now() - 11 * DAY}), Some(("paid_at", "DateTime64(3)"))),
        (json!({"paid_at": now() + 3 * DAY}), Some(("paid_at", "DateTime64(3)"))),
        (
            json!({"paid_at": "1900-01-01 00:00:00"}),
            Some(("paid_at", "DateTime64(3)")),
        ),
        (json!({"due": "2149-06-06"}), Some(("due", "Nullable(Date)"))),
    ] {
        let answer = http::post_json(served.address, "/wh/dated", &body.to_string());
        let Some((column, data_type)) = refused else {
            assert_eq!(answer.status, 200, "{body}");
            continue;
        };
        assert_eq!(answer.status, 400, "{body}");
        let text = String::from_utf8_lossy(&answer.body);
        for part in [column, data_type, "far-off-date"] {
            assert!(text.contains(part), "no {part} in {text}");
        }
    }
    served.drain();
    assert_eq!(database.count("dated"), 5);
    assert_eq!(
        database.query("SELECT groupArray((column, code)) FROM (SELECT column, code FROM rejected ORDER BY id)"),
        "[('paid_at','far-off-date'),('paid_at','far-off-date'),('paid_at','far-off-date'),('due','far-off-date')]\n"
    );
}

#[test]
fn lines_of_any_number_of_days_have_few_partitions() {
    let (database, served) = start("many_days");
    let lines: String = (0..2_000_u64)
        .map(|day| format!("{}\n", json!({"paid_at": now() - day * DAY})))
        .collect();
    http::send(served.address, "POST", "/wh/dated", NDJSON, lines.as_bytes());
    served.drain();
    let rows = database.count("dated");
    assert!((10..=11).contains(&rows), "{rows}");
    let partitions = database
        .query("SELECT uniqExact(partition) FROM system.parts WHERE database = currentDatabase() AND table = 'dated'");
    let partitions: u64 = partitions.trim().parse().unwrap();
    assert!((1..=11).contains(&partitions), "{partitions}");
}
