//! Workers: for each core, a thread with its own event loop and its own listener on the shared
//! address.
//!
//! A connection stays on the thread that accepted it: no request wakes another core, and no other
//! core steals its task. Slow work, above all the compression and sending of blocks, runs
//! elsewhere. The kernel distributes connections over the listeners by their addresses
//! ([`SO_REUSEPORT`](https://man7.org/linux/man-pages/man7/socket.7.html)).

use std::{io, net::SocketAddr, num::NonZero, thread};

use tokio::{
    net::{TcpListener, TcpSocket},
    runtime,
    task::spawn_blocking,
};

use crate::stop::Stopping;

/// The number of connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The number of tasks between two looks for new events of sockets. A long body takes some 80 µs for
/// each of its pieces, and tokio's default of 61 would let an event wait for 5 ms.
const TASKS_BETWEEN_POLLS: u32 = 8;

/// Listeners on one address, one for each core.
#[derive(Debug)]
pub(crate) struct Listeners {
    address: SocketAddr,
    all: Vec<std::net::TcpListener>,
}

impl Listeners {
    /// Listens on `address`; port 0 selects a free port.
    ///
    /// # Errors
    /// The address is in use, or does not belong to this machine.
    pub(crate) async fn bind(address: SocketAddr) -> io::Result<Self> {
        // With `SO_REUSEPORT` alone, a second collector on the same address would silently get half
        // of the connections.
        let address = TcpListener::bind(address).await?.local_addr()?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let all = (0..cores).map(|_| bind_shared(address)).collect::<io::Result<_>>()?;
        Ok(Self { address, all })
    }

    /// Returns the address of the listeners.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs `serve` for each listener on a separate thread until all have ended, which `stopping`
    /// makes them do. Each thread calls `on_idle` whenever it becomes idle.
    ///
    /// # Errors
    /// A thread or its event loop cannot be created, or a thread panics.
    pub(crate) async fn run<F: Future<Output = ()>>(
        self,
        serve: impl Fn(TcpListener, Stopping) -> F + Clone + Send + 'static,
        on_idle: impl Fn() + Clone + Send + Sync + 'static,
        stopping: &Stopping,
    ) -> io::Result<()> {
        let mut workers = Vec::new();
        for listener in self.all {
            let (serve, stopping) = (serve.clone(), stopping.clone());
            let event_loop = runtime::Builder::new_current_thread()
                .enable_all()
                .event_interval(TASKS_BETWEEN_POLLS)
                .on_thread_park(on_idle.clone())
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
                .unwrap_or_else(|_| Err(io::Error::other("a worker thread panicked")))?;
        }
        Ok(())
    }
}

fn bind_shared(address: SocketAddr) -> io::Result<std::net::TcpListener> {
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
                () = stopping.requested() => {}
            }
        };
        let (stop, stopping) = Stopping::new();
        let idle_threads = Arc::new(Mutex::new(HashSet::new()));
        let recorded_threads = Arc::clone(&idle_threads);
        let on_idle = move || _ = recorded_threads.lock().unwrap().insert(thread::current().id());
        let workers = tokio::spawn(async move { listeners.run(serve, on_idle, &stopping).await });
        // With few cores, each listener is almost certain to get one of these connections.
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
            idle_threads.lock().unwrap().len(),
            cores,
            "each thread reports that it is idle"
        );
    }
}
