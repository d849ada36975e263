//! Crates that `rowmill init NAME` writes: outside of the workspace, compiled and run, with an event
//! to a row. The README shows the services that it writes.

use std::{
    collections::hash_map::DefaultHasher,
    env, fs,
    hash::{Hash, Hasher},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{
    collector::{self, Collector},
    engine::Database,
    http,
};

/// Cargo builds one crate at a time in the shared target folder.
static CARGO: Mutex<()> = Mutex::new(());

const ORDER: &str = r#"{"number":"A-1","amount":"12.50"}"#;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `rowmill init` for a crate that does not exist yet, in the temporary folder of the system.
///
/// The folder is the same in each run, so that its build is not repeated in full.
fn new_crate(name: &str, arguments: &[&str]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    root().hash(&mut hasher);
    let folder = env::temp_dir()
        .join(format!("rowmill-new-crates-{:x}", hasher.finish()))
        .join(name);
    let _ = fs::remove_dir_all(&folder);
    let mut all = vec!["init", folder.to_str().unwrap()];
    all.extend(arguments);
    let output = collector::run(&all);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // The workspace's versions of all packages are already there.
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// Returns cargo in the folder of a crate. It shares the target folder of the workspace.
fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", target);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_") || name.starts_with("ROWMILL_")) {
        cargo.env_remove(name);
    }
    cargo
}

/// Tests and builds a crate, and returns its program.
fn build(folder: &Path) -> PathBuf {
    let _one = one_at_a_time();
    for arguments in [["test", "--quiet"], ["build", "--quiet"]] {
        let Output { status, stdout, stderr } = cargo(folder).args(arguments).output().unwrap();
        let printed = text(&stdout) + &text(&stderr);
        assert!(status.success(), "{arguments:?}: {printed}");
        assert!(!printed.contains("warning"), "{arguments:?}: {printed}");
    }
    program(folder)
}

fn program(folder: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("debug").join(folder.file_name().unwrap())
}

fn one_at_a_time() -> MutexGuard<'static, ()> {
    CARGO.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process that is killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn interrupt(&self) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    }
}

fn address(line: &str) -> SocketAddr {
    let address = line.trim().strip_prefix("listening on http://");
    address.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

#[test]
fn a_collector_of_ones_own_tables_has_every_command() {
    let folder = new_crate("it-shop", &[]);
    let program = build(&folder);
    let database = Database::create("new_collector");
    let url = database.url();
    let run = |arguments: &[&str]| {
        let output = Command::new(&program)
            .current_dir(&folder)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    assert!(run(&["check"]).contains("5 tables, no errors"));
    assert!(run(&["routes"]).contains("wh/orders"));
    assert!(run(&["plan", "--clickhouse", &url]).contains("orders"));
    assert_eq!(
        run(&["schema"]),
        fs::read_to_string(folder.join("rowmill.schema.json")).unwrap()
    );

    let collector = Collector::start_program(Command::new(&program), &url);
    let response = http::post_json(collector.address, "/wh/orders", ORDER);
    assert_eq!(response.status, 200, "{}", response.text());
    database.wait_for_rows("orders", 1);
    assert_eq!(
        database.query("SELECT number, amount, currency, service FROM orders"),
        "A-1\t12.5\tEUR\twh\n"
    );
    assert_eq!(collector.stop().code, Some(0));
}

/// Runs the program of a service, sends an event and another request, and compares the rows.
fn try_service(name: &str, embed: &str) {
    let folder = new_crate(name, &["--embed", embed]);
    let program = build(&folder);
    let database = Database::create(&name.replace('-', "_"));
    let child = Command::new(program)
        .current_dir(&folder)
        .env("CLICKHOUSE", database.url())
        .env("LISTEN", "127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn();
    let mut service = Running(child.unwrap());
    let mut line = String::new();
    let mut stdout = BufReader::new(service.0.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    let address = address(&line);
    let response = http::post_json(address, "/wh/orders", ORDER);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(http::get(address, "/").text(), "the shop\n");
    service.interrupt();
    assert!(service.0.wait().unwrap().success());
    assert_eq!(
        database.query("SELECT number, amount, currency, id > 0 FROM orders ORDER BY number"),
        "A-0\t0\tEUR\t1\nA-1\t12.5\tEUR\t1\n"
    );
}

#[test]
fn an_axum_service_holds_the_layer() {
    try_service("it-shop-axum", "axum");
}

#[test]
fn a_hyper_service_holds_the_layer() {
    try_service("it-shop-hyper", "hyper");
}

/// The README has the files as they are written, and so they compile and run as shown.
#[test]
fn the_readme_shows_the_files_of_the_services() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let template = root().join("src/init/template");
    for file in [
        "build.rs",
        "orders.yml",
        "axum/manifest.toml",
        "axum/src/main.rs",
        "axum/src/tests.rs",
        "collector/src/main.rs",
        "collector/src/tests.rs",
        "collector/manifest.toml",
    ] {
        let written = fs::read_to_string(template.join(file)).unwrap();
        let mut shown = written.trim_end().to_owned();
        if file.ends_with(".toml") {
            shown = shown[shown.find("[dependencies]").unwrap()..].to_owned();
            for (package, folder) in [("", ""), ("-ingest", "/ingest"), ("-codegen", "/codegen")] {
                shown = shown.replace(
                    &format!("{{{{rowmill{package}}}}}"),
                    &format!("path = \"../rowmill{folder}\""),
                );
            }
        }
        if file.ends_with(".yml") {
            shown = shown[shown.find("clickhouse:").unwrap()..].to_owned();
        }
        assert!(readme.contains(&shown), "the README does not show {file}:\n{shown}");
    }
}

#[test]
fn nothing_is_overwritten_and_mistakes_name_the_cure() {
    let folder = new_crate("it-again", &[]);
    let output = collector::run(&["init", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("exists already"));
    fs::remove_dir_all(&folder).unwrap();

    for (arguments, cure) in [
        (
            &["init", "gallery/logs"][..],
            "write `rowmill init --from gallery/logs`",
        ),
        (&["init", "shop", "--embed", "axun"], "a similar value exists: 'axum'"),
        (
            &["init", "shop", "--embd", "axum"],
            "a similar argument exists: '--embed'",
        ),
        (&["init", "--embed", "axum"], "<NAME>"),
        (&["init", "shop", "--from", "gallery/logs"], "cannot be used with"),
        (
            &["init", "shop", "--rowmill", "/nowhere"],
            "is not the source folder of Rowmill",
        ),
        (&["int", "shop"], "'init'"),
        (&["--lisen", ":8080"], "a similar argument exists: '--listen'"),
        (&["--listen", "8080"], "such as 127.0.0.1:8080, localhost:8080 or :8080"),
        (&["--memory-bytes", "256M"], "a size such as 64KiB, 256MiB"),
        (&["--drain-seconds", "30sec"], "a duration such as 500ms, 30s"),
    ] {
        let output = collector::run(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.contains(cure), "{arguments:?}: {error}");
    }
    assert!(!Path::new("shop").exists());
}

#[test]
fn a_crate_below_a_package_is_a_workspace_of_its_own() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("below-a-package");
    let _ = fs::remove_dir_all(&folder);
    let output = collector::run(&["init", folder.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    assert!(manifest.ends_with("\n[workspace]\n"), "{manifest}");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn help_names_every_environment_variable() {
    let mut help = text(&collector::run(&["--help"]).stdout);
    for command in [
        "deliver",
        "engine",
        "plan",
        "init",
        "spool list",
        "spool replay",
        "spool adopt",
        "rejected replay",
    ] {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        help += &text(&collector::run(&arguments).stdout);
    }
    let mut variables = Vec::new();
    for folder in ["src", "engine/src"] {
        variables_in(&root().join(folder), &mut variables);
    }
    variables.sort();
    variables.dedup();
    assert!(variables.len() > 25, "{variables:?}");
    let words: Vec<_> = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    variables.retain(|variable| !words.contains(&variable.as_str()));
    assert!(variables.is_empty(), "`--help` does not name {variables:?}");
}

/// Adds the variables in the sources of a folder.
fn variables_in(folder: &Path, variables: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            variables_in(&path, variables);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(path).unwrap();
            let words = source.split(|c: char| !c.is_ascii_uppercase() && c != '_');
            variables.extend(
                words
                    .filter(|word| word.starts_with("ROWMILL_") && word.len() > 8)
                    .map(str::to_owned),
            );
        }
    }
}

/// Waits until a condition holds.
#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(300), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn dev_reports_a_slip_builds_a_change_and_ends_everything() {
    let folder = new_crate("it-dev", &[]);
    build(&folder);
    let _one = one_at_a_time();
    let database = Database::create("dev");
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("log");
    let spool = data.path().join("data");
    let start = || {
        let mut dev = Command::new(program(&folder));
        for (name, value) in cargo(&folder).get_envs() {
            match value {
                Some(value) => dev.env(name, value),
                None => dev.env_remove(name),
            };
        }
        let open = |path: &Path| fs::File::options().create(true).append(true).open(path).unwrap();
        let child = dev
            .env("CARGO", env!("CARGO"))
            .current_dir(&folder)
            .args([
                "dev",
                "--",
                "--listen",
                "127.0.0.1:0",
                "--clickhouse",
                &database.url(),
                "--data",
            ])
            .arg(&spool)
            .stdout(open(&data.path().join("out")))
            .stderr(open(&log))
            .spawn();
        Running(child.unwrap())
    };
    let mut dev = start();
    let log = || fs::read_to_string(&log).unwrap();
    let addresses = || -> Vec<SocketAddr> {
        let out = fs::read_to_string(data.path().join("out")).unwrap();
        out.lines().map(address).collect()
    };
    wait_until("the collector starts", || addresses().len() == 1);
    let first = addresses()[0];
    assert_eq!(http::post_json(first, "/wh/orders", ORDER).status, 200);

    // The report of a slip does not wait for cargo, and the collector keeps running.
    let schema = folder.join("schemas/20_orders.yml");
    let good = fs::read_to_string(&schema).unwrap();
    fs::write(&schema, good.replace("Decimal(18, 2)", "Decimal(18, two)")).unwrap();
    wait_until("the slip is reported", || log().contains("20_orders.yml:9:"));
    assert_eq!(http::post_json(first, "/wh/orders", ORDER).status, 200);

    // A change becomes a collector with the new column.
    fs::write(&schema, good.replace("amount:", "note: String\n      amount:")).unwrap();
    wait_until("the next collector starts", || addresses().len() == 2);
    let second = addresses()[1];
    let noted = http::post_json(second, "/wh/orders", r#"{"number":"A-2","note":"new"}"#);
    assert_eq!(noted.status, 200, "{}", noted.text());
    database.wait_for_rows("orders", 3);
    assert_eq!(database.query("SELECT note FROM orders WHERE number = 'A-2'"), "new\n");

    dev.interrupt();
    assert!(dev.0.wait().unwrap().success(), "{}", log());
    assert!(std::net::TcpStream::connect(second).is_err(), "the collector runs on");

    // A SIGKILL, which `dev` cannot pass on, ends the collector as well.
    let mut killed = start();
    wait_until("the third collector starts", || addresses().len() == 3);
    let third = addresses()[2];
    assert_eq!(http::post_json(third, "/wh/orders", ORDER).status, 200);
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    wait_until("the collector ends", || std::net::TcpStream::connect(third).is_err());
    database.wait_for_rows("orders", 4);
}
