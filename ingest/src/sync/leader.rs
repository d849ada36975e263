//! Lets one collector at a time change the tables of a server: the leader. The others wait until
//! nothing is missing, or until the leader has ended.
//!
//! Each statement may run twice, so leadership keeps statements few and is no lock: two leaders would
//! do no harm. On a cluster, twenty collectors would otherwise queue each statement twenty times, and
//! replicas refuse changes of one table that meet.
//!
//! A leader has a row in `rowmill_nodes` under a number that no node has, and writes it again while
//! its statements run. As for a node number, a collector asks, then reads who else asks, and
//! withdraws if anyone does. So of those that ask at the same moment, at most one leads.

use std::time::Duration;

use tokio::time::sleep;
use uuid::Uuid;

use super::{CREATE_DATABASE, Kind, Plan, apply_plan, make_plan, run};
use crate::{
    ids::base::MAX_NODE,
    store::{ClickHouseError, ClickHouseUrl, within},
    table::{Schema, node_leases::NODES},
};

/// The number of the leader's row.
const LEADER: u16 = MAX_NODE + 1;

/// The interval at which a leader writes its row.
const BEAT: Duration = Duration::from_secs(3);

/// A leader without a beat for this long has ended, or cannot reach ClickHouse.
const MAX_SILENCE: Duration = Duration::from_secs(10);

/// The shortest wait before a collector that does not lead looks again. The longest is three times as
/// long, so that those that asked at once do not ask again at once.
const PAUSE: Duration = Duration::from_millis(200);

/// The timeout of a statement about the row.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A collector that may lead at a server. It is the same one over several attempts, so that it need not
/// wait for itself.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    url: &'a ClickHouseUrl,
    id: Uuid,
    beats: u64,
}

/// Applies the schema as [`apply`](super::apply) does, if this collector is the leader. Otherwise returns
/// once there is nothing to apply.
///
/// # Errors
/// As for [`apply`](super::apply).
pub(super) async fn apply_as_leader(candidate: &mut Candidate<'_>, schema: &Schema) -> Result<Plan, Kind> {
    let url = candidate.url;
    let mut is_prepared = false;
    loop {
        let plan = make_plan(url, schema).await?;
        if !plan.has_changes() {
            return apply_plan(url, schema, plan).await;
        }
        if !is_prepared {
            prepare(url, &plan).await?;
            is_prepared = true;
        }
        match candidate.leads().await {
            Ok(true) => {}
            Ok(false) => {
                sleep(PAUSE.mul_f64(1.0 + 2.0 * fastrand::f64())).await;
                continue;
            }
            Err(error) if error.is_transient() => return Err(Kind::of("asking for the lead", error)),
            // For example, the user may not write into the table of nodes.
            Err(error) => {
                tracing::debug!(store = %url, %error, "the schema is applied without a leader");
                return apply_plan(url, schema, plan).await;
            }
        }
        let applied = async {
            // The leader before may have ended just now.
            let plan = make_plan(url, schema).await?;
            apply_plan(url, schema, plan).await
        };
        let applied = tokio::select! {
            applied = applied => applied,
            never = candidate.beat() => never,
        };
        _ = candidate.write("left").await;
        return applied;
    }
}

/// Creates the database and the table of nodes, if they are missing. Collectors that start at once
/// may do so at once.
async fn prepare(url: &ClickHouseUrl, plan: &Plan) -> Result<(), Kind> {
    let name = format!(".`{}`", NODES.name);
    for statement in &plan.statements {
        if statement.starts_with(CREATE_DATABASE) {
            run(&url.server_client(), statement).await?;
        } else if statement.starts_with("CREATE TABLE ")
            && statement.lines().next().is_some_and(|line| line.contains(&name))
        {
            run(&url.client(), statement).await?;
        }
    }
    Ok(())
}

impl<'a> Candidate<'a> {
    pub(super) fn new(url: &'a ClickHouseUrl) -> Self {
        Self {
            url,
            id: Uuid::now_v7(),
            beats: 0,
        }
    }

    /// Asks for the lead. Returns whether this collector is the leader.
    async fn leads(&mut self) -> Result<bool, ClickHouseError> {
        if self.others("last_state = 'holds'").await? > 0 {
            return Ok(false);
        }
        self.write("asks").await?;
        let is_alone = self.others("last_state != 'left'").await? == 0;
        self.write(if is_alone { "holds" } else { "left" }).await?;
        Ok(is_alone)
    }

    /// Writes the leader's row at intervals, and never returns.
    async fn beat<T>(&mut self) -> T {
        loop {
            sleep(BEAT).await;
            if let Err(error) = self.write("holds").await {
                tracing::debug!(store = %self.url, %error, "the leader could not write its row");
            }
        }
    }

    /// Returns the number of other collectors that have been in such a state a moment ago.
    async fn others(&self, condition: &str) -> Result<u64, ClickHouseError> {
        let select = format!(
            "SELECT count() FROM (SELECT argMax(state, beats) AS last_state, max(beat) AS last FROM rowmill_nodes \
             WHERE node = {LEADER} AND process != toUUID('{}') GROUP BY process) \
             WHERE {condition} AND last > now64(3) - toIntervalSecond({}) SETTINGS select_sequential_consistency = 1",
            self.id,
            MAX_SILENCE.as_secs()
        );
        within(TIMEOUT, self.url.client().query_raw(&select).fetch_one()).await
    }

    async fn write(&mut self, state: &str) -> Result<(), ClickHouseError> {
        self.beats += 1;
        // A leader makes no ids, and its start says nothing.
        let insert = format!(
            "INSERT INTO rowmill_nodes (node, process, state, beats, beat, started, host, ids_until) \
             SELECT toUInt16({LEADER}), toUUID('{}'), '{state}', toUInt64({}), now64(3), \
             fromUnixTimestamp64Milli(toInt64(0)), 'schema', fromUnixTimestamp64Milli(toInt64(0))",
            self.id, self.beats
        );
        within(TIMEOUT, self.url.client().query_raw(&insert).execute()).await
    }
}
