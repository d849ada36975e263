//! Certified: the requests of a connection whose sender has shown a certificate.

use http::Request;
use hyper::{body::Incoming, service::Service};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::verify::client_certificate::ClientCertificate;

/// A service whose requests have the certificate of their connection among their extensions.
#[derive(Debug)]
pub(super) struct WithCertificate<S> {
    inner: S,
    /// `None` if the sender has shown none.
    certificate: Option<ClientCertificate>,
}

impl<S> WithCertificate<S> {
    pub(super) fn new(inner: S, stream: &TlsStream<TcpStream>) -> Self {
        let certificates = stream.get_ref().1.peer_certificates();
        let certificate = certificates.and_then(<[_]>::first);
        Self {
            inner,
            certificate: certificate.map(|der| ClientCertificate::verified(der.to_vec())),
        }
    }
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for WithCertificate<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> S::Future {
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        self.inner.call(request)
    }
}
