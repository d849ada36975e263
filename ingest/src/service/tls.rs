//! TLS of senders: a certificate that is read again when its files change, and handshakes.
//!
//! The files are compared at a handshake, at most once in [`CHECK_INTERVAL`]. No timer and no task
//! is needed for that, and a server without handshakes reads nothing. A changed pair that TLS cannot
//! use leaves the former one in use: renewals write two files, one after the other.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant, SystemTime},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring::Ticketer,
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;

use crate::tls::{TlsError, certificates, private_key, provider};

/// The protocols that a sender can choose, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [HTTP_2, b"http/1.1"];

/// The name of HTTP/2 in ALPN.
pub(super) const HTTP_2: &[u8] = b"h2";

/// The shortest time between two comparisons of the files.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The age of a changed pair from which an error of it is logged: the other file of the pair may
/// follow until then.
const SETTLED_AFTER: Duration = Duration::from_secs(3);

/// The TLS of a server: its certificate and private key, which are read again when their files
/// change. Clones share them.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    files: Arc<CertificateFiles>,
}

/// Whether each sender needs a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// A handshake without a certificate fails.
    Required,
    /// A sender may have none; one that cannot be verified still fails.
    Optional,
}

/// The certificate in use, and the files that it comes from.
#[derive(Debug)]
struct CertificateFiles {
    certificate: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    check: Mutex<Check>,
}

/// The state of the comparison with the files.
#[derive(Debug)]
struct Check {
    next: Instant,
    /// The files of the pair in use.
    loaded: Versions,
    /// The files whose error is already logged.
    rejected: Option<Versions>,
}

/// The versions of both files; `None` if one is missing.
type Versions = Option<[FileVersion; 2]>;

/// Tells one version of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileVersion {
    modified: SystemTime,
    length: u64,
}

impl Tls {
    /// Reads a certificate, followed by its intermediate certificates, and its private key. Both
    /// files are in PEM format.
    ///
    /// # Errors
    /// A file is unreadable or not as TLS needs it, or the key is another certificate's.
    ///
    /// ```no_run
    /// use std::path::Path;
    ///
    /// use rowmill_ingest::server::{ServeOptions, Tls};
    ///
    /// let tls = Tls::load(Path::new("fullchain.pem"), Path::new("privkey.pem"))?;
    /// let options = ServeOptions { tls: Some(tls), ..ServeOptions::default() };
    /// # Ok::<(), rowmill_ingest::server::TlsError>(())
    /// ```
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        // The files may change between the two reads. The version before them makes the next
        // comparison notice.
        let loaded = versions(certificate, key);
        let pair = read_pair(certificate, key)?;
        let files = Arc::new(CertificateFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: RwLock::new(Arc::new(pair)),
            check: Mutex::new(Check {
                next: Instant::now() + CHECK_INTERVAL,
                loaded,
                rejected: None,
            }),
        });
        Ok(Self::of(files, WebPkiClientVerifier::no_client_auth()))
    }

    /// Asks senders for a certificate that one of the CAs in a PEM file has signed. A route with
    /// `verify: { scheme: client-certificate }` accepts only requests with one. The file is read
    /// once; lists of revoked certificates are not consulted.
    ///
    /// # Errors
    /// The file is unreadable, or not as TLS needs it.
    pub fn with_client_ca(self, ca: &Path, certificates: ClientCertificates) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in crate::tls::certificates(ca)? {
            roots.add(certificate).map_err(|error| TlsError::of_ca(ca, error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = match certificates {
            ClientCertificates::Required => verifier,
            ClientCertificates::Optional => verifier.allow_unauthenticated(),
        };
        let verifier = verifier
            .build()
            .map_err(|error| TlsError::of_ca(ca, rustls::Error::General(error.to_string())))?;
        Ok(Self::of(self.files, verifier))
    }

    fn of(files: Arc<CertificateFiles>, verifier: Arc<dyn ClientCertVerifier>) -> Self {
        let resolver = Arc::<CertificateFiles>::clone(&files);
        let asks_clients = verifier.offer_client_auth();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("ring has ciphers for TLS 1.2 and 1.3")
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(resolver);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        if asks_clients {
            // A session that is resumed would not check whether the certificate is still valid.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else if let Ok(ticketer) = Ticketer::new() {
            // A sender that comes again skips most of a handshake, without memory of the server.
            config.ticketer = ticketer;
        }
        Self {
            config: Arc::new(config),
            files,
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.files.certificate)
            .field("key", &self.files.key)
            .finish_non_exhaustive()
    }
}

impl ResolvesServerCert for CertificateFiles {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Another thread compares already: its outcome serves the next handshake.
        if let Ok(mut check) = self.check.try_lock()
            && check.next <= Instant::now()
        {
            check.next = Instant::now() + CHECK_INTERVAL;
            self.reload(&mut check);
        }
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl CertificateFiles {
    /// Reads the files again if they have changed.
    fn reload(&self, check: &mut Check) {
        let found = versions(&self.certificate, &self.key);
        if found == check.loaded || Some(found) == check.rejected {
            return;
        }
        match read_pair(&self.certificate, &self.key) {
            Ok(pair) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                (check.loaded, check.rejected) = (found, None);
                tracing::info!(certificate = %self.certificate.display(), "the certificate for senders is renewed");
            }
            // The next comparison reads them again.
            Err(_) if found.is_some_and(is_recent) => {}
            Err(error) => {
                check.rejected = Some(found);
                tracing::error!(%error, "the new certificate for senders cannot be used; the former one stays in use");
            }
        }
    }
}

/// Returns whether one of the files has changed a moment ago.
fn is_recent(versions: [FileVersion; 2]) -> bool {
    let is_recent = |version: FileVersion| version.modified.elapsed().is_ok_and(|age| age < SETTLED_AFTER);
    versions.into_iter().any(is_recent)
}

fn versions(certificate: &Path, key: &Path) -> Versions {
    let version = |file: &Path| {
        // The metadata are those of the file that a link leads to.
        let metadata = fs::metadata(file).ok()?;
        Some(FileVersion {
            modified: metadata.modified().ok()?,
            length: metadata.len(),
        })
    };
    Some([version(certificate)?, version(key)?])
}

fn read_pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(certificates(certificate)?, private_key(key)?, &provider())
        .map_err(|error| TlsError::of_pair(certificate, key, error))
}
