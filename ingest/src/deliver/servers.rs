//! Stores: the ClickHouse servers that rows may go to, and which of them have the tables that the rows are for.
//!
//! Deliveries take the one that is in use, and wait where there is none yet. A server is given nothing
//! before its tables are as the schema says, which a task of its own sees to.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use crate::{
    store::{Connection, StoreUrl},
    sync::SyncError,
};

/// The ClickHouse servers that rows may go to: one, or replicas of each other, of which one is used as long as it answers.
///
/// The writer brings the tables of each server to the schema before it sends a row there, as
/// [`sync`](crate::sync()) does, and waits for a server that is unavailable.
/// [`without_sync`](Self::without_sync) leaves the tables to somebody else.
#[derive(Debug, Clone)]
pub struct Stores(Vec<Store>);

/// One server.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) url: StoreUrl,
    /// Its tables are brought to the schema first.
    pub(crate) is_synced: bool,
}

impl Stores {
    /// Returns one server whose tables are taken as they are: somebody else has made them.
    pub fn without_sync(url: StoreUrl) -> Self {
        Self::without_sync_of([url])
    }

    /// Returns replicas whose tables are taken as they are: somebody else has made them.
    pub fn without_sync_of(urls: impl IntoIterator<Item = StoreUrl>) -> Self {
        let store = |url| Store { url, is_synced: false };
        Self(urls.into_iter().map(store).collect())
    }

    pub(crate) fn into_vec(self) -> Vec<Store> {
        self.0
    }
}

impl From<StoreUrl> for Stores {
    fn from(url: StoreUrl) -> Self {
        Self::from_iter([url])
    }
}

/// Without any, nothing is delivered.
impl FromIterator<StoreUrl> for Stores {
    fn from_iter<T: IntoIterator<Item = StoreUrl>>(urls: T) -> Self {
        let store = |url| Store { url, is_synced: true };
        Self(urls.into_iter().map(store).collect())
    }
}

/// How far the tables of a server are.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// Nobody has looked yet.
    Unknown,
    /// The server could not be asked, and is asked again.
    Away,
    /// It has to be changed by a person, or the schema has to, and is looked at again.
    Refused(Arc<SyncError>),
    /// They are as the schema says; rows are sent over this connection.
    Ready(Arc<Connection>),
}

/// How far the tables are that rows are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// A server has them as the schema says; rows go there.
    Ready,
    /// No server could be asked yet. Rows wait.
    Waiting,
    /// The database and the schema differ, or ClickHouse refuses what is missing: somebody has to act. Rows wait.
    Refused,
}

/// The servers as deliveries see them.
#[derive(Debug)]
pub(crate) struct Servers {
    states: watch::Receiver<Vec<State>>,
    /// Which of them is used.
    current: AtomicUsize,
}

impl Servers {
    pub(crate) fn new(states: watch::Receiver<Vec<State>>) -> Self {
        Self {
            states,
            current: AtomicUsize::new(0),
        }
    }

    /// Returns the server that is used, or the next one that is ready, with its place; none if none is.
    pub(crate) fn used(&self) -> Option<(usize, Arc<Connection>)> {
        let states = self.states.borrow();
        let used = self.current.load(Ordering::Relaxed);
        let mut places = (used..states.len()).chain(0..used);
        places.find_map(|place| match &states[place] {
            State::Ready(connection) => {
                self.go(used, place);
                Some((place, Arc::clone(connection)))
            }
            _ => None,
        })
    }

    /// Returns whether rows have to wait for a server.
    pub(crate) fn are_awaited(&self) -> bool {
        are_awaited(&self.states.borrow())
    }

    /// Waits until a server is ready, if any is named.
    pub(crate) async fn wait(&self) {
        let mut states = self.states.clone();
        // An error: nobody looks after them any more, since the runtime is about to end.
        if states.wait_for(|states| !are_awaited(states)).await.is_err() {
            pending().await
        }
    }

    /// Goes on from a server that did not answer; whoever notices first moves all of them on.
    pub(crate) fn leave(&self, place: usize) {
        let next = (place + 1) % self.states.borrow().len().max(1);
        self.go(place, next);
    }

    fn go(&self, from: usize, to: usize) {
        _ = self
            .current
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn are_awaited(states: &[State]) -> bool {
    !states.is_empty() && !states.iter().any(|state| matches!(state, State::Ready(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ready() -> State {
        let url: StoreUrl = "http://127.0.0.1/stats".parse().unwrap();
        State::Ready(Arc::new(Connection::new(&url, Vec::new())))
    }

    #[test]
    fn a_server_that_was_left_is_taken_again_where_no_other_is_ready() {
        let (states, receiver) = watch::channel(vec![ready(), State::Away]);
        let servers = Servers::new(receiver);
        let place = || servers.used().map(|(place, _)| place);
        assert!(!servers.are_awaited());
        assert_eq!(place(), Some(0));
        servers.leave(0);
        assert_eq!(place(), Some(0));

        states.send_modify(|states| states[1] = ready());
        assert_eq!(place(), Some(0), "it is used as long as it answers");
        servers.leave(0);
        assert_eq!(place(), Some(1));
        // Somebody else has noticed the same.
        servers.leave(0);
        assert_eq!(place(), Some(1));
    }
}
