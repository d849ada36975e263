//! Beats: keeps a number, and looks for other processes that beat under it.

use std::time::Duration;

use super::{Lease, last_beat::LastBeat, servers::Server};
use crate::{
    lease::nodes::{Claim, HOLDS, LEFT},
    store::ClickHouseError,
};

/// A process without a beat for this long is not running, or cannot reach ClickHouse.
const MAX_SILENCE: Duration = Duration::from_secs(35);

impl Lease<'_> {
    /// Writes that this process still has its number, and checks for other processes with the
    /// number.
    pub(super) async fn beat(&mut self, servers: &[Server], node: u16) -> Result<(), ClickHouseError> {
        let began = LastBeat::now();
        let mut last_error = None;
        let mut has_beaten = false;
        let mut other = None;
        for server in servers {
            match self.beat_one(server, node).await {
                Ok(found) => {
                    has_beaten = true;
                    other = other.or(found);
                }
                Err(error) => last_error = Some(error),
            }
        }
        if let Some(error) = last_error.filter(|_| !has_beaten) {
            return Err(error);
        }
        self.last_beat = began;
        self.ids.confirm(self.process.id, began.at_ms);
        let Some(other) = other else { return Ok(()) };
        self.report_clash(node, Some(&other));
        if self.chosen.is_some() {
            return Ok(());
        }
        self.release_number();
        for server in servers {
            _ = self.write(server, node, LEFT).await;
        }
        // Boxed, since a claim ends with a beat.
        Box::pin(self.claim(servers)).await
    }

    /// Returns another process that beats under the same number.
    async fn beat_one(&mut self, server: &Server, node: u16) -> Result<Option<Claim>, ClickHouseError> {
        self.write(server, node, HOLDS).await?;
        let claims = self.process.read(&server.client, node).await?;
        let now_ms = claims.first().map_or(0, |claim| claim.now_ms);
        if !self.since_ms.contains_key(&server.index) {
            // Earlier processes may have had a different clock.
            let before = claims.iter().filter(|claim| self.is_foreign(claim));
            self.start_after(node, before.map(Claim::until_ms).max());
        }
        let since_ms = *self.since_ms.entry(server.index).or_insert(now_ms);
        let is_running = |claim: &Claim| {
            claim.last_state == HOLDS
                && claim.last_beat_ms > since_ms
                && claim.silence_ms() < MAX_SILENCE.as_millis() as i64
        };
        // The predecessor counts as well: if it is running, this process's folder is a copy of its
        // folder.
        let mut others = claims.into_iter().filter(|claim| !claim.is_of(self.process.id));
        Ok(others.find(is_running))
    }
}
