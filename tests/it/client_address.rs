//! The address of a client behind proxies, as it is stored.

use crate::support::{collector::Collector, engine::Database, http};

/// Sends a pixel with headers, and returns the stored address.
fn stored(collector: &Collector, database: &Database, event: &str, headers: &[(&str, &str)]) -> String {
    let before = database.count("mail_statistics");
    let answer = http::send(
        collector.address,
        "GET",
        &format!("/pixel/mail?event={event}"),
        headers,
        b"",
    );
    assert_eq!(answer.status, 200);
    database.wait_for_rows("mail_statistics", before + 1);
    let sql = format!("SELECT td_ip FROM mail_statistics WHERE event = '{event}'");
    database.query(&sql).trim().to_owned()
}

#[test]
fn the_last_address_that_is_no_trusted_proxys_is_stored() {
    let database = Database::create("client_address");
    let trust = ["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"];
    let collector = Collector::start_with(&database.url(), &trust);
    let of = |event: &str, headers: &[(&str, &str)]| stored(&collector, &database, event, headers);
    assert_eq!(
        of("xff", &[("X-Forwarded-For", "203.0.113.7, 10.0.0.1")]),
        "203.0.113.7"
    );
    let forged = [
        ("X-Forwarded-For", "198.51.100.1"),
        ("X-Forwarded-For", "203.0.113.7, 10.0.0.1"),
    ];
    assert_eq!(of("forged", &forged), "203.0.113.7");
    assert_eq!(
        of("forwarded", &[("Forwarded", "for=\"[2001:db8::7]:4711\";proto=https")]),
        "2001:db8::7"
    );
    assert_eq!(of("real", &[("X-Real-IP", "203.0.113.8:4711")]), "203.0.113.8");
    assert_eq!(of("named", &[("CF-Connecting-IP", "198.51.100.1")]), "127.0.0.1");
}

#[test]
fn a_header_counts_only_if_its_sender_is_trusted_and_the_option_names_it() {
    let database = Database::create("client_address_option");
    let all = [
        ("CF-Connecting-IP", "203.0.113.7"),
        ("X-Real-IP", "198.51.100.1"),
        ("X-Forwarded-For", "198.51.100.1"),
        ("Forwarded", "for=198.51.100.1"),
    ];
    let option = ["--client-address-header", "CF-Connecting-IP"];
    let collector = Collector::start_with(&database.url(), &option);
    assert_eq!(stored(&collector, &database, "named", &all), "203.0.113.7");
    assert_eq!(stored(&collector, &database, "others", &all[1..]), "127.0.0.1");
    drop(collector);
    let nobody = ["--trusted-proxies", "10.0.0.0/8", option[0], option[1]];
    let collector = Collector::start_with(&database.url(), &nobody);
    assert_eq!(stored(&collector, &database, "untrusted", &all), "127.0.0.1");
}
