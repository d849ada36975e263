//! The address of an archive, and the store behind it.

use std::{error::Error, fmt, path::Path, str::FromStr, sync::Arc, time::Duration};

use object_store::{ObjectStore, RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem, path::Path as ObjectPath};

use super::http::StoreConnector;
use crate::private;

/// The scheme of a bucket.
const S3: &str = "s3://";

/// The scheme of a folder.
const FILE: &str = "file://";

/// The address of an archive: `s3://bucket/prefix`, or `file:///path` for a folder.
///
/// Region, endpoint and credentials of S3 come from the usual variables of the environment, such as
/// `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or from the
/// role of the machine. The address has no credentials, so it may be in logs.
///
/// ```
/// use rowmill_ingest::archive::ArchiveUrl;
///
/// let url: ArchiveUrl = "s3://events/collector".parse()?;
/// assert_eq!(url.to_string(), "s3://events/collector");
/// assert!("s3://key:secret@events".parse::<ArchiveUrl>().is_err());
/// # Ok::<(), rowmill_ingest::archive::InvalidArchiveUrl>(())
/// ```
#[derive(Clone)]
pub struct ArchiveUrl {
    text: String,
    pub(super) store: Arc<dyn ObjectStore>,
    /// The beginning of the objects' names in the store.
    pub(super) prefix: ObjectPath,
}

impl FromStr for ArchiveUrl {
    type Err = InvalidArchiveUrl;

    /// Reads an address. Creates the folder of a `file` address.
    fn from_str(text: &str) -> Result<Self, InvalidArchiveUrl> {
        if let Some(path) = text.strip_prefix(FILE) {
            return Self::of_folder(text, Path::new(path));
        }
        let rest = text
            .strip_prefix(S3)
            .ok_or_else(|| InvalidArchiveUrl::new("expected s3://bucket/prefix or file:///path"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return Err(InvalidArchiveUrl::new(
                "credentials belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not in the address",
            ));
        }
        if bucket.is_empty() || bucket.contains([':', '?', '#']) || prefix.contains(['?', '#']) {
            return Err(InvalidArchiveUrl::new("expected s3://bucket/prefix"));
        }
        let store = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_http_connector(StoreConnector)
            // The archiver retries by itself, and a stop must not wait.
            .with_retry(RetryConfig {
                max_retries: 1,
                retry_timeout: Duration::from_secs(10),
                ..RetryConfig::default()
            })
            .build()
            .map_err(|error| InvalidArchiveUrl::new(format!("S3 cannot be used: {error}")))?;
        Ok(Self {
            text: text.trim_end_matches('/').to_owned(),
            store: Arc::new(store),
            prefix: ObjectPath::parse(prefix.trim_matches('/'))
                .map_err(|error| InvalidArchiveUrl::new(format!("the prefix is invalid: {error}")))?,
        })
    }
}

impl ArchiveUrl {
    fn of_folder(text: &str, path: &Path) -> Result<Self, InvalidArchiveUrl> {
        if !path.is_absolute() {
            return Err(InvalidArchiveUrl::new(
                "expected file:// and an absolute path, such as file:///archive",
            ));
        }
        let unusable = |error: &dyn fmt::Display| InvalidArchiveUrl::new(format!("{}: {error}", path.display()));
        private::folder(path).map_err(|error| unusable(&error))?;
        let store = LocalFileSystem::new_with_prefix(path).map_err(|error| unusable(&error))?;
        Ok(Self {
            text: text.to_owned(),
            store: Arc::new(store.with_fsync(true)),
            prefix: ObjectPath::default(),
        })
    }
}

impl fmt::Display for ArchiveUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ArchiveUrl {
    /// The store has credentials, and is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ArchiveUrl").field(&self.text).finish()
    }
}

/// The reason why a text is no address of an archive. Its text does not contain the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidArchiveUrl(String);

impl InvalidArchiveUrl {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for InvalidArchiveUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for InvalidArchiveUrl {}

/// An object cannot be listed, read or understood.
#[derive(Debug)]
pub struct ArchiveError {
    pub(super) object: String,
    pub(super) reason: String,
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.reason)
    }
}

impl Error for ArchiveError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_is_a_bucket_or_a_folder_and_has_no_secret() {
        for (text, reason) in [
            ("http://bucket", "expected s3://bucket/prefix or file:///path"),
            ("s3://", "expected s3://bucket/prefix"),
            ("s3://key:secret@bucket/a", "credentials belong in AWS_ACCESS_KEY_ID"),
            ("s3://bucket/a?b=c", "expected s3://bucket/prefix"),
            ("file://relative", "an absolute path"),
        ] {
            let error = text.parse::<ArchiveUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("secret@"), "{text}: {error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let text = format!("file://{}/new", folder.path().display());
        let url: ArchiveUrl = text.parse().unwrap();
        assert!(folder.path().join("new").is_dir());
        assert_eq!(format!("{url:?}"), format!("ArchiveUrl({text:?})"));
    }
}
