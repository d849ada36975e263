//! The ClickHouse servers that rows may go to, and the one that deliveries use.
//!
//! Deliveries use the current server, and wait if no server is ready. A server gets no rows before
//! its tables match the schema, which a separate task ensures.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use crate::{store::Connection, sync::state::State};

/// The servers as deliveries see them.
#[derive(Debug)]
pub(crate) struct ActiveServer<C = Connection> {
    states: watch::Receiver<Vec<State<C>>>,
    /// The position of the server in use.
    current: AtomicUsize,
}

impl<C> ActiveServer<C> {
    pub(crate) fn new(states: watch::Receiver<Vec<State<C>>>) -> Self {
        Self {
            states,
            current: AtomicUsize::new(0),
        }
    }

    /// Returns the current server, or the next ready one, with its position; `None` if no server is
    /// ready.
    pub(crate) fn current(&self) -> Option<(usize, Arc<C>)> {
        let states = self.states.borrow();
        let current = self.current.load(Ordering::Relaxed);
        let mut indexes = (current..states.len()).chain(0..current);
        indexes.find_map(|index| match &states[index] {
            State::Ready(connection) => {
                self.switch(current, index);
                Some((index, Arc::clone(connection)))
            }
            _ => None,
        })
    }

    /// Returns whether rows must wait for a server.
    pub(crate) fn none_ready(&self) -> bool {
        none_ready(&self.states.borrow())
    }

    /// Waits until a server is ready, if the options name any.
    pub(crate) async fn wait(&self) {
        let mut states = self.states.clone();
        // On an error, the sync tasks have ended, since the runtime is about to shut down.
        if states.wait_for(|states| !none_ready(states)).await.is_err() {
            pending().await
        }
    }

    /// Fails over from a server that did not answer. The first delivery to notice moves all
    /// deliveries.
    pub(crate) fn fail_over(&self, index: usize) {
        let next = (index + 1) % self.states.borrow().len().max(1);
        self.switch(index, next);
    }

    fn switch(&self, from: usize, to: usize) {
        _ = self
            .current
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn none_ready<C>(states: &[State<C>]) -> bool {
    !states.is_empty() && !states.iter().any(|state| matches!(state, State::Ready(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::store::ClickHouseUrl;

    fn ready() -> State {
        let url: ClickHouseUrl = "http://127.0.0.1/stats".parse().unwrap();
        State::Ready(Arc::new(Connection::new(&url, Vec::new())))
    }

    #[test]
    fn a_failed_server_is_used_again_if_no_other_is_ready() {
        let (states, receiver) = watch::channel(vec![ready(), State::Unreachable]);
        let servers = ActiveServer::new(receiver);
        let index = || servers.current().map(|(index, _)| index);
        assert!(!servers.none_ready());
        assert_eq!(index(), Some(0));
        servers.fail_over(0);
        assert_eq!(index(), Some(0));

        states.send_modify(|states| states[1] = ready());
        assert_eq!(index(), Some(0), "a server stays current while it answers");
        servers.fail_over(0);
        assert_eq!(index(), Some(1));
        // Another delivery has noticed the same.
        servers.fail_over(0);
        assert_eq!(index(), Some(1));
    }
}
