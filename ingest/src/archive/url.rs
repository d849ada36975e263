//! The address of an archive, and the store behind it.

use std::{
    error::Error,
    fmt, io,
    path::{Component, Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use object_store::{
    ClientConfigKey, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    local::LocalFileSystem,
    path::Path as ObjectPath,
};
use tokio::task::spawn_blocking;

use super::{
    folder,
    http::{StoreConnector, allows_http},
};

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
    place: Place,
    /// The beginning of the objects' names in the store.
    pub(super) prefix: ObjectPath,
}

/// Where the objects are.
#[derive(Clone)]
enum Place {
    Bucket(Arc<dyn ObjectStore>),
    Folder(PathBuf),
}

impl FromStr for ArchiveUrl {
    type Err = InvalidArchiveUrl;

    /// Reads an address. Looks at nothing, and creates nothing.
    fn from_str(text: &str) -> Result<Self, InvalidArchiveUrl> {
        match text.strip_prefix(FILE) {
            Some(path) => Self::of_folder(text, Path::new(path)),
            None => Self::of_bucket(text, AmazonS3Builder::from_env()),
        }
    }
}

impl ArchiveUrl {
    fn of_bucket(text: &str, builder: AmazonS3Builder) -> Result<Self, InvalidArchiveUrl> {
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
        let allow_http = builder.get_config_value(&AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
        let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
        for endpoint in endpoints.iter().filter_map(|key| builder.get_config_value(key)) {
            if endpoint.contains('@') {
                return Err(InvalidArchiveUrl::new(
                    "credentials belong in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not in AWS_ENDPOINT_URL",
                ));
            }
            if endpoint.to_ascii_lowercase().starts_with("http://") && !allows_http(allow_http.clone()) {
                return Err(InvalidArchiveUrl::new(
                    "AWS_ENDPOINT_URL begins with http://, which needs AWS_ALLOW_HTTP=true",
                ));
            }
        }
        let store = builder
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
            place: Place::Bucket(Arc::new(store)),
            // The error has the text.
            prefix: ObjectPath::parse(prefix.trim_matches('/')).map_err(|_| {
                InvalidArchiveUrl::new("the prefix has an empty part, `.`, `..` or a forbidden character")
            })?,
        })
    }

    fn of_folder(text: &str, path: &Path) -> Result<Self, InvalidArchiveUrl> {
        if !path.is_absolute() {
            return Err(InvalidArchiveUrl::new(
                "expected file:// and an absolute path, such as file:///archive",
            ));
        }
        let is_plain = |part| !matches!(part, Component::ParentDir);
        if path.parent().is_none() || !path.components().all(is_plain) {
            return Err(InvalidArchiveUrl::new(
                "expected a folder of the archive's own without `..` in its path, such as file:///archive",
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            place: Place::Folder(path.to_owned()),
            prefix: ObjectPath::default(),
        })
    }

    /// Creates the folder of a `file` address with the mode 0700. A folder that exists keeps its mode.
    ///
    /// # Errors
    /// The file system's.
    pub fn create_folder(&self) -> io::Result<()> {
        match &self.place {
            Place::Bucket(_) => Ok(()),
            Place::Folder(path) => folder::create(path),
        }
    }

    /// Puts an object into the store. `name` has no prefix.
    ///
    /// # Errors
    /// The reason why the store does not take the object.
    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), String> {
        match &self.place {
            Place::Bucket(store) => {
                let path = ObjectPath::parse(format!("{}/{name}", self.prefix)).map_err(|error| error.to_string())?;
                let put = store.put(&path, bytes.into()).await;
                put.map(drop).map_err(|error| error.to_string())
            }
            Place::Folder(path) => {
                let (path, name) = (path.clone(), name.to_owned());
                let put = spawn_blocking(move || folder::put(&path, &name, &bytes)).await;
                put.map_err(io::Error::other)
                    .flatten()
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// Returns the store, for reading.
    ///
    /// # Errors
    /// The folder of a `file` address does not exist.
    pub(super) fn store(&self) -> object_store::Result<Arc<dyn ObjectStore>> {
        match &self.place {
            Place::Bucket(store) => Ok(Arc::clone(store)),
            Place::Folder(path) => Ok(Arc::new(LocalFileSystem::new_with_prefix(path)?)),
        }
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
    /// Whether the store does not work, so that other objects may fail as well.
    pub(super) is_of_store: bool,
}

impl ArchiveError {
    /// Returns the error without the object's name.
    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns whether the store does not work, so that other objects may fail as well.
    pub(crate) fn is_of_store(&self) -> bool {
        self.is_of_store
    }
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

    use std::fs;

    use super::*;

    #[test]
    fn an_address_is_a_bucket_or_a_folder_and_has_no_secret() {
        for (text, reason) in [
            ("http://bucket", "expected s3://bucket/prefix or file:///path"),
            ("s3://", "expected s3://bucket/prefix"),
            ("s3://key:secret@bucket/a", "credentials belong in AWS_ACCESS_KEY_ID"),
            ("s3://bucket/a?b=c", "expected s3://bucket/prefix"),
            ("s3://bucket/secret@//a", "the prefix has an empty part"),
            ("file://relative", "an absolute path"),
            ("file:///", "a folder of the archive's own"),
            ("file:////.", "a folder of the archive's own"),
            ("file:///a/..", "a folder of the archive's own"),
        ] {
            let error = text.parse::<ArchiveUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("secret@"), "{text}: {error}");
        }
        let text = "file:///archive";
        let url: ArchiveUrl = text.parse().unwrap();
        assert_eq!(format!("{url:?}"), format!("ArchiveUrl({text:?})"));
    }

    #[test]
    fn an_endpoint_without_tls_has_to_be_allowed() {
        let bucket = |endpoint, allow| {
            let builder = AmazonS3Builder::new().with_endpoint(endpoint).with_allow_http(allow);
            ArchiveUrl::of_bucket("s3://events", builder).map_err(|error| error.to_string())
        };
        let error = bucket("http://127.0.0.1:1", false).unwrap_err();
        assert!(error.contains("needs AWS_ALLOW_HTTP=true"), "{error}");
        assert!(bucket("http://127.0.0.1:1", true).is_ok());
        assert!(bucket("https://127.0.0.1:1", false).is_ok());
        let error = bucket("https://key:secret@127.0.0.1:1", false).unwrap_err();
        assert!(!error.contains("secret@"), "{error}");
    }

    #[tokio::test]
    async fn an_address_creates_its_folder_only_for_objects() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("new");
        let url: ArchiveUrl = format!("file://{}", folder.display()).parse().unwrap();
        assert!(url.store().is_err());
        assert!(!folder.exists());
        url.create_folder().unwrap();
        assert!(url.store().is_ok());
        url.put("table/file", Bytes::from_static(b"rows")).await.unwrap();
        assert_eq!(fs::read(folder.join("table/file")).unwrap(), b"rows");
        assert!(url.put("table/file/a", Bytes::new()).await.is_err());
    }
}
