//! Secrets: from environment variables and files, which the schema names, or from the program
//! itself.

use std::{collections::BTreeMap, env, fmt, fs, io::ErrorKind};

use super::{Verification, key::Key, scheme::Scheme};

/// The place of one or several secrets, one on each line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretSource {
    /// The environment variable of this name.
    Env(&'static str),
    /// The file at this path; relative to the working directory of the process.
    File(&'static str),
}

/// The longest secret file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {path}"),
        }
    }
}

impl SecretSource {
    /// Returns the text with the secrets.
    fn read(self) -> Result<String, String> {
        match self {
            Self::Env(name) => env::var(name).map_err(|error| match error {
                env::VarError::NotPresent => "is not set".to_owned(),
                env::VarError::NotUnicode(_) => "is not UTF-8".to_owned(),
            }),
            Self::File(path) => {
                let length = fs::metadata(path).map(|metadata| metadata.len());
                match length.and_then(|length| Ok((length, fs::read_to_string(path)?))) {
                    Ok((length, _)) if length > MAX_FILE_BYTES => {
                        Err(format!("has {length} bytes, which is no list of secrets"))
                    }
                    Ok((_, text)) => Ok(text),
                    Err(error) if error.kind() == ErrorKind::InvalidData => Err("is not UTF-8".to_owned()),
                    Err(error) => Err(format!("cannot be read: {error}")),
                }
            }
        }
    }
}

/// Secrets that the program itself sets, by the path of their route as the schema has it. They
/// replace the sources that the schema names.
///
/// ```
/// # use embedder::tables;
/// use rowmill_ingest::{EventOptions, Writer, layer::{RouteSecrets, SchemaMismatch}};
///
/// # fn layer(writer: Writer, vault: impl Fn(&str) -> String) -> Result<(), SchemaMismatch> {
/// let options = EventOptions {
///     secrets: RouteSecrets::default().with("wh/billing", [vault("billing")]),
///     ..EventOptions::default()
/// };
/// let layer = tables::layer(writer)?.with_options(&options);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RouteSecrets(BTreeMap<String, Vec<String>>);

impl RouteSecrets {
    /// Returns the secrets with those of one route; a signature with any of them is accepted.
    pub fn with<S: Into<String>>(mut self, route: &str, secrets: impl IntoIterator<Item = S>) -> Self {
        let secrets = secrets.into_iter().map(Into::into).collect();
        self.0.insert(route.to_owned(), secrets);
        self
    }

    /// Returns the keys of a route.
    ///
    /// # Errors
    ///
    /// A secret cannot be read, or does not have the form of its scheme.
    pub(super) fn keys(&self, verification: &Verification) -> Result<Vec<Key>, SecretError> {
        let Verification {
            route, scheme, secrets, ..
        } = *verification;
        let error = |place: String, problem: String| SecretError { route, place, problem };
        let mut keys = Vec::new();
        if let Some(own) = self.0.get(route) {
            for secret in own {
                let key = Key::parse(scheme, secret);
                keys.push(key.map_err(|invalid| error("a secret of the program".to_owned(), invalid.to_string()))?);
            }
            if keys.is_empty() {
                return Err(error("the program's list of secrets".to_owned(), "is empty".to_owned()));
            }
            return Ok(keys);
        }
        for source in secrets {
            let error = |problem: String| error(source.to_string(), problem);
            let text = source.read().map_err(error)?;
            let mut secrets = split(&text, scheme).peekable();
            if secrets.peek().is_none() {
                return Err(error("is empty".to_owned()));
            }
            for secret in secrets {
                keys.push(Key::parse(scheme, secret).map_err(|invalid| error(invalid.to_string()))?);
            }
        }
        Ok(keys)
    }

    /// Returns the first key of a route.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub(super) fn first_key(&self, verification: &Verification) -> Result<Key, SecretError> {
        let mut keys = self.keys(verification)?;
        Ok(keys.swap_remove(0))
    }

    /// Returns whether the secrets of a route may change while the process runs.
    pub(super) fn may_change(&self, verification: &Verification) -> bool {
        let is_file = |source: &SecretSource| matches!(source, SecretSource::File(_));
        !self.0.contains_key(verification.route) && verification.secrets.iter().any(is_file)
    }
}

/// Splits the text of a source into its secrets: one on each line, or one in each block of PEM.
fn split(text: &str, scheme: Scheme) -> impl Iterator<Item = &str> {
    let end = match scheme {
        Scheme::AwsSns { .. } => "-----END CERTIFICATE-----",
        _ => "\n",
    };
    text.split_inclusive(end)
        .map(str::trim)
        .filter(|secret| !secret.is_empty())
}

/// Shows the routes alone.
impl fmt::Debug for RouteSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The error of a route whose secrets cannot be read; its text contains no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretError {
    route: &'static str,
    place: String,
    problem: String,
}

impl SecretError {
    /// Returns the path of the route, as the schema has it.
    pub fn route(&self) -> &'static str {
        self.route
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { route, place, problem } = self;
        write!(f, "no secret for the route `{route}`: {place} {problem}")
    }
}

impl std::error::Error for SecretError {}
