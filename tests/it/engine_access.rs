//! The embedded engine's users: a request without a password does nothing, and a request with one
//! reaches tables but no files.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rowmill_engine::{Account, Engine, Options};
use tempfile::TempDir;

use crate::support::{
    collector::{Collector, command},
    engine::Database,
    http::{self, Answer},
    wait_for,
};

/// The content of the file that the attacks try to read or to append to.
const FILE: &str = "fn main() {}\n";

/// A separate engine, and a file beside its data that it must not touch.
struct Locked {
    engine: Engine,
    folder: TempDir,
}

impl Locked {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("build.rs"), FILE).unwrap();
        let options = Options::new(env!("CARGO_BIN_EXE_rowmill"), folder.path().join("engine"));
        let engine = Engine::start(&options).unwrap();
        Self { engine, folder }
    }

    fn file(&self) -> String {
        self.folder.path().join("build.rs").to_str().unwrap().to_owned()
    }

    fn query(&self, user: &Account, sql: &str) -> Answer {
        let keys = [
            ("X-ClickHouse-User", user.name()),
            ("X-ClickHouse-Key", user.password()),
        ];
        http::send(self.engine.address(), "POST", "/", &keys, sql.as_bytes())
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(fs::read_to_string(self.file()).unwrap(), FILE);
    }
}

/// Returns the INSERT that appends a line to a file.
fn insert_into(file: &str) -> String {
    format!("INSERT INTO FUNCTION file('{file}', 'LineAsString', 'line String') VALUES ('fn evil() {{}}')")
}

#[test]
fn a_request_without_the_password_does_nothing() {
    let locked = Locked::start();
    let (address, insert) = (locked.engine.address(), insert_into(&locked.file()));
    let password = locked.engine.reader().password().to_owned();
    // The Base64 texts are "default:", "reader:", "collector:" and the reader with its password.
    let basic = |text: &str| ("Authorization", format!("Basic {text}"));
    let user = |name: &str| ("X-ClickHouse-User", name.to_owned());
    let key = |key: &str| ("X-ClickHouse-Key", key.to_owned());
    let cases: Vec<Vec<(&str, String)>> = vec![
        vec![],
        vec![basic("ZGVmYXVsdDo=")],
        vec![basic("cmVhZGVyOg==")],
        vec![basic("Y29sbGVjdG9yOg==")],
        vec![user("default")],
        vec![user("default"), key("")],
        vec![user("collector")],
        vec![user("collector"), key("")],
        vec![user("collector"), key(&password)],
        vec![user("collector"), key("no")],
        vec![user("collector"), basic("ZGVmYXVsdDo=")],
        vec![user("reader"), user("default")],
        vec![user("default"), user("reader"), key(&password)],
        vec![("X-ClickHouse-User", "Collector".to_owned())],
    ];
    for target in [
        "/",
        "/?user=default",
        "/?user=default&password=",
        "/?user=collector&password=no",
        "/play",
        "/ping",
    ] {
        for headers in &cases {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
            for sql in ["SELECT 1", &insert, "SYSTEM STOP LISTEN HTTP", "KILL QUERY WHERE 1"] {
                let answer = http::send(address, "POST", target, &headers, sql.as_bytes());
                let refused = matches!(answer.status, 401 | 403);
                assert!(
                    refused,
                    "{target} {headers:?} {sql}: {} {}",
                    answer.status,
                    answer.text()
                );
                assert_eq!(
                    answer.header("access-control-allow-origin"),
                    None,
                    "{target} {headers:?}"
                );
            }
        }
    }
    // With the password of one user, no parameter selects another user.
    let reader = [("X-ClickHouse-User", "reader"), ("X-ClickHouse-Key", &*password)];
    for target in [
        "/?user=default",
        "/?user=collector",
        "/?%75ser=default&password=",
        "/?USER=default",
    ] {
        let answer = http::send(address, "POST", target, &reader, b"SELECT currentUser()");
        assert!(
            answer.status != 200 || answer.text() == "reader\n",
            "{target}: {}",
            answer.text()
        );
    }
    locked.assert_untouched();
    assert_eq!(
        locked.query(locked.engine.reader(), "SELECT currentUser()").text(),
        "reader\n"
    );
    assert_eq!(
        locked.query(locked.engine.collector(), "SELECT currentUser()").text(),
        "collector\n"
    );
}

#[test]
fn cross_origin_requests_with_a_password_are_refused() {
    let locked = Locked::start();
    let headers = [
        ("Origin", "http://evil.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "x-clickhouse-user,x-clickhouse-key"),
    ];
    for target in ["/", "/?add_http_cors_header=1"] {
        let answer = http::send(locked.engine.address(), "OPTIONS", target, &headers, &[]);
        let allowed = answer
            .headers
            .iter()
            .find(|(name, _)| name.starts_with("access-control-allow"));
        assert_eq!((answer.status, allowed), (401, None), "{target}");
    }
}

#[test]
fn neither_user_reaches_files_urls_programs_or_the_system() {
    let locked = Locked::start();
    let (reader, collector) = (locked.engine.reader(), locked.engine.collector());
    let (file, listener) = (locked.file(), TcpListener::bind("127.0.0.1:0").unwrap());
    let server = listener.local_addr().unwrap();
    for sql in [
        "CREATE DATABASE d",
        "CREATE TABLE d.t (n UInt64, s String) ENGINE = MergeTree ORDER BY n",
        "INSERT INTO d.t VALUES (1, 'x')",
    ] {
        assert_eq!(locked.query(collector, sql).status, 200, "{sql}");
    }
    let outside = [
        insert_into(&file),
        format!("SELECT * FROM file('{file}', 'LineAsString')"),
        "SELECT * FROM file('/proc/self/environ', 'LineAsString')".to_owned(),
        format!("SELECT * FROM `{file}`"),
        format!("SELECT * FROM default.`{file}`"),
        format!("SELECT file('{file}')"),
        format!("SELECT file('{file}', 'nothing')"),
        "SELECT file('/proc/self/environ') SETTINGS enable_analyzer = 0".to_owned(),
        format!("SELECT arrayMap(path -> file(path), ['{file}'])"),
        format!("SELECT arrayMap(file, ['{file}'])"),
        format!("SELECT * APPLY file FROM (SELECT '{file}')"),
        format!("SELECT * FROM view(SELECT file('{file}'))"),
        format!("SELECT count() FROM d.t WHERE s = toString(file('{file}'))"),
        format!("SELECT * FROM filesystem('{file}')"),
        format!("SELECT * FROM url('http://{server}/', 'LineAsString')"),
        format!("SELECT * FROM s3('http://{server}/bucket/a.csv', 'LineAsString')"),
        format!("SELECT * FROM remote('{server}', system.one)"),
        format!("SELECT * FROM mysql('{server}', 'a', 'b', 'c', 'd')"),
        format!("SELECT * FROM postgresql('{server}', 'a', 'b', 'c', 'd')"),
        format!("SELECT * FROM sqlite('{file}', 't')"),
        "SELECT * FROM executable('x.sh', 'LineAsString', 'line String')".to_owned(),
        "SYSTEM STOP LISTEN HTTP".to_owned(),
        "SYSTEM SHUTDOWN".to_owned(),
        "SYSTEM FLUSH LOGS".to_owned(),
        "SELECT * FROM system.users".to_owned(),
        "SELECT * FROM system.server_settings".to_owned(),
        "CREATE USER u".to_owned(),
        "GRANT READ ON FILE TO reader".to_owned(),
        "EXECUTE AS default SELECT 1".to_owned(),
        "CREATE FUNCTION f AS x -> x".to_owned(),
        "DROP FUNCTION file".to_owned(),
        "CREATE OR REPLACE FUNCTION file AS x -> x".to_owned(),
        "SELECT 1 INTO OUTFILE '/tmp/rowmill-outfile'".to_owned(),
        "BACKUP DATABASE d TO File('backup')".to_owned(),
        format!("CREATE TABLE d.file (line String) ENGINE = File(LineAsString, '{file}')"),
        format!("CREATE TABLE d.url (line String) ENGINE = URL('http://{server}/', LineAsString)"),
        "CREATE TABLE d.program (line String) ENGINE = Executable('x.sh', LineAsString)".to_owned(),
        format!("CREATE TABLE d.sqlite (line String) ENGINE = SQLite('{file}', 't')"),
        format!(
            "CREATE DICTIONARY d.d (k UInt64) PRIMARY KEY k SOURCE(FILE(path '{file}' format 'TSV')) LAYOUT(FLAT())"
        ),
        format!("CREATE VIEW d.v DEFINER = default SQL SECURITY DEFINER AS SELECT * FROM file('{file}')"),
        "CREATE VIEW d.v SQL SECURITY NONE AS SELECT 1".to_owned(),
        format!(
            "CREATE TABLE d.disk (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS disk = disk(type = local, path = '{file}/')"
        ),
        format!(
            "CREATE TABLE d.web (n UInt8) ENGINE = MergeTree ORDER BY n SETTINGS disk = disk(type = web, endpoint = 'http://{server}/')"
        ),
        format!("INSERT INTO d.t SELECT 2, file('{file}')"),
        format!("INSERT INTO d.t VALUES (2, file('{file}'))"),
    ];
    for user in [reader, collector] {
        for sql in &outside {
            let answer = locked.query(user, sql);
            assert_ne!(answer.status, 200, "{} did: {sql}: {}", user.name(), answer.text());
            assert!(!answer.text().contains("fn main"), "{sql}: {}", answer.text());
        }
    }
    // If ClickHouse stores an expression for later, the expression fails later.
    for (later, sql) in [
        (
            format!("ALTER TABLE d.t ADD COLUMN f String DEFAULT file('{file}')"),
            "SELECT f FROM d.t",
        ),
        (format!("CREATE VIEW d.w AS SELECT file('{file}')"), "SELECT * FROM d.w"),
        (
            format!("ALTER TABLE d.t ADD COLUMN g String MATERIALIZED file('{file}')"),
            "INSERT INTO d.t (n) VALUES (3)",
        ),
        (
            "CREATE DATABASE files ENGINE = Filesystem('/')".to_owned(),
            &format!("SELECT * FROM files.`{}`", file.trim_start_matches('/')),
        ),
    ] {
        locked.query(collector, &later);
        let answer = locked.query(collector, sql);
        assert_ne!(answer.status, 200, "{later}: {sql}: {}", answer.text());
    }
    for sql in [
        "INSERT INTO d.t (n) VALUES (4)",
        "CREATE TABLE d.u (n UInt8) ENGINE = Memory",
        "ALTER TABLE d.t DELETE WHERE 1",
        "DROP TABLE d.t",
        "DROP DATABASE d",
        "SET readonly = 0",
    ] {
        assert_ne!(locked.query(reader, sql).status, 200, "the reader did: {sql}");
    }
    // A user sees only the queries of that user, so KILL QUERY ends none here, in particular not
    // the query that keeps the engine running.
    for user in [reader, collector] {
        assert_eq!(locked.query(user, "KILL QUERY WHERE user = 'default' SYNC").text(), "");
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "a client has connected");
    locked.assert_untouched();
    let rows = locked.query(
        reader,
        "SELECT n, s FROM d.t FORMAT Vertical SETTINGS output_format_pretty_max_rows = 5",
    );
    assert_eq!(rows.status, 200, "{}", rows.text());
    assert!(rows.text().contains("s: x"), "{}", rows.text());
}

#[test]
fn only_the_owner_creates_dictionaries() {
    let locked = Locked::start();
    let (owner, collector, reader) = (locked.engine.owner(), locked.engine.collector(), locked.engine.reader());
    for sql in [
        "CREATE DATABASE d",
        "CREATE TABLE d.t (k UInt64, v String) ENGINE = MergeTree ORDER BY k",
        "INSERT INTO d.t VALUES (1, 'x')",
    ] {
        let answer = locked.query(collector, sql);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let program = "CREATE DICTIONARY d.program (k UInt64, v String) PRIMARY KEY k \
                   SOURCE(EXECUTABLE(COMMAND 'echo 1 x' FORMAT TSV)) LIFETIME(0) LAYOUT(FLAT())";
    let names = "CREATE DICTIONARY d.names (k UInt64, v String) PRIMARY KEY k SOURCE(CLICKHOUSE(TABLE 't' DB 'd')) \
                 LIFETIME(0) LAYOUT(FLAT())";
    for user in [collector, reader] {
        for sql in [
            program,
            names,
            "CREATE OR REPLACE DICTIONARY d.names (k UInt64) PRIMARY KEY k SOURCE(NULL()) LIFETIME(0) LAYOUT(FLAT())",
        ] {
            let answer = locked.query(user, sql);
            assert!(answer.text().contains("CREATE DICTIONARY"), "{}", answer.text());
            assert_ne!(answer.status, 200);
        }
    }
    let created = locked.query(owner, names);
    assert_eq!(created.status, 200, "{}", created.text());
    for user in [owner, collector, reader] {
        let value = locked.query(user, "SELECT dictGet('d.names', 'v', toUInt64(1))");
        assert_eq!((value.status, value.text()), (200, "x\n"));
    }
    // Nor does a view of another user's rights create one, or the engine accept the owner without its
    // password.
    for user in [collector, reader] {
        let view = "CREATE VIEW d.v DEFINER = owner SQL SECURITY DEFINER AS SELECT 1";
        assert_ne!(locked.query(user, view).status, 200);
        let keys = [("X-ClickHouse-User", "owner"), ("X-ClickHouse-Key", user.password())];
        let answer = http::send(locked.engine.address(), "POST", "/", &keys, b"SELECT 1");
        assert!(matches!(answer.status, 401 | 403), "{}", answer.text());
    }
}

#[test]
fn passwords_are_readable_by_the_owner_only_and_in_no_log_or_command_line() {
    let data = tempfile::tempdir().unwrap();
    let collector = Collector::start_with_engine(data.path());
    let engine = data.path().join("engine");
    let passwords = ["collector", "owner", "reader"].map(|user| {
        let file = engine.join(user).with_extension("password");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::read_to_string(file).unwrap().trim_end().to_owned()
    });
    let address = wait_for("the engine's address", || {
        let log = collector.log();
        let (_, url) = log.split_once("url=\"http://")?;
        url.split('"').next()?.parse::<SocketAddr>().ok()
    });
    assert_eq!(
        http::post_json(collector.address, "/wh/mail", r#"{"event":"sent"}"#).status,
        200
    );
    let database = Database::of_engine("stats", address, &engine);
    database.wait_for_rows("mail_statistics", 1);

    // The printed command works unchanged.
    let log = collector.log();
    let (_, pasted) = log.split_once("and a second later the rows:\n\n").unwrap();
    let rows = Command::new("sh").arg("-c").arg(pasted.trim()).output();
    if Command::new("curl").arg("--version").output().is_ok() {
        let rows = String::from_utf8(rows.unwrap().stdout).unwrap();
        let has_event = |line: &str| line.starts_with("event: ") && line.ends_with(" sent");
        assert!(rows.lines().any(has_event), "{pasted}: {rows}");
    } else {
        eprintln!("skipped: there is no curl");
    }

    let mut processes = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        processes += usize::from(line.contains(data.path().to_str().unwrap()));
        assert!(!passwords.iter().any(|password| line.contains(&**password)), "{line}");
    }
    assert_eq!(processes, 2, "the collector and its engine");
    let ended = collector.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(
        !passwords.iter().any(|password| ended.log.contains(&**password)),
        "{}",
        ended.log
    );
}

#[test]
fn the_engine_command_prints_commands_that_work() {
    let folder = tempfile::tempdir().unwrap();
    // Characters that are special in a shell or in XML.
    let data = folder.path().join("it's <here> & $HOME");
    let mut child = command()
        .args(["engine", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let shown: Vec<_> = stderr
        .lines()
        .map_while(Result::ok)
        .scan(false, |is_over, line| {
            let is_before_end = !*is_over;
            *is_over = line.contains("rowmill serve");
            is_before_end.then_some(line)
        })
        .collect();
    let paste = |begins: &str, instead: &str| {
        let line = shown.iter().find(|line| line.trim_start().starts_with(begins));
        let line = line
            .unwrap_or_else(|| panic!("{shown:?}"))
            .replace("rowmill serve", instead);
        Command::new("sh").arg("-c").arg(&line).output().unwrap()
    };
    let applied = paste("ROWMILL_CLICKHOUSE=", concat!(env!("CARGO_BIN_EXE_rowmill"), " apply"));
    let applied = String::from_utf8_lossy(&applied.stderr).into_owned();
    let databases = paste("curl ", "");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
    let databases = String::from_utf8_lossy(&databases.stdout).into_owned();
    assert!(databases.contains("default"), "{shown:?} {databases}");
    assert!(applied.is_empty(), "{shown:?} {applied}");
}

#[test]
fn a_data_folder_without_users_gets_passwords_at_the_next_start() {
    let Locked { engine, folder } = Locked::start();
    let user = engine.collector().clone();
    let data = folder.path().join("engine");
    let locked = Locked { engine, folder };
    assert_eq!(
        locked
            .query(&user, "CREATE TABLE t (n UInt8) ENGINE = MergeTree ORDER BY n")
            .status,
        200
    );
    assert_eq!(locked.query(&user, "INSERT INTO t VALUES (7)").status, 200);
    let Locked { engine, folder } = locked;
    engine.stop().unwrap();
    // Restores the state before there were users: data, and no files about users.
    for entry in fs::read_dir(&data).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".password") || name.ends_with(".headers") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    fs::remove_dir_all(data.join("config")).unwrap();
    let engine = Engine::start(&Options::new(env!("CARGO_BIN_EXE_rowmill"), &data)).unwrap();
    let locked = Locked { engine, folder };
    assert_ne!(locked.engine.collector(), &user);
    assert_eq!(locked.query(locked.engine.collector(), "SELECT n FROM t").text(), "7\n");
    assert_eq!(locked.query(&user, "SELECT n FROM t").status, 403);
}

/// Returns a page that appends to the project's files as soon as it is opened: a form with SQL that
/// submits itself as text.
fn page(engine: SocketAddr, file: &str) -> String {
    let sql = insert_into(file).replace('\'', "&#39;");
    // A browser sends the field of a form as NAME=VALUE.
    let (name, value) = sql.split_at(sql.find("VALUES").unwrap());
    format!(
        "<!doctype html><form action=\"http://{engine}/\" method=\"post\" enctype=\"text/plain\">\
         <textarea name=\"{name}/*\">*/ {value}</textarea></form><script>document.forms[0].submit()</script>"
    )
}

/// Serves a page until the test process ends.
fn site(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let page = page.clone();
            thread::spawn(move || {
                let _ = client.read(&mut [0; 4096]);
                let _ = write!(
                    client,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                    page.len()
                );
            });
        }
    });
    address
}

/// Opens a page in a browser, and returns the final document; `None` if there is no browser.
fn browse(site: SocketAddr, profile: &Path) -> Option<String> {
    let chromium = ["/usr/bin/chromium", "/usr/bin/chromium-browser"];
    let chromium = chromium.iter().find(|path| Path::new(path).exists())?;
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--timeout=30000", "--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("http://localhost:{}/", site.port()))
        .stderr(Stdio::null())
        .output()
        .unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_page_in_a_browser_changes_no_file() {
    let locked = Locked::start();
    let site = site(page(locked.engine.address(), &locked.file()));
    let profile = tempfile::tempdir().unwrap();
    let shown = browse(site, profile.path()).unwrap_or_else(|| {
        eprintln!("there is no chromium: the test sends the page's request itself");
        let headers = [("Content-Type", "text/plain"), ("Origin", "null"), ("Cookie", "a=b")];
        let sql = insert_into(&locked.file());
        let answer = http::send(locked.engine.address(), "POST", "/", &headers, sql.as_bytes());
        answer.text().to_owned()
    });
    locked.assert_untouched();
    // The request has reached the engine, and the engine has refused it.
    assert!(shown.contains("requires a user and a password"), "{shown}");
    assert!(TcpStream::connect(locked.engine.address()).is_ok());
}
