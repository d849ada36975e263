//! The operator's side: its pages, its data folder and its password, which are not the public's.

use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http, wait_for,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn status(address: SocketAddr, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let answer = http::send(address, "GET", target, headers, b"");
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
}

/// Returns the address of the operator's listener, which the log names.
fn admin_address(collector: &Collector) -> SocketAddr {
    wait_for("the operator's listener", || {
        let log = collector.log();
        let (_, rest) = log.split_once("the operator's pages are on http://")?;
        rest.lines().next()?.trim().parse().ok()
    })
}

/// Returns an address of this machine that is not a loopback address.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback())
}

#[test]
fn the_public_sees_no_page_of_the_operator() {
    let database = Database::named("operator");
    let collector = Collector::start_with(&database.url(), &[]);
    for page in ["/metrics", "/ready", "/", "/health"] {
        assert_eq!(status(collector.address, page, &[]).0, 200, "{page}");
    }
    // Through a proxy on this machine.
    for header in [
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 proxy"),
    ] {
        for page in ["/metrics", "/"] {
            assert_eq!(status(collector.address, page, &[header]).0, 404, "{page} {header:?}");
        }
        assert_eq!(
            status(collector.address, "/ready", &[header]),
            (200, "ready\n".to_owned())
        );
        assert_eq!(
            status(collector.address, "/ready?store=1", &[header]),
            (200, "ready\n".to_owned())
        );
        assert_eq!(status(collector.address, "/health", &[header]).0, 200);
    }
    let public = b"GET /metrics HTTP/1.1\r\nHost: stat.example.com\r\nConnection: close\r\n\r\n";
    assert_eq!(http::send_bytes(collector.address, public).status, 404);
}

#[test]
fn another_machine_sees_no_page_of_the_operator() {
    let Some(own) = own_address() else {
        eprintln!("skipped: this machine has only loopback addresses");
        return;
    };
    let (database, data) = (Database::named("operator_far"), tempfile::tempdir().unwrap());
    let collector = Collector::start_at("0.0.0.0:0".parse().unwrap(), data.path(), &database.url(), &[]);
    let far = SocketAddr::new(own, collector.address.port());
    assert_eq!(status(far, "/metrics", &[]).0, 404);
    assert_eq!(status(far, "/", &[]).0, 404);
    assert_eq!(status(far, "/ready", &[]), (200, "ready\n".to_owned()));
    assert_eq!(status(far, "/health", &[]).0, 200);
    assert!(
        collector
            .log()
            .contains("--admin-listen or --admin-token-file opens them")
    );
}

#[test]
fn the_pages_have_a_listener_of_their_own() {
    let database = Database::named("operator_listener");
    let collector = Collector::start_with(&database.url(), &["--admin-listen", "127.0.0.1:0"]);
    let admin = admin_address(&collector);
    for page in ["/metrics", "/ready", "/"] {
        assert_eq!(status(collector.address, page, &[]).0, 404, "{page}");
        assert_eq!(status(admin, page, &[]).0, 200, "{page}");
    }
    assert!(status(admin, "/metrics", &[]).1.contains("rowmill_connections_open"));
    for address in [collector.address, admin] {
        assert_eq!(status(address, "/health", &[]).0, 200);
    }
    // The listener takes no events.
    assert_eq!(http::post_json(admin, "/wh/mail", "{}").status, 404);
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
}

#[test]
fn a_token_opens_the_pages() {
    let (database, folder) = (Database::named("operator_token"), tempfile::tempdir().unwrap());
    let file = folder.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let token = ["--admin-token-file", file.to_str().unwrap()];
    let (right, wrong) = (format!("Bearer {TOKEN}"), format!("Bearer {TOKEN}0"));
    let (right, wrong) = ([("Authorization", &*right)], [("Authorization", &*wrong)]);

    let at = ["--admin-listen", "127.0.0.1:0"];
    let collector = Collector::start_with(&database.url(), &[token, at].concat());
    let admin = admin_address(&collector);
    for page in ["/metrics", "/ready", "/"] {
        assert_eq!(status(admin, page, &right).0, 200, "{page}");
        assert_eq!(status(admin, page, &wrong).0, 401, "{page}");
        assert_eq!(status(admin, page, &[]).0, 401, "{page}");
        assert_eq!(status(collector.address, page, &right).0, 200, "{page}");
        assert_eq!(status(collector.address, page, &wrong).0, 404, "{page}");
    }
    assert_eq!(status(admin, "/health", &[]).0, 200);
    assert!(!collector.log().contains(TOKEN));
    drop(collector);

    for mode in ["public", "off"] {
        let collector = Collector::start_with(&database.url(), &[token, ["--admin-listen", mode]].concat());
        assert_eq!(status(collector.address, "/metrics", &right).0, 200, "{mode}");
        assert_eq!(status(collector.address, "/metrics", &[]).0, 404, "{mode}");
        assert_eq!(
            status(collector.address, "/ready", &[]),
            (200, "ready\n".to_owned()),
            "{mode}"
        );
    }
    fs::write(&file, "short").unwrap();
    let data = tempfile::tempdir().unwrap();
    let log = Collector::try_start_in(data.path(), &database.url(), &token).unwrap_err();
    assert!(log.contains("at least 16"), "{log}");
}

#[test]
fn the_public_sees_all_pages_if_the_operator_says_so() {
    let database = Database::named("operator_public");
    let collector = Collector::start_with(&database.url(), &["--admin-listen", "public"]);
    for page in ["/metrics", "/ready", "/"] {
        let proxied = [("X-Forwarded-For", "203.0.113.7")];
        assert_eq!(status(collector.address, page, &proxied).0, 200, "{page}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Asserts that no other user has a right to a folder, or to anything in it.
fn assert_private(folder: &Path) {
    assert_eq!(mode(folder), 0o700, "{}", folder.display());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_private(&path);
        } else {
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }
}

#[test]
fn only_the_collectors_user_reads_the_data_folder() {
    let (database, folder) = (Database::create("operator_data"), tempfile::tempdir().unwrap());
    let data = folder.path().join("new/data");
    let collector = Collector::start_in(&data, &database.url(), &[]);
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    assert_private(&data);
    assert!(fs::read_dir(data.join("spool")).unwrap().count() > 1);
    collector.kill();

    // As an older release has left it.
    for (path, mode) in [(data.clone(), 0o755), (data.join("spool"), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    for file in fs::read_dir(data.join("spool")).unwrap() {
        fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let collector = Collector::start_in(&data, &database.url(), &[]);
    assert_private(&data);
    database.wait_for_rows("mail_statistics", 1);
    let log = collector.stop().log;
    let line = "other users of this machine can no longer read the folder";
    assert!(log.contains(line), "{log}");
    let again = Collector::start_in(&data, &database.url(), &[]).stop().log;
    assert!(!again.contains(line), "{again}");

    // A folder with something else in it is not only the collector's.
    let shared = folder.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(shared.join("other"), "").unwrap();
    drop(Collector::start_in(&shared, &database.url(), &[]));
    assert_eq!((mode(&shared), mode(&shared.join("spool"))), (0o755, 0o700));
}

#[test]
fn no_link_leads_the_collector_to_another_file() {
    let (database, folder) = (Database::named("operator_link"), tempfile::tempdir().unwrap());
    let (data, victim) = (folder.path().join("data"), folder.path().join("victim"));
    fs::create_dir_all(data.join("spool")).unwrap();
    fs::write(&victim, "kept").unwrap();
    symlink(&victim, data.join("spool/lock")).unwrap();
    let log = Collector::try_start_in(&data, &database.url(), &[]).unwrap_err();
    assert!(log.contains("is a link, which the collector does not follow"), "{log}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
    // A link to the data folder is the operator's.
    fs::remove_file(data.join("spool/lock")).unwrap();
    let link = folder.path().join("link");
    symlink(&data, &link).unwrap();
    drop(Collector::start_in(&link, &database.url(), &[]));
}

#[test]
fn the_password_can_be_in_a_file() {
    let (database, folder) = (Database::create("operator_password"), tempfile::tempdir().unwrap());
    let file = folder.path().join("password");
    fs::write(&file, format!("{}\n", database.password)).unwrap();
    let url = database.url().replace(&format!(":{}", database.password), "");
    let option = ["--clickhouse-password-file", file.to_str().unwrap()];
    let collector = Collector::start_with(&url, &option);
    assert_eq!(http::post_json(collector.address, "/wh/mail", "{}").status, 200);
    database.wait_for_rows("mail_statistics", 1);
    let arguments = fs::read(format!("/proc/{}/cmdline", collector.pid())).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains(&database.password));
    assert!(!collector.log().contains("stands in the arguments"));
    let output = collector::run(&[&["plan", "--clickhouse", &url], &option[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    drop(collector);

    let data = folder.path().join("data");
    let equals = format!("--clickhouse={}", database.url());
    let collector = Collector::start_without_clickhouse_option(&data, &[&equals]);
    let log = collector.log();
    assert!(
        log.contains("the password of ClickHouse stands in the arguments"),
        "{log}"
    );
    assert!(!log.contains(&database.password), "{log}");
}
