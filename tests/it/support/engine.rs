//! One real ClickHouse for the whole run, and a separate database for each test.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr},
    panic,
    path::Path,
    process,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use rowmill_engine::{Engine, Options};

use super::http::{self, Answer};

/// The prefix of a run's data folder in the temporary folder; the run's process id follows.
const DATA: &str = "rowmill-it-engine-";

/// A database that no other test uses.
#[derive(Debug, Clone)]
pub struct Database {
    pub name: String,
    pub engine: SocketAddr,
    /// The engine's user of the requests.
    pub user: &'static str,
    /// The password of that user.
    pub password: String,
}

/// The engine, its address and the passwords of its users `collector` and `owner`.
struct Shared {
    engine: Mutex<Engine>,
    address: SocketAddr,
    collector: String,
    owner: String,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the engine. If it has crashed, the call starts it again on its data, so that only the
/// tests fail that were using it. If that fails, the engine gets new data.
fn engine() -> &'static Shared {
    let shared = engine_as_it_is();
    let mut engine = shared.lock();
    if let Some(crash) = engine.ended() {
        report(&format!("has ended, and is started again: {crash}"));
        if let Err(error) = engine.start_again() {
            report(&format!("does not start on its data, and gets new data: {error}"));
            *engine = start_on_new_data(shared.address);
        }
    }
    shared
}

/// Returns the engine, even if it has crashed. The first call starts it.
fn engine_as_it_is() -> &'static Shared {
    // Never dropped: the engine ends with this process, even after a crash.
    static ENGINE: OnceLock<Shared> = OnceLock::new();
    ENGINE.get_or_init(|| {
        // Not waited for: thousands of files take minutes on some disks.
        thread::spawn(remove_old_data);
        let engine = start_on_new_data((Ipv4Addr::LOCALHOST, 0).into());
        thread::spawn(watch);
        Shared {
            address: engine.address(),
            collector: engine.collector().password().to_owned(),
            owner: engine.owner().password().to_owned(),
            engine: Mutex::new(engine),
        }
    })
}

/// Starts an engine in a new folder. It has the passwords of the engine before, if there was one.
fn start_on_new_data(listen: SocketAddr) -> Engine {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let folder = |start| env::temp_dir().join(format!("{DATA}{}-{start}", process::id()));
    let start = STARTED.fetch_add(1, Ordering::Relaxed);
    let data = folder(start);
    write_definitions_unsynced(&data);
    allow_kafka(&data);
    if let Some(before) = start.checked_sub(1).map(folder) {
        for file in ["collector.password", "owner.password"] {
            fs::copy(before.join(file), data.join(file)).unwrap();
        }
    }
    let options = Options::new(env!("CARGO_BIN_EXE_rowmill"), data).with_listen(listen);
    Engine::start(&options).unwrap_or_else(|error| panic!("{error}"))
}

/// Reports what happens to the engine, past the capture of the test that comes here first: it
/// concerns other tests, too.
fn report(what: &str) {
    let _ = writeln!(io::stderr(), "the engine of the tests {what}");
}

/// Lets the engine in `data` leave it to the system when the files with the definitions of tables
/// reach the disk: the tests create thousands.
pub(super) fn write_definitions_unsynced(data: &Path) {
    let folder = data.join("config/users.d");
    let profile =
        "<clickhouse><profiles><collector><fsync_metadata>0</fsync_metadata></collector></profiles></clickhouse>";
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("unsynced.xml"), profile).unwrap();
}

/// Lets the collector's user of the engine in `data` create tables of the engine Kafka, which read the
/// topics of a test. The attributes keep the rights that the user has.
fn allow_kafka(data: &Path) {
    let grants = "<query kafka=\"engine\">GRANT TABLE ENGINE ON Kafka</query>\
                  <query kafka=\"source\">GRANT READ ON KAFKA</query>";
    let users = format!("<clickhouse><users><collector><grants>{grants}</grants></collector></users></clickhouse>");
    fs::write(data.join("config/users.d/kafka.xml"), users).unwrap();
}

/// Kills an engine that does not create a database, or not within the time of [`http::send`]: without
/// it, each further test would wait as long. Reports first why, or what its threads wait for.
fn watch() {
    loop {
        thread::sleep(Duration::from_secs(5));
        let process = running(&mut engine().lock());
        let database = Database::named("watched");
        let create = format!("CREATE DATABASE {} ENGINE = Memory", database.name);
        let drop = format!("DROP DATABASE {}", database.name);
        let answer = panic::catch_unwind(|| database.on_server(&create).and_then(|_| database.on_server(&drop)));
        let Some(process) = process else { continue };
        // Another engine may have been started in the meantime.
        if matches!(answer, Ok(Ok(_))) || running(&mut engine_as_it_is().lock()) != Some(process) {
            continue;
        }
        match answer {
            Ok(refused) => report(&format!("does not create a database, and is killed: {refused:?}")),
            Err(_) => report(&format!(
                "does not answer, and is killed. Its threads:\n{}",
                threads_of(process)
            )),
        }
        let _ = killpg(process, Signal::SIGKILL);
    }
}

/// Returns the process of an engine that runs.
fn running(engine: &mut Engine) -> Option<Pid> {
    let process = engine.process_id().try_into().map(Pid::from_raw).ok();
    process.filter(|_| engine.ended().is_none())
}

/// Returns the threads of a process by state and by what they wait for in the kernel.
fn threads_of(process: Pid) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |file: &str| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
        let (status, waits_in) = (read("status"), read("wchan"));
        let value = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .unwrap_or("")
                .trim()
        };
        *counts
            .entry(format!("{} {} {waits_in}", value("Name:"), value("State:")))
            .or_default() += 1;
    }
    counts
        .iter()
        .map(|(thread, count)| format!("{count:>5} {thread}\n"))
        .collect()
}

/// Removes the data of runs whose processes, and therefore engines, have ended.
fn remove_old_data() {
    for entry in fs::read_dir(env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let run = name
            .strip_prefix(DATA)
            .and_then(|name| name.split('-').next()?.parse().ok())
            .map(Pid::from_raw);
        if run.is_some_and(|run| kill(run, None).is_err()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Database {
    /// Returns a name for a database that does not exist yet.
    pub fn named(test: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{test}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let shared = engine();
        Self {
            name,
            engine: shared.address,
            user: "collector",
            password: shared.collector.clone(),
        }
    }

    /// Sends the requests as the engine's user `owner`, who can also create dictionaries.
    pub fn for_owner(self) -> Self {
        Self {
            user: "owner",
            password: engine().owner.clone(),
            ..self
        }
    }

    /// Returns a database of another engine, whose data is in the folder `data`.
    pub fn of_engine(name: &str, engine: SocketAddr, data: &Path) -> Self {
        let password = fs::read_to_string(data.join("collector.password")).unwrap();
        Self {
            name: name.to_owned(),
            engine,
            user: "collector",
            password: password.trim_end().to_owned(),
        }
    }

    /// Returns a new, empty database.
    pub fn create(test: &str) -> Self {
        let database = Self::named(test);
        database
            .on_server(&format!("CREATE DATABASE {}", database.name))
            .unwrap();
        database
    }

    /// Returns a statement without the database before the names of tables.
    pub fn without_name(&self, statement: &str) -> String {
        statement.replace(&format!("`{}`.", self.name), "")
    }

    pub fn url(&self) -> String {
        self.url_through(self.engine)
    }

    /// Returns the URL of the database through a proxy.
    pub fn url_through(&self, proxy: SocketAddr) -> String {
        format!("http://{}:{}@{proxy}/{}", self.user, self.password, self.name)
    }

    /// Sends a request to the engine, as the database's user.
    pub fn send(&self, method: &str, target: &str, body: &[u8]) -> Answer {
        let keys = [("X-ClickHouse-User", self.user), ("X-ClickHouse-Key", &self.password)];
        http::send(self.engine, method, target, &keys, body)
    }

    /// Runs SQL and returns its output as text, or ClickHouse's error.
    pub fn try_query(&self, sql: &str) -> Result<String, String> {
        result(self.send("POST", &format!("/?database={}", self.name), sql.as_bytes()))
    }

    /// Runs SQL without selecting the database.
    pub fn on_server(&self, sql: &str) -> Result<String, String> {
        result(self.send("POST", "/", sql.as_bytes()))
    }

    /// Sends an INSERT with its rows and a deduplication token.
    pub fn insert(&self, statement_and_rows: &[u8], token: &str) {
        let path = format!(
            "/?database={}&insert_deduplication_token={token}&async_insert=0",
            self.name
        );
        let answer = self.send("POST", &path, statement_and_rows);
        result(answer).unwrap();
    }

    /// Sends an INSERT with its rows, or returns ClickHouse's error.
    pub fn try_insert(&self, statement_and_rows: &[u8]) -> Result<String, String> {
        result(self.send("POST", &format!("/?database={}", self.name), statement_and_rows))
    }

    pub fn query(&self, sql: &str) -> String {
        self.try_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub fn count(&self, table: &str) -> u64 {
        self.query(&format!("SELECT count() FROM `{table}`"))
            .trim()
            .parse()
            .unwrap()
    }

    /// Waits until a table has exactly `rows` rows.
    pub fn wait_for_rows(&self, table: &str, rows: u64) {
        super::wait_for(&format!("{rows} rows of {table}"), || {
            (self.count(table) >= rows).then_some(())
        });
        assert_eq!(self.count(table), rows, "rows of {table}");
    }
}

fn result(answer: Answer) -> Result<String, String> {
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    if answer.status == 200 { Ok(text) } else { Err(text) }
}
