//! The database of a command: the one that `--clickhouse` names, or that of the embedded
//! ClickHouse.

use std::{env, error::Error, path::Path};

use rowmill_engine::{Account, Engine, Options, running};
use rowmill_ingest::{ClickHouseUrl, store::ClickHouseUrlError, table::Schema};

use crate::{cli::DatabaseOptions, data_folder, serve::ENGINE_DATABASE};

/// A database, and the embedded ClickHouse that the command has started for it.
#[derive(Debug)]
pub(crate) struct Database {
    url: ClickHouseUrl,
    /// Ends with the command. `None` if the ClickHouse belongs to another process.
    _engine: Option<Engine>,
}

impl Database {
    /// Returns the database that the options name. Without a name, it is that of the embedded
    /// ClickHouse in the data folder: of a running collector, or of one that this function starts.
    ///
    /// # Errors
    /// The URL is invalid, or the embedded ClickHouse does not start.
    pub(crate) fn open(options: &DatabaseOptions, data: &Path, schema: &Schema) -> Result<Self, Box<dyn Error>> {
        if let Some(url) = &options.clickhouse {
            let url = options.connection.url(url)?;
            return Ok(Self { url, _engine: None });
        }
        data_folder::prepare(data)?;
        let data = data.join("engine");
        tracing::info!(data = %data.display(), "no ClickHouse is named with --clickhouse: using the embedded one");
        // Only the owner may create dictionaries.
        let has_dictionaries = !schema.dictionaries.is_empty();
        if let Some(engine) = running(&data)? {
            let account = if has_dictionaries {
                engine.owner
            } else {
                engine.collector
            };
            let url = url_of(&engine.address.to_string(), &account)?;
            return Ok(Self { url, _engine: None });
        }
        let engine = Engine::start(&Options::new(env::current_exe()?, data))?;
        let account = if has_dictionaries {
            engine.owner()
        } else {
            engine.collector()
        };
        let url = url_of(&engine.address().to_string(), account)?;
        Ok(Self {
            url,
            _engine: Some(engine),
        })
    }

    /// Returns the URL of the database.
    pub(crate) fn url(&self) -> &ClickHouseUrl {
        &self.url
    }
}

/// Returns the URL of the collector's database in an engine.
fn url_of(address: &str, account: &Account) -> Result<ClickHouseUrl, ClickHouseUrlError> {
    let (user, password) = (account.name(), account.password());
    format!("http://{user}:{password}@{address}/{ENGINE_DATABASE}").parse()
}
