//! One real ClickHouse for the whole run, and a separate database for each test.

use std::{
    fs, mem,
    net::SocketAddr,
    path::Path,
    process,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use nix::{sys::signal::kill, unistd::Pid};
use rowmill_engine::{Engine, Options};

use super::http::{self, Answer};

/// The prefix of a run's data folder; the run's process id follows.
const DATA: &str = "it-engine-";

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

/// Returns the engine's address and the passwords of its users `collector` and `owner`. The first
/// call starts the engine.
fn engine() -> &'static (SocketAddr, String, String) {
    static ENGINE: OnceLock<(SocketAddr, String, String)> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{DATA}{}", process::id()));
        remove_old_data();
        let engine = Engine::start(&Options::new(env!("CARGO_BIN_EXE_rowmill"), data));
        let engine = engine.unwrap_or_else(|error| panic!("{error}"));
        let (collector, owner) = (engine.collector().password(), engine.owner().password());
        let access = (engine.address(), collector.to_owned(), owner.to_owned());
        // The engine must run until this process ends, and ends with it, even after a crash.
        mem::forget(engine);
        access
    })
}

/// Removes the data of runs whose processes, and therefore engines, have ended.
fn remove_old_data() {
    for entry in fs::read_dir(env!("CARGO_TARGET_TMPDIR"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name().into_string().unwrap_or_default();
        let run = name
            .strip_prefix(DATA)
            .and_then(|id| id.parse().ok())
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
        let (engine, password, _) = engine().clone();
        Self {
            name,
            engine,
            user: "collector",
            password,
        }
    }

    /// Sends the requests as the engine's user `owner`, who can also create dictionaries.
    pub fn for_owner(self) -> Self {
        Self {
            user: "owner",
            password: engine().2.clone(),
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
