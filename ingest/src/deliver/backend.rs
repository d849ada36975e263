//! The requests of delivery to ClickHouse, behind a trait, so that tests of delivery need no
//! server.

use std::{
    fmt::Debug,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use super::{
    Changes, Failure,
    adapt::{Origin, adapt},
    compress::Form,
    lookup::Lookup,
    view_search::{NumberedRow, RefusedRows, Search},
};
use crate::{
    block::{content::BlockRows, layout::InsertTarget, parts::Part, sealed::SealedBlock},
    store::{ClickHouseError, Connection, InsertRequest, within},
};

/// A server that delivery inserts rows into. Each request takes at most the timeout that it is
/// given.
pub(crate) trait Backend: Debug + Send + Sync + 'static {
    /// Returns whether rows count as stored only once further replicas have them.
    fn has_quorum(&self) -> bool;

    /// Returns the URL of the server, without credentials.
    fn address(&self) -> String;

    /// Returns whether the server answers a small query.
    fn answers(&self, timeout: Duration) -> impl Future<Output = bool> + Send;

    /// Returns the name of the store that the rows and the tokens of a table are in, if several
    /// servers may share it: the path of a replicated table in Keeper, or the shards of a
    /// Distributed one. `None`: the server has them for itself.
    fn store_of(
        &self,
        table: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<Arc<str>>, ClickHouseError>> + Send;

    /// Inserts rows, and returns once the server has confirmed that they are stored.
    fn insert(
        &self,
        request: InsertRequest<'_>,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), ClickHouseError>> + Send;

    /// Checks which rows of `part` the block's table has. `rows` are those of the part.
    fn look_up(
        &self,
        block: &SealedBlock,
        part: &Part,
        rows: &BlockRows,
        timeout: Duration,
    ) -> impl Future<Output = Result<Lookup, ClickHouseError>> + Send;

    /// Returns whether a table is not exactly as in the schema, so that rows of this build need
    /// another form.
    fn is_converting(&self) -> &AtomicBool;

    /// Returns the form in which rows fit their table as it is now.
    fn form_of(
        &self,
        layout: &InsertTarget,
        changes: &Changes,
        origin: Origin,
        timeout: Duration,
    ) -> impl Future<Output = Result<Form, Failure>> + Send;

    /// Runs a statement under a query id, and returns once it has ended.
    fn execute(
        &self,
        sql: &str,
        query_id: String,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), ClickHouseError>> + Send;

    /// Runs a query for one column of strings.
    fn strings(
        &self,
        sql: &str,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<String>, ClickHouseError>> + Send;

    /// Returns the rows that materialized views over the block's table refuse, for each view that
    /// refuses any.
    fn refused_by_views(
        &self,
        block: &SealedBlock,
        rows: &[NumberedRow],
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<RefusedRows>, ClickHouseError>> + Send;
}

impl Backend for Connection {
    fn has_quorum(&self) -> bool {
        self.has_quorum
    }

    fn address(&self) -> String {
        self.inserts.url().to_string()
    }

    async fn answers(&self, timeout: Duration) -> bool {
        within(timeout, self.queries.query_raw("SELECT 1").execute())
            .await
            .is_ok()
    }

    async fn store_of(&self, table: &str, timeout: Duration) -> Result<Option<Arc<str>>, ClickHouseError> {
        self.stores.of(&self.queries, table, timeout).await
    }

    async fn insert(&self, request: InsertRequest<'_>, timeout: Duration) -> Result<(), ClickHouseError> {
        self.inserts.insert(request, timeout).await
    }

    async fn look_up(
        &self,
        block: &SealedBlock,
        part: &Part,
        rows: &BlockRows,
        timeout: Duration,
    ) -> Result<Lookup, ClickHouseError> {
        Lookup::of(self, block, part, rows, timeout).await
    }

    fn is_converting(&self) -> &AtomicBool {
        &self.is_converting
    }

    async fn form_of(
        &self,
        layout: &InsertTarget,
        changes: &Changes,
        origin: Origin,
        timeout: Duration,
    ) -> Result<Form, Failure> {
        adapt(&self.queries, layout, changes, origin, timeout).await
    }

    async fn execute(&self, sql: &str, query_id: String, timeout: Duration) -> Result<(), ClickHouseError> {
        let query = self.queries.query_raw(sql).with_setting("query_id", query_id);
        let query = query.with_setting("wait_end_of_query", "1");
        within(timeout, query.execute()).await
    }

    async fn strings(&self, sql: &str, timeout: Duration) -> Result<Vec<String>, ClickHouseError> {
        within(timeout, self.queries.query_raw(sql).fetch_all()).await
    }

    async fn refused_by_views(
        &self,
        block: &SealedBlock,
        rows: &[NumberedRow],
        timeout: Duration,
    ) -> Result<Vec<RefusedRows>, ClickHouseError> {
        Search::of(&self.queries, block, timeout).refused(rows).await
    }
}
