//! The options of the connection to ClickHouse, which every command with `--clickhouse` has.

use std::{error::Error, fs, path::PathBuf};

use clap::Args;
use rowmill_ingest::{ClickHouseUrl, store::ClickHouseTls};

/// The length of the longest password file that is read.
const MAX_PASSWORD_BYTES: usize = 4096;

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConnectionOptions {
    /// File with the password of ClickHouse's user, which no list of processes shows; it replaces a
    /// password in the URL. A line break at its end does not count.
    #[arg(long, env = "ROWMILL_CLICKHOUSE_PASSWORD_FILE", value_name = "FILE")]
    pub(crate) clickhouse_password_file: Option<PathBuf>,

    /// CA certificates for an https:// URL, as a PEM file. Default: those of the system.
    #[arg(long, env = "ROWMILL_CLICKHOUSE_CA", value_name = "FILE")]
    pub(crate) clickhouse_ca: Option<PathBuf>,

    /// Client certificate for an https:// URL, as a PEM file with its intermediate certificates.
    #[arg(
        long,
        env = "ROWMILL_CLICKHOUSE_CERT",
        value_name = "FILE",
        requires = "clickhouse_key"
    )]
    pub(crate) clickhouse_cert: Option<PathBuf>,

    /// Private key of --clickhouse-cert, as a PEM file.
    #[arg(
        long,
        env = "ROWMILL_CLICKHOUSE_KEY",
        value_name = "FILE",
        requires = "clickhouse_cert"
    )]
    pub(crate) clickhouse_key: Option<PathBuf>,
}

impl ConnectionOptions {
    /// Returns the ClickHouse that a URL names, with the password and the certificates of the
    /// options.
    ///
    /// # Errors
    /// The URL is invalid, or a file is unreadable or not what it should be.
    pub(crate) fn url(&self, text: &str) -> Result<ClickHouseUrl, Box<dyn Error>> {
        let mut url: ClickHouseUrl = text.trim().parse()?;
        if let Some(file) = &self.clickhouse_password_file {
            let error = |reason: String| format!("--clickhouse-password-file {}: {reason}", file.display());
            let password = fs::read(file).map_err(|cause| error(cause.to_string()))?;
            if password.len() > MAX_PASSWORD_BYTES {
                return Err(error(format!("longer than {MAX_PASSWORD_BYTES} bytes")).into());
            }
            let password = String::from_utf8_lossy(&password);
            let password = password.strip_suffix('\n').unwrap_or(&password);
            let password = password.strip_suffix('\r').unwrap_or(password);
            url = url.with_password(password).map_err(|cause| error(cause.to_string()))?;
        }
        let tls = ClickHouseTls {
            ca: self.clickhouse_ca.clone(),
            certificate: self.clickhouse_cert.clone(),
            key: self.clickhouse_key.clone(),
        };
        Ok(url.with_tls(&tls)?)
    }
}

/// Returns whether one of the process's arguments is a URL of ClickHouse with a password, which
/// every user of the machine can read.
pub(crate) fn is_password_in(mut arguments: impl Iterator<Item = String>) -> bool {
    let has_password = |url: &str| url.parse::<ClickHouseUrl>().is_ok_and(|url| url.has_password());
    arguments.any(|argument| {
        let urls = argument.strip_prefix("--clickhouse=").unwrap_or(&argument);
        urls.split(',').any(|url| has_password(url.trim()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_password_in_the_arguments_is_noticed() {
        let is_in = |arguments: &[&str]| is_password_in(arguments.iter().map(|&argument| argument.to_owned()));
        assert!(is_in(&["serve", "--clickhouse", "http://a:secret@h/d"]));
        assert!(is_in(&["--clickhouse=http://h/d,https://a:secret@h/d"]));
        assert!(!is_in(&["serve", "--clickhouse", "http://a@h/d"]));
        assert!(!is_in(&["serve", "a:secret@h"]));
    }

    #[test]
    fn the_password_of_a_file_replaces_that_of_the_url() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        let options = ConnectionOptions {
            clickhouse_password_file: Some(file.clone()),
            ..ConnectionOptions::default()
        };
        let url = |text: &str| options.url(text).map_err(|error| error.to_string());
        let missing = url("http://h/d").unwrap_err();
        assert!(
            missing.starts_with("--clickhouse-password-file ") && missing.contains("password: "),
            "{missing}"
        );
        for text in ["new p:w", "new p:w\n", "new p:w\r\n"] {
            fs::write(&file, text).unwrap();
            let expected = "http://ann:new%20p%3Aw@h/d".parse::<ClickHouseUrl>().unwrap();
            assert_eq!(url("http://ann:old@h/d").unwrap(), expected);
            assert_eq!(url("http://ann@h/d").unwrap(), expected);
        }
        fs::write(&file, "two\nlines").unwrap();
        assert!(url("http://h/d").unwrap_err().contains("must be printable ASCII"));
        fs::write(&file, "a".repeat(MAX_PASSWORD_BYTES + 1)).unwrap();
        assert!(url("http://h/d").unwrap_err().contains("longer than"));
    }
}
