//! TLS of the connections to ClickHouse: the CAs that the collector trusts, and its own
//! certificate.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};

use super::CONNECT_TIMEOUT;
use crate::tls::{TlsError, certificates, private_key, provider};

/// Connects with TLS if the URL begins with `https`.
pub(crate) type Connector = HttpsConnector<HttpConnector>;

/// The certificates of a connection to ClickHouse. Without any, the collector trusts the CAs of
/// the system, and has no certificate of its own.
///
/// The files are in PEM format. They are read once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClickHouseTls {
    /// The file of the CAs that sign the server's certificate, in place of those of the system.
    pub ca: Option<PathBuf>,
    /// The file of the certificate that the collector presents, with its intermediate certificates.
    pub certificate: Option<PathBuf>,
    /// The file of the private key of [`certificate`](Self::certificate).
    pub key: Option<PathBuf>,
}

/// The TLS configuration of a URL. Clones are equal, because they share the configuration and its
/// sessions.
#[derive(Clone)]
pub(crate) struct ClientTls(Arc<ClientConfig>);

impl ClickHouseTls {
    /// Returns whether no file is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<ClientTls, TlsError> {
        let roots = match &self.ca {
            Some(file) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(file)? {
                    roots.add(certificate).map_err(|error| TlsError::of_ca(file, error))?;
                }
                roots
            }
            None => system_roots(),
        };
        let config = builder().with_root_certificates(roots);
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => config
                .with_client_auth_cert(certificates(certificate)?, private_key(key)?)
                .map_err(|error| TlsError::of_pair(certificate, key, error))?,
            (None, None) => config.with_no_client_auth(),
            _ => return Err(TlsError::one_of_two()),
        };
        Ok(ClientTls(Arc::new(config)))
    }
}

impl ClientTls {
    /// Returns the configuration that trusts the CAs of the system, which are read once.
    pub(crate) fn of_system() -> Self {
        static SYSTEM: OnceLock<ClientTls> = OnceLock::new();
        let load = || {
            Self(Arc::new(
                builder().with_root_certificates(system_roots()).with_no_client_auth(),
            ))
        };
        SYSTEM.get_or_init(load).clone()
    }

    /// Returns the configuration of connections without TLS.
    fn unused() -> Self {
        static UNUSED: OnceLock<ClientTls> = OnceLock::new();
        let empty = || {
            builder()
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        };
        UNUSED.get_or_init(|| Self(Arc::new(empty()))).clone()
    }
}

/// Returns the configuration that trusts the CAs of the system, for connections to other servers.
pub(crate) fn system_config() -> Arc<ClientConfig> {
    ClientTls::of_system().0
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ClientTls {}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// Returns a connector for connections to ClickHouse.
pub(crate) fn connector(tls: Option<&ClientTls>) -> Connector {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let tls = tls.cloned().unwrap_or_else(ClientTls::unused);
    HttpsConnector::from((connector, tls.0))
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for TLS 1.2 and 1.3")
}

fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let error = found.errors.first().map(tracing::field::display);
        tracing::error!(
            error,
            "this system has no CA certificates, which `https://` needs: install them (package ca-certificates), or \
             name the CA of ClickHouse with --clickhouse-ca"
        );
    }
    roots
}
