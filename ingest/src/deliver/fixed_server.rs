//! The server of a try, where blocks take turns over several servers.
//!
//! Each server may have rows and tokens of its own, so only the server that may have rows can tell
//! whether it has them. The spool records the server of a block before the rows are sent. As long as
//! a row of the block may be stored, the block stays with this server, or with another one that has
//! the same replicated table. Other blocks go on meanwhile.

use std::sync::Arc;

use super::{
    backend::Backend,
    failure::Failure,
    lookup::Found,
    servers::{PoolServer, ServerPool},
    table::TableDelivery,
    target::{Server, Target},
};
use crate::{
    block::{parts::Part, sealed::SealedBlock},
    store::ClickHouseError,
};

/// The text between the URL of a server and the name of its store.
const STORE: char = '\n';

impl<B: Backend> TableDelivery<'_, B> {
    /// Returns the server for a try with rows of `block`.
    ///
    /// # Errors
    /// No server is ready, the server that may have the rows does not answer, or a query failed.
    pub(super) async fn server_for(&self, block: &Arc<SealedBlock>, part: &Part) -> Result<Server<B>, Failure> {
        let none = || Failure::Server(ClickHouseError::no_server());
        let pool = match self.target {
            Target::Shard(servers) => {
                let is_in_doubt = self.reader.is_in_doubt(block, part);
                let sent_to = block.state().sent_to.clone().filter(|_| is_in_doubt);
                let chosen = servers.choose(&block.layout.table, sent_to.as_deref());
                return chosen.map(Server::Shard).ok_or_else(none);
            }
            Target::Any(pool, _) => pool,
        };
        let (is_in_doubt, sent_to) = {
            let state = block.state();
            (state.parts.has_doubt(), state.sent_to.clone())
        };
        let server = match sent_to {
            _ if !is_in_doubt || !pool.may_have_turns() => pool.choose(),
            // Also the only server may be another one than at an earlier start.
            Some(sent_to) => Some(self.known_server(pool, block, &sent_to).await?),
            None if pool.has_turns() => self.search(pool, block, part).await?,
            None => pool.choose(),
        };
        let server = server.ok_or_else(none)?;
        if !pool.has_turns() {
            return Ok(Server::Any(server));
        }
        let name = self.name_of(pool, &server, block).await?;
        let is_known = block.state().sent_to.as_deref() == Some(&*name);
        if !is_known {
            self.reader.send_to(block, name.into()).await;
        }
        Ok(Server::Any(server))
    }

    /// Returns the server that rows have gone to, or one that has the same store.
    async fn known_server(
        &self,
        pool: &ServerPool<B>,
        block: &SealedBlock,
        sent_to: &str,
    ) -> Result<PoolServer<B>, Failure> {
        let (address, store) = match sent_to.split_once(STORE) {
            Some((address, store)) => (address, Some(store)),
            None => (sent_to, None),
        };
        let mut usable = pool.usable();
        let same = usable.iter().position(|server| server.backend().address() == address);
        if let Some(same) = same {
            return Ok(usable.swap_remove(same));
        }
        if store.is_some() {
            for server in usable {
                if self.store_of(pool, &server, block).await?.as_deref() == store {
                    return Ok(server);
                }
            }
        }
        Err(Failure::Away(address.to_owned()))
    }

    /// Returns the server that has rows of which the spool does not know the server: those that a
    /// collector with one URL has left, or that were not sent before a restart. If no server shows them,
    /// the next one in turn gets them; if the servers cannot tell, the first one. Until all servers
    /// answer, one that does not may have the rows.
    async fn search(
        &self,
        pool: &ServerPool<B>,
        block: &Arc<SealedBlock>,
        part: &Part,
    ) -> Result<Option<PoolServer<B>>, Failure> {
        let usable = pool.usable();
        // A server that becomes ready meanwhile is not among them.
        let is_complete = usable.len() == pool.len();
        let mut unknowing = None;
        for server in usable {
            let lookup = self.look_up(server.backend(), block, part).await;
            if let Err(Failure::Server(error)) = &lookup {
                pool.record(&server, !error.is_unreachable());
            }
            match lookup?.found {
                Found::All | Found::Some(_) | Found::Running => return Ok(Some(server)),
                Found::Unknowable => _ = unknowing.get_or_insert(server),
                Found::None => {}
            }
        }
        if !is_complete {
            return Err(Failure::Away("one of the URLs".to_owned()));
        }
        Ok(unknowing.or_else(|| pool.choose()))
    }

    /// Returns the text by which the spool knows a server and the store of the block's table.
    async fn name_of(
        &self,
        pool: &ServerPool<B>,
        server: &PoolServer<B>,
        block: &SealedBlock,
    ) -> Result<String, Failure> {
        let address = server.backend().address();
        Ok(match self.store_of(pool, server, block).await? {
            Some(store) => format!("{address}{STORE}{store}"),
            None => address,
        })
    }

    async fn store_of(
        &self,
        pool: &ServerPool<B>,
        server: &PoolServer<B>,
        block: &SealedBlock,
    ) -> Result<Option<Arc<str>>, Failure> {
        let store = server.backend().store_of(&block.layout.table, self.delivery.timeout);
        store.await.map_err(|error| {
            pool.record(server, !error.is_unreachable());
            Failure::Server(error.of_lookup())
        })
    }
}
