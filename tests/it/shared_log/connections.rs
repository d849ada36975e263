//! TLS and logins between Rowmill and the broker.

use std::{fs, thread};

use super::{assert_rows, event, log_options};
use crate::support::{
    broker::Broker,
    certificates::{Ca, Validity},
    collector::Collector,
    engine::Database,
    http,
    kafka_gate::Rule,
    sasl::{Login, Mechanism},
    wait_for,
};

/// Starts a collector with these variables and further arguments.
fn start(database: &Database, log: &str, variables: &[(&str, &str)], more: &[&str]) -> Collector {
    let arguments = [&log_options(log)[2..], more].concat();
    // The URL may have a password, which arguments should not have.
    let variables = [&[("ROWMILL_LOG_URL", log)], variables].concat();
    Collector::start_as(&database.url(), &variables, &arguments)
}

/// Sends an event, and returns the status of the answer.
fn send(collector: &Collector, number: u64) -> u16 {
    http::post_json(collector.address, "/wh/mail", &event(number)).status
}

/// Asserts that a collector does not reach the log, and that its own log names a failure and no
/// password.
fn assert_fails(collector: Collector, failure: &str, case: &str) {
    assert_eq!(send(&collector, 9), 503, "{case}");
    wait_for(failure, || collector.log().contains(failure).then_some(()));
    let log = collector.log();
    assert!(!log.contains("hush") && !log.contains("ss=w"), "{case}: {log}");
}

#[test]
fn rows_go_through_tls_of_a_trusted_ca() {
    let (ca, other) = (Ca::new(), Ca::named("another CA"));
    let Some(broker) = Broker::start_tls(ca.issue(&["localhost"], Validity::Now).server()) else {
        return;
    };
    let (database, log) = (Database::named("log_tls"), broker.log("tls"));
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, ca: &Ca| {
        let file = folder.path().join(name);
        fs::write(&file, &ca.pem).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (trusted, wrong) = (write("ca.pem", &ca), write("other.pem", &other));
    // The CAs of the system are those of this file.
    let collector = start(&database, &log, &[("SSL_CERT_FILE", &trusted)], &["--log-deliver"]);
    for number in 0..5 {
        assert_eq!(send(&collector, number), 200);
    }
    database.wait_for_rows("mail_statistics", 5);
    assert_rows(&database, 0..5);
    let names = broker.tls.as_ref().unwrap().names();
    assert!(
        !names.is_empty() && names.iter().all(|name| name.as_deref() == Some("localhost")),
        "{names:?}"
    );
    assert_eq!(collector.stop().code, Some(0));

    let distrusting = start(&database, &log, &[("SSL_CERT_FILE", &wrong)], &[]);
    assert_fails(distrusting, "invalid peer certificate", "another CA");
    assert_rows(&database, 0..5);
}

#[test]
fn rows_go_to_a_broker_that_wants_a_login() {
    let Some(broker) = Broker::start() else { return };
    let database = Database::named("log_sasl");
    let login = Login {
        user: "us,er".to_owned(),
        password: "p:ä/ss=w".to_owned(),
    };
    let credentials = "us%2Cer:p%3A%C3%A4%2Fss%3Dw@";
    let mechanisms = [
        (Mechanism::Plain, "?sasl=plain"),
        (Mechanism::ScramSha256, "?sasl=scram-sha-256"),
        (Mechanism::ScramSha512, ""),
    ];
    for (number, (mechanism, parameter)) in (0..).zip(mechanisms) {
        broker.set_rule(Rule::Login(mechanism, login.clone()));
        let log = broker.log_as(credentials, &format!("sasl{parameter}"));
        let more: &[&str] = if number == 2 { &["--log-deliver"] } else { &[] };
        let collector = start(&database, &log, &[], more);
        assert_eq!(send(&collector, number), 200, "{mechanism:?}");
        if number == 2 {
            database.wait_for_rows("mail_statistics", 3);
        }
        assert_eq!(collector.stop().code, Some(0));
    }
    assert_rows(&database, 0..3);
    // The last mechanism is SCRAM-SHA-512.
    let wrong = [
        ("a wrong password", broker.log_as("us%2Cer:hush@", "sasl")),
        ("another mechanism", broker.log_as(credentials, "sasl?sasl=plain")),
        ("no login", broker.log("sasl")),
    ];
    thread::scope(|scope| {
        for (case, log) in &wrong {
            let collector = start(&database, log, &[], &[]);
            scope.spawn(move || assert_fails(collector, "rows cannot be appended to the shared log", case));
        }
    });
    assert_rows(&database, 0..3);
}
