//! `rowmill check --engine`: the embedded ClickHouse on an empty folder, which creates the tables
//! and views of a schema.

use std::{env, error::Error};

use rowmill_codegen::{Generated, ServerAnswer, generate_with_server};
use rowmill_engine::{Engine, Options};
use rowmill_ingest::ClickHouseUrl;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::cli::CheckOptions;

/// The database of the check.
const DATABASE: &str = "schema_check";

/// A part of each error message of ClickHouse, as opposed to errors of the connection.
const OF_CLICKHOUSE: &str = "DB::Exception";

/// Checks the schema by the rules of the build, and then, if they find no errors, by the embedded
/// ClickHouse.
///
/// # Errors
/// The engine does not start, or ends during the check.
pub(crate) fn generate_with_engine(options: &CheckOptions) -> Result<Generated, Box<dyn Error>> {
    let mut scratch = None;
    let generated = generate_with_server(&options.schemas, |statement| {
        let scratch = match &mut scratch {
            Some(scratch) => scratch,
            none => none.insert(Scratch::start()?),
        };
        scratch.send(statement)
    })?;
    if let Some(scratch) = scratch {
        scratch.stop()?;
    }
    Ok(generated)
}

/// An engine on a temporary folder.
struct Scratch {
    engine: Option<Engine>,
    url: ClickHouseUrl,
    runtime: Runtime,
    /// Dropped last: the engine writes into it.
    _folder: TempDir,
}

impl Scratch {
    fn start() -> Result<Self, Box<dyn Error>> {
        let folder = tempfile::Builder::new().prefix("rowmill-check-").tempdir()?;
        let runtime = Runtime::new()?;
        let engine = Engine::start(&Options::new(env::current_exe()?, folder.path()))?;
        let account = engine.owner();
        let (user, password, address) = (account.name(), account.password(), engine.address());
        let url = |database: &str| format!("http://{user}:{password}@{address}/{database}").parse();
        let (server, url): (ClickHouseUrl, ClickHouseUrl) = (url("default")?, url(DATABASE)?);
        let mut scratch = Self {
            engine: Some(engine),
            url: server,
            runtime,
            _folder: folder,
        };
        scratch.send(&format!("CREATE DATABASE {DATABASE}"))??;
        scratch.url = url;
        Ok(scratch)
    }

    /// Runs a statement, and returns its output, or the error message of ClickHouse.
    fn send(&self, statement: &str) -> Result<ServerAnswer, Box<dyn Error>> {
        let client = self.url.client();
        let output = self.runtime.block_on(async {
            let mut rows = client.query_raw(statement).fetch_bytes("TSVRaw")?;
            rows.collect().await
        });
        match output {
            Ok(output) => Ok(Ok(String::from_utf8_lossy(&output).into_owned())),
            Err(error) => match error.to_string() {
                message if message.contains(OF_CLICKHOUSE) => Ok(Err(message)),
                _ => Err(error.into()),
            },
        }
    }

    fn stop(mut self) -> Result<(), Box<dyn Error>> {
        match self.engine.take() {
            Some(engine) => Ok(engine.stop()?),
            None => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            let _ = engine.stop();
        }
    }
}
