//! TLS: what connections to ClickHouse and connections of senders share, which is the
//! cryptography, the PEM files, and their errors.

use std::{
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::crypto::{CryptoProvider, ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};

/// The line that begins an encrypted private key.
const ENCRYPTED_KEY: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";

/// An error of the certificates or the keys that an operator names.
///
/// Its text names the file, and never contains a part of it.
#[derive(Debug)]
pub struct TlsError(Kind);

#[derive(Debug)]
enum Kind {
    Unreadable { file: PathBuf, error: io::Error },
    Malformed { file: PathBuf },
    NoCertificate { file: PathBuf },
    NoKey { file: PathBuf },
    EncryptedKey { file: PathBuf },
    Refused { file: PathBuf, error: rustls::Error },
    OtherKey { certificate: PathBuf, key: PathBuf },
    OneOfTwo,
    NotHttps,
}

impl TlsError {
    /// Returns the error for a certificate or key that TLS cannot use.
    pub(crate) fn of_pair(certificate: &Path, key: &Path, error: rustls::Error) -> Self {
        Self(match error {
            rustls::Error::InconsistentKeys(_) => Kind::OtherKey {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            },
            rustls::Error::InvalidCertificate(_) => Kind::Refused {
                file: certificate.to_owned(),
                error,
            },
            error => Kind::Refused {
                file: key.to_owned(),
                error,
            },
        })
    }

    /// Returns the error for a certificate without a key, or a key without a certificate.
    pub(crate) fn one_of_two() -> Self {
        Self(Kind::OneOfTwo)
    }

    /// Returns the error for certificates of a connection without TLS.
    pub(crate) fn not_https() -> Self {
        Self(Kind::NotHttps)
    }

    /// Returns the error for a CA certificate that TLS cannot use.
    pub(crate) fn of_ca(file: &Path, error: rustls::Error) -> Self {
        Self(Kind::Refused {
            file: file.to_owned(),
            error,
        })
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unreadable { file, error } => write!(f, "{} cannot be read: {error}", file.display()),
            Kind::Malformed { file } => write!(f, "{} is not valid PEM", file.display()),
            Kind::NoCertificate { file } => write!(
                f,
                "{} has no certificate in PEM format (-----BEGIN CERTIFICATE-----)",
                file.display()
            ),
            Kind::NoKey { file } => write!(
                f,
                "{} has no private key in PEM format (-----BEGIN PRIVATE KEY-----)",
                file.display()
            ),
            Kind::EncryptedKey { file } => write!(
                f,
                "the private key in {} is encrypted: decrypt it with `openssl pkey -in KEY -out DECRYPTED`",
                file.display()
            ),
            Kind::Refused { file, error } => write!(f, "TLS cannot use {}: {error}", file.display()),
            Kind::OtherKey { certificate, key } => write!(
                f,
                "the private key in {} does not belong to the first certificate in {}",
                key.display(),
                certificate.display()
            ),
            Kind::OneOfTwo => f.write_str("a certificate needs its private key, and a private key its certificate"),
            Kind::NotHttps => f.write_str("certificates are only for a ClickHouse whose URL begins with `https://`"),
        }
    }
}

impl Error for TlsError {}

/// Returns the cryptography of all connections.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// Reads the certificates in a PEM file, which has at least one.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(file)?;
    let certificates = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(TlsError(Kind::NoCertificate { file: file.to_owned() })),
        Ok(certificates) => Ok(certificates),
        // The text of this error may contain a line of the file.
        Err(_) => Err(TlsError(Kind::Malformed { file: file.to_owned() })),
    }
}

/// Reads the first private key in a PEM file.
pub(crate) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(file)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        let file = file.to_owned();
        let is_encrypted = text
            .windows(ENCRYPTED_KEY.len())
            .any(|part| part == ENCRYPTED_KEY.as_bytes());
        TlsError(match error {
            pem::Error::NoItemsFound if is_encrypted => Kind::EncryptedKey { file },
            pem::Error::NoItemsFound => Kind::NoKey { file },
            _ => Kind::Malformed { file },
        })
    })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|error| {
        TlsError(Kind::Unreadable {
            file: file.to_owned(),
            error,
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_fault_of_a_file_is_named_without_its_contents() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some.pem");
        let missing = certificates(&file).unwrap_err().to_string();
        assert!(missing.contains("some.pem cannot be read: "), "{missing}");
        for (text, of_certificate, of_key) in [
            ("", "has no certificate", "has no private key"),
            ("s3cret", "has no certificate", "has no private key"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nczNjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "has no certificate",
                "is encrypted: decrypt it",
            ),
            (
                "-----BEGIN CERTIFICATE-----\ns3cret!\n-----END CERTIFICATE-----\n",
                "is not valid PEM",
                "is not valid PEM",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\ns3cret",
                "is not valid PEM",
                "is not valid PEM",
            ),
        ] {
            fs::write(&file, text).unwrap();
            let errors = [
                (certificates(&file).unwrap_err().to_string(), of_certificate),
                (private_key(&file).unwrap_err().to_string(), of_key),
            ];
            for (error, expected) in errors {
                assert!(
                    error.contains(expected) && error.contains("some.pem") && !error.contains("s3cret"),
                    "{text}: {error}"
                );
            }
        }
    }
}
