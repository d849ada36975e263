//! nginx in front of the collector: TLS, `X-Forwarded-For` and the PROXY protocol.

use std::{
    env, fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{
    certificates::{Ca, Validity},
    collector::Collector,
    engine::Database,
    http,
    tls_client::TlsClient,
    wait_for,
    websocket::WebSocket,
};

/// The address from which nginx connects, the only trusted proxy.
const PROXY: &str = "127.0.0.6";

/// A running nginx. It is killed when it is dropped.
struct Nginx(Child);

impl Nginx {
    /// Starts nginx with a configuration and waits until it listens; returns `None` if it is not
    /// installed, or lacks the module of streams that the configuration needs.
    fn start(folder: &Path, configuration: &str, listen: SocketAddr) -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        // Debian's folder for nginx is not on every user's `PATH`.
        let folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
        let program = folders.map(|folder| folder.join("nginx")).find(|file| file.is_file())?;
        let streams = program.parent()?.join("../lib/nginx/modules/ngx_stream_module.so");
        let load = match configuration.contains("stream {") {
            true if !streams.is_file() => return None,
            true => format!("load_module {};\n", streams.display()),
            false => String::new(),
        };
        let file = folder.join("nginx.conf");
        let before = "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\nevents {}\n";
        fs::write(&file, format!("{load}{before}{configuration}")).unwrap();
        let mut command = Command::new(program);
        command
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&file)
            .args(["-e", "error.log"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("nginx", || {
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{}",
                fs::read_to_string(folder.join("error.log")).unwrap()
            );
            TcpStream::connect(listen).ok()
        });
        Some(Self(child))
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.5:0").unwrap().local_addr().unwrap()
}

/// Returns the stored addresses of an event's rows.
fn stored(database: &Database, event: &str) -> String {
    database.query(&format!("SELECT td_ip FROM mail_statistics WHERE event = '{event}'"))
}

#[test]
fn nginx_ends_tls_and_names_its_clients() {
    let (database, folder) = (Database::create("nginx_tls"), tempfile::tempdir().unwrap());
    // nginx passes on an `X-Real-IP` that it does not set.
    let options = ["--trusted-proxies", PROXY, "--client-address-header", "X-Forwarded-For"];
    let collector = Collector::start_with(&database.url(), &options);
    let (ca, listen) = (Ca::new(), free_address());
    let [certificate, key] = ca.issue(&["localhost"], Validity::Now).write(folder.path());
    let configuration = format!(
        "http {{\n  access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n  \
         uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n  server {{\n    listen {listen} ssl http2;\n    ssl_certificate {};\n    \
         ssl_certificate_key {};\n    location / {{\n      proxy_pass http://{};\n      proxy_bind {PROXY};\n      proxy_set_header Host $host;\n      \
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n      proxy_set_header X-Forwarded-Proto $scheme;\n    }}\n  }}\n}}\n",
        certificate.display(),
        key.display(),
        collector.address,
    );
    let Some(_nginx) = Nginx::start(folder.path(), &configuration, listen) else {
        eprintln!("skipped: there is no nginx");
        return;
    };
    let client = TlsClient::new(&ca);
    let send = |event: &str, headers: &str| {
        let json = format!(r#"{{"event":"{event}"}}"#);
        client.send(
            listen,
            &format!(
                "POST /wh/mail HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}Content-Length: \
                 {}\r\n\r\n{json}",
                json.len()
            ),
        )
    };
    let answer = send("plain", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("; Secure"), "{cookie}");
    // nginx appends the client's address to the header that the client has forged.
    assert_eq!(
        send("forged", "X-Forwarded-For: 203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\n").status,
        200
    );
    database.wait_for_rows("mail_statistics", 2);
    assert_eq!(stored(&database, "plain"), "127.0.0.1\n");
    assert_eq!(stored(&database, "forged"), "127.0.0.1\n");
    // A client that goes around nginx is not trusted.
    let direct = [("X-Forwarded-For", "203.0.113.7"), ("Content-Type", "application/json")];
    let answer = http::send(collector.address, "POST", "/wh/mail", &direct, br#"{"event":"direct"}"#);
    assert_eq!(answer.status, 200);
    database.wait_for_rows("mail_statistics", 3);
    assert_eq!(stored(&database, "direct"), "127.0.0.1\n");
}

#[test]
fn nginx_names_its_clients_by_the_proxy_protocol() {
    let (database, folder) = (Database::create("nginx_proxy_protocol"), tempfile::tempdir().unwrap());
    let options = ["--proxy-protocol", "--trusted-proxies", PROXY];
    let collector = Collector::start_with(&database.url(), &options);
    let listen = free_address();
    let configuration = format!(
        "stream {{\n  server {{\n    listen {listen};\n    proxy_pass {};\n    proxy_bind {PROXY};\n    proxy_protocol on;\n  }}\n}}\n",
        collector.address
    );
    let Some(_nginx) = Nginx::start(folder.path(), &configuration, listen) else {
        eprintln!("skipped: there is no nginx with streams");
        return;
    };
    for event in ["one", "two"] {
        let forged = [("X-Forwarded-For", "203.0.113.7"), ("X-Real-IP", "203.0.113.7")];
        let answer = http::send(listen, "GET", &format!("/pixel/mail?event={event}"), &forged, b"");
        assert_eq!(answer.status, 200);
    }
    database.wait_for_rows("mail_statistics", 2);
    assert_eq!(
        stored(&database, "one") + &stored(&database, "two"),
        "127.0.0.1\n127.0.0.1\n"
    );
    // The connection that only tried whether nginx listens ended without a request.
    assert_eq!(collector.metric("rowmill_malformed_requests_total"), 0);
}

/// The directives of nginx that name its folders for temporary files, which are below its prefix.
const FOLDERS: &str = "access_log off; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; \
     uwsgi_temp_path uwsgi; scgi_temp_path scgi;";

#[test]
fn nginx_passes_sessions_on_as_the_page_configures_it() {
    let page = include_str!("../../docs/websocket.md");
    let location = page.split("```nginx\n").nth(1).unwrap().split("```").next().unwrap();
    let (database, folder) = (Database::named("nginx_websocket"), tempfile::tempdir().unwrap());
    let collector = Collector::start(&database);
    let listen = free_address();
    let location = location.replace("127.0.0.1:8080", &collector.address.to_string());
    let configuration = format!("http {{ {FOLDERS} server {{ listen {listen};\n{location}\n}} }}\n");
    let Some(_nginx) = Nginx::start(folder.path(), &configuration, listen) else {
        eprintln!("skipped: there is no nginx");
        return;
    };
    // A client cannot forge the address that nginx sets.
    let mut socket = WebSocket::open(listen, "/wss", &[("X-Real-IP", "203.0.113.7")]).unwrap();
    socket
        .send(r#"{"service":"wh","name":"mail","event":"open","id__":"_1"}"#)
        .unwrap();
    let answer = socket.json();
    assert_eq!((&answer["statusCode"], &answer["id__"]), (&200.into(), &"_1".into()));
    assert_eq!(collector.stop().code, Some(0));
    let rows = database.query("SELECT event, channel, td_ip FROM mail_statistics");
    assert_eq!(rows, "open\tws\t127.0.0.1\n");
}
