//! The servers that a lease writes to: all that are ready.

use clickhouse::Client;
use tokio::sync::watch;

use crate::sync::state::State;

/// A ready server, and its position among all servers.
pub(super) struct Server {
    pub(super) index: usize,
    pub(super) client: Client,
}

/// Returns the servers that are ready.
pub(super) fn ready(states: &watch::Receiver<Vec<State>>) -> Vec<Server> {
    let states = states.borrow();
    let servers = states.iter().enumerate().filter_map(|(index, state)| match state {
        State::Ready(connection) => Some(Server {
            index,
            client: connection.queries.clone(),
        }),
        _ => None,
    });
    servers.collect()
}
