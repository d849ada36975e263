//! Client certificates: the sender is named in the certificate of its connection.
//!
//! The handshake has checked that a trusted CA has signed the certificate, that it is valid now, and
//! that the sender has its private key. Here, only its names are compared.

use std::{fmt, sync::Arc};

use rustls::{client::verify_server_name, server::ParsedCertificate};
use rustls_pki_types::{CertificateDer, ServerName};

use super::Unverified;

/// The certificate that a sender has shown in the TLS handshake of its connection.
///
/// [`serve`](crate::server::serve) adds it to the extensions of each request of such a connection. A
/// service with a TLS of its own adds it there itself, but only if the handshake has verified it: a
/// route with `verify: { scheme: client-certificate }` relies on it.
///
/// ```
/// use rowmill_ingest::server::ClientCertificate;
///
/// # let der = Vec::new();
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(ClientCertificate::verified(der));
/// ```
#[derive(Clone)]
pub struct ClientCertificate(Arc<CertificateDer<'static>>);

impl ClientCertificate {
    /// Returns a certificate in DER that a handshake has verified.
    pub fn verified(der: Vec<u8>) -> Self {
        Self(Arc::new(CertificateDer::from(der)))
    }
}

/// Shows nothing of the certificate, which may name a person.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// Verifies that the certificate of the connection has one of the names; any certificate will do if
/// there are none. A name is a host or an address in the certificate's `subjectAltName`
/// ([RFC 6125](https://www.rfc-editor.org/rfc/rfc6125)); its subject does not count.
pub(super) fn verify(certificate: Option<&ClientCertificate>, names: &[&str]) -> Result<(), Unverified> {
    let certificate = certificate.ok_or(Unverified::Missing)?;
    if names.is_empty() {
        return Ok(());
    }
    let certificate = ParsedCertificate::try_from(&*certificate.0).map_err(|_| Unverified::Malformed)?;
    let is_name = |name: &&str| {
        let name = ServerName::try_from(*name);
        name.is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    };
    names.iter().any(is_name).then_some(()).ok_or(Unverified::Signature)
}
