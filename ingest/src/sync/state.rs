//! The state of a server's tables.

use std::sync::Arc;

use crate::{store::Connection, sync::SyncError};

/// The state of a server's tables.
#[derive(Debug)]
pub(crate) enum State<C = Connection> {
    /// No attempt has finished yet.
    Unknown,
    /// The server is unreachable or failed for a transient reason; the sync task tries again.
    Unreachable,
    /// The database or the schema needs a change by the operator; the sync task checks again.
    Rejected(Arc<SyncError>),
    /// The tables match the schema; deliveries use this connection.
    Ready(Arc<C>),
}

/// The state of the schema's tables over all servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// A server's tables match the schema; rows go there.
    Ready,
    /// No server could be reached yet. Rows wait.
    Unreachable,
    /// The database and the schema differ, or ClickHouse refuses a statement: the operator must
    /// act. Rows wait.
    Rejected,
}
