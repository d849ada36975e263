//! Workers: one thread with an event loop of its own for each core, each with its own listener on the one address.
//!
//! A connection stays where it was accepted: no request wakes another core, and no other core takes its task away. Whatever is slow,
//! the compressing and sending of blocks first of all, runs elsewhere. The kernel spreads connections over the listeners by their
//! addresses ([`SO_REUSEPORT`](https://man7.org/linux/man-pages/man7/socket.7.html)).

use std::{io, net::SocketAddr, num::NonZero, thread};

use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
    task::spawn_blocking,
};

use crate::stop::Stopping;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listeners on one address, one for each core.
#[derive(Debug)]
pub(crate) struct Listeners {
    address: SocketAddr,
    all: Vec<std::net::TcpListener>,
}

impl Listeners {
    /// Listens on `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// Somebody else listens there, or it is no address of this machine.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        // With the option alone, a second collector on the same address would silently take half of the connections.
        let address = TcpListener::bind(address).await?.local_addr()?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let all = (0..cores).map(|_| one_of_many(address)).collect::<io::Result<_>>()?;
        Ok(Self { address, all })
    }

    /// Returns the address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs what `serve` makes of each listener, on a thread of its own, until all of them have ended, which `stopping` tells them to.
    /// Each calls `rest` when it has nothing left to do.
    ///
    /// # Errors
    /// A thread or its event loop cannot be had.
    pub(crate) async fn run<F: Future<Output = ()>>(
        self,
        serve: impl Fn(TcpListener, Stopping) -> F + Clone + Send + 'static,
        rest: impl Fn() + Clone + Send + Sync + 'static,
        stopping: &Stopping,
    ) -> io::Result<()> {
        let mut workers = Vec::new();
        for listener in self.all {
            let (serve, stopping) = (serve.clone(), stopping.clone());
            let event_loop = runtime::Builder::new_current_thread()
                .enable_all()
                .on_thread_park(rest.clone())
                .build()?;
            let worker = move || {
                event_loop.block_on(async {
                    serve(TcpListener::from_std(listener)?, stopping).await;
                    Ok(())
                })
            };
            workers.push(thread::Builder::new().name("worker".to_owned()).spawn(worker)?);
        }
        for worker in workers {
            spawn_blocking(|| worker.join())
                .await?
                .unwrap_or_else(|_| Err(io::Error::other("a worker ended by a panic")))?;
        }
        Ok(())
    }
}

fn one_of_many(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        collections::HashSet,
        io::Read,
        net::TcpStream,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::stop::Stop;

    #[tokio::test]
    async fn an_address_is_not_shared_with_another_process() {
        let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = Listeners::bind(listeners.address()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn all_listeners_serve_until_they_are_stopped() {
        let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listeners.address();
        // Closes each connection at once.
        let serve = |listener: TcpListener, stopping: Stopping| async move {
            let accept = async { while listener.accept().await.is_ok() {} };
            tokio::select! {
                () = accept => {}
                () = stopping.asked() => {}
            }
        };
        let (stop, stopping) = Stopping::new();
        let rested = Arc::new(Mutex::new(HashSet::new()));
        let resting = Arc::clone(&rested);
        let rest = move || _ = resting.lock().unwrap().insert(thread::current().id());
        let workers = tokio::spawn(async move { listeners.run(serve, rest, &stopping).await });
        // Enough that no listener is left out but by a chance of one in billions.
        let connect = move || {
            for _ in 0..64 {
                assert_eq!(TcpStream::connect(address).unwrap().read(&mut [0]).unwrap(), 0);
            }
        };
        spawn_blocking(connect).await.unwrap();
        stop.send(Stop::Orderly).unwrap();
        workers.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).is_err());
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        assert_eq!(
            rested.lock().unwrap().len(),
            cores,
            "each tells that it has nothing left to do"
        );
    }
}
