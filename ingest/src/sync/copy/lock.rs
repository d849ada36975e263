//! The lock of a copy: a query that runs in ClickHouse as long as the copy's connection is open.
//!
//! ClickHouse runs one query with a query id at a time, and ends a query that only reads when its
//! client goes away. So the lock of a copy that was killed is free again after a moment.

use std::time::{Duration, Instant};

use tokio::{task::JoinSet, time::sleep};
use uuid::Uuid;

use crate::{
    store::{ClickHouseUrl, within},
    sync::{Kind, STATEMENT_TIMEOUT},
    table::Table,
};

/// QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING.
pub(super) const RUNNING: u32 = 216;

/// The lock of a copy that was killed is free before this.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A query that lasts for years.
const HOLD: &str = "SELECT sleepEachRow(1) FROM numbers(1000000000) FORMAT Null";

/// The lock of one table, which is free again once this value is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _query: JoinSet<()>,
}

impl Lock {
    /// Takes the lock of a table.
    ///
    /// # Errors
    /// Another copy of the table runs, or ClickHouse is unreachable.
    pub(super) async fn take(url: &ClickHouseUrl, table: &'static Table) -> Result<Self, Kind> {
        let (client, started) = (url.client(), Instant::now());
        let query_id = format!("rowmill-copy-lock-{}-{}", url.database(), table.name);
        loop {
            let mark = Uuid::now_v7().simple().to_string();
            let hold = client
                .query_raw(&format!("/* {mark} */ {HOLD}"))
                .with_setting("query_id", &query_id)
                .with_setting("cancel_http_readonly_queries_on_client_close", "1")
                .with_setting("max_block_size", "1")
                .with_setting("max_execution_time", "0")
                .with_setting("readonly", "1");
            let mut query = JoinSet::new();
            let (send, mut ended) = tokio::sync::oneshot::channel();
            query.spawn(async move {
                let _ = send.send(hold.execute().await);
            });
            let error = loop {
                let is_held = client
                    .query("SELECT count() FROM system.processes WHERE query_id = ? AND position(query, ?) > 0")
                    .bind(&query_id)
                    .bind(&mark);
                let is_held = within(STATEMENT_TIMEOUT, is_held.fetch_one::<u64>()).await;
                if is_held.map_err(|error| Kind::of("taking the lock of a copy", error))? > 0 {
                    return Ok(Self { _query: query });
                }
                tokio::select! {
                    ended = &mut ended => break ended.ok().and_then(Result::err),
                    () = sleep(Duration::from_millis(50)) => {}
                }
            };
            let error = error.map(crate::store::ClickHouseError::from);
            match error {
                Some(error) if error.code() != Some(RUNNING) => {
                    return Err(Kind::of("taking the lock of a copy", error));
                }
                _ if started.elapsed() > MAX_WAIT => {
                    return Err(Kind::Copy {
                        table: table.name,
                        reason: "another process copies it".to_owned(),
                    });
                }
                _ => sleep(Duration::from_millis(200)).await,
            }
        }
    }
}
