//! Rate limits: how many requests an address or a route may send, and the answers to excess
//! requests.

use embedder::tables;
use rowmill_ingest::{EventOptions, WriterOptions, layer::RateLimit, server::not_found};
use tower::{Layer, service_fn};

use crate::support::{
    collector::Collector,
    engine::Database,
    http::{self, Answer},
    service::Served,
};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn post(collector: &Collector, path: &str, client: &str, body: &str) -> Answer {
    let headers = [JSON, ("X-Real-IP", client)];
    http::send(collector.address, "POST", path, &headers, body.as_bytes())
}

/// Returns after how many seconds the sender may repeat a refused request.
fn retry_after_s(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 429, "{}", answer.text());
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[test]
fn only_the_address_over_its_limit_is_refused() {
    let database = Database::named("rate_address");
    let collector = Collector::start_with(&database.url(), &["--rate-limit-per-ip", "3/h"]);
    let (greedy, other) = ("192.0.2.1", "192.0.2.2");
    for _ in 0..3 {
        assert_eq!(post(&collector, "/wh/mail", greedy, "{}").status, 200);
    }
    let refused = post(&collector, "/wh/mail", greedy, "{}");
    assert!((1_000..=1_200).contains(&retry_after_s(&refused)), "a third of an hour");
    assert_eq!(refused.text(), r#"{"message":"Too Many Requests"}"#);
    // An invalid event over the limit does not become a dead letter.
    assert_eq!(post(&collector, "/wh/mail", greedy, "{").status, 429);
    assert_eq!(post(&collector, "/wh/mail", other, "{}").status, 200);

    // A subscriber has a whole /64 of IPv6 addresses, so they share a limit.
    for host in 1..=3 {
        assert_eq!(
            post(&collector, "/wh/mail", &format!("2001:db8::{host}"), "{}").status,
            200
        );
    }
    assert_eq!(post(&collector, "/wh/mail", "2001:db8::4", "{}").status, 429);
    assert_eq!(post(&collector, "/wh/mail", "2001:db8:0:1::4", "{}").status, 200);

    // GET requests for pixels and redirects are not limited. POST requests to them are, but they
    // get the usual answer.
    let get = |path: &str| http::send(collector.address, "GET", path, &[("X-Real-IP", greedy)], &[]);
    for _ in 0..5 {
        assert_eq!(get("/pixel/mail?event=open").status, 200);
        assert_eq!(get("/redir/mail?to=https%3A%2F%2Fexample.org").status, 302);
    }
    let picture = post(&collector, "/pixel/mail", greedy, "{}");
    assert_eq!(
        (picture.status, picture.header("content-type")),
        (200, Some("image/gif"))
    );
    let link = post(&collector, "/redir/mail?to=https%3A%2F%2Fexample.org", greedy, "{}");
    assert_eq!(
        (link.status, link.header("location")),
        (302, Some("https://example.org"))
    );

    assert_eq!(collector.metric("rowmill_requests_refused_total{status=\"429\"}"), 3);
    assert_eq!(
        collector.metric("rowmill_events_refused_total{code=\"rate-limited\"}"),
        5
    );
    assert_eq!(collector.stop().code, Some(0));
    assert_eq!((database.count("mail_statistics"), database.count("rejected")), (18, 0));
}

fn served(database: &Database, options: EventOptions) -> Served {
    Served::start_with(database, &tables::SCHEMA, WriterOptions::default(), |writer| {
        tables::layer(writer)
            .unwrap()
            .with_options(&options)
            .layer(service_fn(not_found))
    })
}

#[test]
fn a_route_has_the_limit_of_its_schema() {
    let database = Database::create("rate_route");
    let served = served(&database, EventOptions::default());
    let ndjson = ("Content-Type", "application/x-ndjson");
    let post = |path: &str, headers: &[(&str, &str)], body: &str| {
        http::send(served.address, "POST", path, headers, body.as_bytes())
    };
    // A request of many lines counts as one.
    assert_eq!(
        post("/wh/limited", &[ndjson], "{\"number\":1}\n{\"number\":2}\n").status,
        200
    );
    for _ in 0..2 {
        assert_eq!(post("/wh/limited", &[JSON], r#"{"number":3}"#).status, 200);
    }
    for headers in [[JSON], [ndjson]] {
        assert!(retry_after_s(&post("/wh/limited", &headers, r#"{"number":4}"#)) <= 1_200);
    }
    for _ in 0..5 {
        assert_eq!(post("/wh/plain", &[JSON], r#"{"number":5}"#).status, 200);
        let picture = http::get(served.address, "/pixel/limited?number=6");
        assert_eq!(
            (picture.status, picture.header("content-type")),
            (200, Some("image/gif"))
        );
    }
    served.drain();
    assert_eq!(
        database.query("SELECT groupArray(number) FROM (SELECT * FROM receipts ORDER BY number)"),
        "[1,2,3,3,5,5,5,5,5,6]\n"
    );
    let events = served.writer.status().rejections.events;
    assert!(events.contains(&("rate-limited", 2 + 4)), "{events:?}");
}

#[test]
fn the_general_limit_applies_to_routes_without_their_own() {
    let database = Database::create("rate_routes");
    let options = EventOptions {
        rate_limit_per_route: Some(RateLimit::new(2, 3_600)),
        ..EventOptions::default()
    };
    let served = served(&database, options);
    let passed = |path: &str| {
        let answers = (0..5).map(|_| http::post_json(served.address, path, r#"{"number":1}"#).status);
        answers.filter(|status| *status == 200).count()
    };
    assert_eq!(
        (passed("/wh/plain"), passed("/wh/accepted"), passed("/wh/limited")),
        (2, 2, 3)
    );
    for _ in 0..5 {
        http::get(served.address, "/pixel/plain?number=1");
    }
    served.drain();
    assert_eq!(database.count("receipts"), 2 + 2 + 3 + 5);
}
