//! The options of the handover of rows between collectors.

use std::{error::Error, path::PathBuf, time::Duration};

use clap::Args;
use rowmill_ingest::handover::Target;

use super::{SpoolOptions, value::seconds};
use crate::pages::access::Token;

/// The name of the option for the secret.
const SECRET_FILE: &str = "--handover-secret-file";

/// The secret of collectors that hand rows to each other.
#[derive(Debug, Clone, Args)]
pub(crate) struct SecretOptions {
    /// File with the secret that collectors of the same tables share; its first line, at least 16
    /// characters. With it, the listener of --admin-listen ADDR takes rows that another collector
    /// hands over.
    #[arg(long, env = "ROWMILL_HANDOVER_SECRET_FILE", value_name = "FILE")]
    pub(crate) handover_secret_file: Option<PathBuf>,

    /// CA certificates for an https:// URL of another collector, as a PEM file. Default: those of
    /// the system.
    #[arg(long, env = "ROWMILL_HANDOVER_CA", value_name = "FILE")]
    pub(crate) handover_ca: Option<PathBuf>,
}

impl SecretOptions {
    /// Reads the secret, if the options name its file.
    ///
    /// # Errors
    /// The file is unreadable, or its first line is too short for a secret.
    pub(crate) fn secret(&self) -> Result<Option<Token>, String> {
        let read = |file| Token::read(SECRET_FILE, file);
        self.handover_secret_file.as_deref().map(read).transpose()
    }

    /// Returns the other collector with this URL.
    ///
    /// # Errors
    /// The URL is invalid, or a file is missing or not what it should be.
    pub(crate) fn target(&self, url: &str) -> Result<Target, Box<dyn Error>> {
        let secret = self
            .secret()?
            .ok_or_else(|| format!("the other collector needs its secret; name its file with {SECRET_FILE}"))?;
        Ok(Target::new(url, secret.reveal(), self.handover_ca.as_deref())?)
    }
}

/// The options of `rowmill serve` about other collectors.
#[derive(Debug, Clone, Args)]
pub(crate) struct HandoverOptions {
    #[command(flatten)]
    pub(crate) secret: SecretOptions,

    /// Collector that takes the rows at a stop which ClickHouse does not take within
    /// --drain-seconds: the URL of its --admin-listen, such as http://collector-0:9090.
    #[arg(long, env = "ROWMILL_DRAIN_TO", value_name = "URL")]
    pub(crate) drain_to: Option<String>,

    /// Maximum time for that handover, after --drain-seconds, such as 30 or 30s.
    #[arg(long, env = "ROWMILL_DRAIN_TO_SECONDS", default_value = "30s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) drain_to_seconds: Duration,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SendOptions {
    #[command(flatten)]
    pub(crate) spool: SpoolOptions,

    #[command(flatten)]
    pub(crate) secret: SecretOptions,

    /// Maximum duration of the handover, such as 600, 600s or 10m.
    #[arg(long, default_value = "600s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) within: Duration,

    /// URL of the other collector's --admin-listen, such as http://collector-0:9090.
    pub(crate) url: String,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct AdoptOptions {
    #[command(flatten)]
    pub(crate) secret: SecretOptions,

    /// Running collector that takes the rows: the URL of its --admin-listen, such as
    /// http://127.0.0.1:9090.
    #[arg(long, env = "ROWMILL_ADOPT_TO", value_name = "URL")]
    pub(crate) to: String,

    /// Maximum duration of the handover, such as 600, 600s or 10m.
    #[arg(long, default_value = "600s", value_parser = seconds, value_name = "DURATION")]
    pub(crate) within: Duration,

    /// Data directory of the collector that runs no more.
    pub(crate) folder: PathBuf,
}
