//! TLS between the collector and ClickHouse: certificates of all kinds before the real engine.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;

use crate::support::{
    certificates::{Ca, Pair, Validity},
    collector::{self, Collector},
    engine::Database,
    http,
    tls_proxy::TlsProxy,
    wait_for,
};

/// A ClickHouse behind TLS.
struct Server {
    database: Database,
    proxy: TlsProxy,
    /// A folder for certificates and for the data of the collector.
    folder: TempDir,
}

impl Server {
    fn start(test: &str, config: Arc<ServerConfig>) -> Self {
        let database = Database::create(test);
        Self {
            proxy: TlsProxy::start(database.engine, config),
            database,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn url(&self) -> String {
        let port = self.proxy.address.port();
        https(&self.database, SocketAddr::from(([127, 0, 0, 1], port))).replace("127.0.0.1", "localhost")
    }

    /// Writes a CA's certificate, and returns its path.
    fn ca(&self, ca: &Ca) -> String {
        write(self.folder.path(), "ca.pem", &ca.pem)
    }

    /// Returns the log of a collector that must not start with this URL and these arguments.
    fn refused(&self, url: &str, arguments: &[&str]) -> String {
        let data = tempfile::tempdir().unwrap();
        match Collector::try_start_in(data.path(), url, arguments) {
            Ok(collector) => panic!("the collector has started: {}", collector.log()),
            Err(log) => log,
        }
    }
}

fn https(database: &Database, address: SocketAddr) -> String {
    database.url_through(address).replace("http://", "https://")
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

fn send(collector: &Collector, event: &str) {
    let answer = http::post_json(collector.address, "/wh/mail", &format!(r#"{{"event":"{event}"}}"#));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn rows_and_commands_go_through_tls() {
    let ca = Ca::new();
    let pair = ca.issue(&["localhost"], Validity::Now);
    let server = Server::start("tls", pair.server());
    let (url, ca) = (server.url(), server.ca(&ca));
    let access = ["--clickhouse", &url, "--clickhouse-ca", &ca];

    let run = |command: &[&str]| {
        let output = collector::run(&[command, &access].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&["plan"]).contains("CREATE TABLE"));
    assert!(run(&["apply"]).contains("CREATE TABLE"));
    assert_eq!(run(&["plan"]), "");
    run(&["rejected", "replay"]);
    let schemas = server.folder.path().join("schemas").display().to_string();
    run(&["init", "--from-table", "mail_statistics", "--schemas", &schemas]);

    let data = server.folder.path().join("data");
    let collector = Collector::start_in(&data, &url, &["--clickhouse-ca", &ca]);
    send(&collector, "a");
    server.database.wait_for_rows("mail_statistics", 1);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    run(&["spool", "replay", "--data", data.to_str().unwrap()]);
    let names = server.proxy.names();
    assert!(
        !names.is_empty() && names.iter().all(|name| name.as_deref() == Some("localhost")),
        "{names:?}"
    );
}

#[test]
fn an_address_can_be_the_name_of_a_certificate() {
    let ca = Ca::new();
    let server = Server::start("tls_address", ca.issue(&["127.0.0.1"], Validity::Now).server());
    let url = https(&server.database, server.proxy.address);
    let collector = Collector::start_with(&url, &["--clickhouse-ca", &server.ca(&ca)]);
    send(&collector, "a");
    server.database.wait_for_rows("mail_statistics", 1);
}

#[test]
fn each_bad_certificate_ends_the_start_with_one_clear_sentence() {
    let (ca, other, renewed) = (Ca::new(), Ca::named("another CA"), Ca::new());
    let server = Server::start("tls_bad", ca.issue(&["localhost"], Validity::Now).server());
    let (url, trusted) = (server.url(), server.ca(&ca));
    let trust = ["--clickhouse-ca", trusted.as_str()];
    for (pair, expected) in [
        (
            ca.issue(&["localhost"], Validity::Past),
            "and has expired: renew it on the server",
        ),
        (ca.issue(&["localhost"], Validity::Future), "is not valid before "),
        (
            ca.issue(&["db.example.com", "10.1.2.3"], Validity::Now),
            "is not for the host localhost, and its names are db.example.com, 10.1.2.3: use one of its names",
        ),
        (ca.issue(&[], Validity::Now), "and it names no host as a subjectAltName"),
        (
            other.issue(&["localhost"], Validity::Now),
            "is self-signed, or from a CA that is not trusted here: name its CA with --clickhouse-ca FILE",
        ),
        (
            renewed.issue(&["localhost"], Validity::Now),
            "is self-signed, or from a CA that is not trusted here: name its CA with --clickhouse-ca FILE",
        ),
        (
            Pair::self_signed(&["localhost"], false),
            "is self-signed, or from a CA that is not trusted here: name its CA with --clickhouse-ca FILE",
        ),
    ] {
        server.proxy.set(pair.server());
        let log = server.refused(&url, &trust);
        assert!(log.contains(expected), "{expected}: {log}");
        assert!(!log.contains(&server.database.password), "{log}");
        assert_eq!(log.matches("certificate of ClickHouse").count(), 1, "said once: {log}");
    }
    // A CA's own certificate is not a server's, even if it is trusted.
    let own = Pair::self_signed(&["localhost"], true);
    server.proxy.set(own.server());
    let file = write(server.folder.path(), "own.pem", &own.certificate);
    let log = server.refused(&url, &["--clickhouse-ca", &file]);
    assert!(
        log.contains("self-signed and a CA's (CA:TRUE), not a server's"),
        "{log}"
    );
    // One that has signed itself as a server's is trusted if the option names it.
    let own = Pair::self_signed(&["localhost"], false);
    server.proxy.set(own.server());
    let file = write(server.folder.path(), "own.pem", &own.certificate);
    drop(Collector::start_with(&url, &["--clickhouse-ca", &file]));
    // Without the option, the system's CAs count.
    server.proxy.set(ca.issue(&["localhost"], Validity::Now).server());
    let log = server.refused(&url, &[]);
    assert!(log.contains("name its CA with --clickhouse-ca FILE"), "{log}");
    // A port without TLS.
    let plain = https(&server.database, server.database.engine);
    let log = server.refused(&plain, &trust);
    assert!(log.contains("ClickHouse does not speak TLS on this port"), "{log}");
    // Commands say the same.
    server.proxy.set(ca.issue(&["localhost"], Validity::Past).server());
    let output = collector::run(&["plan", "--clickhouse", &url, "--clickhouse-ca", &trusted]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("and has expired"), "{error}");
}

#[test]
fn the_files_of_certificates_are_checked_at_the_start() {
    let ca = Ca::new();
    let pair = ca.issue(&["localhost"], Validity::Now);
    let server = Server::start("tls_files", pair.server());
    let (url, trusted) = (server.url(), server.ca(&ca));
    let [certificate, key] = pair.write(server.folder.path()).map(|file| file.display().to_string());
    let other = write(server.folder.path(), "other.pem", &ca.issue(&["a"], Validity::Now).key);
    let missing = server.folder.path().join("missing.pem").display().to_string();
    for (arguments, expected) in [
        (vec!["--clickhouse-ca", &missing], "missing.pem cannot be read"),
        (
            vec!["--clickhouse-ca", &key],
            "key.pem has no certificate in PEM format",
        ),
        (
            vec!["--clickhouse-cert", &certificate, "--clickhouse-key", &certificate],
            "certificate.pem has no private key in PEM format",
        ),
        (
            vec!["--clickhouse-cert", &certificate, "--clickhouse-key", &other],
            "does not belong to the first certificate",
        ),
        (vec!["--clickhouse-cert", &certificate], "--clickhouse-key"),
    ] {
        let log = server.refused(&url, &arguments);
        assert!(log.contains(expected), "{expected}: {log}");
        assert!(!log.contains("BEGIN PRIVATE KEY-----\\n"), "{log}");
    }
    let log = server.refused(&server.database.url(), &["--clickhouse-ca", &trusted]);
    assert!(
        log.contains("only for a ClickHouse whose URL begins with `https://`"),
        "{log}"
    );
}

#[test]
fn a_server_can_ask_for_a_certificate_of_the_collector() {
    let (ca, other) = (Ca::new(), Ca::named("another CA"));
    let pair = ca.issue(&["localhost"], Validity::Now);
    let server = Server::start("tls_client", ca.server_for_clients(&pair));
    let (url, trusted) = (server.url(), server.ca(&ca));
    let with = |pair: &Pair| {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = pair.write(folder.path()).map(|file| file.display().to_string());
        let options = [
            "--clickhouse-ca",
            &trusted,
            "--clickhouse-cert",
            &certificate,
            "--clickhouse-key",
            &key,
        ];
        (folder, options.map(str::to_owned))
    };
    let log = server.refused(&url, &["--clickhouse-ca", &trusted]);
    assert!(log.contains("ClickHouse wants a certificate of the collector"), "{log}");
    let (_folder, options) = with(&other.issue(&["collector"], Validity::Now));
    let log = server.refused(&url, &options.each_ref().map(String::as_str));
    assert!(
        log.contains("ClickHouse does not accept the certificate of the collector"),
        "{log}"
    );
    let (_folder, options) = with(&ca.issue(&["collector"], Validity::Now));
    let collector = Collector::start_with(&url, &options.each_ref().map(String::as_str));
    send(&collector, "a");
    server.database.wait_for_rows("mail_statistics", 1);
}

#[test]
fn rows_wait_while_a_certificate_is_expired_and_arrive_after_its_renewal() {
    let ca = Ca::new();
    let server = Server::start("tls_renewal", ca.issue(&["localhost"], Validity::Now).server());
    let collector = Collector::start_with(&server.url(), &["--clickhouse-ca", &server.ca(&ca)]);
    send(&collector, "before");
    server.database.wait_for_rows("mail_statistics", 1);
    server.proxy.set(ca.issue(&["localhost"], Validity::Past).server());
    wait_for("a log line about the certificate", || {
        send(&collector, "during");
        let log = collector.log();
        log.contains("and has expired: renew it on the server").then_some(())
    });
    let waiting = server.database.count("mail_statistics");
    server.proxy.set(ca.issue(&["localhost"], Validity::Now).server());
    send(&collector, "after");
    wait_for("the row that came last", || {
        let sql = "SELECT count() FROM mail_statistics WHERE event = 'after'";
        (server.database.query(sql).trim() == "1").then_some(())
    });
    assert!(server.database.count("mail_statistics") > waiting);
}
