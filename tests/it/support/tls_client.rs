//! A client of https that trusts the CAs of a test.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::{
    certificates::Ca,
    http::{self, Answer},
};

/// A client that makes a connection, and a whole handshake, for each request.
pub struct TlsClient {
    config: Arc<ClientConfig>,
    runtime: Runtime,
}

impl TlsClient {
    pub fn new(ca: &Ca) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap())
            .unwrap();
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
        Self {
            config: Arc::new(config),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    /// Posts JSON, and returns the response and the server's certificate.
    pub fn post_json(&self, address: SocketAddr, target: &str, json: &str) -> (Answer, Vec<u8>) {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{json}",
            json.len()
        );
        self.exchange(address, &request)
    }

    /// Sends a request as it is, and returns the response.
    pub fn send(&self, address: SocketAddr, request: &str) -> Answer {
        self.exchange(address, request).0
    }

    fn exchange(&self, address: SocketAddr, request: &str) -> (Answer, Vec<u8>) {
        self.runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(Arc::clone(&self.config));
            let mut stream = connector.connect(name, stream).await.unwrap();
            let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            (http::parse(&answer), certificate)
        })
    }
}
