//! The ClickHouse servers of the writer's URLs, and the one that gets the next insert.
//!
//! A server gets no rows before its tables match the schema, which a separate task ensures. Of the
//! servers that are ready, the one with the fewest inserts in flight gets the next block, and equal
//! ones take turns. A server that does not answer gets no blocks until a small query shows that it
//! answers again, so it delays one block and no more. If no server answers, all are tried.

use std::{
    future::pending,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use super::backend::Backend;
use crate::{
    store::{Connection, backoff::Backoff},
    sync::state::State,
};

/// The waits before a server that did not answer is asked again.
const AWAY: Backoff = Backoff {
    first: Duration::from_secs(1),
    cap: Duration::from_secs(10),
};

/// The longest time of the query that asks whether a server answers again.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Which of several servers gets the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turns {
    /// One server as long as it answers, and then the next one. All servers must have the same rows.
    One,
    /// The one with the fewest inserts in flight. Servers may have rows of their own, since a block
    /// that may be stored stays with its server.
    All,
}

/// The servers as deliveries see them.
#[derive(Debug)]
pub(crate) struct ServerPool<C = Connection> {
    states: watch::Receiver<Vec<State<C>>>,
    turns: Turns,
    load: Arc<Mutex<Load>>,
}

/// What the deliveries know about the servers.
#[derive(Debug, Default)]
struct Load {
    servers: Vec<ServerLoad>,
    /// The position of the server whose turn it is.
    next: usize,
}

/// What the deliveries know about one server.
#[derive(Debug, Clone, Default)]
struct ServerLoad {
    in_flight: usize,
    /// The number of requests in a row that the server did not answer.
    failures: u32,
    is_away: bool,
    is_probed: bool,
}

/// The server of one insert, which counts as in flight until this is dropped.
#[derive(Debug)]
pub(super) struct PoolServer<C> {
    index: usize,
    backend: Arc<C>,
    load: Arc<Mutex<Load>>,
}

impl<C> ServerPool<C> {
    pub(crate) fn new(states: watch::Receiver<Vec<State<C>>>, turns: Turns) -> Self {
        let servers = vec![ServerLoad::default(); states.borrow().len()];
        Self {
            states,
            turns,
            load: Arc::new(Mutex::new(Load { servers, next: 0 })),
        }
    }

    /// Returns the number of servers, whether they answer or not.
    pub(super) fn len(&self) -> usize {
        self.states.borrow().len()
    }

    /// Returns whether blocks take turns if there are several servers.
    pub(super) fn may_have_turns(&self) -> bool {
        self.turns == Turns::All
    }

    /// Returns whether blocks go to several servers, so that each must stay with its own while it may
    /// be stored.
    pub(super) fn has_turns(&self) -> bool {
        self.turns == Turns::All && self.len() > 1
    }

    /// Returns the server of the next insert; `None` if no server is ready.
    pub(super) fn choose(&self) -> Option<PoolServer<C>> {
        let ready = self.ready();
        let mut load = self.lock();
        let count = load.servers.len().max(1);
        let start = load.next % count;
        let rank = |(index, _): &&(usize, Arc<C>)| {
            let server = &load.servers[*index];
            let turn = (*index + count - start) % count;
            let in_flight = match self.turns {
                Turns::One => 0,
                Turns::All => server.in_flight,
            };
            (server.is_away, in_flight, turn)
        };
        let (index, backend) = ready.iter().min_by_key(rank)?;
        load.next = match self.turns {
            Turns::One => *index,
            Turns::All => index + 1,
        };
        load.servers[*index].in_flight += 1;
        drop(load);
        Some(self.server(*index, backend))
    }

    /// Returns the servers that answer, beginning with the first URL, or all that are ready if none
    /// answers.
    pub(super) fn usable(&self) -> Vec<PoolServer<C>> {
        let ready = self.ready();
        let mut load = self.lock();
        let is_any = ready.iter().any(|(index, _)| !load.servers[*index].is_away);
        let is_usable = |index: usize| !is_any || !load.servers[index].is_away;
        let usable: Vec<_> = ready.into_iter().filter(|(index, _)| is_usable(*index)).collect();
        for (index, _) in &usable {
            load.servers[*index].in_flight += 1;
        }
        drop(load);
        usable
            .iter()
            .map(|(index, backend)| self.server(*index, backend))
            .collect()
    }

    /// Returns the servers that have rows: all of them if blocks take turns, and otherwise the one in use.
    /// `None` if one of them is not ready, or does not answer.
    pub(super) fn all_with_rows(&self) -> Option<Vec<Arc<C>>> {
        if !self.has_turns() {
            return Some(vec![Arc::clone(&self.choose()?.backend)]);
        }
        let ready = self.ready();
        let load = self.lock();
        let is_complete = ready.len() == load.servers.len() && !load.servers.iter().any(|server| server.is_away);
        is_complete.then(|| ready.into_iter().map(|(_, backend)| backend).collect())
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

    fn ready(&self) -> Vec<(usize, Arc<C>)> {
        let states = self.states.borrow();
        let ready = states.iter().enumerate().filter_map(|(index, state)| match state {
            State::Ready(connection) => Some((index, Arc::clone(connection))),
            _ => None,
        });
        ready.collect()
    }

    /// Returns a server that is counted as in flight already.
    fn server(&self, index: usize, backend: &Arc<C>) -> PoolServer<C> {
        PoolServer {
            index,
            backend: Arc::clone(backend),
            load: Arc::clone(&self.load),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Backend> ServerPool<C> {
    /// Records whether a server answered. One that did not is asked at intervals until it does.
    pub(super) fn record(&self, server: &PoolServer<C>, has_answered: bool) {
        let mut load = self.lock();
        let count = load.servers.len();
        let Load { servers, next } = &mut *load;
        let known = &mut servers[server.index];
        if has_answered {
            (known.failures, known.is_away) = (0, false);
            return;
        }
        known.failures = known.failures.saturating_add(1);
        if count == 1 {
            return;
        }
        if self.turns == Turns::One {
            *next = (server.index + 1) % count;
        }
        known.is_away = true;
        if !known.is_probed {
            known.is_probed = true;
            tokio::spawn(probe(
                Arc::downgrade(&self.load),
                server.index,
                Arc::clone(&server.backend),
            ));
        }
    }
}

impl<C> PoolServer<C> {
    pub(super) fn backend(&self) -> &C {
        &self.backend
    }
}

impl<C> Drop for PoolServer<C> {
    fn drop(&mut self) {
        let mut load = self.load.lock().unwrap_or_else(PoisonError::into_inner);
        load.servers[self.index].in_flight -= 1;
    }
}

/// Asks a server until it answers, or until the deliveries have ended.
async fn probe<C: Backend>(load: Weak<Mutex<Load>>, index: usize, backend: Arc<C>) {
    let update = |change: fn(&mut ServerLoad)| {
        let load = load.upgrade()?;
        let mut load = load.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut load.servers[index]);
        Some(load.servers[index].clone())
    };
    while let Some(server) = update(|server| server.is_probed = server.is_away) {
        if !server.is_away {
            return;
        }
        sleep(AWAY.wait(server.failures)).await;
        if backend.answers(PROBE_TIMEOUT).await {
            // The failures stay: a server that answers this query and no insert is left out for longer
            // each time.
            update(|server| server.is_away = false);
        } else {
            update(|server| server.failures = server.failures.saturating_add(1));
        }
    }
}

fn none_ready<C>(states: &[State<C>]) -> bool {
    !states.is_empty() && !states.iter().any(|state| matches!(state, State::Ready(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::deliver::tests::fake_backend::FakeBackend;

    fn ready(name: &'static str) -> State<FakeBackend> {
        State::Ready(Arc::new(FakeBackend::silent(name)))
    }

    fn index(pool: &ServerPool<FakeBackend>) -> Option<usize> {
        pool.choose().map(|server| server.index)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_server_is_used_again_if_no_other_is_ready() {
        let (states, receiver) = watch::channel(vec![ready("a"), State::Unreachable]);
        let pool = ServerPool::new(receiver, Turns::One);
        assert!(!pool.none_ready());
        let first = pool.choose().unwrap();
        pool.record(&first, false);
        assert_eq!(index(&pool), Some(0));

        states.send_modify(|states| states[1] = ready("b"));
        assert_eq!(index(&pool), Some(1));
        // Another delivery notices the same.
        pool.record(&first, false);
        assert_eq!(index(&pool), Some(1));
        tokio::time::sleep(3 * AWAY.cap).await;
        assert_eq!(index(&pool), Some(1), "a server stays current while it answers");
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_with_the_fewest_inserts_is_next_and_equal_ones_take_turns() {
        let (_states, receiver) = watch::channel(vec![ready("a"), ready("b"), ready("c")]);
        let pool = ServerPool::new(receiver, Turns::All);
        let in_turn: Vec<_> = (0..6).map(|_| index(&pool).unwrap()).collect();
        assert_eq!(in_turn, [0, 1, 2, 0, 1, 2]);
        let (first, second) = (pool.choose().unwrap(), pool.choose().unwrap());
        assert_eq!((first.index, second.index), (0, 1));
        assert_eq!([index(&pool), index(&pool)], [Some(2), Some(2)]);
        drop(first);
        let both: Vec<_> = (0..4).map(|_| index(&pool).unwrap()).collect();
        assert_eq!(both, [0, 2, 0, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_left_out_until_it_answers_again() {
        let (_states, receiver) = watch::channel(vec![ready("a"), ready("b")]);
        let pool = ServerPool::new(receiver, Turns::All);
        let silent = pool.choose().unwrap();
        pool.record(&silent, false);
        drop(silent);
        assert!((0..9).all(|_| index(&pool) == Some(1)));
        assert!(pool.all_with_rows().is_none() && pool.usable().len() == 1);
        // The fake answers the query.
        tokio::time::sleep(2 * AWAY.first).await;
        assert!((0..2).any(|_| index(&pool) == Some(0)));
        assert_eq!(pool.all_with_rows().map(|all| all.len()), Some(2));
    }
}
