//! How far the tables of a server are.

use std::sync::Arc;

use crate::{store::Connection, sync::SyncError};

/// How far the tables of a server are.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// Nobody has looked yet.
    Unknown,
    /// The server could not be asked, and is asked again.
    Away,
    /// It has to be changed by a person, or the schema has to, and is looked at again.
    Refused(Arc<SyncError>),
    /// They are as the schema says; rows are sent over this connection.
    Ready(Arc<Connection>),
}

/// How far the tables are that rows are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// A server has them as the schema says; rows go there.
    Ready,
    /// No server could be asked yet. Rows wait.
    Waiting,
    /// The database and the schema differ, or ClickHouse refuses what is missing: somebody has to act. Rows wait.
    Refused,
}
