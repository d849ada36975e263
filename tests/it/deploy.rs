//! The files of `deploy/`: each option, variable, metric, path and port that they name exists, and the
//! fleet of `deploy/local` stores an event.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{
    fleet::{Version, program},
    support::{
        balancer::{address_on, haproxy},
        collector::{self, Collector},
        engine::Database,
        http, wait_for,
    },
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// Returns the text of a file of `deploy/`.
fn text(file: &str) -> String {
    fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

const FILES: [&str; 11] = [
    "Dockerfile",
    "clickhouse/fleet.xml",
    "compose.yml",
    "haproxy.cfg",
    "kubernetes/hpa.yaml",
    "kubernetes/networkpolicy.yaml",
    "kubernetes/pdb.yaml",
    "kubernetes/service.yaml",
    "kubernetes/statefulset.yaml",
    "local",
    "rowmill.service",
];

/// What begins with two dashes and is no option of this program: options of kubectl, docker, cargo,
/// systemctl, curl and useradd, and separators.
const OF_OTHERS: [&str; 10] = [
    "--",
    "---",
    "--from-literal",
    "--build",
    "--detach",
    "--release",
    "--now",
    "--data-binary",
    "--uid",
    "--help",
];

/// Returns the texts of all files, and of their page of the documentation.
fn texts() -> Vec<(&'static str, String)> {
    let mut texts: Vec<_> = FILES.iter().map(|file| (*file, text(file))).collect();
    texts.push(("docs/deployment.md", text("../docs/deployment.md")));
    texts
}

/// Returns the documents of a YAML file.
fn yaml(file: &str) -> Vec<Value> {
    let text = text(file);
    let documents = text.split("\n---\n").map(serde_yaml::from_str);
    documents
        .map(|document| document.unwrap_or_else(|error| panic!("{file}: {error}")))
        .collect()
}

/// Returns the words of a text that begin with `prefix` and go on with characters of `is_part`.
fn words<'a>(text: &'a str, prefix: &str, is_part: impl Fn(char) -> bool + Copy) -> BTreeSet<&'a str> {
    let starts = text.match_indices(prefix).map(|(start, _)| start);
    starts
        .filter(|start| !text[..*start].ends_with(|c: char| c == '-' || c == '_' || c.is_alphanumeric()))
        .map(|start| {
            let rest = &text[start + prefix.len()..];
            let length = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
            &text[start..start + prefix.len() + length]
        })
        .collect()
}

fn help(command: &str) -> String {
    String::from_utf8(collector::run(&[command, "--help"]).stdout).unwrap()
}

#[test]
fn each_variable_and_option_exists() {
    let help: String = ["serve", "engine", "deliver", "spool"].into_iter().map(help).collect();
    let known = words(&help, "--", |c| c.is_ascii_lowercase() || c == '-');
    let variables = words(&help, "ROWMILL_", |c| c.is_ascii_uppercase() || c == '_');
    for (file, text) in texts() {
        for name in words(&text, "ROWMILL_", |c| c.is_ascii_uppercase() || c == '_') {
            assert!(variables.contains(name), "{file} names {name}");
        }
        for option in words(&text, "--", |c| c.is_ascii_lowercase() || c == '-') {
            let is_known = known.contains(option) || OF_OTHERS.contains(&option);
            assert!(is_known, "{file} names {option}");
        }
    }
}

#[test]
fn each_metric_exists() {
    let collector = Collector::start(&Database::named("deploy_metrics"));
    let metrics = http::get(collector.address, "/metrics").text().to_owned();
    let mut found = 0;
    for (file, text) in texts() {
        for name in words(&text, "rowmill_", |c| c.is_ascii_lowercase() || c == '_') {
            assert!(metrics.contains(&format!("# TYPE {name} ")), "{file} names {name}");
            found += 1;
        }
    }
    assert!(found > 0);
}

/// Returns the value of a variable of a container.
fn variable<'a>(container: &'a Value, name: &str) -> &'a str {
    let variables = container["env"].as_array().unwrap();
    let variable = variables.iter().find(|variable| variable["name"] == name);
    variable.unwrap_or_else(|| panic!("no {name}"))["value"]
        .as_str()
        .unwrap()
}

#[test]
fn the_manifests_fit_each_other_and_the_collector() {
    let [set] = &yaml("kubernetes/statefulset.yaml")[..] else {
        panic!("not one document")
    };
    let (pod, name) = (&set["spec"]["template"], &set["metadata"]["name"]);
    let container = &pod["spec"]["containers"][0];
    let port = |name: &Value| -> u64 {
        let ports = container["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == *name);
        port.unwrap_or_else(|| panic!("no port {name}"))["containerPort"]
            .as_u64()
            .unwrap()
    };
    for (variable_name, port_name) in [("ROWMILL_LISTEN", "events"), ("ROWMILL_ADMIN_LISTEN", "admin")] {
        let address: SocketAddr = variable(container, variable_name).parse().unwrap();
        assert_eq!(u64::from(address.port()), port(&port_name.into()));
    }
    // The pages of a collector with a listener for operators, as the probes see them.
    let database = Database::named("deploy_probes");
    let admin = address_on("127.0.0.9");
    let collector = Collector::start_with(&database.url(), &["--admin-listen", &admin.to_string()]);
    for probe in ["readinessProbe", "livenessProbe"] {
        let request = &container[probe]["httpGet"];
        let address = match request["port"].as_str().unwrap() {
            "events" => collector.address,
            _ => admin,
        };
        let answer = http::get(address, request["path"].as_str().unwrap());
        assert_eq!(answer.status, 200, "{probe}");
    }
    let seconds = |name| -> u64 { variable(container, name).parse().unwrap() };
    let stop: u64 = [
        "ROWMILL_PRE_STOP_SECONDS",
        "ROWMILL_DRAIN_SECONDS",
        "ROWMILL_DRAIN_TO_SECONDS",
    ]
    .into_iter()
    .map(seconds)
    .sum();
    assert!(pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap() >= stop + 10);
    let labels = &pod["metadata"]["labels"];
    assert_eq!(set["spec"]["selector"]["matchLabels"], *labels);

    let services = yaml("kubernetes/service.yaml");
    for service in &services {
        assert_eq!(service["spec"]["selector"], *labels);
        for service_port in service["spec"]["ports"].as_array().unwrap() {
            port(&service_port["targetPort"]);
        }
    }
    let service = services
        .iter()
        .find(|service| service["metadata"]["name"] == set["spec"]["serviceName"]);
    assert_eq!(service.unwrap()["spec"]["clusterIP"], "None");
    let first = format!("http://{0}-0.{0}:{1}", name.as_str().unwrap(), port(&"admin".into()));
    assert_eq!(variable(container, "ROWMILL_DRAIN_TO"), first);
    assert_eq!(
        yaml("kubernetes/pdb.yaml")[0]["spec"]["selector"]["matchLabels"],
        *labels
    );
    assert_eq!(yaml("kubernetes/hpa.yaml")[0]["spec"]["scaleTargetRef"]["name"], *name);
}

#[test]
fn kubernetes_accepts_the_manifests() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy/venv/bin/kubernetes-validate");
    if !program.exists() {
        eprintln!(
            "skipped: `pip install -r tests/deploy/requirements.txt` in tests/deploy/venv installs the validator"
        );
        return;
    }
    let mut command = Command::new(program);
    command.arg("--strict");
    command.args(
        FILES
            .iter()
            .filter(|file| file.starts_with("kubernetes/"))
            .map(|file| folder().join(file)),
    );
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn compose_has_the_fleet() {
    let [compose] = &yaml("compose.yml")[..] else {
        panic!("not one document")
    };
    let services = compose["services"].as_object().unwrap();
    let names: Vec<_> = services.keys().map(String::as_str).collect();
    let expected = [
        "clickhouse-1",
        "clickhouse-2",
        "collector-1",
        "collector-2",
        "collector-3",
        "haproxy",
    ];
    assert_eq!(BTreeSet::from_iter(names), BTreeSet::from(expected));
    let variables = services["haproxy"]["environment"].as_object().unwrap();
    for name in words(&text("haproxy.cfg"), "${", |c| c != '}') {
        assert!(variables.contains_key(&name[2..]), "haproxy.cfg reads {name}");
    }
    // Each file that a service mounts is in the folder, except for the operator's secrets.
    for (service, value) in services {
        for volume in value["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            let is_there = match source.strip_prefix("./") {
                Some(file) => folder().join(file).exists(),
                None => compose["volumes"].get(source).is_some(),
            };
            assert!(is_there, "{service} mounts {source}");
        }
    }
}

#[test]
fn haproxy_accepts_its_configuration() {
    let Some(mut haproxy) = haproxy() else { return };
    haproxy.arg("-c").arg("-f").arg(folder().join("haproxy.cfg"));
    haproxy.env("BIND", "127.0.0.1:8080");
    for collector in 1..=3 {
        haproxy.env(format!("COLLECTOR_{collector}"), "127.0.0.1:8081");
        haproxy.env(format!("ADMIN_PORT_{collector}"), "9090");
    }
    let output = haproxy.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn systemd_accepts_the_unit() {
    let temporary = tempfile::tempdir().unwrap();
    let unit = temporary.path().join("rowmill.service");
    // systemd looks for the program.
    fs::write(
        &unit,
        text("rowmill.service").replace("/usr/local/bin/rowmill", env!("CARGO_BIN_EXE_rowmill")),
    )
    .unwrap();
    let analyze = |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).arg(&unit).output();
    let Ok(verified) = analyze(&["verify"]) else {
        eprintln!("skipped: there is no systemd-analyze");
        return;
    };
    let problems = String::from_utf8_lossy(&verified.stderr);
    assert!(
        verified.status.success() && !problems.contains("rowmill.service:"),
        "{verified:?}"
    );
    // An exposure of at most 2.0; a unit without any of the options has 9.6.
    let exposure = analyze(&["security", "--offline=true", "--threshold=20"]).unwrap();
    assert!(exposure.status.success(), "{exposure:?}");
}

/// A running `deploy/local`, which ends with its processes when it is dropped.
struct Local {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Local {
    /// Stops the fleet, and returns its exit code. A shell that was started in the background ignores
    /// SIGINT, so this sends SIGTERM.
    fn stop(&mut self) -> Option<i32> {
        let _ = kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGTERM);
        wait_for("the end of the local fleet", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The number of ports that `deploy/local` uses.
const PORTS: u16 = 11;

/// Returns the first of as many ports that are free.
fn free_ports() -> u16 {
    wait_for("free ports", || {
        let first = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = first..first.checked_add(PORTS)?;
        let listeners: Result<Vec<_>, _> = ports.map(|port| TcpListener::bind(("127.0.0.1", port))).collect();
        listeners.is_ok().then_some(first)
    })
}

#[test]
fn the_local_fleet_stores_an_event_and_ends() {
    if haproxy().is_none() || Command::new("curl").arg("-V").output().is_err() {
        eprintln!("skipped: deploy/local needs haproxy and curl");
        return;
    }
    let (data, port) = (tempfile::tempdir().unwrap(), free_ports());
    let mut command = Command::new(folder().join("local"));
    command.env("PROGRAM", program(Version::Old).get_program());
    command.env("DATA", data.path()).env("PORT", port.to_string());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut local = Local { child, output };
    let mut line = String::new();
    local.output.read_line(&mut line).unwrap();
    assert_eq!(line, format!("listening on http://127.0.0.1:{port}\n"));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    for number in 0..20 {
        let answer = http::post_json(address, "/wh/row", &format!(r#"{{"number":{number},"event":"sent"}}"#));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let servers = [(1, port + 7), (2, port + 8)].map(|(server, port)| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Database::of_engine("stats", address, &data.path().join(format!("clickhouse-{server}")))
    });
    servers[0].wait_for_rows("rows", 20);
    let by_shard: Vec<_> = servers.iter().map(|server| server.count("rows_local")).collect();
    assert!(
        by_shard.iter().all(|rows| *rows > 0) && by_shard.iter().sum::<u64>() == 20,
        "{by_shard:?}"
    );
    assert_eq!(local.stop(), Some(0));
    for port in port..port + PORTS {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{port} is open");
    }
}
