//! The servers that a table's rows may go to: any of the writer's, or those of one shard.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{
    backend::Backend,
    servers::{PoolServer, ServerPool},
    shard_servers::{Chosen, ShardServers},
};
use crate::{
    block::sealed::SealedBlock,
    store::{Class, ClickHouseError},
};

/// The servers that a table's rows may go to.
#[derive(Debug)]
pub(super) enum Target<'a, B> {
    /// The writer's servers, with one permit for each insert that may run at a time.
    Any(&'a ServerPool<B>, &'a Semaphore),
    Shard(&'a ShardServers<B>),
}

impl<B> Clone for Target<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Target<'_, B> {}

/// The server of one try.
#[derive(Debug)]
pub(super) enum Server<B> {
    /// One of the writer's servers.
    Any(PoolServer<B>),
    Shard(Chosen<B>),
}

impl<'a, B: Backend> Target<'a, B> {
    /// Returns whether rows must wait for a server.
    pub(super) fn none_ready(self) -> bool {
        match self {
            Self::Any(servers, _) => servers.none_ready(),
            Self::Shard(servers) => servers.none_ready(),
        }
    }

    /// Waits until a server is ready.
    pub(super) async fn wait(self) {
        match self {
            Self::Any(servers, _) => servers.wait().await,
            Self::Shard(servers) => servers.wait().await,
        }
    }

    /// Returns whether blocks take turns over several servers.
    pub(super) fn has_turns(self) -> bool {
        matches!(self, Self::Any(pool, _) if pool.has_turns())
    }

    /// Returns the permits for inserts.
    pub(super) fn permits(self) -> &'a Semaphore {
        match self {
            Self::Any(_, permits) => permits,
            Self::Shard(servers) => &servers.permits,
        }
    }

    /// Records the outcome of a try, so that later ones go to a server that answers.
    pub(super) fn record(self, server: &Server<B>, block: &SealedBlock, error: Option<&ClickHouseError>) {
        let is_unreachable = error.is_some_and(ClickHouseError::is_unreachable);
        match (self, server) {
            (Self::Any(servers, _), Server::Any(server)) => {
                // Another server may accept what this one refuses until an operator acts.
                let is_refusing = error.is_some_and(|error| error.class() == Class::Hold && !error.is_view_error());
                servers.record(server, !(is_unreachable || is_refusing && servers.has_turns()));
            }
            (Self::Shard(_), Server::Shard(chosen)) => {
                chosen.record(!is_unreachable);
                if error.is_some_and(ClickHouseError::may_be_stored) {
                    block.state().sent_to = Some(Arc::clone(chosen.address()));
                }
            }
            _ => {}
        }
    }
}

impl<B> Server<B> {
    pub(super) fn backend(&self) -> &B {
        match self {
            Self::Any(server) => server.backend(),
            Self::Shard(chosen) => chosen.backend(),
        }
    }
}
