//! A proxy that ends TLS before a server that does not speak it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    task::AbortHandle,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

/// A TLS proxy, which ends when it is dropped.
#[derive(Debug)]
pub struct TlsProxy {
    pub address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    names: Arc<Mutex<Vec<Option<String>>>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    runtime: Option<Runtime>,
}

impl TlsProxy {
    pub fn start(server: SocketAddr, config: Arc<ServerConfig>) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(Mutex::new(config));
        let names = Arc::<Mutex<Vec<_>>>::default();
        let connections = Arc::<Mutex<Vec<AbortHandle>>>::default();
        let (current, seen, all) = (Arc::clone(&config), Arc::clone(&names), Arc::clone(&connections));
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&current.lock().unwrap()));
                let seen = Arc::clone(&seen);
                let connection = tokio::spawn(async move {
                    let mut client = acceptor.accept(client).await?;
                    let name = client.get_ref().1.server_name().map(str::to_owned);
                    seen.lock().unwrap().push(name);
                    let mut server = TcpStream::connect(server).await?;
                    copy_bidirectional(&mut client, &mut server).await
                });
                all.lock().unwrap().push(connection.abort_handle());
            }
        });
        Self {
            address,
            config,
            names,
            connections,
            runtime: Some(runtime),
        }
    }

    /// Uses another configuration for new connections, and closes all others.
    pub fn set(&self, config: Arc<ServerConfig>) {
        *self.config.lock().unwrap() = config;
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    /// Returns the names that clients have asked for, in the order of their connections.
    pub fn names(&self) -> Vec<Option<String>> {
        self.names.lock().unwrap().clone()
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
