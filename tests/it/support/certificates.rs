//! Certificates for tests: a CA, and the certificates that it signs.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

/// A day, in which certificates are valid before and after now.
const DAY: Duration = Duration::from_secs(86_400);

/// A certificate authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

/// A certificate and its key, in PEM format.
#[derive(Debug, Clone)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// The time in which a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub enum Validity {
    Now,
    Past,
    Future,
}

impl Ca {
    pub fn new() -> Self {
        Self::named("a CA")
    }

    /// Returns a CA with a new key.
    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Returns a certificate for servers and clients of these names.
    pub fn issue(&self, names: &[&str], validity: Validity) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, validity).signed_by(&key, &self.issuer).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// Returns the configuration of a server that asks clients for a certificate of this CA.
    pub fn server_for_clients(&self, pair: &Pair) -> Arc<ServerConfig> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let (certificates, key) = pair.parsed();
        let config = ServerConfig::builder().with_client_cert_verifier(verifier);
        Arc::new(config.with_single_cert(certificates, key).unwrap())
    }
}

impl Pair {
    /// Returns a certificate that has signed itself. A CA's own may not be a server's.
    pub fn self_signed(names: &[&str], is_ca: bool) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(names, Validity::Now);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        Self {
            certificate: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }

    /// Writes both files into a folder, and returns their paths.
    pub fn write(&self, folder: &Path) -> [PathBuf; 2] {
        let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| folder.join(name));
        fs::write(&certificate, &self.certificate).unwrap();
        fs::write(&key, &self.key).unwrap();
        [certificate, key]
    }

    /// Returns the configuration of a server with this certificate.
    pub fn server(&self) -> Arc<ServerConfig> {
        let (certificates, key) = self.parsed();
        let config = ServerConfig::builder().with_no_client_auth();
        Arc::new(config.with_single_cert(certificates, key).unwrap())
    }

    fn parsed(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let certificates = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        (
            certificates.collect::<Result<_, _>>().unwrap(),
            PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap(),
        )
    }
}

fn params(names: &[&str], validity: Validity) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    let now = SystemTime::now();
    let (from, to) = match validity {
        Validity::Now => (now - DAY, now + DAY),
        Validity::Past => (now - 2 * DAY, now - DAY),
        Validity::Future => (now + DAY, now + 2 * DAY),
    };
    params.not_before = from.into();
    params.not_after = to.into();
    params
}
