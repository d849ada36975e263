//! The PROXY protocol, with haproxy as the proxy.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{collector::Collector, engine::Database, http, wait_for};

/// A haproxy that sends both versions of the header. It is killed when it is dropped.
struct Haproxy {
    child: Child,
    /// The addresses for version 1 and 2.
    addresses: [SocketAddr; 2],
}

impl Haproxy {
    /// Starts haproxy; returns `None` if it is not installed.
    fn start(folder: &Path, collector: SocketAddr) -> Option<Self> {
        let addresses = [(); 2].map(|()| TcpListener::bind("127.0.0.5:0").unwrap().local_addr().unwrap());
        let [first, second] = addresses;
        let configuration = format!(
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             listen first\n  bind {first}\n  server one {collector} source 127.0.0.6 send-proxy\n\
             listen second\n  bind {second}\n  server two {collector} source 127.0.0.6 send-proxy-v2\n"
        );
        let file = folder.join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let child = ["/usr/sbin/haproxy", "haproxy"].iter().find_map(|program| {
            let mut command = Command::new(program);
            command.arg("-f").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().ok()
        });
        let haproxy = Self {
            child: child?,
            addresses,
        };
        wait_for("haproxy", || TcpStream::connect(second).ok());
        Some(haproxy)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the stored addresses of an event's rows.
fn stored(database: &Database, event: &str) -> String {
    database.query(&format!(
        "SELECT td_ip FROM mail_statistics WHERE event = '{event}' ORDER BY td_ip"
    ))
}

#[test]
fn haproxy_names_its_clients() {
    let (database, folder) = (Database::create("proxy_protocol"), tempfile::tempdir().unwrap());
    let options = ["--proxy-protocol", "--trusted-proxies", "127.0.0.6"];
    let collector = Collector::start_with(&database.url(), &options);
    let Some(haproxy) = Haproxy::start(folder.path(), collector.address) else {
        eprintln!("skipped: there is no haproxy");
        return;
    };
    for address in haproxy.addresses {
        // The header of the client does not count: the client is no proxy.
        let answer = http::send(
            address,
            "GET",
            "/pixel/mail?event=a",
            &[("X-Real-IP", "203.0.113.7")],
            b"",
        );
        assert_eq!(answer.status, 200);
    }
    database.wait_for_rows("mail_statistics", 2);
    assert_eq!(stored(&database, "a"), "127.0.0.1\n127.0.0.1\n");
    assert_eq!(collector.metric("rowmill_proxy_headers_failed_total"), 0);
}

#[test]
fn only_trusted_proxies_name_clients_and_only_with_a_valid_header() {
    let database = Database::create("proxy_protocol_trust");
    let line = "PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
    let request = "GET /pixel/mail?event=EVENT HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let with_header = |event: &str| format!("{line}{}", request.replace("EVENT", event));

    let nobody = Collector::start_with(
        &database.url(),
        &["--proxy-protocol", "--trusted-proxies", "10.0.0.0/8"],
    );
    // Anybody else's header is no request, and a request without one is as usual.
    assert_eq!(
        http::send_bytes(nobody.address, with_header("forged").as_bytes()).status,
        400
    );
    assert_eq!(
        http::send_bytes(nobody.address, request.replace("EVENT", "direct").as_bytes()).status,
        200
    );
    assert_eq!(nobody.metric("rowmill_proxy_headers_failed_total"), 0);
    database.wait_for_rows("mail_statistics", 1);
    assert_eq!(stored(&database, "direct"), "127.0.0.1\n");
    drop(nobody);

    let collector = Collector::start_with(&database.url(), &["--proxy-protocol"]);
    assert_eq!(
        http::send_bytes(collector.address, with_header("named").as_bytes()).status,
        200
    );
    for junk in [
        request.replace("EVENT", "none"),
        with_header("broken").replace("203.0.113.7", "203.0.113.777"),
        format!("PROXY {}", "x".repeat(200)),
    ] {
        let mut stream = http::open(collector.address, junk.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{junk:?}: {}", String::from_utf8_lossy(&answer));
    }
    let mut silent = TcpStream::connect(collector.address).unwrap();
    silent.write_all(b"PROXY TCP4").unwrap();
    database.wait_for_rows("mail_statistics", 2);
    assert_eq!(stored(&database, "named"), "203.0.113.7\n");
    let page = format!(
        "{}GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "PROXY UNKNOWN\r\n"
    );
    let page = page.replace("Host: a", "Host: localhost");
    let metrics = http::send_bytes(collector.address, page.as_bytes());
    assert!(
        metrics.text().contains("rowmill_proxy_headers_failed_total 3\n"),
        "{}",
        metrics.text()
    );
    // The pages are for this machine, and a client of the proxy is elsewhere.
    let far = http::send_bytes(collector.address, page.replace("PROXY UNKNOWN\r\n", line).as_bytes());
    assert_eq!(far.status, 404);
}
