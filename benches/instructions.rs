//! The number of instructions per event, which does not vary with the load of the machine:
//! `cargo bench --bench instructions`.
//!
//! The bench runs itself under valgrind's callgrind once for each kind of request and compares the
//! counts with the committed figures, which are valid for one rustc and C library.
//! `ROWMILL_BLESS=1` rewrites them. The bench fails if a figure differs by more than
//! [`TOLERANCE_PERCENT`].

#![allow(clippy::panic, reason = "a bench stops if it would measure something else")]

mod events;

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    path::Path,
    process::{Command, ExitCode},
};

use bytes::Bytes;
use events::{Kind, answer_of};
use http::{Request, Response};
use http_body_util::Full;
use rowmill::tables;
use rowmill_ingest::{ClickHouseUrl, Writer, WriterOptions, store::Servers};
use tower::{Layer, Service};

/// The accepted difference from a committed figure.
const TOLERANCE_PERCENT: f64 = 2.0;

/// Events before counting begins, so that buffers reach their final size; and events that are
/// counted.
const WARM_UP: usize = 2_000;
const COUNTED: usize = 1_000;

const KINDS: [(&str, Kind); 4] = [
    ("webhook", Kind::Webhook),
    ("pixel", Kind::Pixel),
    ("redirect", Kind::Redirect),
    ("page_view", Kind::PageView),
];

fn main() -> ExitCode {
    match env::args().nth(1).as_deref() {
        Some("--one") => {
            let name = env::args().nth(2).unwrap_or_default();
            let (_, kind) = KINDS.iter().find(|(known, _)| *known == name).expect("a known kind");
            run(*kind);
            ExitCode::SUCCESS
        }
        _ => compare(),
    }
}

/// Answers requests of one kind; callgrind only counts the instructions within [`counted`].
fn run(kind: Kind) {
    // The runtime is never polled: the rows stay in their open block, and no other thread takes
    // part.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let _inside = runtime.enter();
    let store: ClickHouseUrl = "http://127.0.0.1:1/stats".parse().expect("a URL");
    let writer = Writer::start(
        &tables::SCHEMA,
        Servers::without_sync(store.clone()),
        &WriterOptions::default(),
    );
    let service = tables::layer(writer)
        .expect("the writer of this schema")
        .layer(tower::service_fn(rowmill_ingest::server::not_found))
        .with_peer([203, 0, 113, 7].into());
    for _ in 0..WARM_UP {
        black_box(answer_of(service.clone().call(kind.request())));
    }
    for _ in 0..COUNTED {
        counted(&service, kind.request());
    }
}

#[inline(never)]
fn counted<S, B>(service: &S, request: Request<Full<Bytes>>)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone,
{
    black_box(answer_of(service.clone().call(request)));
}

/// Counts the instructions of one event of each kind and compares them with the committed figures.
fn compare() -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("SKIPPED: valgrind is not installed, so no instructions were counted");
        return ExitCode::SUCCESS;
    }
    let counts: BTreeMap<&str, f64> = KINDS.iter().map(|(name, _)| (*name, count(name))).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let compiler = compiler();
    if env::var_os("ROWMILL_BLESS").is_some() {
        let lines = counts.iter().map(|(name, count)| format!("{name} {count:.0}\n"));
        let text = format!("{compiler}\n{}", lines.collect::<String>());
        fs::write(file, text).expect("the figures are written");
        return ExitCode::SUCCESS;
    }

    let committed = fs::read_to_string(file).unwrap_or_default();
    let mut lines = committed.lines();
    let is_comparable = lines.next() == Some(&*compiler);
    let committed: BTreeMap<&str, f64> = lines
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, count)| Some((name, count.parse().ok()?)))
        .collect();
    let mut is_good = true;
    for (name, count) in &counts {
        let before = committed.get(name).copied().unwrap_or(f64::NAN);
        let change = (count / before - 1.0) * 100.0;
        println!("{name:>12}: {count:>7.0} instructions, committed {before:>7.0} ({change:+.1} %)");
        is_good &= change.abs() <= TOLERANCE_PERCENT;
    }
    if !is_comparable {
        println!("SKIPPED: the committed figures are those of another compiler or C library than {compiler}");
        return ExitCode::SUCCESS;
    }
    if !is_good {
        println!(
            "a figure differs by more than {TOLERANCE_PERCENT} %; if that is intended, ROWMILL_BLESS=1 rewrites the figures"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn count(name: &str) -> f64 {
    let program = env::current_exe().expect("the path of this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*instructions*counted*")
        .arg(program)
        .args(["--one", name])
        .output()
        .expect("valgrind runs");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report
        .lines()
        .find_map(|line| line.split_once("Collected : ")?.1.parse::<f64>().ok());
    match collected {
        Some(collected) if output.status.success() && collected > 0.0 => collected / COUNTED as f64,
        _ => panic!("nothing was counted:\n{report}"),
    }
}

/// Returns the other things that the figures depend on: the compiler, and the C library, whose
/// allocator is counted too.
fn compiler() -> String {
    let first_line = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    format!(
        "{}; {}",
        first_line("rustc", "--version"),
        first_line("ldd", "--version")
    )
}
