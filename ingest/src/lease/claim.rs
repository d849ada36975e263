//! Claims a number: asks the servers for it, and withdraws if another process has it.

use std::time::Duration;

use tokio::time::sleep;

use super::{Lease, last_beat::LastBeat, servers::Server};
use crate::{
    ids::base::Base,
    lease::nodes::{self, ASKS, Claim, LEFT, choose, unix_ms},
    store::ClickHouseError,
};

/// The maximum number of node numbers to try in one round. More than a few of them are in use
/// only if as many processes start at the same moment.
const MAX_TRIES: u32 = 16;

impl Lease<'_> {
    /// Claims a number: the one that the ids already have, otherwise a free one.
    pub(super) async fn claim(&mut self, servers: &[Server]) -> Result<(), ClickHouseError> {
        let mut kept = self.ids.base().node();
        for _ in 0..MAX_TRIES {
            let began = LastBeat::now();
            let claims = all_claims(servers).await?;
            let Some(node) = kept.or(self.asking).or_else(|| choose(&claims, fastrand::u64(..))) else {
                if self.should_log() {
                    tracing::error!("all node numbers are in use: ids use the places of processes without a number");
                }
                return Ok(());
            };
            self.asking = Some(node);
            let used_until_ms = self.used_until_ms(node, &claims);
            let is_alone = self.ask_for(servers, node, used_until_ms).await?;
            self.asking = None;
            if is_alone {
                self.last_beat = began;
                self.hold(node, &claims);
                return self.beat(servers, node).await;
            }
            if kept.take().is_some() {
                // Since the start, the other process may have made the same ids.
                self.report_clash(node, None);
                self.release_number();
            }
            sleep(Duration::from_millis(fastrand::u64(..50))).await;
        }
        Ok(())
    }

    /// Returns a time that is not before any id that this process has made with `node`.
    fn used_until_ms(&self, node: u16, claims: &[Claim]) -> u64 {
        if self.ids.base().node() == Some(node) {
            return self.covered_until_ms();
        }
        let own = claims
            .iter()
            .filter(|claim| claim.node == node && claim.is_of(self.process.id));
        own.map(Claim::until_ms).max().unwrap_or(0)
    }

    /// Asks each server for a number, and withdraws if another process has it. Returns whether this
    /// process is alone with the number. `used_until_ms` is the time of this process's last id with
    /// the number, or 0.
    async fn ask_for(&mut self, servers: &[Server], node: u16, used_until_ms: u64) -> Result<bool, ClickHouseError> {
        let mut last_error = None;
        let mut asked = Vec::new();
        let mut is_alone = true;
        for server in servers {
            match self.ask_one(server, node).await {
                Ok(is_free) => {
                    asked.push(server);
                    is_alone &= is_free;
                }
                Err(error) => last_error = Some(error),
            }
        }
        if asked.is_empty() {
            return last_error.map_or(Ok(false), Err);
        }
        if !is_alone {
            for server in asked {
                // Without this, the row would count until its lease ends. A time in the future
                // would keep the number from others.
                _ = self.process.write(&server.client, node, LEFT, used_until_ms).await;
            }
        }
        Ok(is_alone)
    }

    async fn ask_one(&mut self, server: &Server, node: u16) -> Result<bool, ClickHouseError> {
        self.write(server, node, ASKS).await?;
        let claims = self.process.read(&server.client, node).await?;
        Ok(!claims.iter().any(|claim| self.is_foreign(claim) && claim.is_alive()))
    }

    /// Moves the ids to a number that has just been claimed, after all ids that others have made
    /// with it.
    fn hold(&mut self, node: u16, claims: &[Claim]) {
        self.held = Some(node);
        self.since_ms.clear();
        let foreign = claims
            .iter()
            .filter(|claim| claim.node == node && self.is_foreign(claim));
        self.start_after(node, foreign.map(Claim::until_ms).max());
        let base = Base::of_node(node).expect("a number that is chosen is in range");
        if self.ids.base() != base {
            tracing::info!(node, "the process has a node number for its ids");
        }
        self.ids.move_to(base, self.process.id, unix_ms());
    }
}

/// Returns the claims of all servers that answer.
async fn all_claims(servers: &[Server]) -> Result<Vec<Claim>, ClickHouseError> {
    let mut all = Vec::new();
    let mut last_error = None;
    let mut has_read = false;
    for server in servers {
        match nodes::all_claims(&server.client).await {
            Ok(claims) => {
                has_read = true;
                all.extend(claims);
            }
            Err(error) => last_error = Some(error),
        }
    }
    match last_error {
        Some(error) if !has_read => Err(error),
        _ => Ok(all),
    }
}
